"""What surrounds every request: origins, headers, time, and the trace it belongs to."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from api.server import HEAD_BYTES
from core.db.engine import Database
from core.db.repositories.runs import RunRepository
from tests.api.conftest import LONGFORM, Api, StartApi, make_settings, submitted, until
from tests.api.test_rubbish import UNKNOWN, problem
from tests.conftest import Account

PAGE = "https://app.example.com"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


# ---------------------------------------------------------------------------------------------- origins


async def test_pages_of_the_origins_that_are_allowed(start_api: StartApi, account: Account) -> None:
    api = start_api(background=False, cors_origins=f"{PAGE}, http://localhost:5173")
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, last-event-id, traceparent",
    }
    async with httpx.AsyncClient(base_url=api.url) as client:
        before = await client.options("/v1/jobs", headers=asked)
        assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, PAGE)
        assert {"POST", "PATCH", "DELETE"} <= set(before.headers["access-control-allow-methods"].split(", "))
        assert "access-control-allow-credentials" not in before.headers
        assert before.headers["x-request-id"]
        for changed in ({"Origin": "https://evil.example.com"}, {"Access-Control-Request-Headers": "x-other"}):
            refused = await client.options("/v1/jobs", headers={**asked, **changed})
            assert refused.status_code == 400
        # Problems, too: a page must be able to tell what is wrong.
        for headers, path, status in (
            (account.headers, "/v1/jobs", 200),
            ({}, "/v1/jobs", 401),
            (account.headers, f"/v1/jobs/{UNKNOWN}", 404),
        ):
            answer = await client.get(path, headers={**headers, "Origin": PAGE})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "ETag"} <= set(exposed)
            assert "Origin" in answer.headers["vary"]
        other = await client.get("/v1/health/live", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in other.headers


async def test_without_origins_no_page_is_let_in(client: httpx.AsyncClient) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    problem(await client.options("/v1/jobs", headers=asked), 405, "method_not_allowed")
    answer = await client.get("/v1/jobs", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_origins_and_proxies_that_are_none(tmp_path: Path) -> None:
    for name, value in (
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", f"{PAGE},null"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, the-proxy"),
    ):
        settings = make_settings("postgresql://x@127.0.0.1/x", tmp_path, **{name.lower(): value})
        with pytest.raises(ValueError, match=f"^{name}: "):
            create_app(settings)


# ---------------------------------------------------------------------------------------------- headers


async def test_every_answer_is_hardened(start_api: StartApi, account: Account) -> None:
    hardened = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    closed = "default-src 'none'; frame-ancestors 'none'"
    for mode in ("development", "production"):
        api = start_api(background=False, atelier_mode=mode)
        async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
            for path, status in (
                ("/v1/jobs", 200),
                ("/v1/health/live", 200),
                (f"/v1/jobs/{UNKNOWN}", 404),
                ("/v1/jobs?limit=0", 422),
                ("/nothing", 404),
                ("/swagger/nothing", 404),
                ("/openapi.json", 200),
                ("/docs", 200),
            ):
                answer = await client.get(path)
                assert answer.status_code == status, path
                assert hardened.items() <= answer.headers.items(), path
                assert len(answer.headers.get_list("content-security-policy")) == 1, path
                assert (answer.headers["content-security-policy"] == closed) is (path != "/docs"), path
                assert (answer.headers.get("cache-control") == "no-store") is path.startswith("/v1/"), path
                assert ("strict-transport-security" in answer.headers) is (mode == "production"), path


async def test_the_documentation_runs_its_own_script_only(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    directives = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert directives["script-src"] == f"'self' 'sha256-{digest}'"
    assert directives["default-src"] == directives["frame-ancestors"] == "'none'"


# ---------------------------------------------------------------------------------------------- time


class Wire:
    """A connection that says what a test wants, when it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, words: str) -> None:
        """Send some bytes."""
        self.writer.write(words.encode())
        await self.writer.drain()

    async def heard(self) -> bytes:
        """All that comes until the other side hangs up."""
        async with asyncio.timeout(15):
            return await self.reader.read()

    async def answer(self) -> httpx.Response:
        """One answer with a length."""
        async with asyncio.timeout(15):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")[:-2]
            headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
            length = int(dict(headers)["content-length"])
            content = await self.reader.readexactly(length)
        return httpx.Response(int(status.split()[1]), headers=headers, content=content)


@asynccontextmanager
async def wire(api: Api) -> AsyncIterator[Wire]:
    """A connection to the API."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def heard(lines: AsyncIterator[str], wanted: str) -> None:
    """Wait until a stream says something."""
    async with asyncio.timeout(15):
        async for line in lines:
            if line == wanted:
                return
    raise AssertionError("the stream ended")


async def test_requests_that_come_too_slowly(start_api: StartApi, account: Account, database: Database) -> None:
    api = start_api(background=False, api_body_seconds=1.0)
    key = f"Authorization: Bearer {account.token}\r\n"
    async with (
        httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client,
        AsyncExitStack() as wires,
    ):
        job_id = await submitted(client)

        async def saying(words: str) -> Wire:
            # Opened only now: its time runs from then on.
            opened = await wires.enter_async_context(wire(api))
            await opened.say(words)
            return opened

        async with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": open"
            second = await saying("GET /v1/health/live HTTP/1.1\r\nHost: atelier\r\n\r\n")
            assert (await second.answer()).status_code == 200
            await second.say("GET /v1/health")
            silent = await saying("")
            headless = await saying(f"GET /v1/jobs HTTP/1.1\r\nHost: atelier\r\n{key}X-Slow: ")
            head = f"POST /v1/jobs HTTP/1.1\r\nHost: atelier\r\n{key}Content-Type: application/json\r\n"
            slow = await saying(head + 'Content-Length: 100\r\n\r\n{"pipeline":')
            told = await slow.answer()
            problem(told, 408, "request_timeout")
            assert told.headers["connection"] == "close"
            assert [await one.heard() for one in (silent, headless, second, slow)] == [b"", b"", b"", b""]
            # Whoever listens is let alone, however long.
            assert (await client.post(f"/v1/jobs/{job_id}/pause")).status_code == 202
            await heard(lines, "event: job.pause_requested")
        assert len((await client.get("/v1/jobs")).json()["items"]) == 1
    await until(lambda: api.deps.database.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]


async def test_what_is_no_request(api: Api) -> None:
    async with wire(api) as rubbish, wire(api) as endless:
        await rubbish.say("TIDES\r\n\r\n")
        answer = await rubbish.answer()
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert await rubbish.heard() == b""
        await endless.say("GET /v1/jobs HTTP/1.1\r\nHost: atelier\r\n")
        line = f"X-More: {'m' * 1000}\r\n"
        for _ in range(HEAD_BYTES // len(line)):
            await endless.say(line)
        assert not endless.reader.at_eof()
        await endless.say(line * 2)
        answer = await endless.answer()
        assert (answer.status_code, str(HEAD_BYTES) in answer.json()["detail"]) == (400, True)


async def test_an_answer_that_does_not_come(
    start_api: StartApi, account: Account, database: Database, client: httpx.AsyncClient
) -> None:
    """It waits for a row that somebody has locked. What it had begun is undone, and its connection is there again."""
    job_id = await submitted(client)
    api = start_api(background=False, api_answer_seconds=1.0, database_pool_size=1, cors_origins=PAGE)
    headers = {**account.headers, "Origin": PAGE}
    async with (
        httpx.AsyncClient(base_url=api.url, headers=headers, timeout=20) as hurried,
        hurried.stream("GET", f"/v1/jobs/{job_id}/events") as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == ": open"
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
            # More than there are connections: some wait for the row, the others for a connection.
            answers = await asyncio.gather(*(hurried.post(f"/v1/jobs/{job_id}/pause") for _ in range(5)))
            for answer in answers:
                assert problem(answer, 503, "took_too_long").trace_id == answer.headers["x-trace-id"]
                assert answer.headers["access-control-allow-origin"] == PAGE
        pool = api.deps.database.engine.pool
        await until(lambda: pool.checkedout() == 0)  # type: ignore[attr-defined]
        async with asyncio.timeout(15):
            while (await hurried.get("/v1/jobs")).status_code != 200:
                pass
        async with database.transaction() as connection:
            events = await connection.execute(text("SELECT type FROM events WHERE job_id = :id"), {"id": job_id})
            assert [event.type for event in events] == ["job.accepted"]
        # An answer that has begun has all the time it wants.
        assert (await client.post(f"/v1/jobs/{job_id}/pause")).status_code == 202
        await heard(lines, "event: job.pause_requested")


# ---------------------------------------------------------------------------------------------- traces


async def test_a_request_belongs_to_a_trace(client: httpx.AsyncClient, database: Database) -> None:
    for given, known in (
        (PARENT, True),
        (f"cc-{TRACE}-00f067aa0ba902b7-00-what-is-to-come", True),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        ("rubbish", False),
    ):
        answer = await client.get(f"/v1/jobs/{UNKNOWN}", headers={"traceparent": given})
        found = problem(answer, 404, "not_found")
        assert found.trace_id == answer.headers["x-trace-id"]
        assert (found.trace_id == TRACE) is known, given
        assert re.fullmatch("[0-9a-f]{32}", found.trace_id), given
    twice = await client.get("/v1/jobs", headers=[("traceparent", PARENT), ("traceparent", PARENT)])
    assert twice.headers["x-trace-id"] != TRACE
    for parent in (PARENT, PARENT.replace("4", "5")):
        again = await client.post("/v1/jobs", json=LONGFORM, headers={"traceparent": parent, "Idempotency-Key": "once"})
        assert (again.status_code, again.headers["x-trace-id"]) == (202, parent.split("-")[1])
    async with database.transaction() as connection:
        requests = await RunRepository(connection).claim(10, timedelta(seconds=10), 60)
    assert [request.trace_id for request in requests] == [TRACE]
