"""A provider that fails over and over is left alone by everybody, probed by one, and taken back."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from core.contracts.errors import AtelierError, ErrorType
from core.db.engine import Database
from tests.conftest import Account
from tests.support import wire_messages as far
from tests.support.gateways import COOLDOWN_SECONDS, GOOD, Desk, Title, comes_again, desk, kinds
from tests.support.rows import one, rows
from tests.support.wire import WireProvider

E = ErrorType
FAILURES = 2
FIRST = timedelta(seconds=COOLDOWN_SECONDS)


@pytest_asyncio.fixture
async def at(database: Database, account: Account, wire: WireProvider, tmp_path: Path) -> AsyncIterator[Desk]:
    """A gateway that leaves a provider alone after two failures in a row."""
    async with desk(database, account.owner_id, wire, tmp_path, cooldown_failures=FAILURES) as opened:
        yield opened


async def cool(at: Desk, wire: WireProvider, job: str, name: str = "anthropic") -> None:
    """Let the provider fail until it is left alone."""
    wire.script(*[far.overloaded()] * FAILURES, provider=name)
    for number in range(FAILURES):
        await at.fails(at.request(job, name, f"fail {number}"))


async def pass_time(at: Desk) -> None:
    """What `until` was is over."""
    await rows(at.database, "UPDATE cooldowns SET until = now() - interval '1 second' RETURNING 1")


async def left_alone_for(at: Desk) -> timedelta | None:
    """How long the provider was left alone when it failed last; None when it is asked as usual."""
    found = await rows(at.database, "SELECT until - updated_at AS wait FROM cooldowns")
    wait: timedelta | None = found[0]["wait"] if found else None
    return wait


async def test_a_provider_that_fails_again_and_again_is_asked_no_more(at: Desk, wire: WireProvider, name: str) -> None:
    job = await at.job()
    await cool(at, wire, job, name)
    assert await left_alone_for(at) == FIRST
    passed_over = await at.fails(at.request(job, name, last=False))
    assert (passed_over.type, comes_again(passed_over)) == (E.PROVIDER_COOLING, False)
    waiting = await at.fails(at.request(job, name, last=True))
    assert waiting.type is E.OVERLOADED
    delay = comes_again(waiting)
    assert isinstance(delay, timedelta)
    assert timedelta(0) < delay <= FIRST * 1.2
    # Nobody was asked, so nothing is on record, and nothing is held back.
    assert len(wire.requests) == len(await at.attempts()) == FAILURES
    assert await at.spent() == (Decimal(0), Decimal(0))


async def test_the_others_are_asked_meanwhile_and_what_is_stored_is_given(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.ok(GOOD))
    await at.ask(at.request(job, "anthropic", "stored"))
    await cool(at, wire, job)
    assert await at.ask(at.request(job, "anthropic", "stored", last=False)) == Title(title="Of lighthouses")
    wire.script(far.ok(GOOD), far.ok(GOOD))
    await at.ask(at.request(job, "google", "one"))
    await at.ask(at.request(job, "ollama", "two"))


async def test_a_success_between_two_failures_makes_it_begin_anew(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.overloaded(), far.ok(GOOD), far.overloaded())
    await at.fails(at.request(job, "anthropic", "one"))
    await at.ask(at.request(job, "anthropic", "two"))
    assert await at.troubles() == {}
    await at.fails(at.request(job, "anthropic", "three"))
    assert await at.troubles() == {"anthropic": 1}
    assert await left_alone_for(at) is None


async def test_one_probes_and_takes_it_back(at: Desk, wire: WireProvider, name: str) -> None:
    job, gate = await at.job(), threading.Event()
    await cool(at, wire, job, name)
    await pass_time(at)
    wire.script(far.hang(gate, arguments=GOOD))
    asking = [asyncio.create_task(at.ask(at.request(job, name, f"probe {n}", last=n % 2 == 0))) for n in range(6)]
    # All but the one who probes have their answer before the provider gives any.
    async with asyncio.timeout(20):
        for _, end in zip(range(5), asyncio.as_completed(asking), strict=False):
            with pytest.raises(AtelierError):
                await end
    gate.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert [end for end in ends if isinstance(end, Title)] == [Title(title="Of lighthouses")]
    assert set(kinds(ends)) <= {E.OVERLOADED, E.PROVIDER_COOLING}
    assert len(wire.requests) == FAILURES + 1
    assert await at.troubles() == {}
    wire.script(far.ok(GOOD))
    await at.ask(at.request(job, name, "as usual"))


async def test_each_probe_that_fails_doubles_the_time(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    await cool(at, wire, job)
    waits = []
    for number in range(4):
        await pass_time(at)
        wire.script(far.status(500))
        failed = await at.fails(at.request(job, "anthropic", f"probe {number}"))
        assert failed.type is E.PROVIDER_ERROR
        waits.append(await left_alone_for(at))
    assert waits == [2 * FIRST, 4 * FIRST, timedelta(minutes=10), timedelta(minutes=10)]


@pytest.mark.parametrize("answer", [far.refusal(), far.status(400), far.misses_schema(), far.prompt_too_long()])
async def test_a_probe_that_gets_any_answer_of_the_model_takes_it_back(
    at: Desk, wire: WireProvider, answer: far.Answer
) -> None:
    job = await at.job()
    await cool(at, wire, job)
    await pass_time(at)
    wire.script(answer, far.ok(GOOD))
    await at.fails(at.request(job, "anthropic", "probe"))
    assert await at.troubles() == {}
    await at.ask(at.request(job, "anthropic", "as usual"))


async def test_a_probe_that_is_cancelled_leaves_it_to_another(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    await cool(at, wire, job)
    await pass_time(at)
    wire.script(far.hang(threading.Event(), arguments=GOOD), far.ok(GOOD))
    asking = asyncio.create_task(at.ask(at.request(job, "anthropic", "probe")))
    await wire.received(FAILURES + 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await at.ask(at.request(job, "anthropic", "probe again"))
    assert await at.troubles() == {}


async def test_a_probe_that_may_not_be_paid_leaves_it_to_another(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    poor = await at.job(budget_usd=Decimal("0.00001"))
    await cool(at, wire, job)
    await pass_time(at)
    assert (await at.fails(at.request(poor, "anthropic"))).type is E.BUDGET_EXCEEDED
    wire.script(far.ok(GOOD))
    await at.ask(at.request(job, "anthropic", "probe"))
    assert await at.troubles() == {}


async def test_the_row_says_why(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.status(500), far.cut(3, GOOD))
    for number in range(FAILURES):
        await at.fails(at.request(job, "anthropic", f"fail {number}"))
    row = await one(at.database, "SELECT error_type, failures, until IS NOT NULL AS cooling FROM cooldowns")
    assert row == {"error_type": "stream_cut", "failures": FAILURES, "cooling": True}
