"""A scoping session under its workflow: what people say in it, and Postgres' copy of where it stands."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from core.contracts.errors import MESSAGE_LIMIT, AtelierError, as_failure
from core.contracts.jobs import PaidRequest, StepKey
from core.contracts.options import DB, LLM
from core.contracts.scoping import (
    Act,
    ActTaken,
    AnswerFollowUp,
    AnswerStage,
    Finish,
    ReopenStage,
    ResolveContradiction,
    ScopingBrief,
    SkipQuestion,
    Verdict,
)
from core.contracts.scoping_moves import Plan, failed, next_work, take
from core.contracts.scoping_state import SessionState, Wait
from core.contracts.scoping_steps import Checkpoint, KeepAct, KeepState, OpenSession, ScopingActivities, SessionOpened
from workflows._chain import attempted, stop_if_cancelled
from workflows._errors import cause_of, refused
from workflows._job import JobWorkflow

LONGEST_REST = timedelta(minutes=10)
"""Between two times that models are asked, however often they failed."""
_MOST_DOUBLINGS = 20
NEXT_TURN = timedelta(seconds=2)
"""How long a session that has rested waits at first for another one of its owner."""

Result = TypeVar("Result")


class SessionWorkflow(JobWorkflow):
    """Takes acts, and has every state stored: an act before it is acknowledged, the others before anything follows."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = Plan((), ())
        self.acts = 0
        """Since this workflow began."""
        self.kept = 0
        """States that no person made, since the job's run began."""
        self._state: SessionState | None = None
        self._rest_seconds = 0.0
        # An older state must not be stored after a later one.
        self._keeping = asyncio.Lock()
        self._settling = False
        self._said_at_work = False

    @workflow.query
    def session(self) -> SessionState | None:
        """Where the session stands, once it is open."""
        return self._state

    @workflow.update
    async def answer_stage(self, act: AnswerStage) -> ActTaken:
        """Take answers to some or all open questions of the stage that is asked."""
        return await self._take(act)

    @workflow.update
    async def answer_follow_up(self, act: AnswerFollowUp) -> ActTaken:
        """Take answers to follow-ups."""
        return await self._take(act)

    @workflow.update
    async def skip_question(self, act: SkipQuestion) -> ActTaken:
        """Leave a question: it becomes an assumption."""
        return await self._take(act)

    @workflow.update
    async def reopen_stage(self, act: ReopenStage) -> ActTaken:
        """Ask a stage again, and what rests on it."""
        return await self._take(act)

    @workflow.update
    async def resolve_contradiction(self, act: ResolveContradiction) -> ActTaken:
        """Settle which of two answers holds."""
        return await self._take(act)

    @workflow.update
    async def finish(self, act: Finish) -> ActTaken:
        """Ask no more, and write the charter."""
        return await self._take(act)

    @answer_stage.validator
    def _can_answer_stage(self, act: AnswerStage) -> None:
        self._check(act)

    @answer_follow_up.validator
    def _can_answer_follow_up(self, act: AnswerFollowUp) -> None:
        self._check(act)

    @skip_question.validator
    def _can_skip_question(self, act: SkipQuestion) -> None:
        self._check(act)

    @reopen_stage.validator
    def _can_reopen_stage(self, act: ReopenStage) -> None:
        self._check(act)

    @resolve_contradiction.validator
    def _can_resolve_contradiction(self, act: ResolveContradiction) -> None:
        self._check(act)

    @finish.validator
    def _can_finish(self, act: Finish) -> None:
        self._check(act)

    @property
    def state(self) -> SessionState:
        """Where the session stands now."""
        assert self._state is not None
        return self._state

    def session_key(self, stage: str, step: str) -> StepKey:
        """The key of a step's next try: what failed, or was done before, is never taken for it."""
        return self.key(stage, step, self.state.tries.get(step, 0) + 1)

    async def open(self, brief: ScopingBrief) -> SessionOpened:
        """Begin with the session as Postgres has it."""
        self.questions = Plan(brief.questions, brief.findings)
        self.kept = self.own.get("kept", 0)
        self._rest_seconds = brief.pause_seconds
        request = OpenSession(key=self.key("open", "open session"), brief=brief)
        opened = await workflow.execute_activity_method(
            ScopingActivities.open_session, request, summary=request.key.step, **DB
        )
        self._state = opened.state
        self._said_at_work = self._is_at_work()
        return opened

    def _check(self, act: Act) -> None:
        """Whether an act can be taken now; for validators. Raises the typed refusal."""
        if self.ending:
            raise refused("The session has just ended. Read it again.")
        if self._settling:
            raise refused("Something else was said first and is being stored. Read the session again.")
        # Before it is open an act is let in, and checked then: nobody is refused for coming right after the session was
        # created, or while it continues as new.
        if self._state is not None:
            self._after(act)

    def _after(self, act: Act) -> SessionState:
        """The state that an act makes. Raises the typed refusal."""
        try:
            return take(self.state, self.questions, act)
        except AtelierError as refusal:
            raise as_failure(refusal) from None

    async def _take(self, act: Act) -> ActTaken:
        """Have an act stored that was let in, and only then go by it."""
        self.acts += 1
        if self._state is None:
            await workflow.wait_condition(lambda: self._state is not None or self.ending)
            self._check(act)
        self._settling = True
        try:
            async with self._keeping:
                state = self._after(act)
                request = KeepAct(key=self.key("acts", f"act {state.seq}"), entry_id=act.entry_id, state=state)
                taken = await workflow.execute_activity_method(
                    ScopingActivities.keep_act, request, summary=request.key.step, **DB
                )
        except ActivityError as error:
            # It fails the update and not the workflow.
            raise cause_of(error, "What you said could not be stored. Say it again.") from error
        finally:
            self._settling = False
        # Another number: it was taken before, and this workflow began with what it made.
        if taken.seq == state.seq:
            self._state = state
            self._said_at_work = self._is_at_work()
        return taken

    async def wait_for_act(self, stage: str, question: Callable[[], dict[str, Any]]) -> None:
        """Wait until a person has said something. Raises `review_expired`."""
        seq = self.state.seq
        # What is said right after the last word counts before anything is asked.
        await workflow.wait_condition(lambda: not self._settling)
        if self.state.seq == seq and self._said_at_work:
            await self.keep()
            await workflow.wait_condition(lambda: not self._settling)
        if self.state.seq == seq:
            await self.wait_for_person(stage, question(), lambda: self.state.seq > seq, lambda: self._settling)

    async def ask_model(self, activity: Callable[[Any, Any], Awaitable[Result]], request: PaidRequest) -> Result | None:
        """What a model answers; None when every one failed, after a rest."""
        await self.say_at_work()
        found = await attempted(self.paid_step(activity, request, LLM))
        if isinstance(found, ApplicationError):
            await self.rest({request.key.step: found})
            return None
        return found

    async def rest(self, failures: Mapping[str, ApplicationError]) -> None:
        """Every model failed at these steps: say so, and wait before they are asked again. What people said stays."""
        state = self.state
        tries = 0 if state.trouble is None else state.trouble.tries
        pause = min(timedelta(seconds=self._rest_seconds) * 2 ** min(tries, _MOST_DOUBLINGS), LONGEST_REST)
        again_at = (workflow.now() + pause).isoformat()
        for step, failure in failures.items():
            state = failed(state, step, failure.type or "", failure.message[:MESSAGE_LIMIT], again_at)
        assert state.trouble is not None
        # Of steps that are taken side by side several can fail: it is one time all the same.
        self._state = state.model_copy(update={"trouble": state.trouble.model_copy(update={"tries": tries + 1})})
        await self.keep(at_work=False)
        # What was stored just now may have used up the cancel; then nothing would end the wait.
        stop_if_cancelled()
        await workflow.sleep(pause, summary="until models are asked again")

    async def say_at_work(self) -> None:
        """Have Postgres know that a model is about to be asked. After a rest that waits for other sessions."""
        pause = NEXT_TURN
        while not self._said_at_work:
            await self.keep(at_work=True)
            if not self._said_at_work:
                stop_if_cancelled()
                await workflow.sleep(pause, summary="until it is this session's turn")
                pause = min(2 * pause, LONGEST_REST)

    async def keep(
        self,
        state: SessionState | None = None,
        *,
        verdicts: tuple[Verdict, ...] = (),
        checkpoint: Checkpoint | None = None,
        at_work: bool | None = None,
    ) -> None:
        """Go by a state that no person made, and have Postgres know it. `at_work`: without it, a session works unless
        it waits for a person."""
        if state is not None:
            self._state = state
        async with self._keeping:
            at_work = self._is_at_work() if at_work is None else at_work
            self.kept += 1
            request = KeepState(
                key=self.key("state", f"state {self.kept}"),
                number=self.kept,
                state=self.state,
                at_work=at_work,
                verdicts=verdicts,
                checkpoint=checkpoint,
            )
            kept = await workflow.execute_activity_method(
                ScopingActivities.keep_state, request, summary=request.key.step, **DB
            )
            self._said_at_work = at_work and kept.turn

    def _is_at_work(self) -> bool:
        return not isinstance(next_work(self.state, self.questions), Wait)
