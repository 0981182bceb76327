"""Jobs as their owners see and steer them. The repository is bound to one, so that a route cannot forget it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Attachment, Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import (
    ALIVE,
    ENDED,
    EventType,
    JobStatus,
    StepKey,
)
from core.contracts.names import EVENTS_CHANNEL, JOBS_CHANNEL
from core.db.ids import new_id
from core.db.repositories.events import EventRepository, prepared
from core.db.repositories.job_records import COLUMNS, STEPS, JobRecord, record
from core.db.repositories.steps import StepArtifact


@dataclass(frozen=True)
class NewJob:
    """A submission that was found valid."""

    pipeline: str
    title: str
    tags: tuple[str, ...]
    input: Json
    models: tuple[str, ...]
    body_sha256: str
    idempotency_key: str | None = None
    parent_job: str | None = None
    attachments: tuple[Attachment, ...] = ()
    """What the input refers to. The bytes are in the store already, so that no row refers to missing ones."""
    budget_usd: Decimal | None = None
    """What its calls may cost; None is no limit."""
    estimate: Json | None = None
    """What they are expected to cost, as it is shown beside what they did."""
    webhook_url: str | None = None
    """Who is told of its end, besides the owner's webhooks."""
    trace_id: str = ""
    """Of the request that submitted it, for the logs."""


@dataclass(frozen=True)
class JobFilter:
    """What a list is narrowed to. `before` is the id of the last job of the page before."""

    pipeline: str | None = None
    status: JobStatus | None = None
    tag: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    before: str | None = None


INPUT_STEP = "input"
"""The step that a job's attachments belong to."""
ENDS_WITHIN = timedelta(seconds=30)
"""When to try again once as many jobs run as may: one of them has ended by then, more often than not."""
FOR_CHANGE = "FOR NO KEY UPDATE"

_INSERT = f"""
WITH job AS (
    INSERT INTO jobs (id, owner_id, pipeline, title, tags, input, models, idempotency_key, body_sha256, parent_job,
                      budget_usd, estimate, trace_id, webhook_url, event_seq)
    SELECT :id, :owner_id, :pipeline, :title, :tags, CAST(:input AS jsonb), :models, :idempotency_key, :body_sha256,
           :parent_job, :budget_usd, CAST(:estimate AS jsonb), :trace_id, :webhook_url, 1
    WHERE CASE WHEN CAST(:at_once AS bigint) IS NULL THEN true
               ELSE count_jobs_alone(:owner_id, CAST(:at_once AS bigint)) < CAST(:at_once AS bigint) END
    ON CONFLICT (owner_id, idempotency_key) DO NOTHING
    RETURNING *
), event AS (
    INSERT INTO events (job_id, seq, type, key, data)
    SELECT id, 1, '{EventType.ACCEPTED}', 'accepted', jsonb_build_object('pipeline', CAST(:pipeline AS text)) FROM job
), artifact AS (
    INSERT INTO artifacts (id, owner_id, job_id, step, revision, name, role, sha256, size, media_type)
    SELECT a.id, job.owner_id, job.id, '{INPUT_STEP}', 1, a.name, a.role, a.sha256, a.size, a.media_type
    FROM job CROSS JOIN jsonb_to_recordset(CAST(:attachments AS jsonb))
        AS a(id uuid, name text, role text, sha256 text, size bigint, media_type text)
)
SELECT {COLUMNS}, pg_notify('{JOBS_CHANNEL}', j.id::text), pg_notify('{EVENTS_CHANNEL}', j.id || '\\:1') FROM job j
"""


class JobRepository:
    """Accepts, reads and steers the jobs of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id
        self._events = EventRepository(connection)

    async def accept(self, job: NewJob) -> tuple[str, bool]:
        """`submit` for those who need the id only."""
        record, new = await self.submit(job)
        return record.id, new

    async def submit(self, job: NewJob, *, at_once: int | None = None) -> tuple[JobRecord, bool]:
        """Insert a job, its attachments and its first event. The job, and whether it is new: the same key and body is
        the same job.

        Raises `IDEMPOTENCY_MISMATCH` when the key was used with another body, and `TOO_MANY_JOBS` when the owner has
        `at_once` that run or are to start. Until the transaction ends the owner's next one waits: let it end soon.
        """
        job_id = new_id()
        key = StepKey(job_id=job_id, owner_id=self._owner_id, run=1, step=INPUT_STEP)
        attached = [StepArtifact(file.name, file.ref).row(key) for file in job.attachments]
        values = {**job.__dict__, "id": job_id, "owner_id": self._owner_id, "at_once": at_once}
        values["input"], values["attachments"] = json.dumps(job.input), json.dumps(attached)
        values["tags"], values["models"] = list(job.tags), list(job.models)
        values["estimate"] = None if job.estimate is None else json.dumps(job.estimate)
        row = (await self._connection.execute(text(_INSERT), values)).first()
        if row is not None:
            return record(row), True
        if job.idempotency_key is not None:
            known = await self.repeated(job.idempotency_key, job.body_sha256)
            if known is not None:
                return known, False
        full = await self._full(at_once)
        if full is not None:
            raise full
        # What was in its way has gone between the statements: the job with this key, or one of those that ran.
        return await self.submit(job, at_once=at_once)

    async def repeated(self, idempotency_key: str, body_sha256: str) -> JobRecord | None:
        """The job that was submitted with this key, if there is one. `IDEMPOTENCY_MISMATCH` if with another body."""
        known = (
            await self._connection.execute(
                text("SELECT id, body_sha256 FROM jobs WHERE owner_id = :owner_id AND idempotency_key = :key"),
                {"owner_id": self._owner_id, "key": idempotency_key},
            )
        ).first()
        if known is None:
            return None
        if known.body_sha256 != body_sha256:
            raise AtelierError(
                ErrorType.IDEMPOTENCY_MISMATCH,
                "This Idempotency-Key was used for another request. Send the first body again, or take a new key.",
                details={"job_id": str(known.id)},
            )
        return await self.get(str(known.id))

    async def get(self, job_id: str) -> JobRecord:
        """One job. Raises `NOT_FOUND`, also for another owner's."""
        row = (
            await self._connection.execute(
                text(f"SELECT {COLUMNS}, {STEPS} FROM jobs j WHERE j.id = :id AND j.owner_id = :owner_id"),
                {"id": job_id, "owner_id": self._owner_id},
            )
        ).first()
        if row is None:
            raise _no_job(job_id)
        return record(row, tuple(row.steps))

    async def input(self, job_id: str) -> Json:
        """What a job was given, as its workflow got it. Raises `NOT_FOUND`."""
        found = (
            await self._connection.execute(
                text("SELECT input::text FROM jobs WHERE id = :id AND owner_id = :owner_id"),
                {"id": job_id, "owner_id": self._owner_id},
            )
        ).scalar()
        if found is None:
            raise _no_job(job_id)
        given: Json = json.loads(found)
        return given

    async def page(self, filter: JobFilter, limit: int) -> list[JobRecord]:
        """A page of jobs, newest first. Stored steps are left out of it."""
        conditions = {
            "pipeline": "j.pipeline = :pipeline",
            "status": "j.status = :status",
            "tag": "j.tags @> ARRAY[CAST(:tag AS text)]",
            "created_from": "j.created_at >= :created_from",
            "created_to": "j.created_at < :created_to",
            "before": "j.id < :before",
        }
        wanted = {name: getattr(filter, name) for name in conditions if getattr(filter, name) is not None}
        where = "".join(f" AND {conditions[name]}" for name in wanted)
        rows = await self._connection.execute(
            text(f"SELECT {COLUMNS} FROM jobs j WHERE j.owner_id = :owner_id{where} ORDER BY j.id DESC LIMIT :limit"),
            {"owner_id": self._owner_id, "limit": limit, **wanted},
        )
        return [record(row) for row in rows]

    async def describe(self, job_id: str, *, title: str | None, tags: tuple[str, ...] | None) -> None:
        """Change title and tags; None leaves them. Raises `NOT_FOUND`."""
        result = await self._connection.execute(
            text(
                "UPDATE jobs SET title = COALESCE(:title, title), tags = COALESCE(:tags, tags), updated_at = now() "
                "WHERE id = :id AND owner_id = :owner_id"
            ),
            {"id": job_id, "owner_id": self._owner_id, "title": title, "tags": None if tags is None else list(tags)},
        )
        if result.rowcount == 0:
            raise _no_job(job_id)

    async def request_cancel(self, job_id: str) -> None:
        """Note that the owner wants the job to end; what nobody began to start ends here.

        Raises `NOT_FOUND`, and `INVALID_STATE` when the job completed or failed. Asking again is fine.
        """
        row = await self._lock(job_id)
        status = JobStatus(row.status)
        if status is JobStatus.CANCELLED or (row.cancel_requested_at is not None and status in ALIVE):
            return
        if status in ENDED:
            raise _wrong_state(status, "be cancelled")
        if status is JobStatus.PENDING and row.claimed_at is None:
            await self._events.append(
                job_id,
                EventType.CANCELLED,
                f"run:{row.run}:ended",
                sets={"status": "'cancelled'", "cancel_requested_at": "now()", "finished_at": "now()"},
            )
            return
        await self._events.append(
            job_id,
            EventType.CANCEL_REQUESTED,
            f"run:{row.run}:cancel_requested",
            sets={"cancel_requested_at": "now()"},
        )

    async def request_pause(self, job_id: str, *, paused: bool) -> None:
        """Note that the owner wants the job to stand still, or to go on. Raises `NOT_FOUND`, `INVALID_STATE`."""
        row = await self._lock(job_id)
        status = JobStatus(row.status)
        if status in ENDED or row.cancel_requested_at is not None:
            raise _wrong_state(status, "be paused" if paused else "be resumed", cancelling=status in ALIVE)
        if row.paused == paused:
            return
        await self._events.append(
            job_id,
            EventType.PAUSE_REQUESTED if paused else EventType.RESUME_REQUESTED,
            f"control:{row.control_seq + 1}",
            sets={"paused": ":paused", "control_seq": "control_seq + 1"},
            values={"paused": paused},
        )

    async def check_retry(self, job_id: str) -> None:
        """See whether a job could be retried now. Raises `NOT_FOUND`, `INVALID_STATE`."""
        await self._failed(job_id, how="")

    async def retry(self, job_id: str, *, at_once: int | None = None) -> None:
        """Make a failed job pending again, as its next run.

        Raises `NOT_FOUND`, `INVALID_STATE`, and `TOO_MANY_JOBS` as `submit` does.
        """
        row = await self._failed(job_id)
        full = await self._full(at_once)
        if full is not None:
            raise full
        nulls = (
            "workflow_run_id, claimed_at, dispatched_at, dispatched_run_id, error, finished_at, waiting_for, "
            "cancel_requested_at, cancel_sent_at"
        )
        await self._connection.execute(text(f"SELECT pg_notify('{JOBS_CHANNEL}', :id)"), {"id": job_id})
        await self._events.append(
            job_id,
            EventType.RETRIED,
            f"run:{row.run + 1}:retried",
            {"run": row.run + 1},
            sets={
                "status": "'pending'",
                "run": "run + 1",
                "paused": "false",
                **dict.fromkeys(nulls.split(", "), "NULL"),
            },
        )

    async def delete(self, job_id: str) -> str:
        """Delete an ended job with all that was made for it; the amounts spent stay. Returns its pipeline.

        Raises `NOT_FOUND`, `INVALID_STATE`. The bytes go when the sweeper finds that no row refers to them.
        """
        values = {"id": job_id, "owner_id": self._owner_id}
        seen = await self._ended(job_id, how="")
        # Before the job, as everybody does who changes both. What is held for them is still settled.
        await self._connection.execute(
            text(
                "UPDATE attempts SET detached = true, error_message = NULL, refused_answer = NULL, "
                "refused_because = NULL, "
                "outcome = CASE WHEN outcome = 'open' THEN 'unknown' ELSE outcome END "
                "WHERE job_id = :id AND owner_id = :owner_id"
            ),
            values,
        )
        row = await self._ended(job_id, how="FOR UPDATE")
        if row.run != seen.run:
            raise AtelierError(
                ErrorType.INVALID_STATE, "The job was retried meanwhile. Look at it before you delete what it made."
            )
        await self._connection.execute(text("DELETE FROM jobs WHERE id = :id AND owner_id = :owner_id"), values)
        return str(row.pipeline)

    async def _full(self, at_once: int | None) -> AtelierError | None:
        """What to answer when no further job may start; else no other of the owner's comes in between from here on."""
        if at_once is None:
            return None
        running = (
            await self._connection.execute(
                prepared("SELECT count_jobs_alone(:owner_id, :at_once)"),
                {"owner_id": self._owner_id, "at_once": at_once},
            )
        ).scalar_one()
        if running < at_once:
            return None
        return AtelierError(
            ErrorType.TOO_MANY_JOBS,
            f"{running} of your jobs run or are to start, and {at_once} may at once. Try again when one has ended, "
            "or cancel one.",
            details={"limit": at_once, "running": running},
            retry_after=ENDS_WITHIN,
        )

    async def _failed(self, job_id: str, how: str = FOR_CHANGE) -> Row[Any]:
        row = await self._lock(job_id, how)
        status = JobStatus(row.status)
        if status is not JobStatus.FAILED:
            raise _wrong_state(status, "be retried", needs="failed")
        return row

    async def _ended(self, job_id: str, how: str) -> Row[Any]:
        row = await self._lock(job_id, how)
        status = JobStatus(row.status)
        if status not in ENDED:
            raise _wrong_state(status, "be deleted", needs="completed, failed or cancelled")
        return row

    async def _lock(self, job_id: str, how: str = FOR_CHANGE) -> Row[Any]:
        row = (
            await self._connection.execute(
                text(
                    "SELECT status, run, pipeline, paused, control_seq, claimed_at, cancel_requested_at FROM jobs "
                    f"WHERE id = :id AND owner_id = :owner_id {how}"
                ),
                {"id": job_id, "owner_id": self._owner_id},
            )
        ).first()
        if row is None:
            raise _no_job(job_id)
        return row


def _no_job(job_id: str) -> AtelierError:
    return AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})


def _wrong_state(status: JobStatus, act: str, *, needs: str = "", cancelling: bool = False) -> AtelierError:
    now = "is being cancelled" if cancelling else f"is {status.value}"
    return AtelierError(
        ErrorType.INVALID_STATE,
        f"The job {now} and cannot {act}{f': it must be {needs}' if needs else ''}.",
        details={"status": status.value},
    )
