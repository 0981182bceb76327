"""Gemini's `generateContent` and `streamGenerateContent`.

https://ai.google.dev/api/generate-content and https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from typing import Any

from core.contracts.llm import Usage
from tests.support.wire_dialect import Arrived, Dialect, dump, parsed, pieces, sse, texts
from tests.support.wire_messages import Answer, Block, Event, ProviderName, WireRequest

_MODELS = "/v1beta/models/"
_ERRORS = {
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
_ROLES = {"model": "assistant"}


class GoogleDialect(Dialect):
    """Gemini, which caches any long prefix of its own accord."""

    name: ProviderName = "google"

    def recognises(self, route: str) -> bool:
        """The paths of a model's two methods."""
        return route.startswith(_MODELS) and route.rpartition(":")[2] in ("generateContent", "streamGenerateContent")

    def read(self, route: str, query: str, arrived: Arrived) -> WireRequest:
        """A request for content; the output is its first function, or the title of its response schema."""
        body = arrived.body
        model, _, method = route.removeprefix(_MODELS).partition(":")
        declared = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
        config = body.get("generationConfig", {})
        wanted = declared[0].get("parametersJsonSchema", {}) if declared else config.get("responseJsonSchema", {})
        system = "\n".join(texts(body.get("systemInstruction")))
        turns = [("system", system)] if system else []
        for content in body["contents"]:
            role = content.get("role", "user")
            turns.append((_ROLES.get(role, role), "\n".join(texts(content))))
        # The schema is read too; it stands apart, as nothing says that it belongs to the prefix.
        schema = Block("schema", dump(wanted) if wanted else "", cacheable=False)
        return WireRequest(
            **vars(arrived),
            provider=self.name,
            model=model,
            stream=method == "streamGenerateContent" and "alt=sse" in query,
            turns=tuple(turns),
            output=declared[0]["name"] if declared else wanted.get("title"),
            schema=wanted,
            as_tool=bool(declared),
            blocks=(*(Block(*turn) for turn in turns), schema),
        )

    def whole(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> dict[str, Any]:
        """A response with one candidate, or with none when the prompt is blocked."""
        shared: dict[str, Any] = {
            "usageMetadata": _usage(usage),
            "modelVersion": request.model,
            "responseId": f"response-{request.index}",
        }
        if answer.finish == "blocked":
            return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **shared}
        part: dict[str, Any] = {"text": said}
        if request.as_tool and answer.text is None:
            part = {"functionCall": {"name": request.output, "args": parsed(said)}}
        finish = {"done": "STOP", "length": "MAX_TOKENS", "refused": "SAFETY"}[answer.finish]
        content: dict[str, Any] = {"content": {"role": "model", "parts": [part]}} if said else {}
        return {"candidates": [{**content, "finishReason": finish, "index": 0}], **shared}

    def events(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> list[Event]:
        """The pieces, then the reason to stop with the usage. A function call is sent as a whole; only text comes in
        pieces."""
        whole = self.whole(request, answer, said, usage)
        if "promptFeedback" in whole:
            return [Event(sse(whole), tells=usage)]
        last = whole["candidates"][0]
        parts = [] if request.as_tool and answer.text is None else pieces(said, answer.pieces)
        shared = {key: whole[key] for key in ("modelVersion", "responseId")}
        made = []
        for piece in parts:
            candidate = {"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}
            made.append(Event(sse({"candidates": [candidate], **shared}), len(piece)))
        if parts:
            last = last | {"content": {"role": "model", "parts": [{"text": ""}]}}
        rest = 0 if parts else len(said)
        return [*made, Event(sse({**whole, "candidates": [last]}), rest, tells=usage)]

    def error(self, code: int, answer: Answer) -> dict[str, Any]:
        """An error by its status. A prompt that is too long has no status of its own, only words."""
        message = answer.message
        if answer.window:
            tokens, window = answer.window
            message = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({window})."
        return {
            "error": {"code": code, "message": message, "status": answer.error or _ERRORS.get(code, "UNKNOWN")},
        }


def _usage(usage: Usage) -> dict[str, int]:
    said = {
        "promptTokenCount": usage.input_tokens,
        # Thoughts are counted apart from the answer.
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        # Among the prompt's.
        said["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        said["thoughtsTokenCount"] = usage.reasoning_tokens
    return said
