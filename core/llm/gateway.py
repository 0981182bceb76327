"""A paid step: look for the stored result, open a ledger row, ask one model once, keep the answer, close the row."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from random import uniform
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import PaidRequest
from core.contracts.llm import PromptRef, Usage
from core.contracts.models import context_window, entry
from core.db.engine import patiently
from core.db.repositories.attempts import Stored
from core.db.repositories.steps import Kept
from core.ledger.cooldowns import TROUBLE, Admission, Cooldowns
from core.ledger.ledger import Ledger
from core.ledger.prices import reservation
from core.llm.partial import PartialText
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Reply, T
from core.llm.row import FAREWELL_SECONDS, Row

Result = TypeVar("Result", bound=Contract)
Keep = Callable[[Reply[T]], Awaitable[Kept[Result]]]

BYTES_A_TOKEN = 8
"""More than a token of any language is on the average: see `core.ledger.prices.reservation`."""
CHARACTERS_A_TOKEN = 4
"""A rule of thumb, where nothing depends on it but whether it pays to wait."""
COMMIT_PATIENCE = timedelta(minutes=5)
"""How long an answer that is paid for is held in memory while the database or the store is away."""


@dataclass
class _Trial:
    """A call to a provider that may have failed lately, and whether it answered."""

    answered: bool = False
    failure: ModelFailure | None = None


class Gateway:
    """Asks models. One `step` is one attempt: at most one request to a provider, and one row in the ledger."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        ledger: Ledger,
        prompts: PromptLibrary,
        cooldowns: Cooldowns,
        *,
        partial_text: timedelta = timedelta(0),
    ) -> None:
        """`partial_text` is how often text that a model is still writing is told; zero tells none."""
        self._providers = providers
        self._ledger = ledger
        self._prompts = prompts
        self._cooldowns = cooldowns
        self._partial_text = partial_text

    async def step(
        self,
        request: PaidRequest,
        *,
        attempt: int,
        prompt: str,
        inputs: Mapping[str, Any],
        output: type[T],
        result: type[Result],
        keep: Keep[T, Result],
        check: Callable[[T], str | None] = lambda output: None,
        max_output_tokens: int = 8_192,
        text_field: str | None = None,
    ) -> Result:
        """The stored result of the step, or that of one request to `request.model`.

        `check` says what is wrong with an answer that fits its schema, if anything is. `keep` turns the reply into
        the step's result and puts large parts into the store; it may run again. `text_field` names the field of the
        answer that is told while the model writes it.

        Raises `ModelFailure`, final when the model has failed the step `MODEL_ATTEMPTS` times in this run, or missed
        the form of the answer once more after it was shown how; `BUDGET_EXCEEDED`, `PRICE_UNKNOWN`, and
        `PROVIDER_COOLING` or a wait while the provider is left alone: then nobody was asked.
        """
        provider, model = self._provider(request.model)
        call = Call(
            model=model,
            prompt=self._prompts.render(prompt, **inputs),
            output=output,
            max_output_tokens=max_output_tokens,
        )
        again = _key_of(request.model, call)
        reused = await self._reused(request, again, call, check, simulated=provider.simulated)
        if reused is None and not provider.simulated:
            self._check_window(request)
        async with self._trial(request, None if reused or provider.simulated else provider.name) as trial:
            row = await self._opened(request, call, attempt, simulated=provider.simulated, reused=reused is not None)
            if isinstance(row, Stored):
                return result.model_validate_json(row.result)
            try:
                reply = reused or await self._ask(provider, row, call, text_field)
                row.answered(reply)
                trial.answered = True
                _check(request, reply, check)
                reusable = (again, reply.output.model_dump_json()) if request.reuse and reused is None else None
                kept = await patiently(lambda: keep(reply), COMMIT_PATIENCE)
                stored = await patiently(lambda: row.close(kept, reusable), COMMIT_PATIENCE)
            except ModelFailure as failure:
                await row.fail(failure)
                raise
            except asyncio.CancelledError:
                await row.cancel()
                raise
            except Exception as error:
                broken = await row.break_off(error)
                if broken is error:
                    raise
                raise broken from error
        return result.model_validate_json(stored)

    def keeps_prefix(self, model: str, prompt: str, inputs: Mapping[str, Any]) -> bool:
        """Whether the model's provider keeps what this prompt has in common with others of its job, and bills the
        others less for it."""
        minimum = entry(model).cache_minimum
        filled = self._prompts.render(prompt, **inputs)
        return minimum is not None and len(filled.system) + len(filled.shared) >= CHARACTERS_A_TOKEN * minimum

    def prompt_versions(self, prefix: str) -> dict[str, int]:
        """The versions of the prompts whose names begin so, by name."""
        return {name: self._prompts[name].version for name in sorted(self._prompts) if name.startswith(prefix)}

    async def _opened(
        self, request: PaidRequest, call: Call[Any], attempt: int, *, simulated: bool, reused: bool
    ) -> Row | Stored:
        """A row of the ledger for the call, or the step's result."""
        opened = await self._ledger.open(
            request.key,
            attempt=attempt,
            model=request.model,
            prompt=_ref(call.prompt),
            simulated=simulated,
            reserve=Decimal(0) if reused else _reservation(request.model, call),
            # It may show the model its last answer, which is no longer than an answer can be.
            reserve_repair=Decimal(0)
            if reused
            else _reservation(request.model, call, BYTES_A_TOKEN * call.max_output_tokens),
            reused=reused,
        )
        if isinstance(opened, Stored):
            return opened
        row = Row(self._ledger, request.key, request.model, call, opened, simulated=simulated, reused=reused)
        await row.give_up_if_cut_off()
        return row

    async def _ask(self, provider: Provider, row: Row, call: Call[T], text_field: str | None) -> Reply[T]:
        """Ask once; what the model writes is told meanwhile."""
        call = replace(call, repair=row.repair)
        if text_field is None or not self._partial_text:
            return await provider.ask(call)
        async with PartialText(text_field, row.tell, self._partial_text) as partial:
            return await provider.ask(replace(call, watch=partial.heard))

    async def _reused(
        self,
        request: PaidRequest,
        again: str,
        call: Call[T],
        check: Callable[[T], str | None],
        *,
        simulated: bool,
    ) -> Reply[T] | None:
        """The answer that the owner paid for earlier, if the job may have it and it would still do."""
        found = await self._ledger.reusable(request.key.owner_id, again) if request.reuse else None
        if found is None:
            return None
        try:
            output = call.output.model_validate_json(found)
        except ValidationError:
            return None
        return None if check(output) else Reply(output=output, usage=Usage(), simulated=simulated)

    def _check_window(self, request: PaidRequest) -> None:
        """A prompt that was too long for one model is not sent to another that takes no more."""
        window = context_window(request.model)
        if request.larger_than and window <= request.larger_than:
            raise AtelierError(
                ErrorType.PROMPT_TOO_LONG,
                f"{request.model}: its context window of {window} tokens is no larger than that of the model before.",
                details={"model": request.model, "context_window": window, "attempts": 0},
            )

    def _trial(self, request: PaidRequest, provider: str | None) -> AbstractAsyncContextManager[_Trial]:
        """Around a call: whether the provider may be asked, and what its cooldown hears of how it went."""
        return nullcontext(_Trial()) if provider is None else self._on_trial(request, provider)

    @asynccontextmanager
    async def _on_trial(self, request: PaidRequest, provider: str) -> AsyncIterator[_Trial]:
        admission, trial = await self._admitted(request, provider), _Trial()
        try:
            yield trial
        except ModelFailure as failure:
            # Any other failure is an answer all the same.
            trial.answered = trial.answered or failure.type not in TROUBLE
            trial.failure = failure
            raise
        finally:
            # What was answered is stored by now, or its failure on record: neither may be lost for this.
            with suppress(AtelierError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._tell(provider, admission, trial)

    async def _tell(self, provider: str, admission: Admission, trial: _Trial) -> None:
        """A probe that got no answer and did not fail (broken off, or not allowed by the budget) is left to another."""
        if trial.answered:
            if admission.troubled:
                await self._cooldowns.succeeded(provider)
        elif trial.failure is not None:
            await self._cooldowns.failed(provider, trial.failure.type, admission.probe)
        elif admission.probe is not None:
            await self._cooldowns.not_asked(provider, admission.probe)

    async def _admitted(self, request: PaidRequest, provider: str) -> Admission:
        """What is known of the provider. Raises when it is to be left alone, unless the step is stored."""
        admission = await self._cooldowns.admit(provider)
        if admission.until is None or await self._ledger.is_stored(request.key):
            return admission
        raise AtelierError(
            # With nobody else to ask, the step waits; with another model, it goes on.
            ErrorType.OVERLOADED if request.last else ErrorType.PROVIDER_COOLING,
            f"{request.model}: {provider} failed again and again ({admission.error_type}), and is left alone until "
            f"{admission.until:%H:%M:%S} UTC.",
            details={"model": request.model, "until": admission.until.isoformat(), "attempts": 0},
            # Not all at once when the time is up.
            retry_after=admission.wait * uniform(1.0, 1.2) if request.last else None,
        )

    def _provider(self, model: str) -> tuple[Provider, str]:
        name, _, rest = model.partition(":")
        if name not in self._providers:
            raise AtelierError(
                ErrorType.UNKNOWN_MODEL,
                f"This worker has no provider {name!r}. Give it the provider's key, or name another model.",
                details={"model": model},
            )
        return self._providers[name], rest


def _check(request: PaidRequest, reply: Reply[T], check: Callable[[T], str | None]) -> None:
    """Raise for an answer that fits its schema and will not do."""
    if wrong := check(reply.output):
        raise ModelFailure(
            ErrorType.OUTPUT_INVALID,
            f"{request.model}: {wrong}",
            answered=True,
            usage=reply.usage,
            details={"errors": [wrong]},
            refused=reply.output.model_dump_json(),
        )


def _key_of(model: str, call: Call[Any]) -> str:
    """What makes a request the very same: the model, the prompt with its version and inputs, the form of the answer."""
    prompt = call.prompt
    parts = [
        model,
        prompt.name,
        str(prompt.version),
        prompt.system,
        prompt.shared,
        prompt.user,
        _schema(call),
        str(call.max_output_tokens),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _reservation(model: str, call: Call[Any], shown: int = 0) -> Decimal | None:
    """What the call can cost at most, with so many bytes of an earlier answer; None when the price is unknown."""
    prompt = call.prompt
    said = sum(len(part.encode()) for part in (prompt.system, prompt.shared, prompt.user, _schema(call)))
    return reservation(model, input_bytes=said + shown, max_output_tokens=call.max_output_tokens)


@lru_cache(maxsize=256)
def _schema_of(output: type[BaseModel]) -> str:
    return json.dumps(output.model_json_schema(), sort_keys=True)


def _schema(call: Call[Any]) -> str:
    output: type[BaseModel] = call.output
    return _schema_of(output)


def _ref(prompt: Prompt) -> PromptRef:
    return PromptRef(name=prompt.name, version=prompt.version, characters=prompt.characters)
