"""Limits over real processes: a thousand requests at once, and exactly as many let through as are allowed."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import httpx
import pytest

from core.db.engine import Database
from tests.conftest import Account, make_account
from tests.support.rows import one, rows
from tests.support.stack import Stack, User, eventually

CROWD, CLIENTS = 1_000, 20
BODY = {"pipeline": "longform", "input": {"topic": "Tidal mills", "target_words": 900, "cache": "bypass"}}


@pytest.mark.faults
@pytest.mark.parametrize(
    ("limit", "code"), [("LIMIT_SUBMISSIONS_PER_HOUR", "too_many_requests"), ("LIMIT_JOBS_AT_ONCE", "too_many_jobs")]
)
async def test_a_thousand_at_once_over_two_processes(
    stack: Stack, account: Account, database: Database, limit: str, code: str
) -> None:
    most = {"LIMIT_SUBMISSIONS_PER_HOUR": "100000", "LIMIT_JOBS_AT_ONCE": "100000"}
    stack.env.update({"LIMITS": "true", **most, limit: "100"})
    apis = [stack.api(), stack.api()]
    other = await make_account(database, "Grace Example")
    async with AsyncExitStack() as opened, User(apis[0], other.token) as their:
        # Many clients, as the pool of a single one would take longer over a thousand connections than the API.
        clients = [
            await opened.enter_async_context(httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=120))
            for api in apis * (CLIENTS // 2)
        ]
        crowd = asyncio.gather(*(clients[n % CLIENTS].post("/v1/jobs", json=BODY) for n in range(CROWD)))
        # Somebody else meanwhile: it may take longer, but is let through.
        theirs = [await their.submit() for _ in range(5)]
        answers = await crowd
    assert Counter(answer.status_code for answer in answers) == {202: 100, 429: CROWD - 100}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == code
            assert int(answer.headers["retry-after"]) > 0
            assert "ratelimit" in answer.headers
    assert len({job["id"] for job in theirs}) == 5
    assert (await one(database, "SELECT count(*) FROM jobs WHERE owner_id = :id", id=account.owner_id))["count"] == 100
    # What was refused for want of room is given back.
    await eventually(
        lambda: rows(database, "SELECT used FROM limits WHERE name = 'submissions' ORDER BY used"),
        lambda found: found == [{"used": 5}, {"used": 100}],
    )
    assert not any(api.process.said('"level": "error"') for api in apis)
