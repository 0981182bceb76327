"""What a job is expected to take, and whether a budget can be kept with its models."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from api.views import View
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.estimates import EstimatedCall
from core.contracts.llm import SIMULATOR, Usage
from core.contracts.models import TimeoutClass, entry
from core.ledger.prices import price
from core.settings import Settings


@dataclass(frozen=True)
class Pace:
    """How fast a model answers. `first`: seconds to its first token."""

    first: float
    tokens_a_second: float

    def seconds(self, call: EstimatedCall) -> float:
        """How long a call takes."""
        return self.first + call.output_tokens / self.tokens_a_second


PACES = {
    TimeoutClass.FAST: Pace(1.0, 120.0),
    TimeoutClass.DEEP: Pace(2.0, 60.0),
    TimeoutClass.LOCAL: Pace(3.0, 25.0),
}
"""What most models of a class do most of the time; it changes by the hour, and locally with the machine."""
NOTE = "Failed attempts and what a person asks for on the way come on top; a provider's prompt cache makes it cheaper."
"""What holds of every estimate."""


def estimate_view(calls: Sequence[EstimatedCall], model: str, settings: Settings) -> View:
    """What these calls take if `model` makes all of them, as `schemas.EstimateView`."""
    usd = _usd(calls, model)
    return {
        "model": model,
        "calls": len(calls),
        "usd": None if usd is None else float(usd),
        "input_tokens": sum(call.input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens for call in calls),
        "minutes": round(_seconds(calls, _pace(model, settings)) / 60, 2),
    }


def basis_view(calls: Sequence[EstimatedCall], notes: Sequence[str]) -> View:
    """What an estimate rests on, as `money_schemas.BasisView`. `notes`: the pipeline's own."""
    by_prompt: dict[str, list[EstimatedCall]] = {}
    for call in calls:
        by_prompt.setdefault(call.prompt, []).append(call)
    return {
        "calls": [
            {
                "prompt": prompt,
                "calls": len(same),
                "input_tokens": sum(call.input_tokens for call in same),
                "output_tokens": sum(call.output_tokens for call in same),
            }
            for prompt, same in by_prompt.items()
        ],
        "notes": [*notes, NOTE],
    }


def check_budget(budget_usd: Decimal | None, models: Sequence[str]) -> None:
    """Raises `PRICE_UNKNOWN` for a budget with a model whose price nobody knows: nothing could be reserved for it."""
    if budget_usd is None:
        return
    unknown = [model for model in models if _price(model, 1, 1) is None]
    if unknown:
        raise AtelierError(
            ErrorType.PRICE_UNKNOWN,
            f"Nobody knows what {unknown[0]} costs, so a budget cannot be kept with it. Name models whose price is "
            "known (GET /v1/providers tells), or leave `budget_usd` out.",
            details={"models": unknown},
        )


def _usd(calls: Sequence[EstimatedCall], model: str) -> Decimal | None:
    """Call by call, as some prices depend on a call's length; equal calls, such as sections, are looked up once."""
    total = Decimal(0)
    for (asked, answered), count in Counter((call.input_tokens, call.output_tokens) for call in calls).items():
        usd = _price(model, asked, answered)
        if usd is None:
            return None
        total += count * usd
    return total


@lru_cache(maxsize=4_096)
def _price(model: str, asked: int, answered: int) -> Decimal | None:
    """Kept, as every submission wants some, and to look one up takes a quarter of a millisecond."""
    return price(model, Usage(input_tokens=asked, output_tokens=answered))


def _seconds(calls: Sequence[EstimatedCall], pace: Pace) -> float:
    """The slowest call of each position on the path, one after another."""
    slowest: dict[int, float] = {}
    for call in calls:
        slowest[call.path] = max(slowest.get(call.path, 0.0), pace.seconds(call))
    return sum(slowest.values())


def _pace(model: str, settings: Settings) -> Pace:
    if model == SIMULATOR:
        return Pace(settings.simulator_latency_ms / 1000, float("inf"))
    return PACES[entry(model).timeouts]
