"""Fifty guesses of a password a second beside somebody's work; `bench/people.py` says how much longer that takes."""

import asyncio
from collections import Counter
from itertools import cycle

import httpx
import pytest

from tests.conftest import Account
from tests.support.access import PASSWORD
from tests.support.stack import Stack

pytestmark = pytest.mark.faults

RATE, SECONDS = 50, 6
MANY = "1000000"
EVE = {"email": "eve@example.com", "password": PASSWORD}


async def test_guesses_fail_and_nobody_elses_requests_do(stack: Stack, account: Account) -> None:
    # As if the guesses came from everywhere: all of them get as far as the hashing.
    api = stack.api(
        LIMITS="true",
        LIMIT_ANONYMOUS_PER_MINUTE=MANY,
        LIMIT_LOGINS_PER_MINUTE=MANY,
        LIMIT_ACCOUNT_LOGINS_PER_HOUR=MANY,
    )
    guessed: Counter[int] = Counter()
    read: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=api.url, timeout=30, limits=httpx.Limits(max_connections=200)) as client:
        assert (await client.post("/v1/auth/register", json={**EVE, "name": "Eve Example"})).status_code == 201

        async def guess(number: int, email: str) -> None:
            await asyncio.sleep(number / RATE)
            guess = {"email": email, "password": f"a mill turns by {number} moons"}
            guessed[(await client.post("/v1/auth/login", json=guess)).status_code] += 1

        async def work() -> None:
            while guessed.total() < RATE * SECONDS:
                read[(await client.get("/v1/jobs", headers=account.headers)).status_code] += 1

        emails = cycle([EVE["email"], "nobody@example.com"])
        await asyncio.gather(work(), *(guess(number, next(emails)) for number in range(RATE * SECONDS)))
        assert set(read) == {200}
        assert read[200] > SECONDS
        # Those that find the queue of the hashing full are told to come again.
        assert set(guessed) <= {401, 429}
        assert guessed[401] > SECONDS
        # And whoever knows the password gets in, when it is over.
        assert (await client.post("/v1/auth/login", json=EVE)).status_code == 200
