"""Budgets by REST: of a job, raised once for each request, and of the month."""

import asyncio
from datetime import UTC, datetime

import httpx
from sqlalchemy import text

from api.money_schemas import MonthView
from api.schemas import JobView
from core.contracts.base import Json
from core.db.engine import Database
from tests.api.conftest import LONGFORM, StartApi, counts, set_status, submitted
from tests.api.test_rubbish import UNKNOWN, locs, problem
from tests.conftest import Account, make_account
from tests.support.rows import one, rows

BUDGETED = {**LONGFORM, "budget_usd": 0.25}


async def test_a_budget_is_shown_beside_the_estimate_and_the_cost(
    client: httpx.AsyncClient, database: Database
) -> None:
    response = await client.post("/v1/jobs", json=BUDGETED)
    job = JobView.model_validate_json(response.content)
    cost = job.cost
    assert (cost.usd, cost.budget_usd, cost.reserved_usd, cost.minutes) == (0.0, 0.25, 0.0, None)
    assert cost.estimate is not None
    assert (cost.estimate.model, cost.estimate.usd) == ("simulator:composer", 0.0)
    assert cost.estimate.calls > 5
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE jobs SET cost_usd = 0.2, reserved_usd = 0.01, started_at = now() - interval '90 seconds', "
                "finished_at = now() WHERE id = :id"
            ),
            {"id": job.id},
        )
    after = JobView.model_validate_json((await client.get(f"/v1/jobs/{job.id}")).content).cost
    assert (after.usd, after.reserved_usd, after.minutes, after.estimate) == (0.2, 0.01, 1.5, cost.estimate)


async def test_a_budget_belongs_to_the_request(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = await client.post("/v1/jobs", json=BUDGETED, headers=key)
    again = await client.post("/v1/jobs", json={**BUDGETED, "budget_usd": 0.250}, headers=key)
    assert again.json() == first.json()
    for other in (LONGFORM, {**LONGFORM, "budget_usd": 0.26}):
        problem(await client.post("/v1/jobs", json=other, headers=key), 409, "idempotency_mismatch")


async def test_a_budget_needs_known_prices(start_api: StartApi, database: Database, account: Account) -> None:
    api = start_api(background=False, anthropic_api_key="k", anthropic_model="claude-of-tomorrow")
    before = await counts(database)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        found = problem(await client.post("/v1/jobs", json=BUDGETED), 422, "price_unknown")
        assert found.details == {"models": ["anthropic:claude-of-tomorrow"]}
        assert await counts(database) == before
        priced = {**BUDGETED, "models": ["anthropic:claude-haiku-4-5"]}
        assert (await client.post("/v1/jobs", json=priced)).status_code == 202
        mixed = {**BUDGETED, "models": ["anthropic:claude-haiku-4-5", "anthropic:claude-of-tomorrow"]}
        problem(await client.post("/v1/jobs", json=mixed), 422, "price_unknown")
        unlimited = await client.post("/v1/jobs", json=LONGFORM)
        assert (unlimited.status_code, unlimited.json()["cost"]["estimate"]["usd"]) == (202, None)


# ---------------------------------------------------------------------------------------------- raising


async def budget_of(client: httpx.AsyncClient, job_id: str) -> float | None:
    return JobView.model_validate_json((await client.get(f"/v1/jobs/{job_id}")).content).cost.budget_usd


async def test_raising_adds_and_wakes_the_job(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client, budget_usd=0.25)
    await set_status(database, job_id, "waiting_for_budget")
    state = "SELECT control_seq, budget_raises FROM jobs"
    before = await one(database, state)
    response = await client.post(f"/v1/jobs/{job_id}/budget", json={"add_usd": 0.1})
    assert response.status_code == 202
    assert JobView.model_validate_json(response.content).cost.budget_usd == 0.35
    after = await one(database, state)
    assert after == {"control_seq": before["control_seq"] + 1, "budget_raises": before["budget_raises"] + 1}
    (event,) = await rows(database, "SELECT data FROM events WHERE type = 'job.budget_raised'")
    assert event["data"] == {"add_usd": 0.1, "budget_usd": 0.35}


async def test_one_key_adds_once(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client, budget_usd=1)
    path, key = f"/v1/jobs/{job_id}/budget", {"Idempotency-Key": "more"}
    answers = await asyncio.gather(*(client.post(path, json={"add_usd": 0.5}, headers=key) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert await budget_of(client, job_id) == 1.5
    before = await counts(database)
    problem(await client.post(path, json={"add_usd": 0.6}, headers=key), 409, "idempotency_mismatch")
    assert await counts(database) == before
    # Also when it has ended meanwhile: it was done.
    await set_status(database, job_id, "completed")
    assert (await client.post(path, json={"add_usd": 0.5}, headers=key)).status_code == 202
    assert await budget_of(client, job_id) == 1.5


async def test_without_a_key_each_adds(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client, budget_usd=1)
    path = f"/v1/jobs/{job_id}/budget"
    await asyncio.gather(*(client.post(path, json={"add_usd": 0.1}) for _ in range(10)))
    assert await budget_of(client, job_id) == 2.0


async def test_raises_that_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    job_id, free, ended = [await submitted(client, **more) for more in ({"budget_usd": 1}, {}, {"budget_usd": 1})]
    await set_status(database, ended, "completed")
    stranger = await make_account(database, "Bob Example")
    before = await counts(database)
    bodies: tuple[Json, ...] = (
        {},
        {"add_usd": 0},
        {"add_usd": -1},
        {"add_usd": "1"},
        {"add_usd": None},
        {"add_usd": 1e-9},
        {"usd": 1},
    )
    for body in bodies:
        found = problem(await client.post(f"/v1/jobs/{job_id}/budget", json=body), 422, "invalid_request")
        assert set(locs(found)) <= {"add_usd", "usd"}, body
    more = {"add_usd": 1}
    for one_of in (free, ended):
        problem(await client.post(f"/v1/jobs/{one_of}/budget", json=more), 409, "invalid_state")
    for wrong in (UNKNOWN, "nonsense"):
        problem(await client.post(f"/v1/jobs/{wrong}/budget", json=more), 404, "not_found")
    theirs = await client.post(f"/v1/jobs/{job_id}/budget", json=more, headers=stranger.headers)
    problem(theirs, 404, "not_found")
    problem(await client.post(f"/v1/jobs/{job_id}/budget?force=1", json=more), 422, "invalid_request")
    assert await counts(database) == before


# ---------------------------------------------------------------------------------------------- the month


async def month_of(client: httpx.AsyncClient) -> MonthView:
    return MonthView.model_validate_json((await client.get("/v1/me/budget")).content)


async def spent(database: Database, account: Account, usd: float, reserved: float) -> None:
    """This month's calls have cost so much, and hold so much."""
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO spending (owner_id, month, spent_usd, reserved_usd) "
                "VALUES (:owner, date_trunc('month', now() AT TIME ZONE 'UTC')::date, :spent, :reserved)"
            ),
            {"owner": account.owner_id, "spent": usd, "reserved": reserved},
        )


async def test_a_month_without_a_budget(client: httpx.AsyncClient) -> None:
    month = await month_of(client)
    assert (month.monthly_usd, month.spent_usd, month.reserved_usd, month.left_usd) == (None, 0.0, 0.0, None)
    now = datetime.now(UTC)
    assert month.month in {now.strftime("%Y-%m"), datetime.now(UTC).strftime("%Y-%m")}
    assert month.ends_at > now
    assert (month.ends_at.day, month.ends_at.hour) == (1, 0)


async def test_the_months_budget_is_set_and_taken_away(
    client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    await spent(database, account, 1.5, 0.25)
    waiting = await submitted(client)
    await set_status(database, waiting, "waiting_for_budget")
    set_to = await client.put("/v1/me/budget", json={"monthly_usd": 2})
    assert (set_to.status_code, set_to.json()) == (200, (await client.get("/v1/me/budget")).json())
    assert (set_to.json()["monthly_usd"], set_to.json()["left_usd"]) == (2.0, 0.25)
    raises = "SELECT budget_raises FROM jobs"
    before = (await one(database, raises))["budget_raises"]
    assert (await client.put("/v1/me/budget", json={"monthly_usd": 5})).json()["left_usd"] == 3.25
    assert (await one(database, raises))["budget_raises"] == before + 1
    assert (await client.put("/v1/me/budget", json={"monthly_usd": None})).json()["left_usd"] is None
    stranger = await make_account(database, "Bob Example")
    await client.put("/v1/me/budget", json={"monthly_usd": 2})
    assert (await client.get("/v1/me/budget", headers=stranger.headers)).json()["monthly_usd"] is None


async def test_months_that_are_refused(client: httpx.AsyncClient, database: Database, account: Account) -> None:
    await spent(database, account, 1.5, 0.25)
    before = (await client.get("/v1/me/budget")).json()
    for body in ({}, {"monthly_usd": -1}, {"monthly_usd": "5"}, {"monthly_usd": 1e9}, {"monthly_usd": 5, "add": 1}):
        problem(await client.put("/v1/me/budget", json=body), 422, "invalid_request")
    problem(await client.get("/v1/me/budget?month=2026-10"), 422, "invalid_request")
    assert (await client.get("/v1/me/budget")).json() == before


async def test_a_month_is_not_set_below_what_is_gone(
    client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    await spent(database, account, 1.5, 0.25)
    month = (await client.put("/v1/me/budget", json={"monthly_usd": 1.7})).json()
    assert (month["monthly_usd"], month["left_usd"]) == (1.75, 0.0)
    # The next one has what was asked for.
    assert (await one(database, "SELECT monthly_budget_usd::float AS usd FROM owners"))["usd"] == 1.7


async def test_money_needs_a_key(client: httpx.AsyncClient) -> None:
    anonymous = {"Authorization": ""}
    for method, path in [
        ("GET", "/v1/me/budget"),
        ("PUT", "/v1/me/budget"),
        ("POST", f"/v1/jobs/{UNKNOWN}/budget"),
        ("POST", "/v1/estimates"),
        ("GET", "/v1/usage"),
        ("GET", "/v1/providers"),
    ]:
        problem(await client.request(method, path, headers=anonymous), 401, "unauthenticated")
