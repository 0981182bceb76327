"""What the fake far end hears and what it is told to say: captured requests and scripted answers.

How each provider words them stands in `wire_anthropic`, `wire_google` and `wire_ollama`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

from core.contracts.llm import Usage

ProviderName = Literal["anthropic", "google", "ollama"]


@dataclass(frozen=True)
class Block:
    """A part of a request's input in the order in which the provider reads it, for counting and prompt caching."""

    place: str
    """Where it stands: two requests share a prefix only when its blocks stand in the same places."""
    text: str
    breakpoint: bool = False
    """Whether the client asks to cache what comes before and this."""
    cacheable: bool = True


@dataclass(eq=False)
class WireRequest:
    """One request as it arrived, and what became of it. Times are `time.monotonic()` seconds."""

    index: int
    provider: ProviderName
    model: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    turns: tuple[tuple[str, str], ...]
    """Who said what, in order: `system`, `user`, `assistant`."""
    output: str | None
    """Name of the output tool, or of the response schema; None for a plain text request."""
    schema: dict[str, Any]
    as_tool: bool
    """Whether the answer is the arguments of a tool call; otherwise it is text."""
    blocks: tuple[Block, ...]
    started: float
    port: int = 0
    """The client's port, so its connection."""
    fault: str | None = None
    """The kind of the random fault it got; see `WireProvider.faulty`."""
    events: int = 0
    """SSE events written so far, where they are written one by one."""
    said: int = 0
    """Characters of the answer written so far."""
    first_token: float | None = None
    """When the first event with text of the answer was written."""
    finished: float | None = None
    disconnected: float | None = None
    """When the client closed the connection while the answer was not finished."""
    status: int | None = None
    answered: bool = False
    """The whole answer was written, an error status included. Cut, reset and abandoned answers are not."""
    cached_tokens: int = 0
    """Input that was in the provider's prompt cache when the request arrived."""
    cache_write_tokens: int = 0
    """Input that the request adds to the cache at a breakpoint."""
    billed: Usage = field(default_factory=Usage)
    """What the provider charges: nothing for an error status or a reset; otherwise the input, however the request
    ends, and of the output what was sent."""
    reported: Usage = field(default_factory=Usage)
    """What the events that were sent tell of the usage: all that the client of a broken answer can know."""

    @property
    def prompt(self) -> str:
        """All text of the request: the system prompt, then the messages."""
        return "\n".join(text for _, text in self.turns)

    @property
    def asked(self) -> str:
        """The text up to the first user's turn: without the turns in which an answer is repaired."""
        ends = next((at for at, (who, _) in enumerate(self.turns) if who == "user"), len(self.turns))
        return "\n".join(text for _, text in self.turns[: ends + 1])

    @property
    def repairs(self) -> bool:
        """Whether it shows the model an answer of its own."""
        return any(who == "assistant" for who, _ in self.turns)

    @property
    def input_tokens(self) -> int:
        """All input, tools and schemas included, at four characters a token."""
        return sum(len(block.text) for block in self.blocks) // 4


@dataclass(frozen=True)
class Event:
    """One SSE event of an answer."""

    data: bytes
    said: int = 0
    """Characters of the answer in it."""
    tells: Usage | None = None
    """What it says of the usage so far."""


@dataclass(frozen=True)
class Answer:
    """One scripted answer. Made by the functions below; combine them with `dataclasses.replace`."""

    arguments: Mapping[str, Any] | None = None
    """The tool's arguments; None asks the composer."""
    raw: str | None = None
    """Sent in place of the arguments' JSON."""
    text: str | None = None
    """Sent as plain text, without a tool call."""
    finish: Literal["done", "refused", "blocked", "length"] = "done"
    """`blocked` is Gemini's refusal of the prompt itself and Ollama's content filter; for Anthropic it is `refused`."""
    usage: Usage | None = None
    """None counts four characters a token, with what the prompt cache holds."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    """The provider's name of the error; by default that of the status."""
    message: str = "scripted"
    window: tuple[int, int] | None = None
    """Tokens of the prompt and of the context window that it does not fit: each provider has words of its own."""
    stream_error: int | None = None
    """An error event of this status in the stream, after two events."""
    garbage: bool = False
    """Bytes that are no JSON, inside the stream."""
    reset: bool = False
    """Reset the connection before any answer."""
    delay_s: float = 0.0
    drip_s: float = 0.0
    """Seconds between two events."""
    cut_after: int | None = None
    """Stop after that many events, in the way of `cut`."""
    cut: Literal["reset", "close", "end"] = "close"
    """`end` finishes the HTTP answer properly, though the events lack their end."""
    gate: threading.Event | None = None
    gate_after: int = 0
    """Events before the gate or the pause; 0 holds back even the status line."""
    pause_s: float = 0.0
    """Seconds of silence in the place of the gate."""
    pieces: int = 4
    """Parts the answer's text is streamed in."""
    rewrite: Callable[[list[bytes]], list[bytes]] | None = None
    """Changes the SSE events, for what is not foreseen here."""


_LONG = '{"title": "An answer that never comes to its end, whatever it was about"}'


def ok(arguments: Mapping[str, Any] | None = None, usage: Usage | None = None) -> Answer:
    """The arguments, or what the composer makes of the request."""
    return Answer(arguments=arguments, usage=usage)


def text(words: str = "I would rather talk about it.") -> Answer:
    """Plain text instead of the tool call."""
    return Answer(text=words)


def malformed(raw: str = '{"title": "Half a') -> Answer:
    """Arguments that are no JSON."""
    return Answer(raw=raw)


def misses_schema() -> Answer:
    """Valid JSON that no schema of ours accepts."""
    return Answer(arguments={"unexpected": True})


def refusal(*, blocked: bool = False) -> Answer:
    """Anthropic's stop reason `refusal`, Gemini's `SAFETY`, the `refusal` of an OpenAI message; or the blocked
    prompt."""
    return Answer(raw="", finish="blocked" if blocked else "refused")


def too_long() -> Answer:
    """The answer is cut by the limit of output tokens."""
    return Answer(raw='{"title": "Never fin', finish="length")


def prompt_too_long(tokens: int = 250_000, window: int = 200_000) -> Answer:
    """The prompt does not fit the model's context window, as each provider says it."""
    return Answer(status=400, window=(tokens, window))


def status(code: int, *, retry_after: str | None = None, error: str | None = None) -> Answer:
    """An HTTP error; `retry_after` is sent as it is: seconds, or an HTTP date."""
    return Answer(status=code, error=error, headers={"retry-after": retry_after} if retry_after else {})


def rate_limited(retry_after: str = "7") -> Answer:
    """429."""
    return status(429, retry_after=retry_after)


def rate_limited_by_date(seconds: float = 7) -> Answer:
    """429 with a Retry-After that is a date so many seconds from now, rounded up to a whole one as HTTP wants it."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    if until.microsecond:
        until = until.replace(microsecond=0) + timedelta(seconds=1)
    return rate_limited(format_datetime(until, usegmt=True))


def overloaded() -> Answer:
    """Anthropic's 529; Gemini says 503."""
    return Answer(status=529)


def reset() -> Answer:
    """The connection is reset when the request has arrived."""
    return Answer(reset=True)


def slow(delay_s: float, arguments: Mapping[str, Any] | None = None) -> Answer:
    """Nothing at all for a while, then the answer."""
    return Answer(arguments=arguments, delay_s=delay_s)


def stalled(pause_s: float, arguments: Mapping[str, Any] | None = None, *, after: int = 3) -> Answer:
    """Silence for a while after so many events, then the rest."""
    return Answer(arguments=arguments, pause_s=pause_s, gate_after=after)


def drip(drip_s: float, arguments: Mapping[str, Any] | None = None, *, pieces: int = 8) -> Answer:
    """A pause between any two events."""
    return Answer(arguments=arguments, drip_s=drip_s, pieces=pieces)


def cut(
    after: int, arguments: Mapping[str, Any] | None = None, *, by: Literal["reset", "close", "end"] = "close"
) -> Answer:
    """The stream ends after so many events."""
    return Answer(arguments=arguments, cut_after=after, cut=by)


def hang(gate: threading.Event, *, after: int = 0, arguments: Mapping[str, Any] | None = None) -> Answer:
    """Silence after so many events until the gate opens, then the rest."""
    return Answer(arguments=arguments, gate=gate, gate_after=after)


def stream_error(code: int, *, error: str | None = None) -> Answer:
    """An error event inside a 200 stream."""
    return Answer(raw=_LONG, stream_error=code, error=error)


def garbage() -> Answer:
    """A stream of something else than JSON."""
    return Answer(raw=_LONG, garbage=True)
