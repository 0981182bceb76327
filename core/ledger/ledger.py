"""The ledger: every attempt at paid work has a row before the provider is asked, and one outcome in the end.

The row is opened and committed first, so that no request is ever without one. The result of the step, the row's
outcome, the job's cost and the event are then written in one transaction. What lies between, cut off by a killed
worker, stays `open` until the next attempt at the same step finds it and calls it `unknown`.
"""

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Outcome, StepKey
from core.contracts.llm import PromptRef
from core.db.engine import Database
from core.db.repositories.attempts import AttemptRepository, Opened, Spent, Stored
from core.db.repositories.steps import StepArtifact, StepRepository


class Ledger:
    """Opens and closes attempts. Holds no connection in between."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(
        self, key: StepKey, *, attempt: int, model: str, prompt: PromptRef, simulated: bool
    ) -> Opened | Stored:
        """Open a row for an attempt, unless the step is stored. `NOT_FOUND` when the job ended or is gone."""
        async with self._database.statement() as connection:
            opened = await AttemptRepository(connection).open(
                key, attempt=attempt, model=model, prompt=prompt, simulated=simulated
            )
        if opened is None:
            raise AtelierError(
                ErrorType.NOT_FOUND, f"The job {key.job_id} ended, was retried or was deleted; nothing is paid for it."
            )
        return opened

    async def close_stored(
        self, key: StepKey, attempt_id: str, spent: Spent, result: str, artifacts: Sequence[StepArtifact], *, data: Json
    ) -> str:
        """Store a step with its cost. Returns the stored result as JSON: whoever came second is `superseded`, pays
        all the same, and gets the first one's. `NOT_FOUND` when the job is gone. Safe to call again."""
        try:
            async with self._database.statement() as connection:
                new = await AttemptRepository(connection).close_stored(
                    key, attempt_id, spent, result, artifacts, data=data
                )
        except IntegrityError as error:
            # The job was deleted meanwhile, and its step has nothing to belong to. What was spent stays on record.
            await self.close_failed(key, attempt_id, spent, Outcome.SUPERSEDED, answered=True)
            raise _deleted(key) from error
        if new:
            return result
        async with self._database.transaction() as connection:
            stored = await StepRepository(connection).stored(key)
            # Leaves a row that is closed alone: a call after a commit whose acknowledgement was lost changes nothing.
            await AttemptRepository(connection).close_failed(
                key, attempt_id, spent, Outcome.SUPERSEDED, answered=True, error=None, data=data
            )
        return stored or result

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
    ) -> None:
        """Close a row that stored nothing, with what it cost all the same. Safe to call again."""
        async with self._database.transaction() as connection:
            await AttemptRepository(connection).close_failed(
                key, attempt_id, spent, outcome, answered=answered, error=error, data=data or {}
            )


def _deleted(key: StepKey) -> AtelierError:
    return AtelierError(ErrorType.NOT_FOUND, f"The job {key.job_id} was deleted while it ran.")
