"""Ollama's OpenAI-compatible `/v1/chat/completions`, and the list of its models at `/api/tags`.

https://github.com/ollama/ollama/blob/main/docs/openai.md and docs/api.md. The shape of errors is that of its
`openai/openai.go`; a refusal and `context_length_exceeded` are OpenAI's.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from core.contracts.llm import Usage
from tests.support.wire_dialect import Arrived, Dialect, dump, pieces, sse, texts
from tests.support.wire_messages import Answer, Block, Event, ProviderName, WireRequest

TAGS = "/api/tags"
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    529: "overloaded_error",
}
_CREATED = 1_700_000_000


class OllamaDialect(Dialect):
    """Ollama, which caches no prompts that it would tell of, and bills nothing."""

    name: ProviderName = "ollama"

    def recognises(self, route: str) -> bool:
        """The one path of chats."""
        return route == "/v1/chat/completions"

    def read(self, route: str, query: str, arrived: Arrived) -> WireRequest:
        """A chat request; the output is the name of its JSON schema."""
        body = arrived.body
        wanted = (body.get("response_format") or {}).get("json_schema", {})
        turns = tuple((message["role"], "\n".join(texts(message))) for message in body["messages"])
        schema = wanted.get("schema", {})
        return WireRequest(
            **vars(arrived),
            provider=self.name,
            model=body["model"],
            stream=bool(body.get("stream")),
            turns=turns,
            output=wanted.get("name"),
            schema=schema,
            as_tool=False,
            blocks=(*(Block(*turn) for turn in turns), Block("schema", dump(schema) if schema else "")),
        )

    def whole(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> dict[str, Any]:
        """A `chat.completion`."""
        message = {"role": "assistant", "content": said}
        if answer.finish == "refused":
            message["refusal"] = "I cannot help with that."
        choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
        return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": _usage(usage)}

    def events(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> list[Event]:
        """The role, the pieces, the reason to stop, the usage if it is wanted, and `[DONE]`."""
        envelope = _envelope(request, "chat.completion.chunk")

        def chunk(delta: dict[str, Any], said: int = 0, finish: str | None = None) -> Event:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return Event(sse({**envelope, "choices": [choice]}), said)

        made = [chunk({"role": "assistant", "content": ""})]
        if answer.finish == "refused":
            made.append(chunk({"refusal": "I cannot help with that."}))
        made += [chunk({"content": piece}, len(piece)) for piece in pieces(said, answer.pieces)]
        made.append(chunk({"content": ""}, finish=_finish(answer)))
        if (request.body.get("stream_options") or {}).get("include_usage"):
            made.append(Event(sse({**envelope, "choices": [], "usage": _usage(usage)}), tells=usage))
        return [*made, Event(b"data: [DONE]\n\n")]

    def error(self, code: int, answer: Answer) -> dict[str, Any]:
        """An error as OpenAI words it."""
        error = {"message": answer.message, "type": answer.error or _ERRORS.get(code, "api_error"), "param": None}
        if answer.window:
            tokens, window = answer.window
            message = f"This model's maximum context length is {window} tokens, and the messages have {tokens}."
            return {"error": {**error, "message": message, "code": "context_length_exceeded"}}
        return {"error": {**error, "code": None}}


def tags(models: Sequence[str]) -> dict[str, Any]:
    """The answer to `GET /api/tags`."""
    return {
        "models": [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-11-01T12:00:00Z",
                "size": 2_019_393_189,
                "digest": hashlib.sha256(name.encode()).hexdigest(),
                "details": {"format": "gguf", "family": "llama", "parameter_size": "3.2B"},
            }
            for name in models
        ]
    }


def pulled(model: str, models: Sequence[str]) -> bool:
    """Whether Ollama has a model of that name; `latest` may be left out."""
    return model in models or f"{model}:latest" in models


def model_missing(model: str) -> Answer:
    """What it says of a model that it does not have."""
    return Answer(status=404, message=f'model "{model}" not found, try pulling it first')


def _envelope(request: WireRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.index}",
        "object": kind,
        "created": _CREATED,
        "model": request.model,
        "system_fingerprint": "fp_ollama",
    }


def _finish(answer: Answer) -> str:
    return {"length": "length", "blocked": "content_filter"}.get(answer.finish, "stop")


def _usage(usage: Usage) -> dict[str, Any]:
    said: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        said["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        said["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return said
