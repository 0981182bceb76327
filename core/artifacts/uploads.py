"""Bytes of uploads until they are found good: under the upload's id, apart from the artifacts, whose key is what they
are. A store in the cloud takes them itself, at a URL that it signs; into a folder they come through us."""

import asyncio
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from core.artifacts.store import (
    BATCH,
    INCOMING,
    MULTIPART,
    OWNER,
    SHA256,
    ArtifactStore,
    failures,
    key_of,
    make_private,
    sync_file,
)
from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType

PIECE = 1 << 20
"""Bytes that are hashed and written at once, in threads, while the next come. In small ones the threads would mostly
wait for each other's turn at the interpreter."""
PARTS = 1_000
"""In how many parts a piece may come: thousands of a few bytes would take many times as much memory."""
FLUSH = 32 << 20
"""Bytes after which they are put on the disk, so that little is left to wait for at the end."""
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(rf"{INCOMING}/(?P<owner>{OWNER.pattern})/(?P<id>{_ID.pattern})(?:\.part|\.{SHA256.pattern})?")


class Received(NamedTuple):
    """A file that came: where it lies now, and what it is by its bytes. `size` in bytes."""

    path: Path
    sha256: str
    size: int


class Receipt:
    """Bytes as they come into a file that nobody else writes. At most three pieces are in memory."""

    def __init__(self, part: Path, file: IO[bytes]) -> None:
        """Use `Incoming.receiving`."""
        self.count = 0
        """Bytes so far."""
        self._part = part
        self._file = file
        self._digest = hashlib.sha256()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._unflushed = 0
        self._working: asyncio.Future[Any] | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._is_placed = False

    async def add(self, data: bytes) -> None:
        """Take bytes. Raises STORE_UNAVAILABLE when they cannot be written, as on a full disk, and INVALID_STATE when
        the upload was deleted meanwhile."""
        self._held.append(data)
        self._held_bytes += len(data)
        self.count += len(data)
        if self._held_bytes >= PIECE or len(self._held) >= PARTS:
            await self._pass_on()

    async def finish(self) -> Received:
        """All bytes have come: they are on the disk when this returns, under a name that says what they are.

        Raises INVALID_STATE when the upload was deleted meanwhile.
        """
        await self._pass_on()
        for under_way in self._under_way():
            with failures():
                await asyncio.shield(under_way)
        sha256 = self._digest.hexdigest()
        path = self._part.with_name(f"{self._part.stem}.{sha256}")
        with failures():
            try:
                await asyncio.to_thread(self._place, path)
            except FileNotFoundError:
                raise _deleted() from None
        return Received(path, sha256, self.count)

    async def close(self) -> None:
        """Close the file, and delete it unless it was finished."""
        if under_way := self._under_way():
            await asyncio.wait(under_way)
        with suppress(OSError):
            # Before it is closed: with the lock gone, the name may be another's.
            if not self._is_placed:
                self._part.unlink()
        with suppress(OSError):
            self._file.close()

    async def _pass_on(self) -> None:
        if self._working is not None:
            with failures():
                await asyncio.shield(self._working)
        data = b"".join(self._held)
        self._held, self._held_bytes = [], 0
        hashed, written = asyncio.to_thread(self._digest.update, data), asyncio.to_thread(self._write, data)
        self._working = asyncio.gather(hashed, written)
        self._unflushed += len(data)
        if self._flushing is not None and self._flushing.done():
            # A disk tells of a failure once.
            with failures():
                self._flushing.result()
            self._flushing = None
        if self._unflushed >= FLUSH and self._flushing is None:
            self._unflushed = 0
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._flush))

    def _under_way(self) -> list[asyncio.Future[Any]]:
        return [one for one in (self._working, self._flushing) if one is not None]

    def _write(self, data: bytes) -> None:
        self._file.write(data)

    def _flush(self) -> None:
        os.fdatasync(self._file.fileno())
        if not os.fstat(self._file.fileno()).st_nlink:
            # Deleted with its upload: what it takes of the disk counts for nobody any more.
            raise _deleted()

    def _place(self, path: Path) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.rename(path)
        self._is_placed = True
        _sync_folder(path.parent)


class Incoming:
    """Receives, checks out, moves and sweeps. Every method raises STORE_UNAVAILABLE when the store does not answer."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    @property
    def signs(self) -> bool:
        """Whether the store takes the bytes itself."""
        return self._store.folder is None

    async def signed_url(self, owner_id: str, upload_id: str, lifetime: timedelta) -> str:
        """Where the store takes a PUT. It is bound to the key and the method; what was put is looked at later."""
        store = self._store.objects
        if not isinstance(store, S3Store | GCSStore | AzureStore):
            raise AtelierError(ErrorType.STORE_UNAVAILABLE, "this store signs no URLs")
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            return await obstore.sign_async(store, "PUT", _key(owner_id, upload_id), lifetime)

    @asynccontextmanager
    async def receiving(self, owner_id: str, upload_id: str) -> AsyncIterator[Receipt]:
        """A file for an upload's bytes, for a store in a folder. What is not finished within is gone afterwards.

        Only one at a time, in all processes: raises INVALID_STATE while another receives the same upload. The lock is
        the file's, so it ends with a process that is killed.
        """
        folder = self._folder(owner_id)
        with failures():
            part, file = await asyncio.to_thread(_open_part, folder, upload_id)
        receipt = Receipt(part, file)
        try:
            yield receipt
        finally:
            await receipt.close()

    @asynccontextmanager
    async def checked_out(
        self, owner_id: str, upload_id: str, sha256: str | None, size: int
    ) -> AsyncIterator[Received]:
        """The bytes that came, as a file to look at. Raises FileNotFoundError when there are none.

        `sha256` is that of the bytes which came through us. Of a store in the cloud at most `size` bytes are fetched,
        and one more if there are more: what is looked at is a copy, which nobody with the URL can change any more.
        """
        if self._store.folder is not None:
            yield await asyncio.to_thread(self._find, owner_id, upload_id, sha256)
            return
        with tempfile.TemporaryDirectory(prefix="atelier-upload-") as folder:
            yield await self._fetch(_key(owner_id, upload_id), Path(folder) / "bytes", size)

    async def keep(self, received: Received, owner_id: str, media_type: str) -> ArtifactRef:
        """Put bytes that are checked out under their content, where artifacts are. Safe to do again."""
        key = key_of(owner_id, received.sha256)
        ref = ArtifactRef(owner_id=owner_id, sha256=received.sha256, size=received.size, media_type=media_type)
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            if self._store.folder is not None:
                await asyncio.to_thread(_move, self._store.folder, received.path, key)
            else:
                await self._store.objects.put_async(key, received.path, use_multipart=received.size > MULTIPART)
        return ref

    async def drop(self, received: Received) -> None:
        """Delete a file that came second."""
        with failures():
            await asyncio.to_thread(received.path.unlink, missing_ok=True)

    async def discard(self, owner_id: str, upload_id: str) -> None:
        """Delete what came for an upload and is no artifact. Safe to do again."""
        if self._store.folder is not None:
            with failures():
                await asyncio.to_thread(_unlink_all, self._folder(owner_id), upload_id)
            return
        with failures(), suppress(FileNotFoundError):
            await self._store.objects.delete_async(_key(owner_id, upload_id))

    async def sweep(self, pending: Callable[[Sequence[str]], Awaitable[set[str]]], older_than: timedelta) -> int:
        """Delete what is older than the grace and belongs to no upload that is pending. How many files went."""
        cutoff, deleted = datetime.now(UTC) - older_than, 0
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            async for page in self._store.objects.list(INCOMING, chunk_size=BATCH):
                found = [(match, meta) for meta in page if (match := _KEY.fullmatch(meta["path"]))]
                old = [(match["id"], meta["path"]) for match, meta in found if meta["last_modified"] < cutoff]
                waited_for = await pending([upload_id for upload_id, _ in old]) if old else set()
                for upload_id, path in old:
                    if upload_id not in waited_for:
                        with suppress(FileNotFoundError):
                            await self._store.objects.delete_async(path)
                            deleted += 1
        return deleted

    def _folder(self, owner_id: str) -> Path:
        root = self._store.folder
        if root is None or not OWNER.fullmatch(owner_id):
            raise AtelierError(ErrorType.INVALID_REQUEST, "not a store and an owner that can receive bytes")
        return root / INCOMING / owner_id

    def _find(self, owner_id: str, upload_id: str, sha256: str | None) -> Received:
        if sha256 is None:
            raise FileNotFoundError
        root = self._store.folder
        assert root is not None
        # Whoever was killed after `keep` had moved them.
        for path in (self._folder(owner_id) / f"{upload_id}.{sha256}", root / key_of(owner_id, sha256)):
            with suppress(FileNotFoundError):
                return Received(path, sha256, path.stat().st_size)
        raise FileNotFoundError

    async def _fetch(self, key: str, path: Path, size: int) -> Received:
        with _failures_but_missing():
            result = await self._store.objects.get_async(key)
        digest, count = hashlib.sha256(), 0
        if result.meta["size"] > size:
            return Received(path, "", result.meta["size"])

        def take(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        with failures(), path.open("wb") as file:
            async for chunk in result.stream(min_chunk_size=PIECE):
                count += len(chunk)
                await asyncio.to_thread(take, bytes(chunk))
        return Received(path, digest.hexdigest(), count)


@contextmanager
def _failures_but_missing() -> Iterator[None]:
    """As `failures`, but what is missing is told as such."""
    try:
        with failures():
            yield
    except AtelierError as error:
        if error.type is ErrorType.ARTIFACT_MISSING:
            raise FileNotFoundError from error
        raise


def _key(owner_id: str, upload_id: str) -> str:
    if not OWNER.fullmatch(owner_id) or not _ID.fullmatch(upload_id):
        raise AtelierError(ErrorType.INVALID_REQUEST, "not an owner and an upload")
    return f"{INCOMING}/{owner_id}/{upload_id}"


def _deleted() -> AtelierError:
    return AtelierError(ErrorType.INVALID_STATE, "The upload was deleted while its bytes came.")


def _open_part(folder: Path, upload_id: str) -> tuple[Path, IO[bytes]]:
    """An empty file that is locked, and that its name leads to."""
    if not _ID.fullmatch(upload_id):
        raise AtelierError(ErrorType.INVALID_REQUEST, "not an upload")
    make_private(folder.parent)
    make_private(folder)
    part = folder / f"{upload_id}.part"
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have finished since it was opened: then it has its final name, and is not to be cut.
            if _is(part, descriptor):
                os.ftruncate(descriptor, 0)
                return part, os.fdopen(descriptor, "wb")
        except BlockingIOError:
            os.close(descriptor)
            raise AtelierError(
                ErrorType.INVALID_STATE, "The bytes of this upload are coming already. Wait until they are there."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _move(root: Path, path: Path, key: str) -> None:
    target = root / key
    make_private(root / key.partition("/")[0])
    target.parent.mkdir(exist_ok=True)
    try:
        # Fresh to the sweeper until a row refers to it.
        os.utime(path)
        path.replace(target)
    except FileNotFoundError:
        # Another request has just moved it.
        os.utime(target)
    sync_file(root, key)


def _unlink_all(folder: Path, upload_id: str) -> None:
    for path in folder.glob(f"{upload_id}.*"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
