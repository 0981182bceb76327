"""The ledger: every attempt at paid work has a row before the provider is asked, and one outcome in the end.

The row is opened and committed first, so that no request is ever without one. The result of the step, the row's
outcome, the job's cost and the event are then written in one transaction. What lies between, cut off by a killed
worker, stays `open` until the next attempt at the same step finds it and calls it `unknown`.

What a call may cost at most is held in the job's row and in the month's from the opening to the closing, both checked
against their budgets in the statement that opens. When nobody told what the call cost, as it was lost or broken off, it
stays held, until a sweep counts it as spent.
"""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy.exc import DBAPIError, IntegrityError

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Outcome, StepKey
from core.contracts.llm import PromptRef
from core.db.engine import Database
from core.db.repositories.attempts import AttemptRepository, Closed, Opened, Spent, Stored
from core.db.repositories.reservations import refusal
from core.db.repositories.results import ResultRepository
from core.db.repositories.spending import SpendingRepository
from core.db.repositories.steps import StepArtifact, StepRepository


class Ledger:
    """Opens and closes attempts. Holds no connection in between."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """Open a row for an attempt, unless the step is stored, and hold `reserve` for it: the most that its call may
        cost, in USD, or None where nobody knows; `reserve_repair` instead, if it will show the model an answer that
        would not do. `reused` says that no provider will be asked.

        `BUDGET_EXCEEDED` when the job's or the month's budget does not allow it, `PRICE_UNKNOWN` when there is a budget
        and no price, `NOT_FOUND` when the job ended or is gone: then nothing is opened or held.
        """
        try:
            async with self._database.statement() as connection:
                opened = await AttemptRepository(connection).open(
                    key,
                    attempt=attempt,
                    model=model,
                    prompt=prompt,
                    simulated=simulated,
                    reserve=reserve,
                    reserve_repair=reserve_repair,
                    reused=reused,
                )
        except DBAPIError as error:
            if (refused := refusal(error, job_id=key.job_id, model=model)) is None:
                raise
            raise refused from error
        if opened is None:
            raise AtelierError(
                ErrorType.NOT_FOUND, f"The job {key.job_id} ended, was retried or was deleted; nothing is paid for it."
            )
        return opened

    async def close_stored(
        self,
        key: StepKey,
        attempt_id: str,
        spent: Spent,
        result: str,
        artifacts: Sequence[StepArtifact],
        *,
        data: Json,
        reusable: tuple[str, str] | None = None,
    ) -> str:
        """Store a step with its cost. Returns the stored result as JSON: whoever came second is `superseded`, pays
        all the same, and gets the first one's. `reusable` is the key and the JSON of an answer that the owner's next
        request of that key may be given. Safe to call again.

        `NOT_FOUND` when the job is gone; `INVALID_STATE` when the attempt was settled as lost meanwhile.
        """
        try:
            async with self._database.statement() as connection:
                closed = await AttemptRepository(connection).close_stored(
                    key, attempt_id, spent, result, artifacts, data=data, reusable=reusable
                )
        except IntegrityError as error:
            # The job was deleted meanwhile, and its step has nothing to belong to. What was spent stays on record.
            await self.close_failed(key, attempt_id, spent, Outcome.SUPERSEDED, answered=True)
            raise _deleted(key) from error
        if closed.changed:
            await self._tell(key, closed)
            return result
        async with self._database.transaction() as connection:
            stored = await StepRepository(connection).stored(key)
        if stored is None:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                f"The attempt at {key.step!r} was given up for lost, and what it may have cost is counted as spent. "
                "Its answer came too late.",
            )
        # Leaves a row that is closed alone: a call after a commit whose acknowledgement was lost changes nothing.
        await self.close_failed(key, attempt_id, spent, Outcome.SUPERSEDED, answered=True, data=data)
        return stored

    async def close_failed(
        self,
        key: StepKey,
        attempt_id: str,
        spent: Spent,
        outcome: Outcome,
        *,
        answered: bool,
        error: AtelierError | None = None,
        data: Json | None = None,
        refused: tuple[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Close a row that stored nothing, with what it cost all the same. `refused` is an answer that would not do,
        and why: the next attempt of the same model is opened with it. Safe to call again."""
        async with self._database.statement() as connection:
            closed = await AttemptRepository(connection).close_failed(
                key,
                attempt_id,
                spent,
                outcome,
                answered=answered,
                error=error,
                data=data or {},
                refused=refused,
            )
        await self._tell(key, closed)

    async def reusable(self, owner_id: str, key: str) -> str | None:
        """The JSON of an answer that the owner's request of this key may be given again; None: ask."""
        async with self._database.statement() as connection:
            return await ResultRepository(connection).find(owner_id, key)

    async def is_stored(self, key: StepKey) -> bool:
        """Whether the step has its result, so that nobody needs to be asked."""
        async with self._database.statement() as connection:
            return await StepRepository(connection).stored(key) is not None

    async def tell_text(self, key: StepKey, attempt_id: str, data: Json) -> None:
        """Tell a piece of what a model is still writing: `data` has the `text` and its `offset`, in characters. Nothing
        is told of an attempt that is not open any more."""
        async with self._database.statement() as connection:
            await AttemptRepository(connection).tell_text(key, attempt_id, data)

    async def _tell(self, key: StepKey, closed: Closed) -> None:
        if closed.untold:
            async with self._database.transaction() as connection:
                await SpendingRepository(connection).tell(key.job_id)


def _deleted(key: StepKey) -> AtelierError:
    return AtelierError(ErrorType.NOT_FOUND, f"The job {key.job_id} was deleted while it ran.")
