"""Attempts, the rows of the ledger: opened before a provider is asked, closed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import MESSAGE_LIMIT, AtelierError
from core.contracts.jobs import EventType, Outcome, StepKey
from core.contracts.llm import PromptRef, Usage
from core.db.ids import new_id
from core.db.repositories.events import NOTIFY, EventRepository, append_parts, append_values, prepared
from core.db.repositories.steps import (
    STORE_STEP,
    StepArtifact,
    completed_event,
    started_event,
    step_values,
    store_values,
)


@dataclass(frozen=True)
class Stored:
    """The step is stored already: its result as JSON. Nothing is opened, nobody is asked."""

    result: str


@dataclass(frozen=True)
class Opened:
    """A row was opened. `failures` and `cut_off` count the earlier attempts at this step by this model, this run."""

    attempt_id: str
    failures: int
    cut_off: int


@dataclass(frozen=True)
class Spent:
    """What an attempt used. `usd` is None where the price is unknown."""

    usage: Usage
    usd: Decimal | None
    latency: timedelta
    first_token: timedelta | None = None
    simulated: bool = False


_OPEN = """
    stored AS (
    SELECT result::text AS result FROM steps
    WHERE job_id = :job_id AND step = :step AND revision = :revision
), before AS (
    SELECT count(*) FILTER (WHERE outcome = 'failed' AND model = :model) AS failures,
           count(*) FILTER (WHERE outcome IN ('unknown', 'open')) AS cut_off
    FROM attempts WHERE job_id = :job_id AND step = :step AND revision = :revision AND run = :run
), lost AS (
    UPDATE attempts SET outcome = 'unknown', finished_at = now()
    WHERE job_id = :job_id AND step = :step AND revision = :revision AND outcome = 'open'
), opened AS (
    INSERT INTO attempts (id, owner_id, job_id, pipeline, step, revision, run, attempt, model, prompt_name,
                          prompt_version, prompt_characters, simulated)
    SELECT :id, :owner_id, j.id, j.pipeline, :step, :revision, :run, :attempt, :model, :prompt_name, :prompt_version,
           :prompt_characters, :simulated
    FROM jobs j
    WHERE j.id = :job_id AND j.run = :run AND j.status NOT IN ('completed', 'failed', 'cancelled')
      AND NOT EXISTS (SELECT 1 FROM stored)
    RETURNING id
)
"""
_OPENED = f"""
SELECT (SELECT result FROM stored) AS result, (SELECT id FROM opened) AS attempt_id, before.failures, before.cut_off,
       (SELECT {NOTIFY} FROM job)
FROM before
"""

_CLOSE = """
    attempt AS (
        UPDATE attempts SET
            outcome = {outcome}, answered = :answered, finished_at = now(),
            input_tokens = :input_tokens, output_tokens = :output_tokens, cached_tokens = :cached_tokens, usd = :usd,
            latency_ms = :latency_ms, first_token_ms = :first_token_ms,
            error_type = :error_type, error_message = :error_message
        WHERE id = :attempt_id AND outcome IN ('open', 'unknown'){where}
        RETURNING outcome
    )
"""
_STORED = f"SELECT EXISTS (SELECT 1 FROM stored) AS new, (SELECT {NOTIFY} FROM job)"
_CLOSE_ALONE = f"""
WITH {_CLOSE.format(outcome=":outcome", where="")}
SELECT (SELECT outcome FROM attempt) AS outcome
"""
_COST = {
    "cost_usd": "cost_usd + COALESCE(CAST(:usd AS numeric), 0)",
    "input_tokens": "input_tokens + :input_tokens",
    "output_tokens": "output_tokens + :output_tokens",
    "cached_tokens": "cached_tokens + :cached_tokens",
}


class AttemptRepository:
    """Opens and closes attempts."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open(
        self, key: StepKey, *, attempt: int, model: str, prompt: PromptRef, simulated: bool
    ) -> Opened | Stored | None:
        """Open a row and tell of it, unless the step is stored. Rows that were left open become `unknown`.

        None when the job is gone, ended, or in another run: nothing is paid for it any more.
        """
        attempt_id = new_id()
        told = started_event(key, attempt_id, {"attempt_id": attempt_id, "attempt": attempt, "model": model})
        # In a subquery of its own, which Postgres runs once: it is not run again for a row that waited for a lock.
        parts = append_parts(told.sets, where="EXISTS (SELECT 1 FROM opened)")
        row = (
            await self._connection.execute(
                prepared(f"WITH {_OPEN}, {parts} {_OPENED}"),
                {
                    **append_values(key.job_id, told.type, told.key, told.data),
                    **told.values,
                    **step_values(key),
                    "id": attempt_id,
                    "owner_id": key.owner_id,
                    "attempt": attempt,
                    "model": model,
                    "prompt_name": prompt.name,
                    "prompt_version": prompt.version,
                    "prompt_characters": prompt.characters,
                    "simulated": simulated,
                },
            )
        ).one()
        if row.result is not None:
            return Stored(row.result)
        return None if row.attempt_id is None else Opened(attempt_id, row.failures, row.cut_off)

    async def close_stored(
        self, key: StepKey, attempt_id: str, spent: Spent, result: str, artifacts: Sequence[StepArtifact], *, data: Json
    ) -> bool:
        """Store the step, close its row, add the cost and tell of it, in one statement. False when the step is stored
        already: then nothing is changed."""
        values = {
            **store_values(key, result, artifacts, attempt_id=attempt_id, simulated=spent.simulated),
            **_spent_values(spent, answered=True, error=None),
        }
        told = completed_event(
            key, {**data, **_told(attempt_id, spent)}, sets=_COST, values=_costs(values), simulated=spent.simulated
        )
        close = _CLOSE.format(outcome="'ok'", where=" AND EXISTS (SELECT 1 FROM stored)")
        parts = append_parts(told.sets, where="EXISTS (SELECT 1 FROM attempt)", progress=True)
        row = (
            await self._connection.execute(
                prepared(f"WITH {STORE_STEP}, {close}, {parts} {_STORED}"),
                {**values, **append_values(key.job_id, told.type, told.key, told.data), **told.values},
            )
        ).one()
        return bool(row.new)

    async def close_failed(
        self,
        key: StepKey,
        attempt_id: str,
        spent: Spent,
        outcome: Outcome,
        *,
        answered: bool,
        error: AtelierError | None,
        data: Json,
    ) -> None:
        """Close a row that stored nothing, with what it cost all the same, and tell of it."""
        values = {
            **_spent_values(spent, answered=answered, error=error),
            "attempt_id": attempt_id,
            "outcome": outcome.value,
        }
        closed = (await self._connection.execute(text(_CLOSE_ALONE), values)).scalar_one()
        if closed is not None:
            await self._tell_failed(key, attempt_id, spent, outcome, values, data)

    async def _tell_failed(
        self, key: StepKey, attempt_id: str, spent: Spent, outcome: Outcome, values: Json, data: Json
    ) -> None:
        error = {"code": values["error_type"], "message": values["error_message"]} if values["error_type"] else None
        await EventRepository(self._connection).append(
            key.job_id,
            EventType.STEP_FAILED,
            f"attempt:{attempt_id}:failed",
            {
                "step": key.step,
                "stage": key.stage,
                "revision": key.revision,
                "outcome": outcome.value,
                "error": error,
                **_told(attempt_id, spent),
                **data,
            },
            sets=_COST,
            values=_costs(values),
            progress=True,
        )


def _spent_values(spent: Spent, *, answered: bool, error: AtelierError | None) -> Json:
    return {
        "answered": answered,
        "input_tokens": spent.usage.input_tokens,
        "output_tokens": spent.usage.output_tokens,
        "cached_tokens": spent.usage.cached_tokens,
        "usd": spent.usd,
        "latency_ms": round(spent.latency.total_seconds() * 1000),
        "first_token_ms": None if spent.first_token is None else round(spent.first_token.total_seconds() * 1000),
        "error_type": error.type.value if error else None,
        "error_message": error.message[:MESSAGE_LIMIT] if error else None,
    }


def _costs(values: Json) -> Json:
    return {name: values[name] for name in ("usd", "input_tokens", "output_tokens", "cached_tokens")}


def _told(attempt_id: str, spent: Spent) -> Json:
    """What an event says of an attempt's cost."""
    return {
        "attempt_id": attempt_id,
        "usd": None if spent.usd is None else float(spent.usd),
        "input_tokens": spent.usage.input_tokens,
        "output_tokens": spent.usage.output_tokens,
        "cached_tokens": spent.usage.cached_tokens,
        "simulated": spent.simulated,
    }
