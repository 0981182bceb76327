"""Deliveries of webhooks: the log that their owners read, and the work of making them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import Via
from core.contracts.webhooks import DeliveryState, HookEvent
from core.db.repositories.audit import Act, AuditLog
from core.db.repositories.events import prepared
from core.db.repositories.outbox import NEW_ID, WAKE, instant
from core.db.repositories.webhooks import no_hook

TRIES_KEPT = 50
"""In the log of a delivery; a day has 35."""
KEPT = timedelta(days=30)
LOST_AFTER = timedelta(hours=3)
"""A delivery that is pending and was not tried for so long, which is longer than any pause: Temporal lost it."""


@dataclass(frozen=True)
class DeliveryRecord:
    """What its owner is shown of a delivery. `tries` have `at`, `status`, `ms` and `error`."""

    id: str
    hook_id: str | None
    job_id: str | None
    type: HookEvent
    url: str
    state: DeliveryState
    tries: list[Json]
    next_try_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


_COLUMNS = """d.id, d.hook_id, d.job_id, d.type, d.url, d.state, d.tries::text AS tries, d.next_try_at, d.created_at,
    d.ended_at"""


class DeliveryRepository:
    """Reads the deliveries of one owner, and has them made again."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def of_hook(self, hook_id: str, *, before: str | None, limit: int) -> list[DeliveryRecord]:
        """A page of what went to a webhook, the newest first. Raises `NOT_FOUND`."""
        found = await self._page("hook_id", hook_id, before, limit)
        if not found and not await self._is_theirs("webhooks", hook_id):
            raise no_hook(hook_id)
        return found

    async def of_job(self, job_id: str, *, before: str | None, limit: int) -> list[DeliveryRecord]:
        """A page of who was told of a job, the newest first. Raises `NOT_FOUND`."""
        found = await self._page("job_id", job_id, before, limit)
        if not found and not await self._is_theirs("jobs", job_id):
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})
        return found

    async def get(self, delivery_id: str) -> DeliveryRecord:
        """One of them. Raises `NOT_FOUND`."""
        row = (
            await self._run(
                f"SELECT {_COLUMNS} FROM deliveries d WHERE d.id = :id AND d.owner_id = :owner_id", id=delivery_id
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.NOT_FOUND, f"There is no delivery {delivery_id}.", details={"delivery_id": delivery_id}
            )
        return _record(row)

    async def redeliver(self, delivery_id: str) -> DeliveryRecord:
        """Make a delivery that has ended again, under the same id, to where its webhook leads now.

        Raises `NOT_FOUND`, and `INVALID_STATE` while it is being tried.
        """
        known = await self.get(delivery_id)
        row = (
            await self._run(
                f"WITH told AS (UPDATE deliveries d SET state = '{DeliveryState.PENDING}', round = round + 1, "
                "tried = 0, claimed_at = NULL, dispatched_at = NULL, ended_at = NULL, next_try_at = NULL, "
                "url = COALESCE((SELECT h.url FROM webhooks h WHERE h.id = d.hook_id), d.url) "
                f"WHERE d.id = :id AND d.owner_id = :owner_id AND d.state <> '{DeliveryState.PENDING}' "
                f"RETURNING {_COLUMNS}) SELECT told.*, {WAKE} FROM told",
                id=delivery_id,
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                "The delivery is being tried already: it can be made again when it got through or was given up.",
                details={"state": known.state.value},
            )
        return _record(row)

    async def _page(self, column: str, value: str, before: str | None, limit: int) -> list[DeliveryRecord]:
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM deliveries d WHERE d.{column} = :value AND d.owner_id = :owner_id "
            "AND (CAST(:before AS uuid) IS NULL OR d.id < :before) ORDER BY d.id DESC LIMIT :limit",
            value=value,
            before=before,
            limit=limit,
        )
        return [_record(row) for row in rows]

    async def _is_theirs(self, table: str, id: str) -> bool:
        found = await self._run(f"SELECT 1 FROM {table} WHERE id = :id AND owner_id = :owner_id", id=id)
        return found.first() is not None

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), {"owner_id": self._owner_id, **values})


@dataclass(frozen=True)
class StartingDelivery:
    """A delivery whose workflow is to be started."""

    id: str
    owner_id: str
    round: int
    tried: int
    trace_id: str


@dataclass(frozen=True)
class DueDelivery:
    """What a try needs. `secrets`: the newest first, with the one before while it is valid."""

    owner_id: str
    hook_id: str | None
    url: str
    body: str
    secrets: tuple[str, ...]
    tried: int
    until_next: float
    """Seconds, if the try was noted already."""
    stopped: bool
    """Its webhook is not active any more."""


@dataclass(frozen=True)
class TryNote:
    """What came of a try. `pause`: seconds until the next; None: this was the last."""

    number: int
    told: Mapping[str, Any]
    """`status`, `ms`, `error`."""
    delivered: bool = False
    gone: bool = False
    """The receiver wants nothing more."""
    counts: bool = True
    """It says something about the receiver."""
    pause: float | None = None


_CLAIM = f"""
    UPDATE deliveries d SET claimed_at = now() WHERE id IN (
        SELECT id FROM deliveries w WHERE state = '{DeliveryState.PENDING}' AND dispatched_at IS NULL
          AND (claimed_at IS NULL OR claimed_at < now() - CAST(:stale AS interval))
          AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.id = w.owner_id AND o.erasing_at IS NOT NULL)
        ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id, owner_id, round, tried,
        COALESCE((SELECT j.trace_id FROM jobs j WHERE j.id = d.job_id), '') AS trace_id
"""
_FIND_LOST = f"""
    UPDATE deliveries SET claimed_at = NULL, dispatched_at = NULL WHERE id IN (
        SELECT id FROM deliveries WHERE state = '{DeliveryState.PENDING}'
          AND GREATEST(dispatched_at, next_try_at) < now() - CAST(:lost AS interval)
        FOR NO KEY UPDATE SKIP LOCKED)
"""
_DUE = f"""
    SELECT d.owner_id, d.hook_id, d.url, d.payload::text AS body, d.tried,
           GREATEST(0, extract(epoch FROM d.next_try_at - now()))::float8 AS until_next,
           COALESCE(h.secret, s.secret) AS secret,
           CASE WHEN h.id IS NOT NULL THEN CASE WHEN h.previous_until > now() THEN h.previous_secret END
                WHEN s.previous_until > now() THEN s.previous_secret END AS previous_secret,
           h.id IS NOT NULL AND d.type <> '{HookEvent.TEST}'
               AND (NOT h.active OR h.disabled_at IS NOT NULL) AS stopped
    FROM deliveries d JOIN owners o ON o.id = d.owner_id AND o.erasing_at IS NULL
    LEFT JOIN webhooks h ON h.id = d.hook_id LEFT JOIN signing_secrets s ON s.owner_id = d.owner_id
    WHERE d.id = :id AND d.round = :round AND d.state = '{DeliveryState.PENDING}'
"""
_NOTE = f"""
    UPDATE deliveries SET tried = :number, state = :state,
        tries = (CASE WHEN jsonb_array_length(tries) >= {TRIES_KEPT} THEN tries - 0 ELSE tries END)
            || jsonb_build_array(jsonb_build_object('at', {instant("clock_timestamp()")}) || CAST(:told AS jsonb)),
        next_try_at = now() + make_interval(secs => CAST(:pause AS float8)),
        ended_at = CASE WHEN :state = '{DeliveryState.PENDING}' THEN NULL ELSE now() END
    WHERE id = :id AND round = :round AND tried < :number AND state = '{DeliveryState.PENDING}'
    RETURNING hook_id
"""
_GOT_THROUGH = "UPDATE webhooks SET failing_since = NULL WHERE id = :id AND failing_since IS NOT NULL"
_FAILS = "UPDATE webhooks SET failing_since = COALESCE(failing_since, now()) WHERE id = :id"
_DISABLE = """
    UPDATE webhooks SET disabled_at = now(), disabled_because = :because
    WHERE id = :id AND disabled_at IS NULL AND (:gone OR failing_since <= now() - CAST(:after AS interval))
    RETURNING id, owner_id
"""
_TELL_OTHERS = f"""
    WITH told AS (
        INSERT INTO deliveries (id, owner_id, hook_id, type, url, payload)
        SELECT {NEW_ID}, h.owner_id, h.id, '{HookEvent.DISABLED}', h.url,
               jsonb_build_object('type', '{HookEvent.DISABLED}', 'timestamp', {instant("clock_timestamp()")},
                                  'data', jsonb_build_object('hook', jsonb_build_object(
                                      'id', CAST(:id AS uuid), 'disabled_because', CAST(:because AS text))))
        FROM webhooks h WHERE h.owner_id = :owner_id AND h.id <> :id AND h.active AND h.disabled_at IS NULL
          AND '{HookEvent.DISABLED}' = ANY(h.events)
        FOR KEY SHARE
        RETURNING id
    )
    SELECT {WAKE}
"""
_GONE = "Its server answered 410 Gone: it wants nothing more. Switch it on again if that was a mistake."
_FAILED = "Nothing has got through since {since}. Mend its receiver, and switch it on again."


class DeliveryWorkRepository:
    """Makes deliveries, of whichever owner."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, limit: int, stale: timedelta) -> list[StartingDelivery]:
        """Take deliveries to start, oldest first, that nobody took, or whose taker was not heard of for `stale`."""
        rows = await self._run(_CLAIM, limit=limit, stale=stale)
        found = [StartingDelivery(str(row.id), str(row.owner_id), row.round, row.tried, row.trace_id) for row in rows]
        return sorted(found, key=lambda delivery: delivery.id)

    async def find_lost(self) -> int:
        """Have those started again that Temporal lost. How many.

        Not with every claim: it looks at all that wait for their receivers, and one that is away has thousands.
        """
        return int((await self._run(_FIND_LOST, lost=LOST_AFTER)).rowcount)

    async def dispatched(self, delivery: StartingDelivery) -> None:
        """Temporal acknowledged the start."""
        await self._run(
            "UPDATE deliveries SET dispatched_at = now() WHERE id = :id AND round = :round",
            id=delivery.id,
            round=delivery.round,
        )

    async def release(self, delivery: StartingDelivery) -> None:
        """The start failed: any starter may take it again."""
        await self._run(
            "UPDATE deliveries SET claimed_at = NULL WHERE id = :id AND round = :round",
            id=delivery.id,
            round=delivery.round,
        )

    async def due(self, delivery_id: str, round: int) -> DueDelivery | None:
        """What a try needs; None when the delivery has ended, is in another round, or is gone with its owner."""
        row = (await self._run(_DUE, id=delivery_id, round=round)).first()
        if row is None:
            return None
        return DueDelivery(
            owner_id=str(row.owner_id),
            hook_id=None if row.hook_id is None else str(row.hook_id),
            url=row.url,
            body=row.body,
            secrets=tuple(secret for secret in (row.secret, row.previous_secret) if secret is not None),
            tried=row.tried,
            until_next=row.until_next or 0.0,
            stopped=row.stopped,
        )

    async def note(self, delivery_id: str, round: int, note: TryNote, disable_after: timedelta) -> bool:
        """Note a try, once. A webhook of which the last try of a delivery failed, and nothing got through for
        `disable_after`, is disabled, and so is one that is `gone`. Whether it was.

        Needs a transaction.
        """
        if note.delivered:
            state = DeliveryState.DELIVERED
        else:
            state = DeliveryState.FAILED if note.pause is None else DeliveryState.PENDING
        row = (
            await self._run(
                _NOTE,
                id=delivery_id,
                round=round,
                number=note.number,
                state=state.value,
                told=json.dumps(dict(note.told)),
                pause=note.pause if state is DeliveryState.PENDING else None,
            )
        ).first()
        if row is None or row.hook_id is None or not note.counts:
            return False
        hook_id = str(row.hook_id)
        if note.delivered:
            await self._run(_GOT_THROUGH, id=hook_id)
            return False
        failing = (await self._run(f"{_FAILS} RETURNING failing_since", id=hook_id)).first()
        if failing is None or note.pause is not None:
            return False
        because = _GONE if note.gone else _FAILED.format(since=f"{failing.failing_since:%Y-%m-%d %H:%M} UTC")
        return await self._disable(hook_id, because, note.gone, disable_after)

    async def _disable(self, hook_id: str, because: str, gone: bool, after: timedelta) -> bool:
        row = (await self._run(_DISABLE, id=hook_id, because=because, gone=gone, after=after)).first()
        if row is None:
            return False
        owner_id = str(row.owner_id)
        await AuditLog(self._connection).add(
            Act(
                action="hooks.disabled",
                owner_id=owner_id,
                actor_id=None,
                via=Via.NOBODY,
                resource=f"hooks/{hook_id}",
                details={"because": because},
            )
        )
        await self._run(_TELL_OTHERS, id=hook_id, owner_id=owner_id, because=because)
        return True

    async def drop_old(self) -> int:
        """Delete deliveries that are older than 30 days, and are not made again just now. How many."""
        dropped = await self._run(
            "DELETE FROM deliveries WHERE created_at < now() - CAST(:kept AS interval) "
            f"AND state <> '{DeliveryState.PENDING}'",
            kept=KEPT,
        )
        return int(dropped.rowcount)

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), values)


def _record(row: Row[Any]) -> DeliveryRecord:
    return DeliveryRecord(
        id=str(row.id),
        hook_id=None if row.hook_id is None else str(row.hook_id),
        job_id=None if row.job_id is None else str(row.job_id),
        type=HookEvent(row.type),
        url=row.url,
        state=DeliveryState(row.state),
        tries=json.loads(row.tries),
        next_try_at=row.next_try_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
