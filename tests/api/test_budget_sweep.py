"""What an API process does for budgets beside answering."""

from decimal import Decimal

import pytest
from sqlalchemy import text

from core.contracts.errors import AtelierError
from core.contracts.jobs import JobStatus, SetStatus
from core.db.engine import Database
from core.db.repositories.runs import RunRepository
from tests.api.conftest import StartApi
from tests.conftest import Account
from tests.support.rows import begin, one
from tests.support.spending import Purchases, budgeted
from tests.support.stack import eventually


async def test_what_was_lost_is_settled_and_what_waited_for_it_goes_on(
    database: Database, account: Account, start_api: StartApi
) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 2))
    await buy.open("lost")
    under_way = await buy.open("lost", reserve="0.9")
    with pytest.raises(AtelierError) as refused:
        await buy.open("next")
    waiting = SetStatus(
        job_id=buy.job_id,
        run=1,
        change=1,
        status=JobStatus.WAITING_FOR_BUDGET,
        waiting_for={"what": "budget", **refused.value.details},
    )
    async with database.transaction() as connection:
        await RunRepository(connection).set_status(waiting)
    start_api(settle_after_seconds=0.05)
    await eventually(buy.job, lambda job: job == (Decimal(1), Decimal("0.9")))
    state = "SELECT budget_raises FROM jobs"
    assert await one(database, state) == {"budget_raises": 0}
    await buy.store(under_way, "0", "lost")
    await eventually(lambda: one(database, state), lambda job: job == {"budget_raises": 1})


async def test_answers_that_are_too_old_are_dropped(database: Database, account: Account, start_api: StartApi) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await buy.store(await buy.open(), "0.5", reusable=("k", "{}"))
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE results SET created_at = now() - INTERVAL '31 days'"))
    start_api()
    count = "SELECT count(*) FROM results"
    await eventually(lambda: one(database, count), lambda found: found == {"count": 0})
