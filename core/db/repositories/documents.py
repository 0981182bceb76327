"""Documents and their immutable versions."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef, Contract, Json
from core.contracts.documents import Reason, Version, VersionSection
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ALIVE, JobResult, JobStatus, Output
from core.contracts.longform_steps import REVISION_PIPELINE
from core.db.repositories.events import one_of


@dataclass(frozen=True)
class NewVersion:
    """A version before it has its number. `brief` is what the document was written from, as JSON."""

    document_id: str
    job_id: str
    reason: Reason
    title: str
    words: int
    sections: tuple[VersionSection, ...]
    article: ArtifactRef
    outline: ArtifactRef
    report: ArtifactRef
    brief: Json
    outputs: tuple[Output, ...] = ()
    parent: int | None = None
    section_id: str | None = None
    restored_from: int | None = None
    instructions: str = ""
    score: float | None = None
    cache_key: str | None = None
    simulated: bool = False


class VersionRecord(NamedTuple):
    """A version, and when it was stored."""

    version: Version
    language: str
    created_at: datetime


class DocumentRecord(NamedTuple):
    """A document as a list shows it: its newest version's figures, and how many versions it has."""

    id: str
    title: str
    latest: int
    versions: int
    words: int
    score: float | None
    simulated: bool
    language: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = """
    v.document_id, v.number, v.parent, v.reason, v.section_id, v.restored_from, v.instructions, v.job_id, v.title,
    v.words, v.score, v.sections::text AS sections, v.article::text AS article, v.outline::text AS outline,
    v.report::text AS report, v.outputs::text AS outputs, v.simulated, v.created_at,
    v.brief->>'language' AS language
"""

# Whoever comes first makes the document. If its last version is deleted meanwhile it is made anew, behind the parent.
_KEEP = f"""
WITH document AS (
    INSERT INTO documents (id, owner_id, last_number)
    VALUES (:document_id, :owner_id, COALESCE(CAST(:parent AS integer), 0) + 1)
    ON CONFLICT (id) DO UPDATE
    SET last_number = GREATEST(documents.last_number, CAST(:parent AS integer)) + 1
    WHERE documents.owner_id = excluded.owner_id
    RETURNING id, last_number
), v AS (
    INSERT INTO versions (document_id, number, owner_id, job_id, parent, reason, section_id, restored_from,
                          instructions, title, words, score, sections, article, outline, report, outputs, brief,
                          cache_key, simulated)
    SELECT id, last_number, :owner_id, :job_id, :parent, :reason, :section_id, :restored_from, :instructions, :title,
           :words, :score, CAST(:sections AS jsonb), CAST(:article AS jsonb), CAST(:outline AS jsonb),
           CAST(:report AS jsonb), CAST(:outputs AS jsonb), CAST(:brief AS jsonb), :cache_key, :simulated
    FROM document
    RETURNING *
)
SELECT {_COLUMNS} FROM v
"""

_DOCUMENTS = """
SELECT d.id, d.created_at, v.title, v.number AS latest, v.words, v.score, v.simulated,
       v.brief->>'language' AS language, v.created_at AS updated_at,
       (SELECT count(*) FROM versions c WHERE c.document_id = d.id) AS versions
FROM documents d
CROSS JOIN LATERAL (SELECT * FROM versions n WHERE n.document_id = d.id ORDER BY n.number DESC LIMIT 1) v
WHERE d.owner_id = :owner_id
"""


class DocumentRepository:
    """Keeps and reads the versions of one owner's documents."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def keep(self, new: NewVersion) -> Version:
        """Store a version under its document's next number. Idempotent by job: a second call returns the first one's.

        Needs a transaction. Raises `INVALID_STATE` when the job is gone.
        """
        values: dict[str, Any] = {
            **new.__dict__,
            "owner_id": self._owner_id,
            "reason": new.reason.value,
            "sections": _dump(new.sections),
            "outputs": _dump(new.outputs),
            "article": new.article.model_dump_json(),
            "outline": new.outline.model_dump_json(),
            "report": new.report.model_dump_json(),
            "brief": json.dumps(new.brief),
        }
        # The job before the document, as a deletion takes them. It also puts two attempts at this one after the other.
        job = "SELECT 1 FROM jobs WHERE id = :job_id AND owner_id = :owner_id FOR NO KEY UPDATE"
        if (await self._connection.execute(text(job), values)).first() is None:
            raise AtelierError(ErrorType.INVALID_STATE, "The job is gone: its version is not kept.")
        row = (
            await self._connection.execute(
                text(f"SELECT {_COLUMNS} FROM versions v WHERE v.job_id = :job_id AND v.owner_id = :owner_id"), values
            )
        ).first()
        row = row or (await self._connection.execute(text(_KEEP), values)).first()
        if row is None:
            raise _no_document(new.document_id)
        return _record(row).version

    async def cached(self, cache_key: str) -> tuple[Version, JobResult] | None:
        """The newest version with this key whose job completed, with that job's result."""
        row = (
            await self._connection.execute(
                text(
                    f"SELECT {_COLUMNS}, j.result::text AS result FROM versions v JOIN jobs j ON j.id = v.job_id "
                    "WHERE v.owner_id = :owner_id AND v.cache_key = :cache_key AND j.status = :completed "
                    "AND j.result IS NOT NULL ORDER BY v.created_at DESC, v.job_id DESC LIMIT 1"
                ),
                {"owner_id": self._owner_id, "cache_key": cache_key, "completed": JobStatus.COMPLETED.value},
            )
        ).first()
        return None if row is None else (_record(row).version, JobResult.model_validate_json(row.result))

    async def opened(self, document_id: str, number: int) -> tuple[Version, Json] | None:
        """A version and the brief it was written from; None when the owner has no such version."""
        row = await self._one(document_id, number, ", v.brief::text AS brief")
        return None if row is None else (_record(row).version, json.loads(row.brief))

    async def page(self, *, before: str | None, limit: int) -> list[DocumentRecord]:
        """A page of documents, newest first. `before` is the id of the last one of the page before."""
        where = "" if before is None else " AND d.id < :before"
        rows = await self._connection.execute(
            text(f"{_DOCUMENTS}{where} ORDER BY d.id DESC LIMIT :limit"),
            {"owner_id": self._owner_id, "limit": limit, **({} if before is None else {"before": before})},
        )
        return [_document(row) for row in rows]

    async def get(self, document_id: str) -> DocumentRecord:
        """One document. Raises `NOT_FOUND`, also for another owner's."""
        row = (
            await self._connection.execute(
                text(f"{_DOCUMENTS} AND d.id = :document_id"), {"owner_id": self._owner_id, "document_id": document_id}
            )
        ).first()
        if row is None:
            raise _no_document(document_id)
        return _document(row)

    async def versions(self, document_id: str, *, before: int | None, limit: int) -> list[VersionRecord]:
        """A page of versions, newest first, below the number `before`. Raises `NOT_FOUND`."""
        await self.latest(document_id)
        where = "" if before is None else " AND v.number < :before"
        rows = await self._connection.execute(
            text(
                f"SELECT {_COLUMNS} FROM versions v "
                f"WHERE v.owner_id = :owner_id AND v.document_id = :document_id{where} "
                "ORDER BY v.number DESC LIMIT :limit"
            ),
            {
                "owner_id": self._owner_id,
                "document_id": document_id,
                "limit": limit,
                **({} if before is None else {"before": before}),
            },
        )
        return [_record(row) for row in rows]

    async def version(self, document_id: str, number: int) -> VersionRecord:
        """One version. Raises `NOT_FOUND`, also for another owner's."""
        row = await self._one(document_id, number)
        if row is None:
            await self.latest(document_id)
            raise AtelierError(
                ErrorType.NOT_FOUND,
                f"The document {document_id} has no version {number}.",
                details={"document_id": document_id, "number": number},
            )
        return _record(row)

    async def latest(self, document_id: str) -> int:
        """The number of the newest version. Raises `NOT_FOUND`, also for another owner's document."""
        number = (
            await self._connection.execute(
                text("SELECT max(number) FROM versions WHERE owner_id = :owner_id AND document_id = :document_id"),
                {"owner_id": self._owner_id, "document_id": document_id},
            )
        ).scalar_one()
        if number is None:
            raise _no_document(document_id)
        return int(number)

    async def lock(self, document_id: str) -> None:
        """Let one change of a document be submitted after the other, until the transaction ends."""
        await self._connection.execute(
            text("SELECT 1 FROM documents WHERE id = :document_id AND owner_id = :owner_id FOR NO KEY UPDATE"),
            {"owner_id": self._owner_id, "document_id": document_id},
        )

    async def alive_revision(self, document_id: str) -> str | None:
        """A job that is making a new version of the document: not ended, whatever it waits for."""
        found = (
            await self._connection.execute(
                text(
                    f"SELECT id FROM jobs WHERE owner_id = :owner_id AND pipeline = :pipeline AND {one_of(ALIVE)} "
                    "AND input->>'document_id' = :document_id ORDER BY id LIMIT 1"
                ),
                {"owner_id": self._owner_id, "pipeline": REVISION_PIPELINE, "document_id": document_id},
            )
        ).scalar()
        return None if found is None else str(found)

    async def _one(self, document_id: str, number: int, more: str = "") -> Row[Any] | None:
        return (
            await self._connection.execute(
                text(
                    f"SELECT {_COLUMNS}{more} FROM versions v "
                    "WHERE v.document_id = :document_id AND v.number = :number AND v.owner_id = :owner_id"
                ),
                {"owner_id": self._owner_id, "document_id": document_id, "number": number},
            )
        ).first()


def _no_document(document_id: str) -> AtelierError:
    return AtelierError(
        ErrorType.NOT_FOUND, f"There is no document {document_id}.", details={"document_id": document_id}
    )


def _dump(models: Iterable[Contract]) -> str:
    return json.dumps([model.model_dump(mode="json") for model in models])


def _record(row: Row[Any]) -> VersionRecord:
    version = Version(
        document_id=str(row.document_id),
        number=row.number,
        parent=row.parent,
        reason=Reason(row.reason),
        section_id=row.section_id,
        restored_from=row.restored_from,
        instructions=row.instructions,
        job_id=str(row.job_id),
        title=row.title,
        words=row.words,
        score=None if row.score is None else float(row.score),
        sections=tuple(VersionSection.model_validate(section) for section in json.loads(row.sections)),
        article=ArtifactRef.model_validate_json(row.article),
        outline=ArtifactRef.model_validate_json(row.outline),
        report=ArtifactRef.model_validate_json(row.report),
        outputs=tuple(Output.model_validate(output) for output in json.loads(row.outputs)),
        simulated=row.simulated,
    )
    return VersionRecord(version, row.language or "", row.created_at)


def _document(row: Row[Any]) -> DocumentRecord:
    return DocumentRecord(
        id=str(row.id),
        title=row.title,
        latest=row.latest,
        versions=row.versions,
        words=row.words,
        score=None if row.score is None else float(row.score),
        simulated=row.simulated,
        language=row.language or "",
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
