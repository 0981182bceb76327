"""Every way in which a call fails, at every provider, over real HTTP: one request, and the failure typed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.contracts.errors import ErrorType, of_status
from core.contracts.llm import Usage
from core.contracts.models import context_window
from core.llm.provider import ModelFailure, Provider
from tests.support import wire_messages as far
from tests.support.asking import GOOD, MODELS, USAGE, Asker, call_of, opened
from tests.support.wire import WireProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")
E = ErrorType

STATUSES = [
    (400, E.MODEL_BAD_REQUEST),
    (401, E.MODEL_AUTH),
    (402, E.RATE_LIMITED),
    (403, E.MODEL_AUTH),
    (404, E.MODEL_BAD_REQUEST),
    (408, E.PROVIDER_ERROR),
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
async def test_status(asker: Asker, code: int, kind: ErrorType) -> None:
    failed = await asker.fail(far.status(code))
    assert failed.type is kind
    assert failed.answered
    assert failed.usage == Usage()
    assert failed.retry_after is None
    assert failed.details["status"] == code
    # What is used up does not come back by waiting.
    assert failed.final == (code == 402)


async def test_the_table_of_statuses_says_the_same() -> None:
    told_by_more = {402}
    assert all(of_status(code) is kind for code, kind in STATUSES if code not in told_by_more)


@pytest.mark.parametrize("code", [429, 503, 529])
async def test_retry_after_seconds(asker: Asker, code: int) -> None:
    failed = await asker.fail(far.status(code, retry_after="17"))
    assert failed.retry_after == timedelta(seconds=17)


async def test_retry_after_part_of_a_second(asker: Asker) -> None:
    assert (await asker.fail(far.rate_limited("1.5"))).retry_after == timedelta(seconds=1.5)


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_date(asker: Asker, code: int) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    failed = await asker.fail(far.status(code, retry_after=date))
    assert failed.retry_after is not None
    assert timedelta(seconds=40) < failed.retry_after <= timedelta(seconds=50)


async def test_a_date_that_is_past_is_no_wait(asker: Asker) -> None:
    failed = await asker.fail(far.rate_limited("Wed, 21 Oct 2015 07:28:00 GMT"))
    assert (failed.retry_after, failed.final) == (timedelta(0), False)


@pytest.mark.parametrize("header", ["86400", "99999999999999"])
async def test_a_provider_that_asks_for_a_day_is_given_up(asker: Asker, header: str) -> None:
    failed = await asker.fail(far.rate_limited(header))
    assert (failed.type, failed.retry_after, failed.final) == (E.RATE_LIMITED, None, True)


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "inf"])
async def test_retry_after_that_says_nothing(asker: Asker, header: str) -> None:
    failed = await asker.fail(far.rate_limited(header))
    assert (failed.retry_after, failed.final) == (None, False)


async def test_prompt_too_long(asker: Asker) -> None:
    failed = await asker.fail(far.prompt_too_long())
    assert failed.type is E.PROMPT_TOO_LONG
    assert failed.details["context_window"] == context_window(f"{asker.name}:{MODELS[asker.name]}")


async def test_no_room_for_the_answer(wire: WireProvider) -> None:
    def full(events: list[bytes]) -> list[bytes]:
        return [event.replace(b'"max_tokens"', b'"model_context_window_exceeded"') for event in events]

    wire.script(replace(far.too_long(), rewrite=full))
    async with opened("anthropic", wire.url) as provider:
        failed = await failure(provider, "anthropic")
    assert failed.type is E.PROMPT_TOO_LONG
    assert failed.details["context_window"] == 200_000


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
async def test_answer_that_fails(asker: Asker, answer: far.Answer, kind: ErrorType) -> None:
    failed = await asker.fail(answer)
    assert failed.type is kind
    assert failed.answered
    # Only an answer that is all there is worth showing.
    assert failed.refused is None or kind is E.OUTPUT_INVALID


async def test_usage_of_an_invalid_answer_is_kept(asker: Asker) -> None:
    failed = await asker.fail(far.Answer(arguments={"title": "ab", "points": [1]}, usage=USAGE))
    assert failed.usage == USAGE
    assert failed.details["errors"] == [
        "title: String should have at least 3 characters",
        "points.0: Input should be a valid string",
    ]


async def test_usage_of_a_refusal_is_kept(asker: Asker) -> None:
    assert (await asker.fail(far.Answer(raw="", finish="refused", usage=USAGE))).usage == USAGE


async def test_an_answer_with_a_nul_is_not_taken(asker: Asker) -> None:
    failed = await asker.fail(far.ok({"title": "a\x00b", "points": ["x"]}))
    assert failed.type is E.OUTPUT_INVALID
    assert "NUL" in failed.message


async def test_limit_of_output_tokens_is_said(asker: Asker) -> None:
    failed = await asker.fail(far.too_long())
    assert "99 output tokens" in failed.message
    assert "99 output tokens" in failed.details["errors"][0]
    assert failed.refused


async def test_page_instead_of_a_stream(asker: Asker) -> None:
    page = far.Answer(raw="", headers={"content-type": "text/html"}, rewrite=lambda _: [b"<html>Please sign in</html>"])
    assert (await asker.fail(page)).type is E.OUTPUT_INVALID


async def test_reset_before_the_answer(asker: Asker) -> None:
    failed = await asker.fail(far.reset())
    assert failed.type is E.PROVIDER_UNREACHABLE
    assert not failed.answered


async def test_nobody_listens(name: str) -> None:
    async with opened(name, "http://127.0.0.1:9") as provider:
        failed = await failure(provider, name)
    assert failed.type is E.PROVIDER_UNREACHABLE
    assert not failed.answered


async def failure(provider: Provider, name: str) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await provider.ask(call_of(name))
    return caught.value


async def test_unknown_error_event(wire: WireProvider) -> None:
    wire.script(far.stream_error(500, error="brand_new_error"))
    async with opened("anthropic", wire.url) as provider:
        assert (await failure(provider, "anthropic")).type is E.PROVIDER_ERROR


async def test_long_decode_is_not_continued(wire: WireProvider) -> None:
    """google-genai resumes a stopped stream by another paid request, whatever its retry options say."""

    def checkpoint(events: list[bytes]) -> list[bytes]:
        return [event.replace(b'"index":0', b'"index":0,"continuationToken":"dG9rZW4="') for event in events]

    before = len(wire.requests)
    wire.script(far.Answer(arguments=GOOD, cut_after=3, rewrite=checkpoint))
    async with opened("google", wire.url) as provider:
        failed = await failure(provider, "google")
    assert failed.type is E.STREAM_CUT
    assert failed.answered
    assert len(wire.requests) == before + 1


async def test_error_of_our_own_is_not_disguised(
    wire: WireProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(name, wire.url) as provider:

        def broken(self: object, model: str) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(provider), "_build_model", broken)
        with pytest.raises(ZeroDivisionError):
            await provider.ask(call_of(name))
