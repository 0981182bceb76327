"""Failures, as workflows tell of them: why a job ended, and why an update was refused."""

from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from core.contracts.errors import ErrorType, error_type
from core.contracts.jobs import JobError


def refused(message: str, **details: Any) -> ApplicationError:
    """The failure of an update that comes at a wrong time."""
    return ApplicationError(message, details, type=ErrorType.INVALID_STATE.value, non_retryable=True)


def cause_of(error: ActivityError, otherwise: str) -> ApplicationError:
    """Why an activity failed, to fail an update with it and not the workflow."""
    cause = error.cause
    return cause if isinstance(cause, ApplicationError) else refused(otherwise)


def job_error(failure: BaseException) -> JobError:
    """Why a job failed, from the failure that ended it: the innermost typed cause, and the step it came from."""
    step: str | None = None
    cause: BaseException = failure
    while cause.__cause__ is not None and not isinstance(cause, ApplicationError):
        if isinstance(cause, ActivityError) and step is None:
            step = cause.activity_type
        cause = cause.__cause__
    if not isinstance(cause, ApplicationError):
        return JobError(code=ErrorType.INTERNAL, message=str(cause) or type(cause).__name__, step=step)
    details = next((detail for detail in cause.details if isinstance(detail, dict)), {})
    return JobError(
        code=error_type(cause.type or ""),
        message=cause.message,
        step=details.get("step", step),
        attempts=details.get("attempts"),
        details=details,
    )
