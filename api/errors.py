"""Problem documents (RFC 9457): every error a client sees, whatever raised it, has one form and a stable code."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from api.requests import InvalidRequestError, Problem, invalid_fields
from core.contracts.errors import ERRORS, AtelierError, ErrorType
from core.db.engine import is_of_nobody, is_unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
"""Said when a part of ours is away that names no time of its own: it comes back within seconds, or not soon."""

log = structlog.get_logger()


class ProblemError(AtelierError):
    """An error whose status or headers are not those that its code alone would have."""

    def __init__(
        self,
        type: ErrorType,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(type, message, details=details)
        self.status = status
        self.headers = dict(headers or {})


def problem(
    scope: Scope,
    type: ErrorType,
    detail: str,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    details: dict[str, Any] | None = None,
    errors: list[Problem] | None = None,
) -> Response:
    """A problem document as a response."""
    kind = ERRORS[type]
    status = status or kind.status
    state = scope.get("state", {})
    content: dict[str, Any] = {
        "type": f"urn:atelier:error:{type.value}",
        "title": kind.title,
        "status": status,
        "detail": detail,
        "instance": scope["path"][:500],
        "code": type.value,
        "request_id": state.get("request_id", ""),
        "trace_id": state.get("trace_id", ""),
    }
    if errors is not None:
        content["errors"] = errors
    if details:
        content["details"] = details
    sent = dict(headers or {})
    if status == 503 and kind.transient:
        sent.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(to_json(content, fallback=str), status_code=status, headers=sent, media_type=MEDIA_TYPE)


def problem_of(scope: Scope, error: Exception) -> Response:
    """The problem document of any exception. What nobody foresaw is logged, and answered without its text."""
    if isinstance(error, InvalidRequestError):
        return problem(scope, error.type, error.message, errors=error.errors, details=error.details)
    if isinstance(error, ProblemError):
        return problem(
            scope, error.type, error.message, status=error.status, headers=error.headers, details=error.details
        )
    if isinstance(error, AtelierError):
        if error.kind.status >= 500:
            log.warning("request.problem", code=error.type.value, error=error.message, cause=repr(error.__cause__))
        headers = {}
        if error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
        return problem(scope, error.type, error.message, headers=headers, details=error.details)
    if isinstance(error, RequestValidationError):
        return problem_of(scope, invalid_fields(list(error.errors())))
    if isinstance(error, HTTPException):
        return _of_http(scope, error)
    if is_of_nobody(error):
        headers = {"WWW-Authenticate": 'Bearer realm="atelier", error="invalid_token"'}
        return problem(scope, ErrorType.UNAUTHENTICATED, "This account was deleted just now.", headers=headers)
    if is_unavailable(error):
        log.warning("request.problem", code=ErrorType.DATABASE_UNAVAILABLE.value, cause=repr(error))
        return problem(scope, ErrorType.DATABASE_UNAVAILABLE, "The database cannot be reached.")
    log.error("request.failed", path=scope["path"], exc_info=error)
    return problem(scope, ErrorType.INTERNAL, "Something failed inside Atelier. Its log tells more by the request id.")


def _of_http(scope: Scope, error: HTTPException) -> Response:
    if error.status_code == 404:
        return problem(scope, ErrorType.NOT_FOUND, "There is no such route.")
    if error.status_code == 405:
        allowed = allowed_methods(scope)
        headers = {"Allow": ", ".join(allowed)} if allowed else error.headers
        return problem(scope, ErrorType.METHOD_NOT_ALLOWED, f"{scope['method']} is not possible here.", headers=headers)
    code = ErrorType.INVALID_REQUEST if error.status_code < 500 else ErrorType.INTERNAL
    return problem(scope, code, str(error.detail)[:500], status=error.status_code, headers=error.headers)


def allowed_methods(scope: Scope) -> list[str]:
    """The methods that a path has, over all its routes: Starlette names those of the first only."""
    routes: list[BaseRoute] = scope["app"].routes
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def add_handlers(app: FastAPI) -> None:
    """Answer errors raised in routes with problem documents. Those raised elsewhere are the middleware's."""

    async def handle(request: Request, error: Exception) -> Response:
        return problem_of(request.scope, error)

    for kind in (AtelierError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
