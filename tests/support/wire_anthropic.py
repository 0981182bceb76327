"""Anthropic's `/v1/messages`. https://platform.claude.com/docs/en/api/messages and .../api/errors"""

from collections.abc import Iterator
from typing import Any

from core.contracts.llm import Usage
from tests.support.wire_dialect import Arrived, Dialect, dump, parsed, pieces, texts
from tests.support.wire_messages import Answer, Block, Event, ProviderName, WireRequest

_ERRORS = {
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
_BREAKPOINTS = 4
"""How many a request may have."""


class AnthropicDialect(Dialect):
    """Claude, whose prompt cache is asked for by `cache_control` and reported beside the other input."""

    name: ProviderName = "anthropic"

    def recognises(self, route: str) -> bool:
        """The one path of messages."""
        return route == "/v1/messages"

    def read(self, route: str, query: str, arrived: Arrived) -> WireRequest:
        """A message request; the output is its first tool."""
        body = arrived.body
        tool = (body.get("tools") or [{}])[0]
        system = "\n".join(texts(body.get("system")))
        turns = [("system", system)] if system else []
        turns += [(message["role"], "\n".join(texts(message["content"]))) for message in body["messages"]]
        blocks = list(_blocks(body))
        if body.get("cache_control") and blocks:
            # Automatic caching: a breakpoint at the last block.
            last = blocks.pop()
            blocks.append(Block(last.place, last.text, breakpoint=True))
        return WireRequest(
            **vars(arrived),
            provider=self.name,
            model=body["model"],
            stream=bool(body.get("stream")),
            turns=tuple(turns),
            output=tool.get("name"),
            schema=tool.get("input_schema", {}),
            as_tool="tools" in body,
            blocks=tuple(blocks),
        )

    def objection(self, request: WireRequest) -> str | None:
        """Too many breakpoints, or one at an empty text, which the API does not take."""
        marked = [block for block in request.blocks if block.breakpoint]
        if len(marked) > _BREAKPOINTS:
            return f"A maximum of {_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marked)}."
        if any(not block.text for block in marked):
            return "cache_control cannot be set for empty text blocks"
        return None

    def whole(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> dict[str, Any]:
        """A message."""
        as_tool = request.as_tool and answer.text is None
        content: list[dict[str, Any]] = []
        if said:
            tool = {"type": "tool_use", "id": f"toolu_{request.index}", "name": request.output}
            content = [tool | {"input": parsed(said)}] if as_tool else [{"type": "text", "text": said}]
        stops = {"done": "tool_use" if as_tool else "end_turn", "length": "max_tokens"}
        return {
            "id": f"msg_{request.index}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": content,
            "stop_reason": stops.get(answer.finish, "refusal"),
            "stop_sequence": None,
            "usage": _usage(usage),
        }

    def events(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> list[Event]:
        """The start with the input's usage, a block in pieces, and the end with the output's."""
        message = self.whole(request, answer, said, usage)
        begun = usage.model_copy(update={"output_tokens": 1, "reasoning_tokens": 0})
        start = message | {"content": [], "stop_reason": None, "usage": _usage(begun)}
        made = [_event({"type": "message_start", "message": start}, tells=begun)]
        for block in message["content"]:
            tool = block["type"] == "tool_use"
            nothing: dict[str, Any] = {"input": {}} if tool else {"text": ""}
            empty = block | nothing
            made.append(_event({"type": "content_block_start", "index": 0, "content_block": empty}))
            for piece in pieces(said, answer.pieces):
                delta = (
                    {"type": "input_json_delta", "partial_json": piece}
                    if tool
                    else {"type": "text_delta", "text": piece}
                )
                made.append(_event({"type": "content_block_delta", "index": 0, "delta": delta}, len(piece)))
            made.append(_event({"type": "content_block_stop", "index": 0}))
        stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        done = {key: value for key, value in _usage(usage).items() if key.startswith("output")}
        made.append(_event({"type": "message_delta", "delta": stop, "usage": done}, tells=usage))
        return [*made, _event({"type": "message_stop"})]

    def error(self, code: int, answer: Answer) -> dict[str, Any]:
        """An error by its type."""
        message = answer.message
        if answer.window:
            message = f"prompt is too long: {answer.window[0]} tokens > {answer.window[1]} maximum"
        kind = answer.error or _ERRORS.get(code, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_event(self, code: int, answer: Answer) -> bytes:
        """Named, as all events are."""
        return b"event: error\n" + super().error_event(code, answer)


def _blocks(body: dict[str, Any]) -> Iterator[Block]:
    """Tools, system, messages: the order in which a prefix is cached."""

    def block(place: str, item: Any) -> Block:
        if isinstance(item, str):
            return Block(place, item)
        plain = {key: value for key, value in item.items() if key != "cache_control"}
        text = plain["text"] if plain.get("type") == "text" else dump(plain)
        return Block(place, text, breakpoint=bool(item.get("cache_control")))

    for tool in body.get("tools") or ():
        yield block("tools", tool)
    system = body.get("system") or ()
    for item in [system] if isinstance(system, str) else system:
        yield block("system", item)
    # Another tool choice makes the cache of the messages void, not that of what stands before them.
    choice = f"tool_choice {dump(body.get('tool_choice'))}"
    for number, message in enumerate(body["messages"]):
        content = message["content"]
        for item in [content] if isinstance(content, str) else content:
            yield block(f"{choice} {number} {message['role']}", item)


def _event(part: dict[str, Any], said: int = 0, tells: Usage | None = None) -> Event:
    return Event(f"event: {part['type']}\ndata: {dump(part)}\n\n".encode(), said, tells)


def _usage(usage: Usage) -> dict[str, Any]:
    said: dict[str, Any] = {
        # What is read from the cache or written to it is reported beside the other input, not within it.
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said
