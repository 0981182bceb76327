"""The artifact store, in a folder and in S3 (moto)."""

import asyncio
import hashlib
import os
import time
import tracemalloc
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from core.artifacts import store as store_module
from core.artifacts.store import ArtifactStore, Key, StoredObject
from core.artifacts.uploads import PIECE, Incoming
from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType

HOUR = timedelta(hours=1)
TEXT = "text/plain"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _s3(endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return f"s3://{bucket}/some/prefix"


@pytest.fixture(params=["folder", "s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ArtifactStore]:
    if request.param == "folder":
        yield ArtifactStore.open(str(tmp_path / "artifacts"))
        return
    endpoint, bucket = request.getfixturevalue("s3_endpoint"), f"b-{uuid4()}"
    made = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
    await asyncio.to_thread(lambda: urllib.request.urlopen(made).close())
    yield ArtifactStore.open(_s3(endpoint, bucket, monkeypatch))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "local"


@pytest.fixture
def local(folder: Path) -> ArtifactStore:
    return ArtifactStore.open(folder.as_uri())


def path_of(folder: Path, ref: ArtifactRef) -> Path:
    return folder / ref.owner_id / ref.sha256[:2] / ref.sha256


def age(path: Path, by: timedelta) -> None:
    then = time.time() - by.total_seconds()
    os.utime(path, (then, then))


async def nothing(keys: Sequence[Key]) -> set[Key]:
    return set()


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def listing(store: ArtifactStore, owner_id: str | None = None) -> list[StoredObject]:
    return [found async for found in store.keys(owner_id)]


async def remembered(chunks: AsyncIterator[bytes], seen: list[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        seen.append(chunk)
        yield chunk


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# Both stores.


async def test_put_get_and_ranges(store: ArtifactStore) -> None:
    await store.check()
    data = os.urandom(3 * store_module.CHUNK + 17)
    ref = await store.put("owner-1", data, "video/mp4")
    assert ref == ArtifactRef(
        owner_id="owner-1", sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type="video/mp4"
    )
    assert await store.exists(ref)
    assert await store.get(ref) == data
    assert await store.get_range(ref, 0, 1) == data[:1]
    assert await store.get_range(ref, 100, 70_000) == data[100:70_000]
    assert await store.get_range(ref, len(data) - 5, len(data)) == data[-5:]
    assert await store.get_range(ref, 7, 7) == b""
    chunks = [chunk async for chunk in store.stream(ref)]
    assert b"".join(chunks) == data
    assert len(chunks) > 1
    assert await collect(store.stream(ref, 10, 600_000)) == data[10:600_000]
    assert await collect(store.stream(ref, len(data) - 1)) == data[-1:]


async def test_an_empty_artifact(store: ArtifactStore) -> None:
    ref = await store.put("o", b"", TEXT)
    assert await store.get(ref) == b""
    assert await collect(store.stream(ref)) == b""
    assert await store.get_range(ref, 0, 0) == b""
    assert await store.exists(ref)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 6), (6, 7)])
async def test_a_range_outside_is_refused(local: ArtifactStore, start: int, end: int) -> None:
    ref = await local.put("o", b"12345", TEXT)
    with pytest.raises(AtelierError) as error:
        await local.get_range(ref, start, end)
    assert error.value.type is ErrorType.RANGE_NOT_SATISFIABLE
    with pytest.raises(AtelierError) as error:
        await collect(local.stream(ref, start, end))
    assert error.value.type is ErrorType.RANGE_NOT_SATISFIABLE


async def test_a_missing_artifact(store: ArtifactStore) -> None:
    gone = ArtifactRef(owner_id="o", sha256="a" * 64, size=3, media_type=TEXT)
    assert not await store.exists(gone)
    for read in (store.get(gone), store.get_range(gone, 0, 2), collect(store.stream(gone))):
        with pytest.raises(AtelierError) as error:
            await read
        assert error.value.type is ErrorType.ARTIFACT_MISSING


async def test_the_same_content_put_at_once(store: ArtifactStore) -> None:
    data = os.urandom(200_000)
    refs = await asyncio.gather(*(store.put("o", data, TEXT) for _ in range(20)))
    assert len(set(refs)) == 1
    assert await store.get(refs[0]) == data
    assert [found.sha256 for found in await listing(store)] == [refs[0].sha256]


async def test_owners_are_apart(store: ArtifactStore) -> None:
    mine, yours = await store.put("me", b"same", TEXT), await store.put("you", b"same", TEXT)
    only_mine = await store.put("me", b"mine", TEXT)
    assert mine.sha256 == yours.sha256
    assert not await store.exists(only_mine.model_copy(update={"owner_id": "you"}))
    assert {found.sha256 for found in await listing(store, "you")} == {yours.sha256}

    async def used(keys: Sequence[Key]) -> set[Key]:
        return {key for key in keys if key[0] == "me"}

    assert await store.sweep(used, timedelta(seconds=-5)) == 1
    assert not await store.exists(yours)
    assert await store.exists(mine)


async def test_keys_and_sweep(store: ArtifactStore) -> None:
    refs = [await store.put(f"owner-{n % 3}", str(n).encode(), TEXT) for n in range(7)]
    found = await listing(store)
    assert {(item.owner_id, item.sha256, item.size) for item in found} == {(r.owner_id, r.sha256, r.size) for r in refs}
    assert all(abs(datetime.now(UTC) - item.last_modified) < timedelta(minutes=1) for item in found)
    asked: list[Key] = []

    async def used(keys: Sequence[Key]) -> set[Key]:
        asked.extend(keys)
        return {(refs[0].owner_id, refs[0].sha256), ("else", "0" * 64)}

    assert await store.sweep(used, HOUR) == 0
    assert asked == [], "young bytes are not even asked about"
    assert await store.sweep(used, timedelta(seconds=-5)) == 6
    assert len(asked) == 7
    assert [await store.exists(ref) for ref in refs] == [True] + [False] * 6


async def test_all_of_an_owner_is_deleted(store: ArtifactStore) -> None:
    await asyncio.gather(*(store.put("owner-1", f"{n}".encode(), TEXT) for n in range(12)))
    kept = [await store.put(owner, b"7", TEXT) for owner in ("owner-12", "owner")]
    assert await store.delete_owner("owner-1") == (12, 14)
    assert await store.delete_owner("owner-1") == (0, 0)
    assert {(found.owner_id, found.sha256) for found in await listing(store)} == {(r.owner_id, r.sha256) for r in kept}
    assert await store.put("owner-1", b"late", TEXT), "somebody who was still at it"
    assert await store.delete_owner("owner-1") == (1, 4)


async def test_nothing_names_an_owner_that_was_deleted(local: ArtifactStore, folder: Path) -> None:
    ref = await local.put("gone", b"x", TEXT)
    path_of(folder, ref).with_name(f"{ref.sha256}#1").write_bytes(b"half")
    await local.delete_owner("gone")
    assert os.listdir(folder) == []
    os.rmdir(folder)
    with pytest.raises(AtelierError) as error:
        await local.delete_owner("gone")
    assert error.value.type is ErrorType.STORE_UNAVAILABLE


async def test_what_is_not_ours_is_left_alone(local: ArtifactStore, folder: Path) -> None:
    for name in ("readme.txt", "o/ab/short", f"o/ab/{'c' * 64}", f"o/cc/{'c' * 64}.bak"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
        age(folder / name, 2 * HOUR)
    assert await listing(local) == []
    assert await local.sweep(nothing, HOUR) == 0
    assert len(files(folder)) == 4


# Damage and refusal.


async def test_tampered_bytes_are_detected(local: ArtifactStore, folder: Path) -> None:
    ref = await local.put("o", b"a" * 2_000_000, TEXT)
    path = path_of(folder, ref)
    path.write_bytes(b"a" * 1_999_999 + b"b")
    with pytest.raises(AtelierError) as error:
        await local.get(ref)
    assert error.value.type is ErrorType.ARTIFACT_MISSING
    received: list[bytes] = []
    with pytest.raises(AtelierError):
        await collect(remembered(local.stream(ref), received))
    assert 0 < sum(map(len, received)) < ref.size, "a damaged artifact never arrives whole"

    path.write_bytes(b"a" * 10)
    assert not await local.exists(ref)
    for read in (local.get(ref), local.get_range(ref, 0, 5), collect(local.stream(ref))):
        with pytest.raises(AtelierError) as error:
            await read
        assert error.value.type is ErrorType.ARTIFACT_MISSING

    assert await local.put("o", b"a" * 2_000_000, TEXT) == ref
    assert len(await local.get(ref)) == ref.size, "putting again heals"


@pytest.mark.parametrize("owner", ["", ".", "..", "../x", "a/b", "a\\b", "a b", "ä", "a\n", "a%2f", "x" * 65, "a#1"])
async def test_a_hostile_owner_is_refused(local: ArtifactStore, folder: Path, owner: str) -> None:
    with pytest.raises(AtelierError) as error:
        await local.put(owner, b"x", TEXT)
    assert error.value.type is ErrorType.INVALID_REQUEST
    assert files(folder.parent) == []


@pytest.mark.parametrize("sha", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n", "g" * 64])
async def test_a_hostile_sha_is_refused(local: ArtifactStore, sha: str) -> None:
    ref = ArtifactRef.model_construct(owner_id="o", sha256=sha, size=1, media_type=TEXT)
    for read in (local.get(ref), local.get_range(ref, 0, 1), collect(local.stream(ref)), local.exists(ref)):
        with pytest.raises(AtelierError) as error:
            await read
        assert error.value.type is ErrorType.INVALID_REQUEST


@pytest.mark.parametrize("url", ["ftp://host/x", "http://host/x", "file://host/x", "memory:///"])
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="artifacts are kept in"):
        ArtifactStore.open(url)


def test_clouds_open_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for url in ("s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix"):
        ArtifactStore.open(url)


async def test_a_store_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = ArtifactStore.open(_s3("http://127.0.0.1:9", "b", monkeypatch))
    ref = ArtifactRef(owner_id="o", sha256="a" * 64, size=3, media_type=TEXT)
    results = await asyncio.gather(
        away.put("o", b"x", TEXT), away.get(ref), away.exists(ref), away.check(), away.sweep(nothing, HOUR),
        collect(away.stream(ref)), away.delete_owner("o"), return_exceptions=True,
    )  # fmt: skip
    for result in results:
        assert isinstance(result, AtelierError)
        assert result.type is ErrorType.STORE_UNAVAILABLE
        assert "\n" not in result.message


async def test_a_bucket_that_is_missing(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    away = ArtifactStore.open(_s3(s3_endpoint, "no-such-bucket", monkeypatch))
    for call in (away.put("o", b"x", TEXT), away.check(), away.sweep(nothing, HOUR), away.delete_owner("o")):
        with pytest.raises(AtelierError) as error:
            await call
        assert error.value.type is ErrorType.STORE_UNAVAILABLE


# The local folder.


async def test_local_files_are_private(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opened.mkdir(mode=0o755)
    for root in (tmp_path / "new", opened):
        store = ArtifactStore.open(str(root))
        await store.put("owner", b"secret", TEXT)
        assert (root / "owner").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_a_folder_that_is_gone(local: ArtifactStore, folder: Path) -> None:
    os.rmdir(folder)
    with pytest.raises(AtelierError) as error:
        await local.check()
    assert error.value.type is ErrorType.STORE_UNAVAILABLE


async def test_leftovers_of_a_crash(local: ArtifactStore, folder: Path) -> None:
    ref = await local.put("o", b"x", TEXT)
    old, young = path_of(folder, ref).with_name(f"{ref.sha256}#1"), path_of(folder, ref).with_name(f"{ref.sha256}#22")
    for path in (old, young):
        path.write_bytes(b"half")
    age(old, 2 * HOUR)
    assert [found.sha256 for found in await listing(local)] == [ref.sha256]
    assert await local.get(ref) == b"x"
    assert await local.put("o", b"x", TEXT) == ref, "a leftover does not stand in the way"
    assert await local.sweep(nothing, HOUR) == 1
    assert not old.exists()
    assert young.exists()


async def test_bytes_put_again_while_the_sweeper_asks_are_kept(local: ArtifactStore, folder: Path) -> None:
    ref = await local.put("o", b"x", TEXT)
    age(path_of(folder, ref), 2 * HOUR)

    async def slow(keys: Sequence[Key]) -> set[Key]:
        assert set(keys) == {(ref.owner_id, ref.sha256)}
        await local.put("o", b"x", TEXT)
        return set()

    assert await local.sweep(slow, HOUR) == 0
    assert await local.exists(ref)


async def test_two_sweepers_at_once(local: ArtifactStore, folder: Path) -> None:
    refs = [await local.put("o", str(n).encode(), TEXT) for n in range(30)]
    for ref in refs:
        age(path_of(folder, ref), 2 * HOUR)
    counts = await asyncio.gather(local.sweep(nothing, HOUR), local.sweep(nothing, HOUR))
    assert sum(counts) == 30


async def test_the_sweeper_asks_in_batches(local: ArtifactStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BATCH", 4)
    for n in range(10):
        age(path_of(folder, await local.put("o", str(n).encode(), TEXT)), 2 * HOUR)
    sizes: list[int] = []

    async def used(keys: Sequence[Key]) -> set[Key]:
        sizes.append(len(keys))
        return set(keys)

    assert await local.sweep(used, HOUR) == 0
    assert sizes == [4, 4, 2]


async def test_a_reader_sees_all_or_nothing(local: ArtifactStore) -> None:
    data = os.urandom(4_000_000)
    ref = await local.put("o", data, TEXT)

    async def write() -> None:
        for _ in range(5):
            await local.put("o", data, TEXT)

    async def read() -> None:
        for _ in range(10):
            assert await local.get(ref) == data

    await asyncio.gather(write(), write(), read(), read())


async def test_bytes_that_come_in_drops_are_not_kept_as_drops(local: ArtifactStore) -> None:
    owner, upload = str(uuid4()), str(uuid4())
    async with Incoming(local).receiving(owner, upload) as receipt:
        tracemalloc.start()
        for number in range(100_000):
            await receipt.add(b"%02d" % (number % 100))
        assert tracemalloc.get_traced_memory()[1] < PIECE
        tracemalloc.stop()
        received = await receipt.finish()
    assert received.size == 200_000
