"""A long run: providers that fail, and everything killed in turn, at points that the run awaits."""

import asyncio
import random

import pytest

from core.contracts.jobs import ENDED, JobStatus
from tests.support.ground import Ground
from tests.support.rows import rows
from tests.support.stack import Api, Process, Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_messages import Answer, cut, malformed, overloaded, rate_limited, refusal, reset, status

JOBS = 24
KILLS = 12
CALLS_BETWEEN = 8
"""Calls that the providers get between two kills."""
SEED = 20_261


@pytest.mark.faults
async def test_everything_is_killed_while_the_providers_fail(ground: Ground, wire: WireProvider) -> None:
    stack, database, chance = ground.stack, ground.database(), random.Random(SEED)
    stack.env = {**wire.environment(), "WORKER_LLM_SLOTS": "4"}
    wire.latency_s = 0.2
    apis = [stack.api(), stack.api()]
    workers = [stack.worker(), stack.worker()]
    async with User(apis[0], ground.account.token) as user:
        jobs = [(await user.submit(key=f"job-{number}"))["id"] for number in range(JOBS)]
    for number in range(KILLS):
        wire.script(*_failures(chance))
        seen = len(wire.requests)
        await _until_asked(ground, wire, seen + CALLS_BETWEEN)
        await _kill(ground, stack, apis, workers, ("worker", "postgres", "temporal", "api")[number % 4], chance)
    async with User(apis[0], ground.account.token) as user:
        for _ in range(5):
            await eventually(lambda: _statuses(ground), lambda found: set(found.values()) <= ENDED, 240, every=0.5)
            failed = [job for job, found in (await _statuses(ground)).items() if found is JobStatus.FAILED]
            if not failed:
                break
            # Every model failed a step for good; now they are back, and the owner retries.
            await asyncio.gather(*(user.act(job, "retry") for job in failed))
    assert await _statuses(ground) == dict.fromkeys(jobs, JobStatus.COMPLETED)
    await ground.audit(database, wire)
    await database.close()


def _failures(chance: random.Random) -> list[Answer]:
    kinds = (overloaded(), rate_limited("1"), status(500), malformed(), refusal(), reset(), cut(2))
    return [chance.choice(kinds) for _ in range(3)]


async def _until_asked(ground: Ground, wire: WireProvider, count: int) -> None:
    """Wait for the next calls, or for the end of all jobs: then there is nothing left to disturb."""

    async def done() -> bool:
        return len(wire.requests) >= count or set((await _statuses(ground)).values()) <= ENDED

    await eventually(done, bool, 120)


async def _kill(
    ground: Ground, stack: Stack, apis: list[Api], workers: list[Process], victim: str, chance: random.Random
) -> None:
    """SIGKILL, and start another in its place."""
    if victim == "worker":
        place = chance.randrange(len(workers))
        workers[place].kill()
        workers[place] = stack.worker(wait=False)
    elif victim == "api":
        place = chance.randrange(len(apis))
        apis[place].process.kill()
        apis[place] = await asyncio.to_thread(stack.api)
    else:
        server = ground.postgres if victim == "postgres" else ground.temporal
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


async def _statuses(ground: Ground) -> dict[str, JobStatus]:
    database = ground.database()
    try:
        return {str(row["id"]): JobStatus(row["status"]) for row in await rows(database, "SELECT id, status FROM jobs")}
    finally:
        await database.close()
