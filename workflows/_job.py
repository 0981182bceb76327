"""What every pipeline's workflow is: a job that begins, takes steps, can be paused and cancelled, and ends once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from core.contracts.base import Json
from core.contracts.errors import MESSAGE_LIMIT, ErrorType
from core.contracts.jobs import (
    BeginJob,
    Carried,
    Control,
    FinishJob,
    JobActivities,
    JobError,
    JobRequest,
    JobResult,
    JobStatus,
    PaidRequest,
    Progress,
    Remind,
    SetStatus,
    StepKey,
    StepRequest,
)
from core.contracts.names import STATUS_ATTRIBUTE
from core.contracts.options import DB, ActivityOptions
from workflows._chain import ask, stop_if_cancelled
from workflows._errors import job_error

Result = TypeVar("Result")

LONGEST_WAIT = timedelta(days=1)
"""A job that waits for a month's budget looks this often whether a new month has begun."""


class JobWorkflow:
    """The base of every pipeline's workflow. It holds the progress and the gate; the pipeline is plain code beside it.

    A pipeline's `run` opens `self.job(request)`, awaits its steps inside, and sets `self.result`.
    """

    def __init__(self) -> None:
        self.result = JobResult()
        self._request: JobRequest | None = None
        self._control = Control()
        self._status = JobStatus.PENDING
        self._changes = 0
        self._telling = asyncio.Lock()
        self._in_flight: list[str] = []
        self._short_of: dict[str, Json] = {}
        """What was refused for want of budget, by the step that waits for it."""
        self._waiting_for: Json | None = None
        self._done: list[str] = []
        self._stage = ""
        self._total_steps = 0
        self.ending = False
        """What people say now comes too late."""
        self.own: Json = {}
        """What the pipeline took along when it continued as new."""
        self.reuse = False
        """Whether answers to the very same requests of the owner may be taken again."""

    @workflow.query
    def progress(self) -> Progress:
        """How far the job is, for the Web UI and the CLI; the REST API reads Postgres."""
        done, total = len(self._done), max(self._total_steps, len(self._done))
        return Progress(
            stage=self._stage,
            current_step=", ".join(self._in_flight),
            completed_steps=tuple(self._done),
            total_steps=total,
            percentage=round(100 * done / total, 1) if total else 0.0,
        )

    @workflow.signal
    def control_changed(self, control: Control) -> None:
        """A person paused the job, let it go on or raised what it may spend: stored in Postgres already. An older
        wish never wins."""
        if control.seq > self._control.seq:
            self._control = control

    async def wait_for_person(
        self, stage: str, question: Json, answered: Callable[[], bool], settling: Callable[[], bool]
    ) -> None:
        """Stand still until a person has answered; the job's row says what is asked. They are reminded once before it
        is too late. `settling`: an answer is being stored. Raises `review_expired`."""
        assert self._request is not None
        await self.open_gate(stage)
        seconds = self._request.review_seconds
        expires = workflow.now() + timedelta(seconds=seconds)
        await self._set_status(JobStatus.WAITING_FOR_INPUT, {**question, "expires_at": expires.isoformat()})
        try:
            await self._until_answered(answered, expires)
        except TimeoutError:
            await workflow.wait_condition(lambda: not settling())
            if not answered():
                raise ApplicationError(
                    f"Nobody answered within {seconds / 86_400:g} days. Retry the job to be asked again.",
                    {"step": stage, "waiting_for": question},
                    type=ErrorType.REVIEW_EXPIRED.value,
                    non_retryable=True,
                ) from None
        await self._set_status(JobStatus.RUNNING)

    async def _until_answered(self, answered: Callable[[], bool], expires: datetime) -> None:
        """Wait for an answer, and remind of it when it is time. Raises TimeoutError when nobody gave one."""
        assert self._request is not None
        left: float | timedelta = self._request.review_seconds
        if self._request.remind_seconds:
            change, until = self._changes, self._request.review_seconds - self._request.remind_seconds
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(answered, timeout=until, timeout_summary="until a person is reminded")
                return
            reminder = Remind(
                job_id=self._request.job_id, run=self._request.run, change=change, expires_at=expires.isoformat()
            )
            await workflow.execute_activity_method(JobActivities.remind, reminder, **DB)
            if answered():
                return
            left = max(expires - workflow.now(), timedelta(0))
        await workflow.wait_condition(answered, timeout=left, timeout_summary="until a person answers")

    async def go_on_as_new(self, own: Json | None = None) -> NoReturn:
        """Go on in another workflow of the same run of the job, with a short history. To be called by `run` inside
        `self.job(...)`, when no step is in flight. `own` comes back as `self.own`; what else the pipeline needs it
        reads from Postgres.

        No wish of a person is lost by it: one that reached this workflow is carried, and one that came too late for it
        is read by `begin` of the next.
        """
        assert self._request is not None
        # A person who is being answered gets the answer from the workflow that took their word.
        await workflow.wait_condition(workflow.all_handlers_finished)
        stop_if_cancelled()
        carried = Carried(control=self._control, changes=self._changes, done=tuple(self._done), own=own or {})
        workflow.continue_as_new(self._request.model_copy(update={"carried": carried}))

    def _take_over(self, carried: Carried | None) -> None:
        """Go on where another workflow of the same run of the job stopped."""
        if carried is not None:
            self.control_changed(carried.control)
            self._changes, self._done, self.own = carried.changes, list(carried.done), carried.own

    @asynccontextmanager
    async def job(self, request: JobRequest) -> AsyncIterator[None]:
        """Begin the job, and close it whatever happens inside: completed, failed with its reason, or cancelled.

        An error in our own code is not caught: it fails the workflow task, which Temporal tries again until a
        corrected worker takes it up.
        """
        self._request = request
        self._take_over(request.carried)
        try:
            try:
                await self._begin(request)
                yield
            finally:
                self.ending = True
        except (FailureError, asyncio.CancelledError) as failure:
            if is_cancelled_exception(failure) or workflow.cancellation_reason() is not None:
                await self._finish(JobStatus.CANCELLED)
                # A step that failed while the job was cancelled does not make it a failed one.
                raise asyncio.CancelledError from failure
            error = job_error(failure)
            if error.code is ErrorType.CANCELLED:
                await workflow.wait_condition(workflow.all_handlers_finished)
                raise
            await self._finish(JobStatus.FAILED, error=error)
            raise ApplicationError(error.message, type=error.code.value, non_retryable=True) from failure
        except ValidationError as invalid:
            # The API validates what it accepts; this is an input that another version of us no longer takes.
            message = f"The job's input is not valid: {invalid}"[:MESSAGE_LIMIT]
            await self._finish(JobStatus.FAILED, error=JobError(code=ErrorType.INVALID_REQUEST, message=message))
            raise
        else:
            await self._finish(JobStatus.COMPLETED, result=self.result)

    async def _begin(self, request: JobRequest) -> None:
        """Say that the job runs. Raises `cancelled` when it is not wanted any more."""
        begin = BeginJob(
            job_id=request.job_id,
            run=request.run,
            workflow_run_id=workflow.info().run_id,
            continued=request.carried is not None,
        )
        begun = await workflow.execute_activity_method(JobActivities.begin, begin, **DB)
        if not begun.proceed:
            raise ApplicationError("The job ended before it began.", type=ErrorType.CANCELLED.value, non_retryable=True)
        self.control_changed(begun.control)
        self._show(JobStatus.RUNNING)

    def plan(self, total_steps: int) -> None:
        """Say how many steps the job has, as soon as the workflow knows better."""
        self._total_steps = total_steps

    def key(self, stage: str, step: str, revision: int = 1) -> StepKey:
        """The key of a step of this job."""
        assert self._request is not None
        return StepKey(
            job_id=self._request.job_id,
            owner_id=self._request.owner_id,
            run=self._request.run,
            step=step,
            revision=revision,
            stage=stage,
            total_steps=self._total_steps,
        )

    async def step(
        self, activity: Callable[[Any, Any], Awaitable[Result]], request: StepRequest, options: ActivityOptions
    ) -> Result:
        """Run one step when the gate is open: it is scheduled only while the job is not paused."""

        async def run() -> Result:
            result: Result = await workflow.execute_activity_method(
                activity, request, summary=request.key.step, **options
            )
            return result

        return await self._gated(request.key, run)

    async def paid_step(
        self, activity: Callable[[Any, Any], Awaitable[Result]], request: PaidRequest, options: ActivityOptions
    ) -> Result:
        """Run one step that asks a model, down the job's chain of models."""
        assert self._request is not None
        models = self._request.models
        request = request.model_copy(update={"reuse": self.reuse})
        purse = _Purse(self, request.key)
        return await self._gated(request.key, lambda: ask(activity, request, models, options, purse))

    @property
    def raises(self) -> int:
        """How often what the job may spend was raised, as far as its workflow knows."""
        return self._control.budget

    async def wait_for_budget(self, key: StepKey, refused: Json, raises: int) -> None:
        """Stand still with a step that the budget does not allow, until it was raised since `raises` was read.

        While other steps are in flight, what is missing may only be held for them: when they end it is tried again.
        """
        self._in_flight.remove(key.step)
        if self._in_flight:
            try:
                await workflow.wait_condition(lambda: not self._in_flight or self.raises > raises)
            finally:
                self._in_flight.append(key.step)
            return
        self._short_of[key.step] = refused
        # A new month has a budget of its own, and raises none.
        until = workflow.now() + LONGEST_WAIT if refused.get("which") == "month" else None
        try:
            with contextlib.suppress(TimeoutError):
                await self._until_raised(raises, until)
        finally:
            del self._short_of[key.step]
            self._in_flight.append(key.step)
        await self._set_status(JobStatus.RUNNING, only_if=lambda: self._status is JobStatus.WAITING_FOR_BUDGET)
        # A pause waits for what is in flight, and not for a step that stands at its gate.
        self._in_flight.remove(key.step)
        try:
            await self.open_gate(key.stage)
        finally:
            self._in_flight.append(key.step)

    async def _until_raised(self, raises: int, until: datetime | None) -> None:
        """Wait for a raise. TimeoutError at `until`.

        What is in flight ends first; then the job is `waiting_for_budget`. It says so again whenever something else was
        said in between: by a pause that came and went, or another step that went on.
        """
        while self.raises == raises:
            stop_if_cancelled()
            await workflow.wait_condition(
                lambda: self.raises > raises or self._is_broke(),
                timeout=None if until is None else max(until - workflow.now(), timedelta(0)),
                timeout_summary="until the budget is raised",
            )
            if self.raises == raises:
                await self._set_status(
                    JobStatus.WAITING_FOR_BUDGET, {"what": "budget", **self._least()}, only_if=self._is_broke
                )

    def _is_broke(self) -> bool:
        """Whether all that is left to do waits for the budget, and the job's row says something else."""
        if self._in_flight or not self._short_of:
            return False
        if self._status is JobStatus.WAITING_FOR_BUDGET:
            return self._waiting_for != {"what": "budget", **self._least()}
        return self._status is JobStatus.RUNNING

    def _least(self) -> Json:
        """Of what was refused, that which needs the least: with so much more the job goes on."""
        return min(self._short_of.values(), key=lambda refused: refused.get("needed_usd", 0.0))

    async def open_gate(self, stage: str) -> None:
        """Wait until the job is not paused, and note that a stage is at work."""
        while self._control.paused:
            await self._pause()
        stop_if_cancelled()
        self._stage = stage

    async def _gated(self, key: StepKey, run: Callable[[], Awaitable[Result]]) -> Result:
        await self.open_gate(key.stage)
        self._in_flight.append(key.step)
        try:
            result = await run()
            self.step_done(key)
            # The step may have ended before its worker heard of the cancel, which is used up by then.
            stop_if_cancelled()
            return result
        finally:
            self._in_flight.remove(key.step)

    def step_done(self, key: StepKey) -> None:
        """Count a step once, however often it is revised."""
        if key.step not in self._done:
            self._done.append(key.step)

    async def _pause(self) -> None:
        """Stand still: what is in flight ends first, then the job is `paused`. One of the waiting steps says so."""
        await workflow.wait_condition(lambda: not self._in_flight or not self._control.paused)
        if not self._control.paused:
            return
        speaker = self._status is not JobStatus.PAUSED
        if speaker:
            await self._set_status(JobStatus.PAUSED)
        await workflow.wait_condition(lambda: not self._control.paused)
        if speaker:
            await self._set_status(JobStatus.RUNNING)

    async def _set_status(
        self, status: JobStatus, waiting_for: Json | None = None, *, only_if: Callable[[], bool] = lambda: True
    ) -> None:
        """Tell of a change. One after another: a change that is tried again must not come after a later one.

        `only_if` is asked when it is this one's turn: of several steps that would say the same, the first does.
        """
        assert self._request is not None
        async with self._telling:
            if not only_if():
                return
            self._changes += 1
            self._waiting_for = waiting_for
            self._show(status)
            await workflow.execute_activity_method(
                JobActivities.set_status,
                SetStatus(
                    job_id=self._request.job_id,
                    run=self._request.run,
                    change=self._changes,
                    status=status,
                    waiting_for=waiting_for,
                ),
                **DB,
            )

    async def _finish(
        self, status: JobStatus, *, result: JobResult | None = None, error: JobError | None = None
    ) -> None:
        """Close the job's row. It is shielded, as a cancelled workflow must still say that it was cancelled."""
        assert self._request is not None
        # A person who is being answered gets the answer before the workflow ends.
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show(status)
        last_word = workflow.execute_activity_method(
            JobActivities.finish,
            FinishJob(job_id=self._request.job_id, run=self._request.run, status=status, result=result, error=error),
            **DB,
        )
        await asyncio.shield(asyncio.ensure_future(last_word))

    def _show(self, status: JobStatus) -> None:
        self._status = status
        workflow.upsert_search_attributes([STATUS_ATTRIBUTE.value_set(status.value)])


class _Purse:
    """The budget of a job, for the chain of one step."""

    def __init__(self, job: JobWorkflow, key: StepKey) -> None:
        self._job = job
        self._key = key

    @property
    def raises(self) -> int:
        """How often it was raised."""
        return self._job.raises

    async def wait(self, refused: Json, raises: int) -> None:
        """Wait until it is raised."""
        await self._job.wait_for_budget(self._key, refused, raises)
