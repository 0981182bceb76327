"""What the input of a twelve-section article costs with prompt caching and without, as the fake provider bills it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from bench.figures import Figure
from bench.machine import Machine, machine
from core.contracts.models import entry
from core.ledger.prices import price
from tests.support.stack import User
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer
from tests.support.wire_messages import WireRequest

SECTIONS = 12
WORDS = SECTIONS * 300
MODELS = ("anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-5", "google:gemini-2.5-flash")
"""Each with the shortest beginning that its provider keeps: 4,096, 1,024 and 1,024 tokens."""
KEYS = {"ANTHROPIC_API_KEY": "bench-key", "GEMINI_API_KEY": "bench-key"}
"""So that the API takes their models; it asks nobody."""
_STYLE_GUIDE = " ".join(
    f"Rule {number}: of two words take the older, of two sentences the one that says who did what to whom; a number "
    f"stands with its unit, a ship with its port, a name with the year in which it is first heard of."
    for number in range(1, 20)
)
STYLE_GUIDES = {"": "", " with a style guide": _STYLE_GUIDE}
"""None, and one of nearly 4,000 characters, which is the most."""


async def run() -> list[Figure]:
    """The same two articles three times, each time with every model, at a far end that has nothing in its cache."""
    async with machine(env=KEYS) as here, User(here.api(), here.token) as user:
        plain = await _articles(here, user, STYLE_GUIDES, caching=False)
        cached: dict[tuple[str, str], Sequence[WireRequest]] = {}
        for name, style_guide in STYLE_GUIDES.items():
            cached |= await _articles(here, user, {name: style_guide}, caching=True)
    return [_figure(model, name, cached[model, name], plain[model, name]) for model, name in cached]


async def _articles(
    here: Machine, user: User, style_guides: Mapping[str, str], *, caching: bool
) -> dict[tuple[str, str], Sequence[WireRequest]]:
    """The requests of each article, by its model and the name of its style guide."""
    made: dict[tuple[str, str], Sequence[WireRequest]] = {}
    with WireProvider(composer=longform_composer, caching=caching) as wire:
        worker = here.worker(**wire.environment("anthropic", "gemini"))
        for model in MODELS:
            wire.cache_minimum = entry(model).cache_minimum or 0
            for name, style_guide in style_guides.items():
                known = len(wire.requests)
                brief = {"topic": "Tidal mills", "target_words": WORDS, "style_guide": style_guide, "cache": "bypass"}
                job = await user.submit(input=brief, models=[model])
                await user.until(job["id"], "completed")
                made[model, name] = wire.requests[known:]
        worker.stop()
        wire.assert_clean()
    return made


def _figure(model: str, name: str, cached: Sequence[WireRequest], plain: Sequence[WireRequest]) -> Figure:
    assert len(cached) == len(plain)
    usd, without = _input_usd(model, cached), _input_usd(model, plain)
    bills = [request.billed for request in cached]
    tokens = sum(bill.input_tokens for bill in bills)
    read = sum(bill.cached_tokens for bill in bills)
    written = sum(bill.cache_write_tokens for bill in bills)
    return Figure(
        f"Input cost of {SECTIONS} sections{name} over that without prompt caching: {model}",
        float(usd / without),
        "",
        note=f"{usd:.5f} over {without:.5f} USD; {len(bills)} calls, {tokens:,} tokens, {read:,} of them read from "
        f"the cache and {written:,} written to it; it keeps {entry(model).cache_minimum:,} tokens and more",
    )


def _input_usd(model: str, requests: Sequence[WireRequest]) -> Decimal:
    """What the input alone is billed; each request by itself, as prices change with its length."""
    total = Decimal(0)
    for request in requests:
        usd = price(model, request.billed.model_copy(update={"output_tokens": 0, "reasoning_tokens": 0}))
        assert usd is not None, f"no price of {model}"
        total += usd
    return total
