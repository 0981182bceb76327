"""What an owner's jobs and months may cost, and how far that is used."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ALIVE, ENDED, EventType, JobStatus
from core.db.repositories.events import EventRepository, one_of

_WAKE = {"budget_raises": "budget_raises + 1", "control_seq": "control_seq + 1"}
WAKE_JOBS = "UPDATE jobs SET " + ", ".join(f"{column} = {value}" for column, value in _WAKE.items())
"""Lets jobs go on that wait for a budget; a WHERE follows."""
_MONTH = """
    SELECT m.month, COALESCE(s.spent_usd, 0) AS spent, COALESCE(s.reserved_usd, 0) AS reserved,
           CASE WHEN s.owner_id IS NULL THEN o.monthly_budget_usd ELSE s.budget_usd END AS budget,
           (m.month + INTERVAL '1 month') AT TIME ZONE 'UTC' AS ends
    FROM owners o
    CROSS JOIN (SELECT CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date) AS month) AS m
    LEFT JOIN spending s ON s.owner_id = o.id AND s.month = m.month
    WHERE o.id = :owner_id
"""
_LOCK_MONTH = """
    INSERT INTO spending (owner_id, month, budget_usd)
    SELECT id, CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date), monthly_budget_usd
    FROM owners WHERE id = :owner_id
    ON CONFLICT (owner_id, month) DO UPDATE SET spent_usd = spending.spent_usd
"""


@dataclass(frozen=True)
class Month:
    """An owner's month, in USD. `budget` None is no limit."""

    budget: Decimal | None
    spent: Decimal
    reserved: Decimal
    month: date
    """Its first day."""
    ends: datetime
    """When the next one begins."""


class BudgetRepository:
    """Reads and changes the budgets of one owner and of the owner's jobs."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id
        self._events = EventRepository(connection)

    async def month(self) -> Month:
        """The owner's current month (UTC)."""
        row = (await self._connection.execute(text(_MONTH), {"owner_id": self._owner_id})).one()
        return Month(row.budget, row.spent, row.reserved, row.month, row.ends)

    async def set_monthly(self, limit: Decimal | None) -> Month:
        """Set what each month may cost from this one on; None is no limit. Jobs that wait for it may go on when it was
        raised. When this month's calls have cost and hold more already, that much is this month's. Needs a transaction.
        """
        # All that are alive, in the order of all who lock more than one, and before the month's row.
        await self._connection.execute(
            text(f"SELECT 1 FROM jobs WHERE owner_id = :owner_id AND {one_of(ALIVE)} ORDER BY id FOR NO KEY UPDATE"),
            {"owner_id": self._owner_id},
        )
        await self._connection.execute(text(_LOCK_MONTH), {"owner_id": self._owner_id})
        before = await self.month()
        values = {"owner_id": self._owner_id, "usd": limit, "month": before.month}
        await self._connection.execute(
            text("UPDATE owners SET monthly_budget_usd = CAST(:usd AS numeric) WHERE id = :owner_id"), values
        )
        await self._connection.execute(
            text(
                "UPDATE spending SET budget_usd = CASE WHEN CAST(:usd AS numeric) IS NOT NULL "
                "THEN GREATEST(CAST(:usd AS numeric), spent_usd + reserved_usd) END "
                "WHERE owner_id = :owner_id AND month >= :month"
            ),
            values,
        )
        now = await self.month()
        if before.budget is not None and (now.budget is None or now.budget > before.budget):
            await self._connection.execute(
                text(f"{WAKE_JOBS} WHERE owner_id = :owner_id AND {one_of(ALIVE)}"), {"owner_id": self._owner_id}
            )
        return now

    async def raise_job(self, job_id: str, add: Decimal, key: str) -> bool:
        """Add to what a job may cost and let it go on, once for each `key`. False when it was done before. Needs a
        transaction.

        Raises `NOT_FOUND`; `INVALID_STATE` for a job that ended or has no budget; `IDEMPOTENCY_MISMATCH` when the key
        was used for another amount.
        """
        # Events that are told once need the row's lock: who waited for it sees what was told.
        job = (
            await self._connection.execute(
                text(
                    "SELECT status, budget_usd FROM jobs WHERE id = :job_id AND owner_id = :owner_id FOR NO KEY UPDATE"
                ),
                {"job_id": job_id, "owner_id": self._owner_id},
            )
        ).first()
        if job is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})
        event_key = f"budget_raised:{key}"
        done = (
            await self._connection.execute(
                text("SELECT CAST(data ->> 'add_usd' AS numeric) FROM events WHERE job_id = :job_id AND key = :key"),
                {"job_id": job_id, "key": event_key},
            )
        ).first()
        if done is not None:
            # As it was told: the event has a float.
            if float(done[0]) == float(add):
                return False
            raise AtelierError(
                ErrorType.IDEMPOTENCY_MISMATCH,
                "This Idempotency-Key was used for another amount. Send the first one again, or take a new key.",
            )
        if JobStatus(job.status) in ENDED:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                f"The job is {job.status}: its budget changes nothing any more.",
                details={"status": job.status},
            )
        if job.budget_usd is None:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                "The job has no budget, so none holds it back. The month's is set by PUT /v1/me/budget.",
                details={"status": job.status},
            )
        await self._events.append(
            job_id,
            EventType.BUDGET_RAISED,
            event_key,
            {"add_usd": float(add), "budget_usd": float(job.budget_usd + add)},
            sets={"budget_usd": "budget_usd + CAST(:add AS numeric)", **_WAKE},
            values={"add": add},
        )
        return True
