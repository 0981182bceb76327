"""Which models a deployment can use, from its settings alone.

Apart from the providers, which import their SDKs (up to 2 s): the API validates chains and needs none of them.
"""

from core.contracts.llm import SIMULATOR
from core.contracts.models import MODELS, listed
from core.settings import Settings

_SWITCHES = {"anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY", "ollama": "OLLAMA_URL"}
"""What a provider needs to be asked."""
_NAMES = {"anthropic": "ANTHROPIC_MODEL", "google": "GEMINI_MODEL", "ollama": "OLLAMA_MODEL"}


def configured_providers(settings: Settings) -> frozenset[str]:
    """Names of the providers that can be asked. The simulator is one only where no real provider is."""
    switches = {
        "anthropic": settings.anthropic_api_key,
        "google": settings.gemini_api_key,
        "ollama": settings.ollama_url,
    }
    real = frozenset(name for name, switch in switches.items() if switch is not None)
    if real or not settings.simulator:
        return real
    return frozenset({"simulator"})


def default_chain(settings: Settings) -> tuple[str, ...]:
    """The chain of a job that names none, as `provider:model`; empty when nothing can be asked."""
    usable = configured_providers(settings)
    return tuple(model for name, model in _named(settings).items() if name in usable)


def known(model: str, settings: Settings) -> bool:
    """Whether a job may name `provider:model`: it is in the catalogue, a setting names it, or it is an Ollama's."""
    local = model.startswith("ollama:") and settings.ollama_url is not None
    return local or listed(model) is not None or model in _named(settings).values()


def refusal(model: str, settings: Settings) -> str | None:
    """Why a job cannot have `provider:model` in its chain, and what to do about it; None if it can."""
    provider = model.partition(":")[0]
    usable = configured_providers(settings)
    if provider not in {*_SWITCHES, "simulator"}:
        return f"{model}: there is no provider {provider!r}. There are {', '.join(_SWITCHES)}."
    if provider not in usable and provider in _SWITCHES:
        others = f" Name a model of {' or '.join(sorted(usable))}, or set" if usable else " Set"
        return f"{model}: {provider} is not configured here.{others} {_SWITCHES[provider]}."
    if provider not in usable:
        return f"{model}: the simulator is off, or a real provider answers in its place. Leave it out of the chain."
    if not known(model, settings):
        names = ", ".join(name for name in MODELS if name.startswith(f"{provider}:"))
        more = f", and what {_NAMES[provider]} names" if provider in _NAMES else ""
        return f"{model}: there is no such model in the catalogue. There are {names}{more}."
    return None


def _named(settings: Settings) -> dict[str, str]:
    """The models that the settings name, by provider, in the order in which they are tried."""
    return {
        "anthropic": f"anthropic:{settings.anthropic_model}",
        "google": f"google:{settings.gemini_model}",
        "ollama": f"ollama:{settings.ollama_model}",
        "simulator": SIMULATOR,
    }
