"""Who has no credentials keeps nobody waiting, is told nothing, and is counted whatever else is wrong."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from starlette.requests import Request

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import ALL_SCOPES, Role, Via
from core.db.engine import Database
from core.db.repositories.identities import Caller
from tests.api.conftest import Api, StartApi
from tests.api.people import CREDENTIALS, ada, anybody, register
from tests.api.test_rubbish import UNKNOWN, problem
from tests.conftest import Account
from tests.support.rows import execute, rows, waiting_for_locks


@asynccontextmanager
async def locked(database: Database, table: str) -> AsyncIterator[None]:
    """Within, whoever reads or writes a table waits."""
    async with database.transaction() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


def made_up(number: int) -> dict[str, str]:
    """A key that there is not."""
    return {"Authorization": f"Bearer atl_made-up-{number}"}


async def test_an_address_that_is_refused_costs_no_statement(
    start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(background=False, limits=True, limit_anonymous_per_minute=2, database_pool_size=1)
    async with anybody(api) as client:
        assert [(await client.get("/v1/jobs")).status_code for _ in range(3)] == [401, 401, 429]
        async with locked(database, "limits"):
            asked = [client.get("/v1/jobs", headers=made_up(n) if n % 2 else {}) for n in range(10)]
            login = client.post("/v1/auth/login", json=CREDENTIALS)
            for answer in await asyncio.gather(*asked, login):
                found = problem(answer, 429, "too_many_requests")
                assert found.details == {"limit": "anonymous", "quota": 2, "seconds": 60}
                assert 0 < int(answer.headers["retry-after"]) <= 120
                assert answer.headers["ratelimit"] == f'"anonymous";r=0;t={answer.headers["retry-after"]}'
            # A good key is looked up all the same, when it comes for the first time and after it.
            for _ in range(2):
                assert (await client.get("/v1/jobs", headers=account.headers)).status_code == 200
        # And found bad from the next request on when it is revoked, whatever is remembered.
        await execute(database, "UPDATE api_keys SET revoked_at = now()")
        for _ in range(2):
            assert (await client.get("/v1/jobs", headers=account.headers)).status_code == 429
    assert [row["used"] for row in await rows(database, "SELECT used FROM limits")] == [2]


async def test_made_up_keys_wait_in_one_line(start_api: StartApi, database: Database) -> None:
    # Two connections: a line for each key would take both.
    api = start_api(background=False, limits=True, database_pool_size=1)
    async with anybody(api) as client:
        login = await ada(client)
        assert (await client.get("/v1/me", headers=login.headers)).status_code == 200
        for table, headers in (("api_keys", made_up), ("limits", lambda _: {})):
            async with locked(database, table):
                asking = [asyncio.create_task(client.get("/v1/jobs", headers=headers(n))) for n in range(20)]
                await waiting_for_locks(database, 1)
                for _ in range(3):
                    assert (await client.get("/v1/me", headers=login.headers)).status_code == 200
            assert {answer.status_code for answer in await asyncio.gather(*asking)} == {401}


async def test_nothing_is_read_or_told_of_a_request_without_credentials(api: Api) -> None:
    rubbish = {"Content-Type": "text/plain", **made_up(1)}
    async with anybody(api) as client:
        asked = 0
        for path, operations in (await client.get("/openapi.json")).json()["paths"].items():
            for method, operation in operations.items():
                if operation.get("security") == []:
                    continue
                asked += 1
                url = path.replace("{", "").replace("}", "") + "?colour=red&limit=x"
                answer = await client.request(method, url, content=b"{", headers=rubbish)
                assert answer.status_code == 401, (method, path, answer.text)
        assert asked > 40
    # The answer does not wait for the body.
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode())
    assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
    writer.transport.abort()


async def test_two_keys_are_none(api: Api, account: Account) -> None:
    good = ("Authorization", account.headers["Authorization"])
    async with anybody(api) as client:
        assert (await client.get("/v1/me", headers=[good])).status_code == 200
        for other in (good, ("authorization", "Bearer atl_none"), ("Authorization", "")):
            for given in ([good, other], [other, good]):
                found = problem(await client.get("/v1/me", headers=given), 401, "unauthenticated")
                assert "several Authorization" in found.detail


async def test_what_comes_to_the_open_routes_is_counted_first(start_api: StartApi, database: Database) -> None:
    api = start_api(background=False, limits=True, limit_anonymous_per_minute=4, trusted_proxies="127.0.0.1")
    async with anybody(api) as client:
        weak = {"email": "eve@example.com", "name": "Eve Example", "password": "password123"}
        text_plain = {"content": b"{", "headers": {"Content-Type": "text/plain"}}
        wrong: list[tuple[str, dict[str, Any], int]] = [
            ("auth/login", {"json": {}}, 422),
            ("auth/register", {"json": weak}, 422),
            ("auth/refresh", text_plain, 415),
            ("auth/logout?x=1", {"json": {"refresh_token": "atr_x"}}, 422),
        ]
        for number, (path, sent, status) in enumerate(wrong):
            headers = {**sent.get("headers", {}), "X-Forwarded-For": f"192.0.2.{number}"}
            answers = [await client.post(f"/v1/{path}", **{**sent, "headers": headers}) for _ in range(5)]
            assert [answer.status_code for answer in answers] == [status] * 4 + [429], path
        come_from = {"X-Forwarded-For": "192.0.2.9"}
        answers = [await client.get(f"/v1/erasures/{UNKNOWN}?x=1", headers=come_from) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [422] * 4 + [429]
        # Another address is not.
        await register(client)


async def test_only_what_surely_started_nothing_is_given_back(start_api: StartApi, database: Database) -> None:
    limiter = start_api(background=False, limits=True).deps.limiter
    caller = Caller(UNKNOWN, "Ada Example", Role.USER, ALL_SCOPES, Via.KEY, UNKNOWN, has_password=False)
    request = Request({"type": "http", "headers": [], "client": ("192.0.2.1", 1)})

    async def given_back(error: BaseException) -> int:
        count = 0

        def later(errand: Coroutine[Any, Any, None]) -> None:
            nonlocal count
            count += 1
            errand.close()

        async with database.statement() as connection:
            try:
                async with limiter.submission(request, caller, connection, later):
                    raise error
            except type(error):
                return count

    assert await given_back(AtelierError(ErrorType.TOO_MANY_JOBS, "x")) == 1
    assert await given_back(ValueError()) == 1
    assert await given_back(AtelierError(ErrorType.TEMPORAL_UNAVAILABLE, "x")) == 0
    # The answer took too long: it may have been committed.
    assert await given_back(asyncio.CancelledError()) == 0
