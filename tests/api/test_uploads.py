"""Files that users bring, by REST: how they come, and the signed URL they come to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.upload_schemas import UploadList, UploadView
from api.uploads import SENT_AT_ONCE
from core.artifacts.uploads import FLUSH, PIECE
from core.contracts.errors import AtelierError
from core.contracts.files import FileKind
from core.db.engine import Database
from core.db.repositories.artifacts import ReferenceRepository
from core.db.repositories.uploads import UploadRepository
from core.documents import extraction
from core.documents.kinds import KINDS
from tests.api.bringing import NOTE, announce, complete, kept, put, sent, sha256, status_of
from tests.api.conftest import Api, StartApi
from tests.api.test_rubbish import problem
from tests.api.test_strangers import locked
from tests.conftest import Account, make_account
from tests.support import files
from tests.support.rows import one, rows, waiting_for_locks
from tests.support.stack import eventually

# ---------------------------------------------------------------------------------------------- what goes well


async def test_a_file_is_announced_sent_completed_and_used(
    api: Api, client: httpx.AsyncClient, database: Database, account: Account, tmp_path: Path
) -> None:
    upload = await announce(client, name="Gezeitenmühlen (1).md", sha256=sha256(NOTE))
    assert (upload["status"], upload["upload"]["method"]) == ("pending", "PUT")
    problem(await complete(client, upload), 409, "invalid_state")
    assert (await put(api, upload)).status_code == 204
    with pytest.raises(AtelierError, match="only one that is ready"):
        async with database.transaction() as connection:
            await UploadRepository(connection, account.owner_id).ready(upload["id"])
    first = await complete(client, upload)
    ready = UploadView.model_validate_json(first.content)
    assert (first.status_code, ready.status, ready.kind, ready.upload) == (200, "ready", FileKind.MARKDOWN, None)
    assert (await complete(client, upload)).json() == first.json()
    assert (await client.get(f"/v1/uploads/{ready.id}")).json() == first.json()

    async with database.transaction() as connection:
        found = await UploadRepository(connection, account.owner_id).ready(ready.id)
        needed = await ReferenceRepository(connection).referenced([(account.owner_id, sha256(NOTE))])
    assert await api.deps.store.get(found.ref) == NOTE
    assert (found.name, found.kind, found.media_type) == ("Gezeitenmühlen (1).md", FileKind.MARKDOWN, "text/markdown")
    assert needed == {(account.owner_id, sha256(NOTE))}
    assert kept(tmp_path) == [tmp_path / "artifacts" / account.owner_id / sha256(NOTE)[:2] / sha256(NOTE)]

    assert (await client.delete(f"/v1/uploads/{ready.id}")).status_code == 204
    problem(await client.get(f"/v1/uploads/{ready.id}"), 404, "not_found")
    async with database.transaction() as connection:
        assert not await ReferenceRepository(connection).referenced([(account.owner_id, sha256(NOTE))])
    told = {line["action"] for line in (await client.get("/v1/me/audit")).json()["items"]}
    assert told == {"uploads.delete", "uploads.complete", "uploads.content", "uploads.create"}


async def test_every_kind_that_is_taken(api: Api, client: httpx.AsyncClient) -> None:
    async def ready(kind: FileKind) -> tuple[str, str, str]:
        known, data = KINDS[kind], files.GOOD[kind]
        upload = await sent(api, client, data, name=f"a{known.extensions[0]}", media_type=known.media_types[-1])
        done = (await complete(client, upload)).json()
        return done["status"], done["kind"], done["media_type"]

    taken = [kind for kind, known in KINDS.items() if known.uploads]
    assert len(taken) == len(KINDS) - 1
    found = await asyncio.gather(*map(ready, taken))
    assert found == [("ready", kind.value, KINDS[kind].media_types[0]) for kind in taken]


async def test_pages_are_the_owners_alone(api: Api, client: httpx.AsyncClient, database: Database) -> None:
    made = [await announce(client, name=f"{n}.md") for n in range(3)]
    first = UploadList.model_validate_json((await client.get("/v1/uploads", params={"limit": 2})).content)
    assert [upload.id for upload in first.items] == [made[2]["id"], made[1]["id"]]
    assert all(upload.upload is None for upload in first.items), "a key that only reads gets no URL to write to"
    rest = (await client.get("/v1/uploads", params={"limit": 2, "cursor": first.next_cursor})).json()
    assert ([upload["id"] for upload in rest["items"]], rest["next_cursor"]) == ([made[0]["id"]], None)
    stranger = await make_account(database, "Ben Example")
    async with httpx.AsyncClient(base_url=api.url, headers=stranger.headers) as another:
        assert (await another.get("/v1/uploads")).json()["items"] == []
        for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/complete")):
            problem(await another.request(method, f"/v1/uploads/{made[0]['id']}{end}"), 404, "not_found")


# ---------------------------------------------------------------------------------------------- the signed URL


async def test_a_url_is_good_once(api: Api, client: httpx.AsyncClient) -> None:
    upload = await sent(api, client)
    problem(await put(api, upload), 409, "invalid_state")
    assert (await complete(client, upload)).status_code == 200
    problem(await put(api, upload), 409, "invalid_state")


async def test_a_url_is_good_for_nothing_else(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    upload, other = await announce(client), await announce(client)
    url = upload["upload"]["url"]
    path, _, query = url.partition("?")
    changed = [
        path,
        f"{path}?{query}0",
        f"{path}?{query[:-1]}{'1' if query[-1] == '0' else '0'}",
        f"{path}?{query}&size=1",
        f"{path}?{query.replace('expires=', 'expires=1')}",
        f"{path}?{query.partition('&')[2]}",
        f"{other['upload']['url'].partition('?')[0]}?{query}",
        f"/v1/uploads/019aa0d4-3b1c-7e60-8f2a-4d5c6b7a8091/content?{query}",
    ]
    for one_url in changed:
        problem(await put(api, upload, url=one_url), 403, "upload_url_invalid")
    problem(await put(api, upload, NOTE + b"!"), 403, "upload_url_invalid")
    problem(await put(api, upload, NOTE[:-1]), 403, "upload_url_invalid")
    problem(await put(api, upload, b""), 403, "upload_url_invalid")
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Encoding": "gzip"}):
        problem(await put(api, upload, **headers), 403, "upload_url_invalid")

    async def pieces() -> AsyncIterator[bytes]:
        yield NOTE

    problem(await put(api, upload, pieces()), 403, "upload_url_invalid")
    async with httpx.AsyncClient(base_url=api.url, headers=upload["upload"]["headers"]) as anybody:
        for method in ("GET", "POST", "PATCH", "DELETE", "HEAD"):
            response = await anybody.request(method, url)
            assert (response.status_code, response.headers["allow"]) == (405, "PUT")
        # Neither a bigger body nor one without end is read, unless the signature is good.
        problem(await anybody.put(path, content=bytes(2 << 20)), 403, "upload_url_invalid")
    assert kept(tmp_path) == []
    assert (await put(api, upload)).status_code == 204


async def test_a_url_is_for_no_other_user(
    api: Api, client: httpx.AsyncClient, account: Account, database: Database
) -> None:
    upload, stranger = await announce(client), await make_account(database, "Ben Example")
    problem(await put(api, upload, **stranger.headers), 403, "upload_url_invalid")
    problem(await put(api, upload, Authorization="Bearer atl_made-up"), 401, "unauthenticated")
    assert (await put(api, upload, **account.headers)).status_code == 204


async def test_made_up_urls_wait_in_one_line(start_api: StartApi, account: Account, database: Database) -> None:
    # Two connections: requests that do not wait for each other would take both.
    api = start_api(background=False, database_pool_size=1)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        upload = await announce(client)
        url = upload["upload"]["url"].partition("?")[0]
        async with locked(database, "uploads"):
            asking = [asyncio.create_task(put(api, upload, url=f"{url}?signature={n}")) for n in range(20)]
            await waiting_for_locks(database, 1)
            for _ in range(3):
                assert (await client.get("/v1/me")).status_code == 200
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {403}


async def test_who_sends_much_at_once_waits_for_themselves(
    api: Api, client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield NOTE[:5]
        await go_on.wait()
        yield NOTE[5:]

    def begin(upload: dict[str, Any]) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(put(api, upload, halting(), **{"Content-Length": str(len(NOTE))}))

    async def begun(number: int) -> None:
        await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: len(found) == number)

    sending = [begin(await announce(client)) for _ in range(SENT_AT_ONCE)]
    await begun(SENT_AT_ONCE)
    last = await announce(client)
    sending.append(begin(last))
    stranger = await make_account(database, "Ben Example")
    async with httpx.AsyncClient(base_url=api.url, headers=stranger.headers) as another:
        sending.append(begin(await announce(another)))
    await begun(SENT_AT_ONCE + 1)
    assert not any(last["id"] in path.name for path in kept(tmp_path))
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*sending)} == {204}


async def test_a_url_ends_and_so_does_an_upload(
    start_api: StartApi, client: httpx.AsyncClient, account: Account, database: Database
) -> None:
    brief = start_api(background=False, upload_url_minutes=0.0001)
    async with httpx.AsyncClient(base_url=brief.url, headers=account.headers) as another:
        late = await announce(another)
    is_late = "SELECT url_expires_at <= now() AS late FROM uploads"
    await eventually(lambda: one(database, is_late), lambda found: found["late"])
    problem(await put(brief, late), 410, "upload_expired")
    # What is signed is the instant that was told: a row alone does not make it longer.
    longer = "UPDATE uploads SET url_expires_at = now() + interval '1 hour' RETURNING 1"
    await rows(database, longer)
    problem(await put(brief, late), 403, "upload_url_invalid")

    unfinished = await announce(client)
    await rows(database, "UPDATE uploads SET expires_at = now() WHERE id = :id RETURNING 1", id=unfinished["id"])
    problem(await put(brief, unfinished), 410, "upload_expired")
    problem(await complete(client, unfinished), 410, "upload_expired")
    assert await status_of(client, unfinished) == "expired"


async def test_a_url_outlives_a_change_of_the_secret(start_api: StartApi, account: Account) -> None:
    old, new = SecretStr("the first invented secret of this test"), SecretStr("the second invented secret of it")
    before = start_api(background=False, jwt_secret=old)
    after = start_api(background=False, jwt_secret=new, jwt_secret_previous=old)
    neither = start_api(background=False, jwt_secret=new)
    async with httpx.AsyncClient(base_url=before.url, headers=account.headers) as client:
        upload = await announce(client)
    problem(await put(neither, upload), 403, "upload_url_invalid")
    assert (await put(after, upload)).status_code == 204


async def test_of_two_at_once_one_wins(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    data = b'"' + b"x" * (2 * PIECE) + b'"'
    what = {"name": "a.json", "media_type": "application/json"}
    upload, under_way, go_on = await announce(client, data, **what), asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield data[:PIECE]
        under_way.set()
        await go_on.wait()
        yield data[PIECE:]

    slow = asyncio.create_task(put(api, upload, halting(), **{"Content-Length": str(len(data))}))
    await under_way.wait()
    await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: len(found) == 1)
    problem(await put(api, upload, data), 409, "invalid_state")
    problem(await complete(client, upload), 409, "invalid_state")
    go_on.set()
    assert (await slow).status_code == 204
    answers = await asyncio.gather(*(complete(client, upload) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.text for answer in answers}) == 1
    assert len(kept(tmp_path)) == 1


async def test_many_at_once_leave_one_file(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    upload = await announce(client)
    answers = await asyncio.gather(*(put(api, upload) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204, *[409] * 7]
    assert len(kept(tmp_path)) == 1


async def test_a_deleted_upload_takes_no_more_of_the_disk(api: Api, client: httpx.AsyncClient, tmp_path: Path) -> None:
    """Its bytes have no name any more, and yet would fill the disk for as long as they come."""
    size = 100 * PIECE
    upload = await announce(client, name="a.mp4", media_type="video/mp4", size=size)
    head = f"PUT {upload['upload']['url']} HTTP/1.1\r\nHost: here\r\nContent-Type: video/mp4\r\nContent-Length: {size}"
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode() + b"\r\n\r\n" + bytes(PIECE))
    await eventually(lambda: asyncio.to_thread(kept, tmp_path), bool)
    assert (await client.delete(f"/v1/uploads/{upload['id']}")).status_code == 204
    await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: not found)
    said = asyncio.create_task(reader.readline())
    # Far from all: without an answer the rest would be waited for.
    for _ in range(2 * FLUSH // PIECE):
        writer.write(bytes(PIECE))
        await writer.drain()
    assert b" 409 " in await said
    writer.close()


async def test_who_has_much_looked_into_waits_for_themselves(
    api: Api, client: httpx.AsyncClient, account: Account, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = list[Path](), asyncio.Event()
    check = extraction.check

    async def halting(file: Path, kind: FileKind, limits: extraction.Limits) -> None:
        looking.append(file)
        await go_on.wait()
        await check(file, kind, limits)

    monkeypatch.setattr(extraction, "check", halting)
    stranger = await make_account(database, "Ben Example")
    async with httpx.AsyncClient(base_url=api.url, headers=stranger.headers, timeout=20) as another:
        mine = [await sent(api, client, f"file {number}".encode()) for number in range(4)]
        theirs = await sent(api, another)
        asked = [asyncio.create_task(complete(client, upload)) for upload in mine]
        await eventually(lambda: asyncio.sleep(0, looking), bool)
        asked.append(asyncio.create_task(complete(another, theirs)))
        await eventually(lambda: asyncio.sleep(0, looking), lambda found: len(found) == 2)
        assert [path.parent.name for path in looking] == [account.owner_id, stranger.owner_id]
        go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_what_breaks_off_leaves_nothing_and_can_be_sent_again(
    start_api: StartApi, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    api = start_api(background=False, upload_silence_seconds=0.3)
    upload = await announce(client)
    url = upload["upload"]["url"]
    head = f"PUT {url} HTTP/1.1\r\nHost: here\r\nContent-Type: text/markdown\r\nContent-Length: {len(NOTE)}\r\n\r\n"
    for stays in (True, False):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(head.encode() + NOTE[:9])
        if stays:
            assert b" 408 " in await reader.readline()
        writer.close()
        await eventually(lambda: asyncio.to_thread(kept, tmp_path), lambda found: not found)
    assert (await put(api, upload)).status_code == 204


async def test_an_upload_may_take_longer_than_other_bodies(start_api: StartApi, client: httpx.AsyncClient) -> None:
    api = start_api(background=False, api_body_seconds=0.5, api_answer_seconds=1, api_max_body_bytes=100)
    data = b"slowly, slowly, " * 16
    upload = await announce(client, data, name="a")

    async def slowly() -> AsyncIterator[bytes]:
        for begin in range(0, len(data), 16):
            yield data[begin : begin + 16]
            await asyncio.sleep(0.08)  # longer in all than any other route lets a body, or an answer, take

    assert (await put(api, upload, slowly(), **{"Content-Length": str(len(data))})).status_code == 204
