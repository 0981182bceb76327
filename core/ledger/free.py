"""A step that costs nothing but our own time: stored once all the same, without a row in the ledger."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import StepKey
from core.contracts.llm import CUT_OFF_ATTEMPTS
from core.db.engine import Database, patiently
from core.db.repositories.steps import Kept, StepRepository

Result = TypeVar("Result", bound=Contract)

COMMIT_PATIENCE = timedelta(minutes=1)
"""How long a result is held while the database or the store is away; after that the step is simply done again."""


class FreeSteps:
    """Runs steps that no provider is asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def failures(self, key: StepKey, codes: Iterable[ErrorType]) -> int:
        """How many attempts at the step have failed in this run with one of the codes, before this one."""
        async with self._database.transaction() as connection:
            return await StepRepository(connection).failures(key, _name(key), codes)

    async def once(
        self, key: StepKey, result: type[Result], work: Callable[[], Awaitable[Kept[Result]]], *, attempt: int
    ) -> Result:
        """The stored result of the step, or what `work` makes now. `work` is idempotent: it may run again.

        Raises `ATTEMPTS_EXHAUSTED` when the step has ended the workers of too many attempts in this run.
        """
        name = _name(key)
        async with self._database.transaction() as connection:
            steps = StepRepository(connection)
            stored = await steps.stored(key)
            cut_off = 0 if stored is not None else await steps.cut_off(key, name)
            if stored is None and cut_off < CUT_OFF_ATTEMPTS:
                await steps.started(key, f"{name}:{attempt}", {"attempt": attempt, "model": None})
        if stored is not None:
            return result.model_validate_json(stored)
        if cut_off >= CUT_OFF_ATTEMPTS:
            raise AtelierError(
                ErrorType.ATTEMPTS_EXHAUSTED,
                f"{cut_off} attempts at {key.step!r} ended with their worker. Look at the workers' memory and logs, "
                "then retry the job.",
                details={"step": key.step, "attempts": cut_off},
            )
        try:
            kept = await work()
        except AtelierError as error:
            error.details = {**error.details, "step": key.step, "attempts": attempt}
            async with self._database.transaction() as connection:
                await StepRepository(connection).failed(key, f"{name}:{attempt}", error)
            raise

        async def store() -> str:
            async with self._database.transaction() as connection:
                return await StepRepository(connection).store(
                    key, kept.result.model_dump_json(), kept.artifacts, simulated=kept.simulated
                )

        return result.model_validate_json(await patiently(store, COMMIT_PATIENCE))


def _name(key: StepKey) -> str:
    """What the names of a step's attempts in this run begin with."""
    return f"{key.run}:{key.step}:{key.revision}"
