"""A local Ollama behind the `Provider` interface, by its OpenAI-compatible chat.

It answers as JSON text under a response schema, which it turns into a grammar. We validate the answer ourselves. It
keeps a request's beginning in memory by itself.
"""

from typing import Any

from openai import AsyncOpenAI
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModelSettings
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider as OllamaClient
from pydantic_ai.settings import ModelSettings

from core.llm.exchange import Exchange
from core.llm.provider import Call, ModelFailure, T
from core.llm.streaming import DEFAULT_TIMEOUTS, StreamingProvider, Timeouts

_NO_KEY = "none"
"""Ollama takes no key; the SDK insists on one, and would look for another in the environment."""


class OllamaProvider(StreamingProvider):
    """The Ollama at `url`, for example `http://127.0.0.1:11434`."""

    name = "ollama"

    def __init__(self, url: str, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        super().__init__(timeouts)
        self._url = url.rstrip("/")
        client = AsyncOpenAI(
            api_key=_NO_KEY,
            # Given, so that the SDK sends nothing of the environment to a server that is not OpenAI's.
            organization="",
            project="",
            base_url=f"{self._url}/v1",
            http_client=self._http,
            max_retries=0,
        )
        self._client = OllamaClient(openai_client=client)

    def _build_model(self, name: str) -> Model:
        ours = OpenAIModelProfile(
            # https://github.com/ollama/ollama/blob/main/openai/openai.go knows `max_tokens` only.
            openai_chat_supports_max_completion_tokens=False,
            # pydantic-ai refuses it for models in Ollama's cloud, which take a schema for a wish.
            supports_json_schema_output=True,
        )
        return OllamaModel(name, provider=self._client, profile=merge_profile(self._client.model_profile(name), ours))

    def _settings(self, call: Call[T]) -> ModelSettings:
        # pydantic-ai does not know which of its models think, so `thinking` would not reach it.
        return OpenAIChatModelSettings(max_tokens=self._max_tokens(call), openai_reasoning_effort="none")

    def _parameters_of(self, name: str, schema: dict[str, Any]) -> ModelRequestParameters:
        wanted = OutputObjectDefinition(json_schema=schema, name=name)
        return ModelRequestParameters(output_mode="native", output_object=wanted)

    def _answer(self, response: ModelResponse) -> str | None:
        return "".join(part.content for part in response.parts if isinstance(part, TextPart)) or None

    def _failed(self, error: Exception, exchange: Exchange, model: str) -> ModelFailure | None:
        failure = super()._failed(error, exchange, model)
        if failure is None or exchange.status != 404:
            return failure
        name = model.partition(":")[2]
        return ModelFailure(
            failure.type,
            f"{model}: Ollama does not have it. Run `ollama pull {name}` where Ollama runs, or name another model.",
            answered=True,
            details=failure.details,
        )
