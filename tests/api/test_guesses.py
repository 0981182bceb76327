"""Guesses of passwords: how many are looked at, and whom they do not shut out."""

import asyncio
from collections import Counter
from typing import Literal

import httpx
from argon2 import PasswordHasher

from core.db.engine import Database
from tests.api.conftest import StartApi
from tests.api.people import CREDENTIALS, EMAIL, OTHER_PASSWORD, PASSWORD, ada, anybody, log_in, logged_in, register
from tests.api.test_rubbish import problem
from tests.support.rows import execute, rows
from tests.support.stack import eventually


class Counting(PasswordHasher):
    """Knows how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = self.hashed = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified += 1
        return super().verify(hash, password)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed += 1
        return super().hash(password, salt=salt)


async def test_guesses_are_limited_before_they_cost_anything(start_api: StartApi, database: Database) -> None:
    hasher = Counting()
    api = start_api(
        background=False,
        hasher=hasher,
        limits=True,
        limit_logins_per_minute=4,
        limit_account_logins_per_hour=2,
        limit_anonymous_per_minute=6,
        trusted_proxies="127.0.0.1",
    )
    wrong = {"email": EMAIL, "password": "herring gulls over the hill"}

    def come_from(ip: str) -> dict[str, str]:
        return {"X-Forwarded-For": ip}

    async def guess(ip: str, body: dict[str, str] = wrong) -> httpx.Response:
        return await client.post("/v1/auth/login", json=body, headers=come_from(ip))

    def limit_of(refused: httpx.Response) -> object:
        return (problem(refused, 429, "too_many_requests").details or {})["limit"]

    async with anybody(api) as client:
        await register(client)
        # Who guesses may not go on, and whether the account is there is not told.
        for ip, email in (("192.0.2.1", EMAIL), ("192.0.2.3", "nobody@example.com")):
            body = {**wrong, "email": email}
            assert [(await guess(ip, body)).status_code for _ in range(2)] == [401, 401]
            before = hasher.verified
            refused = await guess(ip, {**body, "password": PASSWORD})
            assert limit_of(refused) == "account_logins"
            assert int(refused.headers["retry-after"]) > 60
            assert hasher.verified == before
        # Its owner comes from elsewhere, and gets in.
        for _ in range(3):
            assert (await guess("192.0.2.2", CREDENTIALS)).status_code == 200
        # From very many networks the account is left alone for a while all the same.
        everywhere = [(await guess(f"198.51.100.{number // 2}")).status_code for number in range(18)]
        assert everywhere == [401] * 18
        before = hasher.verified
        assert limit_of(await guess("203.0.113.1", CREDENTIALS)) == "all_account_logins"
        # And so is an address that tries many accounts.
        for number in range(4):
            await guess("192.0.2.4", {**wrong, "email": f"nobody-{number}@example.com"})
        assert hasher.verified == before + 4
        for path, body in (
            ("/v1/auth/login", {**wrong, "email": "bea@example.com"}),
            ("/v1/auth/register", {**CREDENTIALS, "email": "bea@example.com", "name": "Bea Example"}),
        ):
            refused = await client.post(path, json=body, headers=come_from("192.0.2.4"))
            assert limit_of(refused) == "logins"
            assert refused.headers["ratelimit"].startswith('"logins";r=0;t=')
        assert (hasher.verified, hasher.hashed) == (before + 4, 1)
        answers = [
            (await client.post(f"/v1/auth/{path}", json={"refresh_token": "atr_no"}, headers=come_from("192.0.2.5")))
            for path in ("refresh", "logout") * 4
        ]
        assert [answer.status_code for answer in answers] == [401, 204] * 3 + [429] * 2


async def test_of_many_guesses_at_once_as_many_as_are_allowed_are_looked_at(
    start_api: StartApi, database: Database
) -> None:
    hasher = Counting()
    many = {"limit_logins_per_minute": 1_000, "limit_anonymous_per_minute": 1_000}
    api = start_api(background=False, hasher=hasher, limits=True, limit_account_logins_per_hour=5, **many)
    counted = "SELECT used FROM limits WHERE name IN ('account_logins', 'all_account_logins') ORDER BY used"
    async with anybody(api) as client:
        await register(client)
        # What was right is given back, however often.
        for _ in range(7):
            await log_in(client)
            await eventually(lambda: rows(database, counted), lambda found: [row["used"] for row in found] == [0, 0])
        before = hasher.verified
        guesses = [{**CREDENTIALS, "password": f"a mill turns by {number} moons"} for number in range(50)]
        answers = await asyncio.gather(*(client.post("/v1/auth/login", json=body) for body in guesses))
        assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 45}
        assert hasher.verified == before + 5
    assert [row["used"] for row in await rows(database, counted)] == [5, 5]


async def test_strangers_do_not_use_up_what_the_owner_has(start_api: StartApi, database: Database) -> None:
    many = {"limit_logins_per_minute": 20, "limit_anonymous_per_minute": 1_000}
    api = start_api(background=False, limits=True, limit_account_logins_per_hour=2, **many)
    wrong = {"current_password": "herring gulls over the hill", "new_password": OTHER_PASSWORD}
    async with anybody(api) as client:
        login = await ada(client)
        for status in (401, 401, 429):
            body = {**CREDENTIALS, "password": "herring gulls over the hill"}
            assert (await client.post("/v1/auth/login", json=body)).status_code == status
        # From the same network, at the same time.
        right = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        login = logged_in(await client.post("/v1/me/password", json=right, headers=login.headers))
        # They guess themselves, or whoever has their token does.
        for _ in range(2):
            problem(await client.post("/v1/me/password", json=wrong, headers=login.headers), 401, "wrong_credentials")
        refused = await client.request("DELETE", "/v1/me", json={"password": OTHER_PASSWORD}, headers=login.headers)
        found = problem(refused, 429, "too_many_requests")
        assert found.details == {"limit": "wrong_confirmations", "quota": 2, "seconds": 3600}
        await execute(database, "DELETE FROM limits WHERE name = 'wrong_confirmations'")
        gone = await client.request("DELETE", "/v1/me", json={"password": OTHER_PASSWORD}, headers=login.headers)
        assert gone.status_code in (200, 202)
