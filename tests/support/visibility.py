"""Temporal's list of workflows, which lags behind the truth a little."""

from temporalio.client import Client

from tests.support.stack import eventually


async def workflow_ids(client: Client, count: int) -> list[str]:
    """The ids of all executions, a line each, sorted, once there are that many."""

    async def read() -> list[str]:
        return sorted([execution.id async for execution in client.list_workflows()])

    return await eventually(read, lambda ids: len(ids) >= count, 15)
