"""The delivery's workflow: how often it tries, how long it waits, and when it gives up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, Worker

from core.contracts.names import Queue, workflow_id
from core.contracts.webhooks import DELIVERY, DeliveryRequest, Schedule, Tried
from core.temporal import connect
from tests.conftest import Namespace
from tests.support.scripted import ScriptedWebhooks
from worker.sandbox import runner
from workflows.webhooks import DeliveryWorkflow


@asynccontextmanager
async def working(client: Client, scripted: ScriptedWebhooks) -> AsyncIterator[None]:
    async with (
        Worker(client, task_queue=Queue.ORCHESTRATION, workflows=[DeliveryWorkflow], workflow_runner=runner()),
        Worker(client, task_queue=Queue.WEB, activities=[scripted.deliver]),
    ):
        yield


async def delivered(client: Client, scripted: ScriptedWebhooks, schedule: Schedule, tried: int = 0) -> WorkflowHistory:
    async with working(client, scripted):
        handle = await client.start_workflow(
            DeliveryWorkflow.run,
            DeliveryRequest(delivery_id="d", round=2, tried=tried, schedule=schedule),
            id=workflow_id(DELIVERY, str(id(scripted))),
            task_queue=Queue.ORCHESTRATION,
        )
        await handle.result()
        return await handle.fetch_history()


async def test_the_pause_doubles_up_to_the_longest(namespace: Namespace) -> None:
    client = await connect(namespace.address, namespace.name)
    scripted = ScriptedWebhooks(lambda request: Tried(again=None if request.number == 4 else request.pause))
    history = await delivered(client, scripted, Schedule(first=0.01, longest=0.03, total=60))
    assert [(asked.number, asked.pause) for asked in scripted.asked] == [(1, 0.01), (2, 0.02), (3, 0.03), (4, 0.03)]
    assert {(asked.delivery_id, asked.round) for asked in scripted.asked} == {("d", 2)}
    await Replayer(
        workflows=[DeliveryWorkflow], workflow_runner=runner(), data_converter=client.data_converter
    ).replay_workflow(history)


async def test_the_last_try_is_told_that_it_is(namespace: Namespace) -> None:
    client = await connect(namespace.address, namespace.name)
    scripted = ScriptedWebhooks(lambda request: Tried(again=request.pause))
    # Behind the second try no pause fits any more.
    await delivered(client, scripted, Schedule(first=0.02, longest=0.02, total=0.03))
    assert [(asked.number, asked.pause) for asked in scripted.asked] == [(1, 0.02), (2, None)]


async def test_it_goes_on_from_the_tries_that_were_made_and_waits_for_as_long_as_it_is_told(
    namespace: Namespace,
) -> None:
    client = await connect(namespace.address, namespace.name)
    scripted = ScriptedWebhooks(lambda request: Tried(again=0.05 if request.number == 8 else None))
    history = await delivered(client, scripted, Schedule(first=0.01, longest=5, total=60), tried=7)
    assert [(asked.number, asked.pause) for asked in scripted.asked] == [(8, 1.28), (9, 2.56)]
    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToMilliseconds()
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert timers == [50]
