"""What is held for calls of which nobody told what they cost: until it is settled, or they end late after all."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import FinishJob, JobStatus, Outcome
from core.db.engine import Database
from core.db.repositories.attempts import AttemptRepository
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.spending import SpendingRepository
from tests.conftest import Account
from tests.support.rows import begin, one, rows
from tests.support.spending import MODEL, PROMPT, Purchases, budgeted, finish, month
from tests.support.stack import eventually

NONE = Decimal(0)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_what_was_lost_stays_held_until_it_is_settled(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3))
    lost, again = await buy.open(), await buy.open(reserve="0.75")
    assert await buy.job() == await month(database) == (NONE, Decimal("1.75"))
    assert await settle(database, timedelta(hours=1)) == 0
    # By two sweeps at once, once; what is open is nobody's to settle.
    assert sorted(await asyncio.gather(*(settle(database) for _ in range(4)))) == [0, 0, 0, 1]
    assert await buy.job() == await month(database) == (Decimal(1), Decimal("0.75"))
    row = await one(
        database, "SELECT outcome, usd, settled_at IS NOT NULL AS settled FROM attempts WHERE id = :id", id=lost
    )
    assert row == {"outcome": "unknown", "usd": Decimal(1), "settled": True}
    # Whoever had it comes too late, and changes nothing.
    with pytest.raises(AtelierError, match="came too late") as late:
        await buy.store(lost, "0.1")
    assert late.value.type is ErrorType.INVALID_STATE
    await buy.fail(lost, "0.1")
    assert await rows(database, "SELECT 1 FROM steps") == []
    await buy.store(again, "0.5")
    assert await buy.store(lost, "0.1") == "{}"
    assert await buy.job() == await month(database) == (Decimal("1.5"), NONE)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
async def test_what_nobody_told_the_cost_of_stays_held_until_it_is_settled(
    database: Database, account: Account, outcome: Outcome
) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, "1.5"))
    attempt = await buy.open()
    for _ in range(2):
        await buy.fail(attempt, None, outcome=outcome)
    assert await buy.job() == await month(database) == (NONE, Decimal(1))
    # Nothing else may be spent of it.
    with pytest.raises(AtelierError) as refused:
        await buy.open(reserve="0.6")
    assert refused.value.details["reserved_usd"] == 1.0
    assert await settle(database, timedelta(hours=1)) == 0
    assert sorted(await asyncio.gather(*(settle(database) for _ in range(3)))) == [0, 0, 1]
    assert await buy.job() == await month(database) == (Decimal(1), NONE)
    row = await one(database, "SELECT outcome, usd, settled_at IS NOT NULL AS settled, input_tokens FROM attempts")
    assert row == {"outcome": outcome.value, "usd": Decimal(1), "settled": True, "input_tokens": 100}


async def test_without_a_price_nothing_is_held_for_a_call_that_broke_off(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await buy.fail(await buy.open(reserve=None), None, outcome=Outcome.CANCELLED)
    assert await buy.job() == (NONE, NONE)
    assert await settle(database) == 0
    assert await one(database, "SELECT usd, settled_at FROM attempts") == {"usd": None, "settled_at": None}


async def settle(database: Database, older_than: timedelta = timedelta(0)) -> int:
    async with database.transaction() as connection:
        return await SpendingRepository(connection).settle(older_than)


async def test_what_an_ended_or_deleted_job_held_is_settled_too(database: Database, account: Account) -> None:
    ended, deleted = [
        Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3)) for _ in range(2)
    ]
    await asyncio.gather(ended.open(), deleted.open())
    for buy in (ended, deleted):
        await finish(database, buy.job_id, JobStatus.FAILED)
    assert await ended.job() == (NONE, Decimal(1))
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).delete(deleted.job_id)
    assert await month(database) == (NONE, Decimal(2))
    assert await settle(database) == 2
    assert await ended.job() == (Decimal(1), NONE)
    assert await month(database) == (Decimal(2), NONE)


async def test_a_deleted_jobs_call_that_ends_late_counts_in_the_month(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    attempt = await buy.open()
    await finish(database, buy.job_id)
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).delete(buy.job_id)
    with pytest.raises(AtelierError, match="deleted while it ran"):
        await buy.store(attempt, "0.5")
    assert await month(database) == (Decimal("0.5"), NONE)


async def test_nothing_is_opened_beside_the_end_of_its_job(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3))
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=buy.job_id, run=1, status=JobStatus.CANCELLED))
        late = asyncio.create_task(buy.open())
        await eventually(lambda: one(database, WAITING), lambda found: found["count"] == 1)
    with pytest.raises(AtelierError, match="nothing is paid for it"):
        await late
    assert await rows(database, "SELECT 1 FROM attempts") == []
    assert await buy.job() == (NONE, NONE)


async def test_what_was_opened_while_its_job_ended_is_unknown(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM jobs FOR NO KEY UPDATE"))
        # It has looked at the attempts, and waits for the job.
        ending = asyncio.create_task(finish(database, buy.job_id))
        await eventually(lambda: one(database, WAITING), lambda found: found["count"] == 1)
        await AttemptRepository(connection).open(
            buy.key(), attempt=1, model=MODEL, prompt=PROMPT, simulated=False, reserve=Decimal(1)
        )
    await ending
    assert await one(database, "SELECT outcome FROM attempts") == {"outcome": "unknown"}
    assert await buy.job() == (NONE, Decimal(1))
