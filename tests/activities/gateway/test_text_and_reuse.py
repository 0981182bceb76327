"""Text that a model is still writing, and answers that are taken again."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from core.contracts.errors import ErrorType
from core.contracts.jobs import FinishJob, JobStatus
from core.contracts.llm import Usage
from core.db.engine import Database
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from tests.conftest import Account, make_account
from tests.support import wire_messages as far
from tests.support.gateways import GOOD, MODELS, TEXT, USAGE, Desk, Title, desk, usage_of
from tests.support.rows import rows
from tests.support.stack import eventually
from tests.support.wire import WireProvider

LONG = {"title": "Of lighthouses", "text": " ".join([TEXT] * 20)}
TEXT_EVENT = "step.text"
AT_ONCE = timedelta(microseconds=1)
NEVER_AGAIN = timedelta(hours=1)


@pytest.fixture
def telling(database: Database, account: Account, wire: WireProvider, tmp_path: Path) -> Any:
    """Opens a gateway that tells unfinished text so often."""

    def opened(every: timedelta) -> AbstractAsyncContextManager[Desk]:
        return desk(database, account.owner_id, wire, tmp_path, partial_text=every)

    return opened


@pytest_asyncio.fixture
async def at_once(telling: Any) -> AsyncIterator[Desk]:
    """A gateway that tells every piece, but one at a time."""
    async with telling(AT_ONCE) as opened:
        yield opened


async def until_told(at: Desk, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many pieces are told."""
    return await eventually(lambda: at.events(TEXT_EVENT), lambda told: len(told) >= count, 10)


async def test_text_is_told_as_it_grows(at_once: Desk, wire: WireProvider, name: str) -> None:
    gate = threading.Event()
    wire.script(replace(far.hang(gate, after=4, arguments=LONG), drip_s=0.02, pieces=12))
    asking = asyncio.create_task(at_once.ask(at_once.request(await at_once.job(), name)))
    await until_told(at_once)
    gate.set()
    await asking
    told = await at_once.events(TEXT_EVENT)
    row = await at_once.attempt()
    assert 2 <= len(told) <= 12
    text = ""
    for piece in told:
        named = {key: piece[key] for key in ("step", "stage", "revision", "attempt_id", "model")}
        assert named == {
            "step": "draft",
            "stage": "sections",
            "revision": 1,
            "attempt_id": str(row["id"]),
            "model": MODELS[name],
        }
        assert piece["offset"] == len(text)
        assert piece["text"]
        text += piece["text"]
    assert LONG["text"].startswith(text)
    # Nothing of it comes after the step is told.
    assert (await at_once.events())[-1]["type"] == "step.completed"


async def test_pieces_are_gathered(telling: Any, wire: WireProvider) -> None:
    wire.script(far.drip(0.002, LONG, pieces=60))
    async with telling(NEVER_AGAIN) as at:
        await at.ask(at.request(await at.job(), "anthropic"))
        (piece,) = await at.events(TEXT_EVENT)
        assert piece["offset"] == 0


async def test_nothing_is_told_where_it_is_off(telling: Any, wire: WireProvider) -> None:
    wire.script(far.drip(0.002, LONG, pieces=20))
    async with telling(timedelta(0)) as at:
        await at.ask(at.request(await at.job(), "anthropic"))
        assert await at.events(TEXT_EVENT) == []


async def test_another_attempt_begins_anew_and_names_itself(at_once: Desk, wire: WireProvider, name: str) -> None:
    at, gate = at_once, threading.Event()
    wire.script(replace(far.hang(gate, after=4, arguments=LONG), cut_after=5, pieces=8), far.drip(0.02, LONG))
    request = at.request(await at.job(), name)
    asking = asyncio.create_task(at.fails(request))
    first = await until_told(at)
    gate.set()
    assert (await asking).type is ErrorType.STREAM_CUT
    before = len(await at.events(TEXT_EVENT))
    await at.ask(request, attempt=2)
    again = (await at.events(TEXT_EVENT))[before:]
    assert first[0]["offset"] == again[0]["offset"] == 0
    assert [str(row["id"]) for row in await at.attempts()] == [first[0]["attempt_id"], again[0]["attempt_id"]]


async def test_a_cancel_in_the_middle_of_the_text_closes_the_connection(
    at_once: Desk, wire: WireProvider, name: str
) -> None:
    at = at_once
    wire.script(far.hang(threading.Event(), after=4, arguments=LONG))
    asking = asyncio.create_task(at.ask(at.request(await at.job(), name)))
    await until_told(at)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await wire.disconnected(wire.requests[0])
    assert (await at.attempt())["outcome"] == "cancelled"


# Answers that are taken again.


async def test_the_very_same_request_of_an_owner_is_answered_from_before(
    at: Desk, wire: WireProvider, name: str
) -> None:
    wire.script(far.ok(GOOD, USAGE))
    first, second = await at.job(), await at.job()
    await at.ask(at.request(first, name, reuse=True))
    before = await at.spent()
    assert await at.ask(at.request(second, name, reuse=True)) == Title(title="Of lighthouses")
    assert len(wire.requests) == 1
    paid, reused = await at.attempts()
    assert (paid["reused"], reused["reused"]) == (False, True)
    assert (reused["outcome"], reused["usd"], usage_of(reused)) == ("ok", Decimal(0), Usage())
    assert str(reused["job_id"]) == second
    assert await at.spent() == before
    # Each job has a step of its own.
    stored = await at.read("SELECT 1 FROM steps s JOIN jobs j ON j.id = s.job_id WHERE j.owner_id = :owner")
    assert len(stored) == 2


@pytest.mark.parametrize("change", ["bypass", "prompt", "model", "limit", "owner"])
async def test_another_request_is_asked(at: Desk, wire: WireProvider, change: str) -> None:
    wire.script(far.ok(GOOD), far.ok(GOOD))
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    if change == "owner":
        at = replace(at, owner_id=(await make_account(at.database, "Bob Example")).owner_id)
    request = at.request(await at.job(), "google" if change == "model" else "anthropic", reuse=change != "bypass")
    different: dict[str, Any] = {"prompt": {"what": "a bridge"}, "limit": {"max_output_tokens": 98}}
    await at.ask(request, **different.get(change, {}))
    assert len(wire.requests) == 2
    assert {row["reused"] for row in await at.attempts()} == {False}


async def test_what_was_asked_without_leave_is_not_taken_again(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD), far.ok(GOOD))
    await at.ask(at.request(await at.job(), "anthropic"))
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    assert len(wire.requests) == 2


async def test_an_answer_that_would_not_do_now_is_not_taken_again(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD), far.ok({**GOOD, "title": "Of bridges"}))
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))

    def check(output: Any) -> str | None:
        return None if "bridges" in output.title else "It is not about bridges."

    again = at.request(await at.job(), "anthropic", reuse=True)
    assert await at.ask(again, check=check) == Title(title="Of bridges")


async def test_an_answer_goes_with_its_job(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD), far.ok(GOOD))
    job = await at.job()
    await at.ask(at.request(job, "anthropic", reuse=True))
    async with at.database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=job, run=1, status=JobStatus.CANCELLED))
        await JobRepository(connection, at.owner_id).delete(job)
    assert await at.read("SELECT 1 FROM results WHERE owner_id = :owner") == []
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    assert len(wire.requests) == 2


async def test_an_answer_of_last_month_is_not_taken_again(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD), far.ok(GOOD))
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    await at.read("UPDATE results SET created_at = now() - interval '31 days' WHERE owner_id = :owner RETURNING 1")
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    assert len(wire.requests) == 2
    # The new one has taken its place.
    assert await at.ask(at.request(await at.job(), "anthropic", reuse=True)) == Title(title="Of lighthouses")


async def test_what_is_taken_again_needs_neither_budget_nor_provider(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD))
    await at.ask(at.request(await at.job(), "anthropic", reuse=True))
    await rows(
        at.database,
        "INSERT INTO cooldowns (provider, failures, until, error_type) "
        "VALUES ('anthropic', 9, now() + interval '1 hour', 'overloaded') RETURNING 1",
    )
    poor = await at.job(budget_usd=Decimal("0.00001"))
    assert await at.ask(at.request(poor, "anthropic", reuse=True, last=False)) == Title(title="Of lighthouses")
