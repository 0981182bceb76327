"""The activity of the benchmarks' pipeline, and the provider that answers at once."""

from pathlib import Path

from temporalio import activity

from bench.contracts import BenchActivities, BenchAnswer, StepTaken, TakeStep
from core.contracts.base import implements
from core.contracts.llm import Usage
from core.db.repositories.steps import Kept
from core.ledger.cooldowns import Cooldowns
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Call, Provider, Reply, T
from worker.deps import Deps

PROMPTS = Path(__file__).parent / "prompts"


class InstantProvider(Provider):
    """A model that takes no time. It goes by the simulator's name, as the API knows that one without a key."""

    name = "simulator"
    simulated = True

    async def ask(self, call: Call[T]) -> Reply[T]:
        """The same few words each time."""
        output = call.output.model_validate({"words": "done"})
        return Reply(output=output, usage=Usage(input_tokens=8, output_tokens=4), simulated=True)

    async def aclose(self) -> None:
        """Nothing is open."""


class Bench(BenchActivities):
    """Asks through the gateway, as every pipeline does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @classmethod
    def build(cls, deps: Deps) -> "Bench":
        """On a worker's dependencies, but for the provider and the prompts."""
        providers, cooldowns = {InstantProvider.name: InstantProvider()}, Cooldowns(deps.database, 5, 30.0)
        return cls(Gateway(providers, Ledger(deps.database), PromptLibrary.load(PROMPTS), cooldowns))

    @implements(BenchActivities.take_step)
    async def take_step(self, request: TakeStep) -> StepTaken:
        """Idempotent by the step's key: a stored step is returned and nobody is asked."""

        async def keep(reply: Reply[BenchAnswer]) -> Kept[StepTaken]:
            return Kept(StepTaken(number=request.number, words=reply.output.words), (), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="bench/step",
            inputs={"number": request.number},
            output=BenchAnswer,
            result=StepTaken,
            keep=keep,
        )
