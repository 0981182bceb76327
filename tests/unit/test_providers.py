"""Both providers over real HTTP against the scripted far end: one request a call, and every failure typed."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from core.contracts.errors import ErrorType
from core.contracts.llm import Usage
from core.llm.claude import AnthropicProvider
from core.llm.gemini import GoogleProvider
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Reply
from core.llm.streaming import Timeouts
from tests.support import wire_messages as far
from tests.support.wire import WireProvider

E = ErrorType
USAGE = Usage(input_tokens=1_000, output_tokens=50, cached_tokens=400)
GOOD = {"title": "Of lighthouses", "points": ["one", "two"]}


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(min_length=3)
    points: list[str]


CALL = Call(
    model="some-model", prompt=Prompt("test", 1, "Be <brief>.", "Name </it>."), output=Answer, max_output_tokens=99
)
MODELS = {"anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}
CLASSES: dict[str, type[AnthropicProvider] | type[GoogleProvider]] = {
    "anthropic": AnthropicProvider,
    "google": GoogleProvider,
}


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    with WireProvider() as started:
        yield started
    started.assert_clean()
    assert started.pending == 0


@asynccontextmanager
async def opened(name: str, url: str, timeouts: Timeouts | None = None) -> AsyncIterator[Provider]:
    provider = CLASSES[name]("a-key", url, timeouts or Timeouts())
    try:
        yield provider
    finally:
        await provider.aclose()


@pytest.fixture(params=["anthropic", "google"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Ask = Callable[..., Awaitable[Reply[Answer]]]


@pytest.fixture
async def ask(wire: WireProvider, name: str) -> AsyncIterator[Ask]:
    """Script one answer, ask once."""
    async with opened(name, wire.url) as provider:

        async def asking(answer: far.Answer) -> Reply[Answer]:
            wire.script(answer)
            return await provider.ask(call_of(name))

        yield asking


def call_of(name: str) -> Call[Answer]:
    return Call(MODELS[name], CALL.prompt, Answer, CALL.max_output_tokens)


async def failure(asking: Awaitable[Reply[Answer]]) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await asking
    return caught.value


# Answers.


async def test_answer_with_usage_and_first_token(wire: WireProvider, ask: Ask, name: str) -> None:
    reply = await ask(far.ok(GOOD, USAGE))
    assert reply.output == Answer.model_validate(GOOD)
    assert reply.usage == USAGE
    assert reply.first_token is not None
    assert timedelta(0) < reply.first_token < timedelta(seconds=10)
    assert not reply.simulated
    (request,) = wire.requests
    assert (request.provider, request.model, request.output) == (name, MODELS[name], "Answer")
    assert request.prompt == "Be <brief>.\nName </it>."
    assert request.answered
    assert request.stream


async def test_first_token_is_measured(ask: Ask) -> None:
    reply = await ask(far.slow(0.2, GOOD))
    assert reply.first_token is not None
    assert timedelta(seconds=0.2) <= reply.first_token < timedelta(seconds=2)


async def test_answer_in_drops(ask: Ask) -> None:
    reply = await ask(far.drip(0.01, GOOD, pieces=30))
    assert reply.output == Answer.model_validate(GOOD)


async def test_anthropic_request(wire: WireProvider) -> None:
    wire.script(far.ok(GOOD))
    async with opened("anthropic", wire.url) as provider:
        await provider.ask(call_of("anthropic"))
    body = wire.requests[0].body
    assert body["max_tokens"] == 99
    assert body["tool_choice"]["type"] in ("any", "tool")
    assert [tool["name"] for tool in body["tools"]] == ["Answer"]
    # Without it the API buffers a long string value, and the stream is silent meanwhile.
    assert body["tools"][0]["eager_input_streaming"] is True
    assert "thinking" not in body
    assert wire.requests[0].headers["x-stainless-retry-count"] == "0"
    assert "a-key" in wire.requests[0].headers["authorization"]


async def test_google_request(wire: WireProvider) -> None:
    wire.script(far.ok(GOOD))
    async with opened("google", wire.url) as provider:
        await provider.ask(call_of("google"))
    config = wire.requests[0].body["generationConfig"]
    assert config["maxOutputTokens"] == 99
    assert config["responseMimeType"] == "application/json"
    assert set(config["responseJsonSchema"]["properties"]) == {"title", "points"}
    assert config["thinkingConfig"] == {"thinking_budget": 0}
    assert wire.requests[0].headers["x-goog-api-key"] == "a-key"


async def test_asking_twice_sends_the_same(wire: WireProvider, ask: Ask) -> None:
    for _ in range(2):
        await ask(far.ok(GOOD))
    assert wire.requests[0].body == wire.requests[1].body


async def test_hundred_calls_at_once(wire: WireProvider, name: str) -> None:
    gate = threading.Event()
    wire.script(*[far.hang(gate, arguments=GOOD)] * 100)
    async with opened(name, wire.url) as provider:
        asking = [asyncio.create_task(provider.ask(call_of(name))) for _ in range(100)]
        await wire.received(100)
        gate.set()
        replies = await asyncio.gather(*asking)
    assert len(replies) == 100
    assert len(wire.requests) == 100


# Failures.

STATUSES = [
    (400, E.MODEL_BAD_REQUEST),
    (401, E.MODEL_AUTH),
    (403, E.MODEL_AUTH),
    (404, E.MODEL_BAD_REQUEST),
    (413, E.PROMPT_TOO_LONG),
    (422, E.MODEL_BAD_REQUEST),
    (429, E.RATE_LIMITED),
    (500, E.PROVIDER_ERROR),
    (502, E.PROVIDER_ERROR),
    (503, E.OVERLOADED),
    (504, E.PROVIDER_ERROR),
    (529, E.OVERLOADED),
    (302, E.PROVIDER_ERROR),
]


@pytest.mark.parametrize(("code", "kind"), STATUSES)
async def test_status(wire: WireProvider, ask: Ask, code: int, kind: ErrorType) -> None:
    failed = await failure(ask(far.status(code)))
    assert failed.type is kind
    assert failed.answered
    assert failed.usage == Usage()
    assert failed.retry_after is None
    assert len(wire.requests) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_seconds(ask: Ask, code: int) -> None:
    failed = await failure(ask(far.status(code, retry_after="17")))
    assert failed.retry_after == timedelta(seconds=17)


async def test_retry_after_date(ask: Ask) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    failed = await failure(ask(far.rate_limited(date)))
    assert failed.retry_after is not None
    assert timedelta(seconds=40) < failed.retry_after <= timedelta(seconds=50)


@pytest.mark.parametrize("header", ["86400", "99999999999999"])
async def test_a_provider_that_asks_for_a_day_is_given_up(ask: Ask, header: str) -> None:
    failed = await failure(ask(far.rate_limited(header)))
    assert (failed.type, failed.retry_after, failed.final) == (E.RATE_LIMITED, None, True)


async def test_an_answer_with_a_nul_is_not_taken(ask: Ask) -> None:
    failed = await failure(ask(far.ok({"title": "a\x00b", "points": ["x"]})))
    assert failed.type is E.OUTPUT_INVALID
    assert "NUL" in failed.message


@pytest.mark.parametrize("header", ["soon", "-3"])
async def test_retry_after_that_says_nothing(ask: Ask, header: str) -> None:
    assert (await failure(ask(far.rate_limited(header)))).retry_after is None


ANSWERS: list[tuple[str, far.Answer, ErrorType]] = [
    ("text", far.text(), E.OUTPUT_INVALID),
    ("malformed", far.malformed(), E.OUTPUT_INVALID),
    ("misses_schema", far.misses_schema(), E.OUTPUT_INVALID),
    ("nothing", far.Answer(raw=""), E.OUTPUT_INVALID),
    ("too_long", far.too_long(), E.OUTPUT_INVALID),
    ("garbage", far.garbage(), E.OUTPUT_INVALID),
    ("refusal", far.refusal(), E.MODEL_REFUSED),
    ("blocked", far.refusal(blocked=True), E.MODEL_REFUSED),
    ("rate limit in the stream", far.stream_error(429), E.RATE_LIMITED),
    ("overloaded in the stream", far.stream_error(529), E.OVERLOADED),
    ("error in the stream", far.stream_error(500), E.PROVIDER_ERROR),
    ("cut before any event", far.cut(0, GOOD), E.STREAM_CUT),
    ("ended before any event", far.cut(0, GOOD, by="end"), E.STREAM_CUT),
    ("closed mid-answer", far.cut(3, GOOD), E.STREAM_CUT),
    ("reset mid-answer", far.cut(3, GOOD, by="reset"), E.STREAM_CUT),
    ("ended mid-answer", far.cut(3, GOOD, by="end"), E.STREAM_CUT),
]


@pytest.mark.parametrize(("answer", "kind"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
async def test_answer_that_fails(wire: WireProvider, ask: Ask, answer: far.Answer, kind: ErrorType) -> None:
    failed = await failure(ask(answer))
    assert failed.type is kind
    assert failed.answered
    assert len(wire.requests) == 1


async def test_usage_of_an_invalid_answer_is_kept(ask: Ask) -> None:
    failed = await failure(ask(far.Answer(arguments={"title": "ab", "points": [1]}, usage=USAGE)))
    assert failed.usage == USAGE
    assert failed.details["errors"] == [
        "title: String should have at least 3 characters",
        "points.0: Input should be a valid string",
    ]


async def test_usage_of_a_refusal_is_kept(ask: Ask) -> None:
    assert (await failure(ask(far.Answer(raw="", finish="refused", usage=USAGE)))).usage == USAGE


async def test_limit_of_output_tokens_is_said(ask: Ask) -> None:
    failed = await failure(ask(far.too_long()))
    assert "99 output tokens" in failed.message


async def test_unknown_error_event(wire: WireProvider) -> None:
    wire.script(far.stream_error(500, error="brand_new_error"))
    async with opened("anthropic", wire.url) as provider:
        failed = await failure(provider.ask(call_of("anthropic")))
    assert failed.type is E.PROVIDER_ERROR


async def test_page_instead_of_a_stream(ask: Ask) -> None:
    page = far.Answer(raw="", headers={"content-type": "text/html"}, rewrite=lambda _: [b"<html>Please sign in</html>"])
    assert (await failure(ask(page))).type is E.OUTPUT_INVALID


async def test_reset_before_the_answer(wire: WireProvider, ask: Ask) -> None:
    failed = await failure(ask(far.reset()))
    assert failed.type is E.PROVIDER_UNREACHABLE
    assert not failed.answered
    assert len(wire.requests) == 1


async def test_nobody_listens(name: str) -> None:
    async with opened(name, "http://127.0.0.1:9") as provider:
        failed = await failure(provider.ask(call_of(name)))
    assert failed.type is E.PROVIDER_UNREACHABLE
    assert not failed.answered


async def test_long_decode_is_not_continued(wire: WireProvider) -> None:
    """google-genai resumes a stopped stream by another paid request, whatever its retry options say."""

    def checkpoint(events: list[bytes]) -> list[bytes]:
        return [event.replace(b'"index":0', b'"index":0,"continuationToken":"dG9rZW4="') for event in events]

    wire.script(far.Answer(arguments=GOOD, cut_after=3, rewrite=checkpoint))
    async with opened("google", wire.url) as provider:
        failed = await failure(provider.ask(call_of("google")))
    assert failed.type is E.STREAM_CUT
    assert failed.answered
    assert len(wire.requests) == 1


# Time.


@pytest.mark.parametrize(
    ("answer", "limits", "which", "answered"),
    [
        (far.hang(threading.Event(), arguments=GOOD), {"first_token": 0.3}, "first_token", False),
        (far.hang(threading.Event(), arguments=GOOD, after=1), {"first_token": 0.3}, "first_token", True),
        (far.hang(threading.Event(), arguments=GOOD, after=4), {"between_tokens": 0.2}, "between_tokens", True),
        (far.drip(0.03, GOOD, pieces=60), {"total": 0.3}, "total", True),
        (far.hang(threading.Event(), arguments=GOOD), {"total": 0.3}, "total", False),
    ],
    ids=["silent", "no token", "pause", "endless", "total first"],
)
async def test_timeout(
    wire: WireProvider, name: str, answer: far.Answer, limits: dict[str, float], which: str, answered: bool
) -> None:
    if name == "google" and which == "first_token" and answered:
        # Anthropic's first event has no token of itself.
        answer = replace(answer, rewrite=lambda events: [b'data: {"responseId": "r"}\n\n', *events])
    wire.script(answer)
    timeouts = Timeouts(**{key: timedelta(seconds=value) for key, value in limits.items()})
    async with opened(name, wire.url, timeouts) as provider:
        failed = await failure(provider.ask(call_of(name)))
        assert failed.type is E.MODEL_TIMEOUT
        assert failed.details["timeout"] == which
        assert failed.answered is answered
        # The pool is still open: the call closed its own connection.
        await wire.disconnected(wire.requests[0])
    assert len(wire.requests) == 1


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_cancel_closes_the_connection(wire: WireProvider, name: str, after: int) -> None:
    wire.script(far.hang(threading.Event(), arguments=GOOD, after=after))
    async with opened(name, wire.url) as provider:
        asking = asyncio.create_task(provider.ask(call_of(name)))
        request = await wire.received()
        await asyncio.to_thread(wire.wait_until, lambda: request.events == after)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert provider_connections(provider) == 0
        await wire.disconnected(request)
    assert not request.answered


def provider_connections(provider: Any) -> int:
    """Connections in the pool, idle ones included."""
    return len(provider._http._transport._pool.connections)


async def test_connections_are_reused(wire: WireProvider, name: str) -> None:
    async with opened(name, wire.url) as provider:
        for _ in range(3):
            wire.script(far.ok(GOOD))
            await provider.ask(call_of(name))
        assert provider_connections(provider) == 1
        assert len({request.port for request in wire.requests}) == 1


async def test_error_of_our_own_is_not_disguised(
    wire: WireProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(name, wire.url) as provider:

        def broken(self: object, model: str) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(provider), "_build_model", broken)
        with pytest.raises(ZeroDivisionError):
            await provider.ask(call_of(name))
