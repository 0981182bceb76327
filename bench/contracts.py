"""What travels between the steps of the benchmarks' pipeline, and the signature of its activity."""

from abc import ABC, abstractmethod

from pydantic import Field
from temporalio import activity

from core.contracts.base import Contract, Submission
from core.contracts.jobs import PaidRequest

PIPELINE = "bench"


class BenchInput(Submission):
    """How many steps a job has."""

    steps: int = Field(default=10, ge=0, le=1_000)


class BenchAnswer(Contract):
    """What the model answers."""

    words: str


class TakeStep(PaidRequest):
    """One step."""

    number: int


class StepTaken(Contract):
    """What a step leaves."""

    number: int
    words: str


class BenchActivities(ABC):
    """The one activity of the pipeline."""

    @activity.defn(name="bench.take_step")
    @abstractmethod
    async def take_step(self, request: TakeStep) -> StepTaken:
        """Ask the model that answers at once."""
