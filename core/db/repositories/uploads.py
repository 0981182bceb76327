"""Uploads: files that users bring. What was promised, what came, and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.files import FileKind, FileReason
from core.db.ids import new_id
from core.db.repositories.events import prepared


class UploadStatus(StrEnum):
    """How far an upload is."""

    PENDING = "pending"
    """Its bytes have not come, or were not looked at."""
    READY = "ready"
    REFUSED = "refused"
    EXPIRED = "expired"
    """It was not ready in time."""


@dataclass(frozen=True)
class UploadRecord:
    """A file that is ready to be used. `media_type` is that of its kind, `size` in bytes."""

    id: str
    name: str
    kind: FileKind
    ref: ArtifactRef
    media_type: str
    size: int


@dataclass(frozen=True)
class Upload:
    """An upload, whatever became of it. `size` in bytes; `media_type` is as declared until it is ready."""

    id: str
    owner_id: str
    name: str
    size: int
    media_type: str
    declared_sha256: str | None
    status: UploadStatus
    sha256: str | None
    """Of the bytes that came through our own URL, or of those that are ready."""
    kind: FileKind | None
    reason: FileReason | None
    message: str | None
    created_at: datetime
    url_expires_at: datetime
    expires_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Addressed:
    """What a signed URL is for."""

    upload: Upload
    is_received: bool
    """The bytes are there."""
    is_late: bool
    """The URL has expired, by the database's clock."""


@dataclass(frozen=True)
class NewUpload:
    """What is told of a file before it comes. `size` in bytes."""

    name: str
    size: int
    media_type: str
    sha256: str | None


@dataclass(frozen=True)
class UploadRules:
    """How many files an owner may have, ready or on their way, and how long one may be on its way."""

    quota_files: int
    quota_bytes: int
    url_lifetime: timedelta
    lifetime: timedelta


# Whether an upload has expired is a matter of the clock, and not of a sweep that comes later.
_STATUS = "CASE WHEN status = 'pending' AND expires_at <= now() THEN 'expired' ELSE status END"
_COLUMNS = f"""
    id, owner_id, name, size, media_type, declared_sha256, {_STATUS} AS status, sha256, kind, reason, message,
    created_at, url_expires_at, expires_at, finished_at
"""
_USED = f"""
    SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM uploads
    WHERE owner_id = :owner_id AND {_STATUS} IN ('pending', 'ready')
"""
_CREATE = f"""
    INSERT INTO uploads (id, owner_id, name, size, media_type, declared_sha256, url_expires_at, expires_at)
    VALUES (:id, :owner_id, :name, :size, :media_type, :sha256,
        now() + CAST(:url_lifetime AS interval), now() + CAST(:lifetime AS interval))
    RETURNING {_COLUMNS}
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM uploads
    WHERE owner_id = :owner_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
"""
_READY = f"""
    UPDATE uploads SET status = 'ready', sha256 = :sha256, kind = :kind, media_type = :media_type, finished_at = now()
    WHERE id = :id AND owner_id = :owner_id AND {_STATUS} = 'pending' RETURNING {_COLUMNS}
"""
_REFUSED = f"""
    UPDATE uploads SET status = 'refused', reason = :reason, message = :message, finished_at = now()
    WHERE id = :id AND owner_id = :owner_id AND {_STATUS} = 'pending' RETURNING {_COLUMNS}
"""
_FIND = f"""
    SELECT {_COLUMNS}, received_at IS NOT NULL AS is_received, url_expires_at <= now() AS is_late FROM uploads
    WHERE id = :id AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.id = uploads.owner_id AND erasing_at IS NOT NULL)
"""
# One of two that come at once: the other finds the row changed.
_RECEIVED = f"""
    UPDATE uploads SET sha256 = :sha256, received_at = now()
    WHERE id = :id AND received_at IS NULL AND {_STATUS} = 'pending' RETURNING id
"""
_EXPIRE = """
    UPDATE uploads SET status = 'expired', finished_at = now()
    WHERE id IN (
        SELECT id FROM uploads WHERE status = 'pending' AND expires_at <= now()
        ORDER BY expires_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id, owner_id
"""
_FORGET = """
    DELETE FROM uploads
    WHERE status IN ('refused', 'expired') AND finished_at < now() - CAST(:after AS interval)
"""


class UploadRepository:
    """The uploads of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def ready(self, upload_id: str) -> UploadRecord:
        """A file to be used. Raises `NOT_FOUND`, and `INVALID_STATE` for one that is not ready."""
        upload = await self.get(upload_id)
        if upload.status is not UploadStatus.READY or upload.sha256 is None or upload.kind is None:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                f"The upload {upload_id} is {upload.status.value}, and only one that is ready can be used.",
                details={"upload_id": upload_id, "status": upload.status.value},
            )
        ref = ArtifactRef(
            owner_id=upload.owner_id, sha256=upload.sha256, size=upload.size, media_type=upload.media_type
        )
        return UploadRecord(upload.id, upload.name, upload.kind, ref, upload.media_type, upload.size)

    async def create(self, new: NewUpload, rules: UploadRules) -> Upload:
        """Promise room for a file. Raises `QUOTA_EXCEEDED` when there is none, and `NOT_FOUND` without an owner.

        Needs a transaction: it holds the owner's lock, or two at once would both find room for one.
        """
        owner = await self._run("SELECT 1 FROM owners WHERE id = :owner_id FOR NO KEY UPDATE")
        if owner.first() is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no owner {self._owner_id}.")
        used = (await self._run(_USED)).one()
        if used.files >= rules.quota_files or used.bytes + new.size > rules.quota_bytes:
            raise AtelierError(
                ErrorType.QUOTA_EXCEEDED,
                f"You have {used.files} files of {used.bytes} bytes, ready or on their way; {rules.quota_files} files "
                f"of {rules.quota_bytes} bytes may be kept. Delete what is not needed any more.",
                details={
                    "files": used.files,
                    "bytes": int(used.bytes),
                    "quota_files": rules.quota_files,
                    "quota_bytes": rules.quota_bytes,
                },
            )
        row = await self._run(
            _CREATE, id=new_id(), **new.__dict__, url_lifetime=rules.url_lifetime, lifetime=rules.lifetime
        )
        return _upload(row.one())

    async def get(self, upload_id: str) -> Upload:
        """One upload. Raises `NOT_FOUND`, also for another owner's."""
        found = await self._run(f"SELECT {_COLUMNS} FROM uploads WHERE id = :id AND owner_id = :owner_id", id=upload_id)
        row = found.first()
        if row is None:
            raise _unknown(upload_id)
        return _upload(row)

    async def page(self, *, before: str | None, limit: int) -> list[Upload]:
        """A page, the newest first, before the upload `before`."""
        return [_upload(row) for row in await self._run(_PAGE, before=before, limit=limit)]

    async def set_ready(self, upload_id: str, sha256: str, kind: FileKind, media_type: str) -> Upload:
        """It can be used: its bytes are in the store. Of one that is not pending any more, what became of it."""
        row = (await self._run(_READY, id=upload_id, sha256=sha256, kind=kind.value, media_type=media_type)).first()
        return await self.get(upload_id) if row is None else _upload(row)

    async def set_refused(self, upload_id: str, reason: FileReason, message: str) -> Upload:
        """It is not taken. Of one that is not pending any more, what became of it."""
        row = (await self._run(_REFUSED, id=upload_id, reason=reason.value, message=message)).first()
        return await self.get(upload_id) if row is None else _upload(row)

    async def delete(self, upload_id: str) -> None:
        """Forget an upload. Raises `NOT_FOUND`. Its bytes are swept when nothing else refers to them."""
        gone = await self._run("DELETE FROM uploads WHERE id = :id AND owner_id = :owner_id", id=upload_id)
        if gone.rowcount == 0:
            raise _unknown(upload_id)

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), {**values, "owner_id": self._owner_id})


class ReceivingRepository:
    """Uploads whose bytes come or should have come, whoever owns them: for signed URLs, which name no owner, and for
    the sweeper."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, upload_id: str) -> Addressed | None:
        """An upload of an owner who has not left."""
        row = (await self._connection.execute(prepared(_FIND), {"id": upload_id})).first()
        return None if row is None else Addressed(_upload(row), row.is_received, row.is_late)

    async def received(self, upload_id: str, sha256: str) -> bool:
        """Note that the bytes are there. False when others came first, or the upload is not pending any more."""
        changed = await self._connection.execute(prepared(_RECEIVED), {"id": upload_id, "sha256": sha256})
        return changed.first() is not None

    async def expire(self, limit: int) -> list[tuple[str, str]]:
        """End uploads that were not ready in time; the owners and ids of those whose bytes can go."""
        rows = await self._connection.execute(prepared(_EXPIRE), {"limit": limit})
        return [(str(row.owner_id), str(row.id)) for row in rows]

    async def forget(self, after: timedelta) -> int:
        """Delete the rows of those that came to nothing so long ago."""
        return int((await self._connection.execute(prepared(_FORGET), {"after": after})).rowcount)

    async def pending(self, upload_ids: Sequence[str]) -> set[str]:
        """Those of the uploads whose bytes are still waited for, or not yet looked at."""
        rows = await self._connection.execute(
            prepared("SELECT id FROM uploads WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'"),
            {"ids": list(upload_ids)},
        )
        return {str(row.id) for row in rows}


def _unknown(upload_id: str) -> AtelierError:
    return AtelierError(ErrorType.NOT_FOUND, f"There is no upload {upload_id}.", details={"upload_id": upload_id})


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=str(row.id),
        owner_id=str(row.owner_id),
        name=row.name,
        size=row.size,
        media_type=row.media_type,
        declared_sha256=row.declared_sha256,
        status=UploadStatus(row.status),
        sha256=row.sha256,
        kind=None if row.kind is None else FileKind(row.kind),
        reason=None if row.reason is None else FileReason(row.reason),
        message=row.message,
        created_at=row.created_at,
        url_expires_at=row.url_expires_at,
        expires_at=row.expires_at,
        finished_at=row.finished_at,
    )
