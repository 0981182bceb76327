"""A job's trace reaches all that its workflow starts, and no other's."""

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity, workflow

from core.contracts.jobs import JobRequest
from core.contracts.names import Queue, workflow_id
from core.settings import Settings
from core.temporal import connect
from tests.conftest import Namespace
from worker.run import build_worker

PATIENCE = timedelta(seconds=10)


@activity.defn(name="test.bound")
async def bound() -> dict[str, Any]:
    """What stands in every line of the log of an activity."""
    return structlog.contextvars.get_contextvars()


# Outside the sandbox, which would load this module anew; tests/faults/test_trace.py has the workers' own workflows.
@workflow.defn(name="test-traced", sandboxed=False)
class Traced:
    """Starts whatever a workflow can start."""

    @workflow.run
    async def run(self, request: JobRequest, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What its activities saw, in this run and the one before."""
        timeout = PATIENCE
        seen.append(await workflow.execute_activity(bound, start_to_close_timeout=timeout))
        seen.append(await workflow.execute_local_activity(bound, start_to_close_timeout=timeout))
        seen.append(await workflow.execute_child_workflow(Child.run, id=f"{workflow.info().workflow_id}/child"))
        if request.run == 1:
            again = request.model_copy(update={"run": 2})
            workflow.continue_as_new(args=[again, seen])
        return seen


@workflow.defn(name="test-child", sandboxed=False)
class Child:
    """Is told of no job."""

    @workflow.run
    async def run(self) -> dict[str, Any]:
        """What its activity saw."""
        return await workflow.execute_activity(bound, start_to_close_timeout=PATIENCE)


async def test_all_that_a_workflow_starts_belongs_to_its_trace(namespace: Namespace) -> None:
    client = await connect(namespace.address, namespace.name)
    settings = Settings(_env_file=None)

    async def seen(job_id: str, trace_id: str) -> list[dict[str, Any]]:
        request = JobRequest(
            job_id=job_id, owner_id="o", pipeline="test", input={}, models=("simulator:composer",), trace_id=trace_id
        )
        found: list[dict[str, Any]] = await client.execute_workflow(
            Traced.run, args=[request, []], id=workflow_id("test", job_id), task_queue=Queue.ORCHESTRATION
        )
        return found

    async with build_worker(client, Queue.ORCHESTRATION, [Traced, Child], [bound], settings):
        one, two, none = await asyncio.gather(seen("1", "a" * 32), seen("2", "b" * 32), seen("3", ""))
    assert [len(found) for found in (one, two, none)] == [6, 6, 6]
    assert {(line["job_id"], line["activity"], line["trace_id"]) for line in one} == {("1", "test.bound", "a" * 32)}
    assert {(line["job_id"], line["activity"], line["trace_id"]) for line in two} == {("2", "test.bound", "b" * 32)}
    assert not [line for line in none if "trace_id" in line]
