"""A job's row as it is read: what is selected, and what it becomes."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Row

from core.contracts.base import Json
from core.contracts.jobs import JobError, JobResult, JobStatus


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
    """A job's row, and the steps that are stored. `reserved_usd` is held for calls that are under way or lost."""

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
    budget_usd: Decimal | None
    reserved_usd: Decimal
    estimate: Json | None
    simulated: bool
    waiting_for: Json | None
    error: JobError | None
    result: JobResult | None
    webhook_url: str | None
    cancel_requested: bool
    paused: bool
    run: int
    workflow_run_id: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


COLUMNS = """
    j.id, j.owner_id, j.pipeline, j.title, j.tags, j.models, j.parent_job, j.status, j.stage, j.current_step,
    j.steps_done, j.total_steps, j.waiting_for::text AS waiting_for, j.cost_usd, j.input_tokens, j.output_tokens,
    j.cached_tokens, j.budget_usd, j.reserved_usd, j.estimate::text AS estimate, j.simulated, j.error::text AS error,
    j.webhook_url, j.result::text AS result, j.cancel_requested_at, j.paused, j.run, j.workflow_run_id, j.created_at,
    j.updated_at, j.started_at, j.finished_at, now() AS read_at
"""
STEPS = """
    ARRAY(SELECT s.step FROM steps s WHERE s.job_id = j.id GROUP BY s.step ORDER BY min(s.created_at), s.step) AS steps
"""

# Plain strings: to compare with an enum's member takes ten times as long, fifty times a page.
_COMPLETED, _RUNNING = JobStatus.COMPLETED.value, JobStatus.RUNNING.value


def record(row: Row[Any], steps: tuple[str, ...] = ()) -> JobRecord:
    """A row that begins with `COLUMNS`. Taken apart at once: reading a column by name costs thirty times as much."""
    values: tuple[Any, ...] = tuple(row)
    (
        id, owner_id, pipeline, title, tags, models, parent_job, status, stage, current_step, steps_done, total_steps,
        waiting_for, cost_usd, input_tokens, output_tokens, cached_tokens, budget_usd, reserved_usd, estimate,
        simulated, error, webhook_url, result, cancel_requested_at, paused, run, workflow_run_id, created_at,
        updated_at, started_at, finished_at, read_at,
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
        budget_usd=budget_usd,
        reserved_usd=reserved_usd,
        estimate=None if estimate is None else json.loads(estimate),
        simulated=simulated,
        waiting_for=None if waiting_for is None else json.loads(waiting_for),
        error=None if error is None else JobError.model_validate_json(error),
        result=None if result is None else JobResult.model_validate_json(result),
        webhook_url=webhook_url,
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
