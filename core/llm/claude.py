"""Anthropic behind the `Provider` interface.

It answers by one forced output tool, whose input is streamed eagerly: otherwise the API holds a long string back until
it is whole, and the silence looks like a dead model. We validate the answer ourselves.

It keeps the beginning of a request up to a mark: one stands behind tool and system prompt, which all jobs have in
common, and one behind what the calls of a job share.
"""

import json
from typing import Any

from anthropic import AsyncAnthropic
from pydantic_ai.messages import CachePoint, ModelResponse, ToolCallPart, UserContent
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider as AnthropicClient
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from core.llm.provider import Call, Prompt, T
from core.llm.streaming import DEFAULT_TIMEOUTS, THINKING, StreamingProvider, Timeouts

# Given, so that the SDK does not take its own from the environment behind the settings' back.
_ANTHROPIC_URL = "https://api.anthropic.com"


class AnthropicProvider(StreamingProvider):
    """Anthropic's Messages API, or anything that speaks it at `base_url`."""

    name = "anthropic"

    def __init__(self, api_key: str, base_url: str | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        super().__init__(timeouts, api_key)
        client = AsyncAnthropic(
            api_key=api_key, base_url=base_url or _ANTHROPIC_URL, http_client=self._http, max_retries=0
        )
        self._client = AnthropicClient(anthropic_client=client)

    def _build_model(self, name: str) -> Model:
        return AnthropicModel(name, provider=self._client)

    def _settings(self, call: Call[T]) -> ModelSettings:
        return AnthropicModelSettings(
            max_tokens=self._max_tokens(call),
            thinking=THINKING,
            anthropic_eager_input_streaming=True,
            # Keeping a beginning costs a quarter more, so only where other calls are to come that have it too.
            anthropic_cache_instructions=bool(call.prompt.shared),
        )

    def _user(self, prompt: Prompt) -> str | list[UserContent]:
        return [f"{prompt.shared}\n\n", CachePoint(), prompt.user] if prompt.shared else prompt.user

    def _parameters_of(self, name: str, schema: dict[str, Any]) -> ModelRequestParameters:
        tool = ToolDefinition(
            name=name, description="Give the whole answer in one call.", parameters_json_schema=schema, kind="output"
        )
        return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)

    def _answer(self, response: ModelResponse) -> str | None:
        for part in response.parts:
            if isinstance(part, ToolCallPart):
                # Not `args_as_json_str`: it wraps what is no JSON, and hides it.
                return part.args if isinstance(part.args, str) else json.dumps(part.args or {})
        return None
