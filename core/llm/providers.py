"""The providers of a deployment, built from its settings."""

from datetime import timedelta

from core.llm.choice import configured_providers
from core.llm.provider import Provider
from core.llm.simulator import SimulatorProvider
from core.settings import Settings


def build_providers(settings: Settings) -> dict[str, Provider]:
    """Every provider that is configured, by name; the simulator where none is and it is allowed. May be empty.

    An SDK takes one to two seconds to import, so only those are that are used.
    """
    configured = configured_providers(settings)
    providers: list[Provider] = []
    if configured - {"simulator"}:
        providers += _real_providers(settings)
    if "simulator" in configured:
        providers.append(SimulatorProvider(latency=timedelta(milliseconds=settings.simulator_latency_ms)))
    return {provider.name: provider for provider in providers}


def _real_providers(settings: Settings) -> list[Provider]:
    from core.llm.streaming import Timeouts

    timeouts = Timeouts(
        first_token=_seconds(settings.model_first_token_seconds),
        between_tokens=_seconds(settings.model_between_tokens_seconds),
        total=timedelta(seconds=settings.model_total_seconds),
    )
    providers: list[Provider] = []
    if (key := settings.anthropic_api_key) is not None:
        from core.llm.claude import AnthropicProvider

        providers.append(AnthropicProvider(key.get_secret_value().strip(), settings.anthropic_base_url, timeouts))
    if (key := settings.gemini_api_key) is not None:
        from core.llm.gemini import GoogleProvider

        providers.append(GoogleProvider(key.get_secret_value().strip(), settings.gemini_base_url, timeouts))
    if (url := settings.ollama_url) is not None:
        from core.llm.ollama import OllamaProvider

        providers.append(OllamaProvider(url, timeouts))
    return providers


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
