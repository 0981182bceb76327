"""Everything that changes what is spent and held, all at once: the sums hold, no budget is passed, nobody deadlocks."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import FinishJob, JobError, JobStatus, Outcome
from core.db.engine import Database
from core.db.repositories.attempts import Stored
from core.db.repositories.budgets import BudgetRepository
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.spending import SpendingRepository
from tests.conftest import Account
from tests.support.rows import one, rows
from tests.support.spending import MODEL, PROMPT, Purchases, budgeted

ENDED = JobError(code=ErrorType.ALL_MODELS_FAILED, message="No.")
EXPECTED = {ErrorType.BUDGET_EXCEEDED, ErrorType.NOT_FOUND, ErrorType.INVALID_STATE}
"""What an act may be refused for here. Not `database_unavailable`, which is what a deadlock becomes."""

# What the rows of jobs and months say, beside what their attempts come to.
SUMS = """
    SELECT j.cost_usd = COALESCE(sum(a.usd), 0) AS spent,
           j.reserved_usd = COALESCE(sum(a.reserved_usd) FILTER (
               WHERE a.usd IS NULL AND a.settled_at IS NULL), 0) AS held,
           COALESCE(j.cost_usd + j.reserved_usd <= j.budget_usd, true) AS within
    FROM (
        SELECT id, cost_usd, reserved_usd, budget_usd, false AS months FROM jobs
        UNION ALL SELECT owner_id, spent_usd, reserved_usd, budget_usd, true FROM spending
    ) AS j
    LEFT JOIN attempts a ON CASE WHEN j.months THEN a.owner_id ELSE a.job_id END = j.id
    GROUP BY j.id, j.cost_usd, j.reserved_usd, j.budget_usd
"""


class Chaos:
    """Workers, users and sweeps that know nothing of one another."""

    def __init__(self, database: Database, owner_id: str, buyers: list[Purchases], seed: int) -> None:
        self._database = database
        self._owner_id = owner_id
        self._buyers = buyers
        self._random = random.Random(seed)
        self.refused: dict[ErrorType, int] = {}

    async def work(self) -> None:
        """Call a model: the row is closed, by one way or another, or the worker dies. Steps are few, so that workers
        come to take one another for dead."""
        buy, step = self._random.choice(self._buyers), f"step {self._random.randrange(12)}"
        cost = Decimal(self._random.randrange(100)) / 100
        reserve = Decimal(self._random.choice(["0.5", "1", "1"]))
        opened = await buy.ledger.open(
            buy.key(step), attempt=1, model=MODEL, prompt=PROMPT, simulated=False, reserve=reserve
        )
        if isinstance(opened, Stored):
            return
        attempt = opened.attempt_id
        end = self._random.random()
        if end < 0.1:
            await buy.store(attempt, min(cost, Decimal("0.5")), step, reusable=("k", "{}"))
        elif end < 0.2:
            await buy.fail(attempt, None, step, outcome=self._random.choice([Outcome.FAILED, Outcome.CANCELLED]))
        elif end < 0.7:
            await buy.fail(attempt, min(cost, Decimal("0.5")), step, refused=("{", ("no",)))

    async def settle(self) -> None:
        """A sweep of some process."""
        async with self._database.transaction() as connection:
            await SpendingRepository(connection).settle(timedelta(0))
        async with self._database.transaction() as connection:
            await SpendingRepository(connection).wake_fitting()

    async def raise_job(self) -> None:
        """A user is generous."""
        buy, key = self._random.choice(self._buyers), str(self._random.random())
        async with self._database.transaction() as connection:
            await BudgetRepository(connection, self._owner_id).raise_job(buy.job_id, Decimal("0.5"), key)

    async def set_monthly(self) -> None:
        """A user is, or is not."""
        async with self._database.transaction() as connection:
            limit = self._random.choice([None, Decimal(10), Decimal(20), Decimal(40)])
            await BudgetRepository(connection, self._owner_id).set_monthly(limit)

    async def finish(self) -> None:
        """A workflow ends."""
        job = self._random.choice(self._buyers[:2]).job_id
        async with self._database.transaction() as connection:
            request = FinishJob(job_id=job, run=1, status=JobStatus.FAILED, error=ENDED)
            await RunRepository(connection).finish(request)

    async def delete(self) -> None:
        """A user deletes what ended."""
        job = self._random.choice(self._buyers[:1]).job_id
        async with self._database.transaction() as connection:
            await JobRepository(connection, self._owner_id).delete(job)

    async def act(self, number: int) -> None:
        """Something."""
        acts: list[Callable[[], Awaitable[None]]] = [self.settle, self.raise_job, self.set_monthly]
        late = [self.finish, self.delete] if number > 200 else []
        act = self._random.choice([*[self.work] * 12, *acts, *late])
        try:
            await act()
        except AtelierError as error:
            self.refused[error.type] = self.refused.get(error.type, 0) + 1


async def test_the_sums_hold_whatever_happens_at_once(database: Database, account: Account) -> None:
    buyers = [
        Purchases(database, account.owner_id, await budgeted(database, account.owner_id, budget))
        for budget in ("4", "6", "3.5", None)
    ]
    chaos = Chaos(database, account.owner_id, buyers, seed=4)
    acts = iter(range(400))

    async def actor() -> None:
        for number in acts:
            await chaos.act(number)

    await asyncio.gather(*(actor() for _ in range(16)))
    assert set(chaos.refused) == EXPECTED
    found = await rows(database, SUMS)
    assert found == [{"spent": True, "held": True, "within": True}] * len(found)
    # All that was lost is settled in the end, and nothing stays held.
    for buy in buyers:
        async with database.transaction() as connection:
            request = FinishJob(job_id=buy.job_id, run=1, status=JobStatus.CANCELLED)
            await RunRepository(connection).finish(request)
    await chaos.settle()
    held = "SELECT COALESCE(sum(reserved_usd), 0) AS held FROM (SELECT reserved_usd FROM jobs UNION ALL "
    assert await one(database, held + "SELECT reserved_usd FROM spending) AS all_of_them") == {"held": Decimal(0)}
    assert await rows(database, "SELECT 1 FROM attempts WHERE outcome = 'open' OR refused_answer IS NOT NULL") == []
    found = await rows(database, SUMS)
    assert found == [{"spent": True, "held": True, "within": True}] * len(found)
