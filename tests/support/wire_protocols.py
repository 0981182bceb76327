"""All protocols of the fake far end behind one set of functions."""

import json

from core.contracts.llm import Usage
from tests.support.wire_anthropic import AnthropicDialect
from tests.support.wire_dialect import Arrived, Dialect, dump
from tests.support.wire_google import GoogleDialect
from tests.support.wire_messages import Answer, Event, WireRequest
from tests.support.wire_ollama import OllamaDialect

_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (AnthropicDialect(), GoogleDialect(), OllamaDialect())
}


def parse(index: int, path: str, headers: dict[str, str], body: bytes, now: float) -> WireRequest | None:
    """Read a request of any protocol; None when the path is of none."""
    route, _, query = path.partition("?")
    for dialect in _DIALECTS.values():
        if dialect.recognises(route):
            return dialect.read(route, query, Arrived(index, headers, json.loads(body), now))
    return None


def objection(request: WireRequest) -> str | None:
    """Why the provider refuses the request whatever is scripted, or None."""
    return _DIALECTS[request.provider].objection(request)


def used(request: WireRequest, answer: Answer, said: str) -> Usage:
    """What the whole answer uses: as scripted, or four characters a token, with what the prompt cache holds."""
    return answer.usage or Usage(
        input_tokens=request.input_tokens,
        output_tokens=len(said) // 4 + 1,
        cached_tokens=request.cached_tokens,
        cache_write_tokens=request.cache_write_tokens,
    )


def part_of(usage: Usage, said: int, of: int) -> Usage:
    """What is billed when that many characters of the answer were sent: all input, and so much of the output."""
    if said >= of:
        return usage
    output = -(-usage.output_tokens * said // of)
    return usage.model_copy(update={"output_tokens": output, "reasoning_tokens": min(output, usage.reasoning_tokens)})


def whole(request: WireRequest, answer: Answer, said: str, usage: Usage) -> bytes:
    """The body of an answer that is not streamed."""
    return dump(_DIALECTS[request.provider].whole(request, answer, said, usage)).encode()


def error_body(request: WireRequest, code: int, answer: Answer) -> bytes:
    """The body of an error answer."""
    return dump(_DIALECTS[request.provider].error(code, answer)).encode()


def events(request: WireRequest, answer: Answer, said: str, usage: Usage) -> list[Event]:
    """The SSE events of an answer; `said` is the JSON of the arguments, or text."""
    dialect = _DIALECTS[request.provider]
    made = dialect.events(request, answer, said, usage)
    if answer.garbage:
        made[1:] = [Event(b"event: content_block_delta\ndata: {nothing of the kind\n\n")]
    if answer.stream_error is not None:
        made[2:] = [Event(dialect.error_event(answer.stream_error, answer))]
    if answer.rewrite is None:
        return made
    rewritten = answer.rewrite([event.data for event in made])
    if len(rewritten) == len(made):
        return [Event(data, event.said, event.tells) for data, event in zip(rewritten, made, strict=True)]
    known = {event.data: event for event in made}
    return [known.get(data, Event(data)) for data in rewritten]
