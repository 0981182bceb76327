"""Events of a job: appended under the job row's lock, gapless, each once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.jobs import ENDED, Event, EventType, JobStatus
from core.contracts.names import EVENTS_CHANNEL
from core.contracts.webhooks import told_by
from core.db.repositories.outbox import TELL_RECEIVERS, WAKE

_PARTS = """
    job AS (
        UPDATE jobs SET event_seq = event_seq + 1, updated_at = now(){sets}
        WHERE id = :job_id{where}
          AND NOT EXISTS (SELECT 1 FROM events WHERE job_id = :job_id AND key = :key)
        RETURNING {columns}
    ), event AS (
        INSERT INTO events (job_id, seq, type, key, data, created_at)
        SELECT id, event_seq, :type, :key, CAST(:data AS jsonb){progress}, clock_timestamp() FROM job
    )
"""
_PROGRESS = """
    || jsonb_build_object('steps_done', steps_done, 'total_steps', total_steps, 'cost_usd', trim_scale(cost_usd))"""

_COLUMNS = "id, event_seq, steps_done, total_steps, cost_usd, budget_usd"

NOTIFY = f"pg_notify('{EVENTS_CHANNEL}', id || ':' || event_seq)"
"""What the statement around `append_parts` selects from `job`, so that listeners hear of the event."""


def append_parts(sets: Mapping[str, str], *, where: str = "", progress: bool = False, columns: str = _COLUMNS) -> str:
    """Two parts of a WITH: `job`, the changed row, and `event`, which tells of it; see `EventRepository.append`."""
    return _PARTS.format(
        sets="".join(f", {column} = {expression}" for column, expression in sets.items()),
        where=f" AND {where}" if where else "",
        progress=_PROGRESS if progress else "",
        columns=columns,
    )


def append_values(job_id: str, type: EventType, key: str, data: Json) -> Json:
    """The parameters of `append_parts`, beside those of `sets` and `where`."""
    return {"job_id": job_id, "type": type.value, "key": key, "data": json.dumps(data)}


@lru_cache(maxsize=256)
def prepared(statement: str) -> TextClause:
    """The statement, parsed once: finding its parameters takes as long as sending it."""
    return text(statement)


@dataclass(frozen=True)
class Position:
    """How far a job's events go, and whether no more are to come unless it is retried."""

    last_seq: int
    ended: bool


class EventRepository:
    """Appends events, of whichever job."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def append(
        self,
        job_id: str,
        type: EventType,
        key: str,
        data: Json | None = None,
        *,
        sets: Mapping[str, str] | None = None,
        where: str = "",
        values: Mapping[str, Any] | None = None,
        progress: bool = False,
    ) -> int | None:
        """Change the job's row and append the event that tells of it, in one statement, with what receivers of
        webhooks are told of it.

        `sets` maps columns to SQL expressions and `where` narrows the row, both with `values` as parameters: only
        the code of this package writes them. None when the row did not fit or the event is there already. The
        number is taken under the row's lock, which is held until the commit: make this the transaction's last
        statement, so that readers never see 7 before 6 and writers wait for one another as short as can be.
        """
        data, more = data or {}, {**(values or {})}
        told = told_by(type, data.get("status"))
        if told is None:
            statement = f"WITH {append_parts(sets or {}, where=where, progress=progress)} SELECT event_seq, {NOTIFY}"
        else:
            # In the same statement: whoever is killed has told both or neither.
            parts = append_parts(sets or {}, where=where, progress=progress, columns="*")
            statement = f"WITH {parts}{TELL_RECEIVERS} SELECT event_seq, {NOTIFY}, {WAKE}"
            more["told"] = told.value
        row = (
            await self._connection.execute(
                prepared(f"{statement} FROM job"), {**append_values(job_id, type, key, data), **more}
            )
        ).first()
        return None if row is None else int(row.event_seq)


class JobEventsRepository:
    """Reads the events of one owner's jobs."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def position(self, job_id: str) -> Position | None:
        """Where a job's events end; None when there is no such job of the owner's."""
        row = (
            await self._connection.execute(
                text("SELECT event_seq, status FROM jobs WHERE id = :job_id AND owner_id = :owner_id"),
                {"job_id": job_id, "owner_id": self._owner_id},
            )
        ).first()
        return None if row is None else Position(row.event_seq, JobStatus(row.status) in ENDED)

    async def after(self, job_id: str, seq: int, limit: int = 500) -> list[Event]:
        """Events with a greater number, in order; none of another owner's job."""
        # The job does not depend on the event's row, so it is looked up once, by its key.
        rows = await self._connection.execute(
            text(
                "SELECT seq, type, created_at, data::text AS data FROM events WHERE job_id = :job_id AND seq > :seq "
                "AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id) ORDER BY seq LIMIT :limit"
            ),
            {"owner_id": self._owner_id, "job_id": job_id, "seq": seq, "limit": limit},
        )
        return [
            Event(
                seq=row.seq,
                type=EventType(row.type),
                at=row.created_at,
                data=json.loads(row.data),
            )
            for row in rows
        ]


def one_of(statuses: frozenset[JobStatus]) -> str:
    """SQL that is true of a job in one of the statuses."""
    return "status IN (" + ", ".join(f"'{status.value}'" for status in sorted(statuses)) + ")"
