"""One row of the ledger while its attempt is under way: opened by the gateway, closed once whatever happens."""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal
from random import uniform
from typing import Any, TypeVar

import structlog

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Outcome, StepKey
from core.contracts.llm import CUT_OFF_ATTEMPTS, MODEL_ATTEMPTS, REPAIR_TURNS, Usage
from core.db.repositories.attempts import Opened, Spent
from core.db.repositories.steps import Kept
from core.ledger.ledger import Ledger
from core.ledger.prices import is_free, price
from core.llm.provider import Call, ModelFailure, Repair, Reply
from core.redaction import redact_error

Result = TypeVar("Result", bound=Contract)

FIRST_PAUSE = timedelta(seconds=1)
"""Before a model that failed is asked again, where its provider did not say how long; it doubles."""
FAREWELL_SECONDS = 5
"""How long a cancelled call may take to close its row; after that the row is found open and called unknown."""
REFUSED_CHARACTERS = 60_000
"""Of an answer that would not do: what a model is shown of it."""

log = structlog.get_logger()


class Row:
    """One open row of the ledger, and what is known of its attempt so far."""

    def __init__(
        self,
        ledger: Ledger,
        key: StepKey,
        model: str,
        call: Call[Any],
        opened: Opened,
        *,
        simulated: bool,
        reused: bool,
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._model = model
        self._prompt = call.prompt
        self._tally = call.tally
        self._opened = opened
        self._simulated = simulated
        self._reused = reused
        self._started = time.monotonic()
        self._usage: Usage | None = None
        self._first_token: timedelta | None = None
        self._latency: timedelta | None = None

    @property
    def repair(self) -> Repair | None:
        """What the model is shown of its last answer, if that would not do."""
        if self._opened.refused_answer is None:
            return None
        return Repair(self._opened.refused_answer, self._opened.refused_because)

    async def tell(self, offset: int, words: str) -> None:
        """Tell what the model has written since `offset` characters."""
        await self._ledger.tell_text(
            self._key, self._opened.attempt_id, {"model": self._model, "offset": offset, "text": words}
        )

    def answered(self, reply: Reply[Any]) -> None:
        """The provider answered in full."""
        self._usage = reply.usage
        self._first_token = reply.first_token
        self._latency = self._elapsed()

    async def close(self, kept: Kept[Result], reusable: tuple[str, str] | None) -> str:
        """Store the step. Returns the stored result as JSON."""
        stored = await self._ledger.close_stored(
            self._key,
            self._opened.attempt_id,
            self._spent(),
            kept.result.model_dump_json(),
            kept.artifacts,
            data={"model": self._model},
            reusable=reusable,
        )
        self._log("ok", None)
        return stored

    async def fail(self, failure: ModelFailure) -> None:
        """Close the row of a failed call, and mark the failure as final if it was the model's last chance."""
        attempts = self._opened.failures + 1
        invalid = failure.type is ErrorType.OUTPUT_INVALID
        shown = invalid and self._opened.refusals >= REPAIR_TURNS
        failure.final = failure.final or shown or attempts >= MODEL_ATTEMPTS
        failure.details = {**failure.details, "step": self._key.step, "attempts": attempts}
        again = failure.kind.transient and not failure.final
        if again and failure.retry_after is None:
            # What failed together does not come back together.
            failure.retry_after = FIRST_PAUSE * 2**self._opened.failures * uniform(0.75, 1.25)
        refused = None
        if again and invalid and failure.refused is not None:
            because = failure.details.get("errors") or [failure.message]
            refused = (failure.refused[:REFUSED_CHARACTERS], tuple(map(str, because)))
        await self._close_failed(Outcome.FAILED, answered=failure.answered, error=failure, again=again, refused=refused)

    async def break_off(self, error: Exception) -> Exception:
        """Close the row of a call that our own parts broke. Returns what to raise.

        Once an answer is there it is final: the owner may retry the job, but nobody pays again and again for a full
        disk. With the database away the row is found open later, and called unknown.
        """
        answered = self._answered
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
        """Close the row of a call that was broken off: by its job's cancel, or because its worker stops. What is billed
        for half an answer nobody told us: that is not nothing, and stays held."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._close_failed(Outcome.CANCELLED, answered=self._answered, error=None, again=False)
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

    async def _close_failed(
        self,
        outcome: Outcome,
        *,
        answered: bool,
        error: AtelierError | None,
        again: bool,
        refused: tuple[str, tuple[str, ...]] | None = None,
    ) -> None:
        if error is not None:
            # A provider's message may hold the key that it was asked with.
            redact_error(error)
        await self._ledger.close_failed(
            self._key,
            self._opened.attempt_id,
            self._spent(),
            outcome,
            answered=answered,
            error=error,
            data={"model": self._model, "again": again},
            refused=refused,
        )
        self._log(outcome.value, error)

    @property
    def _answered(self) -> bool:
        return self._latency is not None

    def _spent(self) -> Spent:
        usage, told = self._tally.usage, self._tally.told or is_free(self._model)
        if self._usage is not None:
            usage, told = self._usage, True
        return Spent(
            usage=usage,
            usd=Decimal(0) if self._reused else price(self._model, usage) if told else None,
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
            reused=self._reused,
            latency_ms=_ms(spent.latency),
            first_token_ms=None if spent.first_token is None else _ms(spent.first_token),
        )


def _ms(time: timedelta) -> int:
    return round(time.total_seconds() * 1000)
