"""Coming in and going: what a login gives, how it is refused, refreshed and ended."""

import asyncio
import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from api.people_schemas import LoginList, MeView, TokenView
from core.contracts.people import Via
from core.db.engine import Database
from tests.api.conftest import CHEAP, Api, StartApi, until
from tests.api.people import (
    CREDENTIALS,
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    ada,
    anybody,
    audit,
    log_in,
    logged_in,
    refreshed,
    register,
    status_of,
    told,
)
from tests.api.test_guesses import Counting
from tests.api.test_rubbish import UNKNOWN, locs, problem
from tests.conftest import Account, make_account
from tests.support.rows import execute, one, rows, waiting_for_locks
from tests.support.stack import eventually

# ---------------------------------------------------------------------------------------------- in


async def test_a_login_gives_tokens_that_work(start_api: StartApi) -> None:
    api = start_api(background=False, access_token_minutes=2.0, refresh_token_days=3.0)
    async with anybody(api) as client:
        account = await register(client)
        # In capitals it is the same email; around it may be spaces.
        given = {"email": " ADA@Example.COM", "password": PASSWORD}
        response = await client.post("/v1/auth/login", json=given, headers={"User-Agent": "gull/1"})
        tokens, login = TokenView.model_validate_json(response.content), logged_in(response)
        assert (tokens.token_type, tokens.expires_in, tokens.refresh_expires_in) == ("Bearer", 120, 259_200)
        assert tokens.refresh_token.startswith("atr_")
        me = MeView.model_validate_json((await client.get("/v1/me", headers=login.headers)).content)
        assert (me.id, me.email, me.via, me.has_password) == (account.id, EMAIL, Via.LOGIN, True)
        (shown,) = LoginList.model_validate_json(
            (await client.get("/v1/me/logins", headers=login.headers)).content
        ).items
        assert (shown.current, shown.ip, shown.user_agent) == (True, "127.0.0.1", "gull/1")
        assert (shown.expires_at - shown.created_at).total_seconds() == 259_200
        assert [line.action for line in await audit(client, login.headers)] == ["auth.login", "auth.register"]


async def test_all_that_is_wrong_is_answered_alike_after_the_same_work(start_api: StartApi, database: Database) -> None:
    hasher = Counting()
    api = start_api(background=False, hasher=hasher, limits=True)
    await make_account(database, "Eve Example")
    async with anybody(api) as client:
        await register(client)
        login = await log_in(client)
        answers = []
        for email, password in [
            (EMAIL, "herring gulls over the hill"),
            ("nobody@example.com", PASSWORD),
            ("eve@example.com", PASSWORD),
        ]:
            before = hasher.verified, hasher.hashed
            response = await client.post("/v1/auth/login", json={"email": email, "password": password})
            problem(response, 401, "wrong_credentials")
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert (hasher.verified - before[0], hasher.hashed - before[1]) == (1, 0)
            own = {response.headers[name] for name in ("x-request-id", "x-trace-id", "date")}
            body = response.text
            for value in own:
                body = body.replace(value, "")
            names = sorted(name for name in response.headers if name not in ("x-request-id", "x-trace-id", "date"))
            answers.append((body, names))
        assert answers[0] == answers[1] == answers[2]
        # Each was counted; only one of them has an owner, who is told.
        counted = "SELECT used FROM limits WHERE name = 'account_logins'"
        await eventually(lambda: rows(database, counted), lambda found: [row["used"] for row in found] == [1, 1, 1])
        lines = await told(client, login, "auth.login_failed")
        assert [line.action for line in lines] == ["auth.login_failed", "auth.login", "auth.register"]
        assert (lines[0].via, lines[0].actor_id, lines[0].ip) == (Via.NOBODY, None, "127.0.0.1")
    assert (await one(database, "SELECT count(*) AS n FROM audit WHERE action = 'auth.login_failed'"))["n"] == 1


async def test_a_hash_of_older_parameters_is_made_anew(start_api: StartApi, database: Database) -> None:
    api = start_api(background=False, hasher=PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    stored = "SELECT password_hash AS hash FROM owners"
    async with anybody(api) as client:
        await register(client)
        older = CHEAP.hash(PASSWORD)
        await execute(database, f"UPDATE owners SET password_hash = '{older}'")
        await client.post("/v1/auth/login", json={**CREDENTIALS, "password": OTHER_PASSWORD})
        assert (await one(database, stored))["hash"] == older
        first = await log_in(client)
        newer = (await one(database, stored))["hash"]
        assert "$m=8,t=2,p=1$" in newer
        assert await status_of(client, first) == 200
        await log_in(client)
        assert (await one(database, stored))["hash"] == newer


class Held(PasswordHasher):
    """Verifies and hashes when it is let."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.entered.set()
        assert self.go.wait(10)
        return super().verify(hash, password)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.entered.set()
        assert self.go.wait(10)
        return super().hash(password, salt=salt)

    def hold(self) -> None:
        """Let the next one wait."""
        self.entered.clear()
        self.go.clear()


async def test_a_password_that_changes_while_somebody_logs_in(start_api: StartApi, database: Database) -> None:
    """No login with the old password comes after its change."""
    hasher = Held()
    api = start_api(background=False, hasher=hasher)
    change = text("UPDATE owners SET password_hash = :new")
    async with anybody(api) as client:
        await register(client)
        hasher.hold()
        login = asyncio.create_task(client.post("/v1/auth/login", json=CREDENTIALS))
        await until(hasher.entered.is_set)
        async with database.transaction() as connection:
            await connection.execute(change, {"new": CHEAP.hash(OTHER_PASSWORD)})
        hasher.go.set()
        problem(await login, 401, "wrong_credentials")
        # And when the change is made, but not yet committed, the login waits for it.
        async with database.transaction() as connection:
            await connection.execute(change, {"new": CHEAP.hash(PASSWORD)})
            body = {**CREDENTIALS, "password": OTHER_PASSWORD}
            login = asyncio.create_task(client.post("/v1/auth/login", json=body))
            await waiting_for_locks(database, 1)
        problem(await login, 401, "wrong_credentials")
        assert await rows(database, "SELECT 1 FROM sessions") == []
        await log_in(client)


async def test_a_login_that_ends_while_its_password_is_verified(start_api: StartApi, database: Database) -> None:
    hasher = Held()
    api = start_api(background=False, hasher=hasher)
    async with anybody(api) as client:
        login = await ada(client)
        hasher.hold()
        body = {"email": "eve@example.com", "password": PASSWORD}
        change = asyncio.create_task(client.patch("/v1/me", json=body, headers=login.headers))
        await until(hasher.entered.is_set)
        assert (await client.post("/v1/auth/logout", json=login.body)).status_code == 204
        hasher.go.set()
        problem(await change, 401, "unauthenticated")
    assert (await one(database, "SELECT email FROM owners"))["email"] == EMAIL


async def test_an_admin_who_is_none_any_more_when_it_counts(start_api: StartApi, database: Database) -> None:
    hasher = Held()
    api = start_api(background=False, hasher=hasher)
    async with anybody(api) as client:
        login = await ada(client)
        await execute(database, "UPDATE owners SET role = 'admin'")
        hasher.hold()
        body = {"email": "eve@example.com", "name": "Eve Example", "password": PASSWORD, "role": "admin"}
        making = asyncio.create_task(client.post("/v1/admin/accounts", json=body, headers=login.headers))
        await until(hasher.entered.is_set)
        await execute(database, "UPDATE owners SET role = 'user'")
        hasher.go.set()
        problem(await making, 403, "admin_needed")
    assert (await one(database, "SELECT count(*) AS n FROM owners"))["n"] == 1


async def test_an_account_that_is_being_erased(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        tokens = await ada(client)
        key = (await client.post("/v1/me/keys", json={"name": "k"}, headers=tokens.headers)).json()["key"]
        await execute(database, "UPDATE owners SET erasing_at = now()")
        assert await status_of(client, tokens) == 401
        problem(await client.get("/v1/me", headers={"Authorization": f"Bearer {key}"}), 401, "unauthenticated")
        problem(await client.post("/v1/auth/login", json=CREDENTIALS), 401, "wrong_credentials")
        problem(await refreshed(client, tokens), 401, "unauthenticated")
        taken = await client.post("/v1/auth/register", json={**CREDENTIALS, "name": "Ada Again"})
        problem(taken, 409, "email_taken")


@pytest.mark.parametrize("path", ["login", "refresh", "logout", "register"])
async def test_bodies_that_are_refused_and_never_repeated(api: Api, path: str) -> None:
    whole = {
        "login": CREDENTIALS,
        "register": {**CREDENTIALS, "name": "Ada Example"},
        "refresh": {"refresh_token": "atr_of-nobody-but-secret"},
        "logout": {"refresh_token": "atr_of-nobody-but-secret"},
    }[path]
    async with anybody(api) as client:
        for name in whole:
            secret = name in ("password", "refresh_token")
            for wrong in (None, 7, ["x"], "", "herring" * 300):
                found = problem(
                    await client.post(f"/v1/auth/{path}", json={**whole, name: wrong}), 422, "invalid_request"
                )
                assert locs(found) == [name], wrong
                assert not secret or "herring" not in found.model_dump_json()
            left = {other: whole[other] for other in whole if other != name}
            found = problem(await client.post(f"/v1/auth/{path}", json=left), 422, "invalid_request")
            assert locs(found) == [name]
        for more, wrong in (("admin", True), ("role", "admin")):
            problem(await client.post(f"/v1/auth/{path}", json={**whole, more: wrong}), 422, "invalid_request")
        problem(
            await client.post(f"/v1/auth/{path}", content=b"{", headers={"Content-Type": "application/json"}),
            422,
            "invalid_request",
        )
        problem(await client.post(f"/v1/auth/{path}", data=whole), 415, "unsupported_media_type")
        problem(await client.post(f"/v1/auth/{path}?a=1", json=whole), 422, "invalid_request")
        problem(await client.get(f"/v1/auth/{path}"), 405, "method_not_allowed")


# ---------------------------------------------------------------------------------------------- out


async def test_logging_out_ends_the_login_everywhere(start_api: StartApi) -> None:
    first, second = start_api(background=False), start_api(background=False)
    async with anybody(first) as here, anybody(second) as there:
        tokens = await ada(here)
        following = logged_in(await refreshed(here, tokens))
        other = await log_in(here)
        assert await status_of(there, tokens) == 200
        assert (await here.post("/v1/auth/logout", json=following.body)).status_code == 204
        for client in (here, there):
            assert await status_of(client, tokens) == await status_of(client, following) == 401
            found = problem(await refreshed(client, following), 401, "unauthenticated")
            assert "logged out" in found.detail
            assert await status_of(client, other) == 200
        # Again, or with a token of nobody, it does no harm and tells nothing.
        for body in (following.body, tokens.body, {"refresh_token": "atr_" + "x" * 43}, {"refresh_token": "x"}):
            assert (await there.post("/v1/auth/logout", json=body)).status_code == 204
        actions = [line.action for line in await audit(here, other.headers)]
        assert actions.count("auth.logout") == 1


async def test_logins_are_listed_and_ended_one_by_one(api: Api, database: Database, account: Account) -> None:
    async with anybody(api) as client:
        lost, kept = await ada(client), await log_in(client)
        await register(client, "bob@example.com", "Bob Example")
        bob = await log_in(client, "bob@example.com")

        async def listed(headers: dict[str, str], query: str = "") -> LoginList:
            response = await client.get(f"/v1/me/logins{query}", headers=headers)
            return LoginList.model_validate_json(response.content)

        first = await listed(kept.headers, "?limit=1")
        rest = await listed(kept.headers, f"?limit=1&cursor={first.next_cursor}")
        assert [login.current for login in (*first.items, *rest.items)] == [True, False]
        assert rest.next_cursor is None
        lost_id = rest.items[0].id
        for wrong in (UNKNOWN, "nonsense"):
            problem(await client.delete(f"/v1/me/logins/{wrong}", headers=kept.headers), 404, "not_found")
        problem(await client.delete(f"/v1/me/logins/{lost_id}", headers=bob.headers), 404, "not_found")
        assert await status_of(client, lost) == 200
        for _ in range(2):
            assert (await client.delete(f"/v1/me/logins/{lost_id}", headers=kept.headers)).status_code == 204
        assert await status_of(client, lost) == 401
        assert "another login" in problem(await refreshed(client, lost), 401, "unauthenticated").detail
        assert [login.id for login in (await listed(kept.headers)).items] == [first.items[0].id]
        # One's own, too.
        assert (await client.delete(f"/v1/me/logins/{first.items[0].id}", headers=kept.headers)).status_code == 204
        assert await status_of(client, kept) == 401
        # An owner without a password has no logins, and may look with a key; another's key may not.
        assert (await listed(account.headers)).items == []
        made = await client.post("/v1/me/keys", json={"name": "k"}, headers=bob.headers)
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        problem(await client.get("/v1/me/logins", headers=key), 403, "login_needed")
        own = (await listed(bob.headers)).items[0].id
        problem(await client.delete(f"/v1/me/logins/{own}", headers=key), 403, "login_needed")
    assert (await one(database, "SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL"))["n"] == 1
