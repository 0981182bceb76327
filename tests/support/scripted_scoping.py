"""A scripted session: it is kept as Postgres would keep it, and models answer what a test tells them."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from core.contracts.base import ArtifactRef, implements
from core.contracts.errors import AtelierError, ErrorType, as_failure
from core.contracts.jobs import JobRequest, Output
from core.contracts.scoping import (
    Act,
    ActKind,
    ActTaken,
    AnswerFollowUp,
    AnswerStage,
    Contradiction,
    Finding,
    Finish,
    PlannedFinding,
    PlannedQuestion,
    QuestionId,
    ReopenStage,
    ResolveContradiction,
    ScopingBrief,
    SkipQuestion,
    Verdict,
)
from core.contracts.scoping_charter import SectionId
from core.contracts.scoping_moves import Plan, new_state, next_work, reopened
from core.contracts.scoping_state import Phase, QuestionStatus, SessionState, Wait
from core.contracts.scoping_steps import (
    AssembleCharter,
    CharterAssembled,
    CharterKept,
    CheckConsistency,
    Checkpoint,
    CloseStage,
    Consistency,
    DraftCharterSection,
    ExportCharter,
    JudgeAnswers,
    Judged,
    KeepAct,
    KeepCharter,
    KeepState,
    OpenSession,
    ScopingActivities,
    SectionDrafted,
    SessionOpened,
    StageClosed,
    StateKept,
)
from tests.support.scripted import REF, request
from tests.support.scripted_steps import Reached, ScriptedSteps

QUESTIONS = tuple(
    PlannedQuestion(id=f"q{stage}{part}", stage=stage, finding=f"f{stage}{part}")
    for stage in range(1, 6)
    for part in ("a", "b")
)
"""Two a stage."""
FINDINGS = tuple(
    PlannedFinding(id=f"f{stage}{part}", stage=stage, rests_on=(f"f{stage - 1}a",) if part == "a" and stage > 1 else ())
    for stage in range(1, 6)
    for part in ("a", "b")
)
"""The first of a stage rests on the first of the stage before; the second on nothing."""
PLAN = Plan(QUESTIONS, FINDINGS)


class ScriptedScoping(ScriptedSteps, ScopingActivities):
    """Refuses what Postgres would refuse, and what would lose something."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, SessionState] = {}
        """By job."""
        self.at_work: dict[str, bool] = {}
        self.others_turn = 0
        """How often another session of the owner has the turn."""
        self.entries: dict[str, int] = {}
        """The number of each act that was taken, by its entry."""
        self.new_entries = count(1)
        self.numbers: dict[tuple[str, int], int] = {}
        """Of the last state that was kept, by job and run."""
        self.asked_back: list[tuple[QuestionId, ...]] = []
        self.checkpoints: list[Checkpoint] = []
        self.opened: list[OpenSession] = []
        self.vague: dict[QuestionId, int] = defaultdict(int)
        """How often answers to a question are vague."""
        self.found: list[tuple[QuestionId, QuestionId]] = []
        """What the next check finds."""
        self.base: dict[SectionId, ArtifactRef] = {}
        self.assembled: list[AssembleCharter] = []
        self.kept: list[KeepCharter] = []
        self.storing: asyncio.Event | None = None
        """While it is there and not set, no act is stored."""
        self.at_the_door = Reached()
        """An act is held there."""

    @implements(ScopingActivities.open_session)
    async def open_session(self, request: OpenSession) -> SessionOpened:
        self.opened.append(request)
        await self._take(request)
        job, brief = request.key.job_id, request.brief
        if job not in self.states:
            state = new_state(brief.questions, brief.findings)
            if brief.base is not None:
                before = self.states[brief.base.job_id]
                state = reopened(before, Plan(brief.questions, brief.findings), brief.base.stage, brief.base.questions)
                state = state.model_copy(update={"seq": before.seq + 1})
            await self._store(job, state, at_work=not isinstance(next_work(state, PLAN), Wait))
        return SessionOpened(state=self.states[job], sections=self.base if brief.base else {})

    @implements(ScopingActivities.keep_act)
    async def keep_act(self, request: KeepAct) -> ActTaken:
        if self.storing is not None:
            self.at_the_door.set()
            await self.storing.wait()
        if request.entry_id not in self.entries:
            self._expect(request.state.seq == self.states[request.key.job_id].seq + 1, "Another act has this number.")
            self.entries[request.entry_id] = request.state.seq
            at_work = not isinstance(next_work(request.state, PLAN), Wait)
            await self._store(request.key.job_id, request.state, at_work=at_work)
        return ActTaken(entry_id=request.entry_id, seq=self.entries[request.entry_id])

    @implements(ScopingActivities.keep_state)
    async def keep_state(self, request: KeepState) -> StateKept:
        run = (request.key.job_id, request.key.run)
        self._expect(request.number == self.numbers.get(run, 0) + 1, "A state was left out, or comes twice.")
        self._expect(request.state.seq == self.states[request.key.job_id].seq, "It is not of the last act.")
        self.numbers[run] = request.number
        if request.verdicts:
            self.asked_back.append(tuple(verdict.question for verdict in request.verdicts))
        if request.checkpoint is not None:
            self.checkpoints.append(request.checkpoint)
        turn = not (request.at_work and not self.at_work[request.key.job_id] and self.others_turn)
        if not turn:
            self.others_turn -= 1
        await self._store(request.key.job_id, request.state, at_work=request.at_work and turn)
        return StateKept(turn=turn)

    @implements(ScopingActivities.judge_answers)
    async def judge_answers(self, request: JudgeAnswers) -> Judged:
        await self._take(request, request.model)
        return Judged(verdicts=tuple(self._verdict(question) for question in request.questions))

    def _verdict(self, question: QuestionId) -> Verdict:
        if not self.vague[question]:
            return Verdict(question=question, vague=False)
        self.vague[question] -= 1
        return Verdict(question=question, vague=True, reason="No figure.", follow_up="How many?")

    @implements(ScopingActivities.close_stage)
    async def close_stage(self, request: CloseStage) -> StageClosed:
        await self._take(request, request.model)
        rests_on = {question.finding: question.id for question in QUESTIONS}
        return StageClosed(
            findings=tuple(
                Finding(id=id, statement=f"Found at {request.seq}.", rests_on=(rests_on[id],))
                for id in request.findings
            )
        )

    @implements(ScopingActivities.check_consistency)
    async def check_consistency(self, request: CheckConsistency) -> Consistency:
        await self._take(request, request.model)
        return Consistency(
            contradictions=tuple(
                Contradiction(first=first, second=second, why="They differ.", question="Which holds?")
                for first, second in self.found
            )
        )

    @implements(ScopingActivities.draft_section)
    async def draft_section(self, request: DraftCharterSection) -> SectionDrafted:
        await self._take(request, request.model)
        return SectionDrafted(section=request.section, ref=REF)

    @implements(ScopingActivities.assemble_charter)
    async def assemble_charter(self, request: AssembleCharter) -> CharterAssembled:
        await self._take(request)
        self.assembled.append(request)
        return CharterAssembled(charter=REF, statements=20, decision="go", open_risks=1)

    @implements(ScopingActivities.export_charter)
    async def export_charter(self, request: ExportCharter) -> Output:
        await self._take(request)
        return Output(name=f"charter.{request.format.value}", artifact_id="artifact", ref=REF)

    @implements(ScopingActivities.keep_charter)
    async def keep_charter(self, request: KeepCharter) -> CharterKept:
        await self._take(request)
        self.kept.append(request)
        return CharterKept(document_id=request.document_id, number=(request.parent or 0) + 1)

    async def _store(self, job: str, state: SessionState, *, at_work: bool) -> None:
        async with self.changed:
            self.states[job], self.at_work[job] = state, at_work
            self.changed.notify_all()

    @staticmethod
    def _expect(holds: bool, message: str) -> None:
        if not holds:
            raise as_failure(AtelierError(ErrorType.INVALID_STATE, message))

    async def until(self, holds: Callable[[SessionState], bool], job: str = "job") -> SessionState:
        """Wait until the stored state is so. Raises TimeoutError."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: job in self.states and holds(self.states[job]))
            return self.states[job]

    async def until_asking(self, stage: int | None, job: str = "job") -> SessionState:
        """Wait until it is a person's turn: at a stage, or (None) at contradictions."""
        return await self.until(lambda state: next_work(state, PLAN) == Wait(stage), job)

    async def until_following_up(self, question: QuestionId) -> SessionState:
        """Wait until a follow-up is asked about a question."""
        return await self.until(lambda state: state.questions[question].status is QuestionStatus.FOLLOW_UP)

    async def until_trouble(self, tries: int = 1) -> SessionState:
        """Wait until every model has failed so many times in a row."""
        return await self.until(lambda state: state.trouble is not None and state.trouble.tries >= tries)


class Sponsor:
    """Who answers: every act has an entry of its own."""

    def __init__(self, client: Client, scoping: ScriptedScoping, job: str = "job") -> None:
        self.job = job
        self.scoping = scoping
        self.handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(f"scoping/{job}")

    async def say(self, kind: ActKind, act: type[Act], *, entry_id: str = "", **fields: Any) -> ActTaken:
        """Do something, and hear that it was taken."""
        entry = entry_id or f"entry-{next(self.scoping.new_entries)}"
        taken: ActTaken = await self.handle.execute_update(
            kind.value, act(entry_id=entry, **fields), result_type=ActTaken
        )
        return taken

    async def answer(self, stage: int, *questions: str, **more: Any) -> ActTaken:
        """Answer questions of a stage; both, if none is named."""
        asked = questions or (f"q{stage}a", f"q{stage}b")
        return await self.say(ActKind.ANSWER_STAGE, AnswerStage, stage=stage, questions=asked, **more)

    async def follow_up(self, stage: int, *questions: str) -> ActTaken:
        """Answer follow-ups."""
        return await self.say(ActKind.ANSWER_FOLLOW_UP, AnswerFollowUp, stage=stage, questions=questions)

    async def skip(self, stage: int, question: str) -> ActTaken:
        """Skip a question."""
        return await self.say(ActKind.SKIP_QUESTION, SkipQuestion, stage=stage, question=question)

    async def reopen(self, stage: int, *questions: str) -> ActTaken:
        """Ask a stage again."""
        return await self.say(ActKind.REOPEN_STAGE, ReopenStage, stage=stage, questions=questions)

    async def resolve(self, contradiction: str) -> ActTaken:
        """The first one holds."""
        return await self.say(
            ActKind.RESOLVE_CONTRADICTION, ResolveContradiction, contradiction=contradiction, holds="first"
        )

    async def finish(self) -> ActTaken:
        """Ask no more."""
        return await self.say(ActKind.FINISH, Finish)

    async def through(self, *stages: int) -> None:
        """Answer stages one after the other, each when it is asked."""
        for stage in stages:
            await self.scoping.until_asking(stage, self.job)
            await self.answer(stage)

    async def refused(self, saying: Awaitable[ActTaken]) -> ApplicationError:
        """Why something is not taken. The stored state is as it was."""
        before = self.scoping.states.get(self.job)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await saying
        assert isinstance(failed.value.cause, ApplicationError)
        assert self.scoping.states.get(self.job) == before
        return failed.value.cause


def session(job_id: str = "job", *, run: int = 1, review_seconds: int = 3_600, **changes: Any) -> JobRequest:
    """The input of a session with two questions a stage; `changes` go into the brief."""
    fields = {"name": "Tidal mills", "description": "Predict the tide.", "questionnaire": REF}
    brief = ScopingBrief(**{**fields, "questions": QUESTIONS, "findings": FINDINGS, "pause_seconds": 0.1, **changes})
    return request(
        job_id, pipeline="scoping", input=brief.model_dump(mode="json"), run=run, review_seconds=review_seconds
    )


def is_done(state: SessionState) -> bool:
    """Whether the charter is stored."""
    return state.phase is Phase.DONE
