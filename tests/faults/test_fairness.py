"""One owner's crowd does not make another owner wait."""

import asyncio
import time
from dataclasses import dataclass

import pytest

from core.db.engine import Database
from tests.conftest import make_account
from tests.faults.conftest import CALLS
from tests.support.audit import Audit
from tests.support.rows import one
from tests.support.stack import Api, Stack, User, eventually
from tests.support.wire import WireProvider

CROWD_WORDS = 12_000
"""Of a job of 40 sections."""
SMALL_CROWD, CROWD = 6, 13
"""Jobs: 240 and 520 model calls queued."""
CALL_SECONDS = 0.5
SLOTS = 10


async def test_another_owners_job_does_not_wait_for_the_crowd(
    stack: Stack, user: User, api: Api, wire: WireProvider, database: Database, audit: Audit
) -> None:
    """Counted in the crowd's calls and not in seconds, so that it holds on a busy machine."""
    run = await _behind_a_crowd(stack, user, api, wire, database, SMALL_CROWD)
    turns = run.alone / CALL_SECONDS * SLOTS
    assert run.crowd_calls <= 3 * turns, f"{run.crowd_calls} calls of the crowd went first; alone is {turns:.0f} turns"
    await audit.check()


@pytest.mark.faults
async def test_another_owners_job_takes_at_most_three_times_as_long_behind_a_crowd(
    stack: Stack, user: User, api: Api, wire: WireProvider, database: Database
) -> None:
    run = await _behind_a_crowd(stack, user, api, wire, database, CROWD)
    print(f"alone {run.alone:.1f} s, behind the crowd {run.behind:.1f} s")
    assert run.behind <= 3 * run.alone, f"{run.behind:.1f} s behind the crowd, {run.alone:.1f} s alone"


@dataclass(frozen=True)
class Run:
    """Seconds that the other's job took alone and behind the crowd, and the crowd's calls in the second time."""

    alone: float
    behind: float
    crowd_calls: int


async def _behind_a_crowd(stack: Stack, user: User, api: Api, wire: WireProvider, database: Database, size: int) -> Run:
    wire.latency_s = CALL_SECONDS
    crowd = await make_account(database, "Crowd Example")
    worker = stack.worker(WORKER_LLM_SLOTS=str(SLOTS))
    alone = await _seconds(user)
    # The crowd gathers while nobody takes model calls, so that all of it is queued before the other's job comes.
    worker.stop()
    stack.worker("orchestration")
    async with User(api, crowd.token) as other:
        jobs = [await other.submit(input={"topic": f"Mill {n}", "target_words": CROWD_WORDS}) for n in range(size)]
        await _until_queued(stack, database, jobs)
        before = len(wire.requests)
        behind = await _seconds(user)
        crowd_calls = len(wire.requests) - before - CALLS
        running = await one(database, "SELECT count(*) FROM jobs WHERE status = 'running'")
        assert running["count"] > size / 2, "the crowd must still be there when the other's job ends"
        await asyncio.gather(*(other.http.post(f"/v1/jobs/{job['id']}/cancel") for job in jobs))
        await asyncio.gather(*(other.until(job["id"], "cancelled", "completed") for job in jobs))
    return Run(alone, behind, crowd_calls)


async def _seconds(user: User) -> float:
    started = time.monotonic()
    job = await user.submit()
    await user.until(job["id"], "completed")
    return time.monotonic() - started


async def _until_queued(stack: Stack, database: Database, jobs: list[dict[str, object]]) -> None:
    """Decompose all of them, so that every section is queued; then calls are taken ten at a time."""
    stack.worker("llm,render", WORKER_LLM_SLOTS=str(SLOTS))
    planned = "SELECT count(*) FROM steps WHERE step = 'decompose'"
    await eventually(lambda: one(database, planned), lambda row: row["count"] >= len(jobs) + 1, 60)
