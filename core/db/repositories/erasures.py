"""Deleting an account: all of an owner's rows but the amounts, in steps that can be done again after any crash.

Whoever changes attempts, jobs and months locks them in this order, and the owner last.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ALIVE, JobStatus
from core.contracts.names import JobAddress
from core.contracts.webhooks import delivery_workflow
from core.db.repositories.accounts import leave_an_admin
from core.db.repositories.events import one_of
from core.db.repositories.reservations import HELD

DELETED = "account.deleted"
"""The one line of the audit log that stays of an account."""


@dataclass(frozen=True)
class ErasureRecord:
    """How far it is: `erased` has figures only. The id is not to be guessed, and all one needs to read it."""

    id: str
    requested_at: datetime
    finished_at: datetime | None
    erased: Json


@dataclass(frozen=True)
class Claim:
    """What a process is at. `overdue`: what was asked to end has had its time."""

    id: str
    owner_id: str
    requested_at: datetime
    overdue: bool


@dataclass(frozen=True)
class KnownJob:
    """A job whose history is to go. `lately`: it ended when the account was deleted, or since."""

    address: JobAddress
    lately: bool


@dataclass(frozen=True)
class KnownDelivery:
    """A delivery whose workflow may run. `starting`: it is being started now."""

    workflow: str
    starting: bool


class StillAliveError(Exception):
    """A request that was under way brought a job to life: nothing was deleted, and all begins anew."""


# What nobody began to start ends here; the starter tells the workflows of the others. Nobody reads their events.
_CANCEL = f"""
    UPDATE jobs SET cancel_requested_at = COALESCE(cancel_requested_at, now()), updated_at = now(),
        status = CASE WHEN status = 'pending' AND claimed_at IS NULL THEN 'cancelled' ELSE status END,
        finished_at = CASE WHEN status = 'pending' AND claimed_at IS NULL THEN now() ELSE finished_at END
    WHERE id IN (
        SELECT id FROM jobs WHERE owner_id = :owner_id AND {one_of(ALIVE)}
          AND (cancel_requested_at IS NULL OR (status = 'pending' AND claimed_at IS NULL))
        ORDER BY id FOR NO KEY UPDATE)
"""
# How often logins with the email failed is known by its hash.
_FORGET_LIMITS = """
    DELETE FROM limits WHERE subject = CAST(CAST(:owner_id AS uuid) AS text) OR subject IN (
        SELECT encode(sha256(convert_to(email_key, 'UTF8')), 'hex') FROM owners WHERE id = :owner_id)
"""
_BEGIN = """
    WITH gone AS (
        UPDATE owners SET erasing_at = now(), email = NULL, email_key = NULL, password_hash = NULL, name = ''
        WHERE id = :owner_id AND erasing_at IS NULL RETURNING id
    )
    INSERT INTO erasures (id, owner_id) SELECT :id, id FROM gone RETURNING id
"""
_END_KEYS = "UPDATE api_keys SET revoked_at = now() WHERE owner_id = :owner_id AND revoked_at IS NULL"
_END_LOGINS = "UPDATE sessions SET ended_at = now() WHERE owner_id = :owner_id AND ended_at IS NULL"
# A row that is settled cannot be closed any more: what a worker is still told comes to nothing.
_SETTLE = f"""
    WITH found AS (
        SELECT id, {HELD} AS held, reserved_usd,
               CAST(date_trunc('month', started_at AT TIME ZONE 'UTC') AS date) AS month
        FROM attempts WHERE owner_id = :owner_id AND {{which}} ORDER BY id FOR NO KEY UPDATE
    ), settled AS (
        UPDATE attempts a SET detached = true, error_message = NULL, refused_answer = NULL, refused_because = NULL,
            outcome = CASE WHEN a.outcome = 'open' THEN 'unknown' ELSE a.outcome END,
            finished_at = COALESCE(a.finished_at, now()),
            usd = CASE WHEN found.held THEN found.reserved_usd ELSE a.usd END,
            settled_at = CASE WHEN found.held OR a.outcome IN ('open', 'unknown')
                         THEN COALESCE(a.settled_at, now()) ELSE a.settled_at END
        FROM found WHERE a.id = found.id
        RETURNING found.month, CASE WHEN found.held THEN found.reserved_usd ELSE 0 END AS usd
    )
    SELECT month, sum(usd) AS usd FROM settled GROUP BY month HAVING sum(usd) > 0
"""
_LOCK_MONTHS = """
    SELECT 1 FROM spending WHERE owner_id = :owner_id AND month = ANY(:months) ORDER BY month FOR NO KEY UPDATE
"""
_SPEND = """
    UPDATE spending s SET spent_usd = s.spent_usd + a.usd, reserved_usd = s.reserved_usd - a.usd
    FROM unnest(CAST(:months AS date[]), CAST(:usd AS numeric[])) AS a (month, usd)
    WHERE s.owner_id = :owner_id AND s.month = a.month
"""
_OPENED_SINCE = "SELECT EXISTS (SELECT 1 FROM attempts WHERE job_id = ANY(CAST(:ids AS uuid[])) AND NOT detached)"
_KEPT = """
    SELECT (SELECT count(*) FROM api_keys WHERE owner_id = :owner_id) AS keys,
           (SELECT count(*) FROM sessions WHERE owner_id = :owner_id) AS logins,
           (SELECT count(*) FROM uploads WHERE owner_id = :owner_id) AS uploads,
           (SELECT count(*) FROM webhooks WHERE owner_id = :owner_id) AS hooks,
           (SELECT count(*) FROM attempts WHERE owner_id = :owner_id) AS calls_kept,
           (SELECT COALESCE(sum(spent_usd), 0) FROM spending WHERE owner_id = :owner_id) AS usd_kept
"""
# What an admin did to the account names it as what it was done to.
_FORGET_AUDIT = f"""
    DELETE FROM audit USING (SELECT CAST(CAST(:owner_id AS uuid) AS text) AS word) AS gone
    WHERE action <> '{DELETED}' AND (owner_id = :owner_id OR (actor_id = :owner_id AND owner_id IS NULL)
        OR strpos(resource, word) > 0 OR strpos(details::text, word) > 0)
"""
_FORGET_LATE = f"DELETE FROM audit WHERE owner_id = :owner_id AND action <> '{DELETED}'"
# What was done to others stays in their log, without saying by whom.
_BLUR_AUDIT = """
    UPDATE audit SET ip = NULL, request_id = NULL, via_id = NULL,
        actor_id = CASE WHEN owner_id = :owner_id THEN actor_id END
    WHERE owner_id = :owner_id OR actor_id = :owner_id
"""
_TELL = """
    UPDATE erasures SET erased = erased || (
        SELECT COALESCE(jsonb_object_agg(key, {how}), '{{}}') FROM (
            SELECT key, CAST(value AS numeric) AS value, COALESCE(CAST(erased ->> key AS numeric), 0) AS before
            FROM jsonb_each_text(CAST(:figures AS jsonb))) AS told)
    WHERE id = :id
"""
_COLUMNS = "id, requested_at, finished_at, erased::text AS erased"


class ErasureRepository:
    """Ends one owner's account."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner = {"owner_id": owner_id}

    async def begin(self) -> tuple[str, bool]:
        """Nobody speaks for the owner any more, the email is free, all jobs are asked to end. The erasure's id, and
        whether it is new: of two requests at once both get the same.

        Needs a transaction. Raises `INVALID_STATE` for the last admin, and `UNAUTHENTICATED` when it is over.
        """
        await leave_an_admin(self._connection, self._owner["owner_id"])
        for statement in (_CANCEL, _FORGET_LIMITS):
            await self._connection.execute(text(statement), self._owner)
        # At random, and not by time: whoever knows it may read the figures.
        begun = await self._connection.execute(text(_BEGIN), {**self._owner, "id": str(uuid.uuid4())})
        erasure_id = begun.scalar()
        if erasure_id is not None:
            for statement in (_END_KEYS, _END_LOGINS):
                await self._connection.execute(text(statement), self._owner)
            return str(erasure_id), True
        erasure_id = await self._under_way()
        if erasure_id is None:
            raise AtelierError(ErrorType.UNAUTHENTICATED, "The account was deleted already.")
        return str(erasure_id), False

    async def _under_way(self) -> Any:
        return (
            await self._connection.execute(text("SELECT id FROM erasures WHERE owner_id = :owner_id"), self._owner)
        ).scalar()


class ErasureWorkRepository:
    """Works erasures off: for the service, and for whoever has an erasure's id."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read(self, erasure_id: str) -> ErasureRecord | None:
        """How far an erasure is."""
        row = (await self._run(f"SELECT {_COLUMNS} FROM erasures WHERE id = :id", id=erasure_id)).first()
        if row is None:
            return None
        return ErasureRecord(str(row.id), row.requested_at, row.finished_at, json.loads(row.erased))

    async def unclaimed(self, stale: timedelta) -> list[str]:
        """Those that nobody is at, or whose process was not heard of for `stale`; the oldest first."""
        rows = await self._run(
            "SELECT id FROM erasures WHERE finished_at IS NULL "
            "AND (claimed_at IS NULL OR claimed_at < now() - CAST(:stale AS interval)) ORDER BY requested_at",
            stale=stale,
        )
        return [str(row.id) for row in rows]

    async def claim(self, erasure_id: str, stale: timedelta, grace: timedelta) -> Claim | None:
        """Take one; None when it is finished or another's. `grace` is how long what was asked to end has for it."""
        row = (
            await self._run(
                "UPDATE erasures SET claimed_at = now() WHERE id = :id AND finished_at IS NULL "
                "AND (claimed_at IS NULL OR claimed_at < now() - CAST(:stale AS interval)) "
                "RETURNING owner_id, requested_at, requested_at < now() - CAST(:grace AS interval) AS overdue",
                id=erasure_id,
                stale=stale,
                grace=grace,
            )
        ).first()
        return None if row is None else Claim(erasure_id, str(row.owner_id), row.requested_at, row.overdue)

    async def keep(self, claim: Claim) -> None:
        """Still at it."""
        await self._run("UPDATE erasures SET claimed_at = now() WHERE id = :id", id=claim.id)

    async def release(self, claim: Claim) -> None:
        """For anybody to go on with."""
        await self._run("UPDATE erasures SET claimed_at = NULL WHERE id = :id", id=claim.id)

    async def cancel(self, claim: Claim) -> int:
        """Ask all jobs to end, also those that a request under way accepted since. How many have not ended."""
        await self._run(_CANCEL, owner_id=claim.owner_id)
        alive = await self._run(
            f"SELECT count(*) FROM jobs WHERE owner_id = :owner_id AND {one_of(ALIVE)}", owner_id=claim.owner_id
        )
        return int(alive.scalar_one())

    async def jobs(self, claim: Claim, lately: timedelta) -> list[KnownJob]:
        """All jobs that there are yet, by what their workflows are called."""
        rows = await self._run(
            "SELECT id, pipeline, finished_at IS NULL OR finished_at > CAST(:at AS timestamptz) - "
            "CAST(:lately AS interval) AS lately FROM jobs WHERE owner_id = :owner_id ORDER BY id",
            owner_id=claim.owner_id,
            at=claim.requested_at,
            lately=lately,
        )
        return [KnownJob(JobAddress(row.pipeline, str(row.id)), row.lately) for row in rows]

    async def deliveries(self, claim: Claim, lately: timedelta, stale: timedelta) -> list[KnownDelivery]:
        """Those that have not ended or did so `lately`. Who took one to start it does so before the claim is `stale`;
        no other is taken any more."""
        rows = await self._run(
            "SELECT id, round, state = 'pending' AND claimed_at > now() - CAST(:stale AS interval) "
            "AND (dispatched_at IS NULL OR dispatched_at < claimed_at) AS starting FROM deliveries "
            "WHERE owner_id = :owner_id AND (state = 'pending' OR ended_at > now() - CAST(:lately AS interval)) "
            "ORDER BY id",
            owner_id=claim.owner_id,
            lately=lately,
            stale=stale,
        )
        return [KnownDelivery(delivery_workflow(str(row.id), row.round), bool(row.starting)) for row in rows]

    async def delete_jobs(self, claim: Claim, limit: int) -> int:
        """Delete some jobs with all that was made for them, and note it; what is held for their calls is spent.

        Needs a transaction. How many went; 0: there are none. Raises `StillAliveError`.
        """
        found = await self._run(
            "SELECT id FROM jobs WHERE owner_id = :owner_id ORDER BY id LIMIT :limit",
            owner_id=claim.owner_id,
            limit=limit,
        )
        ids = [str(row.id) for row in found]
        if not ids:
            return 0
        of_jobs = {"owner_id": claim.owner_id, "ids": ids}
        spent = await self._settle("job_id = ANY(CAST(:ids AS uuid[]))", of_jobs)
        locked = await self._run(
            "SELECT status FROM jobs WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE", ids=ids
        )
        alive = any(JobStatus(row.status) in ALIVE for row in locked)
        if alive or (await self._run(_OPENED_SINCE, ids=ids)).scalar_one():
            raise StillAliveError
        await self._spend(claim, spent)
        documents = await self._count("documents", claim)
        artifacts = await self._run(
            "SELECT count(*) FROM artifacts WHERE job_id = ANY(CAST(:ids AS uuid[])) AND owner_id = :owner_id",
            **of_jobs,
        )
        figures = {"artifacts": artifacts.scalar_one()}
        gone = await self._run(
            "DELETE FROM jobs WHERE id = ANY(CAST(:ids AS uuid[])) AND owner_id = :owner_id", **of_jobs
        )
        figures |= {"jobs": gone.rowcount, "documents": documents - await self._count("documents", claim)}
        await self.add(claim, figures)
        return len(ids)

    async def delete_owner(self, claim: Claim) -> None:
        """Delete the owner, whose jobs are gone, and note what stays. Done again, it does nothing.

        Needs a transaction. Raises `StillAliveError` when a job came.
        """
        owner: Json = {"owner_id": claim.owner_id}
        # Of jobs that were deleted before, by their owner.
        await self._spend(claim, await self._settle(f"(NOT detached OR ({HELD}))", owner))
        # Whoever inserts for the owner waits for this, and finds none.
        locked = await self._run("SELECT 1 FROM owners WHERE id = :owner_id FOR UPDATE", **owner)
        if locked.first() is None:
            return
        if await self._count("jobs", claim):
            raise StillAliveError
        kept = (await self._run(_KEPT, **owner)).one()
        await self._run(_FORGET_LIMITS, **owner)
        await self._run(_FORGET_AUDIT, **owner)
        await self._run(_BLUR_AUDIT, **owner)
        await self._run("DELETE FROM owners WHERE id = :owner_id", **owner)
        await self.add(claim, {**kept._mapping, "usd_kept": str(kept.usd_kept)})

    async def add(self, claim: Claim, figures: Mapping[str, Any]) -> None:
        """Add to what was erased."""
        await self._tell(claim, figures, "before + value")

    async def at_least(self, claim: Claim, figures: Mapping[str, Any]) -> None:
        """Note what was erased, which may have been noted before."""
        await self._tell(claim, figures, "GREATEST(before, value)")

    async def finish(self, claim: Claim) -> None:
        """All is done: nothing leads from the report to whose it was."""
        # Of requests that were under way when the owner was deleted.
        await self._run(_FORGET_LATE, owner_id=claim.owner_id)
        await self._run(
            "UPDATE erasures SET owner_id = NULL, finished_at = now(), claimed_at = NULL "
            "WHERE id = :id AND finished_at IS NULL",
            id=claim.id,
        )

    async def _settle(self, which: str, values: Json) -> dict[Any, Decimal]:
        """Close attempts for good, without content. What each month now has spent and not reserved."""
        rows = await self._connection.execute(text(_SETTLE.format(which=which)), values)
        return {row.month: row.usd for row in rows}

    async def _spend(self, claim: Claim, spent: dict[Any, Decimal]) -> None:
        if spent:
            months = {"owner_id": claim.owner_id, "months": list(spent)}
            await self._run(_LOCK_MONTHS, **months)
            await self._run(_SPEND, **months, usd=list(spent.values()))

    async def _count(self, table: str, claim: Claim) -> int:
        found = await self._run(f"SELECT count(*) FROM {table} WHERE owner_id = :owner_id", owner_id=claim.owner_id)
        return int(found.scalar_one())

    async def _tell(self, claim: Claim, figures: Mapping[str, Any], how: str) -> None:
        await self._run(_TELL.format(how=how), id=claim.id, figures=json.dumps(dict(figures)))

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(text(statement), values)
