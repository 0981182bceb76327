"""One session whose steps are the real activities on a test's database, done in the order its workflow does them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.scoping import Scoping
from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Json
from core.contracts.jobs import StepKey
from core.contracts.scoping import (
    Act,
    ActKind,
    AnswerFollowUp,
    AnswerStage,
    Finish,
    ReopenStage,
    ResolveContradiction,
    ScopingBrief,
    ScopingInput,
    SkipQuestion,
)
from core.contracts.scoping_charter import CHARTER, Charter, SectionId
from core.contracts.scoping_moves import Plan, checked, closed, judged, next_work, take, tried
from core.contracts.scoping_questions import prepare
from core.contracts.scoping_state import Check, Close, Judge, QuestionStatus, SessionState, Wait, Write
from core.contracts.scoping_steps import (
    AssembleCharter,
    CharterAssembled,
    CheckConsistency,
    Checkpoint,
    CloseStage,
    DraftCharterSection,
    JudgeAnswers,
    KeepAct,
    KeepState,
    OpenSession,
    SessionOpened,
)
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.owned_sessions import NewEntry, ScopingRepository
from core.ledger.free import FreeSteps
from core.llm.gateway import Gateway
from tests.support.rows import begin

SIMULATOR = "simulator:composer"
GIVEN = ScopingInput(name="Ticket triage", description="Sort what comes in at the service desk.")
_ACTS: Mapping[ActKind, type[Act]] = {
    ActKind.ANSWER_STAGE: AnswerStage,
    ActKind.ANSWER_FOLLOW_UP: AnswerFollowUp,
    ActKind.SKIP_QUESTION: SkipQuestion,
    ActKind.REOPEN_STAGE: ReopenStage,
    ActKind.RESOLVE_CONTRADICTION: ResolveContradiction,
    ActKind.FINISH: Finish,
}


@dataclass
class Room:
    """The session, and what it has come to."""

    database: Database
    store: ArtifactStore
    scoping: Scoping
    owner_id: str
    job_id: str
    brief: ScopingBrief
    state: SessionState
    model: str = SIMULATOR
    sections: dict[SectionId, ArtifactRef] = field(default_factory=dict)
    kept: int = 0
    attempt: int = 0

    @property
    def plan(self) -> Plan:
        return Plan(self.brief.questions, self.brief.findings)

    def key(self, step: str, run: int = 1) -> StepKey:
        revision = self.state.tries.get(step, 0) + 1
        return StepKey(job_id=self.job_id, owner_id=self.owner_id, run=run, step=step, revision=revision)

    async def run(self, activity: Any, request: Any) -> Any:
        """One attempt of an activity, of a number of its own, as Temporal counts them."""
        self.attempt += 1
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=self.attempt)
        return await environment.run(activity, request)

    async def offer(self, kind: ActKind, body: Json, stage: int | None = None) -> str:
        """Store what a person says. The entry's id."""
        id = new_id()
        entry = NewEntry(id=id, kind=kind.value, stage=stage, body=body, update_id=id, body_sha256="0" * 64)
        async with self.database.transaction() as connection:
            assert await ScopingRepository(connection, self.owner_id).offer(self.job_id, entry)
        return id

    async def say(self, kind: ActKind, body: Json, stage: int | None = None, **act: Any) -> None:
        """What a person does, stored, and then taken."""
        id = await self.offer(kind, body, stage)
        fields = {"entry_id": id, **({"stage": stage} if stage else {}), **act}
        state = take(self.state, self.plan, _ACTS[kind](**fields))
        await self.run(self.scoping.keep_act, KeepAct(key=self.key("act"), entry_id=id, state=state))
        self.state = state

    async def answer(self, stage: int, answers: dict[str, str]) -> None:
        """Answer questions of a stage."""
        await self.say(ActKind.ANSWER_STAGE, {"answers": answers}, stage, questions=tuple(answers))

    async def follow_up(self, stage: int, answers: dict[str, str]) -> None:
        """Answer follow-ups of a stage."""
        await self.say(ActKind.ANSWER_FOLLOW_UP, {"answers": answers}, stage, questions=tuple(answers))

    async def skip(self, stage: int, question: str, because: str = "") -> None:
        """Skip a question."""
        body = {"question": question, "because": because}
        await self.say(ActKind.SKIP_QUESTION, body, stage, question=question)

    async def resolve(self, contradiction: str, text: str) -> None:
        """Say that the first answer holds."""
        body = {"contradiction": contradiction, "holds": "first", "text": text}
        await self.say(ActKind.RESOLVE_CONTRADICTION, body, contradiction=contradiction, holds="first")

    async def keep(self, state: SessionState, **more: Any) -> None:
        """Store a state that no person made."""
        self.kept += 1
        request = KeepState(key=self.key("keep"), number=self.kept, state=state, at_work=False, **more)
        await self.run(self.scoping.keep_state, request)
        self.state = state

    async def go_on(self) -> Wait | Write:
        """Have models do what is theirs to do, until it is a person's turn or the charter is to be written."""
        while True:
            match next_work(self.state, self.plan):
                case Judge(stage, questions):
                    await self.judge(stage, questions)
                case Close(stage, _) as work:
                    await self.close(work)
                case Check():
                    await self.check()
                case Wait() | Write() as work:
                    return work

    async def judge(self, stage: int, questions: tuple[str, ...]) -> None:
        """Have answers judged."""
        step = f"judge stage {stage}"
        request = JudgeAnswers(
            key=self.key(step), model=self.model, stage=stage, questions=questions, seq=self.state.seq
        )
        found = await self.run(self.scoping.judge_answers, request)
        state = judged(tried(self.state, step), self.plan, found.verdicts)
        asked = {id for id in questions if state.questions[id].status is QuestionStatus.FOLLOW_UP}
        await self.keep(state, verdicts=tuple(one for one in found.verdicts if one.question in asked))

    async def close(self, work: Close) -> None:
        """Have the findings of a stage made."""
        step = f"close stage {work.stage}"
        request = CloseStage(
            key=self.key(step), model=self.model, stage=work.stage, findings=work.findings, seq=self.state.seq
        )
        made = await self.run(self.scoping.close_stage, request)
        state = closed(tried(self.state, step), self.plan, work.stage)
        number = state.stages[work.stage - 1].closed
        found = Checkpoint(stage=work.stage, number=number, findings=made.findings, simulated=made.simulated)
        await self.keep(state, checkpoint=found)

    async def check(self) -> None:
        """Have the stages compared."""
        request = CheckConsistency(key=self.key("check"), model=self.model, seq=self.state.seq)
        found = await self.run(self.scoping.check_consistency, request)
        await self.keep(checked(tried(self.state, "check"), found.contradictions))

    async def write(self) -> CharterAssembled:
        """Have all sections written that are not there, and put them together."""
        for id in CHARTER:
            if id not in self.sections:
                request = DraftCharterSection(
                    key=self.key(f"section {id.value}"), model=self.model, section=id, seq=self.state.seq
                )
                self.sections[id] = (await self.run(self.scoping.draft_section, request)).ref
        assemble = AssembleCharter(key=self.key("assemble"), sections=self.sections, seq=self.state.seq)
        assembled: CharterAssembled = await self.run(self.scoping.assemble_charter, assemble)
        return assembled

    async def charter(self, assembled: CharterAssembled) -> Charter:
        """The charter that was put together."""
        return Charter.model_validate_json(await self.store.get(assembled.charter))


async def open_room(
    database: Database, store: ArtifactStore, gateway: Gateway, owner_id: str, given: ScopingInput = GIVEN
) -> Room:
    """A session that begins, as it is submitted."""
    scoping = Scoping(gateway, FreeSteps(database), store, database)
    prepared = prepare(given, owner_id)
    assert isinstance(prepared.input, ScopingBrief)
    for attachment in prepared.attachments:
        assert attachment.data is not None
        await store.put(owner_id, attachment.data, attachment.ref.media_type)
    brief = prepared.input
    job_id = await begin(database, owner_id, pipeline="scoping", title=given.name, input=brief.model_dump(mode="json"))
    state = SessionState(stages=(), questions={})
    room = Room(database, store, scoping, owner_id, job_id, brief, state)
    opened: SessionOpened = await room.run(scoping.open_session, OpenSession(key=room.key("open"), brief=brief))
    room.state = opened.state
    return room
