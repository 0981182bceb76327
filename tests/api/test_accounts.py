"""Accounts: who may have one, and what their owners change of them."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from api.people_schemas import AccountView, MeView
from core.contracts.people import Role, Via
from core.db.engine import Database
from tests.api.conftest import Api, StartApi, counts
from tests.api.people import (
    CREDENTIALS,
    EMAIL,
    NAME,
    OTHER_PASSWORD,
    PASSWORD,
    ada,
    anybody,
    audit,
    log_in,
    logged_in,
    register,
    told,
)
from tests.api.test_rubbish import locs, problem
from tests.conftest import Account
from tests.support.rows import one, rows

REGISTRATION = {**CREDENTIALS, "name": NAME}


async def registered(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/auth/register", json={**REGISTRATION, **fields})


async def me(client: httpx.AsyncClient, headers: dict[str, str]) -> MeView:
    response = await client.get("/v1/me", headers=headers)
    assert response.status_code == 200, response.text
    return MeView.model_validate_json(response.content)


# ---------------------------------------------------------------------------------------------- new ones


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Ada.Example@EXAMPLE.com ", "Ada.Example@example.com"),
        ("ada+mills@example.com", "ada+mills@example.com"),
        ("a\u0308da@xn--exmple-cua.com", "äda@exämple.com"),
    ],
)
async def test_an_email_has_one_form_and_one_account(api: Api, database: Database, given: str, kept: str) -> None:
    async with anybody(api) as client:
        account = AccountView.model_validate_json((await registered(client, email=given, name="  Zoë 🌊 ")).content)
        assert (account.email, account.name, account.role) == (kept, "Zoë 🌊", Role.USER)
        before = await counts(database)
        for same in (given, kept, kept.upper(), kept.title()):
            found = problem(await registered(client, email=same), 409, "email_taken")
            assert "Log in" in found.detail
        assert await counts(database) == before
        assert (await me(client, (await log_in(client, kept.upper())).headers)).id == account.id
    stored = await one(database, "SELECT password_hash, email_key FROM owners")
    assert stored["password_hash"].startswith("$argon2id$")
    assert stored["email_key"] == kept.casefold()


async def test_of_many_at_once_with_one_email_one_is_made(start_api: StartApi, database: Database) -> None:
    apis = [start_api(background=False), start_api(background=False)]
    async with anybody(apis[0]) as here, anybody(apis[1]) as there:
        answers = await asyncio.gather(*(registered(client) for client in (here, there) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]
    assert (await counts(database))["owners"] == 1


async def test_registrations_that_are_refused(api: Api, database: Database) -> None:
    wrongs: list[tuple[str, object]] = [
        *(
            ("email", wrong)
            for wrong in (
                "", "ada", "ada@", "@example.com", "ada@localhost", "ada@[127.0.0.1]", "ada@@example.com",
                "Ada <ada@example.com>", '"a b"@example.com', "ada@example.com\nbcc: eve@example.com",
                "ada@-example.com", "ada@example..com", "x" * 65 + "@example.com", "ada@" + "x" * 250 + ".com",
                "ada\u202e@example.com", "ada@test", None, 7, ["ada@example.com"],
            )
        ),
        *(("name", bad) for bad in ("", "   ", "x" * 201, "a\nb", "\u200b", "\u200d\ufe0f", "ada\u202eada", None, 7)),
        *(
            ("password", wrong)
            for wrong in ("", "too short", "x" * 201, "password123", "PassWord123", EMAIL, NAME, None, 1234567890)
        ),
        ("website", "x" * 2_001),
        ("website", None),
        ("role", "admin"),
    ]  # fmt: skip
    before = await counts(database)
    async with anybody(api) as client:
        for name, wrong in wrongs:
            found = problem(await registered(client, **{name: wrong}), 422, "invalid_request")
            assert locs(found) == [name], wrong
            shown = json.dumps(found.model_dump(mode="json"))
            assert name != "password" or not isinstance(wrong, str) or not wrong or wrong not in shown
        lone = b'{"email": "ada@example.com", "name": "Ada", "password": "herring gulls \\ud800"}'
        response = await client.post("/v1/auth/register", content=lone, headers={"Content-Type": "application/json"})
        problem(response, 422, "invalid_request")
    assert await counts(database) == before


async def test_programs_that_fill_in_every_field_get_nothing(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        honest = await registered(client)
        before = await counts(database)
        for email in ("bot@example.com", EMAIL):
            caught = await registered(client, email=email, website="https://example.com/pills")
            assert caught.status_code == honest.status_code == 201
            assert [*caught.headers] == [*honest.headers]
            shown = caught.json()
            assert list(shown) == list(honest.json())
            assert (shown["email"], shown["role"]) == (email, "user")
            assert len(shown["created_at"]) == len(honest.json()["created_at"])
            assert await rows(database, "SELECT 1 FROM owners WHERE id = :id", id=shown["id"]) == []
        # The field may be there as long as it is empty.
        assert (await registered(client, email="bea@example.com", website=" ")).status_code == 201
        problem(
            await client.post("/v1/auth/login", json={**CREDENTIALS, "email": "bot@example.com"}),
            401,
            "wrong_credentials",
        )
    after = await counts(database)
    assert after == {**before, "owners": before["owners"] + 1}


async def test_where_registration_is_closed(start_api: StartApi, database: Database) -> None:
    api = start_api(background=False, registration="closed")
    async with anybody(api) as client:
        for fields in ({}, {"website": "x"}):
            found = problem(await registered(client, **fields), 403, "registration_closed")
            assert "admins" in found.detail
    assert (await counts(database))["owners"] == 0


# ---------------------------------------------------------------------------------------------- one's own


async def test_who_one_is(start_api: StartApi, account: Account) -> None:
    api = start_api(background=False, limits=True, limit_submissions_per_hour=7, limit_jobs_at_once=3)
    async with anybody(api) as client:
        login = await ada(client)
        mine = await me(client, login.headers)
        assert (mine.name, mine.email, mine.via, mine.has_password) == (NAME, EMAIL, Via.LOGIN, True)
        assert mine.limits is not None
        assert (mine.limits.submissions_per_hour, mine.limits.jobs_at_once) == (7, 3)
        theirs = await me(client, account.headers)
        assert (theirs.id, theirs.email, theirs.via) == (account.owner_id, None, Via.KEY)
        assert (theirs.has_password, theirs.scopes) == (False, ["read", "write"])
        problem(await client.get("/v1/me"), 401, "unauthenticated")


async def test_name_and_email_are_changed(api: Api, database: Database, account: Account) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        await register(client, "bob@example.com", "Bob Example")

        async def change(**fields: object) -> httpx.Response:
            return await client.patch("/v1/me", json=fields, headers=login.headers)

        assert MeView.model_validate_json((await change(name=" Ada Lock ")).content).name == "Ada Lock"
        moved = await change(email=" Ada.Lock@EXAMPLE.com", name="Ada L.", password=PASSWORD)
        assert moved.json()["email"] == "Ada.Lock@example.com"
        assert (await me(client, login.headers)).name == "Ada L."
        problem(await client.post("/v1/auth/login", json=CREDENTIALS), 401, "wrong_credentials")
        await log_in(client, "ada.lock@example.com")
        assert (await change(email="ada.lock@example.com", password=PASSWORD)).status_code == 200
        assert (await change()).status_code == 200

        before = await one(database, "SELECT * FROM owners WHERE email_key = 'ada.lock@example.com'")
        refused: list[tuple[dict[str, object], int, str]] = [
            ({"email": EMAIL, "name": "X"}, 422, "invalid_request"),
            ({"email": EMAIL, "name": "X", "password": OTHER_PASSWORD}, 401, "wrong_credentials"),
            ({"email": "BOB@example.com", "name": "X", "password": PASSWORD}, 409, "email_taken"),
            ({"name": None}, 422, "invalid_request"),
            ({"email": None, "password": PASSWORD}, 422, "invalid_request"),
            ({"password": OTHER_PASSWORD}, 422, "invalid_request"),
            ({"role": "admin"}, 422, "invalid_request"),
        ]
        for fields, status, code in refused:
            problem(await change(**fields), status, code)
        assert await one(database, "SELECT * FROM owners WHERE email_key = 'ada.lock@example.com'") == before
        lines = await told(client, login, "auth.login_failed")
        assert {line.action for line in lines} >= {"account.update"}
        # With a key only an owner changes anything who cannot log in, and such a one has no password to confirm with.
        made = await client.post("/v1/me/keys", json={"name": "k"}, headers=login.headers)
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        problem(await client.patch("/v1/me", json={"name": "X"}, headers=key), 403, "login_needed")
        assert (await client.patch("/v1/me", json={"name": "X"}, headers=account.headers)).json()["name"] == "X"
        body = {"email": EMAIL, "password": PASSWORD}
        found = problem(await client.patch("/v1/me", json=body, headers=account.headers), 401, "wrong_credentials")
        assert "no password" in found.detail


async def test_a_new_password_ends_every_login_everywhere(start_api: StartApi, account: Account) -> None:
    first, second = start_api(background=False), start_api(background=False)
    async with anybody(first) as here, anybody(second) as there:
        asking, other = await ada(here), await log_in(there)
        made = await here.post("/v1/me/keys", json={"name": "k"}, headers=asking.headers)
        body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        problem(await here.post("/v1/me/password", json=body, headers=key), 403, "login_needed")
        problem(await here.post("/v1/me/password", json=body, headers=account.headers), 401, "wrong_credentials")
        for wrong, status, code in [
            ({"current_password": OTHER_PASSWORD}, 401, "wrong_credentials"),
            ({"new_password": "too short"}, 422, "invalid_request"),
            ({"new_password": "password123"}, 422, "invalid_request"),
            ({"new_password": EMAIL}, 422, "invalid_request"),
        ]:
            response = await here.post("/v1/me/password", json={**body, **wrong}, headers=asking.headers)
            problem(response, status, code)
        for tokens in (asking, other):
            await me(there, tokens.headers)

        fresh = logged_in(await here.post("/v1/me/password", json=body, headers=asking.headers))
        for client in (here, there):
            for tokens in (asking, other):
                problem(await client.get("/v1/me", headers=tokens.headers), 401, "unauthenticated")
                ended = await client.post("/v1/auth/refresh", json=tokens.body)
                assert "password was changed" in problem(ended, 401, "unauthenticated").detail
            assert (await me(client, fresh.headers)).email == EMAIL
            assert (await me(client, key)).via is Via.KEY
            problem(await client.post("/v1/auth/login", json=CREDENTIALS), 401, "wrong_credentials")
            await log_in(client, password=OTHER_PASSWORD)
        assert (await here.post("/v1/auth/refresh", json=fresh.body)).status_code == 200
        assert "account.change_password" in [line.action for line in await audit(here, fresh.headers)]


async def test_of_two_changes_of_a_password_at_once_one_is_made(api: Api) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        wanted = ["otters in the mill pond", "herons over the mill pond", "eels under the mill pond"]
        answers = await asyncio.gather(
            *(
                client.post(
                    "/v1/me/password",
                    json={"current_password": PASSWORD, "new_password": password},
                    headers=login.headers,
                )
                for password in wanted
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
        (made,) = (number for number, answer in enumerate(answers) if answer.status_code == 200)
        assert (await me(client, logged_in(answers[made]).headers)).email == EMAIL
        await log_in(client, password=wanted[made])


async def test_the_audit_log_is_paged_and_ones_own(api: Api, account: Account) -> None:
    async with anybody(api) as client:
        login = await ada(client)
        for number in range(3):
            await client.patch(
                "/v1/me", json={"name": f"Ada {number}"}, headers={**login.headers, "X-Request-Id": f"r{number}"}
            )
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = (await client.get(f"/v1/me/audit?limit=2{cursor}", headers=login.headers)).json()
            found += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert [line["action"] for line in found] == [*["account.update"] * 3, "auth.login", "auth.register"]
        assert [line["request_id"] for line in found[:3]] == ["r2", "r1", "r0"]
        assert {line["account_id"] for line in found} == {(await me(client, login.headers)).id}
        assert (await client.get("/v1/me/audit", headers=account.headers)).json()["items"] == []
        problem(await client.get("/v1/me/audit?cursor=x", headers=login.headers), 400, "invalid_cursor")
