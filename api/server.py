"""uvicorn, with streams that end when it is told to stop."""

import socket

import structlog
import uvicorn
from fastapi import FastAPI

from core.settings import Settings

DRAIN_SECONDS = 5
"""How long requests under way have at shutdown."""
KEEP_ALIVE_SECONDS = 30
"""How long an idle connection stays open: longer than the pools of usual clients and proxies hold one."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """One API process's server."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.api_host,
                port=settings.api_port,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                # One line a request is written by the middleware, with the request's id.
                access_log=False,
                server_header=False,
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
