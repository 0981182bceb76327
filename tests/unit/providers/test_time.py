"""Silence, cancelling and connections: nothing is asked twice, and what is broken off is closed."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from core.contracts.errors import ErrorType
from core.llm.provider import ModelFailure
from tests.support import wire_messages as far
from tests.support.asking import GOOD, Answer, call_of, limits, opened
from tests.support.wire import WireProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEVER = threading.Event()


@pytest.mark.parametrize(
    ("answer", "allowed", "which", "answered"),
    [
        (far.hang(NEVER, arguments=GOOD), {"first_token": 0.3}, "first_token", False),
        (far.hang(NEVER, arguments=GOOD, after=1), {"first_token": 0.3}, "first_token", True),
        (far.hang(NEVER, arguments=GOOD, after=4), {"between_tokens": 0.2}, "between_tokens", True),
        (far.drip(0.03, GOOD, pieces=60), {"total": 0.3}, "total", True),
        (far.hang(NEVER, arguments=GOOD), {"total": 0.3}, "total", False),
    ],
    ids=["silent", "no token", "pause", "endless", "total first"],
)
async def test_timeout(
    wire: WireProvider, name: str, answer: far.Answer, allowed: dict[str, float], which: str, answered: bool
) -> None:
    if name == "google" and which == "first_token" and answered:
        # The others' first event has no token of itself.
        answer = replace(answer, rewrite=lambda events: [b'data: {"responseId": "r"}\n\n', *events])
    before = len(wire.requests)
    wire.script(answer)
    async with opened(name, wire.url, limits(**allowed)) as provider:
        with pytest.raises(ModelFailure) as caught:
            await provider.ask(call_of(name))
        assert caught.value.type is ErrorType.MODEL_TIMEOUT
        assert caught.value.details["timeout"] == which
        assert caught.value.answered is answered
        # The pool is still open: the call closed its own connection.
        await wire.disconnected(wire.requests[-1])
    assert len(wire.requests) == before + 1


async def test_a_late_first_byte_is_not_asked_twice(wire: WireProvider, name: str) -> None:
    """The 25 s of 30, scaled down: nothing below gives up earlier and sends the request again."""
    before = len(wire.requests)
    wire.script(far.slow(0.5, GOOD))
    async with opened(name, wire.url, limits(first_token=10)) as provider:
        reply = await provider.ask(call_of(name))
    assert reply.output == Answer.model_validate(GOOD)
    assert len(wire.requests) == before + 1


async def test_no_limit_of_the_sdk_is_shorter_than_ours(wire: WireProvider, name: str) -> None:
    """What the client is told of times: reading has no limit of its own, whatever the SDK's default is."""
    seen: list[dict[str, float | None]] = []

    async def look(request: Any) -> None:
        seen.append(request.extensions["timeout"])

    wire.script(far.ok(GOOD))
    async with opened(name, wire.url) as provider:
        hooks = provider._http.event_hooks  # type: ignore[attr-defined]
        provider._http.event_hooks = {**hooks, "request": [*hooks["request"], look]}  # type: ignore[attr-defined]
        await provider.ask(call_of(name))
    assert [timeout["read"] for timeout in seen] == [None]


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_cancel_closes_the_connection(wire: WireProvider, name: str, after: int) -> None:
    before = len(wire.requests)
    wire.script(far.hang(NEVER, arguments=GOOD, after=after))
    async with opened(name, wire.url) as provider:
        asking = asyncio.create_task(provider.ask(call_of(name)))
        request = await wire.received(before + 1)
        await asyncio.to_thread(wire.wait_until, lambda: request.events == after)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert connections(provider) == 0
        await wire.disconnected(request)
    assert not request.answered


def connections(provider: Any) -> int:
    """Connections in the pool, idle ones included."""
    return len(provider._http._transport._pool.connections)


async def test_connections_are_reused(wire: WireProvider, name: str) -> None:
    async with opened(name, wire.url) as provider:
        for _ in range(3):
            wire.script(far.ok(GOOD))
            await provider.ask(call_of(name))
        assert connections(provider) == 1
        assert len({request.port for request in wire.requests[-3:]}) == 1
