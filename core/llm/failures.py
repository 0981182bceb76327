"""Which of our error codes a failed call has: by exception type and HTTP status, never by text.

What a status means, and what follows from a code, stands in `core.contracts.errors`.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import ValidationError
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from core.contracts.errors import ErrorType, of_status
from core.contracts.models import context_window
from core.llm.exchange import Exchange
from core.llm.provider import ModelFailure
from core.redaction import redact_text

_MESSAGE_LIMIT = 500
_PATIENCE = timedelta(seconds=60)
"""A provider that asks for a longer wait than this is given up for the step."""
_ERRORS_SHOWN = 10
"""Misses of the schema that go into the details: they are shown to the model in the next attempt."""

# pydantic-ai's categories, for errors whose status alone says less: Gemini answers a wrong key with 400, and an error
# event in a stream may have no status at all.
_CATEGORIES: tuple[tuple[type[ModelAPIError], ErrorType], ...] = (
    (ModelAuthenticationError, ErrorType.MODEL_AUTH),
    (ModelContextWindowExceededError, ErrorType.PROMPT_TOO_LONG),
    (ModelRateLimitError, ErrorType.RATE_LIMITED),
    (ModelQuotaExceededError, ErrorType.RATE_LIMITED),
    (ModelUnavailableError, ErrorType.OVERLOADED),
)


def failure_of(error: Exception, exchange: Exchange, model: str, secrets: Sequence[str] = ()) -> ModelFailure | None:
    """The typed failure of a call to `provider:model`; None for an error of our own, which must be raised as it is.

    A provider may quote in its message what it was sent, the key included: `secrets` are taken out.
    """
    kind = _kind_of(error, exchange)
    if kind is None:
        return None
    wait = _asked_to_wait(error, exchange)
    status = exchange.status
    if isinstance(error, ModelHTTPError) and status in (None, 200):
        # An error event in a stream has one of its own.
        status = error.status_code
    details: dict[str, Any] = {"model": model, "exception": type(error).__name__}
    if status is not None:
        details["status"] = status
    if kind is ErrorType.PROMPT_TOO_LONG:
        details["context_window"] = context_window(model)
    too_long = wait is not None and wait > _PATIENCE.total_seconds()
    failure = ModelFailure(
        kind,
        f"{model}: {redact_text(without(secrets, _message_of(error)))}"[:_MESSAGE_LIMIT],
        answered=exchange.response is not None,
        usage=exchange.usage,
        retry_after=None if wait is None or too_long else timedelta(seconds=wait),
        details=details,
    )
    # Waiting does not help against a quota that is used up, or not soon: the next model is asked.
    failure.final = too_long or isinstance(error, ModelQuotaExceededError)
    return failure


def without(secrets: Sequence[str], text: str) -> str:
    """The text with each secret replaced, wherever it stands."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "[redacted]")
    return text


def _asked_to_wait(error: Exception, exchange: Exchange) -> float | None:
    """Seconds that the provider asks us to wait: in its error's body (Gemini), or in the header."""
    if isinstance(error, ModelAPIError) and error.retry_after is not None:
        return error.retry_after
    said = "" if exchange.response is None else exchange.response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        return _until(said)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(said: str) -> float | None:
    """Seconds from now to an HTTP date, zero for one that is past; None for anything else."""
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _kind_of(error: Exception, exchange: Exchange) -> ErrorType | None:
    for category, kind in _CATEGORIES:
        if isinstance(error, category):
            return kind
    if isinstance(error, ModelHTTPError):
        return of_status(error.status_code)
    if exchange.status is not None and exchange.status != 200:
        return of_status(exchange.status)
    if exchange.again and exchange.response is not None:
        # The SDK wanted to go on with a stream that dropped or stopped: this answer has no end.
        return ErrorType.STREAM_CUT
    if isinstance(error, ModelConnectionError):
        return ErrorType.PROVIDER_UNREACHABLE if exchange.response is None else ErrorType.STREAM_CUT
    if exchange.response is None:
        # A request that the library itself refuses to make, for example of a model that lacks a feature.
        return ErrorType.MODEL_BAD_REQUEST if isinstance(error, UserError) else None
    return _kind_of_answer(error, exchange.response.headers.get("content-type", ""))


def _kind_of_answer(error: Exception, media_type: str) -> ErrorType:
    """The code of an error that came while a 200 answer was read."""
    if isinstance(error, ContentFilterError):
        return ErrorType.MODEL_REFUSED
    if isinstance(error, ModelAPIError) and error.in_stream:
        return ErrorType.PROVIDER_ERROR
    if isinstance(error, UnexpectedModelBehavior) and media_type.startswith("text/event-stream"):
        # A stream that ended before its first event.
        return ErrorType.STREAM_CUT
    return ErrorType.OUTPUT_INVALID


def _message_of(error: Exception) -> str:
    body = error.body if isinstance(error, ModelHTTPError) else None
    said = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, ModelHTTPError) and isinstance(said, dict):
        return f"{error.status_code}: {said.get('message')}"
    return str(error) or type(error).__name__


def schema_misses(error: ValidationError) -> list[str]:
    """Where an answer misses its schema, a line each, without what it said there."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    lines = [f"{'.'.join(str(step) for step in miss['loc']) or 'answer'}: {miss['msg']}" for miss in found]
    more = len(lines) - _ERRORS_SHOWN
    return [*lines[:_ERRORS_SHOWN], f"and {more} more"] if more > 0 else lines
