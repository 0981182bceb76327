"""What the service does about budgets by itself: tell how far they are used, settle lost calls, let jobs go on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.jobs import ENDED, EventType, JobStatus
from core.db.repositories.budgets import WAKE_JOBS, BudgetRepository
from core.db.repositories.events import EventRepository
from core.db.repositories.reservations import HELD, TELL_AT, TELL_MONTH_AT

# Oldest first. What another sweep has locked is its own to settle.
_LOST = f"""
    SELECT id, owner_id, job_id, reserved_usd,
           CAST(date_trunc('month', started_at AT TIME ZONE 'UTC') AS date) AS month
    FROM attempts
    WHERE {HELD} AND outcome <> 'open' AND started_at < now() - CAST(:older_than AS interval)
    ORDER BY started_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
"""
_SETTLE_ATTEMPTS = """
    UPDATE attempts SET usd = reserved_usd, settled_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))
"""
_SETTLE_JOBS = """
    UPDATE jobs SET cost_usd = cost_usd + a.usd, reserved_usd = jobs.reserved_usd - a.usd, updated_at = now()
    FROM (SELECT job_id, sum(reserved_usd) AS usd FROM attempts WHERE id = ANY(CAST(:ids AS uuid[])) GROUP BY 1) AS a
    WHERE jobs.id = a.job_id
"""
_SETTLE_MONTHS = """
    UPDATE spending AS s SET spent_usd = s.spent_usd + a.usd, reserved_usd = s.reserved_usd - a.usd
    FROM (
        SELECT owner_id, CAST(date_trunc('month', started_at AT TIME ZONE 'UTC') AS date) AS month,
               sum(reserved_usd) AS usd
        FROM attempts WHERE id = ANY(CAST(:ids AS uuid[])) GROUP BY 1, 2
    ) AS a
    WHERE s.owner_id = a.owner_id AND s.month = a.month
"""
# Jobs whose next call fits by now: calls that were under way cost less than was held for them. What is locked is tried
# at the next turn.
_FITTING = """
    SELECT j.id FROM jobs j
    LEFT JOIN spending s ON s.owner_id = j.owner_id
        AND s.month = CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date)
    WHERE j.status = 'waiting_for_budget' AND j.control_seq = j.control_sent
      AND CASE j.waiting_for ->> 'which'
          WHEN 'job' THEN j.cost_usd + j.reserved_usd + CAST(j.waiting_for ->> 'needed_usd' AS numeric) <= j.budget_usd
          WHEN 'month' THEN COALESCE(
              s.spent_usd + s.reserved_usd + CAST(j.waiting_for ->> 'needed_usd' AS numeric) <= s.budget_usd, true)
          ELSE false END
    ORDER BY j.id LIMIT :limit FOR NO KEY UPDATE OF j SKIP LOCKED
"""


class SpendingRepository:
    """Tells how far budgets are used, settles what was lost, lets jobs go on: of all owners."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._events = EventRepository(connection)

    async def tell(self, job_id: str) -> None:
        """Tell a living job of each share of its budget, and of its owner's month, that is spent by now, once a budget.
        Needs a transaction."""
        job = await self._lock(job_id)
        if job is None or JobStatus(job.status) in ENDED:
            return
        for percent in TELL_AT if job.budget_usd else ():
            if job.cost_usd * 100 >= job.budget_usd * percent:
                await self._tell(job_id, _plain(job.budget_usd), percent, _figures(job))
        month = await BudgetRepository(self._connection, str(job.owner_id)).month()
        if month.budget and month.spent * 100 >= month.budget * TELL_MONTH_AT:
            figures = {"spent_usd": month.spent, "reserved_usd": month.reserved, "budget_usd": month.budget}
            told = {"which": "month", **{name: float(value) for name, value in figures.items()}}
            await self._tell(job_id, f"{month.month:%Y-%m}:{_plain(month.budget)}", TELL_MONTH_AT, told)

    async def tell_refused(self, job_id: str, waiting_for: Json) -> None:
        """Tell that a budget allows no further call. `waiting_for` is what the refusal said. Needs a transaction."""
        job = await self._lock(job_id)
        if job is None:
            return
        if waiting_for.get("which") == "month":
            figures = {name: waiting_for.get(name) for name in ("spent_usd", "reserved_usd", "budget_usd")}
            budget = f"{datetime.now(UTC):%Y-%m}:{figures['budget_usd']}"
            await self._tell(job_id, budget, 100, {"which": "month", **figures, "refused": True})
        elif job.budget_usd is not None:
            await self._tell(job_id, _plain(job.budget_usd), 100, {**_figures(job), "refused": True})

    async def settle(self, older_than: timedelta, *, limit: int = 500) -> int:
        """Count as spent what is held for calls of which nobody told what they cost, once they are so old that nobody
        will. How many those were. Needs a transaction."""
        lost = (await self._connection.execute(text(_LOST), {"older_than": older_than, "limit": limit})).all()
        if not lost:
            return 0
        jobs = sorted({str(row.job_id) for row in lost})
        months = sorted({(str(row.owner_id), row.month) for row in lost})
        values = {"ids": [str(row.id) for row in lost]}
        # Two sweeps may want the same jobs and months: they take them in one order.
        await self._connection.execute(
            text("SELECT 1 FROM jobs WHERE id = ANY(CAST(:jobs AS uuid[])) ORDER BY id FOR NO KEY UPDATE"),
            {"jobs": jobs},
        )
        await self._connection.execute(
            text(
                "SELECT 1 FROM spending WHERE owner_id = ANY(CAST(:owners AS uuid[])) "
                "AND month = ANY(CAST(:months AS date[])) ORDER BY owner_id, month FOR NO KEY UPDATE"
            ),
            {"owners": [owner for owner, _ in months], "months": [month for _, month in months]},
        )
        for statement in (_SETTLE_ATTEMPTS, _SETTLE_JOBS, _SETTLE_MONTHS):
            await self._connection.execute(text(statement), values)
        for job_id in jobs:
            await self.tell(job_id)
        return len(lost)

    async def wake_fitting(self, *, limit: int = 200) -> int:
        """Let jobs go on that wait for a budget which allows their call by now. How many those are."""
        result = await self._connection.execute(text(f"{WAKE_JOBS} WHERE id IN ({_FITTING})"), {"limit": limit})
        return int(result.rowcount)

    async def _tell(self, job_id: str, budget: str, percent: int, figures: Json) -> None:
        await self._events.append(
            job_id, EventType.BUDGET, f"budget:{budget}:{percent}", {"percent": percent, **figures}
        )

    async def _lock(self, job_id: str) -> Row[Any] | None:
        """The job's row. Events that are told once need its lock: who waited for it sees what was told."""
        return (
            await self._connection.execute(
                text(
                    "SELECT owner_id, status, cost_usd, reserved_usd, budget_usd FROM jobs WHERE id = :job_id "
                    "FOR NO KEY UPDATE"
                ),
                {"job_id": job_id},
            )
        ).first()


def _figures(job: Row[Any]) -> Json:
    return {
        "which": "job",
        "spent_usd": float(job.cost_usd),
        "reserved_usd": float(job.reserved_usd),
        "budget_usd": float(job.budget_usd),
    }


def _plain(amount: Decimal) -> str:
    """As Postgres' `trim_scale` writes it."""
    return f"{amount.normalize():f}"
