"""Workers for queues, as a context: polling inside it, drained when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pydantic
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from core.contracts.names import Queue
from core.settings import Settings
from worker.interceptors import AtelierInterceptor
from worker.sandbox import runner

HEARTBEAT_THROTTLE = timedelta(seconds=1)
"""A cancel reaches an activity by its heartbeat; the SDK's default throttle would make that 8 s."""
STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a workflow task waits for the worker that has the workflow cached: after its death others wait this long."""

POLLERS = PollerBehaviorAutoscaling(minimum=1, initial=2, maximum=20)


@asynccontextmanager
async def polling(
    client: Client,
    queues: Sequence[Queue],
    workflows: Sequence[type[Any]],
    activities: dict[Queue, list[Callable[..., Any]]],
    settings: Settings,
) -> AsyncIterator[None]:
    """Poll the queues. At the end no new task is taken, and running activities get `worker_drain_seconds`."""
    slots = {
        Queue.ORCHESTRATION: settings.worker_db_slots,
        Queue.LLM: settings.worker_llm_slots,
        Queue.RENDER: settings.worker_render_slots,
    }
    workers = [
        Worker(
            client,
            task_queue=queue,
            workflows=workflows if queue is Queue.ORCHESTRATION else (),
            activities=activities[queue],
            interceptors=[AtelierInterceptor()],
            workflow_runner=runner(),
            # An input that does not validate fails its workflow; by default its task would be tried for ever.
            workflow_failure_exception_types=[pydantic.ValidationError],
            max_concurrent_activities=slots[queue],
            workflow_task_poller_behavior=POLLERS,
            activity_task_poller_behavior=POLLERS,
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            graceful_shutdown_timeout=timedelta(seconds=settings.worker_drain_seconds),
        )
        for queue in queues
    ]
    # A worker that fails for good ends the group, and with it the process: whoever supervises it starts another.
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
        try:
            yield
        finally:
            # At once, so that no queue takes new work while another drains.
            await asyncio.gather(*(worker.shutdown() for worker in workers))
