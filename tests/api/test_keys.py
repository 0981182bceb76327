"""API keys: made, narrowed, listed and revoked by their owners."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import text

from api.people_schemas import KeyList, KeyView, NewKeyView
from core.contracts.people import Scope
from core.db.engine import Database
from core.db.repositories.owners import OwnerRepository
from tests.api.conftest import LONGFORM, Api, StartApi
from tests.api.people import ada, anybody, audit, log_in, register
from tests.api.test_rubbish import UNKNOWN, locs, problem
from tests.conftest import Account
from tests.support.rows import one, rows

Headers = dict[str, str]


def bearer(key: str) -> Headers:
    return {"Authorization": f"Bearer {key}"}


async def made(client: httpx.AsyncClient, headers: Headers, **fields: object) -> NewKeyView:
    response = await client.post("/v1/me/keys", json={"name": "museum", **fields}, headers=headers)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return NewKeyView.model_validate_json(response.content)


async def listed(client: httpx.AsyncClient, headers: Headers, query: str = "") -> list[KeyView]:
    response = await client.get(f"/v1/me/keys{query}", headers=headers)
    assert response.status_code == 200, response.text
    return KeyList.model_validate_json(response.content).items


async def test_a_key_is_shown_once_and_stored_hashed(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        expires = datetime.now(UTC) + timedelta(days=30)
        key = await made(client, login.headers, name=" museum website ", expires_at=expires.isoformat())
        assert key.key.startswith("atl_")
        assert (key.name, key.scopes, key.expires_at) == ("museum website", ["read", "write"], expires)
        assert (key.last_used_at, key.revoked_at) == (None, None)
        assert [one_of.model_dump() for one_of in await listed(client, login.headers)] == [
            key.model_dump(exclude={"key"})
        ]
        stored = await one(database, "SELECT * FROM api_keys")
        assert key.key not in str(stored)
        # That it was used is written after the answer.
        assert (await client.get("/v1/jobs", headers=bearer(key.key))).status_code == 200
        async with asyncio.timeout(10):
            while (used := (await listed(client, login.headers))[0].last_used_at) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert used >= key.created_at
        lines = await audit(client, login.headers)
        assert (lines[0].action, lines[0].resource) == ("keys.create", f"me/keys/{key.id}")
        assert key.key not in str(lines)


async def test_scopes_and_expiry_hold(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        reads, writes = [await made(client, login.headers, scopes=[scope]) for scope in ("read", "write")]
        assert (await client.get("/v1/jobs", headers=bearer(reads.key))).status_code == 200
        assert (await client.post("/v1/jobs", json=LONGFORM, headers=bearer(writes.key))).status_code == 202
        for key, method in ((reads, "POST"), (writes, "GET")):
            response = await client.request(method, "/v1/jobs", json=LONGFORM, headers=bearer(key.key))
            problem(response, 403, "insufficient_scope")
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 second'"))
        problem(await client.get("/v1/jobs", headers=bearer(reads.key)), 401, "unauthenticated")
        assert len(await listed(client, login.headers)) == 2


async def test_a_revoked_key_is_refused_everywhere_at_once(start_api: StartApi) -> None:
    first, second = start_api(background=False), start_api(background=False)
    async with anybody(first) as here, anybody(second) as there:
        login = await ada(here)
        key, other = await made(here, login.headers), await made(here, login.headers)
        await register(here, "bob@example.com", "Bob Example")
        bob = await log_in(here, "bob@example.com")
        for client in (here, there):
            assert (await client.get("/v1/me", headers=bearer(key.key))).status_code == 200
        problem(await here.delete(f"/v1/me/keys/{key.id}", headers=bob.headers), 404, "not_found")
        assert await listed(here, bob.headers) == []
        for wrong in (UNKNOWN, "nonsense", "%00"):
            problem(await here.delete(f"/v1/me/keys/{wrong}", headers=login.headers), 404, "not_found")
        assert (await there.get("/v1/me", headers=bearer(key.key))).status_code == 200
        revoked = None
        for _ in range(2):
            assert (await here.delete(f"/v1/me/keys/{key.id}", headers=login.headers)).status_code == 204
            for client in (there, here):
                problem(await client.get("/v1/me", headers=bearer(key.key)), 401, "unauthenticated")
            shown = {found.id: found.revoked_at for found in await listed(there, login.headers)}
            assert shown[key.id] is not None
            assert revoked in (None, shown[key.id])
            revoked = shown[key.id]
        assert shown[other.id] is None
        assert (await there.get("/v1/me", headers=bearer(other.key))).status_code == 200


async def test_keys_that_are_refused(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        now = datetime.now(UTC)
        for name, wrong in [
            ("name", ""), ("name", " "), ("name", "x" * 201), ("name", "a\nb"), ("name", None),
            ("scopes", []), ("scopes", ["admin"]), ("scopes", "read"), ("scopes", None), ("scopes", ["read", 7]),
            ("expires_at", (now - timedelta(seconds=1)).isoformat()), ("expires_at", "2027-01-01"),
            ("expires_at", (now + timedelta(days=3660)).isoformat()), ("expires_at", "9999-12-31T23:59:59-12:00"),
            ("expires_at", "soon"), ("owner_id", UNKNOWN), ("key", "atl_mine"),
        ]:  # fmt: skip
            body = {"name": "museum", name: wrong}
            found = problem(await client.post("/v1/me/keys", json=body, headers=login.headers), 422, "invalid_request")
            assert {loc.split(".")[0] for loc in locs(found)} == {name}, wrong
        # A key of somebody who can log in makes and shows none.
        assert await rows(database, "SELECT 1 FROM api_keys") == []
        key = bearer((await made(client, login.headers)).key)
        for method, path in (("POST", ""), ("GET", ""), ("DELETE", f"/{UNKNOWN}")):
            body_or_none = {"name": "museum"} if method == "POST" else None
            response = await client.request(method, f"/v1/me/keys{path}", json=body_or_none, headers=key)
            problem(response, 403, "login_needed")


async def test_a_key_makes_none_that_may_do_more(api: Api, database: Database, account: Account) -> None:
    async with database.transaction() as connection:
        narrow = await OwnerRepository(connection).create_key(account.owner_id, "narrow", {Scope.WRITE})
    async with anybody(api) as client:
        assert (await made(client, bearer(narrow), scopes=["write"])).scopes == ["write"]
        for more in ({}, {"scopes": ["read"]}, {"scopes": ["write", "read"]}):
            response = await client.post("/v1/me/keys", json={"name": "wide", **more}, headers=bearer(narrow))
            problem(response, 403, "insufficient_scope")
        assert (await made(client, account.headers)).scopes == ["read", "write"]
        # It may end others, and itself.
        keys = await listed(client, account.headers)
        for key in keys:
            answer = await client.delete(f"/v1/me/keys/{key.id}", headers=bearer(narrow))
            assert answer.status_code == (204 if key.name != "test" else 401)
            if key.name == "narrow":
                break
        problem(await client.get("/v1/me", headers=bearer(narrow)), 401, "unauthenticated")


async def test_an_account_has_fifty_keys_at_most(start_api: StartApi, database: Database) -> None:
    apis = [start_api(background=False), start_api(background=False)]
    async with anybody(apis[0]) as here, anybody(apis[1]) as there:
        login = await ada(here)
        first = await made(here, login.headers)
        async with database.transaction() as connection:
            for _ in range(45):
                await OwnerRepository(connection).create_key(
                    (await here.get("/v1/me", headers=login.headers)).json()["id"], "k"
                )
        answers = await asyncio.gather(
            *(
                client.post("/v1/me/keys", json={"name": "k"}, headers=login.headers)
                for client in (here, there)
                for _ in range(5)
            )
        )
        refused = [answer for answer in answers if answer.status_code != 201]
        assert len(refused) == 6
        for answer in refused:
            assert problem(answer, 409, "too_many_keys").details == {"limit": 50}
        assert len(await listed(here, login.headers, "?limit=200")) == 50
        pages = await here.get("/v1/me/keys", headers=login.headers)
        assert pages.json()["next_cursor"] is None
        # One that is revoked or has expired makes room.
        await here.delete(f"/v1/me/keys/{first.id}", headers=login.headers)
        await made(here, login.headers)
        problem(await here.post("/v1/me/keys", json={"name": "k"}, headers=login.headers), 409, "too_many_keys")
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE name = 'k'"))
        await made(here, login.headers)
        page = (await here.get("/v1/me/keys?limit=50", headers=login.headers)).json()
        rest = await listed(here, login.headers, f"?limit=50&cursor={page['next_cursor']}")
        assert len(page["items"]) == 50
        assert first.id in {key.id for key in rest}
