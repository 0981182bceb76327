"""What a protocol of the fake far end must be able to do, and what the protocols share."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.contracts.llm import Usage
from tests.support.wire_messages import Answer, Event, ProviderName, WireRequest


@dataclass(frozen=True)
class Arrived:
    """A request before its protocol is known."""

    index: int
    headers: dict[str, str]
    body: dict[str, Any]
    started: float


class Dialect(ABC):
    """One provider's protocol."""

    name: ProviderName

    @abstractmethod
    def recognises(self, route: str) -> bool:
        """Whether requests of this protocol come to that path, which has no query."""

    @abstractmethod
    def read(self, route: str, query: str, arrived: Arrived) -> WireRequest:
        """The request of a route that it recognises."""

    def objection(self, request: WireRequest) -> str | None:
        """Why the provider refuses the request whatever is scripted, or None."""
        return None

    @abstractmethod
    def whole(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> dict[str, Any]:
        """The answer that is not streamed; `said` is the JSON of the arguments, or text."""

    @abstractmethod
    def events(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> list[Event]:
        """The answer as SSE events."""

    @abstractmethod
    def error(self, code: int, answer: Answer) -> dict[str, Any]:
        """The body of an error answer, or the data of an error event."""

    def error_event(self, code: int, answer: Answer) -> bytes:
        """An error inside a stream."""
        return sse(self.error(code, answer))


def dump(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def sse(value: Any) -> bytes:
    """An event without a name."""
    return b"data: " + dump(value).encode() + b"\n\n"


def parsed(said: str) -> Any:
    """What the JSON says; an empty object where it is none."""
    try:
        return json.loads(said)
    except ValueError:
        return {}


def pieces(said: str, count: int) -> list[str]:
    """A text in so many parts at most."""
    size = max(1, -(-len(said) // count))
    return [said[i : i + size] for i in range(0, len(said), size)]


def texts(node: Any) -> Iterator[str]:
    """Every text below a message, a list of blocks or a string; a tool call is its arguments' JSON."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from texts(item)
    elif isinstance(node, dict):
        if "input" in node:
            yield dump(node["input"])
        for key in ("text", "content", "parts"):
            yield from texts(node.get(key))
