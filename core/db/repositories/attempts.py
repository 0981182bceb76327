"""Attempts, the rows of the ledger: opened before a provider is asked, closed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import ERRORS, MESSAGE_LIMIT, AtelierError, ErrorType
from core.contracts.jobs import EventType, Outcome, StepKey
from core.contracts.llm import PromptRef, Usage
from core.db.ids import new_id
from core.db.repositories.events import NOTIFY, EventRepository, append_parts, append_values, prepared
from core.db.repositories.reservations import (
    HELD,
    RESERVE,
    RESERVE_IN_JOB,
    RESERVE_IN_MONTH,
    SPEND_IN_MONTH,
    UNTOLD,
)
from core.db.repositories.results import FRESH, KEEP_RESULT
from core.db.repositories.steps import (
    StepArtifact,
    Told,
    completed_event,
    started_event,
    step_values,
    store_step,
    store_values,
)


@dataclass(frozen=True)
class Stored:
    """The step is stored already: its result as JSON. Nothing is opened, nobody is asked."""

    result: str


@dataclass(frozen=True)
class Opened:
    """A row was opened. `failures` and `cut_off` count the earlier attempts at this step in this run: those that
    this model failed, and those that were cut off."""

    attempt_id: str
    failures: int
    cut_off: int
    refusals: int = 0
    """Those of the failures whose answer would not do."""
    refused_answer: str | None = None
    """The latest of these answers, to be repaired."""
    refused_because: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closed:
    """How closing a row went."""

    changed: bool
    """False: it was closed or settled before, or the step is stored already; then nothing was changed."""
    untold: bool
    """So much of the job's budget is spent that it is to be told of, and was not."""


@dataclass(frozen=True)
class Spent:
    """What an attempt used. `usd` is None where the price is unknown, or where nobody told what was used: then what
    was held for it stays held."""

    usage: Usage
    usd: Decimal | None
    latency: timedelta
    first_token: timedelta | None = None
    simulated: bool = False


_OPEN = f"""
    stored AS (
    SELECT result::text AS result FROM steps
    WHERE job_id = :job_id AND step = :step AND revision = :revision
), before AS (
    SELECT count(*) FILTER (
               WHERE outcome = 'failed' AND model = :model AND error_type = ANY(CAST(:of_models AS text[]))
           ) AS failures,
           count(*) FILTER (WHERE outcome IN ('unknown', 'open')) AS cut_off,
           count(*) FILTER (WHERE outcome = 'failed' AND model = :model AND error_type = :refused) AS refusals
    FROM attempts WHERE job_id = :job_id AND step = :step AND revision = :revision AND run = :run
), refused AS (
    SELECT refused_answer, refused_because FROM attempts
    WHERE job_id = :job_id AND step = :step AND revision = :revision AND run = :run
      AND outcome = 'failed' AND model = :model AND error_type = :refused
    ORDER BY id DESC LIMIT 1
), {RESERVE}, lost AS (
    UPDATE attempts SET outcome = 'unknown', finished_at = now()
    WHERE job_id = :job_id AND step = :step AND revision = :revision AND outcome = 'open'
    RETURNING 1
), alive AS (
    SELECT j.id, j.pipeline FROM jobs j
    WHERE j.id = :job_id AND j.run = :run AND j.status NOT IN ('completed', 'failed', 'cancelled')
      AND NOT EXISTS (SELECT 1 FROM stored) AND (SELECT count(*) FROM lost) >= 0
    FOR NO KEY UPDATE
), opened AS (
    INSERT INTO attempts (id, owner_id, job_id, pipeline, step, revision, run, attempt, model, prompt_name,
                          prompt_version, prompt_characters, simulated, reserved_usd, reused)
    SELECT :id, :owner_id, alive.id, alive.pipeline, :step, :revision, :run, :attempt, :model, :prompt_name,
           :prompt_version, :prompt_characters, :simulated, wanted.usd, :reused
    FROM alive CROSS JOIN wanted
    RETURNING id
)
"""
_OPENED = f"""
SELECT (SELECT result FROM stored) AS result, (SELECT id FROM opened) AS attempt_id, before.failures, before.cut_off,
       before.refusals, (SELECT refused_answer FROM refused) AS refused_answer,
       (SELECT refused_because FROM refused) AS refused_because, (SELECT {NOTIFY} FROM job)
FROM before
"""

# Locked before its step is stored, so that no step rests on a row that was settled meanwhile.
_MINE = """
    mine AS (
        SELECT 1 FROM attempts WHERE id = :attempt_id AND outcome IN ('open', 'unknown') AND settled_at IS NULL
        FOR NO KEY UPDATE
    )
"""
# Only a row that is still open keeps an answer to be repaired: nobody repairs for a zombie, or after the end.
_CLOSE = """
    attempt AS (
        UPDATE attempts SET
            outcome = {outcome}, answered = :answered, finished_at = now(),
            input_tokens = :input_tokens, output_tokens = :output_tokens, cached_tokens = :cached_tokens,
            cache_write_tokens = :cache_write_tokens, reasoning_tokens = :reasoning_tokens, usd = :usd,
            latency_ms = :latency_ms, first_token_ms = :first_token_ms,
            error_type = :error_type, error_message = :error_message,
            refused_answer = CASE WHEN outcome = 'open' THEN CAST(:refused_answer AS text) END,
            refused_because = CASE WHEN outcome = 'open' THEN CAST(:refused_because AS text[]) END
        WHERE id = :attempt_id AND outcome IN ('open', 'unknown') AND settled_at IS NULL{where}
        RETURNING started_at, CASE WHEN {held} THEN 0 ELSE COALESCE(reserved_usd, 0) END AS released
    )
"""
# Whoever has one of these rows locked ends or deletes the job, and forgets it too.
_FORGET = """
    forgotten AS (
        UPDATE attempts SET refused_answer = NULL, refused_because = NULL
        WHERE EXISTS (SELECT 1 FROM attempt) AND id IN (
            SELECT id FROM attempts
            WHERE job_id = :job_id AND step = :step AND revision = :revision AND refused_answer IS NOT NULL
              AND id <> :attempt_id
            FOR NO KEY UPDATE SKIP LOCKED)
    )
"""
_CLOSED = f"SELECT EXISTS (SELECT 1 FROM attempt) AS changed, {UNTOLD} AS untold, (SELECT {NOTIFY} FROM job)"
_COST = {
    "cost_usd": "cost_usd + COALESCE(CAST(:usd AS numeric), 0)",
    "input_tokens": "input_tokens + :input_tokens",
    "output_tokens": "output_tokens + :output_tokens",
    "cached_tokens": "cached_tokens + :cached_tokens",
    "reserved_usd": "reserved_usd - (SELECT released FROM attempt)",
}
REFUSED_ANSWER_LIMIT = 60_000
"""Characters of an answer that are kept to be shown to its model again."""
_OF_MODELS = [type.value for type, kind in ERRORS.items() if kind.falls_through]
"""Errors of a model or its provider. A row that our own parts broke is no failure of the model's."""


class AttemptRepository:
    """Opens and closes attempts."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

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
    ) -> Opened | Stored | None:
        """Open a row, reserve what its call may cost (USD; None where nobody knows) and tell of it, unless the step is
        stored. Rows that were left open become `unknown`. `reserve_repair` is reserved in the place of `reserve` when
        there is an answer to be repaired.

        None when the job is gone, ended, or in another run: nothing is paid for it any more. An error of the
        database's when a budget does not allow it, which `refusal` understands; then nothing was done.
        """
        attempt_id = new_id()
        told = started_event(key, attempt_id, {"attempt_id": attempt_id, "attempt": attempt, "model": model})
        # In a subquery of its own, which Postgres runs once: it is not run again for a row that waited for a lock.
        parts = append_parts({**told.sets, **RESERVE_IN_JOB}, where="EXISTS (SELECT 1 FROM opened)")
        row = (
            await self._connection.execute(
                prepared(f"WITH {_OPEN}, {parts}, {RESERVE_IN_MONTH} {_OPENED}"),
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
                    "reserve": reserve,
                    "reserve_repair": reserve if reserve_repair is None else reserve_repair,
                    "reused": reused,
                    "refused": ErrorType.OUTPUT_INVALID.value,
                    "of_models": _OF_MODELS,
                },
            )
        ).one()
        if row.result is not None:
            return Stored(row.result)
        if row.attempt_id is None:
            return None
        because = tuple(row.refused_because or ())
        return Opened(attempt_id, row.failures, row.cut_off, row.refusals, row.refused_answer, because)

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
    ) -> Closed:
        """Store the step, close its row, add the cost and tell of it, in one statement. Unless the step is stored
        already, or the row is closed or settled: then nothing is changed. `reusable` is the key and the JSON of an
        answer that the same request may be given again."""
        values = {
            **store_values(key, result, artifacts, attempt_id=attempt_id, simulated=spent.simulated),
            **_spent_values(spent, answered=True, error=None),
        }
        keep = ""
        if reusable is not None:
            keep = f", {KEEP_RESULT}"
            values.update(result_key=reusable[0], output=reusable[1], fresh=FRESH)
        told = completed_event(
            key, {**data, **_told(attempt_id, spent)}, sets=_COST, values=_costs(values), simulated=spent.simulated
        )
        close = _CLOSE.format(outcome="'ok'", held=HELD, where=" AND EXISTS (SELECT 1 FROM stored)")
        parts = append_parts(told.sets, where="EXISTS (SELECT 1 FROM attempt)", progress=True)
        store = store_step("EXISTS (SELECT 1 FROM mine)")
        told_parts = f"{parts}, {SPEND_IN_MONTH}{keep}, {_FORGET}"
        return await self._close(key, f"{_MINE}, {store}, {close}, {told_parts}", values, told)

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
        refused: tuple[str, tuple[str, ...]] | None = None,
    ) -> Closed:
        """Close a row that stored nothing, with what it cost all the same, and tell of it, in one statement. `refused`
        is an answer that would not do, and why."""
        values = {
            **_spent_values(spent, answered=answered, error=error, refused=refused),
            "owner_id": key.owner_id,
            "attempt_id": attempt_id,
            "outcome": outcome.value,
        }
        told = _failed_event(key, attempt_id, spent, outcome, values, data)
        close = _CLOSE.format(outcome=":outcome", held=HELD, where="")
        parts = append_parts(told.sets, where="EXISTS (SELECT 1 FROM attempt)", progress=True)
        return await self._close(key, f"{close}, {parts}, {SPEND_IN_MONTH}", values, told)

    async def tell_text(self, key: StepKey, attempt_id: str, data: Json) -> None:
        """Tell a piece of the text that an open attempt is getting."""
        # Named by its end: a piece that is told again, as nobody knows whether it was, may have grown.
        end = data["offset"] + len(data["text"])
        # Postgres has neither NUL nor half a surrogate pair; one character for one, so that the offsets hold.
        words = data["text"].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
        await EventRepository(self._connection).append(
            key.job_id,
            EventType.STEP_TEXT,
            f"attempt:{attempt_id}:text:{end}",
            {
                "step": key.step,
                "stage": key.stage,
                "revision": key.revision,
                "attempt_id": attempt_id,
                **data,
                "text": words,
            },
            where="EXISTS (SELECT 1 FROM attempts WHERE id = :attempt_id AND outcome = 'open')",
            values={"attempt_id": attempt_id},
        )

    async def _close(self, key: StepKey, parts: str, values: Json, told: Told) -> Closed:
        row = (
            await self._connection.execute(
                prepared(f"WITH {parts} {_CLOSED}"),
                {**values, **append_values(key.job_id, told.type, told.key, told.data), **told.values},
            )
        ).one()
        return Closed(row.changed, row.untold)


def _failed_event(key: StepKey, attempt_id: str, spent: Spent, outcome: Outcome, values: Json, data: Json) -> Told:
    error = {"code": values["error_type"], "message": values["error_message"]} if values["error_type"] else None
    return Told(
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
        _COST,
        _costs(values),
    )


def _spent_values(
    spent: Spent,
    *,
    answered: bool,
    error: AtelierError | None,
    refused: tuple[str, tuple[str, ...]] | None = None,
) -> Json:
    answer, because = refused or (None, None)
    return {
        "answered": answered,
        "input_tokens": spent.usage.input_tokens,
        "output_tokens": spent.usage.output_tokens,
        "cached_tokens": spent.usage.cached_tokens,
        "cache_write_tokens": spent.usage.cache_write_tokens,
        "reasoning_tokens": spent.usage.reasoning_tokens,
        "usd": spent.usd,
        "latency_ms": round(spent.latency.total_seconds() * 1000),
        "first_token_ms": None if spent.first_token is None else round(spent.first_token.total_seconds() * 1000),
        "error_type": error.type.value if error else None,
        "error_message": error.message[:MESSAGE_LIMIT] if error else None,
        # Postgres has no NUL.
        "refused_answer": None if answer is None else answer.replace("\x00", "")[:REFUSED_ANSWER_LIMIT],
        "refused_because": None if because is None else [reason.replace("\x00", "") for reason in because],
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
