"""Limits: exact over processes, told in headers, and costing nobody what they did not use."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
from sqlalchemy import text

from api.limits import EVERYBODY, HOUR, MINUTE
from api.routers.health import Readiness
from core.contracts.base import Json
from core.db.engine import Database
from tests.api.conftest import LONGFORM, StartApi, make_settings, running, set_status
from tests.api.test_outlines import REVIEWED, ask
from tests.api.test_rubbish import problem
from tests.api.written import Shelf
from tests.conftest import Account, make_account
from tests.support.rows import one, rows
from tests.support.stack import eventually

AT_ONCE = 200


def client_of(url: str, account: Account) -> httpx.AsyncClient:
    """A client with a key, that waits for as long as a crowd takes."""
    return httpx.AsyncClient(base_url=url, headers=account.headers, timeout=60)


async def crowd(clients: Sequence[httpx.AsyncClient], count: int, **headers: str) -> list[httpx.Response]:
    """The answers to so many submissions at once, in turn by each of the clients."""
    return await asyncio.gather(
        *(clients[n % len(clients)].post("/v1/jobs", json=LONGFORM, headers=headers) for n in range(count))
    )


async def used(database: Database, subject: str, name: str = "submissions") -> int:
    """How much of a limit is counted."""
    found = await rows(database, "SELECT used FROM limits WHERE name = :name AND subject = :s", name=name, s=subject)
    return int(found[0]["used"]) if found else 0


async def becomes(database: Database, subject: str, count: int) -> None:
    """Wait until so much of it is counted: what was not used is given back beside the answers."""
    await eventually(lambda: used(database, subject), lambda found: found == count)


async def test_of_a_crowd_over_two_processes_exactly_the_limit_is_let_through(
    start_api: StartApi, account: Account, database: Database
) -> None:
    # Two connections each: were one held while another is asked for, the crowd would wait for itself.
    settings = {
        "limits": True, "limit_submissions_per_hour": 30, "limit_jobs_at_once": 1_000, "database_pool_size": 1,
    }  # fmt: skip
    apis = [start_api(background=False, **settings) for _ in range(2)]
    other = await make_account(database, "Grace Example")
    async with client_of(apis[0].url, account) as first, client_of(apis[1].url, account) as second:
        mine = asyncio.create_task(crowd([first, second], AT_ONCE))
        async with client_of(apis[1].url, other) as client:
            theirs = await crowd([client], 5)
        answers = await mine
    assert Counter(answer.status_code for answer in answers) == {202: 30, 429: AT_ONCE - 30}
    assert {answer.status_code for answer in theirs} == {202}
    assert sorted(answer.headers["ratelimit"].split(";t=")[0] for answer in answers if answer.status_code == 202) == (
        sorted(f'"submissions";r={n}' for n in range(30))
    )
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"submissions";q=30;w=3600'
        assert 3_000 < int(answer.headers["ratelimit"].split(";t=")[1]) <= 2 * HOUR
        if answer.status_code == 429:
            found = problem(answer, 429, "too_many_requests")
            assert found.details == {"limit": "submissions", "quota": 30, "seconds": HOUR}
            # All of the window that has begun, and enough of the next that one of thirty has gone by.
            assert 3_000 < int(answer.headers["retry-after"]) <= 3_720
            assert answer.headers["ratelimit"] == f'"submissions";r=0;t={answer.headers["retry-after"]}'
    assert (await one(database, "SELECT count(*) FROM jobs WHERE owner_id = :id", id=account.owner_id))["count"] == 30
    assert [await used(database, owner) for owner in (account.owner_id, other.owner_id)] == [30, 5]
    assert await used(database, EVERYBODY, "all_submissions") == 35


async def test_as_many_jobs_at_once_as_are_allowed_and_no_more(
    start_api: StartApi, account: Account, database: Database
) -> None:
    settings = {"limits": True, "limit_submissions_per_hour": 1_000, "limit_jobs_at_once": 7}
    apis = [start_api(background=False, **settings) for _ in range(2)]
    async with client_of(apis[0].url, account) as client, client_of(apis[1].url, account) as second:
        answers = await crowd([client, second], AT_ONCE)
        assert Counter(answer.status_code for answer in answers) == {202: 7, 429: AT_ONCE - 7}
        for answer in answers:
            if answer.status_code == 429:
                assert problem(answer, 429, "too_many_jobs").details == {"limit": 7, "running": 7}
                assert answer.headers["retry-after"] == "30"
        # What started nothing is given back.
        await becomes(database, account.owner_id, 7)
        jobs = [answer.json()["id"] for answer in answers if answer.status_code == 202]

        await set_status(database, jobs[0], "failed")
        assert (await client.post(f"/v1/jobs/{jobs[0]}/retry")).status_code == 202
        await set_status(database, jobs[1], "failed")
        assert [answer.status_code for answer in await crowd([client], 1)] == [202]
        found = problem(await client.post(f"/v1/jobs/{jobs[1]}/retry"), 429, "too_many_jobs")
        assert found.details == {"limit": 7, "running": 7}
        # What waits for somebody is not counted.
        for job, status in zip(jobs[2:5], ("waiting_for_input", "waiting_for_budget", "paused"), strict=True):
            await set_status(database, job, status)
        assert Counter(answer.status_code for answer in await crowd([client], 5)) == {202: 3, 429: 2}
        # An admin may allow more, or fewer.
        await _allow(database, account, "jobs_at_once", 8)
        assert Counter(answer.status_code for answer in await crowd([client], 3)) == {202: 1, 429: 2}
        await _allow(database, account, "jobs_at_once", 1)
        (refused,) = await crowd([client], 1)
        assert problem(refused, 429, "too_many_jobs").details == {"limit": 1, "running": 8}
        # A change of a document is a job as well.
        written = await Shelf(database, apis[0].deps.store, account.owner_id).write()
        change = f"/v1/documents/{written.document_id}/sections/s1/regenerate"
        problem(await client.post(change), 429, "too_many_jobs")
        other = await make_account(database, "Grace Example")
        async with client_of(apis[0].url, other) as theirs:
            assert [answer.status_code for answer in await crowd([theirs], 1)] == [202]


async def _allow(database: Database, account: Account, column: str, value: int | None) -> None:
    async with database.transaction() as connection:
        statement = f"UPDATE owners SET {column} = :value WHERE id = :id"
        await connection.execute(text(statement), {"value": value, "id": account.owner_id})


async def test_a_repeated_submission_is_answered_and_not_counted(
    start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(background=False, limits=True, limit_submissions_per_hour=20, limit_jobs_at_once=1)
    async with client_of(api.url, account) as client:
        # Of twenty at once with one key, one comes first; the others find it, and need no room of their own.
        answers = await crowd([client], 20, **{"Idempotency-Key": "once"})
        assert {answer.status_code for answer in answers} == {202}
        (job,) = {answer.json()["id"] for answer in answers}
        await becomes(database, account.owner_id, 1)
        await _allow(database, account, "submissions_per_hour", 1)
        (again,) = await crowd([client], 1, **{"Idempotency-Key": "once"})
        assert (again.status_code, again.json()["id"], again.headers["location"]) == (202, job, f"/v1/jobs/{job}")
        body = {**LONGFORM, "title": "Another"}
        mismatch = await client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "once"})
        problem(mismatch, 409, "idempotency_mismatch")
        (new,) = await crowd([client], 1, **{"Idempotency-Key": "twice"})
        problem(new, 429, "too_many_requests")
    assert await used(database, account.owner_id) == 1


async def test_every_route_that_starts_model_work_counts_and_rubbish_does_not(
    start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(background=False, limits=True, limit_submissions_per_hour=100)
    shelf = Shelf(database, api.deps.store, account.owner_id)
    first = await shelf.write()
    await shelf.write(document_id=first.document_id, parent=1)
    section = f"/v1/documents/{first.document_id}/sections/s1"
    edited = {"markdown": "The sea filled the pond [@r1]."}
    async with client_of(api.url, account) as client:
        job, asking = [answer.json()["id"] for answer in await crowd([client], 2)]
        await shelf.outline(asking)
        await ask(database, asking)
        revise = f"/v1/jobs/{asking}/outline/revise"
        nobody = "00000000-0000-7000-8000-000000000000"
        rubbish: list[tuple[str, Json, int]] = [
            ("/v1/jobs", {}, 422),
            ("/v1/jobs", {"pipeline": "none", "input": {}}, 422),
            (f"/v1/jobs/{job}/retry", {}, 409),
            (f"/v1/jobs/{nobody}/retry", {}, 404),
            (f"{section}/regenerate", {"models": ["no:such"]}, 422),
            (f"/v1/documents/{first.document_id}/sections/s9/edit", edited, 404),
            (f"/v1/documents/{nobody}/sections/s1/regenerate", {}, 404),
            (f"/v1/documents/{first.document_id}/versions/2/restore", {}, 409),
            (revise, {"instructions": ""}, 422),
            (revise, {"instructions": "Shorter.", "round": 7}, 409),
            (f"/v1/jobs/{job}/outline/revise", {"instructions": "Shorter."}, 409),
        ]
        await set_status(database, job, "running")
        for path, body, status in rubbish:
            answer = await client.post(path, json=body)
            assert answer.status_code == status, (path, answer.text)
            assert "ratelimit" not in answer.headers
        assert await used(database, account.owner_id) == 2

        await set_status(database, job, "failed")
        work: list[tuple[str, Json]] = [
            ("/v1/jobs", REVIEWED),
            (f"/v1/jobs/{job}/retry", {}),
            (f"{section}/regenerate", {}),
            (f"{section}/edit", edited),
            (f"/v1/documents/{first.document_id}/versions/1/restore", {}),
            (revise, {"instructions": "Shorter."}),
        ]
        await _allow(database, account, "submissions_per_hour", 2)
        for path, body in work:
            problem(await client.post(path, json=body), 429, "too_many_requests")
        await _allow(database, account, "submissions_per_hour", None)
        for count, (path, body) in enumerate(work, start=3):
            answer = await client.post(path, json=body)
            # Temporal is away: an answer that may have come through counts.
            assert answer.status_code == (503 if path == revise else 202), (path, answer.text)
            assert answer.headers["ratelimit"].startswith(f'"submissions";r={100 - count};t=')
            assert await used(database, account.owner_id) == count
            if answer.status_code == 202:
                await set_status(database, answer.json()["id"], "completed")


async def test_what_all_may_start_together(start_api: StartApi, account: Account, database: Database) -> None:
    api = start_api(background=False, limits=True, limit_submissions_per_hour=2, limit_all_submissions_per_hour=3)
    other = await make_account(database, "Grace Example")
    async with client_of(api.url, account) as mine, client_of(api.url, other) as theirs:
        await crowd([mine], 2)
        (let_through,) = await crowd([theirs], 1)
        assert let_through.headers["ratelimit-policy"] == '"submissions";q=2;w=3600'
        (refused,) = await crowd([theirs], 1)
        found = problem(refused, 429, "too_many_requests")
        assert found.details == {"limit": "all_submissions", "quota": 3, "seconds": HOUR}
        assert "this deployment" in found.detail
        assert refused.headers["ratelimit"] == f'"all_submissions";r=0;t={refused.headers["retry-after"]}'
        assert await used(database, other.owner_id) == 1
        # One's own comes first: it says more.
        (own,) = await crowd([mine], 1)
        assert (problem(own, 429, "too_many_requests").details or {})["limit"] == "submissions"


async def test_requests_without_credentials_are_counted_by_address(
    start_api: StartApi, account: Account, database: Database
) -> None:
    settings = {"background": False, "limits": True, "limit_anonymous_per_minute": 3}
    behind, bare = start_api(trusted_proxies="127.0.0.1", **settings), start_api(**settings)

    async def ask(url: str, address: str, path: str = "/v1/jobs", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=url, headers={"X-Forwarded-For": address, **headers}) as client:
            return await client.get(path)

    addresses = [f"2001:db8:1:2::{n}" for n in range(1, 5)]
    answers = [await ask(behind.url, address) for address in addresses]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[2].headers["ratelimit"].startswith('"anonymous";r=0;t=')
    assert (problem(answers[3], 429, "too_many_requests").details or {})["limit"] == "anonymous"
    assert 0 < int(answers[3].headers["retry-after"]) <= 2 * MINUTE
    # A neighbour's network, valid credentials, and who asks how we are.
    assert (await ask(behind.url, "2001:db8:1:3::1")).status_code == 401
    assert (await ask(behind.url, addresses[0], **account.headers)).status_code == 200
    for path in ("live", "ready", "ready", "ready", "ready"):
        assert (await ask(behind.url, addresses[0], f"/v1/health/{path}")).status_code == 200
    # Where no proxy is trusted the header is anybody's to write, also from this host.
    made_up = [(await ask(bare.url, f"198.51.100.{n}")).status_code for n in range(4)]
    assert made_up == [401, 401, 401, 429]
    found = await rows(database, "SELECT subject FROM limits WHERE name = 'anonymous' ORDER BY subject")
    assert [row["subject"] for row in found] == ["127.0.0.1", "2001:db8:1:2::/64", "2001:db8:1:3::/64"]


async def test_without_limits_nothing_is_counted(start_api: StartApi, account: Account, database: Database) -> None:
    narrow = {f"limit_{name}": 1 for name in (
        "submissions_per_hour", "all_submissions_per_hour", "jobs_at_once", "anonymous_per_minute"
    )}  # fmt: skip
    api = start_api(background=False, limits=False, **narrow)
    async with client_of(api.url, account) as client:
        answers = await crowd([client], 5)
        assert {answer.status_code for answer in answers} == {202}
        await set_status(database, answers[0].json()["id"], "failed")
        assert (await client.post(f"/v1/jobs/{answers[0].json()['id']}/retry")).status_code == 202
        denied = [await client.get("/v1/jobs", headers={"Authorization": "Bearer atl_none"}) for _ in range(3)]
        assert {answer.status_code for answer in denied} == {401}
        assert not any("ratelimit" in answer.headers for answer in (*answers, *denied))
    assert (await one(database, "SELECT count(*) FROM limits"))["count"] == 0


async def test_a_turn_is_given_back_when_there_is_no_connection(tmp_path: Path) -> None:
    settings = make_settings("postgresql://nobody:nothing@127.0.0.1:1/none", tmp_path, database_pool_size=1)
    with running(settings, background=False) as api:
        async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": "Bearer atl_key"}) as client:
            for _ in range(3):
                problem(await client.get("/v1/jobs"), 503, "database_unavailable")
        assert api.deps.turns.held == 0


async def test_health_is_looked_at_once_for_however_many() -> None:
    looks: list[Json] = []

    async def look() -> Json:
        await asyncio.sleep(0)
        looks.append({"status": "up"})
        return looks[-1]

    kept = Readiness(look, kept_seconds=3_600)
    assert await asyncio.gather(*(kept.read() for _ in range(50))) == [{"status": "up"}] * 50
    assert len(looks) == 1
    fresh = Readiness(look, kept_seconds=0)
    await fresh.read()
    await fresh.read()
    assert len(looks) == 3
