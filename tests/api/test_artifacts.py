"""Files by REST: whole and in part, asked for by ETag, gone."""

import hashlib
import shutil
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from api.ranges import Span, UnsatisfiableRangeError, disposition, wanted_span
from api.schemas import ArtifactList
from core.db.engine import Database
from core.db.ids import new_id
from tests.api.conftest import Api, submitted
from tests.api.test_rubbish import problem
from tests.conftest import Account, make_account

TEXT = "# Gezeitenmühlen\n".encode() + b"Twice a day. " * 100_000


@dataclass(frozen=True)
class Stored:
    """A file of a job."""

    id: str
    job_id: str
    data: bytes

    @property
    def url(self) -> str:
        """Where it is read."""
        return f"/v1/artifacts/{self.id}"

    @property
    def etag(self) -> str:
        """Its tag."""
        return f'"{hashlib.sha256(self.data).hexdigest()}"'


async def _store(
    api: Api, database: Database, account: Account, job_id: str, data: bytes, name: str, role: str = "output"
) -> Stored:
    ref = await api.deps.store.put(account.owner_id, data, "text/markdown")
    stored = Stored(new_id(), job_id, data)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO artifacts (id, owner_id, job_id, step, revision, name, role, sha256, size, media_type) "
                "VALUES (:id, :owner, :job, 'export', 1, :name, :role, :sha, :size, 'text/markdown')"
            ),
            {
                "id": stored.id,
                "owner": account.owner_id,
                "job": job_id,
                "name": name,
                "role": role,
                "sha": ref.sha256,
                "size": ref.size,
            },
        )
    return stored


@pytest_asyncio.fixture
async def file(api: Api, client: httpx.AsyncClient, database: Database, account: Account) -> Stored:
    """A file of more than a megabyte."""
    job_id = await submitted(client)
    return await _store(api, database, account, job_id, TEXT, 'Gezeiten "mühlen"\n.md')


async def test_a_file_is_read(client: httpx.AsyncClient, file: Stored) -> None:
    response = await client.get(file.url)
    assert response.status_code == 200
    assert response.content == file.data
    headers = response.headers
    assert headers["etag"] == file.etag
    assert headers["content-length"] == str(len(file.data))
    assert headers["content-type"] == "text/markdown; charset=utf-8"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    # Opened as a page, it runs no script of ours or its own, and is of no origin.
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert headers["cache-control"].startswith("private")
    assert headers["content-disposition"] == (
        "attachment; filename=\"Gezeiten _m_hlen__.md\"; filename*=UTF-8''Gezeiten%20%22m%C3%BChlen%22%0A.md"
    )
    head = await client.head(file.url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == headers["content-length"]
    assert head.headers["etag"] == file.etag


async def test_a_copy_that_is_right_is_not_sent_again(client: httpx.AsyncClient, file: Stored) -> None:
    for tags in (file.etag, f"W/{file.etag}", f'"other", {file.etag}', "*"):
        for method in ("GET", "HEAD"):
            response = await client.request(method, file.url, headers={"If-None-Match": tags, "Range": "bytes=0-1"})
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == file.etag
    assert (await client.get(file.url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_parts(client: httpx.AsyncClient, file: Stored) -> None:
    size = len(file.data)
    for wanted, start, end in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-700000", 5, 700_001),
        ("bytes=100-", 100, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=-{size * 2}", 0, size),
        (f"bytes={size - 1}-{size * 9}", size - 1, size),
    ]:
        response = await client.get(file.url, headers={"Range": wanted})
        assert response.status_code == 206, wanted
        assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert response.headers["etag"] == file.etag
        assert response.content == file.data[start:end]
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=9-3", "nonsense", "bytes=a-b"):
        response = await client.get(file.url, headers={"Range": ignored})
        assert (response.status_code, len(response.content)) == (200, size), ignored
    for outside in (f"bytes={size}-", "bytes=-0", f"bytes={'9' * 19}-"):
        response = await client.get(file.url, headers={"Range": outside})
        problem(response, 416, "range_not_satisfiable")
        assert response.headers["content-range"] == f"bytes */{size}"


async def test_a_part_of_the_file_that_is_known(client: httpx.AsyncClient, file: Stored) -> None:
    part = {"Range": "bytes=0-9"}
    for known, status in [(file.etag, 206), ('"other"', 200), (f"W/{file.etag}", 200), ("Sat, 21 Nov 2026", 200)]:
        assert (await client.get(file.url, headers={**part, "If-Range": known})).status_code == status


async def test_an_empty_file(api: Api, client: httpx.AsyncClient, database: Database, account: Account) -> None:
    empty = await _store(api, database, account, await submitted(client), b"", "empty.md")
    response = await client.get(empty.url)
    assert (response.status_code, response.content) == (200, b"")
    problem(await client.get(empty.url, headers={"Range": "bytes=0-"}), 416, "range_not_satisfiable")


async def test_the_files_of_a_job(api: Api, client: httpx.AsyncClient, database: Database, account: Account) -> None:
    job_id = await submitted(client)
    assert (await client.get(f"/v1/jobs/{job_id}/artifacts")).json() == {"items": []}
    working = await _store(api, database, account, job_id, b"a", "outline.json", "working")
    output = await _store(api, database, account, job_id, b"bb", "a.md")
    response = await client.get(f"/v1/jobs/{job_id}/artifacts")
    files = ArtifactList.model_validate_json(response.content).items
    assert [(found.id, found.role, found.size) for found in files] == [
        (output.id, "output", 2),
        (working.id, "working", 1),
    ]
    assert (await client.get(files[0].url)).content == b"bb"


async def test_the_file_of_another(client: httpx.AsyncClient, database: Database, file: Stored) -> None:
    stranger = await make_account(database, "Bob Example")
    problem(await client.get(file.url, headers=stranger.headers), 404, "not_found")
    assert (await client.head(file.url, headers=stranger.headers)).status_code == 404
    assert (await client.get(file.url, headers={**stranger.headers, "If-None-Match": "*"})).status_code == 404


async def test_bytes_that_are_gone(api: Api, client: httpx.AsyncClient, file: Stored) -> None:
    shutil.rmtree(api.deps.settings.artifacts)
    problem(await client.get(file.url), 500, "artifact_missing")
    problem(await client.get(file.url, headers={"Range": "bytes=0-9"}), 500, "artifact_missing")
    assert (await client.head(file.url)).status_code == 500


async def test_bytes_that_are_damaged_do_not_look_whole(api: Api, client: httpx.AsyncClient, file: Stored) -> None:
    digest = file.etag.strip('"')
    folder = api.deps.settings.atelier_home / "artifacts"
    (path,) = folder.glob(f"*/*/{digest}")
    path.write_bytes(file.data[:-1] + b"!")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(file.url)


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [(None, 5, None), ("bytes=1-2", 5, Span(1, 3)), ("bytes= 1-2 ", 5, Span(1, 3))],
)
def test_spans(header: str | None, size: int, span: Span | None) -> None:
    assert wanted_span(header, size) == span


def test_a_span_of_nothing() -> None:
    with pytest.raises(UnsatisfiableRangeError):
        wanted_span("bytes=0-0", 0)


def test_names_are_plain_ascii_in_headers() -> None:
    assert disposition("日本.pdf").isascii()
    assert disposition("日本.pdf").isprintable()
