"""Long runs: providers that fail, and workers or everything killed in turn, at points that the run awaits."""

import asyncio
import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from core.contracts.jobs import ENDED, JobStatus
from core.contracts.llm import Usage
from core.db.engine import Database
from core.ledger.prices import price
from tests.support.audit import Audit
from tests.support.ground import Ground
from tests.support.rows import one, rows
from tests.support.stack import Api, Process, Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_messages import (
    Answer,
    WireRequest,
    cut,
    malformed,
    overloaded,
    rate_limited,
    refusal,
    reset,
    status,
)

JOBS = 24
KILLS = 12
CALLS_BETWEEN = 8
"""Calls that the providers get between two kills."""
SEED = 20_261
FAULTY = 0.2
"""The share of calls that fail, in one of all the ways that the wire knows."""
BUDGET = Decimal(1)
"""USD of every second job: far more than it costs, so that each of its calls is reserved for."""


@pytest.mark.parametrize("providers", [("anthropic", "gemini", "ollama")])
@pytest.mark.parametrize(("count", "kills"), [(20, 2), pytest.param(100, 10, marks=pytest.mark.faults)])
async def test_every_job_ends_for_a_stated_reason_and_its_cost_is_the_providers(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit, count: int, kills: int
) -> None:
    chance = random.Random(SEED)
    # A provider that had bad luck is soon tried again.
    stack.env |= {"WORKER_LLM_SLOTS": "10", "COOLDOWN_SECONDS": "0.5"}
    wire.faulty(FAULTY, SEED, silence_s=0.2)
    wire.latency_s = 0.2  # so that whoever is killed dies in a call
    workers = [stack.worker(wait=False), stack.worker(wait=False)]
    jobs = [(await _submit(user, number))["id"] for number in range(count)]
    for _ in range(kills):
        await _asked_or_ended(database, wire, len(wire.requests) + chance.randint(20, 60))
        place = chance.randrange(len(workers))
        workers[place].kill()
        workers[place] = stack.worker(wait=False)
    await eventually(lambda: _states(database), lambda found: set(found.values()) <= ENDED, 300, every=0.25)
    for job in [await user.job(job) for job in jobs]:
        if job["status"] == "failed":
            assert job["error"]["code"] == "all_models_failed"
            reasons = job["error"]["details"]["models"]
            assert len(reasons) == 3
            assert all(reason["code"] and reason["message"] for reason in reasons)
        else:
            assert job["status"] == "completed"
    assert {request.fault is not None for request in wire.requests} == {True, False}
    await audit.check()
    await _audit_bill(database, wire)


async def _submit(user: User, number: int) -> dict[str, Any]:
    brief = {"topic": f"Mill {number}", "target_words": 300, "cache": "bypass", "formats": ["markdown"]}
    return await user.submit(input=brief, budget_usd=float(BUDGET) if number % 2 else None)


async def _asked_or_ended(database: Database, wire: WireProvider, count: int) -> None:
    async def done() -> bool:
        return len(wire.requests) >= count or set((await _states(database)).values()) <= ENDED

    await eventually(done, bool, 120)


async def _audit_bill(database: Database, wire: WireProvider) -> None:
    """closed ≤ what the far end charges ≤ closed + what is held: for the calls of killed workers, and for streams that
    broke and did not tell all that they cost."""
    lost = await one(database, "SELECT count(*) AS calls FROM attempts WHERE outcome = 'unknown'")
    assert lost["calls"] > 0
    sums = ", ".join(f"sum({name})::int AS {name}" for name in Usage.model_fields)
    closed = await one(database, f"SELECT {sums} FROM attempts WHERE outcome <> 'unknown'")
    for name, tokens in closed.items():
        # Whatever was told to a worker that lived to hear it is on record, to the token.
        told = sorted((getattr(request.reported, name) for request in wire.requests), reverse=True)
        assert tokens <= sum(told) <= tokens + sum(told[: lost["calls"]])
    held = "COALESCE(sum(reserved_usd) FILTER (WHERE usd IS NULL), 0) AS held"
    paid = await one(database, f"SELECT sum(usd) AS usd, {held} FROM attempts")
    assert paid["usd"] <= _usd(wire.requests) <= paid["usd"] + paid["held"]


def _usd(requests: Iterable[WireRequest]) -> Decimal:
    total = Decimal(0)
    for request in requests:
        usd = price(f"{request.provider}:{request.model}", request.billed)
        assert usd is not None
        total += usd
    return total


async def _states(database: Database) -> dict[str, JobStatus]:
    return {str(row["id"]): JobStatus(row["status"]) for row in await rows(database, "SELECT id, status FROM jobs")}


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
        return await _states(database)
    finally:
        await database.close()
