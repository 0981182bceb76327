"""What the fake far end charges: caches of true prefixes, broken answers, and the sum of it all."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from core.contracts.llm import Usage
from tests.support import wire_messages as far
from tests.support.wire import WireProvider
from tests.support.wire_messages import Answer

MARK = {"cache_control": {"type": "ephemeral"}}
SHARED = "What all calls of a job have in common. " * 200
"""8,000 characters."""


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    with WireProvider(composer=lambda request: {"markdown": "x" * 100}) as started:
        yield started
    started.assert_clean()


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def claude(wire: WireProvider, *content: dict[str, Any], stream: bool = False, **more: Any) -> httpx2.Response:
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": list(content)}], **more}
    return httpx2.post(f"{wire.url}/v1/messages", json=body, timeout=10)


def gemini(wire: WireProvider, prompt: str, system: str = "be brief") -> httpx2.Response:
    body = {
        "systemInstruction": {"parts": [{"text": system}]},
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
    }
    return httpx2.post(f"{wire.url}/v1beta/models/gem:generateContent", json=body, timeout=10)


def llama(wire: WireProvider, prompt: str, stream: bool = False) -> httpx2.Response:
    body = {
        "model": "llama3.2",
        "stream": stream,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": prompt}],
    }
    return httpx2.post(f"{wire.url}/v1/chat/completions", json=body, timeout=10)


def usages(wire: WireProvider) -> list[tuple[int, int, int]]:
    """Input, read from the cache, written to it, of each request."""
    bills = [request.billed for request in wire.requests]
    return [(bill.input_tokens, bill.cached_tokens, bill.cache_write_tokens) for bill in bills]


# Anthropic's cache.


def test_a_breakpoint_is_written_once_and_then_read(wire: WireProvider) -> None:
    for number in range(3):
        said = claude(wire, text(SHARED, **MARK), text(f"section {number}")).json()["usage"]
        assert said["input_tokens"] == len(f"section {number}") // 4
        assert (said["cache_read_input_tokens"], said["cache_creation_input_tokens"]) == (
            (0, 2_000) if number == 0 else (2_000, 0)
        )
    assert usages(wire) == [(2_002, 0, 2_000), (2_002, 2_000, 0), (2_002, 2_000, 0)]


def test_without_a_breakpoint_nothing_is_cached(wire: WireProvider) -> None:
    for _ in range(2):
        claude(wire, text(SHARED), text("section"))
    assert usages(wire) == [(2_001, 0, 0)] * 2


def test_a_change_before_the_breakpoint_misses(wire: WireProvider) -> None:
    claude(wire, text(SHARED, **MARK), text("a"))
    claude(wire, text("!" + SHARED, **MARK), text("a"))
    claude(wire, text(SHARED, **MARK), text("a"), system="Another system prompt.")
    claude(wire, text(SHARED, **MARK), text("a"), model="other")
    assert [cached for _, cached, _ in usages(wire)] == [0] * 4
    assert all(written for _, _, written in usages(wire))


def test_tools_come_before_system_and_messages(wire: WireProvider) -> None:
    tool = {"name": "SectionAnswer", "description": SHARED, "input_schema": {}, **MARK}
    claude(wire, text("a"), tools=[tool], system=[text(SHARED, **MARK)])
    claude(wire, text("a"), tools=[tool], system=[text("!" + SHARED[1:], **MARK)])
    claude(wire, text("b"), tools=[{**tool, "name": "Other"}], system=[text(SHARED, **MARK)])
    (_, _, both), (_, tools, system), (_, nothing, _) = usages(wire)
    assert tools + system == both
    assert 2_000 < tools < 2_100
    assert nothing == 0


def test_another_tool_choice_keeps_the_cache_of_what_stands_before_the_messages(wire: WireProvider) -> None:
    system = [text(SHARED, **MARK)]
    for choice in ("any", "auto"):
        claude(wire, text(SHARED, **MARK), system=system, tools=[{"name": "T"}], tool_choice={"type": choice})
    (_, _, both), (_, read, written) = usages(wire)
    assert read + written == both
    assert 2_000 < read < 2_010


def test_a_conversation_that_grows_reads_what_it_wrote(wire: WireProvider) -> None:
    claude(wire, text(SHARED, **MARK))
    claude(wire, text(SHARED), text("more", **MARK))
    assert usages(wire) == [(2_000, 0, 2_000), (2_001, 2_000, 1)]


def test_twenty_blocks_are_looked_back(wire: WireProvider) -> None:
    for between in (20, 21):
        claude(wire, text(SHARED, **MARK))
        claude(wire, text(SHARED), *[text("word")] * (between - 1), text("more", **MARK))
    assert [cached for _, cached, _ in usages(wire)] == [0, 2_000, 2_000, 0]


def test_a_prefix_below_the_minimum_is_not_cached(wire: WireProvider) -> None:
    for _ in range(2):
        claude(wire, text(SHARED[:4_095], **MARK), text(SHARED))
    assert usages(wire)[1][1] == 0
    for _ in range(2):
        claude(wire, text(SHARED[:4_096], **MARK), text(SHARED))
    assert usages(wire)[3][1] == 1_024
    wire.cache_minimum = 10
    for _ in range(2):
        claude(wire, text(SHARED[:40], **MARK))
    assert usages(wire)[5][1] == 10


def test_calls_side_by_side_do_not_help_each_other(wire: WireProvider) -> None:
    """A prefix can be read when the first reply has begun, and not before."""
    gates = [threading.Event(), threading.Event()]
    wire.script(far.hang(gates[0], arguments={}), far.hang(gates[1], arguments={}, after=1), Answer(arguments={}))
    with ThreadPoolExecutor(3) as pool:

        def ask() -> Any:
            return pool.submit(claude, wire, text(SHARED, **MARK), stream=True)

        asking = [ask()]
        wire.wait_for_request(1)
        asking.append(ask())
        second = wire.wait_for_request(2)
        wire.wait_until(lambda: second.events == 1)
        asking.append(ask())
        wire.wait_for_request(3)
        for gate in gates:
            gate.set()
        for asked in asking:
            asked.result(10)
    assert [cached for _, cached, _ in usages(wire)] == [0, 0, 2_000]


def test_a_failed_request_writes_nothing(wire: WireProvider) -> None:
    wire.script(far.status(500), far.reset())
    claude(wire, text(SHARED, **MARK))
    with pytest.raises(httpx2.TransportError):
        claude(wire, text(SHARED, **MARK))
    claude(wire, text(SHARED, **MARK))
    assert usages(wire) == [(0, 0, 0), (0, 0, 0), (2_000, 0, 2_000)]


def test_automatic_caching_marks_the_last_block(wire: WireProvider) -> None:
    for _ in range(2):
        claude(wire, text(SHARED), text("end."), cache_control={"type": "ephemeral"})
    assert usages(wire) == [(2_001, 0, 2_001), (2_001, 2_001, 0)]


@pytest.mark.parametrize("content", [[text("a", **MARK)] * 5, [text("a"), text("", **MARK)]])
def test_what_anthropic_refuses(wire: WireProvider, content: list[dict[str, Any]]) -> None:
    refused = claude(wire, *content)
    assert refused.status_code == 400
    assert "cache_control" in refused.json()["error"]["message"]


# Gemini's cache, and Ollama's lack of one.


def test_gemini_caches_any_long_prefix(wire: WireProvider) -> None:
    first = gemini(wire, SHARED + "one").json()["usageMetadata"]
    second = gemini(wire, SHARED + "two").json()["usageMetadata"]
    assert "cachedContentTokenCount" not in first
    assert second["promptTokenCount"] == first["promptTokenCount"] == (len(SHARED) + len("be briefone")) // 4
    # In steps, so a little less than what is really the same.
    assert 1_850 < second["cachedContentTokenCount"] <= 2_002
    assert usages(wire)[1] == (second["promptTokenCount"], second["cachedContentTokenCount"], 0)
    gemini(wire, "!" + SHARED)
    gemini(wire, SHARED, system="be long")
    gemini(wire, SHARED[:3_000])
    assert [cached for _, cached, _ in usages(wire)[2:]] == [0, 0, 0]


def test_ollama_caches_nothing(wire: WireProvider) -> None:
    for _ in range(2):
        assert llama(wire, SHARED).json()["usage"]["prompt_tokens"] == 2_000
    assert usages(wire) == [(2_000, 0, 0)] * 2


def test_caching_can_be_off() -> None:
    with WireProvider(composer=lambda request: {}, caching=False) as wire:
        for _ in range(2):
            claude(wire, text(SHARED, **MARK))
            gemini(wire, SHARED)
        assert {cached + written for _, cached, written in usages(wire)} == {0}


def test_scripted_usage_wins(wire: WireProvider) -> None:
    usage = Usage(input_tokens=900, output_tokens=40, cached_tokens=300, cache_write_tokens=200, reasoning_tokens=7)
    wire.script(*[far.ok({}, usage)] * 3)
    assert claude(wire, text(SHARED, **MARK)).json()["usage"] == {
        "input_tokens": 400,
        "output_tokens": 40,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 200,
        "output_tokens_details": {"thinking_tokens": 7},
    }
    assert gemini(wire, SHARED).json()["usageMetadata"] == {
        "promptTokenCount": 900,
        "candidatesTokenCount": 33,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 300,
        "totalTokenCount": 940,
    }
    assert llama(wire, SHARED).json()["usage"]["completion_tokens_details"] == {"reasoning_tokens": 7}
    assert [request.billed for request in wire.requests] == [usage] * 3


# The bill.

USAGE = Usage(input_tokens=1_000, output_tokens=80, cached_tokens=400, reasoning_tokens=30)
WHOLE = json.dumps({"markdown": "x" * 64})
"""80 characters, so 20 a piece."""


@pytest.mark.parametrize(
    ("answer", "output", "reported"),
    [
        (far.ok({"markdown": "x" * 64}), 80, 80),
        (far.cut(0), 0, 0),
        (far.cut(1), 0, 1),
        (far.cut(3), 20, 1),
        (far.cut(4), 40, 1),
        (far.cut(8), 80, 80),
        (far.stream_error(500), 0, 1),
        (far.garbage(), 0, 1),
        (replace(far.refusal(), usage=USAGE), 80, 80),
    ],
    ids=[
        "whole",
        "cut before",
        "cut at the start",
        "a piece",
        "two pieces",
        "all but the end",
        "error",
        "garbage",
        "no",
    ],
)
def test_a_broken_answer_is_billed_what_was_sent(
    wire: WireProvider, answer: Answer, output: int, reported: int
) -> None:
    raw = answer.raw if answer.raw is not None else WHOLE
    wire.script(replace(answer, usage=USAGE, raw=raw, arguments=None))
    try:
        claude(wire, text("a"), stream=True, tools=[{"name": "T"}])
    except httpx2.TransportError:
        assert answer.cut_after is not None
    (request,) = wire.requests
    assert (request.billed.input_tokens, request.billed.cached_tokens) == (1_000, 400)
    assert request.billed.output_tokens == output
    assert request.billed.reasoning_tokens == min(30, output)
    assert request.reported.output_tokens == reported
    assert request.reported.input_tokens == (1_000 if reported else 0)
    assert wire.bill() == request.billed


@pytest.mark.parametrize("ask", [claude, gemini, llama])
@pytest.mark.parametrize("answer", [far.status(429), far.status(500), far.prompt_too_long(), far.reset()])
def test_an_error_costs_nothing(wire: WireProvider, ask: Any, answer: Answer) -> None:
    wire.script(answer)
    try:
        ask(wire, text("a") if ask is claude else "a")
    except httpx2.TransportError:
        assert answer.reset
    assert wire.bill() == Usage()


@pytest.mark.parametrize(("after", "told"), [(0, 0), (1, 1)])
def test_who_hangs_up_pays_for_the_input(wire: WireProvider, after: int, told: int) -> None:
    wire.script(far.hang(threading.Event(), after=after))
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": SHARED}]})
    with socket.create_connection(("127.0.0.1", int(wire.url.rpartition(":")[2]))) as client:
        client.sendall(f"POST /v1/messages HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        request = wire.wait_for_request()
        wire.wait_until(lambda: request.events == after)
    wire.wait_for_disconnect(request)
    assert (wire.hung_up, wire.answered) == (1, 0)
    assert request.billed == Usage(input_tokens=2_000)
    assert request.reported.output_tokens == told


def test_the_bill_is_the_sum(wire: WireProvider) -> None:
    for _ in range(2):
        claude(wire, text(SHARED, **MARK))
        gemini(wire, SHARED)
        llama(wire, SHARED, stream=True)
    written = len(json.dumps({"markdown": "x" * 100})) // 4 + 1
    cached = wire.requests[4].billed.cached_tokens
    assert wire.bill() == Usage(
        input_tokens=6 * 2_000 + 4,
        output_tokens=6 * written,
        cached_tokens=2_000 + cached,
        cache_write_tokens=2_000,
    )
    assert wire.bill(lambda request: request.provider == "ollama").input_tokens == 4_000
    assert wire.answered == 6


def test_many_at_once_are_counted_one_by_one(wire: WireProvider) -> None:
    with httpx2.Client() as client, ThreadPoolExecutor(20) as pool:

        def ask(number: int) -> None:
            body = {"model": "llama3.2", "messages": [{"role": "user", "content": "word" * number}]}
            client.post(f"{wire.url}/v1/chat/completions", json=body, timeout=10)

        list(pool.map(ask, range(100)))
    assert wire.answered == 100
    assert wire.bill().input_tokens == sum(range(100))
