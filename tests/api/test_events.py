"""Event streams: each event once and in order, whatever breaks on the way."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from api.events import EventHub
from core.contracts.jobs import EventType
from core.contracts.names import EVENTS_CHANNEL
from core.db.engine import Database
from core.db.repositories.events import EventRepository, JobEventsRepository, Position
from core.db.repositories.owners import OwnerRepository
from tests.api.conftest import Api, StartApi, set_status, submitted, until
from tests.api.test_rubbish import locs, problem
from tests.conftest import Account, make_account
from tests.support.rows import accept


class Told(NamedTuple):
    """One server-sent event."""

    seq: int
    type: str
    data: dict[str, object]


async def events_of(response: httpx.Response) -> AsyncGenerator[Told, None]:
    """The events of a stream, as far as they are whole."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(":")
        if line == "" and "data" in fields:
            data = json.loads(fields["data"])
            assert (int(fields["id"]), fields["event"]) == (data["seq"], data["type"])
            assert "at" in data
            yield Told(data["seq"], data["type"], data)
            fields = {}
        elif name:
            fields[name] = value.removeprefix(" ")


async def append(database: Database, job_id: str, key: str, type: EventType = EventType.STEP_STARTED) -> None:
    async with database.transaction() as connection:
        await EventRepository(connection).append(job_id, type, key, {"step": key})


async def end(database: Database, job_id: str, status: str = "completed", run: int = 1) -> None:
    async with database.transaction() as connection:
        sets = {"status": f"'{status}'", "finished_at": "now()"}
        await EventRepository(connection).append(job_id, EventType(f"job.{status}"), f"run:{run}:ended", sets=sets)


def url_of(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"


async def test_ten_cuts_while_two_write(api: Api, client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    chance = random.Random(7)

    async def write(name: str) -> None:
        for number in range(150):
            await append(database, job_id, f"{name}:{number}")
            await asyncio.sleep(chance.random() * 0.004)

    async def read() -> list[Told]:
        got: list[Told] = []
        for cut in range(11):
            headers = {"Last-Event-ID": str(got[-1].seq)} if got else {}
            wanted = len(got) + chance.randint(1, 30) if cut < 10 else None
            async with client.stream("GET", url_of(job_id), headers=headers) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                async with contextlib.aclosing(events_of(response)) as events:
                    async for event in events:
                        got.append(event)
                        if len(got) == wanted:
                            break
        return got

    async def write_all() -> None:
        await asyncio.gather(write("a"), write("b"))
        await end(database, job_id)

    got, _ = await asyncio.wait_for(asyncio.gather(read(), write_all()), 20)
    assert [event.seq for event in got] == list(range(1, 303))
    assert got[0].type == "job.accepted"
    assert got[-1].type == "job.completed"
    assert {event.data["step"] for event in got[1:-1]} == {f"{name}:{n}" for name in "ab" for n in range(150)}
    await until(lambda: api.deps.events.subscribers == 0)


async def test_the_events_of_anothers_job_are_not_read(database: Database, account: Account) -> None:
    job_id = await accept(database, account.owner_id)
    stranger = await make_account(database, "Bob Example")
    async with database.transaction() as connection:
        own, theirs = [JobEventsRepository(connection, owner.owner_id) for owner in (account, stranger)]
        assert [event.type for event in await own.after(job_id, 0)] == [EventType.ACCEPTED]
        assert await theirs.after(job_id, 0) == []
        assert await own.position(job_id) == Position(1, ended=False)
        assert await theirs.position(job_id) is None


async def test_unfinished_text_and_budgets_are_told(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client, budget_usd=1)
    piece = {"step": "section s1", "attempt_id": "a", "offset": 4, "text": "Zwölf Räder\n\n"}
    figures = {"percent": 80, "spent_usd": 0.8, "reserved_usd": 0.1, "budget_usd": 1.0}
    async with database.transaction() as connection:
        await EventRepository(connection).append(job_id, EventType.STEP_TEXT, "text:a:4", piece)
        await EventRepository(connection).append(job_id, EventType.BUDGET, "budget:1:80", figures)
    raised = await client.post(f"/v1/jobs/{job_id}/budget", json={"add_usd": 0.5})
    assert raised.status_code == 202
    await end(database, job_id)
    async with client.stream("GET", url_of(job_id)) as response:
        got = [event async for event in events_of(response)]
    assert [event.type for event in got][1:-1] == ["step.text", "job.budget", "job.budget_raised"]
    assert [piece.items() <= got[1].data.items(), figures.items() <= got[2].data.items()] == [True, True]
    assert (got[3].data["add_usd"], got[3].data["budget_usd"]) == (0.5, 1.5)


async def _kill_listener(database: Database) -> int:
    async with database.transaction() as connection:
        killed = await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'atelier-listen' AND datname = current_database()"
            )
        )
        return len(killed.all())


async def test_nothing_is_missed_when_the_listening_connection_dies(
    start_api: StartApi, database: Database, account: Account
) -> None:
    # The table is read every minute only, so what arrives comes by the connection or by its return.
    api = start_api(event_poll_seconds=60)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        job_id = await submitted(client)

        async def write() -> None:
            for number in range(60):
                if number % 20 == 10:
                    async with asyncio.timeout(5):
                        # The connection may not be back yet from the kill before.
                        while not await _kill_listener(database):  # noqa: ASYNC110 - Postgres tells nobody
                            await asyncio.sleep(0.01)
                await append(database, job_id, f"s:{number}")
            await end(database, job_id)

        async with asyncio.timeout(20), client.stream("GET", url_of(job_id)) as response:
            writing = asyncio.create_task(write())
            got = [event.seq async for event in events_of(response)]
            await writing
    assert got == list(range(1, 63))


async def test_the_hub_survives_what_nobody_foresaw(database_url: str, database: Database) -> None:
    fails = [asyncpg.InternalClientError("cannot switch to state 11"), OSError("no route"), ValueError("?")]

    async def connect(*where: Any, **how: Any) -> "asyncpg.Connection[asyncpg.Record]":
        if fails:
            raise fails.pop()
        return await asyncpg.connect(*where, **how)

    listening = asyncio.Event()
    hub = EventHub(database_url, listening.set, connect)
    hub.start()
    try:
        await asyncio.wait_for(listening.wait(), 10)
        with hub.subscribe("some-job") as woken:
            async with database.transaction() as connection:
                await connection.execute(text(f"SELECT pg_notify('{EVENTS_CHANNEL}', 'some-job:1')"))
            await asyncio.wait_for(woken.wait(), 5)
    finally:
        await hub.stop()


async def test_a_stream_is_woken_at_once(start_api: StartApi, database: Database, account: Account) -> None:
    api = start_api(event_poll_seconds=60)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        job_id = await submitted(client)
        async with client.stream("GET", url_of(job_id) + "?after=1") as response:
            events = events_of(response)
            await until(lambda: api.deps.events.subscribers == 1)
            for number in range(20):
                await append(database, job_id, f"s:{number}")
                assert (await asyncio.wait_for(anext(events), 2)).seq == number + 2
            await events.aclose()


async def test_a_stream_without_notifications_reads_the_table(
    start_api: StartApi, database: Database, account: Account
) -> None:
    api = start_api(background=False, event_poll_seconds=0.1)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        job_id = await submitted(client)
        async with client.stream("GET", url_of(job_id)) as response:
            events = events_of(response)
            assert (await anext(events)).seq == 1
            async with database.transaction() as connection:
                # As `append` does, but nobody is notified.
                await connection.execute(
                    text(
                        "WITH job AS (UPDATE jobs SET event_seq = event_seq + 1 RETURNING id, event_seq) "
                        "INSERT INTO events (job_id, seq, type, key) "
                        "SELECT id, event_seq, 'step.started', 'late' FROM job"
                    )
                )
            assert (await asyncio.wait_for(anext(events), 2)).seq == 2
            await events.aclose()


async def test_silence_is_filled(
    api: Api, client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.KEEP_ALIVE_SECONDS", 0.05)
    job_id = await submitted(client)
    async with client.stream("GET", url_of(job_id)) as response:
        lines = response.aiter_lines()
        comments = [line async for line in _some(lines, 3)]
        assert comments == [": keep-alive"] * 3
        # And then the key is revoked: the stream ends with its next keep-alive.
        async with database.transaction() as connection:
            await OwnerRepository(connection).revoke_key(client.headers["Authorization"].removeprefix("Bearer "))
        async with asyncio.timeout(5):
            async for _ in lines:
                pass
    await until(lambda: api.deps.events.subscribers == 0)


async def _some(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        if line == ": keep-alive":
            yield line
            count -= 1
            if not count:
                return


async def whole(client: httpx.AsyncClient, job_id: str, query: str = "", **headers: str) -> list[Told]:
    """A stream that ends by itself."""
    async with asyncio.timeout(5), client.stream("GET", url_of(job_id) + query, headers=headers) as response:
        assert response.status_code == 200
        return [event async for event in events_of(response)]


async def test_a_stream_ends_with_the_job(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    await append(database, job_id, "s:1")
    await end(database, job_id)
    assert [event.seq for event in await whole(client, job_id)] == [1, 2, 3]
    assert [event.seq for event in await whole(client, job_id, "?after=2")] == [3]
    assert [event.seq for event in await whole(client, job_id, "?after=1", **{"Last-Event-ID": "2"})] == [3]
    assert await whole(client, job_id, "?after=3") == []


async def test_a_stream_goes_past_the_end_of_a_run_that_was_retried(
    client: httpx.AsyncClient, database: Database
) -> None:
    job_id = await submitted(client)
    await end(database, job_id, "failed")
    assert [event.type for event in await whole(client, job_id)] == ["job.accepted", "job.failed"]
    await client.post(f"/v1/jobs/{job_id}/retry")
    async with asyncio.timeout(5), client.stream("GET", url_of(job_id)) as response:
        events = events_of(response)
        assert [(await anext(events)).type for _ in range(3)] == ["job.accepted", "job.failed", "job.retried"]
        await end(database, job_id, "cancelled", run=2)
        assert [event.type async for event in events] == ["job.cancelled"]


async def test_many_events_come_in_pieces(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO events (job_id, seq, type, key) "
                "SELECT :id, n, 'step.started', 'k' || n FROM generate_series(2, 1700) n"
            ),
            {"id": job_id},
        )
        await connection.execute(
            text("UPDATE jobs SET event_seq = 1700, status = 'completed' WHERE id = :id"), {"id": job_id}
        )
    assert [event.seq for event in await whole(client, job_id)] == list(range(1, 1701))


async def test_a_stream_of_a_job_that_is_deleted_ends(
    start_api: StartApi, database: Database, account: Account
) -> None:
    api = start_api(event_poll_seconds=0.1)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        job_id = await submitted(client)
        async with asyncio.timeout(5), client.stream("GET", url_of(job_id)) as response:
            events = events_of(response)
            await anext(events)
            await set_status(database, job_id, "failed")  # says nothing to the stream
            assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
            assert [event async for event in events] == []


async def test_beginnings_that_are_none(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client)
    for last in ("x", "-1", "1.5", "", "99", "9" * 30, "²"):
        headers = {"Last-Event-ID": last.encode("latin-1")}
        response = await client.get(url_of(job_id), headers=headers)  # type: ignore[arg-type]
        assert locs(problem(response, 422, "invalid_request")) == ["header.Last-Event-ID"], last
    for query in ("after=-1", "after=x", "after=99", "after=", "since=1", f"after={2**63}"):
        response = await client.get(f"{url_of(job_id)}?{query}")
        assert locs(problem(response, 422, "invalid_request")) == [f"query.{query.partition('=')[0]}"], query


async def test_a_client_that_does_not_read_holds_nothing_back(
    api: Api, client: httpx.AsyncClient, database: Database
) -> None:
    job_id = await submitted(client)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    key = client.headers["Authorization"]
    writer.write(f"GET {url_of(job_id)} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    async with database.transaction() as connection:
        big = {"id": job_id, "data": json.dumps({"text": "x" * 4_000})}
        await connection.execute(
            text(
                "INSERT INTO events (job_id, seq, type, key, data) "
                "SELECT :id, n, 'step.started', 'k' || n, CAST(:data AS jsonb) FROM generate_series(2, 4000) n"
            ),
            big,
        )
        await connection.execute(text("UPDATE jobs SET event_seq = 4000 WHERE id = :id"), big)
    await append(database, job_id, "wake")
    # It is stuck, and holds no connection of the pool: others get theirs.
    answers = await asyncio.gather(*(client.get("/v1/jobs") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert api.deps.events.subscribers == 1
    writer.transport.abort()
    await until(lambda: api.deps.events.subscribers == 0)


async def test_streams_end_when_the_server_stops(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submitted(client)
    async with client.stream("GET", url_of(job_id)) as response:
        events = events_of(response)
        await anext(events)
        api.stop()
        async with asyncio.timeout(3):
            assert [event async for event in events] == []
