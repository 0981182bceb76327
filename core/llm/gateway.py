"""A paid step: look for the stored result, open a ledger row, ask one model once, keep the answer, close the row."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Outcome, PaidRequest, StepKey
from core.contracts.llm import CUT_OFF_ATTEMPTS, MODEL_ATTEMPTS, PromptRef, Usage
from core.db.engine import patiently
from core.db.repositories.attempts import Opened, Spent, Stored
from core.db.repositories.steps import Kept
from core.ledger.ledger import Ledger
from core.ledger.prices import price
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Reply, T

Result = TypeVar("Result", bound=Contract)
Keep = Callable[[Reply[T]], Awaitable[Kept[Result]]]

COMMIT_PATIENCE = timedelta(minutes=5)
"""How long an answer that is paid for is held in memory while the database or the store is away."""
FAREWELL_SECONDS = 5
"""How long a cancelled call may take to close its row; after that the row is found open and called unknown."""

log = structlog.get_logger()


class Gateway:
    """Asks models. One `step` is one attempt: at most one request to a provider, and one row in the ledger."""

    def __init__(self, providers: Mapping[str, Provider], ledger: Ledger, prompts: PromptLibrary) -> None:
        self._providers = providers
        self._ledger = ledger
        self._prompts = prompts

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
    ) -> Result:
        """The stored result of the step, or that of one request to `request.model`.

        `check` says what is wrong with an answer that fits its schema, if anything is. `keep` turns the reply into
        the step's result and puts large parts into the store; it may run again. Raises `ModelFailure`, final when the
        model has failed the step `MODEL_ATTEMPTS` times in this run.
        """
        key = request.key
        provider, model = self._provider(request.model)
        filled = self._prompts.render(prompt, **inputs)
        opened = await self._ledger.open(
            key, attempt=attempt, model=request.model, prompt=_ref(filled), simulated=provider.simulated
        )
        if isinstance(opened, Stored):
            return result.model_validate_json(opened.result)
        row = _Row(self._ledger, key, request.model, filled, opened, provider.simulated)
        await row.give_up_if_cut_off()
        try:
            reply = await provider.ask(
                Call(model=model, prompt=filled, output=output, max_output_tokens=max_output_tokens)
            )
            row.answered(reply)
            if wrong := check(reply.output):
                raise ModelFailure(
                    ErrorType.OUTPUT_INVALID, f"{request.model}: {wrong}", answered=True, usage=reply.usage
                )
            kept = await patiently(lambda: keep(reply), COMMIT_PATIENCE)
            stored = await patiently(lambda: row.close(kept), COMMIT_PATIENCE)
        except ModelFailure as failure:
            await row.fail(failure)
            raise
        except asyncio.CancelledError:
            await row.cancel()
            raise
        except Exception as error:
            raise await row.break_off(error) from error
        return result.model_validate_json(stored)

    def prompt_versions(self, prefix: str) -> dict[str, int]:
        """The versions of the prompts whose names begin so, by name."""
        return {name: self._prompts[name].version for name in sorted(self._prompts) if name.startswith(prefix)}

    def _provider(self, model: str) -> tuple[Provider, str]:
        name, _, rest = model.partition(":")
        if name not in self._providers:
            raise AtelierError(
                ErrorType.UNKNOWN_MODEL,
                f"This worker has no provider {name!r}. Give it the provider's key, or name another model.",
                details={"model": model},
            )
        return self._providers[name], rest


class _Row:
    """One open row of the ledger, and what is known of its attempt so far."""

    def __init__(
        self, ledger: Ledger, key: StepKey, model: str, prompt: Prompt, opened: Opened, simulated: bool
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._model = model
        self._prompt = prompt
        self._opened = opened
        self._simulated = simulated
        self._started = time.monotonic()
        self._usage = Usage()
        self._first_token: timedelta | None = None
        self._latency: timedelta | None = None

    def answered(self, reply: Reply[Any]) -> None:
        """The provider answered in full."""
        self._usage = reply.usage
        self._first_token = reply.first_token
        self._latency = self._elapsed()

    async def close(self, kept: Kept[Result]) -> str:
        """Store the step. Returns the stored result as JSON."""
        stored = await self._ledger.close_stored(
            self._key,
            self._opened.attempt_id,
            self._spent(),
            kept.result.model_dump_json(),
            kept.artifacts,
            data={"model": self._model},
        )
        self._log("ok", None)
        return stored

    async def fail(self, failure: ModelFailure) -> None:
        """Close the row of a failed call, and mark the failure as final if it was the model's last chance."""
        self._usage = failure.usage
        attempts = self._opened.failures + 1
        failure.final = failure.final or attempts >= MODEL_ATTEMPTS
        failure.details = {**failure.details, "step": self._key.step, "attempts": attempts}
        again = failure.kind.transient and not failure.final
        await self._close_failed(Outcome.FAILED, answered=failure.answered, error=failure, again=again)

    async def break_off(self, error: Exception) -> Exception:
        """Close the row of a call that our own parts broke. Returns what to raise.

        Once an answer is there it is final: the owner may retry the job, but nobody pays again and again for a full
        disk. With the database away the row is found open later, and called unknown.
        """
        answered = self._latency is not None
        broken = error if isinstance(error, AtelierError) else AtelierError(ErrorType.INTERNAL, f"It broke: {error!r}")
        if broken.type is ErrorType.DATABASE_UNAVAILABLE:
            return broken
        broken.final = answered
        broken.details = {**broken.details, "step": self._key.step}
        try:
            await self._close_failed(Outcome.FAILED, answered=answered, error=broken, again=not answered)
        except AtelierError:
            log.warning("ledger.row_left_open", attempt_id=self._opened.attempt_id)
        return broken if answered or isinstance(error, AtelierError) else error

    async def cancel(self) -> None:
        """Close the row of a call that was broken off: by its job's cancel, or because its worker stops."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._close_failed(Outcome.CANCELLED, answered=False, error=None, again=False)
        except (AtelierError, TimeoutError):
            log.warning("ledger.row_left_open", attempt_id=self._opened.attempt_id)

    async def give_up_if_cut_off(self) -> None:
        """A step that has ended the workers of so many attempts is not tried again."""
        if self._opened.cut_off < CUT_OFF_ATTEMPTS:
            return
        error = AtelierError(
            ErrorType.ATTEMPTS_EXHAUSTED,
            f"{self._opened.cut_off} attempts at {self._key.step!r} ended with their worker. Look at the workers' "
            "memory and logs, then retry the job.",
            details={"step": self._key.step, "attempts": self._opened.cut_off},
        )
        await self._close_failed(Outcome.FAILED, answered=False, error=error, again=False)
        raise error

    async def _close_failed(self, outcome: Outcome, *, answered: bool, error: AtelierError | None, again: bool) -> None:
        await self._ledger.close_failed(
            self._key,
            self._opened.attempt_id,
            # A call that was broken off is billed for what nobody told us: that is unknown, and not nothing.
            replace(self._spent(), usd=None) if outcome is Outcome.CANCELLED else self._spent(),
            outcome,
            answered=answered,
            error=error,
            data={"model": self._model, "again": again},
        )
        self._log(outcome.value, error)

    def _spent(self) -> Spent:
        return Spent(
            usage=self._usage,
            usd=price(self._model, self._usage),
            latency=self._latency or self._elapsed(),
            first_token=self._first_token,
            simulated=self._simulated,
        )

    def _elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self._started)

    def _log(self, outcome: str, error: AtelierError | None) -> None:
        """The row once more, as a line of the log."""
        spent = self._spent()
        log.info(
            "llm.call",
            job_id=self._key.job_id,
            step=self._key.step,
            revision=self._key.revision,
            attempt_id=self._opened.attempt_id,
            model=self._model,
            prompt=self._prompt.name,
            prompt_version=self._prompt.version,
            prompt_characters=self._prompt.characters,
            outcome=outcome,
            error_type=error.type.value if error else None,
            **spent.usage.model_dump(),
            usd=None if spent.usd is None else str(spent.usd),
            latency_ms=round(spent.latency.total_seconds() * 1000),
        )


def _ref(prompt: Prompt) -> PromptRef:
    return PromptRef(name=prompt.name, version=prompt.version, characters=prompt.characters)
