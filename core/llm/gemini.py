"""Google's Gemini behind the `Provider` interface.

It sends a tool call only as a whole, so it answers as JSON text under a response schema, which does stream. We validate
the answer ourselves.
"""

from typing import Any

from google.genai.types import HttpRetryOptions
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers.google import GoogleProvider as GoogleClient

from core.llm.streaming import DEFAULT_TIMEOUTS, StreamingProvider, Timeouts

# Given, so that the SDK does not take its own from the environment behind the settings' back.
_GOOGLE_URL = "https://generativelanguage.googleapis.com"


class GoogleProvider(StreamingProvider):
    """The Gemini API, or anything that speaks it at `base_url`."""

    name = "google"

    def __init__(self, api_key: str, base_url: str | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        super().__init__(timeouts, api_key)
        self._client = GoogleClient(
            api_key=api_key,
            base_url=base_url or _GOOGLE_URL,
            http_client=self._http,
            # Also ends google-genai's own resend after a disconnect.
            retry_options=HttpRetryOptions(attempts=1),
        )

    def _build_model(self, name: str) -> Model:
        return GoogleModel(name, provider=self._client)

    def _parameters_of(self, name: str, schema: dict[str, Any]) -> ModelRequestParameters:
        wanted = OutputObjectDefinition(json_schema=schema, name=name)
        return ModelRequestParameters(output_mode="native", output_object=wanted)

    def _answer(self, response: ModelResponse) -> str | None:
        return "".join(part.content for part in response.parts if isinstance(part, TextPart)) or None
