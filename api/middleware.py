"""What surrounds every request: its id, its line in the log, a limit on its body, and an answer whatever happens."""

import re
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_of
from core.contracts.errors import AtelierError, ErrorType
from core.db.ids import new_id

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""A client's request id that may go into a header and a log line as it is."""
DISCONNECTED = 499
"""The status in the log when the client left before its answer (as nginx has it)."""

log = structlog.get_logger()


class RequestMiddleware:
    """Pure ASGI: Starlette's BaseHTTPMiddleware would run every request in one more task, and buffers streams."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        header = (b"x-request-id", request_id.encode())
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, _Limited(scope, receive, self._max_body_bytes), sending)
        except ClientDisconnect:
            status = status or DISCONNECTED
        except Exception as error:
            if status:
                # The answer is under way: only breaking the connection tells the client that it is not whole.
                log.error("response.broken", path=scope["path"], exc_info=error)
                raise BrokenResponseError("the answer broke off; the line before tells why") from None
            # The answer must not fail as the request did: it reads nothing of it.
            await problem_of(scope, error)(scope, receive, sending)
        finally:
            _log(scope, status, began)


class BrokenResponseError(Exception):
    """Tells uvicorn to close the connection."""


class _Limited:
    """`receive` that counts. Over the limit it raises, also when the client did not say how much it would send."""

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._declared = _content_length(scope)
        self._count = 0

    async def __call__(self) -> Message:
        if self._declared > self._limit:
            raise self._too_large()
        message = await self._receive()
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            if self._count > self._limit:
                raise self._too_large()
        return message

    def _too_large(self) -> AtelierError:
        return AtelierError(
            ErrorType.BODY_TOO_LARGE,
            f"The body may have {self._limit} bytes. Larger material is not sent in a request's body.",
            details={"limit": self._limit},
        )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if REQUEST_ID.fullmatch(given):
                return given
    return new_id()


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0
    return 0


def _log(scope: Scope, status: int, began: float) -> None:
    route = scope.get("route")
    log.info(
        "request",
        method=scope["method"],
        # The template, not the path: ids would make every line its own kind.
        path=getattr(route, "path", None) or "unmatched",
        status=status or DISCONNECTED,
        ms=round((time.perf_counter() - began) * 1000, 1),
    )
