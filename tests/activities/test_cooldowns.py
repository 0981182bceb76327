"""Providers that fail over and over: left alone by all workers, probed by one, taken back."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from core.contracts.errors import ErrorType
from core.db.engine import Database
from core.db.repositories.cooldowns import ASK_AGAIN, Admission, CooldownRepository
from core.ledger.cooldowns import TROUBLE, Cooldowns
from tests.support.rows import one, rows

NAME = "anthropic"
FREE = Admission(None, timedelta(0), troubled=False)


async def fail(
    cooldowns: Cooldowns, times: int, error_type: ErrorType = ErrorType.OVERLOADED, probe: datetime | None = None
) -> None:
    for _ in range(times):
        await cooldowns.failed(NAME, error_type, probe)


async def later(database: Database, seconds: float) -> None:
    """Let time pass for a provider that is left alone."""
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE cooldowns SET until = until - CAST(:by AS interval), "
                "probing_until = probing_until - CAST(:by AS interval)"
            ),
            {"by": timedelta(seconds=seconds)},
        )


async def left_alone(database: Database) -> float:
    """For how many seconds, from the last failure on."""
    row = await one(database, "SELECT extract(epoch FROM until - updated_at) AS seconds FROM cooldowns")
    return float(row["seconds"])


async def admitted(cooldowns: Cooldowns, workers: int) -> Sequence[Admission]:
    """What as many workers are told at once."""
    return await asyncio.gather(*(cooldowns.admit(NAME) for _ in range(workers)))


async def test_a_provider_is_asked_until_it_failed_so_often_in_a_row(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=3, seconds=30)
    assert await cooldowns.admit(NAME) == FREE
    await fail(cooldowns, 2)
    assert await cooldowns.admit(NAME) == Admission(None, timedelta(0), troubled=True)
    await cooldowns.succeeded(NAME)
    assert await cooldowns.admit(NAME) == FREE
    await fail(cooldowns, 3)
    refused = await cooldowns.admit(NAME)
    assert refused.until is not None
    assert timedelta(seconds=20) < refused.wait <= timedelta(seconds=30)
    assert await cooldowns.admit("google") == FREE
    async with database.transaction() as connection:
        (row,) = await CooldownRepository(connection).all()
    assert (row.provider, row.failures, row.until, row.error_type) == (NAME, 3, refused.until, "overloaded")


async def test_one_failure_may_be_enough(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=1, seconds=30)
    await fail(cooldowns, 1)
    assert (await cooldowns.admit(NAME)).until is not None


OTHERS = (
    ErrorType.MODEL_AUTH,
    ErrorType.MODEL_BAD_REQUEST,
    ErrorType.MODEL_REFUSED,
    ErrorType.OUTPUT_INVALID,
    ErrorType.PROMPT_TOO_LONG,
)


@pytest.mark.parametrize("error_type", [*sorted(TROUBLE), *OTHERS])
async def test_only_a_providers_own_failures_count(database: Database, error_type: ErrorType) -> None:
    cooldowns = Cooldowns(database, failures=2, seconds=30)
    await fail(cooldowns, 1)
    await fail(cooldowns, 1, error_type)
    # An answer that is of no use shows all the same that somebody is there.
    assert (await cooldowns.admit(NAME)).troubled == (error_type in TROUBLE)


async def test_of_twenty_workers_one_finds_out_whether_it_is_back(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=1, seconds=30)
    await fail(cooldowns, 1)
    assert all(admission.until is not None for admission in await admitted(cooldowns, 20))
    await later(database, 30)
    told = await admitted(cooldowns, 20)
    assert [admission.troubled for admission in told if admission.until is None] == [True]
    # The others look again soon, whatever a probe may take.
    assert all(timedelta(0) < admission.wait <= ASK_AGAIN for admission in told if admission.until is not None)
    await cooldowns.succeeded(NAME)
    assert list(await admitted(cooldowns, 3)) == [FREE] * 3


async def test_a_probe_that_fails_doubles_the_time_up_to_ten_minutes(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=2, seconds=100)
    await fail(cooldowns, 2)
    seconds = [await left_alone(database)]
    for _ in range(4):
        await later(database, 600)
        admission = await cooldowns.admit(NAME)
        assert (admission.until, admission.probe is not None) == (None, True)
        # Of somebody who was asked before: it is no probe's.
        await fail(cooldowns, 1)
        await fail(cooldowns, 1, probe=admission.probe)
        seconds.append(await left_alone(database))
    assert seconds == pytest.approx([100, 200, 400, 600, 600])


async def test_failures_of_those_who_asked_before_are_no_news(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=2, seconds=100)
    await fail(cooldowns, 12)
    assert await left_alone(database) == pytest.approx(100)
    await later(database, 100)
    await fail(cooldowns, 1)
    assert [admission.until for admission in await admitted(cooldowns, 5)].count(None) == 1


async def test_a_probe_that_never_tells_is_followed_by_another(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=1, seconds=30)
    await fail(cooldowns, 1)
    await later(database, 30)
    assert [admission.until for admission in await admitted(cooldowns, 3)].count(None) == 1
    await later(database, 61)
    (probe,) = [admission.probe for admission in await admitted(cooldowns, 3) if admission.until is None]
    assert probe is not None
    # Another one's token gives nothing back.
    await cooldowns.not_asked(NAME, probe - timedelta(seconds=61))
    assert [admission.until for admission in await admitted(cooldowns, 3)].count(None) == 0
    await cooldowns.not_asked(NAME, probe)
    assert [admission.until for admission in await admitted(cooldowns, 3)].count(None) == 1


async def test_twenty_failures_at_once_are_all_counted(database: Database) -> None:
    cooldowns = Cooldowns(database, failures=21, seconds=30)
    await asyncio.gather(*(cooldowns.failed(NAME, ErrorType.RATE_LIMITED) for _ in range(20)))
    assert await rows(database, "SELECT failures, until FROM cooldowns") == [{"failures": 20, "until": None}]
    await fail(cooldowns, 1)
    assert (await cooldowns.admit(NAME)).until is not None
