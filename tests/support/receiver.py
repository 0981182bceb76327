"""A receiver of webhooks: a real HTTP server that answers as a test says, and checks signatures as receivers do."""

import asyncio
import json
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.support.web_server import Script, WebRequest, WebServer, page

PATH = "/hook"
OK = page(b"", None, 200)


class Receiver(WebServer):
    """Answers one script after the other, and `then` when they are used up."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[bytes | Script] = []
        self.then: bytes | Script = OK
        self.heard = asyncio.Condition()
        self.pages[PATH] = self._answer

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        said = self.scripts.pop(0) if self.scripts else self.then
        async with self.heard:
            self.heard.notify_all()
        if isinstance(said, bytes):
            writer.write(said)
            await writer.drain()
        else:
            await said(writer)

    @property
    def address(self) -> str:
        """Its URL."""
        return self.url(PATH)

    @property
    def allowed(self) -> str:
        """What `FETCH_ALLOWED_HOSTS` has to say for it to be asked."""
        return f"{self.host}:{self.port}"

    @property
    def ids(self) -> list[str]:
        """The ids of what came, in order."""
        return [request.headers["webhook-id"] for request in self.requests]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What it was told, in order."""
        return [json.loads(request.body) for request in self.requests]

    async def until(self, count: int, seconds: float = 30.0) -> list[WebRequest]:
        """Wait until so many requests came."""
        async with asyncio.timeout(seconds), self.heard:
            await self.heard.wait_for(lambda: len(self.requests) >= count)
        return self.requests


def verified(request: WebRequest, secret: str) -> Any:
    """What the reference library reads out of a request. Raises its error for a wrong signature."""
    return Webhook(secret).verify(request.body, request.headers)


def status(code: int, **headers: str) -> bytes:
    """An answer without a body."""
    return page(b"", None, code, **headers)
