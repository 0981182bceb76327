"""Prices of model calls, and what is held for them, offline."""

from decimal import Decimal

import pytest

from core.contracts.llm import SIMULATOR, Usage
from core.ledger.prices import price, reservation


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
        # 400,000 plain, 400,000 read at 0.1, 200,000 written at 1.25. Gemini has no price for writing: 600,000 plain.
        (
            "anthropic:claude-haiku-4-5",
            Usage(input_tokens=1_000_000, cached_tokens=400_000, cache_write_tokens=200_000),
            "0.69",
        ),
        (
            "google:gemini-2.5-flash",
            Usage(input_tokens=1_000_000, cached_tokens=400_000, cache_write_tokens=200_000),
            "0.192",
        ),
        # Reasoning is output, at its own price where it has one (8 out, 3 reasoning).
        ("google:gemini-2.5-flash", Usage(output_tokens=100_000, reasoning_tokens=90_000), "0.25"),
        ("perplexity:sonar-deep-research", Usage(output_tokens=100_000, reasoning_tokens=90_000), "0.35"),
        # A part that is more than the whole.
        ("anthropic:claude-haiku-4-5", Usage(input_tokens=100, cached_tokens=300, cache_write_tokens=50), "0.00001"),
        (SIMULATOR, Usage(input_tokens=1_000_000, output_tokens=1_000_000), "0"),
        ("ollama:llama3.2", Usage(input_tokens=1_000_000, output_tokens=1_000_000), "0"),
    ],
)
def test_price(model: str, usage: Usage, usd: str) -> None:
    cost = price(model, usage)
    assert isinstance(cost, Decimal)
    assert cost == Decimal(usd)


@pytest.mark.parametrize("model", ["anthropic:claude-nobody", "nobody:nothing", "google:", "no-colon"])
def test_unknown_model_has_no_price(model: str) -> None:
    assert price(model, Usage(input_tokens=1_000)) is None
    assert reservation(model, input_bytes=1_000, max_output_tokens=1_000) is None


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        # 2,501 tokens of what is sent (5,001 bytes) and 1,000 of overhead, at 1.25 (written to the cache) and at 0.3;
        # 8,000 of output at 5 and at 2.5.
        ("anthropic:claude-haiku-4-5", "0.04437625"),
        ("google:gemini-2.5-flash", "0.0210503"),
        (SIMULATOR, "0"),
        ("ollama:llama3.2", "0"),
    ],
)
def test_what_is_held_for_a_call(model: str, usd: str) -> None:
    assert reservation(model, input_bytes=5_001, max_output_tokens=8_000) == Decimal(usd)


@pytest.mark.parametrize("cached", [0, 0.5, 1])
@pytest.mark.parametrize("written", [0, 0.5, 1])
@pytest.mark.parametrize("model", ["anthropic:claude-sonnet-4-5", "google:gemini-2.5-pro"])
@pytest.mark.parametrize("tokens", [1, 150_000, 250_000])
def test_no_way_of_billing_passes_what_is_held(model: str, tokens: int, cached: float, written: float) -> None:
    # Longer prompts have higher prices, for their output too.
    held = reservation(model, input_bytes=2 * tokens, max_output_tokens=8_000)
    usage = Usage(
        input_tokens=tokens,
        cached_tokens=round(cached * tokens),
        cache_write_tokens=round(written * tokens),
        output_tokens=8_000,
        reasoning_tokens=4_000,
    )
    cost = price(model, usage)
    assert held is not None
    assert cost is not None
    assert cost <= held
