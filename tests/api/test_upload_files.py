"""What is found in the files that users bring, how many they may be, the commands, and a store in the cloud."""

import asyncio
import io
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from moto.server import ThreadedMotoServer
from pypdf import PdfReader, PdfWriter
from sqlalchemy import text

from core.contracts.files import FileKind
from core.db.engine import Database
from core.db.repositories.uploads import UploadRepository
from tests.api.bringing import NOTE, announce, complete, kept, put, sent, sha256, status_of
from tests.api.conftest import Api, StartApi
from tests.api.test_rubbish import problem
from tests.conftest import Account
from tests.support import files
from tests.support.rows import one, rows
from tests.support.stack import eventually
from tests.support.terminal import Terminal

NO_TIME = timedelta(0)


# ---------------------------------------------------------------------------------------------- what is refused


def cut(kind: FileKind) -> bytes:
    return files.GOOD[kind][: len(files.GOOD[kind]) * 2 // 3]


def encrypted() -> bytes:
    writer, made = PdfWriter(clone_from=PdfReader(io.BytesIO(files.TEXT_PDF))), io.BytesIO()
    writer.encrypt("a password", "owner", algorithm="RC4-128")
    writer.write(made)
    return made.getvalue()


BOMB = files.docx(files.paragraph("x"), {"styles": bytes(120_000_000)})
BAD: list[tuple[str, str, bytes, set[str]]] = [
    ("a.pdf", "application/pdf", cut(FileKind.PDF), {"truncated"}),
    ("a.png", "image/png", cut(FileKind.PNG), {"truncated"}),
    ("a.docx", "application/octet-stream", cut(FileKind.DOCX), {"truncated"}),
    ("a.pdf", "application/pdf", files.GOOD[FileKind.PNG], {"mislabelled"}),
    ("a.png", "image/png", NOTE, {"mislabelled"}),
    ("a.pdf", "application/pdf", encrypted(), {"encrypted"}),
    ("a.txt", "text/plain", b" \n\t ", {"empty"}),
    ("a.txt", "text/plain", bytes(range(256)), {"not_text"}),
    ("a.exe", "application/octet-stream", b"MZ" + bytes(range(256)), {"unsupported"}),
    ("a.docx", "application/octet-stream", BOMB, {"bomb"}),
    ("a.json", "application/json", b"[" * 100_000, {"too_complex", "truncated"}),
]


async def test_files_that_are_no_good(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    async def refused(name: str, media_type: str, data: bytes, reasons: set[str]) -> None:
        upload = await sent(api, client, data, name=name, media_type=media_type)
        for _ in range(2):
            refused = await complete(client, upload)
            problem(refused, 422, "file_refused")
            assert refused.json()["details"]["reason"] in reasons, refused.text
        seen = (await client.get(f"/v1/uploads/{upload['id']}")).json()
        assert (seen["status"], seen["refused"]["message"]) == ("refused", refused.json()["detail"])

    await asyncio.gather(*(refused(*bad) for bad in BAD))
    assert kept(tmp_path) == []


async def test_another_file_than_was_announced(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    upload = await sent(api, client, sha256="0" * 64)
    refused = await complete(client, upload)
    problem(refused, 422, "file_refused")
    assert sha256(NOTE) in refused.json()["detail"]
    assert kept(tmp_path) == []


WANTED: dict[str, Any] = {"name": "a.md", "size": 9, "media_type": "text/markdown"}
NOT_TAKEN: list[tuple[dict[str, Any], str]] = [
    ({"size": 0}, "empty"),
    ({"size": 20_000_001}, "too_large"),
    ({"size": 10**12, "media_type": "application/octet-stream", "name": "film"}, "too_large"),
    ({"media_type": "text/html"}, "unsupported"),
    ({"media_type": "application/octet-stream", "name": "page.HTML"}, "unsupported"),
    ({"media_type": "application/x-msdownload"}, "unsupported"),
]
NOT_VALID: list[dict[str, Any]] = [
    *({"size": size} for size in (-1, 2**64, 9.5, "9", True, None)),
    {"sha256": "0" * 63},
    *({"media_type": told} for told in ("text", "text/plain\r\nX-Other: 1", "text/" + "x" * 64, "")),
    {"path": "/etc"},
]
NO_NAMES = [
    *("", " ", ".", "..", "../a.md", "a/b.md", "..\\a.md", "/etc/passwd", "a\x00.md", "a\n.md", "a\x1b[2J.md"),
    *("a\u202egnp.md", "\u2066a.md", "a\u200f.md", "a\u061c.md", "a\u2028b.md", "\u200b", "\u200d", "a\ufeff.md"),
    *("a\U000e0041.md", "x" * 256, "x" * 500_000),
]


async def test_announcements_that_will_not_do(client: httpx.AsyncClient, database: Database) -> None:
    for more, reason in NOT_TAKEN:
        refused = await client.post("/v1/uploads", json={**WANTED, **more})
        problem(refused, 422, "file_refused")
        assert refused.json()["details"]["reason"] == reason
    for more in [*NOT_VALID, *({"name": name} for name in NO_NAMES)]:
        problem(await client.post("/v1/uploads", json={**WANTED, **more}), 422, "invalid_request")
    problem(await client.post("/v1/uploads", json={**WANTED, "name": "x" * 2**20}), 413, "body_too_large")
    assert await rows(database, "SELECT 1 FROM uploads") == []


NAMES = ("..a", "a..md", "%2e%2e%2fa", "C:a.md", "النهر.md", "👩\u200d🚀.md", "x" * 255, "~", "$(id)", "a;b|c", "nul")


async def test_no_path_is_made_of_a_name(api: Api, client: httpx.AsyncClient, account: Account, tmp_path: Path) -> None:
    for name in NAMES:
        upload = await sent(api, client, name=name)
        assert (await complete(client, upload)).json()["name"] == name
    assert kept(tmp_path) == [tmp_path / "artifacts" / account.owner_id / sha256(NOTE)[:2] / sha256(NOTE)]


# ---------------------------------------------------------------------------------------------- how much, how long


async def test_the_quota_is_exact_however_many_ask_at_once(start_api: StartApi, account: Account) -> None:
    api = start_api(background=False, upload_quota_files=4, upload_quota_bytes=10 * len(NOTE))
    asked = {"name": "a.md", "size": len(NOTE), "media_type": "text/markdown"}
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        answers = await asyncio.gather(*(client.post("/v1/uploads", json=asked) for _ in range(12)))
        made = [answer.json() for answer in answers if answer.status_code == 201]
        assert len(made) == 4
        refused = next(answer for answer in answers if answer.status_code != 201)
        problem(refused, 409, "quota_exceeded")
        assert refused.json()["details"]["quota_files"] == 4
        # What is ready counts, what was refused or deleted does not.
        await put(api, made[0])
        assert (await complete(client, made[0])).status_code == 200
        assert (await client.delete(f"/v1/uploads/{made[1]['id']}")).status_code == 204
        too_much = {**asked, "size": 7 * len(NOTE) + 1}
        problem(await client.post("/v1/uploads", json=too_much), 409, "quota_exceeded")
        assert (await client.post("/v1/uploads", json={**asked, "size": 7 * len(NOTE)})).status_code == 201
        problem(await client.post("/v1/uploads", json=asked), 409, "quota_exceeded")


async def test_what_is_not_completed_ends_and_its_bytes_go(
    api: Api, client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    sent_only, ready = await sent(api, client), await sent(api, client, b"ready")
    assert (await complete(client, ready)).status_code == 200
    await rows(database, "UPDATE uploads SET expires_at = now() RETURNING 1")
    assert await status_of(client, sent_only) == "expired"
    uploads = api.deps.uploads
    await uploads.sweep(database)
    assert [path.name for path in kept(tmp_path)] == [sha256(b"ready")]
    states = await rows(database, "SELECT status FROM uploads ORDER BY id")
    assert [row["status"] for row in states] == ["expired", "ready"]
    await rows(database, "UPDATE uploads SET finished_at = now() - interval '8 days' RETURNING 1")
    await uploads.sweep(database)
    assert (await one(database, "SELECT id::text AS id FROM uploads"))["id"] == ready["id"]


async def test_bytes_that_no_upload_waits_for_are_swept(
    api: Api, client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    assert await api.deps.uploads.sweep_bytes(database, NO_TIME) == 0, "there is no folder for them yet"
    gone, pending = await sent(api, client, b"gone"), await sent(api, client, b"pending")
    await rows(database, "DELETE FROM uploads WHERE id = :id RETURNING 1", id=gone["id"])
    uploads = api.deps.uploads
    assert await uploads.sweep_bytes(database, timedelta(hours=1)) == 0
    assert await uploads.sweep_bytes(database, NO_TIME) == 1
    assert [path.name for path in kept(tmp_path)] == [f"{pending['id']}.{sha256(b'pending')}"]


async def test_a_deleted_upload_takes_no_bytes(
    api: Api, client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    upload, other = await announce(client), await sent(api, client, b"other")
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield NOTE[:5]
        under_way.set()
        await go_on.wait()
        yield NOTE[5:]

    slow = asyncio.create_task(put(api, upload, halting(), **{"Content-Length": str(len(NOTE))}))
    await under_way.wait()
    await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: len(found) == 2)
    for one_upload in (upload, other):
        assert (await client.delete(f"/v1/uploads/{one_upload['id']}")).status_code == 204
    go_on.set()
    problem(await slow, 409, "invalid_state")
    await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: not found)


async def test_who_leaves_takes_the_uploads_along(
    api: Api, client: httpx.AsyncClient, database: Database, account: Account, tmp_path: Path
) -> None:
    pending, ready = await sent(api, client), await sent(api, client, b"ready")
    assert (await complete(client, ready)).status_code == 200
    announced = await announce(client)
    assert (await client.delete("/v1/me")).status_code == 202
    # Nobody speaks for the owner any more, and neither does a URL.
    problem(await put(api, announced), 403, "upload_url_invalid")
    assert pending["status"] == "pending"
    deleted = await api.deps.store.delete_owner(account.owner_id)
    assert deleted.objects == 2
    assert kept(tmp_path) == []
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM owners WHERE id = :id"), {"id": account.owner_id})
    assert await rows(database, "SELECT 1 FROM uploads") == []


async def test_a_store_that_is_full_or_away(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    upload = await announce(client)
    folder = tmp_path / "artifacts" / "incoming"
    folder.write_bytes(b"")  # no folder can be made where a file is
    failed = await put(api, upload)
    problem(failed, 503, "store_unavailable")
    assert str(tmp_path) not in failed.text
    os.unlink(folder)
    assert (await put(api, upload)).status_code == 204
    assert (await complete(client, upload)).status_code == 200


# ---------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def terminal(
    api: Api, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    """A terminal of the account's owner, in an empty folder."""
    environment = {"ATELIER_API_KEY": account.token, "ATELIER_URL": api.url, "COLUMNS": "120"}
    for name, value in {**environment, "ATELIER_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "files"
    (folder / "later").mkdir(parents=True)
    pdf = files.GOOD[FileKind.PDF]
    found = {"notes.md": NOTE, "fake.pdf": NOTE, "a film.mp4": files.GOOD[FileKind.MP4], "survey.pdf": pdf}
    for file, data in {**found, "later/survey.pdf": pdf + b"\n"}.items():
        (folder / file).write_bytes(data)
    monkeypatch.chdir(folder)
    # The API logs nothing: it is in this process, and what the commands print is looked at.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield Terminal(monkeypatch, capsys)
    structlog.reset_defaults()


async def test_the_commands(terminal: Terminal, client: httpx.AsyncClient) -> None:
    async def run(*arguments: str) -> int:
        return await asyncio.to_thread(terminal.run, *arguments)

    assert await run("upload", "notes.md", "a film.mp4") == 0, terminal.err
    ids = terminal.out.split()
    first, second = [(await client.get(f"/v1/uploads/{one_id}")).json() for one_id in ids]
    assert [(one["name"], one["status"], one["kind"]) for one in (first, second)] == [
        ("notes.md", "ready", "markdown"),
        ("a film.mp4", "ready", "mp4"),
    ]
    assert first["sha256"] == sha256(NOTE)
    assert "a film.mp4: mp4, " in terminal.err

    assert await run("upload", "fake.pdf", "notes.md") == 1
    assert len(terminal.out.split()) == 1, "the others are sent all the same"
    assert "fake.pdf: The file is declared as a PDF, but is" in terminal.err
    for missing in ("nothing.md", "."):
        assert await run("upload", "notes.md", missing) == 1
        assert terminal.out == ""

    assert await run("uploads") == 0
    listed = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert any("fake.pdf" in line and "refused: mislabelled" in line for line in listed), listed
    assert await run("uploads", "delete", ids[0][-8:], ids[1]) == 0, terminal.err
    assert await run("uploads", "--json") == 0
    left = json.loads(terminal.out)
    assert not {one["id"] for one in left} & set(ids)
    assert {one["name"] for one in left} == {"fake.pdf", "notes.md"}


async def test_a_name_that_is_no_text_is_sent_as_far_as_it_can_be_read(
    terminal: Terminal, client: httpx.AsyncClient
) -> None:
    for name in (b"caf\xe9.md", b"\xe9.pdf"):
        await asyncio.to_thread(Path(os.fsdecode(name)).write_bytes, NOTE)
    assert await asyncio.to_thread(terminal.run, "upload", os.fsdecode(b"caf\xe9.md")) == 0, terminal.err
    assert (await client.get(f"/v1/uploads/{terminal.out.strip()}")).json()["name"] == "caf\ufffd.md"
    assert await asyncio.to_thread(terminal.run, "upload", os.fsdecode(b"\xe9.pdf")) == 1
    assert "\ufffd.pdf: The file is declared as a PDF" in terminal.err


async def test_a_document_that_is_submitted_again_with_its_key_is_the_same_job(
    terminal: Terminal, client: httpx.AsyncClient
) -> None:
    async def submitted(*more: str) -> str:
        arguments = ("submit", "longform", "--topic", "Mills", "--source", "survey.pdf", "--json", *more)
        assert await asyncio.to_thread(terminal.run, *arguments) == 0, terminal.err
        return str(json.loads(terminal.out)["id"])

    async def uploads() -> int:
        return len((await client.get("/v1/uploads")).json()["items"])

    key = ("--idempotency-key", "once")
    first = await submitted(*key)
    assert await asyncio.to_thread(terminal.run, "upload", "survey.pdf") == 0, terminal.err
    assert await submitted(*key) == first
    assert await uploads() == 2
    assert await submitted() != first
    other = ("submit", "longform", "--topic", "Mills", "--source", "later/survey.pdf", *key)
    assert await asyncio.to_thread(terminal.run, *other) == 1
    assert "was used for another request" in terminal.err


# ---------------------------------------------------------------------------------------------- a store in the cloud


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    httpx.put(f"http://{host}:{port}/uploads").raise_for_status()
    yield "s3://uploads/some/prefix"
    server.stop()


async def test_a_store_that_takes_the_bytes_itself(
    bucket: str, start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(background=False, artifacts_url=bucket)
    store, uploads = api.deps.store, api.deps.uploads

    async def incoming() -> list[str]:
        listed = await asyncio.to_thread(lambda: list(store.objects.list("incoming")))
        return [found["path"] for page in listed for found in page]

    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        good, short, long, other, unsent = [await announce(client, sha256=sha256(NOTE)) for _ in range(5)]
        assert good["upload"]["url"].startswith("http://127.0.0.1:")
        for upload, data in ((good, NOTE), (short, NOTE[:-1]), (long, NOTE + b"!"), (other, NOTE[::-1])):
            assert (await put(api, upload, data)).status_code == 200
        # Our own route is not for these.
        problem(await put(api, good, url=f"/v1/uploads/{good['id']}/content?expires=1"), 403, "upload_url_invalid")
        assert (await complete(client, good)).json()["sha256"] == sha256(NOTE)
        # Who still has the URL changes nothing any more.
        assert (await put(api, good, b"something else")).status_code == 200
        assert (await complete(client, good)).status_code == 200
        async with database.transaction() as connection:
            ready = await UploadRepository(connection, account.owner_id).ready(good["id"])
        assert await store.get(ready.ref) == NOTE
        for upload, reason in ((short, "truncated"), (long, "too_large"), (other, "malformed")):
            refused = await complete(client, upload)
            problem(refused, 422, "file_refused")
            assert refused.json()["details"]["reason"] == reason
        problem(await complete(client, unsent), 409, "invalid_state")
    assert await incoming() == [f"incoming/{account.owner_id}/{good['id']}"]
    assert await uploads.sweep_bytes(database, NO_TIME) == 1
    assert await incoming() == []
    assert (await put(api, unsent)).status_code == 200
    assert (await store.delete_owner(account.owner_id)).objects == 2
    assert await incoming() == []
