"""Stored steps and the artifacts they made: (job, step, revision) once."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef, Contract, Json
from core.contracts.errors import MESSAGE_LIMIT, AtelierError, ErrorType
from core.contracts.jobs import Answer, EventType, StepKey
from core.db.ids import artifact_id
from core.db.repositories.events import EventRepository

Result = TypeVar("Result", bound=Contract)


@dataclass(frozen=True)
class StepArtifact:
    """Bytes that a step put into the store. `output` is for the user, else it is what later steps read."""

    name: str
    ref: ArtifactRef
    output: bool = False

    def row(self, key: StepKey) -> Json:
        """The row, as JSON for the statement that stores the step."""
        return {
            "id": artifact_id(key.job_id, key.step, key.revision, self.name),
            "name": self.name,
            "role": "output" if self.output else "working",
            "sha256": self.ref.sha256,
            "size": self.ref.size,
            "media_type": self.ref.media_type,
        }


@dataclass(frozen=True)
class Kept(Generic[Result]):
    """What a step leaves: its result, and the bytes that it put into the store for it."""

    result: Result
    artifacts: tuple[StepArtifact, ...] = ()
    simulated: bool = False


_STORE_STEP = """
    stored AS (
        INSERT INTO steps (job_id, step, revision, run, attempt_id, result)
        SELECT CAST(:job_id AS uuid), :step, :revision, :run, CAST(:attempt_id AS uuid), CAST(:result AS jsonb){where}
        ON CONFLICT DO NOTHING RETURNING 1
    ), artifact AS (
        INSERT INTO artifacts (id, owner_id, job_id, step, revision, name, role, sha256, size, media_type, simulated)
        SELECT a.id, :owner_id, :job_id, :step, :revision, a.name, a.role, a.sha256, a.size, a.media_type, :simulated
        FROM jsonb_to_recordset(CAST(:artifacts AS jsonb))
            AS a(id uuid, name text, role text, sha256 text, size bigint, media_type text)
        WHERE EXISTS (SELECT 1 FROM stored)
    )
"""


def store_step(where: str = "") -> str:
    """Two parts of a WITH: the step's row, if `where` allows it, and its artifacts if the row is new."""
    return _STORE_STEP.format(where=f" WHERE {where}" if where else "")


def step_values(key: StepKey) -> Json:
    """The parameters that name a step."""
    return {"job_id": key.job_id, "step": key.step, "revision": key.revision, "run": key.run}


def store_values(
    key: StepKey, result: str, artifacts: Sequence[StepArtifact], *, attempt_id: str | None, simulated: bool
) -> Json:
    """The parameters of `store_step`. `result` is JSON."""
    return {
        **step_values(key),
        "owner_id": key.owner_id,
        "attempt_id": attempt_id,
        "result": result,
        "artifacts": json.dumps([artifact.row(key) for artifact in artifacts]),
        "simulated": simulated,
    }


@dataclass(frozen=True)
class Told:
    """An event of a step, and what changes in the job's row with it."""

    type: EventType
    key: str
    data: Json
    sets: dict[str, str]
    values: Json


def started_event(key: StepKey, attempt: str, data: Json) -> Told:
    """An attempt at a step began."""
    return Told(
        EventType.STEP_STARTED,
        f"attempt:{attempt}:started",
        {"step": key.step, "stage": key.stage, "revision": key.revision, **data},
        {
            "stage": ":stage",
            "current_step": ":current_step",
            "total_steps": "GREATEST(total_steps, :total_steps)",
        },
        {"stage": key.stage, "current_step": key.step, "total_steps": key.total_steps},
    )


# Whose earlier tries failed for good is stored first by a later revision.
_DONE_BEFORE = "SELECT 1 FROM steps s WHERE s.job_id = jobs.id AND s.step = :done_step AND s.revision < :done_revision"


def completed_event(key: StepKey, data: Json, *, sets: dict[str, str], values: Json, simulated: bool) -> Told:
    """A step is stored. It counts once, however often it is revised."""
    first, of_step = "1", {}
    if key.revision > 1:
        first = f"CASE WHEN EXISTS ({_DONE_BEFORE}) THEN 0 ELSE 1 END"
        of_step = {"done_step": key.step, "done_revision": key.revision}
    return Told(
        EventType.STEP_COMPLETED,
        f"step:{key.step}:{key.revision}:completed",
        {"step": key.step, "stage": key.stage, "revision": key.revision, **data},
        {
            "stage": ":stage",
            "steps_done": f"steps_done + {first}",
            "total_steps": "GREATEST(total_steps, :total_steps)",
            "simulated": "simulated OR :simulated",
            **sets,
        },
        {
            "stage": key.stage,
            "total_steps": key.total_steps,
            "simulated": simulated,
            **of_step,
            **values,
        },
    )


class StepRepository:
    """Reads and stores steps, and tells of them: for workers, whose key names the owner."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._events = EventRepository(connection)

    async def stored(self, key: StepKey) -> str | None:
        """The stored result as JSON, or None."""
        row = (
            await self._connection.execute(
                text(
                    "SELECT result::text AS result FROM steps "
                    "WHERE job_id = :job_id AND step = :step AND revision = :revision"
                ),
                {"job_id": key.job_id, "step": key.step, "revision": key.revision},
            )
        ).first()
        return None if row is None else str(row.result)

    async def started(self, key: StepKey, attempt: str, data: Json) -> None:
        """Tell that an attempt at a step began. `attempt` names it within the job."""
        told = started_event(key, attempt, data)
        await self._events.append(key.job_id, told.type, told.key, told.data, sets=told.sets, values=told.values)

    async def cut_off(self, key: StepKey, attempts: str) -> int:
        """How many attempts at a free step began and told of no end. `attempts` is what their names begin with."""
        row = (
            await self._connection.execute(
                text(
                    "SELECT count(*) FILTER (WHERE type = :began) - count(*) FILTER (WHERE type = :failed) AS cut_off "
                    "FROM events WHERE job_id = :job_id AND starts_with(key, :prefix)"
                ),
                {
                    "job_id": key.job_id,
                    "prefix": f"attempt:{attempts}:",
                    "began": EventType.STEP_STARTED.value,
                    "failed": EventType.STEP_FAILED.value,
                },
            )
        ).one()
        return int(row.cut_off)

    async def failures(self, key: StepKey, attempts: str, codes: Iterable[ErrorType]) -> int:
        """How many attempts at a free step failed with one of the codes. `attempts` is what their names begin with."""
        row = (
            await self._connection.execute(
                text(
                    "SELECT count(*) AS failed FROM events WHERE job_id = :job_id AND starts_with(key, :prefix) "
                    "AND type = :type AND data->'error'->>'code' = ANY(:codes)"
                ),
                {
                    "job_id": key.job_id,
                    "prefix": f"attempt:{attempts}:",
                    "type": EventType.STEP_FAILED.value,
                    "codes": [code.value for code in codes],
                },
            )
        ).one()
        return int(row.failed)

    async def failed(self, key: StepKey, attempt: str, error: AtelierError) -> None:
        """Tell that an attempt at a free step failed."""
        await self._events.append(
            key.job_id,
            EventType.STEP_FAILED,
            f"attempt:{attempt}:failed",
            {
                "step": key.step,
                "stage": key.stage,
                "revision": key.revision,
                "outcome": "failed",
                "error": {"code": error.type.value, "message": error.message[:MESSAGE_LIMIT]},
                "again": error.kind.transient and not error.final,
            },
            progress=True,
        )

    async def store(self, key: StepKey, result: str, artifacts: Sequence[StepArtifact], *, simulated: bool) -> str:
        """Store the result of a step that cost nothing, and tell of it. Returns what is stored: whoever came first."""
        row = (
            await self._connection.execute(
                text(f"WITH {store_step()} SELECT EXISTS (SELECT 1 FROM stored) AS new"),
                store_values(key, result, artifacts, attempt_id=None, simulated=simulated),
            )
        ).one()
        if not row.new:
            return await self.stored(key) or result
        await self.completed(key, {}, sets={}, values={}, simulated=simulated)
        return result

    async def completed(self, key: StepKey, data: Json, *, sets: dict[str, str], values: Json, simulated: bool) -> None:
        """Tell that a step is stored, with whatever else that changes in the job's row."""
        told = completed_event(key, data, sets=sets, values=values, simulated=simulated)
        await self._events.append(
            key.job_id, told.type, told.key, told.data, sets=told.sets, values=told.values, progress=True
        )


class AnswersRepository:
    """Reads what people answered in one owner's jobs."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def of(self, job_id: str, step: str) -> list[tuple[int, Answer]]:
        """What people answered at a step, by round; nothing of another owner's job."""
        rows = await self._connection.execute(
            text(
                "SELECT revision, result::text AS result FROM steps WHERE job_id = :job_id AND step = :step "
                "AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id) ORDER BY revision"
            ),
            {"owner_id": self._owner_id, "job_id": job_id, "step": step},
        )
        return [(row.revision, Answer.model_validate_json(row.result)) for row in rows]
