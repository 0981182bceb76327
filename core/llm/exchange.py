"""The one HTTP exchange that a call may have: it is watched, never repeated, and closed with the call.

The SDKs below pydantic-ai resend in more places than their retry options cover: google-genai follows continuation
tokens (a stream that drops, or stops at a limit, is resumed by another paid request), and pydantic-ai's Anthropic
model asks again without old thinking blocks. So the rule stands at the HTTP client, below all of them.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
from pydantic_ai.models import StreamedResponse

from core.contracts.llm import Usage

_CONNECT_SECONDS = 10.0
"""For the TCP and TLS handshakes: an unreachable provider shows sooner than a slow model."""
_CONNECTIONS = 512
"""One call holds one connection; a worker's slots are the limit that matters, and they are fewer."""
_KEPT_ALIVE = 100
_WRITES = ".send_request_headers.started"
"""What the client tells when it is connected and begins to write."""
_REASONING = ("reasoning_tokens", "thinking_tokens", "thoughts_tokens")
"""What OpenAI's protocol, Anthropic and Gemini call them."""


class SecondRequest(Exception):
    """An SDK tried to send another request for the same call."""


@dataclass(eq=False)
class Exchange:
    """What is known of a call's request and answer so far."""

    sent: bool = False
    written: bool = False
    """It was connected, and something of the request may have arrived."""
    again: bool = False
    """A second request was refused."""
    response: httpx2.Response | None = None
    """Set when the status line and headers have come."""
    stream: StreamedResponse | None = None
    first_token: timedelta | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status, if there was one."""
        return None if self.response is None else self.response.status_code

    @property
    def usage(self) -> Usage:
        """What the provider reported so far.

        pydantic-ai's input tokens include those of the cache, read and written, for all providers: Anthropic reports
        them apart, the others among the prompt's. Its output tokens include the reasoning ones.
        """
        if self.stream is None:
            return Usage()
        used = self.stream.usage
        return Usage(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cached_tokens=used.cache_read_tokens,
            cache_write_tokens=used.cache_write_tokens,
            reasoning_tokens=max(used.details.get(name, 0) for name in _REASONING),
        )

    @property
    def told(self) -> bool:
        """Whether what the provider bills is known: nothing without a request or for an error, else what it reported
        when it said why the answer ends."""
        if not self.written or self.status not in (None, 200):
            return True
        if self.stream is None:
            return False
        details = self.stream.provider_details or {}
        return "finish_reason" in details or self.stream.finish_reason == "content_filter"

    async def aclose(self) -> None:
        """Close the connection unless the answer was read to its end; then it goes back to the pool.

        The SDKs close theirs through chains of generators, of which a cancelled one is closed some time later.
        """
        if self.response is not None:
            await self.response.aclose()


CURRENT: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of the call that runs in this task."""


async def _admit(request: httpx2.Request) -> None:
    async def trace(event: str, info: dict[str, Any]) -> None:
        if event.endswith(_WRITES):
            exchange.written = True

    exchange = CURRENT.get()
    if exchange.sent:
        exchange.again = True
        raise SecondRequest
    exchange.sent = True
    request.extensions["trace"] = trace
    # Set here because google-genai passes one number for all four. How long a model may be silent is the caller's
    # business, so reading and waiting for the pool have no limit of their own.
    request.extensions["timeout"] = {"connect": _CONNECT_SECONDS, "read": None, "write": None, "pool": None}


async def _note(response: httpx2.Response) -> None:
    CURRENT.get().response = response


def http_client() -> httpx2.AsyncClient:
    """A connection pool that sends only within an `Exchange`, once."""
    return httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT_ALIVE),
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        event_hooks={"request": [_admit], "response": [_note]},
    )
