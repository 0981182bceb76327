"""Servers are killed and away: every accepted job starts once and ends once."""

import asyncio
import threading

import pytest

from core.temporal import connect
from tests.faults.conftest import BEHIND_CACHE, CALLS
from tests.support.ground import Ground
from tests.support.rows import one, rows
from tests.support.stack import User, eventually
from tests.support.visibility import workflow_ids
from tests.support.wire import WireProvider
from tests.support.wire_messages import hang


async def test_temporal_and_postgres_are_killed_while_a_model_is_asked(ground: Ground, wire: WireProvider) -> None:
    gates = [threading.Event(), threading.Event()]
    wire.script(hang(gates[0]), prompt="Sections: 3")
    wire.script(hang(gates[1]), prompt="Write section 2 of 3")
    stack, database = ground.stack, ground.database()
    stack.worker()
    async with User(stack.api(), ground.account.token) as user:
        job = await user.submit()
        await wire.received()
        await asyncio.to_thread(ground.temporal.kill)
        gates[0].set()
        await eventually(lambda: rows(database, BEHIND_CACHE), lambda stored: len(stored) == 1)
        assert await asyncio.to_thread(ground.temporal.start) == stack.temporal_address
        await wire.received(lambda request: "Write section 2 of 3" in request.prompt, 30)
        await eventually(lambda: rows(database, BEHIND_CACHE), lambda stored: len(stored) == 3)
        await asyncio.to_thread(ground.postgres.kill)
        # The answer comes while the database is away: it is held until it can be stored, and not asked for again.
        gates[1].set()
        await asyncio.to_thread(wire.wait_until, lambda: all(request.answered for request in wire.requests))
        away = await user.http.get(f"/v1/jobs/{job['id']}")
        assert (away.status_code, away.json()["code"]) == (503, "database_unavailable")
        await asyncio.to_thread(ground.postgres.start)
        await user.until(job["id"], "completed")
    assert len(wire.requests) == CALLS
    await ground.audit(database, wire)
    await database.close()


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.faults)])
async def test_submissions_while_temporal_is_away_and_the_api_dies(ground: Ground, count: int) -> None:
    """Without a wire: the simulator writes."""
    await asyncio.to_thread(ground.temporal.stop)
    stack, database = ground.stack, ground.database()
    stack.env = {}
    doomed = stack.api()
    short = {"topic": "Tidal mills", "target_words": 300, "formats": ["markdown"]}
    async with User(doomed, ground.account.token) as user:
        jobs = await asyncio.gather(*(user.submit(key=f"key-{n}", input=short) for n in range(count)))
        ready = (await user.http.get("/v1/health/ready")).json()
        assert ready["temporal"] != "up"
    assert len({job["id"] for job in jobs}) == count
    doomed.process.kill()
    assert {row["status"] for row in await rows(database, "SELECT status FROM jobs")} == {"pending"}
    await asyncio.to_thread(ground.temporal.start)
    apis = [stack.api(), stack.api()]
    stack.worker()
    counted = "SELECT count(*) FROM jobs WHERE status = 'completed'"
    await eventually(lambda: one(database, counted), lambda row: row["count"] == count, 90)
    async with User(apis[1], ground.account.token) as user:
        again = await asyncio.gather(*(user.submit(key=f"key-{n}", input=short) for n in range(count)))
    assert [job["id"] for job in again] == [job["id"] for job in jobs]
    assert {job["status"] for job in again} == {"completed"}
    client = await connect(stack.temporal_address, "default")
    assert await workflow_ids(client, count) == sorted(f"longform/{job['id']}" for job in jobs)
    assert all(job["run"] == 1 for job in again)
    await ground.audit(database)
    await database.close()
