"""What a job is expected to ask of models, before it is submitted."""

from pydantic import Field

from core.contracts.base import Contract, Name

CHARACTERS_A_TOKEN = 4
"""Of running text in the languages that models split best. Another one has fewer, so its estimates are low."""


class EstimatedCall(Contract):
    """One call that a pipeline is expected to make. Calls with the same `path` run side by side; those of the next wait
    for the slowest of them."""

    prompt: Name
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    path: int = Field(ge=0)
