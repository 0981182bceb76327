"""What was asked of models and what it cost, read from the ledger. Nothing here changes a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Outcome
from core.contracts.llm import PromptRef, Usage
from core.db.repositories.events import prepared
from core.db.repositories.reservations import HELD


class CallRecord(NamedTuple):
    """One attempt. `reserved_usd` is what was set aside for it before it was asked; None: its price is unknown."""

    id: str
    step: str
    revision: int
    run: int
    attempt: int
    model: str
    prompt: PromptRef
    outcome: Outcome
    reused: bool
    settled: bool
    simulated: bool
    usage: Usage
    usd: Decimal | None
    reserved_usd: Decimal | None
    latency_ms: int | None
    first_token_ms: int | None
    error_type: str | None
    error_message: str | None
    started_at: datetime
    finished_at: datetime | None


class UsageBy(StrEnum):
    """What calls are added up by."""

    DAY = "day"
    MODEL = "model"
    PIPELINE = "pipeline"
    JOB = "job"


class Figures(NamedTuple):
    """What some calls come to. `unpriced_calls` are those of which nobody can say what they cost."""

    calls: int
    failed_calls: int
    reused_calls: int
    simulated_calls: int
    unpriced_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usd: Decimal
    reserved_usd: Decimal


class UsageRecord(NamedTuple):
    """The figures of one day (`2026-11-21`, UTC), model, pipeline or job. `title` is that of a job that is there."""

    key: str
    title: str | None
    figures: Figures


@dataclass(frozen=True)
class ProviderHealth:
    """How a provider did lately: when it answered this owner last, how it failed last, and whether it is left alone."""

    answered_at: datetime | None
    failed_at: datetime | None
    error_type: str | None
    error_message: str | None
    cooling_until: datetime | None
    cooling_for: str | None
    """The error type for which it is left alone."""


_CALLS = """
SELECT a.id, a.step, a.revision, a.run, a.attempt, a.model, a.prompt_name, a.prompt_version, a.prompt_characters,
       a.outcome, a.reused, a.settled_at IS NOT NULL AS settled, a.simulated, a.input_tokens, a.output_tokens,
       a.cached_tokens, a.cache_write_tokens, a.reasoning_tokens, a.usd, a.reserved_usd, a.latency_ms,
       a.first_token_ms, a.error_type, a.error_message, a.started_at, a.finished_at
FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND (CAST(:after AS uuid) IS NULL OR a.id > CAST(:after AS uuid))
WHERE j.id = :job_id AND j.owner_id = :owner_id
ORDER BY a.id LIMIT :limit
"""

_KEYS = {
    UsageBy.DAY: "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    UsageBy.MODEL: "model",
    UsageBy.PIPELINE: "pipeline",
    UsageBy.JOB: "job_id::text",
}
_NEWEST_FIRST = frozenset({UsageBy.DAY, UsageBy.JOB})
"""Their keys grow with time: the ids of jobs begin with it."""
ADDED_UP = f"""
    count(*) AS calls, count(*) FILTER (WHERE outcome = 'failed') AS failed_calls,
    count(*) FILTER (WHERE reused) AS reused_calls, count(*) FILTER (WHERE simulated) AS simulated_calls,
    count(*) FILTER (WHERE usd IS NULL AND NOT ({HELD})) AS unpriced_calls,
    COALESCE(sum(input_tokens), 0) AS input_tokens, COALESCE(sum(output_tokens), 0) AS output_tokens,
    COALESCE(sum(cached_tokens), 0) AS cached_tokens,
    COALESCE(sum(cache_write_tokens), 0) AS cache_write_tokens,
    COALESCE(sum(reasoning_tokens), 0) AS reasoning_tokens, COALESCE(sum(usd), 0) AS usd,
    COALESCE(sum(reserved_usd) FILTER (WHERE {HELD}), 0) AS reserved_usd
"""
"""SQL: what some rows of `attempts` come to, as the columns of `Figures`."""
_USAGE = """
WITH calls AS (
    SELECT {key} COLLATE "C" AS key, * FROM attempts
    WHERE owner_id = :owner_id AND started_at >= :begin AND started_at < :end
), figures AS (
    SELECT key, {figures}
    FROM calls GROUP BY GROUPING SETS ((key), ())
)
SELECT f.key, {title}, f.calls, f.failed_calls, f.reused_calls, f.simulated_calls, f.unpriced_calls, f.input_tokens,
       f.output_tokens, f.cached_tokens, f.cache_write_tokens, f.reasoning_tokens, f.usd, f.reserved_usd
FROM figures f {join}
WHERE f.key IS NULL OR CAST(:after AS text) IS NULL OR f.key {beyond} CAST(:after AS text)
ORDER BY f.key {order} NULLS FIRST LIMIT :limit
"""

_HEALTH = """
SELECT p.name, ok.at AS answered_at, failed.at AS failed_at, failed.error_type, failed.error_message,
       c.until, c.error_type AS cooling_for
FROM unnest(CAST(:names AS text[])) AS p(name)
LEFT JOIN cooldowns c ON c.provider = p.name AND c.until > now()
LEFT JOIN LATERAL (
    SELECT COALESCE(finished_at, started_at) AS at FROM attempts
    WHERE owner_id = :owner_id AND started_at > now() - interval '1 day' AND split_part(model, ':', 1) = p.name
      AND answered AND NOT reused
    ORDER BY started_at DESC LIMIT 1
) ok ON true
LEFT JOIN LATERAL (
    SELECT COALESCE(finished_at, started_at) AS at, error_type, error_message FROM attempts
    WHERE owner_id = :owner_id AND started_at > now() - interval '1 day' AND split_part(model, ':', 1) = p.name
      AND outcome = 'failed' AND error_type = ANY(CAST(:errors AS text[])) AND NOT detached
    ORDER BY started_at DESC LIMIT 1
) failed ON true
"""


class UsageRepository:
    """Reads the ledger for one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def calls(self, job_id: str, *, after: str | None, limit: int) -> list[CallRecord]:
        """Attempts for a job, the oldest first, behind the one of the id `after`. Raises `NOT_FOUND`."""
        found = (
            await self._connection.execute(
                prepared(_CALLS), {"owner_id": self._owner_id, "job_id": job_id, "after": after, "limit": limit}
            )
        ).all()
        if not found:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})
        # A job that has asked nobody is one row without an attempt.
        return [_call(row) for row in found if row.id is not None]

    async def usage(
        self, begin: datetime, end: datetime, by: UsageBy, *, after: str | None, limit: int
    ) -> tuple[Figures, list[UsageRecord]]:
        """What the calls that began from `begin` until before `end` come to, and a page of the same by day, model,
        pipeline or job: days and jobs the newest first. Deleted jobs count."""
        newest_first = by in _NEWEST_FIRST
        job = by is UsageBy.JOB
        statement = _USAGE.format(
            key=_KEYS[by],
            figures=ADDED_UP,
            title="j.title" if job else "NULL AS title",
            join="LEFT JOIN jobs j ON j.id = CAST(f.key AS uuid) AND j.owner_id = :owner_id" if job else "",
            beyond="<" if newest_first else ">",
            order="DESC" if newest_first else "ASC",
        )
        values = {"owner_id": self._owner_id, "begin": begin, "end": end, "after": after, "limit": limit + 1}
        total, *rows = map(tuple, await self._connection.execute(prepared(statement), values))
        return Figures(*total[2:]), [UsageRecord(row[0], row[1], Figures(*row[2:])) for row in rows]

    async def health(self, providers: Sequence[str], errors: Sequence[str]) -> dict[str, ProviderHealth]:
        """How providers did within a day, by name. `errors`: the error types that tell of a provider."""
        rows = await self._connection.execute(
            text(_HEALTH), {"owner_id": self._owner_id, "names": list(providers), "errors": list(errors)}
        )
        return {
            row.name: ProviderHealth(
                row.answered_at, row.failed_at, row.error_type, row.error_message, row.until, row.cooling_for
            )
            for row in rows
        }


def _call(row: Row[Any]) -> CallRecord:
    return CallRecord(
        id=str(row.id),
        step=row.step,
        revision=row.revision,
        run=row.run,
        attempt=row.attempt,
        model=row.model,
        prompt=PromptRef(name=row.prompt_name, version=row.prompt_version, characters=row.prompt_characters),
        outcome=Outcome(row.outcome),
        reused=row.reused,
        settled=row.settled,
        simulated=row.simulated,
        usage=Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens,
            cache_write_tokens=row.cache_write_tokens,
            reasoning_tokens=row.reasoning_tokens,
        ),
        usd=row.usd,
        reserved_usd=row.reserved_usd,
        latency_ms=row.latency_ms,
        first_token_ms=row.first_token_ms,
        error_type=row.error_type,
        error_message=row.error_message,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
