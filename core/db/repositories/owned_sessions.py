"""Scoping sessions as their owners see and steer them."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobStatus
from core.contracts.scoping import PIPELINE, Finding, ScopingBrief
from core.contracts.scoping_entries import Entry
from core.contracts.scoping_questions import Questionnaire
from core.contracts.scoping_state import SessionState
from core.db.repositories.events import prepared
from core.db.repositories.job_records import COLUMNS, JobRecord, record
from core.db.repositories.scoping import ENTRY_COLUMNS, ENTRY_ORDER, entry
from core.db.repositories.turns import give_back_turn, take_turn, whose_turn


class SessionSummary(NamedTuple):
    """A session as a list shows it: what a page costs does not depend on how much was said."""

    job: JobRecord
    description: str
    opened: bool
    """Its workflow has begun it: there is something to answer."""
    at_work: bool
    stage: int | None
    """The lowest that is not closed."""
    phase: str
    document_id: str
    version: int | None
    """Of its charter, when there is one."""
    decision: str | None
    updated_at: datetime


class SessionRecord(NamedTuple):
    """A session with where it stands. Of one that is not open yet there is no state."""

    summary: SessionSummary
    brief: ScopingBrief
    state: SessionState | None
    questionnaire: Questionnaire | None

    @property
    def job(self) -> JobRecord:
        """Its job."""
        return self.summary.job


class CheckpointRecord(NamedTuple):
    """What a stage found one time that it closed."""

    stage: int
    number: int
    through_seq: int
    findings: tuple[Finding, ...]
    assumptions: list[Json]
    transcript: list[Json]
    simulated: bool
    at: datetime


class Offered(NamedTuple):
    """Something that was said before, under the same key. `seq` None: nobody knows whether it was taken."""

    id: str
    seq: int | None
    body_sha256: str


@dataclass(frozen=True)
class NewEntry:
    """What a person says, before the workflow is told."""

    id: str
    kind: str
    stage: int | None
    body: Json
    update_id: str
    body_sha256: str


NEXT_TURN = timedelta(seconds=5)
"""When to try again that found another session at work."""

_SUMMARY = f"""
    {COLUMNS}, j.input->>'description' AS description, s.job_id IS NOT NULL AS opened,
    COALESCE(s.at_work, false) AS at_work, s.stage AS at_stage, COALESCE(s.phase, 'asking') AS phase,
    COALESCE(s.document_id, CAST(j.input->'base'->>'document_id' AS uuid), j.id) AS document_id,
    c.number AS version, c.decision, GREATEST(j.updated_at, s.updated_at) AS changed_at
"""
_FROM = f"""
    FROM jobs j LEFT JOIN scoping_sessions s ON s.job_id = j.id LEFT JOIN charters c ON c.job_id = j.id
    WHERE j.owner_id = :owner_id AND j.pipeline = '{PIPELINE}'
"""
_OFFER = """
    INSERT INTO scoping_entries (id, job_id, owner_id, kind, stage, body, update_id, body_sha256)
    VALUES (:id, :job_id, :owner_id, :kind, :stage, CAST(:body AS jsonb), :update_id, :body_sha256)
    ON CONFLICT (job_id, update_id) DO NOTHING RETURNING 1
"""


class ScopingRepository:
    """Reads the sessions of one owner, and takes what they say."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def page(self, *, status: JobStatus | None, before: str | None, limit: int) -> list[SessionSummary]:
        """A page of sessions, newest first. `before` is the id of the last one of the page before."""
        wanted = {"status": status, "before": before}
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = {"status": "j.status = :status", "before": "j.id < :before"}
        where = "".join(f" AND {conditions[name]}" for name in given)
        rows = await self._run(
            f"SELECT {_SUMMARY} {_FROM}{where} ORDER BY j.id DESC LIMIT :limit", **given, limit=limit
        )
        return [_summary(row) for row in rows]

    async def get(self, session_id: str) -> SessionRecord:
        """One session. Raises `NOT_FOUND`, also for another owner's, and for a job that is none."""
        row = (
            await self._run(
                f"SELECT {_SUMMARY}, j.input::text AS input, s.state::text AS state, "
                f"s.questionnaire::text AS questionnaire {_FROM} AND j.id = :job_id",
                job_id=session_id,
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.NOT_FOUND, f"There is no session {session_id}.", details={"session_id": session_id}
            )
        return SessionRecord(
            summary=_summary(row),
            brief=ScopingBrief.model_validate_json(row.input),
            state=None if row.state is None else SessionState.model_validate_json(row.state),
            questionnaire=None if row.questionnaire is None else _questionnaire(row.questionnaire),
        )

    async def entries(self, session_id: str) -> list[Entry]:
        """What was said and asked back, in order."""
        rows = await self._run(
            f"SELECT {ENTRY_COLUMNS} FROM scoping_entries e WHERE e.owner_id = :owner_id AND e.job_id = :job_id "
            f"AND e.seq IS NOT NULL ORDER BY {ENTRY_ORDER}",
            job_id=session_id,
        )
        return [entry(row) for row in rows]

    async def checkpoints(self, session_id: str, stage: int | None = None) -> list[CheckpointRecord]:
        """The checkpoints of a stage, or of all, in the order in which they were made."""
        rows = await self._run(
            "SELECT k.stage, k.number, k.through_seq, k.findings::text AS findings, "
            "k.assumptions::text AS assumptions, k.transcript::text AS transcript, k.simulated, k.at "
            "FROM scoping_checkpoints k WHERE k.job_id = :job_id "
            "AND (CAST(:stage AS smallint) IS NULL OR k.stage = :stage) "
            "AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id) "
            "ORDER BY k.through_seq, k.stage, k.number",
            job_id=session_id,
            stage=stage,
        )
        return [_checkpoint(row) for row in rows]

    async def offered(self, session_id: str, update_id: str) -> Offered | None:
        """What was said under a key."""
        row = (
            await self._run(
                "SELECT id, seq, body_sha256 FROM scoping_entries "
                "WHERE job_id = :job_id AND owner_id = :owner_id AND update_id = :update_id",
                job_id=session_id,
                update_id=update_id,
            )
        ).first()
        return None if row is None else Offered(str(row.id), row.seq, row.body_sha256)

    async def take_turn(self, session_id: str) -> None:
        """Take the owner's one turn to have a model work. Needs a transaction.

        Raises `STAGE_RUNNING` while another session of theirs has it, and `NOT_FOUND`.
        """
        # Before the turn, as whoever deletes the job does.
        job = "SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id FOR KEY SHARE"
        if (await self._run(job, job_id=session_id)).first() is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no session {session_id}.")
        if await take_turn(self._connection, self._owner_id, session_id):
            return
        other = await whose_turn(self._connection, self._owner_id, session_id)
        raise AtelierError(
            ErrorType.STAGE_RUNNING,
            "A model works on another session of yours, and only one may at a time. Say it again in a moment.",
            details={"session_id": other},
            retry_after=NEXT_TURN,
        )

    async def offer(self, session_id: str, new: NewEntry) -> bool:
        """Store what a person says. False: something was said under the same key at the same moment."""
        values = {**new.__dict__, "job_id": session_id, "body": json.dumps(new.body)}
        return (await self._run(_OFFER, **values)).first() is not None

    async def withdraw(self, session_id: str, entry_id: str) -> bool:
        """Take back what the workflow refused, and the turn with it. False: it was taken after all.

        Needs a transaction.
        """
        mine = "id = :id AND owner_id = :owner_id"
        # One after the other: the first waits for whoever takes it just now, and the second sees what they did.
        await self._run(f"DELETE FROM scoping_entries WHERE {mine} AND seq IS NULL", id=entry_id)
        if (await self._run(f"SELECT 1 FROM scoping_entries WHERE {mine}", id=entry_id)).first() is not None:
            return False
        # Whether a model works for it, its row says.
        await give_back_turn(self._connection, self._owner_id, session_id)
        return True

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), {"owner_id": self._owner_id, **values})


@lru_cache(maxsize=16)
def _questionnaire(told: str) -> Questionnaire:
    """Nearly all sessions have the same: reading it takes longer than all the rest."""
    return Questionnaire.model_validate_json(told)


def _summary(row: Row[Any]) -> SessionSummary:
    return SessionSummary(
        job=record(row),
        description=row.description,
        opened=row.opened,
        at_work=row.at_work,
        stage=row.at_stage,
        phase=row.phase,
        document_id=str(row.document_id),
        version=row.version,
        decision=row.decision,
        updated_at=row.changed_at,
    )


def _checkpoint(row: Row[Any]) -> CheckpointRecord:
    return CheckpointRecord(
        stage=row.stage,
        number=row.number,
        through_seq=row.through_seq,
        findings=tuple(Finding.model_validate(finding) for finding in json.loads(row.findings)),
        assumptions=json.loads(row.assumptions),
        transcript=json.loads(row.transcript),
        simulated=row.simulated,
        at=row.at,
    )
