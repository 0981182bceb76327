"""The benchmarks' jobs by our path and on bare Temporal, one or many at a time."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from bench.contracts import PIPELINE
from bench.floor_steps import ACTIVITY_QUEUE, QUEUE, FloorSteps
from bench.machine import Machine
from core.contracts.names import EVENTS_CHANNEL, workflow_id
from tests.support.stack import Api

JOB_SECONDS = 60.0
_numbers = itertools.count(1)


class Jobs:
    """Submits jobs of N paid steps through the API, and hears by NOTIFY when they end."""

    def __init__(self, machine: Machine, http: httpx.AsyncClient) -> None:
        self._http = http
        self._client = machine.client
        self._heard: dict[str, asyncio.Future[None]] = defaultdict(asyncio.get_running_loop().create_future)
        self._last = 0

    @classmethod
    @asynccontextmanager
    async def on(cls, machine: Machine, api: Api) -> AsyncIterator[Self]:
        """On an API that knows the pipeline."""
        headers = {"Authorization": f"Bearer {machine.token}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=30) as http:
            jobs = cls(machine, http)
            connection = await machine.connection()
            try:
                await connection.add_listener(EVENTS_CHANNEL, jobs._hear)
                yield jobs
            finally:
                await connection.close()

    async def run(self, steps: int) -> WorkflowHandle[Any, Any]:
        """One job from its submission to its end."""
        # accepted, started, two a step, completed: a job that fails never gets there, and times out here.
        self._last = 3 + 2 * steps
        body = {"pipeline": PIPELINE, "input": {"steps": steps}}
        answer = await self._http.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        async with asyncio.timeout(JOB_SECONDS):
            await self._heard[job_id]
        return self._client.get_workflow_handle(workflow_id(PIPELINE, job_id))

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        job_id, _, seq = str(payload).partition(":")
        if int(seq) == self._last and not self._heard[job_id].done():
            self._heard[job_id].set_result(None)


class Floor:
    """Runs bare workflows of N activities that do nothing."""

    def __init__(self, client: Client, *, apart: bool) -> None:
        """`apart` puts the activities on a queue of their own, as a job's steps are. On the workflow's own queue the
        server hands them out with the workflow task's answer (eager), which is cheaper."""
        self._client = client
        self._queue = ACTIVITY_QUEUE if apart else QUEUE

    async def run(self, steps: int) -> WorkflowHandle[Any, Any]:
        """One workflow from its start to its end."""
        handle = await self._client.start_workflow(
            FloorSteps.run, args=[steps, self._queue], id=f"floor-{next(_numbers)}", task_queue=QUEUE
        )
        async with asyncio.timeout(JOB_SECONDS):
            await handle.result()
        return handle


async def rate(run: Callable[[int], Awaitable[object]], *, count: int, in_flight: int, steps: int) -> float:
    """Runs a second: so many in all, so many at a time, each followed at once by the next."""
    left = iter(range(count))

    async def one_after_the_other() -> None:
        for _ in left:
            await run(steps)

    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return count / (asyncio.get_running_loop().time() - began)


async def step_times(handle: WorkflowHandle[Any, Any], activity: str) -> list[float]:
    """Milliseconds of each step of a workflow, by the server's clock: from the moment an activity is scheduled to
    the moment the workflow has taken up its result and does the next thing."""
    scheduled: list[float] = []
    after: float | None = None
    async for event in handle.fetch_history_events():
        at = event.event_time.ToNanoseconds() / 1e6
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if event.activity_task_scheduled_event_attributes.activity_type.name == activity:
                scheduled.append(at)
            elif scheduled:
                after = after or at
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            after = after or at
    assert after is not None, "the workflow did not complete"
    return [end - start for start, end in itertools.pairwise([*scheduled, after])]
