"""What a model call costs and may cost, in USD, from the price list that ships with `genai-prices` (no network)."""

from decimal import Decimal
from typing import Any

import genai_prices

from core.contracts.llm import Usage
from core.contracts.models import FREE, price_source

_CENTS_OF_A_MICRODOLLAR = Decimal("0.00000001")
"""One token of the cheapest models costs about 0.00000004 USD; eight decimals keep it."""
_BYTES_PER_TOKEN = 2
"""Fewer than a token has in any language that the models' tokenizers were made for: English has four to five, Chinese
about three."""
_OVERHEAD_TOKENS = 1_000
"""What a provider adds to what is sent: roles, tool definitions, instructions on the form of the answer."""


def is_free(model: str) -> bool:
    """Whether nobody bills `provider:model`."""
    return price_source(model) == FREE


def price(model: str, usage: Usage) -> Decimal | None:
    """USD for one call to `provider:model`: tokens read from and written to the prompt's cache, and those of reasoning,
    at their own price where they have one. What runs here is free.

    None when the price list does not know the model; then nobody can say what was spent.
    """
    # A provider's own counts may contradict one another, and no part is more than the whole.
    cached = min(usage.cached_tokens, usage.input_tokens)
    return _price(
        model,
        input_tokens=usage.input_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens - cached),
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=min(usage.reasoning_tokens, usage.output_tokens),
    )


def reservation(model: str, *, input_bytes: int, max_output_tokens: int) -> Decimal | None:
    """The most that one call may cost, in USD: all that is sent, as UTF-8 with the schema of the answer, at the dearest
    price of input, and as much output as is allowed. None when the price is unknown."""
    tokens = -(-input_bytes // _BYTES_PER_TOKEN) + _OVERHEAD_TOKENS
    output = {"output_tokens": max_output_tokens}
    plain = _price(model, input_tokens=tokens, **output)
    written = _price(model, input_tokens=tokens, cache_write_tokens=tokens, **output)
    return None if plain is None or written is None else max(plain, written)


def _price(model: str, **counts: int) -> Decimal | None:
    if is_free(model):
        return Decimal(0)
    provider, _, name = price_source(model).partition("/")
    # A count of nothing asks for a price that the model may not have.
    counted: dict[str, Any] = {kind: count for kind, count in counts.items() if count}
    try:
        cost = genai_prices.calc_price(genai_prices.Usage(**counted), name, provider_id=provider)
    except LookupError:
        return None
    return cost.total_price.quantize(_CENTS_OF_A_MICRODOLLAR)
