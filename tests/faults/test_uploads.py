"""Uploads whose API is killed: while bytes come, and between their last step and its row."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.db.engine import Database
from core.db.repositories.uploads import UploadRepository
from tests.conftest import Account
from tests.support.rows import rows
from tests.support.stack import Api, Stack, eventually

pytestmark = pytest.mark.faults

DATA = b'"' + b"Twice a day the sea turned the mill. " * 250_000 + b'"'
"""Half of it is more than what is held in memory before it is written."""


def client_of(api: Api, account: Account) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30)


async def announce(client: httpx.AsyncClient) -> dict[str, Any]:
    asked = {"name": "mills.json", "size": len(DATA), "media_type": "application/json"}
    made: dict[str, Any] = (await client.post("/v1/uploads", json=asked)).raise_for_status().json()
    return made


async def put(api: Api, upload: dict[str, Any]) -> int:
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as anybody:
        target = upload["upload"]
        return (await anybody.put(target["url"], content=DATA, headers=target["headers"])).status_code


@contextlib.asynccontextmanager
async def half_sent(api: Api, upload: dict[str, Any]) -> AsyncIterator[None]:
    """Within, half of the bytes have been sent, and the connection stays open."""
    at, target = urlsplit(api.url), upload["upload"]
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    head = f"PUT {target['url']} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[: len(DATA) // 2])
    await writer.drain()
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await reader.read()


def files_of(stack: Stack) -> list[Path]:
    return [path for path in Path(stack.settings().artifacts).rglob("*") if path.is_file()]


async def read_ready(stack: Stack, database: Database, account: Account, upload_id: str) -> bytes:
    async with database.transaction() as connection:
        record = await UploadRepository(connection, account.owner_id).ready(upload_id)
    return await ArtifactStore.open(stack.settings().artifacts).get(record.ref)


async def test_an_api_that_is_killed_while_bytes_come_leaves_no_half_file(
    stack: Stack, api: Api, database: Database, account: Account
) -> None:
    async with client_of(api, account) as client:
        upload = await announce(client)
    async with half_sent(api, upload):
        await eventually(
            lambda: asyncio.to_thread(files_of, stack),
            lambda found: sum(path.stat().st_size for path in found) >= len(DATA) // 4,
        )
        await asyncio.to_thread(api.process.kill)
    after = await asyncio.to_thread(stack.api)
    async with client_of(after, account) as client:
        place = f"/v1/uploads/{upload['id']}"
        assert (await client.get(place)).json()["status"] == "pending"
        early = await client.post(f"{place}/complete")
        assert (early.status_code, early.json()["code"]) == (409, "invalid_state")
        assert await put(after, upload) == 204
        assert (await client.post(f"{place}/complete")).json()["status"] == "ready"
    assert await read_ready(stack, database, account, upload["id"]) == DATA
    assert len(files_of(stack)) == 1


async def test_two_apis_take_one_upload_once(stack: Stack, api: Api, database: Database, account: Account) -> None:
    other = await asyncio.to_thread(stack.api)
    async with client_of(api, account) as client:
        upload = await announce(client)
        async with half_sent(api, upload):
            await eventually(lambda: asyncio.to_thread(files_of, stack), lambda found: len(found) == 1)
            assert await put(other, upload) == 409
        # The connection broke off.
        await eventually(lambda: asyncio.to_thread(files_of, stack), lambda found: not found)
        found = await asyncio.gather(*(put(one, upload) for one in (api, other) * 4))
        assert sorted(found) == [204, *[409] * 7]
        assert (await client.post(f"/v1/uploads/{upload['id']}/complete")).json()["status"] == "ready"
    assert await read_ready(stack, database, account, upload["id"]) == DATA


async def test_an_api_that_is_killed_before_the_last_row(
    stack: Stack, api: Api, database: Database, account: Account
) -> None:
    async with client_of(api, account) as client:
        upload = await announce(client)
        assert await put(api, upload) == 204
        completing = f"/v1/uploads/{upload['id']}/complete"
        async with database.engine.connect() as held:
            await held.execute(text("SELECT 1 FROM uploads WHERE id = :id FOR UPDATE"), {"id": upload["id"]})
            asked = asyncio.create_task(client.post(completing))
            waiting = (
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
                "AND query LIKE '%UPDATE uploads SET status%'"
            )
            (one,) = await eventually(lambda: rows(database, waiting), lambda found: len(found) == 1)
            await asyncio.to_thread(api.process.kill)
            await rows(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=one["pid"])
            await held.rollback()
        with pytest.raises(httpx.TransportError):
            await asked
    after = await asyncio.to_thread(stack.api)
    async with client_of(after, account) as client:
        assert (await client.post(completing)).json()["status"] == "ready"
    assert await read_ready(stack, database, account, upload["id"]) == DATA
    assert len(files_of(stack)) == 1


async def test_a_database_that_is_away_while_bytes_come(
    stack: Stack, api: Api, database: Database, account: Account
) -> None:
    """What cannot be noted is not there: the same URL takes the bytes again."""
    async with client_of(api, account) as client:
        upload = await announce(client)
        async with database.engine.connect() as held:
            await held.execute(text("LOCK TABLE uploads IN ACCESS EXCLUSIVE MODE"))
            sending = asyncio.create_task(put(api, upload))
            waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            (one,) = await eventually(lambda: rows(database, waiting), lambda found: len(found) == 1)
            await rows(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=one["pid"])
            assert await sending == 503
            await held.rollback()
        assert files_of(stack) == []
        assert await put(api, upload) == 204
        assert (await client.post(f"/v1/uploads/{upload['id']}/complete")).json()["status"] == "ready"
