"""Event streams: how many there may be, whom they keep waiting, and when they end by themselves."""

import asyncio
import itertools

import httpx
import pytest
from sqlalchemy import text

from api.events import STREAMS_EACH
from core.contracts.names import EVENTS_CHANNEL
from core.db.engine import Database
from core.db.repositories.owners import OwnerRepository
from tests.api.conftest import Api, StartApi, submitted, until
from tests.api.test_events import append, end, events_of, url_of, whole
from tests.api.test_rubbish import problem
from tests.conftest import Account, make_account
from tests.support.rows import accept, waiting_for_locks


async def test_as_many_streams_as_are_allowed_hold_no_connection(
    api: Api, client: httpx.AsyncClient, database: Database
) -> None:
    job_id = await submitted(client)
    other = await make_account(database, "Grace Example")
    theirs = await accept(database, other.owner_id)
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=api.url, headers=client.headers, limits=limits, timeout=20) as many:
        reading = [asyncio.create_task(whole(many, job_id)) for _ in range(STREAMS_EACH)]
        await until(lambda: api.deps.events.subscribers == STREAMS_EACH)
        for _ in range(2):
            refused = await client.get(url_of(job_id))
            assert problem(refused, 429, "too_many_requests").details == {"limit": "streams", "quota": STREAMS_EACH}
            assert refused.headers["retry-after"] == "10"
        assert (await client.get(f"/v1/jobs/{job_id}")).status_code == 200
        # Others have their own.
        reading_too = asyncio.create_task(whole(many, theirs, **other.headers))
        await until(lambda: api.deps.events.subscribers == STREAMS_EACH + 1)
        await append(database, job_id, "s:1")
        await end(database, job_id)
        for got in await asyncio.gather(*reading):
            assert [event.seq for event in got] == [1, 2, 3]
        await end(database, theirs)
        assert [event.seq for event in await reading_too] == [1, 2]
        # Those that have ended make room.
        assert [event.seq for event in await whole(client, job_id)] == [1, 2, 3]


async def test_many_streams_read_in_the_turns_of_their_owner(
    start_api: StartApi, database: Database, account: Account
) -> None:
    # Two connections, of which one owner has one.
    api = start_api(background=False, event_poll_seconds=60, database_pool_size=1)
    other = await make_account(database, "Grace Example")
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        job_id = await submitted(client)
        reading = [asyncio.create_task(whole(client, job_id, "?after=1")) for _ in range(10)]
        await until(lambda: api.deps.events.listening and api.deps.events.subscribers == 10)
        async with database.transaction() as connection:
            await connection.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
            async with database.transaction() as another:
                await another.execute(text(f"SELECT pg_notify('{EVENTS_CHANNEL}', '{job_id}:1')"))
            await waiting_for_locks(database, 1)
            for _ in range(3):
                assert (await client.get("/v1/jobs", headers=other.headers)).status_code == 200
        await end(database, job_id)
        for got in await asyncio.gather(*reading):
            assert [event.seq for event in got] == [2]


async def test_a_stream_that_is_never_silent_ends_with_its_key(
    api: Api, client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.KEEP_ALIVE_SECONDS", 0.5)
    job_id = await submitted(client)

    async def write() -> None:
        for number in itertools.count():
            await append(database, job_id, f"s:{number}")

    writing = asyncio.create_task(write())
    async with asyncio.timeout(10), client.stream("GET", url_of(job_id)) as response:
        events = events_of(response)
        await anext(events)
        async with database.transaction() as connection:
            await OwnerRepository(connection).revoke_key(client.headers["Authorization"].removeprefix("Bearer "))
        async for _ in events:
            assert not writing.done()
    writing.cancel()
