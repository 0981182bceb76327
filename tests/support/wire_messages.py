"""What the fake far end hears and says: captured requests, scripted answers, and both providers' bodies."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.contracts.llm import Usage


@dataclass(eq=False)
class WireRequest:
    """One request as it arrived, and what became of it. Times are `time.monotonic()` seconds."""

    index: int
    provider: Literal["anthropic", "google"]
    model: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    prompt: str
    """All text of the request: the system prompt, then the messages."""
    output: str | None
    """Name of the output tool, or title of the response schema; None for a plain text request."""
    schema: dict[str, Any]
    as_tool: bool
    """Whether the answer is the arguments of a tool call; otherwise it is text."""
    started: float
    port: int = 0
    """The client's port, so its connection."""
    events: int = 0
    """SSE events written so far, where they are written one by one."""
    finished: float | None = None
    disconnected: float | None = None
    """When the client closed the connection while the answer was not finished."""
    status: int | None = None
    answered: bool = False
    """The whole answer was written, an error status included. Cut, reset and abandoned answers are not."""


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
    """`blocked` is Gemini's refusal of the prompt itself; for Anthropic it is `refused`."""
    usage: Usage | None = None
    """None counts four characters a token."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    """The provider's name of the error; by default that of the status."""
    message: str = "scripted"
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
    """Events before the gate; 0 holds back even the status line."""
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
    """Anthropic's stop reason `refusal`; Gemini's `SAFETY`, or the blocked prompt."""
    return Answer(raw="", finish="blocked" if blocked else "refused")


def too_long() -> Answer:
    """The answer is cut by the limit of output tokens."""
    return Answer(raw='{"title": "Never fin', finish="length")


def status(code: int, *, retry_after: str | None = None, error: str | None = None) -> Answer:
    """An HTTP error; `retry_after` is sent as it is: seconds, or an HTTP date."""
    return Answer(status=code, error=error, headers={"retry-after": retry_after} if retry_after else {})


def rate_limited(retry_after: str = "7") -> Answer:
    """429."""
    return status(429, retry_after=retry_after)


def overloaded() -> Answer:
    """Anthropic's 529; Gemini says 503."""
    return Answer(status=529)


def reset() -> Answer:
    """The connection is reset when the request has arrived."""
    return Answer(reset=True)


def slow(delay_s: float, arguments: Mapping[str, Any] | None = None) -> Answer:
    """Nothing at all for a while, then the answer."""
    return Answer(arguments=arguments, delay_s=delay_s)


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


# https://platform.claude.com/docs/en/api/errors and https://ai.google.dev/gemini-api/docs/troubleshooting
_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GOOGLE_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}


def parse(index: int, path: str, headers: dict[str, str], body: bytes, now: float) -> WireRequest | None:
    """Read a request of either protocol; None when the path is of neither."""
    route, _, query = path.partition("?")
    if route == "/v1/messages":
        return _parse_anthropic(index, headers, json.loads(body), now)
    name, _, method = route.removeprefix("/v1beta/models/").partition(":")
    if route.startswith("/v1beta/models/") and method in ("generateContent", "streamGenerateContent"):
        stream = method == "streamGenerateContent" and "alt=sse" in query
        return _parse_google(index, name, stream, headers, json.loads(body), now)
    return None


def _texts(node: Any) -> Iterator[str]:
    """Every text block below a message, a list of blocks or a string."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, dict):
        for key in ("text", "content", "parts"):
            yield from _texts(node.get(key))


def _parse_anthropic(index: int, headers: dict[str, str], body: dict[str, Any], now: float) -> WireRequest:
    tools = body.get("tools") or [{}]
    return WireRequest(
        index=index,
        provider="anthropic",
        model=body["model"],
        stream=bool(body.get("stream")),
        headers=headers,
        body=body,
        prompt="\n".join([*_texts(body.get("system")), *_texts(body["messages"])]),
        output=tools[0].get("name"),
        schema=tools[0].get("input_schema", {}),
        as_tool="tools" in body,
        started=now,
    )


def _parse_google(
    index: int, model: str, stream: bool, headers: dict[str, str], body: dict[str, Any], now: float
) -> WireRequest:
    declared = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
    config = body.get("generationConfig", {})
    wanted = declared[0].get("parametersJsonSchema", {}) if declared else config.get("responseJsonSchema", {})
    return WireRequest(
        index=index,
        provider="google",
        model=model,
        stream=stream,
        headers=headers,
        body=body,
        prompt="\n".join([*_texts(body.get("systemInstruction")), *_texts(body["contents"])]),
        output=declared[0]["name"] if declared else wanted.get("title"),
        schema=wanted,
        as_tool=bool(declared),
        started=now,
    )


def error_body(provider: str, code: int, answer: Answer) -> bytes:
    """The body of an error answer, or the data of an error event."""
    if provider == "anthropic":
        kind = answer.error or _ANTHROPIC_ERRORS.get(code, "api_error")
        return _dump({"type": "error", "error": {"type": kind, "message": answer.message}})
    kind = answer.error or _GOOGLE_ERRORS.get(code, "UNKNOWN")
    return _dump({"error": {"code": code, "message": answer.message, "status": kind}})


def used(request: WireRequest, answer: Answer, said: str) -> Usage:
    """What the fake bills: as scripted, or four characters a token."""
    return answer.usage or Usage(input_tokens=len(request.prompt) // 4, output_tokens=len(said) // 4 + 1)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _pieces(said: str, count: int) -> list[str]:
    size = max(1, -(-len(said) // count))
    return [said[i : i + size] for i in range(0, len(said), size)]


def events(request: WireRequest, answer: Answer, said: str) -> list[bytes]:
    """The SSE events of an answer; `said` is the JSON of the arguments, or text."""
    of = _anthropic_events if request.provider == "anthropic" else _google_events
    all_events = of(request, answer, said)
    if answer.garbage:
        all_events[1:] = [b"event: content_block_delta\ndata: {nothing of the kind\n\n"]
    if answer.stream_error is not None:
        data = error_body(request.provider, answer.stream_error, answer)
        all_events[2:] = [(b"event: error\n" if request.provider == "anthropic" else b"") + b"data: " + data + b"\n\n"]
    return answer.rewrite(all_events) if answer.rewrite else all_events


def _anthropic_events(request: WireRequest, answer: Answer, said: str) -> list[bytes]:
    message = _anthropic_message(request, answer, said)
    block, usage = message["content"][:1], message["usage"]
    tool = bool(block) and block[0]["type"] == "tool_use"
    parts: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}},
        }
    ]
    if block:
        nothing: dict[str, Any] = {"input": {}} if tool else {"text": ""}
        empty = block[0] | nothing
        parts.append({"type": "content_block_start", "index": 0, "content_block": empty})
        for piece in _pieces(said, answer.pieces):
            delta = (
                {"type": "input_json_delta", "partial_json": piece} if tool else {"type": "text_delta", "text": piece}
            )
            parts.append({"type": "content_block_delta", "index": 0, "delta": delta})
        parts.append({"type": "content_block_stop", "index": 0})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    parts.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": usage["output_tokens"]}})
    parts.append({"type": "message_stop"})
    return [b"event: " + part["type"].encode() + b"\ndata: " + _dump(part) + b"\n\n" for part in parts]


def _anthropic_message(request: WireRequest, answer: Answer, said: str) -> dict[str, Any]:
    usage = used(request, answer, said)
    as_tool = request.as_tool and answer.text is None
    content: list[dict[str, Any]] = []
    if said:
        tool = {"type": "tool_use", "id": f"toolu_{request.index}", "name": request.output}
        content = [tool | {"input": _parsed(said)}] if as_tool else [{"type": "text", "text": said}]
    stops = {"done": "tool_use" if as_tool else "end_turn", "length": "max_tokens"}
    return {
        "id": f"msg_{request.index}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": stops.get(answer.finish, "refusal"),
        "stop_sequence": None,
        # Anthropic reports the cached tokens beside the others, not among them.
        "usage": {
            "input_tokens": usage.input_tokens - usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation_input_tokens": 0,
        },
    }


def _parsed(said: str) -> Any:
    try:
        return json.loads(said)
    except ValueError:
        return {}


def _google_events(request: WireRequest, answer: Answer, said: str) -> list[bytes]:
    whole = _google_message(request, answer, said)
    if "promptFeedback" in whole:
        return [b"data: " + _dump(whole) + b"\n\n"]
    # Gemini sends a function call as a whole; only text comes in pieces.
    last = whole["candidates"][0]
    texts = [] if request.as_tool and answer.text is None else _pieces(said, answer.pieces)
    parts = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}]} for piece in texts
    ]
    if texts:
        last = last | {"content": {"role": "model", "parts": [{"text": ""}]}}
    shared = {key: whole[key] for key in ("modelVersion", "responseId")}
    return [b"data: " + _dump(part | shared) + b"\n\n" for part in [*parts, whole | {"candidates": [last]}]]


def _google_message(request: WireRequest, answer: Answer, said: str) -> dict[str, Any]:
    usage = used(request, answer, said)
    shared: dict[str, Any] = {
        "usageMetadata": {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": usage.output_tokens,
            "totalTokenCount": usage.input_tokens + usage.output_tokens,
            # Gemini counts the cached tokens among the prompt's.
            **({"cachedContentTokenCount": usage.cached_tokens} if usage.cached_tokens else {}),
        },
        "modelVersion": request.model,
        "responseId": f"response-{request.index}",
    }
    if answer.finish == "blocked":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **shared}
    part: dict[str, Any] = {"text": said}
    if request.as_tool and answer.text is None:
        part = {"functionCall": {"name": request.output, "args": _parsed(said)}}
    finish = {"done": "STOP", "length": "MAX_TOKENS", "refused": "SAFETY"}[answer.finish]
    content: dict[str, Any] = {"content": {"role": "model", "parts": [part]}} if said else {}
    return {"candidates": [{**content, "finishReason": finish, "index": 0}], **shared}


def whole(request: WireRequest, answer: Answer, said: str) -> bytes:
    """The body of an answer that is not streamed."""
    of = _anthropic_message if request.provider == "anthropic" else _google_message
    return _dump(of(request, answer, said))
