"""What surrounds every request: its ids, its line in the log, limits on its body and its time, and an answer whatever
happens."""

import asyncio
import re
import time
from secrets import token_hex

import structlog
from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cors import Cors, origins
from api.errors import ProblemError, problem_of
from core.contracts.errors import AtelierError, ErrorType
from core.db.ids import new_id
from core.settings import Settings

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""A client's request id that may go into a header and a log line as it is."""
TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""https://www.w3.org/TR/trace-context/: its version, and the trace that a request belongs to."""
DISCONNECTED = 499
"""The status in the log when the client left before its answer (as nginx has it)."""
HARDENING = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # No answer is a page, save those that say otherwise.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer whose route did not say it in its own way."""
_NO_STORE = ((b"cache-control", b"no-store"),)
_ONLY_TLS = ((b"strict-transport-security", b"max-age=31536000"),)
_CLOSE = {"Connection": "close"}

Headers = tuple[tuple[bytes, bytes], ...]

log = structlog.get_logger()


def surround(app: FastAPI, settings: Settings) -> None:
    """Put the middleware around an application. Raises ValueError when CORS_ORIGINS is not as it should be."""
    app.add_middleware(
        AnswerMiddleware,
        max_body_bytes=settings.api_max_body_bytes,
        body_seconds=settings.api_body_seconds,
        answer_seconds=settings.api_answer_seconds,
    )
    if allowed := origins(settings.cors_origins):
        # Around what makes problem documents, which a page must be able to read.
        app.add_middleware(Cors, allowed=allowed)
    app.add_middleware(RequestMiddleware, hardening=hardening(settings))


def hardening(settings: Settings) -> Headers:
    """What every answer tells a browser."""
    return HARDENING + (_ONLY_TLS if settings.atelier_mode == "production" else ())


class RequestMiddleware:
    """Gives a request its ids, an answer its common headers, and both a line in the log.

    Pure ASGI: Starlette's BaseHTTPMiddleware would run every request in one more task, and buffers streams.
    """

    def __init__(self, app: ASGIApp, *, hardening: Headers) -> None:
        self._app = app
        self._always = hardening
        self._private = hardening + _NO_STORE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, trace_id = _ids(scope)
        state = scope.setdefault("state", {})
        state["request_id"], state["trace_id"] = request_id, trace_id
        structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=trace_id)
        own = ((b"x-request-id", request_id.encode()), (b"x-trace-id", trace_id.encode()))
        common = self._private if scope["path"].startswith("/v1/") else self._always
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = message.get("headers", ())
                names = {name for name, _ in said}
                more = [(name.lower().encode(), value.encode()) for name, value in state.get("headers", {}).items()]
                message["headers"] = [*said, *own, *more, *(pair for pair in common if pair[0] not in names)]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            _log(scope, status, began)


class AnswerMiddleware:
    """Sees that a request is answered: when something fails, when its body is too long or too slow, when its route
    takes too long."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, body_seconds: float, answer_seconds: float) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._answer_seconds = answer_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = Body(scope, receive, self._max_body_bytes, self._body_seconds, self._answer_seconds)
        scope.setdefault("state", {})["body"] = body

        async def sending(message: Message) -> None:
            if not body.answered:
                body.answered = True
                # What has begun may take its time: an event stream has no end.
                if not patience.expired():
                    patience.reschedule(None)
            await send(message)

        try:
            # It ends by cancelling the route, whose session then rolls back and gives its connection away.
            async with asyncio.timeout(self._answer_seconds) as patience:
                body.patience = patience
                await self._app(scope, body, sending)
        except ClientDisconnect:
            return
        except Exception as error:
            if body.answered:
                # The answer is under way: only breaking the connection tells the client that it is not whole.
                log.error("response.broken", path=scope["path"], exc_info=error)
                raise BrokenResponseError("the answer broke off; the line before tells why") from None
            late = isinstance(error, TimeoutError) and patience.expired()
            # The answer must not fail as the request did: it reads nothing of it.
            await problem_of(scope, self._too_late() if late else error)(scope, receive, send)

    def _too_late(self) -> AtelierError:
        return AtelierError(
            ErrorType.TOOK_TOO_LONG,
            f"There was no answer within {self._answer_seconds:g} s. What was asked for may have been done all the "
            "same: look, or send the request again with the same Idempotency-Key.",
        )


class BrokenResponseError(Exception):
    """Tells uvicorn to close the connection."""


class Body:
    """`receive` that counts bytes and seconds. Over a limit it raises, also when the client did not say how much it
    would send. Once the answer has begun, what still comes is of no account.

    A route that takes more finds it in the request's state, and says so (`expect`) once it knows that it wants it.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: int, seconds: float, answer_seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._declared, expected = _announced(scope)
        self._seconds = seconds
        self._silence: float | None = None
        self._answer_seconds = answer_seconds
        self._deadline: float | None = None
        self._count = 0
        # What announces no body has none, and needs no watch.
        self._whole = not expected
        self.answered = False
        self.patience: asyncio.Timeout | None = None
        """Ends the request when there is no answer in time."""

    @property
    def declared(self) -> int:
        """Bytes that the client says it sends."""
        return self._declared

    def expect(self, limit: int, *, silence: float, seconds: float) -> None:
        """Let so many bytes come in so many seconds, with no pause that is longer than `silence`. The time for the
        answer begins when they are there."""
        self._limit, self._silence, self._seconds, self._deadline = limit, silence, seconds, None
        if self.patience is not None and not self._whole:
            self.patience.reschedule(None)

    async def __call__(self) -> Message:
        if self._whole or self.answered:
            return await self._receive()
        if self._declared > self._limit:
            raise self._too_large()
        if self._deadline is None:
            # Counted from the first look: a route that waits for something else first is not the client's fault.
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        now = asyncio.get_running_loop().time()
        until = self._deadline if self._silence is None else min(self._deadline, now + self._silence)
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow() from None
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._count > self._limit:
                raise self._too_large()
            if self._whole and self._silence is not None and self.patience is not None:
                self.patience.reschedule(asyncio.get_running_loop().time() + self._answer_seconds)
        return message

    def _too_large(self) -> AtelierError:
        return AtelierError(
            ErrorType.BODY_TOO_LARGE,
            f"The body may have {self._limit} bytes. Larger material is not sent in a request's body.",
            details={"limit": self._limit},
        )

    def _too_slow(self) -> ProblemError:
        # What may still come of the body must not be taken for the next request.
        said = f"The body did not arrive within {self._seconds:g} s, so nothing was done. Send the request again."
        if self._silence is not None:
            said = f"Nothing came for {self._silence:g} s, or too little, so nothing was kept. Send the bytes again."
        return ProblemError(ErrorType.REQUEST_TIMEOUT, said, headers=_CLOSE)


def _ids(scope: Scope) -> tuple[str, str]:
    """The request's id and its trace's: the client's where they will do, else new ones."""
    request_id, traces = "", []
    for name, value in scope["headers"]:
        if name == b"x-request-id" and not request_id:
            given: str = value.decode("latin-1")
            request_id = given if REQUEST_ID.fullmatch(given) else ""
        elif name == b"traceparent":
            traces.append(value)
    # Two of them are none: nobody could say which is meant.
    found = TRACEPARENT.fullmatch(traces[0]) if len(traces) == 1 else None
    if found is None or (found[1] == b"00" and found[3] is not None):
        return request_id or new_id(), token_hex(16)
    return request_id or new_id(), found[2].decode()


def _announced(scope: Scope) -> tuple[int, bool]:
    """How long the body will be, as far as the client says so, and whether there will be any."""
    length, expected = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 20 else 0
            expected = expected or length > 0
        elif name == b"transfer-encoding":
            expected = True
    return length, expected


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
