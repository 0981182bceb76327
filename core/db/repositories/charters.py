"""Charters and their versions. A document is known by its first session; each version has a session of its own."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ALIVE, Output
from core.contracts.scoping import PIPELINE
from core.db.repositories.events import one_of, prepared


class CharterRecord(NamedTuple):
    """A version of a charter, without its text. `reopened` is the stage that was asked again for it."""

    document_id: str
    number: int
    session_id: str
    parent: int | None
    reopened: int | None
    title: str
    charter: ArtifactRef
    outputs: tuple[Output, ...]
    decision: str
    simulated: bool
    created_at: datetime


_COLUMNS = """
    c.document_id, c.number, c.job_id, c.parent, c.reopened, c.title, c.charter::text AS charter,
    c.outputs::text AS outputs, c.decision, c.simulated, c.created_at
"""


class CharterRepository:
    """Reads the charters of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def of_session(self, session_id: str) -> CharterRecord | None:
        """The version that a session made; None as long as there is none."""
        return await self._one("c.job_id = :session_id", session_id=session_id)

    async def versions(self, document_id: str, *, before: int | None, limit: int) -> list[CharterRecord]:
        """A page of versions, newest first, below the number `before`."""
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM charters c WHERE c.owner_id = :owner_id AND c.document_id = :document_id "
            "AND (CAST(:before AS integer) IS NULL OR c.number < :before) ORDER BY c.number DESC LIMIT :limit",
            document_id=document_id,
            before=before,
            limit=limit,
        )
        return [_record(row) for row in rows]

    async def version(self, document_id: str, number: int) -> CharterRecord:
        """One version. Raises `NOT_FOUND`."""
        found = await self._one(
            "c.document_id = :document_id AND c.number = :number", document_id=document_id, number=number
        )
        if found is None:
            raise AtelierError(
                ErrorType.NOT_FOUND,
                f"The charter has no version {number}.",
                details={"document_id": document_id, "number": number},
            )
        return found

    async def lock(self, document_id: str) -> None:
        """Let one change of a charter be submitted after the other, until the transaction ends."""
        await self._run(
            "SELECT 1 FROM charters WHERE document_id = :document_id AND owner_id = :owner_id ORDER BY number "
            "FOR NO KEY UPDATE",
            document_id=document_id,
        )

    async def alive_change(self, document_id: str) -> str | None:
        """A session that is making a new version of the charter: not ended, whatever it waits for."""
        found = await self._run(
            f"SELECT id FROM jobs WHERE owner_id = :owner_id AND pipeline = '{PIPELINE}' AND {one_of(ALIVE)} "
            "AND input->'base'->>'document_id' = :document_id ORDER BY id LIMIT 1",
            document_id=document_id,
        )
        id = found.scalar()
        return None if id is None else str(id)

    async def _one(self, where: str, **values: Any) -> CharterRecord | None:
        row = (
            await self._run(f"SELECT {_COLUMNS} FROM charters c WHERE c.owner_id = :owner_id AND {where}", **values)
        ).first()
        return None if row is None else _record(row)

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), {"owner_id": self._owner_id, **values})


def _record(row: Row[Any]) -> CharterRecord:
    return CharterRecord(
        document_id=str(row.document_id),
        number=row.number,
        session_id=str(row.job_id),
        parent=row.parent,
        reopened=row.reopened,
        title=row.title,
        charter=ArtifactRef.model_validate_json(row.charter),
        outputs=tuple(Output.model_validate(output) for output in json.loads(row.outputs)),
        decision=row.decision,
        simulated=row.simulated,
        created_at=row.created_at,
    )
