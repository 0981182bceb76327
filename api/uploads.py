"""Files that users bring: where their bytes go, how they come, and what they are."""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog
from fastapi import Request

from api.deps import Deps
from api.middleware import Body
from api.tokens import server_secrets
from api.turns import Turns
from api.upload_schemas import UploadRequest
from api.views import View
from core.artifacts.store import ArtifactStore
from core.artifacts.uploads import Incoming, Received
from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.files import FileKind, FileReason
from core.contracts.people import Via
from core.db.engine import Database
from core.db.repositories.audit import Act, AuditLog
from core.db.repositories.uploads import (
    Addressed,
    NewUpload,
    ReceivingRepository,
    Upload,
    UploadRepository,
    UploadRules,
    UploadStatus,
)
from core.documents import extraction, kinds
from core.documents.kinds import KINDS
from core.documents.refused import FileRefusedError
from core.settings import Settings

CHECKS_AT_ONCE = 2
"""Files that one process looks into at the same time: each takes a process of its own, and up to 768 MB of memory."""
SENT_AT_ONCE = 8
"""Files that one user sends to one process at the same time: each takes up to 3 MB of memory."""
SLOWEST = 16 * 1024
"""Bytes a second below which an upload is given up: a connection is not held for a drip."""
REMEMBERED = timedelta(days=7)
"""How long it is told why an upload came to nothing."""
EXPIRED_AT_ONCE = 100
LOOKS = 3
_LARGEST = max(known.max_bytes for known in KINDS.values() if known.uploads)
_PURPOSE = b"atelier upload urls"

log = structlog.get_logger()


@dataclass(frozen=True)
class Kept:
    """A file that is good, and in the store."""

    ref: ArtifactRef
    kind: FileKind


@dataclass(frozen=True)
class Refused:
    """A file that is not taken."""

    reason: FileReason
    message: str


Verdict = Kept | Refused


class Uploads:
    """What an API process does about uploads, beside the rows."""

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._keys = [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in server_secrets(settings)]
        self._checking = asyncio.Semaphore(CHECKS_AT_ONCE)
        # Who has a hundred files looked into, or sends a hundred, waits in a line of their own.
        self._checks, self._sent = Turns(1), Turns(SENT_AT_ONCE)
        # Well before the request's own end, so that the file is refused and not asked about again and again.
        seconds = min(extraction.STANDARD.seconds, settings.api_answer_seconds / 2)
        self._limits = replace(extraction.STANDARD, seconds=seconds)
        self._silence = settings.upload_silence_seconds
        self.incoming = Incoming(store)
        self.rules = UploadRules(
            quota_files=settings.upload_quota_files,
            quota_bytes=settings.upload_quota_bytes,
            url_lifetime=timedelta(minutes=settings.upload_url_minutes),
            lifetime=timedelta(hours=settings.upload_expiry_hours),
        )

    async def target(self, upload: Upload) -> View:
        """Where the bytes of a new upload go, as `upload_schemas.UploadTarget`."""
        if self.incoming.signs:
            url = await self.incoming.signed_url(upload.owner_id, upload.id, self.rules.url_lifetime)
        else:
            expires, signature = _expiry(upload), _signature(self._keys[0], upload)
            url = f"/v1/uploads/{upload.id}/content?expires={expires}&signature={signature}"
        return {
            "url": url,
            "method": "PUT",
            "headers": {"Content-Type": upload.media_type},
            "expires_at": upload.url_expires_at,
        }

    async def receive(self, deps: Deps, request: Request, upload_id: str) -> str:
        """Take the bytes of a PUT to a URL of ours; the SHA-256 of what came.

        Raises UPLOAD_URL_INVALID for another signature, size, type or user, UPLOAD_EXPIRED, INVALID_STATE when the
        bytes were received already or are just coming, REQUEST_TIMEOUT, STORE_UNAVAILABLE, and UNAUTHENTICATED for
        credentials, which nobody needs here, that are not valid.
        """
        # Until the signature is found good, a stranger may have made it up.
        async with deps.door.line(request):
            found = await self._find(deps, upload_id)
        upload = await self._addressed(deps, request, found)
        if "authorization" in request.headers and (await deps.door.admit(request)).owner_id != upload.owner_id:
            raise _invalid("It was given to another user.")
        body: Body = request.scope["state"]["body"]
        _check_headers(request, body, upload)
        async with (
            self._sent.of(upload.owner_id),
            self.incoming.receiving(upload.owner_id, upload.id) as receipt,
        ):
            # Once more: another may have finished right before the file was ours.
            async with deps.turns.of(upload.owner_id):
                found = await self._find(deps, upload_id)
            await self._addressed(deps, request, found)
            body.expect(upload.size, silence=self._silence, seconds=self._silence + upload.size / SLOWEST)
            async for chunk in request.stream():
                await receipt.add(chunk)
            if receipt.count != upload.size:
                raise _invalid(f"{receipt.count} bytes came, and {upload.size} were announced.")
            received = await receipt.finish()
        await self._note(deps, request, upload, received)
        return received.sha256

    async def judge(self, upload: Upload) -> Verdict | None:
        """What came for a pending upload: good, and in the store, or refused. None: nothing has come.

        Does no harm when it is done twice, also at once. Raises STORE_UNAVAILABLE.
        """
        async with self._checks.of(upload.owner_id), self._checking:
            for _ in range(LOOKS):
                # Another request may be moving the file to where it stays, or deleting it.
                with suppress(FileNotFoundError):
                    return await self._verdict(upload)
        return None

    async def _verdict(self, upload: Upload) -> Verdict:
        """Raises FileNotFoundError."""
        async with self.incoming.checked_out(upload.owner_id, upload.id, upload.sha256, upload.size) as received:
            try:
                kind = await self._inspect(upload, received)
            except FileRefusedError as refused:
                return Refused(refused.reason, refused.message)
            return Kept(await self.incoming.keep(received, upload.owner_id, KINDS[kind].media_types[0]), kind)

    async def _inspect(self, upload: Upload, received: Received) -> FileKind:
        """What a file is. Raises `FileRefusedError`."""
        if received.size != upload.size:
            reason = FileReason.TRUNCATED if received.size < upload.size else FileReason.TOO_LARGE
            raise FileRefusedError(
                reason, f"The file has {received.size} bytes, and {upload.size} were declared. Upload it again."
            )
        if upload.declared_sha256 not in (None, received.sha256):
            raise FileRefusedError(
                FileReason.MALFORMED,
                f"The file's SHA-256 is {received.sha256}, and another was declared: it was damaged on its way, or is "
                "another file. Upload it again.",
            )
        kind = await asyncio.to_thread(kinds.detect, received.path, upload.media_type, upload.name)
        _check_uploads(kind)
        await extraction.check(received.path, kind, self._limits)
        return kind

    @staticmethod
    async def _find(deps: Deps, upload_id: str) -> Addressed | None:
        async with deps.database.statement() as connection:
            return await ReceivingRepository(connection).find(upload_id)

    async def _addressed(self, deps: Deps, request: Request, found: Addressed | None) -> Upload:
        """The upload that a signed URL is for, if it may be used."""
        given = sorted(request.query_params.multi_items())
        if found is None or self.incoming.signs or not self._is_signed(found.upload, given):
            await deps.limiter.anonymous(request)
            raise _invalid("Use the URL as it was given when the upload was made.")
        if found.is_late or found.upload.status is UploadStatus.EXPIRED:
            raise AtelierError(ErrorType.UPLOAD_EXPIRED, "The URL has expired. Make another upload.")
        if found.is_received or found.upload.status is not UploadStatus.PENDING:
            raise AtelierError(ErrorType.INVALID_STATE, "The bytes are there already: the URL is good once.")
        return found.upload

    def _is_signed(self, upload: Upload, given: Sequence[tuple[str, str]]) -> bool:
        signed = [[("expires", _expiry(upload)), ("signature", _signature(key, upload))] for key in self._keys]
        return any(hmac.compare_digest(repr(list(given)).encode(), repr(one).encode()) for one in signed)

    async def _note(self, deps: Deps, request: Request, upload: Upload, received: Received) -> None:
        """Make it known that the bytes are there, unless others came first."""
        origin = deps.limiter.origin(request)
        act = Act(
            action="uploads.content",
            owner_id=upload.owner_id,
            actor_id=None,
            via=Via.NOBODY,
            resource=f"uploads/{upload.id}",
            ip=origin.ip,
            request_id=origin.request_id,
        )
        async with deps.turns.of(upload.owner_id), deps.database.transaction() as connection:
            receiving = ReceivingRepository(connection)
            if await receiving.received(upload.id, received.sha256):
                await AuditLog(connection).add(act)
                return
            found = await receiving.find(upload.id)
        if found is None or found.upload.sha256 != received.sha256:
            await self.incoming.drop(received)
        raise AtelierError(ErrorType.INVALID_STATE, "The upload ended, or other bytes came first.")

    async def forget(self, upload: Upload) -> None:
        """Delete what came for an upload that is gone; what is left is swept."""
        try:
            await self.incoming.discard(upload.owner_id, upload.id)
        except AtelierError as error:
            log.info("uploads.not_discarded", reason=error.message)

    async def sweep(self, database: Database) -> None:
        """End uploads that were not completed in time, and forget those that came to nothing long ago."""
        expired = EXPIRED_AT_ONCE
        while expired == EXPIRED_AT_ONCE:
            async with database.transaction() as connection:
                gone = await ReceivingRepository(connection).expire(EXPIRED_AT_ONCE)
            for owner_id, upload_id in gone:
                await self.incoming.discard(owner_id, upload_id)
            expired = len(gone)
            if expired:
                log.info("uploads.expired", uploads=expired)
        async with database.statement() as connection:
            await ReceivingRepository(connection).forget(REMEMBERED)

    async def sweep_bytes(self, database: Database, grace: timedelta) -> int:
        """Delete bytes that belong to no pending upload: a process was killed before it could. How many files."""

        async def pending(upload_ids: Sequence[str]) -> set[str]:
            async with database.statement() as connection:
                return await ReceivingRepository(connection).pending(upload_ids)

        return await self.incoming.sweep(pending, grace)


def checked(given: UploadRequest) -> NewUpload:
    """What is declared of a file that is to come. Raises `FileRefusedError` for what would not be taken."""
    kind = kinds.declared_kind(given.media_type, given.name)
    if kind is not None:
        _check_uploads(kind)
    most = _LARGEST if kind is None else KINDS[kind].max_bytes
    if not given.size:
        raise FileRefusedError(FileReason.EMPTY, "The file is empty. Send one with something in it.")
    if given.size > most:
        what = "A file" if kind is None else KINDS[kind].name
        raise FileRefusedError(
            FileReason.TOO_LARGE,
            f"{what[:1].upper()}{what[1:]} may have {most // 1_000_000} MB at most. Send a smaller one.",
        )
    return NewUpload(given.name, given.size, given.media_type, given.sha256)


async def store(verdict: Verdict, uploads: UploadRepository, upload_id: str) -> Upload:
    """Note what was found. Of an upload that is not pending any more, what became of it."""
    if isinstance(verdict, Refused):
        return await uploads.set_refused(upload_id, verdict.reason, verdict.message)
    return await uploads.set_ready(upload_id, verdict.ref.sha256, verdict.kind, verdict.ref.media_type)


def upload_view(upload: Upload, target: View | None = None) -> View:
    """An upload, as `upload_schemas.UploadView`."""
    is_ready, is_pending = upload.status is UploadStatus.READY, upload.status is UploadStatus.PENDING
    refused: dict[str, Any] | None = None
    if upload.reason is not None:
        refused = {"reason": upload.reason.value, "message": upload.message or ""}
    return {
        "id": upload.id,
        "name": upload.name,
        "size": upload.size,
        "media_type": upload.media_type,
        "sha256": upload.sha256 if is_ready else upload.declared_sha256,
        "status": upload.status.value,
        "kind": None if upload.kind is None else upload.kind.value,
        "refused": refused,
        "upload": target,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at if is_pending else None,
        "finished_at": upload.finished_at,
    }


def _check_uploads(kind: FileKind) -> None:
    if not KINDS[kind].uploads:
        raise FileRefusedError(
            FileReason.UNSUPPORTED, f"{KINDS[kind].name} is not taken as an upload. Give its URL, or save it as text."
        )


def _check_headers(request: Request, body: Body, upload: Upload) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != upload.media_type:
        raise _invalid(f"The URL is for `Content-Type: {upload.media_type}`.")
    if body.declared != upload.size or "transfer-encoding" in request.headers:
        raise _invalid(f"The URL is for `Content-Length: {upload.size}`.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise _invalid("The bytes are sent as they are, without a Content-Encoding.")


def _invalid(message: str) -> AtelierError:
    return AtelierError(ErrorType.UPLOAD_URL_INVALID, message)


def _expiry(upload: Upload) -> str:
    return str(int(upload.url_expires_at.timestamp()))


def _signature(key: bytes, upload: Upload) -> str:
    """Binds a URL to all that must not change. None of these holds a line feed."""
    signed = "\n".join(("PUT", upload.id, upload.owner_id, str(upload.size), upload.media_type, _expiry(upload)))
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
