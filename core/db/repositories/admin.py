"""What admins see of everybody and set for them: accounts, figures, limits, providers. Nobody's content is read here.

For the admin routes and for whoever runs the deployment; no other route has a way to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import Role
from core.db.repositories.accounts import leave_an_admin
from core.db.repositories.budgets import BudgetRepository
from core.db.repositories.cooldowns import CooldownRepository
from core.db.repositories.events import prepared
from core.db.repositories.limits import Allowance
from core.db.repositories.usage import ADDED_UP, Figures

NEAR = 0.8
"""The part of a limit from which on somebody is near it."""
OWN_LIMITS = frozenset({"submissions_per_hour", "jobs_at_once"})
"""What an account may have of its own."""


@dataclass(frozen=True)
class AccountRecord:
    """An account as admins see it. `submissions_per_hour` and `jobs_at_once` None are the setting, `monthly_usd` None
    is no limit; `last_used_at` is that of its keys and logins, to the minute."""

    id: str
    name: str
    email: str | None
    role: Role
    created_at: datetime
    last_used_at: datetime | None
    jobs: int
    spent_usd: Decimal
    submissions_per_hour: int | None
    jobs_at_once: int | None
    monthly_usd: Decimal | None


class AllUsageBy(StrEnum):
    """What everybody's calls are added up by."""

    DAY = "day"
    MODEL = "model"
    PIPELINE = "pipeline"
    ACCOUNT = "account"


class AllUsageRecord(NamedTuple):
    """The figures of one day, model, pipeline or account. `name` is that of an account that is there."""

    key: str
    name: str | None
    figures: Figures


@dataclass(frozen=True)
class ProviderRecord:
    """How a provider did within a day with everybody's calls, and whether it is left alone. No message is told: one may
    quote what was asked."""

    calls: int
    failed_calls: int
    answered_at: datetime | None
    failed_at: datetime | None
    error_type: str | None
    failures_in_a_row: int
    cooling_until: datetime | None
    cooling_for: str | None


@dataclass(frozen=True)
class AccountUse:
    """How far an account has used a limit."""

    account_id: str
    name: str
    used: float
    quota: int


@dataclass(frozen=True)
class LimitUse:
    """How a limit stands: of how many anything counts, how many are near it and at it, and the most that one used."""

    subjects: int
    near: int
    reached: int
    highest: float


_ACCOUNTS = """
    SELECT o.id, o.name, o.email, o.role, o.created_at, o.submissions_per_hour, o.jobs_at_once, o.monthly_budget_usd,
           GREATEST((SELECT max(used_at) FROM sessions s WHERE s.owner_id = o.id),
                    (SELECT max(last_used_at) FROM api_keys k WHERE k.owner_id = o.id)) AS last_used_at,
           (SELECT count(*) FROM jobs j WHERE j.owner_id = o.id) AS jobs,
           COALESCE((SELECT spent_usd FROM spending s WHERE s.owner_id = o.id
                     AND s.month = CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date)), 0) AS spent_usd
    FROM owners o
    WHERE o.erasing_at IS NULL
"""
_ONE_ACCOUNT = f"{_ACCOUNTS} AND o.id = :id"
_PAGE = (
    f"{_ACCOUNTS} AND (CAST(:before AS uuid) IS NULL OR o.id < CAST(:before AS uuid)) ORDER BY o.id DESC LIMIT :limit"
)
_KEYS = {
    AllUsageBy.DAY: "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    AllUsageBy.MODEL: "model",
    AllUsageBy.PIPELINE: "pipeline",
    AllUsageBy.ACCOUNT: "owner_id::text",
}
_NEWEST_FIRST = frozenset({AllUsageBy.DAY, AllUsageBy.ACCOUNT})
_USAGE = """
WITH calls AS (
    SELECT {key} COLLATE "C" AS key, * FROM attempts WHERE started_at >= :begin AND started_at < :end
), figures AS (
    SELECT key, {figures} FROM calls GROUP BY GROUPING SETS ((key), ())
)
SELECT f.key, {name}, f.calls, f.failed_calls, f.reused_calls, f.simulated_calls, f.unpriced_calls, f.input_tokens,
       f.output_tokens, f.cached_tokens, f.cache_write_tokens, f.reasoning_tokens, f.usd, f.reserved_usd
FROM figures f {join}
WHERE f.key IS NULL OR CAST(:after AS text) IS NULL OR f.key {beyond} CAST(:after AS text)
ORDER BY f.key {order} NULLS FIRST LIMIT :limit
"""
_PROVIDERS = """
WITH lately AS (
    SELECT split_part(model, ':', 1) AS name, COALESCE(finished_at, started_at) AS at, error_type, outcome, answered,
           COALESCE(outcome = 'failed' AND error_type = ANY(CAST(:errors AS text[])), false) AS fails
    FROM attempts WHERE started_at > now() - interval '1 day' AND NOT reused
), told AS (
    SELECT name, count(*) AS calls, count(*) FILTER (WHERE outcome = 'failed') AS failed_calls,
           max(at) FILTER (WHERE answered) AS answered_at, max(at) FILTER (WHERE fails) AS failed_at,
           (array_agg(error_type ORDER BY at DESC) FILTER (WHERE fails))[1] AS error_type
    FROM lately GROUP BY name
)
SELECT p.name, COALESCE(t.calls, 0) AS calls, COALESCE(t.failed_calls, 0) AS failed_calls, t.answered_at, t.failed_at,
       t.error_type, COALESCE(c.failures, 0) AS failures, CASE WHEN c.until > now() THEN c.until END AS until,
       CASE WHEN c.until > now() THEN c.error_type END AS cooling_for
FROM unnest(CAST(:names AS text[])) AS p(name)
LEFT JOIN told t ON t.name = p.name LEFT JOIN cooldowns c ON c.provider = p.name
"""
# As `take_allowance` of the migration counts: the window before, weighted by how much of it is within reach.
_USED = """
WITH counted AS (
    SELECT l.name, l.subject, o.id AS account_id, o.name AS account, COALESCE(o.submissions_per_hour, d.quota) AS quota,
           GREATEST(extract(epoch FROM clock_timestamp() - l.window_at)::float8, 0) / d.seconds AS elapsed,
           l.used AS this_window, l.before
    FROM limits l
    JOIN unnest(CAST(:names AS text[]), CAST(:quotas AS bigint[]), CAST(:windows AS int[])) AS d(name, quota, seconds)
      ON d.name = l.name
    LEFT JOIN owners o ON l.name = 'submissions' AND o.id::text = l.subject
), standing AS (
    SELECT name, account_id, account, quota,
           CASE WHEN elapsed >= 2 THEN 0 WHEN elapsed >= 1 THEN this_window * (2 - elapsed)
                ELSE before * (1 - elapsed) + this_window END AS used
    FROM counted
)
"""
_LIMITS = f"""
{_USED}
SELECT name, count(*) AS subjects, count(*) FILTER (WHERE used >= {NEAR} * quota AND used + 1 <= quota) AS near,
       count(*) FILTER (WHERE used + 1 > quota) AS reached, max(used) AS highest
FROM standing WHERE used > 0 GROUP BY name
"""
_SUBMITTING = f"""
{_USED}
SELECT account_id, account, used, quota FROM standing WHERE name = 'submissions' AND account_id IS NOT NULL AND used > 0
ORDER BY used / quota DESC, account_id LIMIT :limit
"""
_RUNNING = """
SELECT o.id AS account_id, o.name AS account, count(*) AS used,
       COALESCE(o.jobs_at_once, CAST(:quota AS bigint)) AS quota
FROM jobs j JOIN owners o ON o.id = j.owner_id WHERE j.status IN ('pending', 'running') GROUP BY o.id
ORDER BY count(*)::float8 / COALESCE(o.jobs_at_once, CAST(:quota AS bigint)) DESC, o.id
"""


class AdminRepository:
    """Reads everybody's figures, and changes accounts. It never reads titles, inputs, texts, events or files."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    # ------------------------------------------------------------------------------------------ accounts

    async def accounts(self, *, before: str | None, limit: int) -> list[AccountRecord]:
        """A page of the accounts, the newest first, before the one of the id `before`."""
        rows = await self._connection.execute(prepared(_PAGE), {"before": before, "limit": limit})
        return [_account(row) for row in rows]

    async def account(self, account_id: str) -> AccountRecord:
        """One account. Raises `NOT_FOUND`, also for one that is being erased."""
        row = (await self._connection.execute(prepared(_ONE_ACCOUNT), {"id": account_id})).first()
        if row is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no account {account_id}.")
        return _account(row)

    async def change(self, account_id: str, given: Json) -> None:
        """Set what is given of `role`, OWN_LIMITS (None is the setting) and `monthly_usd`. Needs a transaction.

        Raises `NOT_FOUND`, and `INVALID_STATE` when nobody would be left who can make admins.
        """
        if given.get("role") == Role.USER:
            await leave_an_admin(self._connection, account_id)
        await self.account(account_id)
        # The month before the owner's row, as everybody does who locks both.
        if "monthly_usd" in given:
            await BudgetRepository(self._connection, account_id).set_monthly(given["monthly_usd"])
        columns = {name: given[name] for name in given if name == "role" or name in OWN_LIMITS}
        if columns:
            sets = ", ".join(f"{name} = :{name}" for name in columns)
            await self._connection.execute(
                text(f"UPDATE owners SET {sets} WHERE id = :id"), {**columns, "id": account_id}
            )

    # ------------------------------------------------------------------------------------------ figures

    async def usage(
        self, begin: datetime, end: datetime, by: AllUsageBy, *, after: str | None, limit: int
    ) -> tuple[Figures, list[AllUsageRecord]]:
        """What everybody's calls that began from `begin` until before `end` come to, and a page of the same by day,
        model, pipeline or account: days and accounts the newest first. Deleted accounts count, without a name."""
        newest_first = by in _NEWEST_FIRST
        account = by is AllUsageBy.ACCOUNT
        statement = _USAGE.format(
            key=_KEYS[by],
            figures=ADDED_UP,
            name="o.name" if account else "NULL AS name",
            join="LEFT JOIN owners o ON o.id = CAST(f.key AS uuid)" if account else "",
            beyond="<" if newest_first else ">",
            order="DESC" if newest_first else "ASC",
        )
        values = {"begin": begin, "end": end, "after": after, "limit": limit + 1}
        total, *rows = map(tuple, await self._connection.execute(prepared(statement), values))
        return Figures(*total[2:]), [AllUsageRecord(row[0], row[1], Figures(*row[2:])) for row in rows]

    async def providers(self, names: Sequence[str], errors: Sequence[str]) -> dict[str, ProviderRecord]:
        """How providers did within a day, by name. `errors`: the error types that tell of a provider."""
        rows = await self._connection.execute(text(_PROVIDERS), {"names": list(names), "errors": list(errors)})
        return {
            row.name: ProviderRecord(
                calls=row.calls,
                failed_calls=row.failed_calls,
                answered_at=row.answered_at,
                failed_at=row.failed_at,
                error_type=row.error_type,
                failures_in_a_row=row.failures,
                cooling_until=row.until,
                cooling_for=row.cooling_for,
            )
            for row in rows
        }

    async def resume(self, provider: str) -> None:
        """End a cooldown: workers ask the provider again, and count its failures anew."""
        await CooldownRepository(self._connection).succeeded(provider)

    # ------------------------------------------------------------------------------------------ limits

    async def limits(self, allowances: Sequence[Allowance]) -> dict[str, LimitUse]:
        """How the limits stand, by name. The subjects of the allowances do not matter: all are counted."""
        rows = await self._connection.execute(text(_LIMITS), _given(allowances))
        return {row.name: LimitUse(row.subjects, row.near, row.reached, row.highest) for row in rows}

    async def submitting(self, submissions: Allowance, *, limit: int) -> list[AccountUse]:
        """The accounts that have used most of what they may submit."""
        rows = await self._connection.execute(text(_SUBMITTING), {**_given([submissions]), "limit": limit})
        return [_use(row) for row in rows]

    async def running(self, quota: int, *, limit: int) -> tuple[LimitUse, list[AccountUse]]:
        """How many jobs run at once, and the accounts that have most of what they may have."""
        uses = [_use(row) for row in await self._connection.execute(text(_RUNNING), {"quota": quota})]
        reached = sum(use.used >= use.quota for use in uses)
        near = sum(NEAR * use.quota <= use.used < use.quota for use in uses)
        return LimitUse(len(uses), near, reached, max((use.used for use in uses), default=0.0)), uses[:limit]


def _given(allowances: Sequence[Allowance]) -> dict[str, Any]:
    return {
        "names": [one.name for one in allowances],
        "quotas": [one.quota for one in allowances],
        "windows": [one.seconds for one in allowances],
    }


def _use(row: Row[Any]) -> AccountUse:
    return AccountUse(str(row.account_id), row.account, float(row.used), row.quota)


def _account(row: Row[Any]) -> AccountRecord:
    return AccountRecord(
        id=str(row.id),
        name=row.name,
        email=row.email,
        role=Role(row.role),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        jobs=row.jobs,
        spent_usd=row.spent_usd,
        submissions_per_hour=row.submissions_per_hour,
        jobs_at_once=row.jobs_at_once,
        monthly_usd=row.monthly_budget_usd,
    )
