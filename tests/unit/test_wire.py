"""The fake far end itself: it captures, matches, composes, notices who hangs up, and fails what nobody scripted."""

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
from pydantic import TypeAdapter

from core.contracts.llm import Usage
from core.contracts.longform import OutlineAnswer, SectionAnswer
from tests.support import wire_messages as far
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer
from tests.support.wire_faults import FAULTS


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    with WireProvider() as started:
        yield started


def ask(
    wire: WireProvider, prompt: str = "hello", model: str = "m", output: type[Any] = SectionAnswer, stream: bool = False
) -> httpx2.Response:
    body = {
        "model": model,
        "stream": stream,
        "system": "be brief",
        "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
        "tools": [{"name": output.__name__, "input_schema": TypeAdapter(output).json_schema()}],
    }
    return httpx2.post(f"{wire.url}/v1/messages", json=body, timeout=10)


def ask_ollama(
    wire: WireProvider, prompt: str = "hello", model: str = "llama3.2", stream: bool = False, **more: Any
) -> httpx2.Response:
    schema = {"name": "SectionAnswer", "schema": SectionAnswer.model_json_schema()}
    body = {
        "model": model,
        "stream": stream,
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": prompt}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        **more,
    }
    return httpx2.post(f"{wire.url}/v1/chat/completions", json=body, timeout=10)


def ask_gemini(wire: WireProvider, prompt: str = "hello", stream: bool = False) -> httpx2.Response:
    config = {"responseJsonSchema": SectionAnswer.model_json_schema()}
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": config}
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return httpx2.post(f"{wire.url}/v1beta/models/gem:{method}", json=body, timeout=10)


def test_request_is_captured(wire: WireProvider) -> None:
    wire.script(far.ok({"markdown": "x"}))
    answer = ask(wire, "hello").json()
    assert answer["content"][0]["input"] == {"markdown": "x"}
    (request,) = wire.requests
    assert (request.provider, request.model, request.output) == ("anthropic", "m", "SectionAnswer")
    assert request.prompt == "be brief\nhello"
    assert request.answered
    assert request.status == 200
    assert request.finished is not None
    assert request.finished >= request.started
    wire.assert_clean()


def test_all_protocols_without_streaming(wire: WireProvider) -> None:
    wire.script(far.text("local"), provider="ollama")
    wire.script(far.text("plain"), provider="google")
    wire.script(far.text("words"), provider="anthropic")
    assert ask(wire).json()["content"] == [{"type": "text", "text": "words"}]
    assert ask_gemini(wire).json()["candidates"][0]["content"]["parts"] == [{"text": "plain"}]
    assert ask_ollama(wire).json()["choices"][0]["message"] == {"role": "assistant", "content": "local"}


def test_first_matching_answer_is_taken(wire: WireProvider) -> None:
    wire.script(far.status(500), model="other")
    wire.script(far.status(401), prompt="needle")
    wire.script(far.status(403), output="OutlineAnswer")
    wire.script(far.status(413))
    assert ask(wire, output=OutlineAnswer).status_code == 403
    assert ask(wire, "a needle in it").status_code == 401
    assert ask(wire).status_code == 413
    assert wire.pending == 1


def test_unscripted_request_fails_the_test(wire: WireProvider) -> None:
    assert ask(wire).status_code == 500
    assert len(wire.unscripted) == 1
    with pytest.raises(AssertionError, match="unscripted"):
        wire.assert_clean()


def test_composer_that_fails_is_reported(wire: WireProvider) -> None:
    wire.composer = longform_composer
    with pytest.raises(httpx2.TransportError):
        ask(wire, output=int)
    with pytest.raises(AssertionError, match="no schema like"):
        wire.assert_clean()


def test_client_that_hangs_up_is_noticed(wire: WireProvider) -> None:
    gate = threading.Event()
    wire.script(far.hang(gate, arguments={}))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{wire.url}/v1/messages", json={"model": "m", "messages": []}, timeout=0.05)
    request = wire.wait_for_request(lambda r: r.model == "m")
    wire.wait_for_disconnect(request)
    assert not request.answered
    with pytest.raises(TimeoutError):
        wire.wait_for_request(2, timeout=0.01)


async def test_waits_from_an_event_loop(wire: WireProvider) -> None:
    gate = threading.Event()
    wire.script(far.hang(gate, arguments={"markdown": "late"}))
    thread = threading.Thread(target=ask, args=(wire,))
    thread.start()
    request = await wire.received()
    assert not request.answered
    gate.set()
    thread.join(10)
    assert request.answered


# Ollama.


def test_ollama_request_is_captured(wire: WireProvider) -> None:
    wire.script(far.ok({"markdown": "x"}), output="SectionAnswer")
    answer = ask_ollama(wire, "hello").json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"markdown": "x"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    (request,) = wire.requests
    assert (request.provider, request.model, request.output) == ("ollama", "llama3.2", "SectionAnswer")
    assert set(request.schema["properties"]) == {"markdown"}
    assert request.prompt == "be brief\nhello"
    assert not request.as_tool
    wire.assert_clean()


@pytest.mark.parametrize("with_usage", [False, True])
def test_ollama_stream(wire: WireProvider, with_usage: bool) -> None:
    wire.script(far.ok({"markdown": "In pieces."}, Usage(input_tokens=7, output_tokens=5)))
    said = ask_ollama(wire, stream=True, stream_options={"include_usage": with_usage})
    assert said.headers["content-type"] == "text/event-stream"
    *lines, done = [line.removeprefix("data: ") for line in said.text.split("\n\n") if line]
    assert done == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert json.loads("".join(choice["delta"]["content"] for choice in choices)) == {"markdown": "In pieces."}
    assert [choice["finish_reason"] for choice in choices] == [None] * 5 + ["stop"]
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == [usage] * with_usage
    assert wire.requests[0].reported.output_tokens == 5 * with_usage


def test_ollama_lists_its_models(wire: WireProvider) -> None:
    assert [model["name"] for model in _tags(wire).json()["models"]] == ["llama3.2:latest"]
    wire.models = ["qwen3:8b", "gemma3:latest"]
    assert [model["name"] for model in _tags(wire).json()["models"]] == wire.models
    wire.tags_status = 503
    assert _tags(wire).status_code == 503
    assert (wire.listings, wire.requests) == (3, [])


def _tags(wire: WireProvider) -> httpx2.Response:
    return httpx2.get(f"{wire.url}/api/tags", timeout=10)


def test_ollama_has_only_the_models_that_it_lists(wire: WireProvider) -> None:
    wire.composer = longform_composer
    assert ask_ollama(wire).status_code == 200
    assert ask_ollama(wire, model="llama3.2:latest").status_code == 200
    missing = ask_ollama(wire, model="qwen3:8b")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"
    wire.assert_clean()


def test_environment_names_the_providers(wire: WireProvider) -> None:
    assert set(wire.environment()) == {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY",
        "GEMINI_BASE_URL",
    }
    assert wire.environment("ollama") == {"OLLAMA_URL": wire.url, "OLLAMA_MODEL": "llama3.2"}


def test_unknown_path(wire: WireProvider) -> None:
    assert httpx2.get(f"{wire.url}/v1/models", timeout=10).status_code == 404
    assert wire.requests == []


# What is scripted.


@pytest.mark.parametrize(
    ("ask_one", "words", "code"),
    [
        (ask, "prompt is too long: 300 tokens > 200 maximum", None),
        (ask_gemini, "The input token count (300) exceeds the maximum number of tokens allowed (200).", None),
        (
            ask_ollama,
            "This model's maximum context length is 200 tokens, and the messages have 300.",
            "context_length_exceeded",
        ),
    ],
)
def test_prompt_too_long(wire: WireProvider, ask_one: Any, words: str, code: str | None) -> None:
    wire.script(far.prompt_too_long(300, 200))
    answer = ask_one(wire)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["message"], error.get("code") if code else None) == (words, code)


def test_refusals_of_ollama(wire: WireProvider) -> None:
    wire.script(far.refusal(), far.refusal(blocked=True), far.refusal(), far.too_long())
    message = ask_ollama(wire).json()["choices"][0]["message"]
    assert message["refusal"]
    assert not message["content"]
    assert ask_ollama(wire).json()["choices"][0]["finish_reason"] == "content_filter"
    assert '"delta":{"refusal":' in ask_ollama(wire, stream=True).text
    assert '"finish_reason":"length"' in ask_ollama(wire, stream=True).text


def test_retry_after_as_a_date(wire: WireProvider) -> None:
    before = datetime.now(UTC)
    wire.script(far.rate_limited_by_date(30))
    asked = ask(wire)
    assert asked.status_code == 429
    until = parsedate_to_datetime(asked.headers["retry-after"])
    assert timedelta(seconds=30) <= until - before
    assert until - datetime.now(UTC) <= timedelta(seconds=31)


def test_a_stalled_stream_goes_on(wire: WireProvider) -> None:
    wire.script(far.stalled(0.05, {"markdown": "late"}), far.slow(0.05, {"markdown": "late"}))
    for _ in range(2):
        assert "message_stop" in ask(wire, stream=True).text
    stalled, slow = wire.requests
    assert stalled.first_token is not None
    assert stalled.finished is not None
    assert stalled.finished - stalled.first_token >= 0.05
    assert slow.first_token is not None
    assert slow.first_token - slow.started >= 0.05


def test_a_repair_is_told_from_a_first_request(wire: WireProvider) -> None:
    wire.script(far.ok({}))
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "shared"}, {"type": "text", "text": "own"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "T", "input": {"bad": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "markdown: missing"}]},
    ]
    httpx2.post(f"{wire.url}/v1/messages", json={"model": "m", "system": "s", "messages": turns}, timeout=10)
    (request,) = wire.requests
    assert request.repairs
    assert request.asked == "s\nshared\nown"
    assert request.prompt == 's\nshared\nown\n{"bad":1}\nmarkdown: missing'


# Faults for what nobody scripted.


def _faults(seed: int, share: float, count: int = 60, kinds: Sequence[str] = tuple(FAULTS)) -> list[str | None]:
    """What each of so many requests got."""
    with WireProvider(composer=longform_composer) as wire, httpx2.Client() as client:
        wire.faulty(share, seed, kinds=kinds, silence_s=0)
        body = {"model": "llama3.2", "messages": [{"role": "user", "content": "x"}], "response_format": SECTION}
        for _ in range(count):
            try:
                client.post(f"{wire.url}/v1/chat/completions", json=body, timeout=10)
            except httpx2.TransportError:
                assert wire.requests[-1].fault in ("reset", "cut_by_reset")
        wire.assert_clean()
        return [request.fault for request in wire.requests]


SECTION = {"json_schema": {"name": "SectionAnswer", "schema": SectionAnswer.model_json_schema()}}


def test_faults_are_the_seeds() -> None:
    first = _faults(1, 0.5)
    assert first == _faults(1, 0.5)
    assert first != _faults(2, 0.5)
    assert 15 < sum(fault is not None for fault in first) < 45
    assert len(set(first)) > 10


def test_faults_of_some_kinds_and_none() -> None:
    assert set(_faults(1, 1, kinds=["overloaded", "text"])) == {"overloaded", "text"}
    assert set(_faults(1, 0)) == {None}


@pytest.mark.parametrize("ask_one", [ask, ask_gemini, ask_ollama])
def test_every_fault_of_every_provider(wire: WireProvider, ask_one: Any) -> None:
    wire.composer = longform_composer
    broken = {"reset", "cut_at_once", "cut", "cut_by_reset"}
    for kind in FAULTS:
        wire.faulty(1, 0, kinds=[kind], silence_s=0)
        try:
            ask_one(wire, stream=True)
        except httpx2.TransportError:
            assert kind in broken
        request = wire.requests[-1]
        assert request.fault == kind
        assert request.answered is (kind not in broken | {"ended"})
    assert {request.fault for request in wire.requests} == set(FAULTS)
    wire.assert_clean()


def test_what_is_scripted_is_spared(wire: WireProvider) -> None:
    wire.composer = longform_composer
    wire.faulty(1, 0, kinds=["overloaded"])
    wire.script(far.ok({"markdown": "x"}))
    assert ask(wire).status_code == 200
    assert ask(wire).status_code == 529
    wire.faulty(0, 0)
    assert ask(wire).status_code == 200


# Composers.


@pytest.mark.parametrize("stream", [False, True])
def test_longform_composer_answers_both_schemas(wire: WireProvider, stream: bool) -> None:
    wire.composer = longform_composer
    outline = ask(wire, "Plan it.\nSections: 8\n", output=OutlineAnswer).json()["content"][0]["input"]
    assert len(OutlineAnswer.model_validate(outline).sections) == 8
    texts = [ask(wire, f"Section {n}\nWords: 300", stream=stream).text for n in range(2)]
    assert texts[0] != texts[1]
    if not stream:
        markdown = SectionAnswer.model_validate(json.loads(texts[0])["content"][0]["input"]).markdown
        assert 300 <= len(markdown.split()) < 330
        sentences = markdown.replace("\n\n", " ").split(". ")
        assert len(set(sentences)) == len(sentences)
    wire.assert_clean()
