"""Jobs as the service carries them: claimed, started, told of a person's wish, closed. No owner asks for these."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.jobs import (
    ALIVE,
    ENDED,
    ENDING_EVENTS,
    REACHED_FROM,
    Answer,
    BeginJob,
    Begun,
    Control,
    EventType,
    FinishJob,
    JobRequest,
    JobStatus,
    Remind,
    SetStatus,
    StepKey,
)
from core.contracts.names import JobAddress
from core.db.repositories.events import EventRepository, one_of
from core.db.repositories.held import hold_job
from core.db.repositories.spending import SpendingRepository
from core.db.repositories.steps import StepArtifact, StepRepository


@dataclass(frozen=True)
class Wish:
    """What a person wants of a job whose workflow has not been told."""

    address: JobAddress
    run: int
    workflow_run_id: str | None
    cancel: bool
    control: Control | None


@dataclass(frozen=True)
class LiveRun:
    """A job that is not ended although Temporal was asked to run it."""

    address: JobAddress
    run: int
    workflow_run_id: str | None
    cancel_overdue: bool


_LEAVE_ATTEMPTS = """
    UPDATE attempts SET outcome = CASE WHEN outcome = 'open' THEN 'unknown' ELSE outcome END,
        finished_at = CASE WHEN outcome = 'open' THEN now() ELSE finished_at END,
        refused_answer = NULL, refused_because = NULL
    WHERE job_id = :job_id AND run <= :run AND (outcome = 'open' OR refused_answer IS NOT NULL)
"""
# A row that somebody has locked is being closed by them, and they wait for the job's.
_LEAVE_LATE_ATTEMPTS = """
    UPDATE attempts SET outcome = 'unknown', finished_at = now() WHERE id IN (
        SELECT id FROM attempts WHERE job_id = :job_id AND run <= :run AND outcome = 'open'
        FOR NO KEY UPDATE SKIP LOCKED)
"""


class RunRepository:
    """Carries jobs from accepted to ended."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._events = EventRepository(connection)

    async def claim(
        self, limit: int, stale: timedelta, review_seconds: int, remind_seconds: int = 0
    ) -> list[JobRequest]:
        """Take jobs to start, oldest first, that no one took, or whose taker was not heard of for `stale`.

        `review_seconds` is how long each of them will wait for a person, who is reminded `remind_seconds` before.
        """
        rows = await self._connection.execute(
            text(
                "UPDATE jobs SET claimed_at = now() WHERE id IN ("
                " SELECT id FROM jobs WHERE status = 'pending' AND dispatched_at IS NULL"
                " AND (claimed_at IS NULL OR claimed_at < now() - CAST(:stale AS interval))"
                " ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)"
                " RETURNING id, owner_id, pipeline, run, input::text AS input, models, trace_id"
            ),
            {"limit": limit, "stale": stale},
        )
        return sorted(
            (
                JobRequest(
                    job_id=str(row.id),
                    owner_id=str(row.owner_id),
                    pipeline=row.pipeline,
                    run=row.run,
                    input=json.loads(row.input),
                    models=tuple(row.models),
                    review_seconds=review_seconds,
                    remind_seconds=remind_seconds,
                    trace_id=row.trace_id,
                )
                for row in rows
            ),
            key=lambda request: request.job_id,
        )

    async def dispatched(self, job_id: str, run: int, workflow_run_id: str) -> None:
        """Temporal acknowledged the start."""
        await self._connection.execute(
            text(
                "UPDATE jobs SET dispatched_at = now(), dispatched_run_id = :workflow_run_id "
                "WHERE id = :id AND run = :run"
            ),
            {"id": job_id, "run": run, "workflow_run_id": workflow_run_id},
        )

    async def release(self, job_id: str, run: int) -> None:
        """The start failed, or what was started is gone before it began: any starter may take the job again."""
        await self._connection.execute(
            text(
                "UPDATE jobs SET claimed_at = NULL, dispatched_at = NULL, dispatched_run_id = NULL "
                "WHERE id = :id AND run = :run AND status = 'pending'"
            ),
            {"id": job_id, "run": run},
        )

    async def begin(self, request: BeginJob) -> Begun:
        """The workflow runs. Idempotent by (job, run). A job cancelled or deleted meanwhile does not
        proceed.

        Of one that continued as new the row says nothing but its run id. It is changed under the row's lock, and what
        people want is read under it: a wish that was told to the run before in vain is heard here, and one that comes
        later is told to this one.
        """
        row = (
            await self._connection.execute(
                text(
                    "SELECT status, run, workflow_run_id, paused, control_seq, budget_raises, cancel_requested_at "
                    "FROM jobs WHERE id = :id FOR NO KEY UPDATE"
                ),
                {"id": request.job_id},
            )
        ).first()
        if row is None or row.run != request.run or JobStatus(row.status) in ENDED:
            return Begun(proceed=False)
        if row.cancel_requested_at is not None:
            await self.finish(FinishJob(job_id=request.job_id, run=request.run, status=JobStatus.CANCELLED))
            return Begun(proceed=False)
        if request.continued:
            await self._connection.execute(
                text(
                    "UPDATE jobs SET workflow_run_id = :workflow_run_id, control_sent = control_seq, "
                    "updated_at = now() WHERE id = :id"
                ),
                {"id": request.job_id, "workflow_run_id": request.workflow_run_id},
            )
            return Begun(proceed=True, control=_control(row))
        await self._events.append(
            request.job_id,
            EventType.STARTED,
            f"run:{request.run}:started",
            {"run": request.run, "workflow_run_id": request.workflow_run_id},
            sets={
                "status": "'running'",
                "workflow_run_id": ":workflow_run_id",
                "started_at": "COALESCE(started_at, now())",
                "control_sent": "control_seq",
                # It runs, whether or not the starter lived to note it.
                "dispatched_at": "COALESCE(dispatched_at, now())",
            },
            values={"workflow_run_id": request.workflow_run_id},
        )
        return Begun(proceed=True, control=_control(row))

    async def set_status(self, request: SetStatus) -> None:
        """Change the state of a job that is alive. Idempotent by (job, run, change)."""
        seq = await self._events.append(
            request.job_id,
            EventType.STATUS,
            f"run:{request.run}:status:{request.change}",
            {"status": request.status.value, "waiting_for": request.waiting_for},
            sets={"status": ":status", "waiting_for": "CAST(:waiting_for AS jsonb)"},
            where=f"run = :run AND {one_of(REACHED_FROM[request.status])}",
            values={"status": request.status.value, "waiting_for": _dump(request.waiting_for), "run": request.run},
        )
        if seq is not None and request.status is JobStatus.WAITING_FOR_BUDGET:
            await SpendingRepository(self._connection).tell_refused(request.job_id, request.waiting_for or {})

    async def remind(self, request: Remind) -> None:
        """Remind the owner of a job that waits for a person. Idempotent by (job, run, change)."""
        await self._events.append(
            request.job_id,
            EventType.REMINDER,
            f"run:{request.run}:reminder:{request.change}",
            {"expires_at": request.expires_at},
            where="run = :run AND status = :waiting",
            values={"run": request.run, "waiting": JobStatus.WAITING_FOR_INPUT.value},
        )

    async def read_answer(self, key: StepKey) -> Answer | None:
        """What a person answered at a step, in whatever run."""
        stored = await StepRepository(self._connection).stored(key)
        return None if stored is None else Answer.model_validate_json(stored)

    async def store_answer(self, key: StepKey, answer: Answer) -> Answer:
        """Store an answer as the step that it answers, with its files. Returns what is stored: the first one stays.

        Needs a transaction. Raises `INVALID_STATE` when the job ended, is gone, or is in another run.
        """
        await hold_job(self._connection, key, "the answer")
        files = [StepArtifact(file.name, file.ref) for file in answer.files]
        stored = await StepRepository(self._connection).store(key, answer.model_dump_json(), files, simulated=False)
        return Answer.model_validate_json(stored)

    async def finish(self, request: FinishJob) -> bool:
        """Close the job, once: whoever comes second changes nothing and gets False."""
        # No attempt of an ended job is open: what was cut off and never tried again is unknown.
        # Its reservation stays until it is settled. Nothing is repaired any more.
        attempts = {"job_id": request.job_id, "run": request.run}
        await self._connection.execute(text(_LEAVE_ATTEMPTS), attempts)
        result = None if request.result is None else request.result.model_dump_json()
        error = None if request.error is None else request.error.model_dump_json()
        data: Json = {"run": request.run}
        if request.error is not None:
            data["error"] = request.error.model_dump(mode="json")
        if request.result is not None:
            data["outputs"] = [output.name for output in request.result.outputs]
        seq = await self._events.append(
            request.job_id,
            ENDING_EVENTS[request.status],
            f"run:{request.run}:ended",
            data,
            sets={
                "status": ":status",
                "finished_at": "now()",
                "current_step": "''",
                "waiting_for": "NULL",
                # A plan may have had more steps than there were to do.
                "total_steps": "CASE WHEN :completed THEN steps_done ELSE total_steps END",
                "result": "CAST(:result AS jsonb)",
                "error": "CAST(:error AS jsonb)",
            },
            where=f"run = :run AND {one_of(REACHED_FROM[request.status])}",
            values={
                "status": request.status.value,
                "completed": request.status is JobStatus.COMPLETED,
                "result": result,
                "error": error,
                "run": request.run,
            },
            progress=True,
        )
        if seq is not None:
            # What was opened in between; no more can be, as the job's row is locked and ended.
            await self._connection.execute(text(_LEAVE_LATE_ATTEMPTS), attempts)
        return seq is not None

    async def wishes(self, limit: int = 200) -> list[Wish]:
        """What Temporal has not been told yet about jobs it runs."""
        rows = await self._connection.execute(
            text(
                "SELECT id, pipeline, run, COALESCE(workflow_run_id, dispatched_run_id) AS workflow_run_id, "
                "cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL AS cancel, paused, "
                "control_seq, budget_raises, control_seq > control_sent AS control FROM jobs "
                f"WHERE {one_of(ALIVE)} AND dispatched_at IS NOT NULL AND (control_seq > control_sent "
                "OR (cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL)) ORDER BY id LIMIT :limit"
            ),
            {"limit": limit},
        )
        return [
            Wish(
                address=JobAddress(row.pipeline, str(row.id)),
                run=row.run,
                workflow_run_id=row.workflow_run_id,
                cancel=row.cancel,
                control=_control(row) if row.control else None,
            )
            for row in rows
        ]

    async def told(self, wish: Wish) -> None:
        """Temporal was told."""
        await self._connection.execute(
            text(
                "UPDATE jobs SET cancel_sent_at = CASE WHEN :cancel THEN now() ELSE cancel_sent_at END, "
                "control_sent = GREATEST(control_sent, :seq) WHERE id = :id AND run = :run"
            ),
            {
                "id": wish.address.job_id,
                "run": wish.run,
                "cancel": wish.cancel,
                "seq": wish.control.seq if wish.control else 0,
            },
        )

    async def live(
        self, *, job_ids: list[str] | None, cancel_grace: timedelta, quiet: timedelta, limit: int = 200
    ) -> list[LiveRun]:
        """Dispatched jobs that have not ended: those named, or those that nothing was heard of for `quiet` and those
        whose cancel is overdue."""
        which = (
            "id = ANY(CAST(:job_ids AS uuid[]))"
            if job_ids is not None
            else "(GREATEST(updated_at, checked_at) < now() - CAST(:quiet AS interval) "
            "OR cancel_requested_at < now() - CAST(:grace AS interval))"
        )
        values: dict[str, object] = {"grace": cancel_grace, "limit": limit}
        values.update({"job_ids": job_ids} if job_ids is not None else {"quiet": quiet})
        rows = await self._connection.execute(
            text(
                "SELECT id, pipeline, run, workflow_run_id, COALESCE(cancel_requested_at "
                "< now() - CAST(:grace AS interval), false) AS cancel_overdue FROM jobs "
                f"WHERE {one_of(ALIVE)} AND dispatched_at IS NOT NULL AND {which} "
                "ORDER BY GREATEST(updated_at, checked_at) LIMIT :limit"
            ),
            values,
        )
        return [
            LiveRun(
                address=JobAddress(row.pipeline, str(row.id)),
                run=row.run,
                workflow_run_id=row.workflow_run_id,
                cancel_overdue=row.cancel_overdue,
            )
            for row in rows
        ]

    async def seen(self, job_ids: list[str]) -> None:
        """These were compared with Temporal just now and are well."""
        await self._connection.execute(
            text("UPDATE jobs SET checked_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": job_ids}
        )


def _control(row: Row[Any]) -> Control:
    return Control(seq=row.control_seq, paused=row.paused, budget=row.budget_raises)


def _dump(value: Json | None) -> str | None:
    return None if value is None else json.dumps(value)
