"""The simulator: a provider that answers without a model, for demos and tests. Everything it makes says so."""

import asyncio
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from core.contracts.errors import ErrorType
from core.contracts.llm import Usage
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Reply
from core.llm.schema_filler import Unfillable, fill

T = TypeVar("T", bound=BaseModel)

Composer = Callable[[Mapping[str, Any], str], BaseModel]
"""Answers one prompt from its inputs and a seed: the same answer for the same two."""

CHARACTERS_A_TOKEN = 4
"""A rule of thumb for English, good enough for a ledger that shows made-up work."""
_WORDS_OF_THE_REQUEST = 400


class SimulatorProvider(Provider):
    """Answers every prompt, deterministically, with something valid made of the request's own words.

    A prompt with a composer (`core.llm.prompts.<pipeline>.composer.COMPOSERS`) gets its answer from there, any other
    from the schema alone. `latency` is what a real model's call would take; it keeps no state, so one serves all.
    """

    name = "simulator"
    simulated = True

    def __init__(self, *, latency: timedelta = timedelta(0)) -> None:
        self._latency = latency.total_seconds()

    async def ask(self, call: Call[T]) -> Reply[T]:
        """Compose an answer. Raises `ModelFailure` (`output_invalid`) if a schema cannot be filled."""
        await asyncio.sleep(self._latency)
        output = _compose(call)
        usage = Usage(
            input_tokens=_tokens(call.prompt.characters),
            output_tokens=_tokens(len(output.model_dump_json())),
        )
        return Reply(output=output, usage=usage, simulated=True)

    async def aclose(self) -> None:
        """Nothing is open."""


def seed_of(prompt: Prompt) -> str:
    """A hash of the prompt's name and inputs: the source of all chance in an answer."""
    inputs = json.dumps(dict(prompt.inputs), sort_keys=True, default=_plain)
    return hashlib.sha256(f"{prompt.name}\n{inputs}".encode()).hexdigest()


@lru_cache(maxsize=256)
def composer_for(prompt: str) -> Composer | None:
    """The composer beside a prompt, by the prompt's name `<pipeline>/<name>`; None if it has none."""
    pipeline, _, name = prompt.partition("/")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", pipeline) or not name:
        return None
    module = f"core.llm.prompts.{pipeline}.composer"
    try:
        composers: Mapping[str, Composer] = importlib.import_module(module).COMPOSERS
    except ModuleNotFoundError as error:
        # A pipeline without composers is fine; a composer that misses an import of its own is not.
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            return None
        raise
    return composers.get(name)


def _compose(call: Call[T]) -> T:
    seed = seed_of(call.prompt)
    composer = composer_for(call.prompt.name)
    if composer is None:
        try:
            return fill(call.output, list(_words(call.prompt.inputs))[:_WORDS_OF_THE_REQUEST], seed)
        except Unfillable as error:
            raise ModelFailure(ErrorType.OUTPUT_INVALID, str(error), answered=True) from error
    output = composer(call.prompt.inputs, seed)
    # A test may ask a known prompt for another model with the same fields.
    return output if isinstance(output, call.output) else call.output.model_validate(output.model_dump())


def _tokens(characters: int) -> int:
    return max(1, round(characters / CHARACTERS_A_TOKEN))


def _plain(value: object) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _words(value: object) -> Iterator[str]:
    """The words of all texts in the inputs, in their order."""
    if isinstance(value, str):
        yield from re.findall(r"\w[\w'’-]*", value)
    elif isinstance(value, BaseModel):
        yield from _words(value.model_dump(mode="json"))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _words(item)
