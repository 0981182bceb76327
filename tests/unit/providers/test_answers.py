"""What the providers send and what they make of good answers, over real HTTP against the scripted far end."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from core.contracts.llm import Usage
from core.contracts.models import entry
from core.llm.provider import Prompt, Repair
from tests.support import wire_messages as far
from tests.support.asking import GOOD, KEY, MODELS, PROMPT, USAGE, Answer, Asker, call_of, opened
from tests.support.wire import WireProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_answer_with_usage_and_first_token(asker: Asker) -> None:
    reply = await asker.ask(far.ok(GOOD, USAGE))
    assert reply.output == Answer.model_validate(GOOD)
    assert reply.usage == USAGE
    assert reply.first_token is not None
    assert timedelta(0) < reply.first_token < timedelta(seconds=10)
    assert not reply.simulated
    request = asker.request
    assert (request.provider, request.model, request.output) == (asker.name, MODELS[asker.name], "Answer")
    assert request.prompt == "Be <brief>.\nName </it>."
    assert request.answered
    assert request.stream


async def test_first_token_is_measured(asker: Asker) -> None:
    reply = await asker.ask(far.slow(0.2, GOOD))
    assert reply.first_token is not None
    assert timedelta(seconds=0.2) <= reply.first_token < timedelta(seconds=5)


async def test_usage_of_all_kinds(asker: Asker) -> None:
    used = Usage(input_tokens=1_000, output_tokens=50, cached_tokens=400, reasoning_tokens=7)
    if asker.name == "anthropic":
        used = used.model_copy(update={"cache_write_tokens": 300})
    assert (await asker.ask(far.ok(GOOD, used))).usage == used


async def test_what_was_used_of_an_answer_that_broke_off(asker: Asker) -> None:
    failed = await asker.fail(far.Answer(arguments=GOOD, usage=USAGE, cut_after=3))
    assert failed.usage == asker.request.reported
    if asker.name == "anthropic":
        assert failed.usage.input_tokens == USAGE.input_tokens


async def test_answer_in_drops(asker: Asker) -> None:
    reply = await asker.ask(far.drip(0.005, GOOD, pieces=30))
    assert reply.output == Answer.model_validate(GOOD)


async def test_asking_twice_sends_the_same(asker: Asker) -> None:
    await asker.ask(far.ok(GOOD))
    first = asker.request.body
    await asker.ask(far.ok(GOOD))
    assert asker.request.body == first


async def test_what_each_protocol_is_sent(asker: Asker) -> None:
    await asker.ask(far.ok(GOOD))
    body, headers = asker.request.body, asker.request.headers
    if asker.name == "anthropic":
        assert body["max_tokens"] == 99
        assert body["tool_choice"]["type"] in ("any", "tool")
        assert [tool["name"] for tool in body["tools"]] == ["Answer"]
        # Without it the API buffers a long string value, and the stream is silent meanwhile.
        assert body["tools"][0]["eager_input_streaming"] is True
        assert "thinking" not in body
        assert headers["x-stainless-retry-count"] == "0"
        assert KEY in headers["authorization"]
    elif asker.name == "google":
        config = body["generationConfig"]
        assert config["maxOutputTokens"] == 99
        assert config["responseMimeType"] == "application/json"
        assert set(config["responseJsonSchema"]["properties"]) == {"title", "points"}
        assert config["thinkingConfig"] == {"thinking_budget": 0}
        assert headers["x-goog-api-key"] == KEY
    else:
        # Ollama knows no `max_completion_tokens`, and thinks unless it is told not to.
        assert (body["max_tokens"], body["reasoning_effort"]) == (99, "none")
        assert "max_completion_tokens" not in body
        assert body["response_format"]["type"] == "json_schema"
        assert set(asker.request.schema["properties"]) == {"title", "points"}
        assert body["stream_options"] == {"include_usage": True}
        assert headers["x-stainless-retry-count"] == "0"


async def test_no_more_is_asked_for_than_the_model_can_say(asker: Asker) -> None:
    await asker.ask(far.ok(GOOD), max_output_tokens=10_000_000)
    body = asker.request.body
    asked = body["generationConfig"]["maxOutputTokens"] if asker.name == "google" else body["max_tokens"]
    assert asked == entry(f"{asker.name}:{MODELS[asker.name]}").max_output


async def test_nothing_of_the_environment_is_sent_to_ollama(
    wire: WireProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OLLAMA_API_KEY"):
        monkeypatch.setenv(variable, "of-the-environment")
    wire.script(far.ok(GOOD))
    async with opened("ollama", wire.url) as provider:
        await provider.ask(call_of("ollama"))
    assert "of-the-environment" not in json.dumps(wire.requests[-1].headers)


async def test_fifty_calls_at_once(asker: Asker) -> None:
    gate, before = threading.Event(), len(asker.wire.requests)
    asker.wire.script(*[far.hang(gate, arguments=GOOD)] * 50)
    asking = [asyncio.create_task(asker.provider.ask(call_of(asker.name))) for _ in range(50)]
    await asker.wire.received(before + 50)
    gate.set()
    assert len(await asyncio.gather(*asking)) == 50
    assert len(asker.wire.requests) == before + 50


# A repair shows the model its answer and what is wrong with it.


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(far.Answer(arguments={"title": "ab", "points": [1]}), id="misses"),
        pytest.param(far.malformed('{"title": "Half a'), id="no JSON"),
        pytest.param(far.text("I would rather talk about it."), id="text"),
    ],
)
async def test_an_answer_that_will_not_do_can_be_repaired(asker: Asker, answer: far.Answer) -> None:
    failed = await asker.fail(answer)
    said = answer.text or answer.raw or json.dumps(answer.arguments)
    assert failed.refused is not None
    assert failed.refused.replace(" ", "") == said.replace(" ", "")
    errors = failed.details["errors"]
    assert errors
    reply = await asker.ask(far.ok(GOOD), repair=Repair(failed.refused, tuple(errors)))
    assert reply.output == Answer.model_validate(GOOD)
    asked, *turns = [turn for turn in asker.request.turns if turn[0] != "system"]
    assert asked == ("user", PROMPT.user)
    assert [who for who, _ in turns] == ["assistant", "user"]
    assert turns[0][1] == failed.refused
    assert all(f"- {error}" in turns[1][1] for error in errors)
    assert "whole answer again" in turns[1][1]
    assert asker.request.output == "Answer"


async def test_an_answer_without_a_word_is_not_shown_again(asker: Asker) -> None:
    failed = await asker.fail(far.Answer(raw=""))
    assert failed.refused == ""
    await asker.ask(far.ok(GOOD), repair=Repair("", tuple(failed.details["errors"])))
    assert "assistant" not in {who for who, _ in asker.request.turns}
    assert "whole answer again" in asker.request.prompt


async def test_a_refused_answer_can_be_stored(asker: Asker) -> None:
    failed = await asker.fail(far.text("half \ud83d of one, \x00 and nothing"))
    assert failed.refused is not None
    assert "\x00" not in failed.refused
    assert failed.refused.encode()


# Text that is still being written.


async def test_watch_hears_the_answer_grow(asker: Asker) -> None:
    heard: list[str] = []

    def watch(answer: Callable[[], str | None]) -> None:
        heard.append(answer() or "")

    await asker.ask(far.drip(0.005, GOOD, pieces=6), watch=watch)
    whole = json.dumps(GOOD)
    assert heard[-1] == whole
    assert all(later.startswith(earlier) for earlier, later in pairwise(heard) if earlier != "{}")
    assert len({said for said in heard if said not in ("", "{}", whole)}) >= 4


async def test_watch_makes_no_answer_that_nobody_wants(asker: Asker) -> None:
    heard = 0

    def watch(answer: Callable[[], str | None]) -> None:
        nonlocal heard
        heard += 1

    await asker.ask(far.drip(0.005, GOOD, pieces=6), watch=watch)
    assert heard >= 6


# What calls share is a stable beginning.

SHARED = "All that the calls have in common. " * 200
FIRST = Prompt("test", 1, "Be brief.", "Name the first.", shared=SHARED)


async def test_what_is_shared_stands_before_the_rest(asker: Asker) -> None:
    await asker.ask(far.ok(GOOD), prompt=FIRST)
    (said,) = ["".join(text) for who, text in asker.request.turns if who == "user"]
    assert said.startswith(SHARED)
    assert said.removeprefix(SHARED).strip() == "Name the first."


async def test_later_calls_find_the_beginning_in_the_cache(asker: Asker) -> None:
    shared = f"Of {asker.name}. {SHARED}"
    first = await asker.ask(far.ok(GOOD), prompt=Prompt("test", 1, "Be brief.", "Name the first.", shared=shared))
    second = await asker.ask(far.ok(GOOD), prompt=Prompt("test", 1, "Be brief.", "Now the second.", shared=shared))
    assert first.usage.cached_tokens == 0
    if asker.name == "ollama":
        # It keeps a beginning in memory, bills nothing, and tells nothing of it.
        assert second.usage.cached_tokens == 0
    else:
        assert second.usage.cached_tokens >= len(SHARED) // 4 * 0.9
    if asker.name == "anthropic":
        assert first.usage.cache_write_tokens >= len(SHARED) // 4
        assert second.usage.cache_write_tokens == 0


async def test_anthropic_marks_what_is_shared_and_nothing_else(wire: WireProvider) -> None:
    async with opened("anthropic", wire.url) as provider:
        wire.script(far.ok(GOOD), far.ok(GOOD))
        await provider.ask(call_of("anthropic", prompt=FIRST))
        await provider.ask(call_of("anthropic"))
    shared, alone = wire.requests[-2:]
    assert [block.text.strip() for block in shared.blocks if block.breakpoint] == ["Be brief.", SHARED.strip()]
    # To write to the cache costs a quarter more, so a call that shares nothing does not.
    assert not [block for block in alone.blocks if block.breakpoint]
    body = json.dumps(shared.body)
    assert body.count('"cache_control"') == 2
