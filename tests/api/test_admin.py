"""What admins see of everybody and set for them, and that nobody's content is in it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.admin_schemas import (
    AdminAccountList,
    AdminAccountView,
    AdminProviderList,
    AdminUsageView,
    LimitList,
)
from api.app import create_app
from api.people_schemas import AuditList
from core.contracts.errors import AtelierError
from core.contracts.people import Role
from core.db.engine import Database
from core.db.repositories.admin import AdminRepository
from tests.api.conftest import Api, StartApi, make_settings, set_status
from tests.api.ledger_rows import attempt
from tests.api.test_rubbish import locs, problem
from tests.api.written import Shelf, an_article
from tests.conftest import Account, make_account
from tests.support.rows import one, rows

WORD = "Quokkasaurus"
"""In all that the user of these tests sent or was given, and nowhere else."""


async def make_admin(database: Database, name: str) -> Account:
    """An admin with a key."""
    account = await make_account(database, name)
    await rows(database, "UPDATE owners SET role = 'admin' WHERE id = :id RETURNING id", id=account.owner_id)
    return account


@pytest_asyncio.fixture
async def boss(database: Database) -> Account:
    return await make_admin(database, "Grace Example")


@pytest_asyncio.fixture
async def admin(api: Api, boss: Account) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an admin's key."""
    async with httpx.AsyncClient(base_url=api.url, headers=boss.headers, timeout=20) as client:
        yield client


async def read(client: httpx.AsyncClient, path: str, **query: Any) -> bytes:
    response = await client.get(f"/v1/admin/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.content


async def submit(client: httpx.AsyncClient, **more: Any) -> str:
    body = {"pipeline": "longform", "input": {"topic": f"The {WORD}"}, "title": f"On the {WORD}", "tags": [WORD]}
    response = await client.post("/v1/jobs", json={**body, **more})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


# ---------------------------------------------------------------------------------------------- what is not theirs


async def test_nothing_that_a_user_wrote_is_in_an_admins_reach(
    api: Api, admin: httpx.AsyncClient, client: httpx.AsyncClient, account: Account, database: Database, shelf: Shelf
) -> None:
    job_id = await submit(client)
    await attempt(
        database, job_id, step=f"section {WORD}", started_at=datetime.now(UTC), outcome="failed",
        error_type="overloaded", error_message=f"Cannot write of the {WORD}",
        refused_answer=WORD, refused_because=[WORD],
    )  # fmt: skip
    version = await shelf.write(an_article(title=f"On the {WORD}"))
    assert (await client.patch(f"/v1/jobs/{job_id}", json={"title": f"{WORD}s"})).status_code == 200
    await shelf.outline(job_id)
    artifact = await one(database, "SELECT id FROM artifacts WHERE owner_id = :id LIMIT 1", id=account.owner_id)
    for path in (f"jobs/{job_id}", f"documents/{version.document_id}", f"artifacts/{artifact['id']}"):
        assert (await client.get(f"/v1/{path}")).status_code == 200, path
        problem(await admin.get(f"/v1/{path}"), 404, "not_found")

    operations = create_app(make_settings("postgresql://nobody@localhost/none", Path())).openapi()["paths"]
    reading = [path for path, methods in operations.items() if path.startswith("/v1/admin") and "get" in methods]
    assert len(reading) >= 6
    told = ""
    for path in reading:
        response = await admin.get(path.replace("{account_id}", account.owner_id))
        assert response.status_code == 200, response.text
        told += response.text
    for by in ("day", "model", "pipeline", "account"):
        told += (await admin.get("/v1/admin/usage", params={"by": by})).text
    told += (await admin.get("/v1/admin/audit", params={"account": account.owner_id})).text
    told += (await admin.patch(f"/v1/admin/accounts/{account.owner_id}", json={"jobs_at_once": 3})).text
    assert job_id in told, "the audit log names it"
    assert WORD.lower() not in told.lower()


def test_only_the_admin_routes_reach_everybody() -> None:
    routers = (Path(__file__).parents[2] / "api/routers").glob("*.py")
    assert [path.name for path in routers if "everybody" in path.read_text()] == ["admin.py"]


async def test_users_are_refused(client: httpx.AsyncClient, account: Account) -> None:
    for path in ("accounts", "usage", "providers", "limits", "audit", f"accounts/{account.owner_id}"):
        problem(await client.get(f"/v1/admin/{path}"), 403, "admin_needed")
    problem(await client.patch(f"/v1/admin/accounts/{account.owner_id}", json={"role": "admin"}), 403, "admin_needed")
    problem(await client.post("/v1/admin/providers/anthropic/resume"), 403, "admin_needed")


# ---------------------------------------------------------------------------------------------- accounts


async def test_accounts_are_listed_and_changed(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, account: Account, boss: Account, database: Database
) -> None:
    await submit(client)
    await rows(
        database,
        "INSERT INTO spending (owner_id, month, spent_usd) "
        "VALUES (:id, date_trunc('month', now() AT TIME ZONE 'UTC'), 1.25) RETURNING 1",
        id=account.owner_id,
    )
    await rows(
        database,
        "UPDATE api_keys SET last_used_at = '2026-11-20T10:00Z' WHERE owner_id = :id RETURNING 1",
        id=account.owner_id,
    )
    first = AdminAccountList.model_validate_json(await read(admin, "accounts", limit=1))
    second = AdminAccountList.model_validate_json(await read(admin, "accounts", limit=1, cursor=first.next_cursor))
    assert second.next_cursor is None
    found = {one.id: one for page in (first, second) for one in page.items}
    assert {one.name: one.role for one in found.values()} == {"Ada Example": "user", "Grace Example": "admin"}
    ada = found[account.owner_id]
    assert (ada.jobs, ada.spent_this_month_usd, ada.email) == (1, 1.25, None)
    assert ada.last_used_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert ada.limits.model_dump() == {"submissions_per_hour": None, "jobs_at_once": None, "monthly_usd": None}

    path = f"/v1/admin/accounts/{account.owner_id}"
    changes = {"role": "admin", "submissions_per_hour": 7, "jobs_at_once": 2, "monthly_usd": 1}
    changed = AdminAccountView.model_validate_json((await admin.patch(path, json=changes)).content)
    assert (changed.role, changed.limits.submissions_per_hour, changed.limits.jobs_at_once) == ("admin", 7, 2)
    # What was spent stays within this month's budget; the months to come have what was asked for.
    assert changed.limits.monthly_usd == 1
    assert (await client.get("/v1/me/budget")).json()["monthly_usd"] == 1.25
    # What is left out stays; null is the setting again.
    back = await admin.patch(path, json={"submissions_per_hour": None, "role": "user"})
    assert back.json()["limits"] == {"submissions_per_hour": None, "jobs_at_once": 2, "monthly_usd": 1.0}
    problem(await client.get("/v1/admin/accounts"), 403, "admin_needed")

    # The owner reads who did that.
    lines = await rows(
        database, "SELECT * FROM audit WHERE owner_id = :id AND actor_id <> :id ORDER BY id", id=account.owner_id
    )
    assert [(line["action"], str(line["actor_id"]), line["details"]) for line in lines] == [
        ("account.changed_by_admin", boss.owner_id, {**changes, "monthly_usd": 1.0}),
        ("account.changed_by_admin", boss.owner_id, {"submissions_per_hour": None, "role": "user"}),
    ]


async def test_an_account_is_made_for_somebody(start_api: StartApi, boss: Account, database: Database) -> None:
    api = start_api(background=False, registration="closed")
    given = {"email": "Edith@Example.com", "name": "Edith Example", "password": "planted tide mill"}
    async with httpx.AsyncClient(base_url=api.url, headers=boss.headers, timeout=20) as admin:
        response = await admin.post("/v1/admin/accounts", json=given)
        assert response.status_code == 201, response.text
        made = AdminAccountView.model_validate_json(response.content)
        assert (made.email, made.role, made.jobs, made.last_used_at) == ("Edith@example.com", "user", 0, None)
        problem(await admin.post("/v1/admin/accounts", json=given), 409, "email_taken")
        weak = {**given, "email": "e@example.com", "password": "Password123"}
        assert locs(problem(await admin.post("/v1/admin/accounts", json=weak), 422, "invalid_request")) == ["password"]
        wrong = {"email": "nobody", "name": " ", "password": "short", "role": "root"}
        assert set(locs(problem(await admin.post("/v1/admin/accounts", json=wrong), 422, "invalid_request"))) == set(
            wrong
        )
        login = {"email": "edith@example.com", "password": given["password"]}
        assert (await admin.post("/v1/auth/login", json=login)).status_code == 200
    lines = await rows(
        database, "SELECT action, resource FROM audit WHERE actor_id = :id ORDER BY id", id=boss.owner_id
    )
    assert [tuple(line.values()) for line in lines] == [
        ("account.created_by_admin", f"accounts/{made.id}"),
        ("admin.create", f"admin/accounts/{made.id}"),
    ]


async def test_what_an_account_cannot_have(admin: httpx.AsyncClient, account: Account, database: Database) -> None:
    path = f"/v1/admin/accounts/{account.owner_id}"
    wrong = {"role": "owner", "submissions_per_hour": 0, "jobs_at_once": True, "monthly_usd": "1", "name": "x"}
    assert set(locs(problem(await admin.patch(path, json=wrong), 422, "invalid_request"))) == set(wrong)
    problem(await admin.patch(path, json={"role": None}), 422, "invalid_request")
    for unknown in (str(uuid.uuid4()), "ada"):
        problem(await admin.get(f"/v1/admin/accounts/{unknown}"), 404, "not_found")
        for body in ({"jobs_at_once": 1}, {"role": "admin"}, {}):
            problem(await admin.patch(f"/v1/admin/accounts/{unknown}", json=body), 404, "not_found")
    await rows(database, "UPDATE owners SET erasing_at = now() WHERE id = :id RETURNING 1", id=account.owner_id)
    problem(await admin.get(path), 404, "not_found")


async def test_admin_and_owner_change_the_same_account_at_once(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, account: Account
) -> None:
    # Both lock jobs, the month and the owner's row: in one order, or one of them would be refused as a deadlock.
    path, body = f"/v1/admin/accounts/{account.owner_id}", {"jobs_at_once": 3, "monthly_usd": 5, "role": "user"}
    await submit(client)
    answers = await asyncio.gather(
        *(one for _ in range(15) for one in (
            admin.patch(path, json=body),
            client.put("/v1/me/budget", json={"monthly_usd": 7}),
            client.put("/v1/me/budget", json={"monthly_usd": 9}),
        ))
    )  # fmt: skip
    assert {answer.status_code for answer in answers} == {200}


async def test_limits_that_are_raised_beyond_all_bounds(start_api: StartApi, boss: Account) -> None:
    api = start_api(background=False, limits=True, limit_submissions_per_hour=3_000_000_000)
    async with httpx.AsyncClient(base_url=api.url, headers=boss.headers) as client:
        await submit(client)
        found = await client.get("/v1/admin/limits")
        assert found.status_code == 200, found.text


async def test_there_is_always_an_admin(admin: httpx.AsyncClient, boss: Account, database: Database) -> None:
    own = f"/v1/admin/accounts/{boss.owner_id}"
    problem(await admin.patch(own, json={"role": "user"}), 409, "invalid_state")
    problem(await admin.request("DELETE", "/v1/me", json={}), 409, "invalid_state")
    assert (await admin.get("/v1/admin/accounts")).status_code == 200
    other = await make_admin(database, "Edsger Example")

    async def demote(account: Account) -> None:
        async with database.transaction() as connection:
            await AdminRepository(connection).change(account.owner_id, {"role": Role.USER})

    # Of two who demote each other at the same moment the second waits for the first, and is then the last.
    async with database.transaction() as connection:
        await AdminRepository(connection).change(other.owner_id, {"role": Role.USER})
        second = asyncio.create_task(demote(boss))
        while not second.done() and not await rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(AtelierError, match="last admin"):
        await second


# ---------------------------------------------------------------------------------------------- figures


async def test_everybodys_usage_is_added_up(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, account: Account, boss: Account, database: Database
) -> None:
    ada, grace = await submit(client), await submit(admin)
    now = datetime.now(UTC)
    await attempt(database, ada, started_at=now, usd=0.5)
    await attempt(database, grace, started_at=now, usd=0.25, model="google:gemini-2.5-flash")
    gone = str(uuid.uuid4())
    await attempt(database, ada, started_at=now - timedelta(days=3), usd=1)
    await rows(database, "UPDATE attempts SET owner_id = :gone, detached = true WHERE usd = 1 RETURNING 1", gone=gone)

    by_account = AdminUsageView.model_validate_json(await read(admin, "usage", by="account"))
    assert (by_account.total.calls, by_account.total.usd, by_account.total.input_tokens) == (3, 1.75, 3_000)
    assert {one.key: (one.name, one.usd) for one in by_account.items} == {
        account.owner_id: ("Ada Example", 0.5),
        boss.owner_id: ("Grace Example", 0.25),
        gone: (None, 1.0),
    }
    by_model = AdminUsageView.model_validate_json(await read(admin, "usage", by="model", limit=1))
    assert [one.key for one in by_model.items] == ["anthropic:claude-haiku-4-5"]
    rest = AdminUsageView.model_validate_json(
        await read(admin, "usage", by="model", limit=1, cursor=by_model.next_cursor)
    )
    assert [(one.key, one.usd) for one in rest.items] == [("google:gemini-2.5-flash", 0.25)]
    today = AdminUsageView.model_validate_json(await read(admin, "usage", **{"from": f"{now:%Y-%m-%d}"}))
    assert [(one.key, one.calls) for one in today.items] == [(f"{now:%Y-%m-%d}", 2)]
    problem(await admin.get("/v1/admin/usage?by=job"), 422, "invalid_request")


async def test_providers_and_the_end_of_a_cooldown(
    start_api: StartApi, boss: Account, client: httpx.AsyncClient, database: Database
) -> None:
    job_id, at = await submit(client), datetime.now(UTC) - timedelta(minutes=5)
    await attempt(database, job_id, started_at=at, finished_at=at)
    later = at + timedelta(minutes=1)
    failed = {"outcome": "failed", "answered": False, "error_type": "overloaded", "error_message": "x"}
    await attempt(database, job_id, started_at=later, finished_at=later, **failed)
    await rows(
        database,
        "INSERT INTO cooldowns (provider, failures, until, error_type) "
        "VALUES ('anthropic', 6, now() + interval '1 minute', 'overloaded') RETURNING 1",
    )
    api = start_api(background=False, anthropic_api_key="sk-ant-planted")
    async with httpx.AsyncClient(base_url=api.url, headers=boss.headers, timeout=20) as admin:

        async def claude() -> Any:
            listed = AdminProviderList.model_validate_json(await read(admin, "providers")).items
            assert [one.name for one in listed] == ["anthropic", "google", "ollama", "simulator"]
            return listed[0]

        before = await claude()
        assert (before.calls, before.failed_calls, before.failures_in_a_row) == (2, 1, 6)
        assert before.cooling_down_until is not None
        assert (before.reachable, before.last_error.code, before.last_error.at) == (False, "overloaded", later)
        assert (await admin.post("/v1/admin/providers/anthropic/resume")).status_code == 204
        after = await claude()
        assert (after.cooling_down_until, after.failures_in_a_row) == (None, 0)
        problem(await admin.post("/v1/admin/providers/openai/resume"), 404, "not_found")
    assert (await one(database, "SELECT action, resource FROM audit WHERE actor_id = :id", id=boss.owner_id)) == {
        "action": "admin.resume",
        "resource": "admin/providers/anthropic",
    }


async def test_limits_tell_who_is_near_them(
    start_api: StartApi, account: Account, boss: Account, database: Database
) -> None:
    api = start_api(
        background=False, limits=True, limit_submissions_per_hour=4, limit_jobs_at_once=5, limit_anonymous_per_minute=1
    )
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as nobody:
        assert (await nobody.get("/v1/jobs")).status_code == 401
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        jobs = [await submit(client) for _ in range(4)]
        problem(
            await client.post("/v1/jobs", json={"pipeline": "longform", "input": {"topic": "Tides"}}),
            429,
            "too_many_requests",
        )
        await set_status(database, jobs[0], "completed")
    async with httpx.AsyncClient(base_url=api.url, headers=boss.headers, timeout=20) as admin:
        assert (
            await admin.patch(f"/v1/admin/accounts/{account.owner_id}", json={"jobs_at_once": 3})
        ).status_code == 200
        found = LimitList.model_validate_json(await read(admin, "limits"))
        assert (await admin.patch(f"/v1/admin/accounts/{account.owner_id}", json={"submissions_per_hour": 5})).json()
        raised = LimitList.model_validate_json(await read(admin, "limits"))
    assert found.enabled
    limits = {one.name: one for one in found.items}
    submissions = limits["submissions"]
    assert (submissions.quota, submissions.seconds, submissions.subjects, submissions.highest) == (4, 3600, 1, 4)
    assert (submissions.near, submissions.reached) == (0, 1)
    (ada,) = submissions.accounts
    assert (ada.account_id, ada.name, ada.used, ada.quota) == (account.owner_id, "Ada Example", 4, 4)
    at_once = limits["jobs_at_once"]
    assert (at_once.quota, at_once.seconds, at_once.reached) == (5, None, 1)
    assert [(one.used, one.quota) for one in at_once.accounts] == [(3, 3)]
    assert (limits["all_submissions"].highest, limits["all_submissions"].accounts) == (4, [])
    # Addresses are counted and not told.
    assert (limits["anonymous"].reached, limits["anonymous"].accounts) == (1, [])
    assert "127.0.0.1" not in found.model_dump_json()
    submissions = {one.name: one for one in raised.items}["submissions"]
    assert (submissions.near, submissions.reached, submissions.accounts[0].quota) == (1, 0, 5)


async def test_the_audit_log_of_all_and_of_one(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, account: Account, boss: Account
) -> None:
    await submit(client)
    await submit(admin)
    everything = AuditList.model_validate_json(await read(admin, "audit"))
    assert {line.account_id for line in everything.items} == {account.owner_id, boss.owner_id}
    page = AuditList.model_validate_json(await read(admin, "audit", account=account.owner_id, limit=1))
    (line,) = page.items
    assert (line.actor_id, line.via, line.action, line.ip) == (account.owner_id, "key", "jobs.submit", "127.0.0.1")
    assert line.resource.startswith("jobs")
    assert page.next_cursor is None
    # Where the admin sits is not told to the account's owner; what was done is.
    assert (await admin.patch(f"/v1/admin/accounts/{account.owner_id}", json={"jobs_at_once": 3})).status_code == 200
    told = AuditList.model_validate_json((await client.get("/v1/me/audit?limit=1")).text).items[0]
    assert (told.action, told.actor_id) == ("account.changed_by_admin", boss.owner_id)
    assert (told.ip, told.via_id, told.request_id) == (None, None, None)
    problem(await admin.get("/v1/admin/audit?account=ada"), 404, "not_found")
    problem(await admin.get("/v1/admin/audit?cursor=x"), 400, "invalid_cursor")
