"""What a model call costs, in USD, from the price list that ships with `genai-prices` (no network)."""

from decimal import Decimal

import genai_prices

from core.contracts.llm import Usage

_CENTS_OF_A_MICRODOLLAR = Decimal("0.00000001")
"""One token of the cheapest models costs about 0.00000004 USD; eight decimals keep it."""


def price(model: str, usage: Usage) -> Decimal | None:
    """USD for one call to `provider:model`, cached tokens at their own price. The simulator is free.

    None when the price list does not know the model; then nobody can say what was spent.
    """
    provider, _, name = model.partition(":")
    if provider == "simulator":
        return Decimal(0)
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        cost = genai_prices.calc_price(counted, name, provider_id=provider)
    except LookupError:
        return None
    return cost.total_price.quantize(_CENTS_OF_A_MICRODOLLAR)
