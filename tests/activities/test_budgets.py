"""Budgets: what a call may cost is held before it is made, of the job's and of the month's, and never too much."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import BeginJob, Control, JobStatus, SetStatus
from core.db.engine import Database
from core.db.repositories.budgets import BudgetRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.spending import SpendingRepository
from tests.conftest import Account, make_account
from tests.support.rows import accept, begin, one, rows
from tests.support.spending import Purchases, budgeted, finish, month

NONE = Decimal(0)


async def set_monthly(database: Database, owner_id: str, usd: str | None) -> None:
    async with database.transaction() as connection:
        await BudgetRepository(connection, owner_id).set_monthly(None if usd is None else Decimal(usd))


async def raise_job(database: Database, owner_id: str, job_id: str, add: str, key: str) -> bool:
    async with database.transaction() as connection:
        return await BudgetRepository(connection, owner_id).raise_job(job_id, Decimal(add), key)


@pytest.mark.parametrize("which", ["job", "month"])
async def test_of_fifty_calls_at_once_those_that_fit_are_let_through(
    database: Database, account: Account, which: str
) -> None:
    if which == "month":
        await set_monthly(database, account.owner_id, "7.9")
    # One job, or ten that share the month.
    jobs = [await budgeted(database, account.owner_id, "7.9" if which == "job" else None)]
    jobs += [await begin(database, account.owner_id) for _ in range(0 if which == "job" else 9)]
    buyers = [Purchases(database, account.owner_id, job) for job in jobs]
    calls = [buyers[number % len(buyers)].open(f"draft-{number}") for number in range(50)]
    opened = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in opened if isinstance(error, BaseException)]
    assert len(refused) == 43
    for error in refused:
        assert isinstance(error, AtelierError)
        assert (error.type, error.final, error.kind.transient) == (ErrorType.BUDGET_EXCEEDED, True, False)
    assert (await one(database, "SELECT count(*), sum(reserved_usd) FROM attempts")) == {"count": 7, "sum": 7}
    assert (await one(database, "SELECT sum(reserved_usd) FROM jobs"))["sum"] == 7
    assert await month(database) == (NONE, Decimal(7))
    # A refused opening left no event behind.
    assert (await one(database, "SELECT count(*) FROM events WHERE type = 'step.started'"))["count"] == 7


async def test_a_refusal_says_what_there_is_and_what_is_needed(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, "2.5"))
    await buy.store(await buy.open("one"), "0.75", "one")
    await buy.open("two")
    with pytest.raises(AtelierError, match=r"\$1\.00.*\$2\.50.*\$0\.75.*/v1/jobs/.*/budget") as refused:
        await buy.open("three")
    assert refused.value.details == {
        "which": "job",
        "budget_usd": 2.5,
        "spent_usd": 0.75,
        "reserved_usd": 1.0,
        "needed_usd": 1.0,
    }
    await set_monthly(database, account.owner_id, "1.75")
    assert await raise_job(database, account.owner_id, buy.job_id, "10", "more")
    with pytest.raises(AtelierError, match="PUT /v1/me/budget") as refused:
        await buy.open("three", reserve="0.1")
    assert refused.value.details["which"] == "month"
    assert await buy.job() == (Decimal("0.75"), Decimal(1))


async def test_what_is_held_is_given_back_and_what_is_spent_is_added(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3))
    first, second = await buy.open("one"), await buy.open("two")
    assert await buy.job() == await month(database) == (NONE, Decimal(2))
    await buy.store(first, "0.25", "one")
    assert await buy.job() == await month(database) == (Decimal("0.25"), Decimal(1))
    for _ in range(2):
        await buy.fail(second, "0.5", "two")
    assert await buy.job() == await month(database) == (Decimal("0.75"), NONE)
    # A month's figures are those of when the call began.
    (row,) = await rows(database, "SELECT usd, reserved_usd FROM attempts WHERE step = 'two'")
    assert row == {"usd": Decimal("0.5"), "reserved_usd": Decimal(1)}


async def test_a_call_counts_in_the_month_in_which_it_began(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    attempt = await buy.open()
    async with database.transaction() as connection:
        for table in ("attempts SET started_at = '2026-01-31 23:59:59+00'", "spending SET month = '2026-01-01'"):
            await connection.execute(text(f"UPDATE {table}"))
    await buy.store(attempt, "0.5")
    (row,) = await rows(database, "SELECT month::text, spent_usd, reserved_usd FROM spending")
    assert row == {"month": "2026-01-01", "spent_usd": Decimal("0.5"), "reserved_usd": NONE}


async def test_a_price_that_nobody_knows_is_refused_where_there_is_a_budget(
    database: Database, account: Account
) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3))
    with pytest.raises(AtelierError, match="without a budget") as refused:
        await buy.open(reserve=None, model="nobody:nothing")
    assert (refused.value.type, refused.value.details) == (
        ErrorType.PRICE_UNKNOWN,
        {"which": "job", "model": "nobody:nothing"},
    )
    free = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await free.store(await free.open("one", reserve=None), None, "one")
    await set_monthly(database, account.owner_id, "5")
    with pytest.raises(AtelierError, match="lift the month's budget") as refused:
        await free.open("two", reserve=None)
    assert (refused.value.type, refused.value.details["which"]) == (ErrorType.PRICE_UNKNOWN, "month")


async def test_what_is_free_needs_no_budget_and_touches_no_month(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, "0.01"))
    await buy.store(await buy.open("one", reserve=0, reused=True), "0", "one")
    assert await rows(database, "SELECT 1 FROM spending") == []
    assert (await one(database, "SELECT reused FROM attempts"))["reused"] is True


async def test_an_owner_spends_nothing_of_anothers(database: Database, account: Account) -> None:
    other = await make_account(database, "Bob Example")
    await set_monthly(database, account.owner_id, "1")
    buy = Purchases(database, other.owner_id, await begin(database, other.owner_id))
    await buy.open(reserve=5)
    assert (await one(database, "SELECT sum(reserved_usd) FROM spending WHERE owner_id = :id", id=account.owner_id))[
        "sum"
    ] == 0


async def test_two_raises_at_once_both_add_and_the_same_one_adds_once(database: Database, account: Account) -> None:
    job = await budgeted(database, account.owner_id, 1)
    raises = [raise_job(database, account.owner_id, job, "0.5", key) for key in ("a", "b", "a", "b", "a")]
    assert sorted(await asyncio.gather(*raises)) == [False, False, False, True, True]
    row = await one(database, "SELECT budget_usd, budget_raises, control_seq FROM jobs")
    assert row == {"budget_usd": Decimal(2), "budget_raises": 2, "control_seq": 2}
    told = await rows(database, "SELECT data FROM events WHERE type = 'job.budget_raised' ORDER BY seq")
    assert [event["data"] for event in told] == [
        {"add_usd": 0.5, "budget_usd": 1.5},
        {"add_usd": 0.5, "budget_usd": 2.0},
    ]
    async with database.transaction() as connection:
        (wish,) = await RunRepository(connection).wishes()
    assert wish.control == Control(seq=2, budget=2)


async def test_raises_that_change_nothing_are_refused(database: Database, account: Account) -> None:
    job = await budgeted(database, account.owner_id, 1)
    assert await raise_job(database, account.owner_id, job, "0.5", "a")
    with pytest.raises(AtelierError) as refused:
        await raise_job(database, account.owner_id, job, "0.6", "a")
    assert refused.value.type is ErrorType.IDEMPOTENCY_MISMATCH
    other = await make_account(database, "Bob Example")
    for owner, of, wrong in (
        (other.owner_id, job, ErrorType.NOT_FOUND),
        (account.owner_id, await begin(database, account.owner_id), ErrorType.INVALID_STATE),
    ):
        with pytest.raises(AtelierError) as refused:
            await raise_job(database, owner, of, "1", "b")
        assert refused.value.type is wrong
    await finish(database, job)
    with pytest.raises(AtelierError, match="is cancelled") as refused:
        await raise_job(database, account.owner_id, job, "1", "b")
    assert refused.value.type is ErrorType.INVALID_STATE
    # The answer to the first one may have been lost.
    assert not await raise_job(database, account.owner_id, job, "0.5", "a")


async def test_a_job_begins_with_the_raises_it_had(database: Database, account: Account) -> None:
    job = await accept(database, account.owner_id, budget_usd=Decimal(1))
    await raise_job(database, account.owner_id, job, "1", "a")
    async with database.transaction() as connection:
        begun = await RunRepository(connection).begin(BeginJob(job_id=job, run=1, workflow_run_id="run"))
    assert begun.control.budget == 1


async def test_a_month_that_is_set_below_what_is_gone_ends_there_and_the_next_are_as_wished(
    database: Database, account: Account
) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await buy.store(await buy.open("one"), "0.25", "one")
    await buy.open("two", reserve="0.50000001")
    await set_monthly(database, account.owner_id, "0.75")
    wish = await one(database, "SELECT monthly_budget_usd FROM owners WHERE id = :id", id=account.owner_id)
    assert wish == {"monthly_budget_usd": Decimal("0.75")}
    async with database.transaction() as connection:
        now = await BudgetRepository(connection, account.owner_id).month()
    assert (now.budget, now.spent, now.reserved) == (Decimal("0.75000001"), Decimal("0.25"), Decimal("0.50000001"))
    assert (now.ends.day, now.ends.hour, now.month.day) == (1, 0, 1)
    with pytest.raises(AtelierError):
        await buy.open("three", reserve="0.00000001")


async def test_a_month_nobody_has_spent_in_has_the_owners_budget(database: Database, account: Account) -> None:
    await set_monthly(database, account.owner_id, "5")
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM spending"))
        now = await BudgetRepository(connection, account.owner_id).month()
    assert (now.budget, now.spent, now.reserved) == (Decimal(5), NONE, NONE)
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    with pytest.raises(AtelierError, match=r"budget of \$5\.00 \$0\.00 is spent"):
        await buy.open(reserve="5.01")
    await buy.open(reserve=5)


async def test_a_greater_month_lets_every_living_job_go_on(database: Database, account: Account) -> None:
    living = [await begin(database, account.owner_id) for _ in range(2)]
    ended = await begin(database, account.owner_id)
    await finish(database, ended)
    # The first budget, and a lesser one, hold nobody up less than before.
    for usd, raised in (("5", 0), ("4", 0), ("6", 1), (None, 2)):
        await set_monthly(database, account.owner_id, usd)
        found = await rows(database, "SELECT id::text, budget_raises AS raised, control_seq AS seq FROM jobs")
        assert {row["id"]: (row["raised"], row["seq"]) for row in found} == {
            **dict.fromkeys(living, (raised, raised)),
            ended: (0, 0),
        }


async def test_what_a_repair_shows_is_held_only_when_it_is_shown(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 3))
    error = AtelierError(ErrorType.OUTPUT_INVALID, "It is wrong.")
    for refused in (None, ("{", ("no",))):
        attempt = await buy.open(repair="1.5")
        assert await buy.job() == (NONE, Decimal(1))
        await buy.fail(attempt, 0, error=error, refused=refused)
    await buy.open(repair="1.5")
    assert await buy.job() == await month(database) == (NONE, Decimal("1.5"))
    with pytest.raises(AtelierError) as over:
        await buy.open(repair="1.50000001")
    assert over.value.details["needed_usd"] == 1.50000001


async def budget_events(database: Database) -> list[tuple[int, float]]:
    told = await rows(database, "SELECT data FROM events WHERE type = 'job.budget' ORDER BY seq")
    return [(event["data"]["percent"], event["data"]["budget_usd"]) for event in told]


async def test_a_job_tells_once_of_each_share_of_each_budget(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, "1.00"))
    for number, usd in enumerate(("0.79", "0.01", "0.05")):
        await buy.store(await buy.open(str(number), reserve="0.1"), usd, str(number))
        assert await budget_events(database) == ([(80, 1.0)] if number else [])
    await raise_job(database, account.owner_id, buy.job_id, "0.1", "a")
    attempts = [await buy.open(f"at once {number}", reserve="0.05") for number in range(5)]
    await asyncio.gather(*(buy.fail(attempt, "0.05", f"at once {number}") for number, attempt in enumerate(attempts)))
    assert await budget_events(database) == [(80, 1.0), (80, 1.1), (100, 1.1)]
    last = await one(database, "SELECT data FROM events WHERE type = 'job.budget' ORDER BY seq DESC LIMIT 1")
    assert last["data"] == {"percent": 100, "which": "job", "spent_usd": 1.1, "reserved_usd": 0.0, "budget_usd": 1.1}


async def test_each_job_tells_once_that_most_of_a_months_budget_is_spent(database: Database, account: Account) -> None:
    await set_monthly(database, account.owner_id, "1.00")
    one_job, other = [Purchases(database, account.owner_id, await begin(database, account.owner_id)) for _ in range(2)]
    for number, usd in enumerate(("0.79", "0.01", "0.05")):
        await one_job.store(await one_job.open(str(number), reserve="0.1"), usd, str(number))
        assert await budget_events(database) == ([(80, 1.0)] if number else [])
    await other.fail(await other.open(reserve="0.1"), "0.05")
    told = await rows(database, "SELECT data FROM events WHERE type = 'job.budget' ORDER BY created_at")
    figures = {"percent": 80, "which": "month", "reserved_usd": 0.0, "budget_usd": 1.0}
    assert [event["data"] for event in told] == [{**figures, "spent_usd": 0.8}, {**figures, "spent_usd": 0.9}]
    await set_monthly(database, account.owner_id, "1.1")
    await other.fail(await other.open("more", reserve="0.1"), "0", "more")
    assert (await budget_events(database))[-1] == (80, 1.1)


async def wait_for_budget(database: Database, job_id: str, refused: AtelierError, change: int = 1) -> None:
    async with database.transaction() as connection:
        await RunRepository(connection).set_status(
            SetStatus(
                job_id=job_id,
                run=1,
                change=change,
                status=JobStatus.WAITING_FOR_BUDGET,
                waiting_for={"what": "budget", **refused.details},
            )
        )


async def test_a_job_that_waits_says_that_its_budget_is_used_up(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, 1))
    with pytest.raises(AtelierError) as refused:
        await buy.open(reserve=2)
    for change in (1, 2):
        await wait_for_budget(database, buy.job_id, refused.value, change)
    told = await rows(database, "SELECT data FROM events WHERE type = 'job.budget'")
    assert [event["data"] for event in told] == [
        {
            "percent": 100,
            "which": "job",
            "spent_usd": 0.0,
            "reserved_usd": 0.0,
            "budget_usd": 1.0,
            "refused": True,
        }
    ]
    await set_monthly(database, account.owner_id, "0.5")
    with pytest.raises(AtelierError) as refused:
        await buy.open(reserve="0.6")
    await wait_for_budget(database, buy.job_id, refused.value, 3)
    assert await budget_events(database) == [(100, 1.0), (100, 0.5)]


@pytest.mark.parametrize("which", ["job", "month"])
async def test_a_job_that_waits_goes_on_when_others_cost_less_than_was_held(
    database: Database, account: Account, which: str
) -> None:
    if which == "month":
        await set_monthly(database, account.owner_id, "1.5")
    buy = Purchases(database, account.owner_id, await budgeted(database, account.owner_id, "1.5"))
    under_way = await buy.open("one")
    other = buy if which == "job" else Purchases(database, account.owner_id, await begin(database, account.owner_id))
    with pytest.raises(AtelierError) as refused:
        await other.open("two")
    assert refused.value.details["which"] == which
    await wait_for_budget(database, other.job_id, refused.value)
    assert await wake(database) == 0
    await buy.store(under_way, "0.2", "one")
    assert await wake(database) == 1
    # Temporal has not been told yet.
    assert await wake(database) == 0
    raised = "SELECT id::text FROM jobs WHERE budget_raises = 1 AND control_seq = 1"
    assert await one(database, raised) == {"id": other.job_id}


async def wake(database: Database) -> int:
    async with database.transaction() as connection:
        return await SpendingRepository(connection).wake_fitting()
