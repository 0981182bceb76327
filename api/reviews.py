"""A person's word on an outline, on its way to the workflow that waits for it."""

from temporalio.client import Client

from api.deps import Session
from api.requests import invalid
from api.updates import Word, must_be, update
from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ENDED, Answer, JobStatus
from core.contracts.longform import Brief, Outline
from core.contracts.longform_steps import REVIEW_STEP, Decomposed, OutlineVerdict
from core.contracts.names import JobAddress
from core.contracts.outlines import OutlineEdit, OutlineEditError, edited_outline, planned
from core.db.repositories.artifacts import ArtifactRecord
from core.db.repositories.job_records import JobRecord

OUTLINE_REVIEW = "outline_review"
"""What `waiting_for.what` of a job says that waits for a word on its outline."""
OUTLINE_FILE = "outline.json"
OUTLINE_STEPS = ("decompose", REVIEW_STEP)


def asked_round(job: JobRecord) -> int | None:
    """Which outline the job asks about; None when it waits for no word on one."""
    waiting = job.waiting_for or {}
    if (
        job.status is not JobStatus.WAITING_FOR_INPUT
        or job.cancel_requested
        or waiting.get("what") != OUTLINE_REVIEW
        or not isinstance(waiting.get("round"), int)
    ):
        return None
    return int(waiting["round"])


async def outline_file(session: Session, job_id: str) -> ArtifactRecord:
    """The newest outline of a job. Raises `NOT_FOUND` when it has none yet."""
    found = await session.artifacts.newest(job_id, OUTLINE_FILE, OUTLINE_STEPS)
    if found is None:
        raise AtelierError(ErrorType.NOT_FOUND, f"The job {job_id} has no outline (yet).", details={"job_id": job_id})
    return found


async def hear(session: Session, job_id: str, said: Word, round: int | None) -> tuple[JobRecord, int] | None:
    """The job, and the round it asks about; None when this very word is stored already.

    Raises `NOT_FOUND`, `IDEMPOTENCY_MISMATCH`, and `INVALID_STATE` when the job asks about no outline, or another.
    """
    job = await session.jobs.get(job_id)
    for _, stored in await session.answers.of(job_id, REVIEW_STEP):
        if stored.update_id == said.update_id:
            must_be(stored.body_sha256, said, stored.act)
            return None
    asked = asked_round(job)
    if asked is None:
        raise AtelierError(ErrorType.INVALID_STATE, _now(job), details={"status": job.status.value})
    if round not in (None, asked):
        raise AtelierError(
            ErrorType.INVALID_STATE,
            f"Your word is about the outline of round {round}; the job asks about that of round {asked}.",
            details={"status": job.status.value, "round": asked, "given_round": round},
        )
    return job, asked


async def edited_plan(store: ArtifactStore, current: ArtifactRef, edit: OutlineEdit, brief: Brief) -> Decomposed:
    """The edited outline, put into the store. Raises `INVALID_REQUEST` for an edit that makes none."""
    outline = Outline.model_validate_json(await store.get(current))
    try:
        edited = edited_outline(outline, edit, brief)
    except OutlineEditError as error:
        raise invalid(error.loc, str(error)) from None
    ref = await store.put(current.owner_id, edited.model_dump_json().encode(), current.media_type)
    return planned(edited, ref)


async def tell(temporal: Client, job: JobRecord, said: Word, verdict: OutlineVerdict) -> None:
    """Tell the workflow, and return when the answer is stored. To be called without a connection held.

    Raises what `api.updates.update` does, `INVALID_STATE` when another answer came first, `IDEMPOTENCY_MISMATCH`.
    """
    stored = await update(temporal, JobAddress(job.pipeline, job.id), said, verdict, Answer)
    if stored.update_id != said.update_id:
        raise AtelierError(
            ErrorType.INVALID_STATE,
            "Another answer to the same question came first. Read the job again.",
            details={"status": job.status.value, "answered": stored.act},
        )
    must_be(stored.body_sha256, said, stored.act)


def _now(job: JobRecord) -> str:
    """What a job does that asks about no outline."""
    if job.status in ENDED:
        return f"The job is {job.status.value}: it asks nothing any more."
    if job.cancel_requested:
        return "The job is being cancelled: it asks nothing any more."
    if job.status is JobStatus.PENDING:
        return "The job has not begun: there is no outline to speak of yet."
    if job.status is JobStatus.PAUSED:
        return "The job is paused and asks nothing: resume it first."
    if job.status is JobStatus.RUNNING:
        stage = f" (stage: {job.progress.stage})" if job.progress.stage else ""
        return f"The job is at work{stage} and asks nothing at the moment."
    return "The job waits for something else than a word on its outline; `waiting_for` says for what."
