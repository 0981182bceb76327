"""The model catalogue: what each model takes, how long it may be silent, and where its price stands."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from core.contracts.llm import SIMULATOR

FREE = "free"
"""The price of a model that runs here, and bills nothing."""


class TimeoutClass(StrEnum):
    """How long a model of this kind may be silent before it counts as gone."""

    FAST = "fast"
    DEEP = "deep"
    LOCAL = "local"
    """It may have to be read from the disk first, and shares its machine."""


@dataclass(frozen=True)
class Silence:
    """How long a model may say nothing: before its first token, and between two."""

    first_token: timedelta
    between_tokens: timedelta


TIMEOUTS = {
    TimeoutClass.FAST: Silence(timedelta(seconds=30), timedelta(seconds=30)),
    TimeoutClass.DEEP: Silence(timedelta(seconds=60), timedelta(seconds=60)),
    TimeoutClass.LOCAL: Silence(timedelta(seconds=120), timedelta(seconds=120)),
}


@dataclass(frozen=True)
class Model:
    """What is known of a model. Tokens."""

    context_window: int
    """Of prompt and answer together, or of the prompt where the provider counts them apart."""
    max_output: int
    timeouts: TimeoutClass
    cache_minimum: int | None = None
    """The shortest beginning of a prompt that the provider keeps; None where nothing is billed for it."""
    price: str | None = None
    """`provider/model` in the price list of `genai-prices`, or `free`; None is the model's own name."""


_FAST, _DEEP, _LOCAL = TimeoutClass.FAST, TimeoutClass.DEEP, TimeoutClass.LOCAL

# https://platform.claude.com/docs/en/about-claude/models/overview and .../build-with-claude/prompt-caching,
# https://ai.google.dev/gemini-api/docs/models and .../caching, https://ollama.com/library. Where a provider's own pages
# differ, the cautious figure.
MODELS = {
    "anthropic:claude-haiku-4-5": Model(200_000, 64_000, _FAST, 4_096),
    "anthropic:claude-sonnet-4-5": Model(200_000, 64_000, _DEEP, 1_024),
    "anthropic:claude-sonnet-4-6": Model(1_000_000, 64_000, _DEEP, 2_048),
    "anthropic:claude-opus-4-1": Model(200_000, 32_000, _DEEP, 1_024),
    "anthropic:claude-opus-4-5": Model(200_000, 64_000, _DEEP, 4_096),
    "anthropic:claude-opus-4-6": Model(1_000_000, 128_000, _DEEP, 4_096),
    "anthropic:claude-opus-4-7": Model(1_000_000, 128_000, _DEEP, 4_096),
    "google:gemini-2.5-flash-lite": Model(1_048_576, 65_536, _FAST, 1_024),
    "google:gemini-2.5-flash": Model(1_048_576, 65_536, _FAST, 1_024),
    "google:gemini-2.5-pro": Model(1_048_576, 65_536, _DEEP, 4_096),
    "google:gemini-3-flash-preview": Model(1_048_576, 65_536, _FAST, 1_024),
    "google:gemini-3-pro-preview": Model(1_048_576, 65_536, _DEEP, 4_096),
    "google:gemini-3.1-pro-preview": Model(1_048_576, 65_536, _DEEP, 4_096),
    # Ollama cuts off what is longer than its own setting (OLLAMA_CONTEXT_LENGTH) without a word.
    "ollama:llama3.2": Model(131_072, 131_072, _LOCAL, price=FREE),
    "ollama:llama3.1": Model(131_072, 131_072, _LOCAL, price=FREE),
    "ollama:gemma3": Model(131_072, 131_072, _LOCAL, price=FREE),
    "ollama:gpt-oss": Model(131_072, 131_072, _LOCAL, price=FREE),
    "ollama:mistral": Model(32_768, 32_768, _LOCAL, price=FREE),
    "ollama:qwen3": Model(40_960, 40_960, _LOCAL, price=FREE),
    SIMULATOR: Model(10_000_000, 1_000_000, _FAST, price=FREE),
}

# Of models that only a setting names, and of whatever an Ollama holds. The least that any of the provider's takes.
_UNLISTED = {
    "anthropic": Model(200_000, 32_000, _DEEP, 4_096),
    "google": Model(1_048_576, 65_536, _DEEP, 4_096),
    "ollama": Model(32_768, 32_768, _LOCAL, price=FREE),
    "simulator": MODELS[SIMULATOR],
}
_NOWHERE = Model(32_768, 8_192, _DEEP)
_DATED = re.compile(r"-\d{8}$")
"""The end of a snapshot's name: `claude-haiku-4-5-20251001` is `claude-haiku-4-5`."""


def entry(model: str) -> Model:
    """What is known of `provider:model`; the provider's usual figures for one that is not in the catalogue."""
    return listed(model) or _UNLISTED.get(model.partition(":")[0], _NOWHERE)


def context_window(model: str) -> int:
    """Tokens that `provider:model` takes."""
    return entry(model).context_window


def timeouts(model: str) -> Silence:
    """How long `provider:model` may be silent."""
    return TIMEOUTS[entry(model).timeouts]


def price_source(model: str) -> str:
    """Where the price of `provider:model` stands: `provider/model` in `genai-prices`, or `free`."""
    return entry(model).price or model.replace(":", "/", 1)


def listed(model: str) -> Model | None:
    """The catalogue's entry: by the name, by that of the model of which it is a snapshot, or without Ollama's tag."""
    base = ":".join(model.split(":")[:2]) if model.startswith("ollama:") else _DATED.sub("", model)
    return MODELS.get(model) or MODELS.get(base)
