"""The one list of error codes: which are transient, which fall through to the next model, their HTTP status."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio.exceptions import ApplicationError


class ErrorType(StrEnum):
    """Stable codes. They stand in problem documents, in failed jobs, in the ledger and as Temporal failure types."""

    # What a user sent.
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_PIPELINE = "unknown_pipeline"
    UNKNOWN_MODEL = "unknown_model"
    INVALID_CURSOR = "invalid_cursor"
    UNAUTHENTICATED = "unauthenticated"
    WRONG_CREDENTIALS = "wrong_credentials"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    LOGIN_NEEDED = "login_needed"
    ADMIN_NEEDED = "admin_needed"
    REGISTRATION_CLOSED = "registration_closed"
    EMAIL_TAKEN = "email_taken"
    TOO_MANY_KEYS = "too_many_keys"
    TOO_MANY_HOOKS = "too_many_hooks"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_JOBS = "too_many_jobs"
    STAGE_RUNNING = "stage_running"
    REQUEST_TIMEOUT = "request_timeout"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    INVALID_STATE = "invalid_state"
    REVIEW_EXPIRED = "review_expired"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    FILE_REFUSED = "file_refused"
    QUOTA_EXCEEDED = "quota_exceeded"
    UPLOAD_URL_INVALID = "upload_url_invalid"
    UPLOAD_EXPIRED = "upload_expired"
    # What a URL led to.
    URL_REFUSED = "url_refused"
    URL_UNREACHABLE = "url_unreachable"
    URL_TIMEOUT = "url_timeout"
    URL_STATUS = "url_status"
    URL_CUT = "url_cut"
    URL_TOO_LARGE = "url_too_large"
    URL_UNSUPPORTED = "url_unsupported"
    ROBOTS_DISALLOWED = "robots_disallowed"
    ROBOTS_UNREACHABLE = "robots_unreachable"
    # What a model or its provider answered.
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    MODEL_TIMEOUT = "model_timeout"
    STREAM_CUT = "stream_cut"
    MODEL_AUTH = "model_auth"
    MODEL_BAD_REQUEST = "model_bad_request"
    MODEL_REFUSED = "model_refused"
    PROMPT_TOO_LONG = "prompt_too_long"
    OUTPUT_INVALID = "output_invalid"
    PROVIDER_COOLING = "provider_cooling"
    ALL_MODELS_FAILED = "all_models_failed"
    # What may be spent.
    BUDGET_EXCEEDED = "budget_exceeded"
    PRICE_UNKNOWN = "price_unknown"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    # Our own parts.
    DATABASE_UNAVAILABLE = "database_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    TEMPORAL_UNAVAILABLE = "temporal_unavailable"
    ARTIFACT_MISSING = "artifact_missing"
    EXPORT_FAILED = "export_failed"
    TOOK_TOO_LONG = "took_too_long"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    WORKFLOW_GONE = "workflow_gone"
    INTERNAL = "internal"


@dataclass(frozen=True)
class ErrorKind:
    """What follows from an error code."""

    title: str
    status: int
    transient: bool = False
    """Temporal tries the same activity again."""
    falls_through: bool = False
    """The chain goes on with the next model, at once or, if transient, when the attempts at this one are used up."""


ERRORS: dict[ErrorType, ErrorKind] = {
    ErrorType.INVALID_REQUEST: ErrorKind("The request is not valid", 422),
    ErrorType.UNKNOWN_PIPELINE: ErrorKind("There is no such pipeline", 422),
    ErrorType.UNKNOWN_MODEL: ErrorKind("A model is unknown or not configured", 422, falls_through=True),
    ErrorType.INVALID_CURSOR: ErrorKind("The cursor is not one of ours", 400),
    ErrorType.UNAUTHENTICATED: ErrorKind("A valid API key or access token is needed", 401),
    ErrorType.WRONG_CREDENTIALS: ErrorKind("The email or the password is wrong", 401),
    ErrorType.INSUFFICIENT_SCOPE: ErrorKind("The API key does not allow this", 403),
    ErrorType.LOGIN_NEEDED: ErrorKind("This needs a login, and no API key", 403),
    ErrorType.ADMIN_NEEDED: ErrorKind("Only admins may do this", 403),
    ErrorType.REGISTRATION_CLOSED: ErrorKind("Nobody can register here", 403),
    ErrorType.EMAIL_TAKEN: ErrorKind("There is an account with this email", 409),
    ErrorType.TOO_MANY_KEYS: ErrorKind("The account has as many keys as it may", 409),
    ErrorType.TOO_MANY_HOOKS: ErrorKind("The account has as many webhooks as it may", 409),
    ErrorType.TOO_MANY_REQUESTS: ErrorKind("Too many requests", 429),
    ErrorType.TOO_MANY_JOBS: ErrorKind("Too many jobs at once", 429),
    ErrorType.STAGE_RUNNING: ErrorKind("A model works on another session", 429),
    ErrorType.REQUEST_TIMEOUT: ErrorKind("The request came too slowly", 408),
    ErrorType.NOT_FOUND: ErrorKind("There is no such thing here", 404),
    ErrorType.METHOD_NOT_ALLOWED: ErrorKind("This resource does not take that method", 405),
    ErrorType.IDEMPOTENCY_MISMATCH: ErrorKind("This Idempotency-Key was used with another body", 409),
    ErrorType.INVALID_STATE: ErrorKind("The state does not allow this", 409),
    ErrorType.REVIEW_EXPIRED: ErrorKind("Nobody answered in time", 409),
    ErrorType.BODY_TOO_LARGE: ErrorKind("The body is too large", 413),
    ErrorType.UNSUPPORTED_MEDIA_TYPE: ErrorKind("The body's media type is not supported", 415),
    ErrorType.RANGE_NOT_SATISFIABLE: ErrorKind("The range lies outside the artifact", 416),
    ErrorType.URL_REFUSED: ErrorKind("The URL is not one that may be asked", 422),
    ErrorType.URL_UNREACHABLE: ErrorKind("The URL's server cannot be reached", 502, transient=True),
    ErrorType.URL_TIMEOUT: ErrorKind("The URL's server took too long", 504, transient=True),
    ErrorType.URL_STATUS: ErrorKind("The URL's server answered with an error", 502, transient=True),
    ErrorType.URL_CUT: ErrorKind("The URL's server broke off its answer", 502, transient=True),
    ErrorType.URL_TOO_LARGE: ErrorKind("What the URL leads to is too large", 422),
    ErrorType.URL_UNSUPPORTED: ErrorKind("What the URL leads to cannot be read", 422),
    ErrorType.ROBOTS_DISALLOWED: ErrorKind("The site's robots.txt does not allow this", 422),
    ErrorType.ROBOTS_UNREACHABLE: ErrorKind("The site's robots.txt cannot be read", 502, transient=True),
    ErrorType.FILE_REFUSED: ErrorKind("The file cannot be taken", 422),
    ErrorType.QUOTA_EXCEEDED: ErrorKind("There is no room for more files", 409),
    ErrorType.UPLOAD_URL_INVALID: ErrorKind("The upload URL does not allow this", 403),
    ErrorType.UPLOAD_EXPIRED: ErrorKind("The upload has expired", 410),
    ErrorType.RATE_LIMITED: ErrorKind("The provider limits the rate", 502, transient=True, falls_through=True),
    ErrorType.OVERLOADED: ErrorKind("The provider is overloaded", 502, transient=True, falls_through=True),
    ErrorType.PROVIDER_ERROR: ErrorKind("The provider failed", 502, transient=True, falls_through=True),
    ErrorType.PROVIDER_UNREACHABLE: ErrorKind("The provider is unreachable", 502, transient=True, falls_through=True),
    ErrorType.MODEL_TIMEOUT: ErrorKind("The model was silent for too long", 504, transient=True, falls_through=True),
    ErrorType.STREAM_CUT: ErrorKind("The model's answer broke off", 502, transient=True, falls_through=True),
    ErrorType.OUTPUT_INVALID: ErrorKind("The answer misses its schema", 502, transient=True, falls_through=True),
    ErrorType.MODEL_AUTH: ErrorKind("The provider refused the key", 502, falls_through=True),
    ErrorType.MODEL_BAD_REQUEST: ErrorKind("The provider refused the request", 502, falls_through=True),
    ErrorType.MODEL_REFUSED: ErrorKind("The model declined to answer", 502, falls_through=True),
    ErrorType.PROMPT_TOO_LONG: ErrorKind("The prompt is too long for the model", 502, falls_through=True),
    ErrorType.PROVIDER_COOLING: ErrorKind("The provider is left alone for a while", 502, falls_through=True),
    ErrorType.BUDGET_EXCEEDED: ErrorKind("The budget does not allow this", 402),
    ErrorType.PRICE_UNKNOWN: ErrorKind("The price of a model is unknown", 422, falls_through=True),
    ErrorType.ALL_MODELS_FAILED: ErrorKind("Every model of the chain failed", 502),
    ErrorType.ATTEMPTS_EXHAUSTED: ErrorKind("A step was cut off too often", 500),
    ErrorType.DATABASE_UNAVAILABLE: ErrorKind("The database is unavailable", 503, transient=True),
    ErrorType.STORE_UNAVAILABLE: ErrorKind("The artifact store is unavailable", 503, transient=True),
    ErrorType.TEMPORAL_UNAVAILABLE: ErrorKind("Temporal is unavailable", 503, transient=True),
    ErrorType.ARTIFACT_MISSING: ErrorKind("The bytes of an artifact are gone", 500),
    ErrorType.EXPORT_FAILED: ErrorKind("The document could not be typeset", 500),
    ErrorType.TOOK_TOO_LONG: ErrorKind("The answer took too long", 503),
    ErrorType.CANCELLED: ErrorKind("The job was cancelled", 409),
    ErrorType.TERMINATED: ErrorKind("The workflow was terminated from outside", 500),
    ErrorType.TIMED_OUT: ErrorKind("The workflow ran out of time", 500),
    ErrorType.WORKFLOW_GONE: ErrorKind("The workflow is gone from Temporal", 500),
    ErrorType.INTERNAL: ErrorKind("Something failed inside Atelier", 500),
}

# https://platform.claude.com/docs/en/api/errors, https://ai.google.dev/gemini-api/docs/troubleshooting,
# https://github.com/ollama/ollama/blob/main/docs/api.md
PROVIDER_STATUSES: dict[int, ErrorType] = {
    401: ErrorType.MODEL_AUTH,
    403: ErrorType.MODEL_AUTH,
    408: ErrorType.PROVIDER_ERROR,
    413: ErrorType.PROMPT_TOO_LONG,
    429: ErrorType.RATE_LIMITED,
    503: ErrorType.OVERLOADED,
    529: ErrorType.OVERLOADED,
}
"""What an HTTP status of a provider means, where its class (`4xx`, `5xx`) says too little."""


def of_status(status: int) -> ErrorType:
    """The code of a provider's HTTP status that is not 200."""
    if status in PROVIDER_STATUSES:
        return PROVIDER_STATUSES[status]
    return ErrorType.MODEL_BAD_REQUEST if 400 <= status < 500 else ErrorType.PROVIDER_ERROR


class AtelierError(Exception):
    """An error that a user or the workflow can act on: a code, a sentence, and details as JSON.

    `retry_after` is how long the other side asked us to wait; it becomes Temporal's next retry delay, or the
    Retry-After header. `final` ends the retries even of a transient error: the attempts are used up.
    """

    def __init__(
        self,
        type: ErrorType,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after: timedelta | None = None,
        final: bool = False,
    ) -> None:
        # Neither Postgres nor a reader has a use for a NUL, which a provider's message may hold.
        message = message.replace("\x00", "")
        super().__init__(message)
        self.type = type
        self.message = message
        self.details = details or {}
        self.retry_after = retry_after
        self.final = final

    @property
    def kind(self) -> ErrorKind:
        """What follows from this error's code."""
        return ERRORS[self.type]


MESSAGE_LIMIT = 2_000
"""Characters of an error message that go into a history or a row: a provider may answer with a page of HTML."""


def as_failure(error: AtelierError) -> ApplicationError:
    """The Temporal failure of an error."""
    return ApplicationError(
        error.message[:MESSAGE_LIMIT],
        error.details,
        type=error.type.value,
        non_retryable=error.final or not error.kind.transient,
        next_retry_delay=error.retry_after,
    )


def error_type(value: str) -> ErrorType:
    """The code that a Temporal failure carries; anything unknown is `internal`."""
    return ErrorType(value) if value in set(ErrorType) else ErrorType.INTERNAL
