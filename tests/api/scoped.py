"""Scoping sessions to begin a test with: written by the repositories, as their activities would, and no model asked."""

import json
from typing import Any

from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Json
from core.contracts.jobs import BeginJob, FinishJob, JobResult, JobStatus, Output
from core.contracts.scoping import (
    Act,
    AnswerStage,
    Base,
    Contradiction,
    Finding,
    Finish,
    ScopingBrief,
    ScopingInput,
    Verdict,
)
from core.contracts.scoping_charter import (
    CHARTER,
    Basis,
    Charter,
    CharterFinding,
    CharterSection,
    Decision,
    SaidAnswer,
    SectionId,
    StageFindings,
    Statement,
)
from core.contracts.scoping_entries import said
from core.contracts.scoping_moves import Plan, checked, closed, judged, next_work, take, written
from core.contracts.scoping_questions import QUESTIONNAIRE, prepare
from core.contracts.scoping_state import Check, Close, Judge, SessionState, Wait, Write
from core.contracts.scoping_steps import Checkpoint, KeepAct, KeepCharter, KeepState
from core.db.engine import Database
from core.db.ids import artifact_id, new_id
from core.db.repositories.jobs import JobRepository, NewJob
from core.db.repositories.owned_sessions import NewEntry, ScopingRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.scoping import SessionRepository
from core.db.repositories.steps import StepArtifact, StepRepository
from tests.support.rows import new_job, step_key

EXPIRES = "2026-12-21T09:30:04+00:00"
CLEAR = "Our night shift counted 40 of them in May, as the report of the week says."


def answers_of(stage: int, what: str = CLEAR) -> dict[str, str]:
    """An answer to each question of a stage."""
    return {question.id: what for question in QUESTIONNAIRE.stage(stage).questions}


class Scoped:
    """A session of one owner. `state` is where it stands, in Postgres too."""

    def __init__(self, database: Database, store: ArtifactStore, owner_id: str) -> None:
        self.database = database
        self.store = store
        self.owner_id = owner_id
        self.id = ""
        self.state: SessionState
        self.brief: ScopingBrief
        self.contradictions: tuple[Contradiction, ...] = ()
        """What the next check finds."""
        self._kept = 0

    @property
    def plan(self) -> Plan:
        """Its questions and findings."""
        return Plan(self.brief.questions, self.brief.findings)

    def key(self, step: str) -> Any:
        """The key of a step."""
        return step_key(self.id, self.owner_id, step)

    async def accept(self, name: str = "Sorted mail", *, base: Base | None = None, **job: Any) -> "Scoped":
        """Submit it; nobody has begun it."""
        prepared = prepare(ScopingInput(name=name, description=f"Sort what comes in: {name}."), self.owner_id)
        assert isinstance(prepared.input, ScopingBrief)
        self.brief = prepared.input.model_copy(update={"base": base})
        for file in prepared.attachments:
            assert file.data is not None
            await self.store.put(self.owner_id, file.data, file.ref.media_type)
        new: NewJob = new_job(
            pipeline="scoping",
            title=name,
            input=self.brief.model_dump(mode="json"),
            attachments=prepared.attachments,
            parent_job=None if base is None else base.job_id,
            **job,
        )
        async with self.database.transaction() as connection:
            self.id, _ = await JobRepository(connection, self.owner_id).accept(new)
        return self

    async def begin(self, name: str = "Sorted mail", *, base: Base | None = None, **job: Any) -> "Scoped":
        """Submit it, and open it as a workflow does: it asks its first question."""
        await self.accept(name, base=base, **job)
        async with self.database.transaction() as connection:
            await RunRepository(connection).begin(BeginJob(job_id=self.id, run=1, workflow_run_id="run"))
            self.state, _ = await SessionRepository(connection).open(
                self.key("open session"), self.brief, QUESTIONNAIRE.model_dump(mode="json")
            )
        await self.set_status("waiting_for_input")
        return self

    async def set_status(self, status: str) -> None:
        """Put its job into a state, as if its workflow had."""
        waiting = {"what": "answers", "expires_at": EXPIRES} if status == "waiting_for_input" else None
        async with self.database.transaction() as connection:
            await connection.execute(
                text(
                    "UPDATE jobs SET status = :status, claimed_at = now(), waiting_for = CAST(:waiting AS jsonb) "
                    "WHERE id = :id"
                ),
                {"status": status, "id": self.id, "waiting": None if waiting is None else json.dumps(waiting)},
            )

    async def offer(self, kind: str, body: Json, stage: int | None = None, **more: str) -> str:
        """Store what is said, before anybody takes it. The entry's id."""
        id = new_id()
        fields = {"update_id": id, "body_sha256": "0" * 64, **more}
        async with self.database.transaction() as connection:
            entry = NewEntry(id=id, kind=kind, stage=stage, body=body, **fields)
            assert await ScopingRepository(connection, self.owner_id).offer(self.id, entry)
        return id

    async def do(self, act: Act, kind: str, body: Json) -> None:
        """Say something, and have it taken."""
        id = await self.offer(kind, body, getattr(act, "stage", None))
        state = take(self.state, self.plan, act)
        async with self.database.transaction() as connection:
            await SessionRepository(connection).keep_act(KeepAct(key=self.key("act"), entry_id=id, state=state))
        self.state = state

    async def answer(self, stage: int, answers: dict[str, str]) -> None:
        """Answer questions; no model has read it yet."""
        act = AnswerStage(entry_id="", stage=stage, questions=tuple(answers))
        await self.do(act, "answer_stage", {"answers": answers})

    async def keep(self, state: SessionState, **more: Any) -> None:
        """Store a state that no person made."""
        self._kept += 1
        at_work = not isinstance(next_work(state, self.plan), Wait)
        request = KeepState(key=self.key("keep"), number=self._kept, state=state, **{"at_work": at_work, **more})
        async with self.database.transaction() as connection:
            await SessionRepository(connection).keep_state(request)
        self.state = state

    async def go_on(self, *verdicts: Verdict) -> Wait | Write:
        """Do what models would, until it is a person's turn or the charter is to be written."""
        while True:
            match next_work(self.state, self.plan):
                case Judge():
                    state = judged(self.state, self.plan, verdicts)
                    await self.keep(state, verdicts=verdicts)
                case Close(stage, findings):
                    found = tuple(
                        Finding(
                            id=id,
                            statement=f"{id} is {self.id[-6:]} at {self.state.seq}.",
                            rests_on=tuple(q.id for q in self.brief.questions if q.finding == id),
                        )
                        for id in findings
                    )
                    state = closed(self.state, self.plan, stage)
                    number = state.stages[stage - 1].closed
                    await self.keep(state, checkpoint=Checkpoint(stage=stage, number=number, findings=found))
                case Check():
                    await self.keep(checked(self.state, self.contradictions))
                    self.contradictions = ()
                case Wait() | Write() as work:
                    return work

    async def complete(self) -> "Scoped":
        """Ask no more, write the charter, and end."""
        if not isinstance(next_work(self.state, self.plan), Write):
            await self.do(Finish(entry_id=""), "finish", {})
            assert isinstance(await self.go_on(), Write)
        sections, charter = await self._write()
        content = await self.store.put(self.owner_id, charter.model_dump_json().encode(), "application/json")
        key = self.key("assemble")
        output = Output(name="charter.json", artifact_id=artifact_id(self.id, key.step, 1, "charter.json"), ref=content)
        base = self.brief.base
        request = KeepCharter(
            key=key,
            document_id=self.id if base is None else base.document_id,
            parent=None if base is None else base.version,
            reopened=None if base is None else base.stage,
            charter=content,
            sections=sections,
            outputs=(output,),
            decision=Decision.GO.value,
        )
        result = JobResult(outputs=(output,))
        files = [StepArtifact("charter.json", content, output=True)]
        files += [StepArtifact(f"{id}.json", ref) for id, ref in sections.items()]
        await self.keep(written(self.state), at_work=False)
        async with self.database.transaction() as connection:
            await StepRepository(connection).store(key, "{}", files, simulated=False)
            await SessionRepository(connection).keep_charter(request, charter.name)
            done = FinishJob(job_id=self.id, run=1, status=JobStatus.COMPLETED, result=result)
            assert await RunRepository(connection).finish(done)
        return self

    async def _write(self) -> tuple[dict[SectionId, ArtifactRef], Charter]:
        async with self.database.transaction() as connection:
            sessions = SessionRepository(connection)
            row, found = await sessions.session(self.id), await sessions.findings(self.id)
            told = said(await sessions.entries(self.id, self.state.seq), row.questionnaire)
        sections = tuple(self._section(id, row.name, found) for id in CHARTER)
        stages = tuple(
            StageFindings(
                stage=stage.number,
                title=stage.title,
                findings=tuple(
                    CharterFinding(**found[plan.id].model_dump(exclude={"title"}), title=plan.title)
                    for plan in stage.findings
                    if plan.id in found
                ),
            )
            for stage in row.questionnaire.stages
        )
        answers = tuple(
            SaidAnswer(
                question=question.id,
                stage=question.stage,
                asked=told[question.id].asked,
                said=tuple(turn.said for turn in told[question.id].turns),
                skipped=told[question.id].skipped,
            )
            for question in self.brief.questions
        )
        charter = Charter(
            name=row.name, description=row.description, sections=sections, findings=stages, answers=answers
        )
        refs = {
            section.id: await self.store.put(self.owner_id, section.model_dump_json().encode(), "application/json")
            for section in sections
        }
        return refs, charter

    def _section(self, id: SectionId, name: str, found: dict[str, Finding]) -> CharterSection:
        stages = CHARTER[id].stages
        statements = [
            Statement(text=found[plan.id].statement, rests_on=tuple(Basis(question=q) for q in found[plan.id].rests_on))
            for plan in self.brief.findings
            if plan.stage in stages and plan.id in found
        ]
        first = Basis(question=self.brief.questions[0].id)
        return CharterSection(
            id=id,
            title=CHARTER[id].title,
            statements=tuple(statements[:14]) or (Statement(text=f"Of {name}.", rests_on=(first,)),),
            decision=Decision.GO if id is SectionId.DECISION else None,
        )
