"""Artifacts: which files a job made. The bytes are in the artifact store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType


@dataclass(frozen=True)
class ArtifactRecord:
    """One file of a job. `role` is `output` for what the user asked for, `working` for what steps pass on."""

    id: str
    job_id: str
    step: str
    revision: int
    name: str
    role: str
    ref: ArtifactRef
    simulated: bool
    created_at: datetime


_COLUMNS = "id, owner_id, job_id, step, revision, name, role, sha256, size, media_type, simulated, created_at"


class ArtifactRepository:
    """Reads the artifacts of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def of_job(self, job_id: str) -> list[ArtifactRecord]:
        """The files of a job, outputs first, oldest first. Raises `NOT_FOUND` for a job that is not the owner's."""
        known = await self._connection.execute(
            text("SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id"),
            {"job_id": job_id, "owner_id": self._owner_id},
        )
        if known.first() is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})
        rows = await self._connection.execute(
            text(
                f"SELECT {_COLUMNS} FROM artifacts WHERE job_id = :job_id AND owner_id = :owner_id "
                "ORDER BY role, created_at, name"
            ),
            {"job_id": job_id, "owner_id": self._owner_id},
        )
        return [_record(row) for row in rows]

    async def get(self, artifact_id: str) -> ArtifactRecord:
        """One file. Raises `NOT_FOUND`, also for another owner's."""
        row = (
            await self._connection.execute(
                text(f"SELECT {_COLUMNS} FROM artifacts WHERE id = :id AND owner_id = :owner_id"),
                {"id": artifact_id, "owner_id": self._owner_id},
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.NOT_FOUND, f"There is no artifact {artifact_id}.", details={"artifact_id": artifact_id}
            )
        return _record(row)

    async def newest(self, job_id: str, name: str, steps: Sequence[str]) -> ArtifactRecord | None:
        """The file of this name that one of the steps made last; None when there is none."""
        row = (
            await self._connection.execute(
                text(
                    f"SELECT {_COLUMNS} FROM artifacts WHERE job_id = :job_id AND owner_id = :owner_id "
                    "AND name = :name AND step = ANY(:steps) ORDER BY created_at DESC, revision DESC LIMIT 1"
                ),
                {"owner_id": self._owner_id, "job_id": job_id, "name": name, "steps": list(steps)},
            )
        ).first()
        return None if row is None else _record(row)


class ReferenceRepository:
    """Says which bytes are still needed, whoever owns them: for the sweeper, and for nothing a user asks."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def referenced(self, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the (owner, sha256) pairs that a row refers to."""
        rows = await self._connection.execute(
            text(
                "SELECT DISTINCT k.owner_id, k.sha256 "
                "FROM unnest(CAST(:owners AS uuid[]), CAST(:shas AS text[])) AS k(owner_id, sha256) "
                "WHERE EXISTS (SELECT 1 FROM artifacts a WHERE a.owner_id = k.owner_id AND a.sha256 = k.sha256) "
                "OR EXISTS (SELECT 1 FROM uploads u WHERE u.owner_id = k.owner_id AND u.sha256 = k.sha256 "
                "AND u.status IN ('pending', 'ready'))"
            ),
            {"owners": [owner for owner, _ in keys], "shas": [sha for _, sha in keys]},
        )
        return {(str(row.owner_id), row.sha256) for row in rows}


def _record(row: Row[Any]) -> ArtifactRecord:
    return ArtifactRecord(
        id=str(row.id),
        job_id=str(row.job_id),
        step=row.step,
        revision=row.revision,
        name=row.name,
        role=row.role,
        ref=ArtifactRef(owner_id=str(row.owner_id), sha256=row.sha256, size=row.size, media_type=row.media_type),
        simulated=row.simulated,
        created_at=row.created_at,
    )
