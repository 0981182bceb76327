"""What was asked of models: the calls of a job, added up, and the providers behind them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.money_schemas import CallList, UsageView
from core.db.engine import Database
from tests.api.conftest import set_status, submitted
from tests.api.ledger_rows import AT, attempt
from tests.api.test_rubbish import locs, problem
from tests.conftest import make_account

DAYS = "from=2026-11-01&to=2026-11-30"


# ---------------------------------------------------------------------------------------------- calls


async def test_a_job_that_asked_nobody(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client)
    assert (await client.get(f"/v1/jobs/{job_id}/calls")).json() == {"items": [], "next_cursor": None}


async def test_every_attempt_is_shown_with_what_it_cost(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    failed = await attempt(
        database, job_id, outcome="failed", answered=False, error_type="overloaded", error_message="Busy.", usd=0
    )
    ok = await attempt(database, job_id, attempt=2)
    lost = await attempt(database, job_id, outcome="unknown", answered=False, usd=0.02, settled_at=AT, step="plan")
    running = await attempt(database, job_id, outcome="open", answered=False, usd=None, finished_at=None)
    unpriced = await attempt(database, job_id, model="ollama:own", usd=None, reserved_usd=None, reused=True)
    found = CallList.model_validate_json((await client.get(f"/v1/jobs/{job_id}/calls")).content).items
    assert [call.id for call in found] == [failed, ok, lost, running, unpriced]
    first, second = found[0], found[1]
    assert first.error is not None
    assert (first.error.code, first.error.message, first.usd, first.price_known) == ("overloaded", "Busy.", 0.0, True)
    assert second.model_dump(mode="json", exclude={"id"}) == {
        "step": "section s1",
        "revision": 1,
        "run": 1,
        "attempt": 2,
        "model": "anthropic:claude-haiku-4-5",
        "prompt": {"name": "longform/draft_section", "version": 3, "characters": 7000},
        "outcome": "ok",
        "reused": False,
        "simulated": False,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cached_tokens": 100,
        "cache_write_tokens": 50,
        "reasoning_tokens": 20,
        "usd": 0.002,
        "price_known": True,
        "reserved_usd": 0.02,
        "settled": False,
        "latency_ms": 900,
        "first_token_ms": 300,
        "error": None,
        "started_at": "2026-11-20T12:00:00Z",
        "finished_at": "2026-11-20T12:00:00Z",
    }
    assert [call.settled for call in found] == [False, False, True, False, False]
    assert [call.price_known for call in found] == [True, True, True, True, False]
    assert (found[3].usd, found[3].finished_at) == (None, None)
    assert found[4].reused


async def test_calls_are_paged_oldest_first(client: httpx.AsyncClient, database: Database) -> None:
    job_id, other = await submitted(client), await submitted(client)
    ids = [await attempt(database, job_id, step=f"s{n}") for n in range(5)]
    await attempt(database, other)
    found: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/jobs/{job_id}/calls?limit=2{cursor}")).json()
        found += [call["id"] for call in page["items"]]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == 2
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ids
    path = f"/v1/jobs/{job_id}/calls"
    problem(await client.get(f"{path}?cursor=nonsense"), 400, "invalid_cursor")
    assert locs(problem(await client.get(f"{path}?limit=0"), 422, "invalid_request")) == ["query.limit"]
    assert locs(problem(await client.get(f"{path}?step=s1"), 422, "invalid_request")) == ["query.step"]


# ---------------------------------------------------------------------------------------------- usage


async def usage(client: httpx.AsyncClient, query: str) -> UsageView:
    response = await client.get(f"/v1/usage?{query}")
    assert response.status_code == 200, response.text
    return UsageView.model_validate_json(response.content)


async def test_usage_is_added_up_by_day_model_pipeline_and_job(client: httpx.AsyncClient, database: Database) -> None:
    tides = await submitted(client, title="Tides")
    mills = await submitted(client, title="Mills")
    await attempt(database, tides)
    await attempt(database, tides, outcome="failed", usd=0.001, started_at=AT + timedelta(days=1))
    await attempt(database, mills, model="google:gemini-2.5-flash", usd=None, reserved_usd=None)
    await attempt(database, mills, model="google:gemini-2.5-flash", usd=None, outcome="open", reserved_usd=0.03)
    await attempt(database, mills, usd=0, reused=True, input_tokens=0, output_tokens=0, simulated=True)
    await attempt(database, mills, started_at=AT - timedelta(days=60))  # before what is asked for

    by_day = await usage(client, f"{DAYS}&by=day")
    total = by_day.total
    assert [(item.key, item.calls) for item in by_day.items] == [("2026-11-21", 1), ("2026-11-20", 4)]
    assert (total.calls, total.failed_calls, total.reused_calls, total.simulated_calls) == (5, 1, 1, 1)
    assert (total.input_tokens, total.output_tokens, total.cached_tokens) == (4_000, 800, 500)
    assert (total.cache_write_tokens, total.reasoning_tokens) == (250, 100)
    assert (total.usd, total.reserved_usd, total.unpriced_calls) == (0.003, 0.03, 1)

    by_model = await usage(client, f"{DAYS}&by=model")
    assert [(item.key, item.calls, item.usd, item.unpriced_calls) for item in by_model.items] == [
        ("anthropic:claude-haiku-4-5", 3, 0.003, 0),
        ("google:gemini-2.5-flash", 2, 0.0, 1),
    ]
    assert [(item.key, item.calls) for item in (await usage(client, f"{DAYS}&by=pipeline")).items] == [("longform", 5)]
    by_job = await usage(client, f"{DAYS}&by=job")
    assert [(item.key, item.title, item.calls) for item in by_job.items] == [(mills, "Mills", 3), (tides, "Tides", 2)]
    assert by_job.total == by_model.total == total


async def test_what_a_deleted_job_cost_stays(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client, title="Secret plans")
    await attempt(database, job_id)
    await set_status(database, job_id, "failed")
    before = await usage(client, DAYS)
    assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert await usage(client, DAYS) == before
    (item,) = (await usage(client, f"{DAYS}&by=job")).items
    assert (item.key, item.title, item.usd) == (job_id, None, 0.002)
    problem(await client.get(f"/v1/jobs/{job_id}/calls"), 404, "not_found")


async def test_days_are_those_of_utc_and_both_ends_count(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    for at in ("2026-11-20T23:59:59.999999Z", "2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z"):
        await attempt(database, job_id, started_at=datetime.fromisoformat(at))
    found = await usage(client, "from=2026-11-21&to=2026-11-21")
    assert [(item.key, item.calls) for item in found.items] == [("2026-11-21", 2)]
    assert found.total.calls == 2


async def test_without_days_it_is_the_last_thirty(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    now = datetime.now(UTC)
    await attempt(database, job_id, started_at=now)
    await attempt(database, job_id, started_at=now - timedelta(days=31))
    found = await usage(client, "")
    assert (found.by, found.last - found.first, found.total.calls) == ("day", timedelta(days=29), 1)


@pytest.mark.parametrize("by", ["day", "model", "pipeline", "job"])
async def test_usage_is_paged(client: httpx.AsyncClient, database: Database, by: str) -> None:
    for number in range(5):
        job_id = await submitted(client)
        day = AT + timedelta(days=number)
        model, pipeline = f"google:gemini-{number}", f"longform{number}"
        await attempt(database, job_id, started_at=day, model=model, pipeline=pipeline)
    whole = (await client.get(f"/v1/usage?{DAYS}&by={by}")).json()
    assert len(whole["items"]) == 5
    assert whole["next_cursor"] is None
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/usage?{DAYS}&by={by}&limit=2{cursor}")).json()
        assert page["total"] == whole["total"]
        found += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == whole["items"]


async def test_another_owners_usage_is_theirs(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    await attempt(database, job_id)
    stranger = await make_account(database, "Bob Example")
    for by in ("day", "job"):
        found = (await client.get(f"/v1/usage?{DAYS}&by={by}", headers=stranger.headers)).json()
        assert (found["items"], found["total"]["calls"]) == ([], 0)
    problem(await client.get(f"/v1/jobs/{job_id}/calls", headers=stranger.headers), 404, "not_found")


async def test_usage_that_is_refused(client: httpx.AsyncClient) -> None:
    for query, where, status, code in [
        ("by=hour", "query.by", 422, "invalid_request"),
        ("from=yesterday", "query.from", 422, "invalid_request"),
        ("from=1699920000", "query.from", 422, "invalid_request"),
        ("from=2026-11-21T00:00:00Z", "query.from", 422, "invalid_request"),
        ("from=1999-12-31", "query.from", 422, "invalid_request"),
        ("to=9999-12-31", "query.to", 422, "invalid_request"),
        ("from=2026-11-22&to=2026-11-21", "query.from", 422, "invalid_request"),
        ("from=2025-11-20&to=2026-11-21", "query.from", 422, "invalid_request"),
        ("first=2026-11-21", "query.first", 422, "invalid_request"),
        ("owner=me", "query.owner", 422, "invalid_request"),
        ("limit=201", "query.limit", 422, "invalid_request"),
        ("cursor=%00", "", 400, "invalid_cursor"),
        ("cursor=gA", "", 400, "invalid_cursor"),  # not UTF-8
        ("cursor=AGE", "", 400, "invalid_cursor"),  # a NUL
        ("cursor=", "", 400, "invalid_cursor"),
        ("cursor=" + "YWFh" * 2_000, "", 400, "invalid_cursor"),
    ]:
        found = problem(await client.get(f"/v1/usage?{query}"), status, code)
        if where:
            assert locs(found) == [where], query
    assert (await client.get("/v1/usage?from=2025-11-21&to=2026-11-21")).status_code == 200
