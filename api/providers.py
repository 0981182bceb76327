"""The providers as their users see them: which models, at what price, whether they answer.

Only Ollama is asked, as it costs nothing: of the others the ledger tells how the owner's last calls went.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from api.deps import Deps
from api.views import View
from core.contracts.errors import ERRORS, ErrorType
from core.contracts.llm import Usage
from core.contracts.models import MODELS, context_window
from core.db.repositories.usage import ProviderHealth
from core.ledger.prices import price
from core.llm.health import ollama_models

TIMEOUT_SECONDS = 2.0
PROVIDERS = tuple(dict.fromkeys(model.partition(":")[0] for model in MODELS))
"""In the order in which they are tried."""
_OURS = frozenset({ErrorType.UNKNOWN_MODEL, ErrorType.PROVIDER_COOLING, ErrorType.PRICE_UNKNOWN})
TROUBLES = tuple(kind for kind in ErrorType if ERRORS[kind].falls_through and kind not in _OURS)
"""Failures that tell of a provider, and not of us."""
_SILENT = frozenset(
    {
        ErrorType.OVERLOADED,
        ErrorType.PROVIDER_ERROR,
        ErrorType.PROVIDER_UNREACHABLE,
        ErrorType.MODEL_TIMEOUT,
        ErrorType.STREAM_CUT,
    }
)
"""After these it does not answer; after the others it did, though not as was wished."""
_A_FEW = 1_000
"""Tokens. Of a price that depends on a call's length this is the lower one."""


async def held(deps: Deps) -> tuple[str, ...] | None:
    """The models that the Ollama holds, as `ollama:name`; None when there is none, or it does not answer."""
    url = deps.settings.ollama_url
    names = None if url is None else await ollama_models(url, TIMEOUT_SECONDS)
    return None if names is None else tuple(f"ollama:{name.removesuffix(':latest')}" for name in names)


def provider_view(deps: Deps, name: str, health: ProviderHealth, local: tuple[str, ...] | None) -> View:
    """A provider, as `money_schemas.ProviderView`. `local`: what an Ollama holds; None: it does not answer."""
    configured = name in deps.providers
    reachable, checked_at = _reachable(health)
    if health.cooling_until is not None:
        reachable = False
    if name == "simulator" and configured:
        reachable, checked_at = True, datetime.now(UTC)
    if name == "ollama" and configured:
        reachable, checked_at = local is not None, datetime.now(UTC)
    return {
        "name": name,
        "configured": configured,
        "reachable": reachable,
        "checked_at": checked_at,
        "cooling_down_until": health.cooling_until,
        "last_error": None
        if health.error_type is None
        else {"code": health.error_type, "message": health.error_message, "at": health.failed_at},
        "models": [_model_view(model, deps.chain) for model in _models(name, deps.chain, local)],
    }


def _reachable(health: ProviderHealth) -> tuple[bool | None, datetime | None]:
    """What the later of its last answer and its last failure says."""
    if health.failed_at is None or (health.answered_at is not None and health.answered_at >= health.failed_at):
        return (None if health.answered_at is None else True), health.answered_at
    return health.error_type not in _SILENT, health.failed_at


def _models(provider: str, chain: Sequence[str], local: tuple[str, ...] | None) -> list[str]:
    """The default one first, then the others that are known: of an Ollama those that it holds."""
    default = [model for model in chain if model.startswith(f"{provider}:")]
    listed = [model for model in MODELS if model.startswith(f"{provider}:")]
    return list(dict.fromkeys([*default, *(listed if provider != "ollama" or local is None else local)]))


def _model_view(model: str, chain: Sequence[str]) -> View:
    asked = price(model, Usage(input_tokens=_A_FEW))
    answered = price(model, Usage(output_tokens=_A_FEW))
    each = 1_000_000 // _A_FEW
    return {
        "model": model,
        "default": model in chain,
        "context_window": context_window(model),
        "usd_per_million": None
        if asked is None or answered is None
        else {"input": float(asked * each), "output": float(answered * each)},
    }
