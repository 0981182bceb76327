"""Workers for queues, as a context: polling inside it, drained when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pydantic
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from core.contracts.names import Queue
from core.settings import Settings
from worker.interceptors import AtelierInterceptor
from worker.models import Models
from worker.sandbox import runner

HEARTBEAT_THROTTLE = timedelta(seconds=1)
"""A cancel reaches an activity by its heartbeat; the SDK's default throttle would make that 8 s."""
STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a workflow task waits for the worker that has the workflow cached: after its death others wait this long."""

Wait = Callable[[], Coroutine[Any, Any, Any]]

POLLERS = PollerBehaviorAutoscaling(minimum=1, initial=2, maximum=20)


@asynccontextmanager
async def polling(
    client: Client,
    queues: Sequence[Queue],
    workflows: Sequence[type[Any]],
    activities: dict[Queue, list[Callable[..., Any]]],
    settings: Settings,
    models: Models,
) -> AsyncIterator[None]:
    """Poll the queues, `llm` as long as a model can be asked.

    At the end no new task is taken, and running activities get `worker_drain_seconds`.
    """
    stop = asyncio.Event()

    def worker_of(queue: Queue) -> Worker:
        return build_worker(client, queue, workflows, activities[queue], settings)

    # A worker that fails for good ends the group, and with it the process: whoever supervises it starts another.
    async with asyncio.TaskGroup() as group:
        for queue in queues:
            if queue is Queue.LLM:
                group.create_task(_run_while_usable(lambda: worker_of(Queue.LLM), models, stop))
            else:
                group.create_task(_run(worker_of(queue), stop.wait))
        try:
            yield
        finally:
            # At once, so that no queue takes new work while another drains.
            stop.set()


async def _run_while_usable(worker: Callable[[], Worker], models: Models, stop: asyncio.Event) -> None:
    """Poll whenever a model can be asked; a worker that can ask none would only keep tasks from one that can."""
    while not stop.is_set():
        await _first(models.until_usable, stop.wait)
        if not stop.is_set():
            await _run(worker(), lambda: _first(models.until_lost, stop.wait))


async def _run(worker: Worker, end: Wait) -> None:
    """Run a worker until the end comes, then let it drain. Raises what the worker fails for."""
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await end()
        await worker.shutdown()


async def _first(*waits: Wait) -> None:
    """Wait for whichever comes first, and give the others up."""
    tasks = [asyncio.create_task(wait()) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build_worker(
    client: Client,
    queue: Queue,
    workflows: Sequence[type[Any]],
    activities: Sequence[Callable[..., Any]],
    settings: Settings,
) -> Worker:
    """The worker of one queue, as the settings want it."""
    slots = {
        Queue.ORCHESTRATION: settings.worker_db_slots,
        Queue.LLM: settings.worker_llm_slots,
        Queue.RENDER: settings.worker_render_slots,
        Queue.WEB: settings.worker_web_slots,
    }
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows if queue is Queue.ORCHESTRATION else (),
        activities=activities,
        interceptors=[AtelierInterceptor()],
        workflow_runner=runner(),
        # An input that does not validate fails its workflow; by default its task would be tried for ever.
        workflow_failure_exception_types=[pydantic.ValidationError],
        max_concurrent_activities=slots[queue],
        # Held by the server, for all workers of the queue together.
        max_task_queue_activities_per_second=settings.worker_llm_per_second if queue is Queue.LLM else None,
        workflow_task_poller_behavior=POLLERS,
        activity_task_poller_behavior=POLLERS,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=timedelta(seconds=settings.worker_drain_seconds),
    )
