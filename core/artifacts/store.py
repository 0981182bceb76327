"""The artifact store: bytes addressed by content within one owner, in a folder or in S3, GCS or Azure (obstore)."""

import asyncio
import hashlib
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType

if TYPE_CHECKING:
    # These exist only in obstore's stubs, not at run time.
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

OWNER = re.compile(r"[A-Za-z0-9-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
KEY = re.compile(rf"(?P<owner>{OWNER.pattern})/(?P<shard>[0-9a-f]{{2}})/(?P<sha>(?P=shard)[0-9a-f]{{62}})")
INCOMING = "incoming"
"""Where the bytes of uploads are until they are found good (`uploads.py`). No owner is called so: theirs are UUIDs."""
LEFTOVER = re.compile(rf"{SHA256.pattern}#[0-9]+")
"""obstore writes a local object to `<key>#<n>` and renames it; a crash leaves that file, which no listing shows."""

SCHEMES = frozenset({"s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"})
CHUNK = 512 * 1024
"""Bytes of a streamed chunk: hashing one stays well under a millisecond, so that it need not leave the event loop."""
SMALL = 64 * 1024
"""Bytes that are hashed on the event loop: a thread would take longer."""
BATCH = 1_000
"""Keys a question of the sweeper, and a page of S3's listing."""
MULTIPART = 64 * 1024 * 1024
"""Bytes from which S3 gets parts. Parts of an upload that breaks off stay hidden in the bucket and cost money (give
the bucket a lifecycle rule that aborts them), so most objects go up in one request."""

T = TypeVar("T")

Key = tuple[str, str]
"""An owner and a SHA-256."""


class StoredObject(NamedTuple):
    """An object as the store lists it; `size` in bytes, `last_modified` by the store's clock."""

    owner_id: str
    sha256: str
    size: int
    last_modified: datetime


class Deleted(NamedTuple):
    """What was deleted; `size` in bytes."""

    objects: int
    size: int


def key_of(owner_id: str, sha256: str) -> str:
    """The key `<owner>/<first two digits>/<sha256>`. Raises INVALID_REQUEST unless both are plain names."""
    if not OWNER.fullmatch(owner_id) or not SHA256.fullmatch(sha256):
        raise AtelierError(ErrorType.INVALID_REQUEST, "not an owner and a SHA-256 that can address an artifact")
    return f"{owner_id}/{sha256[:2]}/{sha256}"


class ArtifactStore:
    """Puts, reads and sweeps artifacts. Safe to share between tasks; one in a process is enough.

    Every method raises STORE_UNAVAILABLE, which is transient, when the store does not answer as it should, and
    INVALID_REQUEST for an owner or a SHA-256 that is none. The media type lives in the reference and in the database:
    a local file has no place for it.
    """

    def __init__(self, store: "ObjectStore", folder: Path | None = None) -> None:
        """Use `open`; `folder` is where a local store lies."""
        self._store = store
        self._folder = folder

    @property
    def objects(self) -> "ObjectStore":
        """The objects, for what is kept beside the artifacts."""
        return self._store

    @property
    def folder(self) -> Path | None:
        """Where a local store lies."""
        return self._folder

    @classmethod
    def open(cls, url_or_folder: str) -> "ArtifactStore":
        """Open a folder (a path or file://…, made with mode 0700 if it is missing), or s3://, gs:// or az://.

        Credentials, region and endpoint come from the environment (AWS_*, GOOGLE_*, AZURE_*). Nothing is sent yet:
        `check` does. Raises ValueError for a URL that is none of these.
        """
        if "://" not in url_or_folder:
            return cls._open_folder(Path(url_or_folder).expanduser())
        url = urlsplit(url_or_folder)
        if url.scheme == "file" and url.netloc in ("", "localhost"):
            return cls._open_folder(Path(unquote(url.path)))
        if url.scheme not in SCHEMES:
            raise ValueError(f"artifacts are kept in a folder, s3://, gs:// or az://, not in {url.scheme}://")
        # Temporal owns retries, but a put follows a paid call that would be paid again: a blip is bridged here. The
        # default of 3 minutes would hide an outage for longer than a heartbeat.
        retry: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
        # `timeout` covers the whole body, and a reader of a film may be slow. Given options replace those from the
        # environment (AWS_ALLOW_HTTP); the clouds are HTTPS, so plain HTTP is always an endpoint somebody set.
        client: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=30),
            "timeout": timedelta(hours=1),
        }
        try:
            return cls(from_url(url_or_folder, client_options=client, retry_config=retry))
        except BaseError as error:
            raise ValueError(f"the artifact store cannot be opened: {error}") from error

    @classmethod
    def _open_folder(cls, folder: Path) -> "ArtifactStore":
        folder = folder.absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(LocalStore(folder), folder)

    async def put(self, owner_id: str, data: bytes, media_type: str) -> ArtifactRef:
        """Write bytes under their content and return the reference to them.

        It always writes, even what is there already, so that the sweeper sees these bytes as fresh until the
        caller's transaction refers to them. Readers see the whole object or none. When it returns, a local file and
        its folder are on the disk (fsync), as the row that will refer to them is.
        """
        sha256 = await _offload(len(data), lambda: hashlib.sha256(data).hexdigest())
        key = key_of(owner_id, sha256)
        # Without a bucket or folder S3 answers "not found": for a put, that is a store that is out of reach.
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            if self._folder is not None:
                await asyncio.to_thread(make_private, self._folder / owner_id)
            await self._store.put_async(key, data, use_multipart=len(data) > MULTIPART)
            if self._folder is not None:
                await asyncio.to_thread(sync_file, self._folder, key)
        return ArtifactRef(owner_id=owner_id, sha256=sha256, size=len(data), media_type=media_type)

    async def get(self, ref: ArtifactRef) -> bytes:
        """All bytes of an artifact, checked. Raises ARTIFACT_MISSING when they are gone or are not what was put."""
        with failures():
            result = await self._open_object(ref, None)
            buffer = await result.bytes_async()

        def verified() -> bytes:
            data = bytes(buffer)
            if hashlib.sha256(data).hexdigest() != ref.sha256:
                raise _damaged(ref)
            return data

        return await _offload(ref.size, verified)

    async def get_range(self, ref: ArtifactRef, start: int, end: int) -> bytes:
        """Bytes `start` to before `end`. Raises RANGE_NOT_SATISFIABLE outside the artifact, ARTIFACT_MISSING when the
        object is gone or has another size; a part cannot be checked against the SHA-256."""
        _check_range(ref, start, end)
        if start == end:
            return b""
        with failures():
            result = await self._open_object(ref, {"range": (start, end)})
            data = bytes(await result.bytes_async())
        if len(data) != end - start:
            raise _damaged(ref)
        return data

    async def stream(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end` (default: all) in chunks of about half a MiB.

        Raises as `get_range` does, before the first chunk. Of a whole artifact the last chunk is held back until the
        SHA-256 of all is known to be right: damaged bytes never reach a reader as a complete answer.
        """
        end = ref.size if end is None else end
        _check_range(ref, start, end)
        if start == end:
            return
        whole = start == 0 and end == ref.size
        digest, count, held = hashlib.sha256(), 0, b""
        with failures():
            result = await self._open_object(ref, None if whole else {"range": (start, end)})
            chunks = result.stream(min_chunk_size=CHUNK)
        while True:
            with failures():
                chunk = await anext(chunks, b"")
            if not chunk:
                break
            if held:
                yield held
            held = bytes(chunk)
            count += len(held)
            digest.update(held)
        if count != end - start or (whole and digest.hexdigest() != ref.sha256):
            raise _damaged(ref)
        yield held

    async def exists(self, ref: ArtifactRef) -> bool:
        """Whether the object is there with its size; its content is not read."""
        key = key_of(ref.owner_id, ref.sha256)
        meta = await self._head(key)
        return meta is not None and meta["size"] == ref.size

    async def keys(self, owner_id: str | None = None) -> AsyncIterator[StoredObject]:
        """Every artifact in the store, or one owner's, in no order; what is not ours is left out."""
        async for page in self._pages(owner_id):
            for found in page:
                yield found

    async def sweep(self, is_referenced: Callable[[Sequence[Key]], Awaitable[set[Key]]], older_than: timedelta) -> int:
        """Delete what nothing refers to and is older than the grace; returns how many files went.

        `is_referenced` gets up to 1,000 (owner, SHA-256) and returns those that are in use. The grace must be longer
        than the time between a put and the commit that refers to it. Right before a deletion the age is looked up
        again: the same content may have been put since. What is left is the instant between that look and the
        deletion. Files that a crash left half-written in a local folder go by the same age.
        """
        cutoff = datetime.now(UTC) - older_than
        deleted = 0
        async for page in self._pages():
            old = [(found.owner_id, found.sha256) for found in page if found.last_modified < cutoff]
            used = await is_referenced(old) if old else set()
            for owner_id, sha256 in old:
                if (owner_id, sha256) not in used:
                    deleted += await self._delete_if_old(key_of(owner_id, sha256), cutoff)
        if self._folder is not None:
            deleted += await asyncio.to_thread(_sweep_leftovers, self._folder, cutoff)
        return deleted

    async def delete_owner(self, owner_id: str) -> Deleted:
        """Delete all that an owner has, unfinished uploads too, whatever its age and whoever refers to it, and say how
        much that was.

        It looks until it finds nothing more, as somebody may still be putting. Safe to call again. In a local folder
        the owner's own goes too, with what a crash left half-written in it: its name is the owner's id.
        """
        # A folder that is gone would list as empty.
        await self.check()
        objects = size = 0
        while True:
            found = [stored async for stored in self.keys(owner_id)]
            if not found:
                break
            for begin in range(0, len(found), BATCH):
                page = found[begin : begin + BATCH]
                # A file that a sweeper took first breaks the page off, and what is left of it is found once more.
                with failures(), suppress(FileNotFoundError):
                    await self._store.delete_async([key_of(owner_id, one.sha256) for one in page])
                    objects += len(page)
                    size += sum(one.size for one in page)
        unfinished = await self._delete_incoming(owner_id)
        if self._folder is not None:
            for folder in (self._folder / owner_id, self._folder / INCOMING / owner_id):
                with failures(), suppress(FileNotFoundError):
                    await asyncio.to_thread(shutil.rmtree, folder)
        return Deleted(objects + unfinished.objects, size + unfinished.size)

    async def _delete_incoming(self, owner_id: str) -> Deleted:
        """Delete what an owner's uploads brought that were not finished."""
        objects = size = 0
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            async for page in self._store.list(f"{INCOMING}/{owner_id}", chunk_size=BATCH):
                with suppress(FileNotFoundError):
                    await self._store.delete_async([found["path"] for found in page])
                    objects += len(page)
                    size += sum(found["size"] for found in page)
        return Deleted(objects, size)

    async def check(self) -> None:
        """Return if the store answers; raises STORE_UNAVAILABLE if it does not. Writes nothing."""
        if self._folder is not None:
            usable = await asyncio.to_thread(os.access, self._folder, os.R_OK | os.W_OK | os.X_OK)
            if not usable:
                raise AtelierError(ErrorType.STORE_UNAVAILABLE, "the artifact folder cannot be read and written")
            return
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            # An owner that nobody is: the bucket and the credentials are tried, and the answer is short.
            await self._store.list_with_delimiter_async("health-check")

    async def _open_object(self, ref: ArtifactRef, options: "GetOptions | None") -> "GetResult":
        result = await self._store.get_async(key_of(ref.owner_id, ref.sha256), options=options)
        if result.meta["size"] != ref.size:
            raise _damaged(ref)
        return result

    async def _head(self, key: str) -> "ObjectMeta | None":
        with failures():
            try:
                return await self._store.head_async(key)
            except FileNotFoundError:
                return None

    async def _pages(self, owner_id: str | None = None) -> AsyncIterator[list[StoredObject]]:
        if owner_id is not None and not OWNER.fullmatch(owner_id):
            raise AtelierError(ErrorType.INVALID_REQUEST, "not an owner")
        with failures(missing=ErrorType.STORE_UNAVAILABLE):
            pages = self._store.list(owner_id, chunk_size=BATCH)
        while True:
            with failures(missing=ErrorType.STORE_UNAVAILABLE):
                page = await anext(pages, None)
            if page is None:
                return
            yield [
                StoredObject(match["owner"], match["sha"], meta["size"], meta["last_modified"])
                for meta in page
                if (match := KEY.fullmatch(meta["path"]))
            ]

    async def _delete_if_old(self, key: str, cutoff: datetime) -> int:
        meta = await self._head(key)
        if meta is None or meta["last_modified"] >= cutoff:
            return 0
        with failures():
            try:
                await self._store.delete_async(key)
            except FileNotFoundError:  # another sweeper was first
                return 0
        return 1


@contextmanager
def failures(missing: ErrorType = ErrorType.ARTIFACT_MISSING) -> Iterator[None]:
    """Turn what obstore and the file system raise into our codes; `missing` is what "not found" means here."""
    try:
        yield
    except FileNotFoundError as error:
        message = "the bytes of an artifact are gone" if missing is ErrorType.ARTIFACT_MISSING else "there is no store"
        raise AtelierError(missing, message) from error
    except (BaseError, OSError, ValueError) as error:
        # The first line says what failed; the rest is a debug print that repeats URLs. Where a file lies is no user's
        # business.
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0][:300]
        raise AtelierError(ErrorType.STORE_UNAVAILABLE, f"the artifact store failed: {reason}") from error


def _damaged(ref: ArtifactRef) -> AtelierError:
    return AtelierError(
        ErrorType.ARTIFACT_MISSING, "the bytes of an artifact are not those that were put", details={"sha": ref.sha256}
    )


def _check_range(ref: ArtifactRef, start: int, end: int) -> None:
    if not 0 <= start <= end <= ref.size:
        raise AtelierError(
            ErrorType.RANGE_NOT_SATISFIABLE,
            f"bytes {start} to {end} are not within an artifact of {ref.size}",
            details={"size": ref.size},
        )


async def _offload(size: int, work: Callable[[], T]) -> T:
    """Run work on `size` bytes without holding up the event loop (hashlib lets go of the GIL)."""
    return work() if size <= SMALL else await asyncio.to_thread(work)


def make_private(folder: Path) -> None:
    """Make an owner's folder that only this user can enter, even when the root was there before and is open."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_file(root: Path, key: str) -> None:
    """Flush a file and the folders that name it: obstore renames without, and a power cut would leave a row whose
    bytes are gone."""
    if os.name != "posix":  # Windows opens no folders
        return
    path = root / key
    for item in (path, path.parent, path.parent.parent, root):
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep_leftovers(root: Path, cutoff: datetime) -> int:
    deleted = 0
    for path in root.glob("*/*/*#*"):
        if not LEFTOVER.fullmatch(path.name):
            continue
        try:
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < cutoff.timestamp():
                path.unlink()
                deleted += 1
        except FileNotFoundError:  # the writer has just renamed it
            continue
    return deleted
