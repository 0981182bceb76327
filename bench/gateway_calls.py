"""`python -m bench.gateway_calls CONCURRENCY ROUNDS`: the same call by the bare client and through the gateway.

In a process of its own, in all that a worker is: its event loop, its collector's settings, its log. Prints, as its
last line, JSON: a list of milliseconds for each way.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count

import uvloop

from activities.longform.prompting import brief_inputs, output_tokens, section_inputs
from bench.contracts import StepTaken, TakeStep
from bench.gateway import WAYS
from core.contracts.jobs import StepKey
from core.contracts.llm import PromptRef
from core.contracts.longform import Brief, Outline, SectionAnswer, SectionPlan
from core.db.engine import Database
from core.db.repositories.attempts import Opened, Spent, Stored
from core.db.repositories.steps import Kept, StepArtifact
from core.ledger.cooldowns import Admission, Cooldowns
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Call, Reply
from core.llm.providers import build_providers
from core.logging import configure_logging
from core.settings import Settings
from tests.support.rows import begin

MODEL = "anthropic:claude-haiku-4-5"
PROMPT = "longform/draft_section"
WORDS = 300
BUDGET_USD = Decimal(1000)

_BRIEF = Brief(topic="How tidal mills worked, and why they vanished", words=12 * WORDS, section_count=12)
_OUTLINE = Outline(
    title="The mill and the moon",
    thesis="Tidal mills vanished because their hours were the moon's and not the market's.",
    sections=tuple(
        SectionPlan(
            id=f"s{number}",
            title=f"What the miller of pond {number} did at night",
            purpose="The reader knows why the hours of work moved by fifty minutes a day, and what that cost.",
            key_points=("The pond fills", "The gate closes", "The wheel turns on the ebb"),
            words=WORDS,
        )
        for number in range(1, 13)
    ),
)
INPUTS = {**brief_inputs(_BRIEF), **section_inputs(_OUTLINE, 4), "sources": []}


class NoLedger(Ledger):
    """Keeps nothing: what is left of the gateway's time is what it does itself."""

    async def open(
        self,
        key: StepKey,
        *,
        attempt: int,
        model: str,
        prompt: PromptRef,
        simulated: bool,
        reserve: Decimal | None,
        reserve_repair: Decimal | None = None,
        reused: bool = False,
    ) -> Opened | Stored:
        """A first attempt."""
        return Opened(attempt_id="none", failures=0, cut_off=0)

    async def close_stored(
        self,
        key: StepKey,
        attempt_id: str,
        spent: Spent,
        result: str,
        artifacts: Sequence[StepArtifact],
        *,
        data: object,
        reusable: tuple[str, str] | None = None,
    ) -> str:
        """As if it were stored."""
        return result

    async def tell_text(self, key: StepKey, attempt_id: str, data: object) -> None:
        """Nobody listens."""


class NoCooldowns(Cooldowns):
    """Every provider is well."""

    async def admit(self, provider: str) -> Admission:
        """Go ahead."""
        return Admission(until=None, wait=timedelta(0), troubled=False)


class Calls:
    """One call in each way, as often as wanted."""

    def __init__(self, settings: Settings, database: Database, owner_id: str, job_id: str) -> None:
        self._owner_id, self._job_id = owner_id, job_id
        self._numbers = count(1)
        providers = build_providers(settings)
        prompts = PromptLibrary.load()
        self._provider = providers["anthropic"]
        failures, seconds = settings.cooldown_failures, settings.cooldown_seconds
        every = timedelta(seconds=settings.partial_text_seconds)
        nothing = NoLedger(database), prompts, NoCooldowns(database, failures, seconds)
        self._without = Gateway(providers, *nothing, partial_text=every)
        kept = Ledger(database), prompts, Cooldowns(database, failures, seconds)
        self._with = Gateway(providers, *kept, partial_text=every)
        self._call = Call(
            model=MODEL.partition(":")[2],
            prompt=prompts.render(PROMPT, **INPUTS),
            output=SectionAnswer,
            max_output_tokens=output_tokens(WORDS),
        )

    async def bare(self) -> None:
        """The provider's client alone."""
        await self._provider.ask(self._call)

    async def without(self) -> None:
        """The gateway, but for the database."""
        await self._step(self._without)

    async def with_database(self) -> None:
        """All of it: a provider that is admitted, a row that is opened, text that is told, a step that is stored."""
        await self._step(self._with)

    async def _step(self, gateway: Gateway) -> None:
        number = next(self._numbers)
        key = StepKey(job_id=self._job_id, owner_id=self._owner_id, run=1, step=f"section {number}", stage="sections")

        async def keep(reply: Reply[SectionAnswer]) -> Kept[StepTaken]:
            return Kept(StepTaken(number=number, words=reply.output.markdown[:40]), (), reply.simulated)

        await gateway.step(
            TakeStep(key=key, number=number, model=MODEL),
            attempt=1,
            prompt=PROMPT,
            inputs=INPUTS,
            output=SectionAnswer,
            result=StepTaken,
            keep=keep,
            max_output_tokens=output_tokens(WORDS),
            text_field="markdown",
        )


async def at_once(call: Callable[[], Awaitable[None]], concurrency: int) -> list[float]:
    """So many calls side by side: milliseconds of each."""

    async def one() -> float:
        began = time.perf_counter()
        await call()
        return (time.perf_counter() - began) * 1000

    return list(await asyncio.gather(*(one() for _ in range(concurrency))))


async def main(concurrency: int, rounds: int) -> dict[str, list[float]]:
    """All ways by turns, so that what else the machine does falls on all alike."""
    settings = Settings()
    configure_logging(settings, "bench")
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    owner_id = os.environ["BENCH_OWNER"]
    job_id = await begin(database, owner_id, budget_usd=BUDGET_USD)
    calls = Calls(settings, database, owner_id, job_id)
    ways = dict(zip(WAYS, (calls.bare, calls.without, calls.with_database), strict=True))
    for call in ways.values():
        for _ in range(5):
            await at_once(call, concurrency)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for way, call in ways.items():
            times[way] += await at_once(call, concurrency)
    await database.close()
    return times


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))))
