"""Prices of model calls, offline."""

from decimal import Decimal

import pytest

from core.contracts.llm import SIMULATOR, Usage
from core.ledger.prices import price


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        # USD a million tokens: Haiku 4.5 1 in, 5 out, 0.1 cached; Gemini 2.5 Flash 0.3 in, 2.5 out, 0.03 cached.
        ("anthropic:claude-haiku-4-5", Usage(input_tokens=1_000_000, output_tokens=100_000), "1.5"),
        ("google:gemini-2.5-flash", Usage(input_tokens=1_000_000, output_tokens=100_000), "0.55"),
        ("anthropic:claude-haiku-4-5", Usage(input_tokens=1_000_000, cached_tokens=400_000), "0.64"),
        ("google:gemini-2.5-flash", Usage(input_tokens=1_000_000, cached_tokens=1_000_000), "0.03"),
        ("anthropic:claude-haiku-4-5", Usage(input_tokens=1), "0.000001"),
        ("google:gemini-2.5-flash", Usage(input_tokens=1), "0.0000003"),
        ("anthropic:claude-haiku-4-5", Usage(), "0"),
        (SIMULATOR, Usage(input_tokens=1_000_000, output_tokens=1_000_000), "0"),
    ],
)
def test_price(model: str, usage: Usage, usd: str) -> None:
    cost = price(model, usage)
    assert isinstance(cost, Decimal)
    assert cost == Decimal(usd)


@pytest.mark.parametrize("model", ["anthropic:claude-nobody", "ollama:llama3", "nobody:nothing", "google:", "no-colon"])
def test_unknown_model_has_no_price(model: str) -> None:
    assert price(model, Usage(input_tokens=1_000)) is None
