"""Rows as the answers show them."""

from typing import Any

from fastapi import Response
from pydantic_core import to_json

from core.contracts.jobs import JobResult, Output
from core.contracts.names import workflow_id
from core.db.repositories.artifacts import ArtifactRecord
from core.db.repositories.job_records import JobRecord

View = dict[str, Any]


def answer(content: View, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON of a view; given to FastAPI as a response, it is not validated once more."""
    return Response(to_json(content), status_code=status, headers=headers, media_type="application/json")


def artifact_url(artifact_id: str) -> str:
    """Where the bytes of an artifact are read."""
    return f"/v1/artifacts/{artifact_id}"


def job_view(job: JobRecord) -> View:
    """A job, as `schemas.JobView`."""
    progress, cost, error = job.progress, job.cost, job.error
    return {
        "id": job.id,
        "pipeline": job.pipeline,
        "title": job.title,
        "tags": job.tags,
        "models": job.models,
        "status": job.status.value,
        "parent_job": job.parent_job,
        "progress": {
            "stage": progress.stage,
            "current_step": progress.current_step,
            "completed_steps": progress.completed_steps,
            "total_steps": progress.total_steps,
            "percentage": progress.percentage,
            "eta_seconds": progress.eta_seconds,
        },
        "cost": {
            "usd": float(cost.usd),
            "input_tokens": cost.input_tokens,
            "output_tokens": cost.output_tokens,
            "cached_tokens": cost.cached_tokens,
            "minutes": _minutes(job),
            "reserved_usd": float(job.reserved_usd),
            "budget_usd": None if job.budget_usd is None else float(job.budget_usd),
            "estimate": job.estimate,
        },
        "waiting_for": job.waiting_for,
        "error": None
        if error is None
        else {
            "code": error.code.value,
            "message": error.message,
            "step": error.step,
            "attempts": error.attempts,
            "details": error.details,
        },
        "result": None if job.result is None else _result_view(job.result),
        "simulated": job.simulated,
        "webhook_url": job.webhook_url,
        "cancel_requested": job.cancel_requested,
        "paused": job.paused,
        "run": job.run,
        "workflow_id": workflow_id(job.pipeline, job.id),
        "workflow_run_id": job.workflow_run_id,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _minutes(job: JobRecord) -> float | None:
    """How long it has run, with all waiting in between."""
    if job.started_at is None:
        return None
    return round(((job.finished_at or job.updated_at) - job.started_at).total_seconds() / 60, 2)


def _result_view(result: JobResult) -> View:
    return {
        "outputs": [output_view(output) for output in result.outputs],
        "summary": result.summary,
        "simulated": result.simulated,
    }


def output_view(output: Output) -> View:
    """A file that a job made for its owner, as `schemas.OutputView`."""
    return {
        "name": output.name,
        "artifact_id": output.artifact_id,
        "media_type": output.ref.media_type,
        "size": output.ref.size,
        "sha256": output.ref.sha256,
        "url": artifact_url(output.artifact_id),
    }


def artifact_view(artifact: ArtifactRecord) -> View:
    """A file of a job, as `schemas.ArtifactView`."""
    return {
        "id": artifact.id,
        "job_id": artifact.job_id,
        "step": artifact.step,
        "name": artifact.name,
        "role": artifact.role,
        "media_type": artifact.ref.media_type,
        "size": artifact.ref.size,
        "sha256": artifact.ref.sha256,
        "simulated": artifact.simulated,
        "created_at": artifact.created_at,
        "url": artifact_url(artifact.id),
    }
