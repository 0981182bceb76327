"""uvicorn, with streams that end when it is told to stop, and with connections that must come to the point."""

import asyncio
import socket
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import problem
from api.middleware import hardening
from core.contracts.errors import ErrorType
from core.settings import Settings

DRAIN_SECONDS = 5
"""How long requests under way have at shutdown."""
KEEP_ALIVE_SECONDS = 30
"""How long an idle connection stays open: longer than the pools of usual clients and proxies hold one."""

HEAD_BYTES = 65_536
"""Of a request: its first line and its headers."""

log = structlog.get_logger()


class _Config(uvicorn.Config):
    """What a connection needs to know beside uvicorn's own settings."""

    def __init__(self, app: FastAPI, settings: Settings, **options: Any) -> None:
        super().__init__(app, **options)
        self.head_seconds = settings.api_body_seconds
        self.hardening = hardening(settings)


class _Connection(HttpToolsProtocol):
    """Closes a connection whose request's head does not come to its end: neither uvicorn nor its parser would."""

    config: _Config

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """The head is there; its body is for the middleware to wait for."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, and look whether a head is awaited: uvicorn's own patience with an idle connection ends here."""
        super().data_received(data)
        if not self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and self._in_head:
            self.send_400_response(f"The request's head has more than {HEAD_BYTES} bytes.")
        elif self._timer is None:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Tell of what is no request as of any other error, and close."""
        answer = problem({"path": ""}, ErrorType.INVALID_REQUEST, msg, status=400)
        headers = [*self.server_state.default_headers, *answer.raw_headers, *self.config.hardening]
        lines = [b"HTTP/1.1 400 Bad Request", *(b"%s: %s" % header for header in headers), b"connection: close"]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(self.config.head_seconds, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """One API process's server."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            _Config(
                app,
                settings,
                host=settings.api_host,
                port=settings.api_port,
                loop="uvloop",
                http=_Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                # One line a request is written by the middleware, with the request's id.
                access_log=False,
                server_header=False,
                # It would believe X-Forwarded-For of this machine's own programs; whom we believe is a setting
                # (api/origin.py).
                proxy_headers=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await super().startup(sockets)
        log.info("api.listening", url=f"http://{self.config.host}:{self.port}")

    @property
    def port(self) -> int:
        """The port it listens on, also when any free one was asked for."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the event streams end, or uvicorn would wait for them until its patience ends."""
        self._app.state.deps.events.close()
        await super().shutdown(sockets)
