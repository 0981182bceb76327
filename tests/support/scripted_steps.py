"""What scripted activities of all pipelines are made of: what they hear of jobs, steps that wait and fail as told."""

import asyncio
from collections import Counter
from typing import Any, Literal

from temporalio import activity

from core.contracts.base import implements
from core.contracts.errors import AtelierError, as_failure
from core.contracts.jobs import (
    Answer,
    BeginJob,
    Begun,
    FinishJob,
    JobActivities,
    PaidRequest,
    Remind,
    SetStatus,
    StepRequest,
    StoreAnswer,
    StoredAnswer,
)


class ScriptedJobs(JobActivities):
    """Remembers what a workflow says of its job."""

    def __init__(self, begun: Begun | None = None) -> None:
        self.begun = begun or Begun(proceed=True)
        self.begun_by: list[BeginJob] = []
        self.said: list[str] = []
        self.last: FinishJob | None = None
        self.waiting_for: list[dict[str, Any]] = []
        self.reminders: list[Remind] = []
        self.changes: list[tuple[int, int]] = []
        """Run and number of each change of status."""
        self.answers: dict[tuple[str, int], Answer] = {}
        self.storing: asyncio.Event | None = None
        """While it is there and not set, no answer is stored."""
        self.changed = asyncio.Condition()
        self._at_the_door = False

    @implements(JobActivities.begin)
    async def begin(self, request: BeginJob) -> Begun:
        async with self.changed:
            self.begun_by.append(request)
            self.changed.notify_all()
        if not request.continued:
            await self._say("running")
        return self.begun

    @implements(JobActivities.set_status)
    async def set_status(self, request: SetStatus) -> None:
        if request.waiting_for is not None:
            self.waiting_for.append(request.waiting_for)
        self.changes.append((request.run, request.change))
        await self._say(request.status.value)

    @implements(JobActivities.remind)
    async def remind(self, request: Remind) -> None:
        async with self.changed:
            self.reminders.append(request)
            self.changed.notify_all()

    @implements(JobActivities.read_answer)
    async def read_answer(self, request: StepRequest) -> StoredAnswer:
        return StoredAnswer(answer=self.answers.get((request.key.step, request.key.revision)))

    @implements(JobActivities.store_answer)
    async def store_answer(self, request: StoreAnswer) -> StoredAnswer:
        if self.storing is not None:
            async with self.changed:
                self._at_the_door = True
                self.changed.notify_all()
            await self.storing.wait()
        return StoredAnswer(answer=self.answers.setdefault((request.key.step, request.key.revision), request.answer))

    @implements(JobActivities.finish)
    async def finish(self, request: FinishJob) -> None:
        self.last = request
        await self._say(request.status.value)

    async def _say(self, status: str) -> None:
        async with self.changed:
            self.said.append(status)
            self.changed.notify_all()

    async def until_said(self, status: str, times: int = 1) -> None:
        """Wait until the job has had a status, so many times."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: self.said.count(status) >= times)

    async def until_waiting(self, what: str, **about: Any) -> dict[str, Any]:
        """Wait until the last thing that a person was asked is this."""
        wanted = {"what": what, **about}
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: self.waiting_for and wanted.items() <= self.waiting_for[-1].items())
            return self.waiting_for[-1]

    async def until_reminded(self, times: int) -> None:
        """Wait until the owner was reminded so many times."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: len(self.reminders) >= times)

    async def until_begun(self, times: int) -> None:
        """Wait until so many workflows have begun the job."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: len(self.begun_by) >= times)

    async def until_storing(self) -> None:
        """Wait until an answer is held at the door."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: self._at_the_door)


class Reached(asyncio.Event):
    """A point that a workflow comes to, or the test fails."""

    async def wait(self) -> Literal[True]:
        """Wait until it is there. Raises TimeoutError."""
        async with asyncio.timeout(20):
            return await super().wait()


class ScriptedSteps:
    """Steps that answer at once, unless a gate is set for one, and fail where a failure is set for `step`,
    `step model` or `step revision`."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.revisions: list[tuple[str, int]] = []
        self.changed = asyncio.Condition()
        self.requests: list[PaidRequest] = []
        """What models were asked."""
        self.gates: dict[str, asyncio.Event] = {}
        self.failures: dict[str, AtelierError] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []
        self.deaf: set[str] = set()
        """Steps that end before their worker hears of a cancel."""

    async def until_asked(self, step: str) -> None:
        """Wait until a step was asked of a model: `step model`."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: self.asked[step] > 0)

    def hold(self, step: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Make a step wait. The events: it was reached; it may go on."""
        self.gates[step], self.reached[step] = asyncio.Event(), Reached()
        return self.reached[step], self.gates[step]

    async def _take(self, request: StepRequest, model: str = "") -> None:
        step = request.key.step
        if isinstance(request, PaidRequest):
            self.requests.append(request)
        async with self.changed:
            self.asked[f"{step} {model}".strip()] += 1
            self.changed.notify_all()
        self.revisions.append((step, request.key.revision))
        if step in self.gates:
            self.reached[step].set()
            try:
                while not self.gates[step].is_set():
                    if step not in self.deaf:
                        activity.heartbeat()
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                self.cancelled.append(step)
                raise
        named = (f"{step} {model}".strip(), f"{step} {request.key.revision}", step)
        failure = next((self.failures[name] for name in named if name in self.failures), None)
        if failure is not None:
            raise as_failure(failure)
