"""Model calls: the chain of models, what a call says and uses, and when a model is given up."""

from typing import Annotated

from pydantic import Field, StringConstraints

from core.contracts.base import Contract

ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z]+:[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
"""`provider:model`, for example `anthropic:claude-haiku-4-5`; the simulator is `simulator:composer`."""

ModelChain = Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=5)]
"""Models in the order in which they are tried."""

SIMULATOR = "simulator:composer"

MODEL_ATTEMPTS = 3
"""Failures of one model at one step, in one run of the job, before the chain goes on."""
REPAIR_TURNS = 1
"""How often a model is shown what is wrong with its answer, in one run of the job, before the chain goes on."""
CUT_OFF_ATTEMPTS = 10
"""Attempts at one step that may end `unknown` (their worker died) before the step is given up: a step that kills
every worker must not be paid for without end."""


class Usage(Contract):
    """What one call used, as the provider reported it. Tokens.

    `input_tokens` includes those read from the provider's prompt cache (`cached_tokens`) and those written to it
    (`cache_write_tokens`); `output_tokens` includes the reasoning ones.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class PromptRef(Contract):
    """Which prompt a call was made of, and how long it was when filled in."""

    name: str
    version: int
    characters: int
