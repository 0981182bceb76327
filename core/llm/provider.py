"""What the gateway asks of a provider: one call, one request on the wire, one typed answer or one typed failure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.llm import Usage

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Prompt:
    """A prompt that is filled in. `inputs` are what it was filled with: the simulator composes from them."""

    name: str
    version: int
    system: str
    user: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    shared: str = ""
    """The beginning of the user's turn that other calls of the job have too: with `system` a prefix to be cached."""

    @property
    def characters(self) -> int:
        """Length of all that is sent as text."""
        return len(self.system) + len(self.shared) + len(self.user)


@dataclass(frozen=True)
class Repair:
    """An answer that would not do, and why: shown to the model that gave it, once."""

    answer: str
    errors: tuple[str, ...]


Watch = Callable[[Callable[[], str | None]], None]
"""Hears that more of an answer has come. What it is given makes the answer's JSON so far, broken off anywhere."""


@dataclass
class Tally:
    """What a call has used as far as its provider said, however it ended. `told`: that is all that can be billed."""

    usage: Usage = field(default_factory=Usage)
    told: bool = True


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to one model. `model` is without its provider's name. The provider keeps the `tally`."""

    model: str
    prompt: Prompt
    output: type[T]
    max_output_tokens: int = 8_192
    repair: Repair | None = None
    watch: Watch | None = None
    tally: Tally = field(default_factory=Tally, compare=False)


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A valid answer and what it used. `first_token` is None where the provider does not stream."""

    output: T
    usage: Usage
    first_token: timedelta | None = None
    simulated: bool = False


class ModelFailure(AtelierError):
    """A call that failed. `answered` says whether the provider got the request and answered, so may bill it;
    `usage` is what it reported before it failed; `refused` is the answer that would not do, to be shown in a repair."""

    def __init__(
        self,
        type: ErrorType,
        message: str,
        *,
        answered: bool,
        usage: Usage | None = None,
        retry_after: timedelta | None = None,
        details: dict[str, Any] | None = None,
        refused: str | None = None,
    ) -> None:
        super().__init__(type, message, details=details, retry_after=retry_after)
        self.answered = answered
        self.refused = refused
        self.usage = usage or Usage()


class Provider(ABC):
    """One way to reach models. `ask` sends exactly one request and never tries again: Temporal does."""

    name: str
    simulated: bool = False

    @abstractmethod
    async def ask(self, call: Call[T]) -> Reply[T]:
        """Ask once. Raises `ModelFailure`; a cancelled call closes its connection before it returns."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""
