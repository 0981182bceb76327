"""The same submission from everywhere at once: one job, one workflow, one payment."""

import asyncio

from core.db.engine import Database
from core.temporal import connect
from tests.conftest import Account, Namespace
from tests.faults.conftest import CALLS
from tests.support.audit import Audit
from tests.support.rows import one
from tests.support.stack import Stack, User
from tests.support.visibility import workflow_ids
from tests.support.wire import WireProvider


async def test_one_key_at_once_and_later_from_two_api_processes(
    stack: Stack, account: Account, database: Database, namespace: Namespace, wire: WireProvider, audit: Audit
) -> None:
    apis = [stack.api(), stack.api()]
    stack.worker()
    async with User(apis[0], account.token) as first, User(apis[1], account.token) as second:
        jobs = await asyncio.gather(*(user.submit(key="once") for user in (first, second) * 15))
        job = jobs[0]["id"]
        assert {answer["id"] for answer in jobs} == {job}
        await second.until(job, "completed")
        assert (await first.submit(key="once"))["status"] == "completed"
    assert (await one(database, "SELECT count(*) FROM jobs"))["count"] == 1
    assert await workflow_ids(await connect(namespace.address, namespace.name), 1) == [f"longform/{job}"]
    assert len(wire.requests) == CALLS
    await audit.check()
