"""What a person says to a workflow: an update of it, whose answer says whether it was taken."""

import asyncio
import uuid
from typing import NamedTuple, TypeVar

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.submission import sha256_of
from core.contracts.base import Contract, Submission
from core.contracts.errors import AtelierError, ErrorType, error_type
from core.contracts.names import JobAddress, workflow_id
from core.temporal import is_away

UPDATE_SECONDS = 10.0
"""How long a person waits for the workflow's answer. It takes milliseconds unless Temporal or all workers are away."""
AWAY = (
    "The workflow did not answer in time. What you said may still take effect; to send it again with the same "
    "Idempotency-Key is safe."
)

Taken = TypeVar("Taken", bound=Contract)


class Word(NamedTuple):
    """What a person says: how it is told from anything else once it is stored."""

    act: str
    update_id: str
    body_sha256: str


def word(act: str, given: Submission, idempotency_key: str | None, *, about: str = "") -> Word:
    """The word of a request; `about` is what its path names beside the job. Without an Idempotency-Key each request is
    another."""
    body = {"act": act, **given.model_dump(mode="json", exclude_defaults=True)}
    if about:
        body["about"] = about
    return Word(act, idempotency_key or str(uuid.uuid4()), sha256_of(body))


async def update(temporal: Client, job: JobAddress, said: Word, argument: Contract, taken: type[Taken]) -> Taken:
    """Tell the workflow, and return when it has stored what was said. To be called without a connection held.

    Raises what the workflow refuses it with, `INVALID_STATE` when the job ended, and `TEMPORAL_UNAVAILABLE` when nobody
    answers within `UPDATE_SECONDS`.
    """
    handle = temporal.get_workflow_handle(workflow_id(*job))
    try:
        async with asyncio.timeout(UPDATE_SECONDS):
            answer: Taken = await handle.execute_update(said.act, argument, id=said.update_id, result_type=taken)
            return answer
    except WorkflowUpdateFailedError as error:
        raise _refused(error) from error
    except (WorkflowUpdateRPCTimeoutOrCancelledError, RPCError, RuntimeError, OSError, TimeoutError) as error:
        raise _unanswered(error, said) from error


def must_be(stored_sha256: str, said: Word, stored_act: str) -> None:
    """Raises `IDEMPOTENCY_MISMATCH` when something else was said under the same key."""
    if stored_sha256 != said.body_sha256:
        raise AtelierError(
            ErrorType.IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used for another answer. Send the first body again, or take a new key.",
            details={"answered": stored_act},
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
