"""A person's word on an outline, on its way to the workflow that waits for it."""

import asyncio
import uuid
from typing import NamedTuple

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.deps import Session
from api.requests import invalid
from api.submission import sha256_of
from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Submission
from core.contracts.errors import AtelierError, ErrorType, error_type
from core.contracts.jobs import ENDED, Answer, JobStatus
from core.contracts.longform import Brief, Outline
from core.contracts.longform_steps import REVIEW_STEP, Decomposed, OutlineVerdict
from core.contracts.names import workflow_id
from core.contracts.outlines import OutlineEdit, OutlineEditError, edited_outline, planned
from core.db.repositories.artifacts import ArtifactRecord
from core.db.repositories.job_records import JobRecord
from core.temporal import is_away

OUTLINE_REVIEW = "outline_review"
"""What `waiting_for.what` of a job says that waits for a word on its outline."""
OUTLINE_FILE = "outline.json"
OUTLINE_STEPS = ("decompose", REVIEW_STEP)
UPDATE_SECONDS = 10.0
"""How long a person waits for the workflow's answer. It takes milliseconds unless Temporal or all workers are away."""
AWAY = (
    "The workflow did not answer in time. What you said may still take effect; to send it again with the same "
    "Idempotency-Key is safe."
)


class Word(NamedTuple):
    """What a person says: how the answer is told from others once it is stored."""

    act: str
    update_id: str
    body_sha256: str


def word(act: str, given: Submission, idempotency_key: str | None) -> Word:
    """The word of a request. Without an Idempotency-Key each request is another."""
    body = {"act": act, **given.model_dump(mode="json", exclude_defaults=True)}
    return Word(act, idempotency_key or str(uuid.uuid4()), sha256_of(body))


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
            _must_be(stored, said)
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

    Raises `INVALID_STATE` when another answer came first or the job ended, `IDEMPOTENCY_MISMATCH`, and
    `TEMPORAL_UNAVAILABLE` when nobody answers within `UPDATE_SECONDS`.
    """
    handle = temporal.get_workflow_handle(workflow_id(job.pipeline, job.id))
    try:
        async with asyncio.timeout(UPDATE_SECONDS):
            stored: Answer = await handle.execute_update(said.act, verdict, id=said.update_id, result_type=Answer)
    except WorkflowUpdateFailedError as error:
        raise _refused(error) from error
    except (WorkflowUpdateRPCTimeoutOrCancelledError, RPCError, RuntimeError, OSError, TimeoutError) as error:
        raise _unanswered(error, said) from error
    if stored.update_id != said.update_id:
        raise AtelierError(
            ErrorType.INVALID_STATE,
            "Another answer to the same question came first. Read the job again.",
            details={"status": job.status.value, "answered": stored.act},
        )
    _must_be(stored, said)


def _must_be(stored: Answer, said: Word) -> None:
    if stored.body_sha256 != said.body_sha256:
        raise AtelierError(
            ErrorType.IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used for another answer. Send the first body again, or take a new key.",
            details={"answered": stored.act},
        )


def _unanswered(error: Exception, said: Word) -> Exception:
    """What a call that brought no answer is for the user."""
    if isinstance(error, RPCError):
        if error.status is RPCStatusCode.NOT_FOUND:
            return AtelierError(ErrorType.INVALID_STATE, "The job has just ended. Read it again.")
        # Too many answers to one workflow at once are refused for a moment, too.
        if not is_away(error) and error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
            return error
    return AtelierError(ErrorType.TEMPORAL_UNAVAILABLE, AWAY, details={"idempotency_key": said.update_id})


def _refused(error: WorkflowUpdateFailedError) -> AtelierError:
    """What the workflow answered instead."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    if cause is None or cause.type is None or error_type(cause.type) is ErrorType.INTERNAL:
        # The workflow ended while it was told; which answer is stored is for the job to say.
        return AtelierError(ErrorType.INVALID_STATE, "The job did not take the answer. Read the job again.")
    details = next((detail for detail in cause.details if isinstance(detail, dict)), {})
    return AtelierError(error_type(cause.type), cause.message, details=details)


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
