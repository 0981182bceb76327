"""Which models a deployment can use, from its settings alone.

Apart from the providers, which import their SDKs (up to 2 s): the API validates chains and needs none of them.
"""

from core.contracts.llm import SIMULATOR
from core.settings import Settings


def configured_providers(settings: Settings) -> frozenset[str]:
    """Names of the providers that can be asked. The simulator is one only where no real provider has a key."""
    keys = {"anthropic": settings.anthropic_api_key, "google": settings.gemini_api_key}
    real = frozenset(name for name, key in keys.items() if key is not None)
    if real or not settings.simulator:
        return real
    return frozenset({"simulator"})


def default_chain(settings: Settings) -> tuple[str, ...]:
    """The chain of a job that names none, as `provider:model`; empty when nothing can be asked."""
    models = {
        "anthropic": f"anthropic:{settings.anthropic_model}",
        "google": f"google:{settings.gemini_model}",
        "simulator": SIMULATOR,
    }
    usable = configured_providers(settings)
    return tuple(model for name, model in models.items() if name in usable)
