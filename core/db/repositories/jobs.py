"""Jobs as their owners see and steer them. Every statement names the owner, so that a route cannot forget it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import (
    ALIVE,
    ENDED,
    EventType,
    JobError,
    JobResult,
    JobStatus,
)
from core.contracts.names import EVENTS_CHANNEL, JOBS_CHANNEL
from core.db.ids import new_id
from core.db.repositories.events import EventRepository


@dataclass(frozen=True)
class NewJob:
    """A submission that was found valid."""

    owner_id: str
    pipeline: str
    title: str
    tags: tuple[str, ...]
    input: Json
    models: tuple[str, ...]
    body_sha256: str
    idempotency_key: str | None = None
    parent_job: str | None = None


class ProgressRecord(NamedTuple):
    """How far a job is. Tuples and no models, here and below: a page has fifty of them, and validates nothing."""

    stage: str
    current_step: str
    completed_steps: tuple[str, ...]
    total_steps: int
    percentage: float
    eta_seconds: float | None


class CostRecord(NamedTuple):
    """What a job's attempts cost so far. US dollars, tokens."""

    usd: Decimal
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class JobRecord(NamedTuple):
    """A job's row, and the steps that are stored."""

    id: str
    owner_id: str
    pipeline: str
    title: str
    tags: tuple[str, ...]
    models: tuple[str, ...]
    parent_job: str | None
    status: JobStatus
    progress: ProgressRecord
    cost: CostRecord
    simulated: bool
    waiting_for: Json | None
    error: JobError | None
    result: JobResult | None
    cancel_requested: bool
    paused: bool
    run: int
    workflow_run_id: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class JobFilter:
    """What a list is narrowed to. `before` is the id of the last job of the page before."""

    pipeline: str | None = None
    status: JobStatus | None = None
    tag: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    before: str | None = None


_COLUMNS = """
    j.id, j.owner_id, j.pipeline, j.title, j.tags, j.models, j.parent_job, j.status, j.stage, j.current_step,
    j.steps_done, j.total_steps, j.waiting_for::text AS waiting_for, j.cost_usd, j.input_tokens, j.output_tokens,
    j.cached_tokens, j.simulated, j.error::text AS error, j.result::text AS result, j.cancel_requested_at, j.paused,
    j.run, j.workflow_run_id, j.created_at, j.updated_at, j.started_at, j.finished_at, now() AS read_at
"""
_STEPS = """
    ARRAY(SELECT s.step FROM steps s WHERE s.job_id = j.id GROUP BY s.step ORDER BY min(s.created_at), s.step) AS steps
"""

_INSERT = f"""
WITH job AS (
    INSERT INTO jobs (id, owner_id, pipeline, title, tags, input, models, idempotency_key, body_sha256, parent_job,
                      event_seq)
    VALUES (:id, :owner_id, :pipeline, :title, :tags, CAST(:input AS jsonb), :models, :idempotency_key, :body_sha256,
            :parent_job, 1)
    ON CONFLICT (owner_id, idempotency_key) DO NOTHING
    RETURNING *
), event AS (
    INSERT INTO events (job_id, seq, type, key, data)
    SELECT id, 1, '{EventType.ACCEPTED}', 'accepted', jsonb_build_object('pipeline', CAST(:pipeline AS text)) FROM job
)
SELECT {_COLUMNS}, pg_notify('{JOBS_CHANNEL}', j.id::text), pg_notify('{EVENTS_CHANNEL}', j.id || '\\:1') FROM job j
"""

# Plain strings: to compare with an enum's member takes ten times as long, fifty times a page.
_COMPLETED, _RUNNING = JobStatus.COMPLETED.value, JobStatus.RUNNING.value


class JobRepository:
    """Accepts, reads and steers jobs."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._events = EventRepository(connection)

    async def accept(self, job: NewJob) -> tuple[str, bool]:
        """`submit` for those who need the id only."""
        record, new = await self.submit(job)
        return record.id, new

    async def submit(self, job: NewJob) -> tuple[JobRecord, bool]:
        """Insert a job and its first event. The job, and whether it is new: the same key and body is the same job.

        Raises `IDEMPOTENCY_MISMATCH` when the key was used with another body.
        """
        values = {**job.__dict__, "id": new_id(), "input": json.dumps(job.input)}
        values["tags"], values["models"] = list(job.tags), list(job.models)
        row = (await self._connection.execute(text(_INSERT), values)).first()
        if row is not None:
            return _record(row), True
        known = (
            await self._connection.execute(
                text("SELECT id, body_sha256 FROM jobs WHERE owner_id = :owner_id AND idempotency_key = :key"),
                {"owner_id": job.owner_id, "key": job.idempotency_key},
            )
        ).first()
        if known is None:
            # Deleted between the two statements: the key is free again.
            return await self.submit(job)
        if known.body_sha256 != job.body_sha256:
            raise AtelierError(
                ErrorType.IDEMPOTENCY_MISMATCH,
                "This Idempotency-Key was used for another request. Send the first body again, or take a new key.",
                details={"job_id": str(known.id)},
            )
        return await self.get(job.owner_id, str(known.id)), False

    async def get(self, owner_id: str, job_id: str) -> JobRecord:
        """One job. Raises `NOT_FOUND`, also for another owner's."""
        row = (
            await self._connection.execute(
                text(f"SELECT {_COLUMNS}, {_STEPS} FROM jobs j WHERE j.id = :id AND j.owner_id = :owner_id"),
                {"id": job_id, "owner_id": owner_id},
            )
        ).first()
        if row is None:
            raise _no_job(job_id)
        return _record(row, tuple(row.steps))

    async def page(self, owner_id: str, filter: JobFilter, limit: int) -> list[JobRecord]:
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
            text(f"SELECT {_COLUMNS} FROM jobs j WHERE j.owner_id = :owner_id{where} ORDER BY j.id DESC LIMIT :limit"),
            {"owner_id": owner_id, "limit": limit, **wanted},
        )
        return [_record(row) for row in rows]

    async def describe(self, owner_id: str, job_id: str, *, title: str | None, tags: tuple[str, ...] | None) -> None:
        """Change title and tags; None leaves them. Raises `NOT_FOUND`."""
        result = await self._connection.execute(
            text(
                "UPDATE jobs SET title = COALESCE(:title, title), tags = COALESCE(:tags, tags), updated_at = now() "
                "WHERE id = :id AND owner_id = :owner_id"
            ),
            {"id": job_id, "owner_id": owner_id, "title": title, "tags": None if tags is None else list(tags)},
        )
        if result.rowcount == 0:
            raise _no_job(job_id)

    async def request_cancel(self, owner_id: str, job_id: str) -> None:
        """Note that the owner wants the job to end; what nobody began to start ends here.

        Raises `NOT_FOUND`, and `INVALID_STATE` when the job completed or failed. Asking again is fine.
        """
        row = await self._lock(owner_id, job_id)
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

    async def request_pause(self, owner_id: str, job_id: str, *, paused: bool) -> None:
        """Note that the owner wants the job to stand still, or to go on. Raises `NOT_FOUND`, `INVALID_STATE`."""
        row = await self._lock(owner_id, job_id)
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

    async def retry(self, owner_id: str, job_id: str) -> None:
        """Make a failed job pending again, as its next run. Raises `NOT_FOUND`, `INVALID_STATE`."""
        row = await self._lock(owner_id, job_id)
        status = JobStatus(row.status)
        if status is not JobStatus.FAILED:
            raise _wrong_state(status, "be retried", needs="failed")
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

    async def delete(self, owner_id: str, job_id: str) -> str:
        """Delete an ended job with all that was made for it; the amounts spent stay. Returns its pipeline.

        Raises `NOT_FOUND`, `INVALID_STATE`. The bytes go when the sweeper finds that no row refers to them.
        """
        # Whole, and before its attempts: a zombie that stores a step shares the job's key and then wants its attempt.
        row = await self._lock(owner_id, job_id, "FOR UPDATE")
        status = JobStatus(row.status)
        if status not in ENDED:
            raise _wrong_state(status, "be deleted", needs="completed, failed or cancelled")
        await self._connection.execute(
            text(
                "UPDATE attempts SET detached = true, error_message = NULL, "
                "outcome = CASE WHEN outcome = 'open' THEN 'unknown' ELSE outcome END WHERE job_id = :id"
            ),
            {"id": job_id},
        )
        await self._connection.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job_id})
        return str(row.pipeline)

    async def _lock(self, owner_id: str, job_id: str, how: str = "FOR NO KEY UPDATE") -> Row[Any]:
        row = (
            await self._connection.execute(
                text(
                    "SELECT status, run, pipeline, paused, control_seq, claimed_at, cancel_requested_at FROM jobs "
                    f"WHERE id = :id AND owner_id = :owner_id {how}"
                ),
                {"id": job_id, "owner_id": owner_id},
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


def _record(row: Row[Any], steps: tuple[str, ...] = ()) -> JobRecord:
    """A row that begins with `_COLUMNS`. Taken apart at once: reading a column by name costs thirty times as much."""
    values: tuple[Any, ...] = tuple(row)
    (
        id, owner_id, pipeline, title, tags, models, parent_job, status, stage, current_step, steps_done, total_steps,
        waiting_for, cost_usd, input_tokens, output_tokens, cached_tokens, simulated, error, result,
        cancel_requested_at, paused, run, workflow_run_id, created_at, updated_at, started_at, finished_at, read_at,
        *_,
    ) = values  # fmt: skip
    percentage, eta = _progress(status, steps_done, total_steps, started_at, read_at)
    return JobRecord(
        id=str(id),
        owner_id=str(owner_id),
        pipeline=pipeline,
        title=title,
        tags=tuple(tags),
        models=tuple(models),
        parent_job=None if parent_job is None else str(parent_job),
        status=JobStatus(status),
        progress=ProgressRecord(
            stage=stage,
            current_step=current_step,
            completed_steps=steps,
            total_steps=total_steps,
            percentage=percentage,
            eta_seconds=eta,
        ),
        cost=CostRecord(cost_usd, input_tokens, output_tokens, cached_tokens),
        simulated=simulated,
        waiting_for=None if waiting_for is None else json.loads(waiting_for),
        error=None if error is None else JobError.model_validate_json(error),
        result=None if result is None else JobResult.model_validate_json(result),
        cancel_requested=cancel_requested_at is not None,
        paused=paused,
        run=run,
        workflow_run_id=workflow_run_id,
        created_at=created_at,
        updated_at=updated_at,
        started_at=started_at,
        finished_at=finished_at,
    )


def _progress(
    status: str, done: int, total: int, started_at: datetime | None, read_at: datetime
) -> tuple[float, float | None]:
    """Percentage of the steps done, and the seconds to go: what the rest takes at the pace so far."""
    if status == _COMPLETED:
        return 100.0, 0.0
    share = min(done / total, 1.0) if total else 0.0
    eta: float | None = None
    if share > 0 and status == _RUNNING and started_at is not None:
        elapsed: timedelta = read_at - started_at
        eta = round(elapsed.total_seconds() * (1 - share) / share, 1)
    return round(100 * share, 1), eta
