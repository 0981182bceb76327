"""`python -m bench.floor_worker`: a bare Temporal worker for the floor, with the options of the product's workers."""

import asyncio
import gc
import logging
import signal

import uvloop
from temporalio.worker import Worker

from bench.floor_steps import ACTIVITY_QUEUE, QUEUE, FloorSteps, do_nothing
from core.settings import Settings
from core.temporal import connect
from worker.run import POLLERS, STICKY_TIMEOUT
from worker.sandbox import runner


async def main() -> None:
    """Poll until told to stop. A workflow's queue has activities of its own too; a job's steps have another queue."""
    settings = Settings()
    assert settings.temporal_address is not None
    logging.basicConfig(level=logging.WARNING)
    client = await connect(settings.temporal_address, settings.temporal_namespace)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    slots = {QUEUE: settings.worker_db_slots, ACTIVITY_QUEUE: settings.worker_llm_slots}
    workers = [
        Worker(
            client,
            task_queue=queue,
            workflows=[FloorSteps] if queue == QUEUE else [],
            activities=[do_nothing],
            workflow_runner=runner(),
            max_concurrent_activities=slots[queue],
            workflow_task_poller_behavior=POLLERS,
            activity_task_poller_behavior=POLLERS,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        )
        for queue in (QUEUE, ACTIVITY_QUEUE)
    ]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    print("worker.ready", flush=True)
    await stop.wait()
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)


if __name__ == "__main__":
    uvloop.run(main())
