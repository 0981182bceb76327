"""The fake far end itself: it captures, matches, composes, notices who hangs up, and fails what nobody scripted."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydantic import TypeAdapter

from core.contracts.longform import OutlineAnswer, SectionAnswer
from tests.support import wire_messages as far
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer


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


def ask_gemini(wire: WireProvider, prompt: str = "hello") -> httpx2.Response:
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return httpx2.post(f"{wire.url}/v1beta/models/gem:generateContent", json=body, timeout=10)


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


def test_both_protocols_without_streaming(wire: WireProvider) -> None:
    wire.script(far.text("plain"), provider="google")
    wire.script(far.text("words"), provider="anthropic")
    assert ask(wire).json()["content"] == [{"type": "text", "text": "words"}]
    assert ask_gemini(wire).json()["candidates"][0]["content"]["parts"] == [{"text": "plain"}]


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
