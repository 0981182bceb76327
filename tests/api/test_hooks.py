"""Webhooks at the API: made, changed, rotated, tested, and delivered again."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from api.hook_schemas import DeliveryList, DeliveryView, HookList, HookView, NewHookView, SigningSecretView
from core.contracts.jobs import FinishJob, JobStatus
from core.contracts.names import OWNER_ATTRIBUTE, workflow_id
from core.contracts.webhooks import DELIVERY
from core.db.engine import Database
from core.db.repositories.runs import RunRepository
from core.temporal import connect
from tests.api.conftest import LONGFORM, Api, StartApi, submitted
from tests.api.people import audit
from tests.api.test_rubbish import UNKNOWN, locs, problem
from tests.conftest import Account, Namespace, make_account
from tests.support.receiver import Receiver
from tests.support.rows import execute, one, rows, waiting_for_locks
from tests.support.stack import eventually

URL = "https://museum.example.com/hooks"
EVENTS = ["job.completed", "job.failed"]
"""What a webhook is told, unless a test says something else."""


@pytest.fixture
def api(start_api: StartApi) -> Api:
    """An API that lets receivers have addresses on this machine."""
    return start_api(background=False, fetch_allowed_hosts="127.0.0.1:5999")


async def made(client: httpx.AsyncClient, **fields: object) -> NewHookView:
    response = await client.post("/v1/hooks", json={"url": URL, "events": EVENTS, **fields})
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return NewHookView.model_validate_json(response.content)


async def listed(client: httpx.AsyncClient, query: str = "") -> HookList:
    response = await client.get(f"/v1/hooks{query}")
    assert response.status_code == 200, response.text
    return HookList.model_validate_json(response.content)


async def deliveries(client: httpx.AsyncClient, path: str) -> list[DeliveryView]:
    response = await client.get(f"/v1/{path}/deliveries")
    assert response.status_code == 200, response.text
    return DeliveryList.model_validate_json(response.content).items


async def finish(database: Database, job_id: str) -> None:
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=job_id, run=1, status=JobStatus.CANCELLED))


async def test_a_webhook_from_its_making_to_its_end(
    client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    hook = await made(client, description="the website", events=[*EVENTS, "job.failed"])
    assert hook.secret.startswith("whsec_")
    assert (hook.url, hook.events, hook.active, hook.disabled_at) == (URL, EVENTS, True, None)
    other = await made(client, active=False)
    assert [seen.id for seen in (await listed(client)).items] == [other.id, hook.id]
    page = await listed(client, "?limit=1")
    assert [seen.id for seen in (await listed(client, f"?limit=1&cursor={page.next_cursor}")).items] == [hook.id]
    changed = await client.patch(f"/v1/hooks/{hook.id}", json={"url": f"{URL}/2", "events": ["job.waiting"]})
    assert (changed.json()["url"], changed.json()["events"]) == (f"{URL}/2", ["job.waiting"])
    assert changed.json()["description"] == "the website"
    rotated = await client.post(f"/v1/hooks/{hook.id}/rotate")
    assert rotated.headers["cache-control"] == "no-store"
    again = NewHookView.model_validate_json(rotated.content)
    assert again.secret != hook.secret
    assert again.previous_secret_until is not None
    shown = [await client.get(path) for path in ("/v1/hooks", f"/v1/hooks/{hook.id}", "/v1/me/audit")]
    assert not any(secret in answer.text for answer in (*shown, changed) for secret in (hook.secret, again.secret))
    assert HookView.model_validate_json(shown[1].content) == HookView(**again.model_dump(exclude={"secret"}))
    assert (await client.delete(f"/v1/hooks/{hook.id}")).status_code == 204
    problem(await client.get(f"/v1/hooks/{hook.id}"), 404, "not_found")
    actions = [line.action for line in await audit(client, account.headers)]
    assert actions == ["hooks.delete", "hooks.rotate", "hooks.change", "hooks.create", "hooks.create"]
    logged = await rows(database, "SELECT * FROM audit")
    assert "whsec_" not in str(logged)


async def test_one_that_was_disabled_says_why_and_can_be_switched_on(
    client: httpx.AsyncClient, database: Database
) -> None:
    hook = await made(client)
    await execute(
        database,
        "UPDATE webhooks SET failing_since = now(), disabled_at = now(), disabled_because = 'Nothing got through.'",
    )
    (seen,) = (await listed(client)).items
    assert seen.disabled_at is not None
    assert seen.disabled_because == "Nothing got through."
    still = await client.patch(f"/v1/hooks/{hook.id}", json={"description": "x"})
    assert still.json()["disabled_at"] is not None
    works = await client.patch(f"/v1/hooks/{hook.id}", json={"active": True})
    assert [works.json()[name] for name in ("disabled_at", "disabled_because", "failing_since")] == [None] * 3


async def test_there_are_at_most_twenty(client: httpx.AsyncClient) -> None:
    for _ in range(20):
        await made(client)
    refused = await client.post("/v1/hooks", json={"url": URL, "events": EVENTS})
    assert problem(refused, 409, "too_many_hooks").details == {"limit": 20}


FORBIDDEN: tuple[object, ...] = (
    "http://museum.example.com/",
    "ftp://museum.example.com/",
    "https://localhost/",
    "https://mill/",
    "https://127.0.0.1/",
    "https://0x7f.1/",
    "https://[::ffff:10.0.0.1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://a:b@museum.example.com/",
    "https://museum.example.com:22/",
    "http://127.0.0.1:5999/",
    "https://" + "a" * 2_000,
    "",
    5,
)


async def test_urls_that_no_receiver_may_have(client: httpx.AsyncClient) -> None:
    for url in FORBIDDEN:
        for path, body, loc in (
            ("/v1/hooks", {"url": url, "events": EVENTS}, "url"),
            ("/v1/jobs", {**LONGFORM, "webhook_url": url}, "webhook_url"),
        ):
            response = await client.post(path, json=body)
            assert locs(problem(response, 422, "invalid_request")) == [loc], url


async def test_a_host_that_is_allowed_may_be_on_this_machine(client: httpx.AsyncClient) -> None:
    assert (await made(client, url="https://127.0.0.1:5999/a")).url == "https://127.0.0.1:5999/a"


async def test_rubbish_is_refused(client: httpx.AsyncClient) -> None:
    for fields, loc in (
        ({"events": []}, "events"),
        ({"events": ["webhook.test"]}, "events.0"),
        ({"events": ["job.started"]}, "events.0"),
        ({"description": "a\nb"}, "description"),
        ({"secret": "whsec_mine"}, "secret"),
    ):
        response = await client.post("/v1/hooks", json={"url": URL, "events": EVENTS, **fields})
        assert locs(problem(response, 422, "invalid_request")) == [loc]
    for method, path in (
        ("GET", f"hooks/{UNKNOWN}"),
        ("PATCH", f"hooks/{UNKNOWN}"),
        ("DELETE", f"hooks/{UNKNOWN}"),
        ("POST", f"hooks/{UNKNOWN}/rotate"),
        ("POST", f"hooks/{UNKNOWN}/test"),
        ("GET", f"hooks/{UNKNOWN}/deliveries"),
        ("GET", f"jobs/{UNKNOWN}/deliveries"),
        ("GET", f"deliveries/{UNKNOWN}"),
        ("POST", f"deliveries/{UNKNOWN}/redeliver"),
        ("GET", "hooks/..%2f..%2fetc"),
    ):
        response = await client.request(method, f"/v1/{path}", json={} if method == "PATCH" else None)
        problem(response, 404, "not_found")


async def test_the_secret_of_jobs_can_be_read_and_rotated(client: httpx.AsyncClient, database: Database) -> None:
    path = "/v1/me/signing-secret"
    first = SigningSecretView.model_validate_json((await client.get(path)).content)
    assert SigningSecretView.model_validate_json((await client.get(path)).content) == first
    rotated = SigningSecretView.model_validate_json((await client.post(f"{path}/rotate")).content)
    assert rotated.secret != first.secret
    assert rotated.previous_secret_until is not None
    assert (await one(database, "SELECT previous_secret FROM signing_secrets"))["previous_secret"] == first.secret
    await execute(database, "UPDATE signing_secrets SET previous_until = now()")
    after = SigningSecretView.model_validate_json((await client.get(path)).content)
    assert (after.secret, after.previous_secret_until) == (rotated.secret, None)


async def test_a_job_names_who_is_told(client: httpx.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {**LONGFORM, "webhook_url": f"{URL}?job=a"}
    job = (await client.post("/v1/jobs", json=body, headers=headers)).json()
    assert job["webhook_url"] == f"{URL}?job=a"
    assert (await client.post("/v1/jobs", json=body, headers=headers)).json()["id"] == job["id"]
    problem(await client.post("/v1/jobs", json=LONGFORM, headers=headers), 409, "idempotency_mismatch")
    hook = await made(client, events=["job.cancelled"])
    assert await deliveries(client, f"jobs/{job['id']}") == []
    await finish(database, job["id"])
    found = await deliveries(client, f"jobs/{job['id']}")
    assert {(told.type, told.hook_id, told.url) for told in found} == {
        ("job.cancelled", None, f"{URL}?job=a"),
        ("job.cancelled", hook.id, URL),
    }
    assert [told.id for told in await deliveries(client, f"hooks/{hook.id}")] == [
        told.id for told in found if told.hook_id
    ]
    assert (await client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert await deliveries(client, f"hooks/{hook.id}") == [], "nothing of a deleted job is told any more"


async def test_another_users_are_not_found(client: httpx.AsyncClient, database: Database) -> None:
    hook = await made(client, events=["job.cancelled"])
    job_id = await submitted(client)
    await finish(database, job_id)
    (delivery,) = await deliveries(client, f"hooks/{hook.id}")
    stranger = await make_account(database, "Bob Example")
    for method, path in (
        ("GET", f"hooks/{hook.id}"),
        ("PATCH", f"hooks/{hook.id}"),
        ("DELETE", f"hooks/{hook.id}"),
        ("POST", f"hooks/{hook.id}/rotate"),
        ("POST", f"hooks/{hook.id}/test"),
        ("GET", f"hooks/{hook.id}/deliveries"),
        ("GET", f"jobs/{job_id}/deliveries"),
        ("GET", f"deliveries/{delivery.id}"),
        ("POST", f"deliveries/{delivery.id}/redeliver"),
    ):
        body: dict[str, object] | None = {} if method == "PATCH" else None
        response = await client.request(method, f"/v1/{path}", json=body, headers=stranger.headers)
        problem(response, 404, "not_found")
    assert (await listed(client)).items[0].id == hook.id
    await execute(database, "UPDATE jobs SET status = 'pending'")
    foreign = (await client.post("/v1/jobs", json=LONGFORM, headers=stranger.headers)).json()["id"]
    await finish(database, foreign)
    assert len(await deliveries(client, f"hooks/{hook.id}")) == 1, "another's jobs are not told to it"


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


async def test_a_test_is_queued_and_a_delivery_that_ended_is_made_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    hook = await made(client, active=False)
    queued = await client.post(f"/v1/hooks/{hook.id}/test")
    assert queued.status_code == 202
    test = DeliveryView.model_validate_json(queued.content)
    assert (test.type, test.state, test.tries, test.hook_id) == ("webhook.test", "pending", [], hook.id)
    problem(await client.post(f"/v1/deliveries/{test.id}/redeliver"), 409, "invalid_state")
    await execute(
        database, "UPDATE deliveries SET state = 'failed', ended_at = now(), tried = 3, dispatched_at = now()"
    )
    await client.patch(f"/v1/hooks/{hook.id}", json={"url": f"{URL}/moved"})
    again = await client.post(f"/v1/deliveries/{test.id}/redeliver")
    assert (again.status_code, again.json()["id"], again.json()["url"]) == (202, test.id, f"{URL}/moved")
    row = await one(database, "SELECT state, round, tried, dispatched_at, ended_at FROM deliveries")
    assert tuple(row.values()) == ("pending", 2, 0, None, None)


async def test_tests_and_repeated_deliveries_are_limited(
    start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(background=False, limits=True, limit_deliveries_per_hour=3)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        hook = await made(client)
        tests = [await client.post(f"/v1/hooks/{hook.id}/test") for _ in range(2)]
        assert [answer.status_code for answer in tests] == [202, 202]
        assert tests[-1].headers["ratelimit"].startswith('"deliveries";r=1;')
        await execute(database, "UPDATE deliveries SET state = 'failed', ended_at = now()")
        path = f"/v1/deliveries/{tests[0].json()['id']}/redeliver"
        assert (await client.post(path)).status_code == 202
        before = await rows(database, "SELECT state, round FROM deliveries ORDER BY id")
        for refused in (path, f"/v1/hooks/{hook.id}/test"):
            found = problem(await client.post(refused), 429, "too_many_requests")
            assert found.details == {"limit": "deliveries", "quota": 3, "seconds": 3600}
        assert await rows(database, "SELECT state, round FROM deliveries ORDER BY id") == before
        assert len(await deliveries(client, f"hooks/{hook.id}")) == 2, "what only reads is not counted"
        actions = [line.action for line in await audit(client, account.headers)]
        assert actions == ["hooks.redeliver", "hooks.test", "hooks.test", "hooks.create"]
    stranger = await make_account(database, "Bob Example")
    async with httpx.AsyncClient(base_url=api.url, headers=stranger.headers, timeout=20) as other:
        assert (await other.post(f"/v1/hooks/{(await made(other)).id}/test")).status_code == 202


async def test_what_is_to_be_delivered_is_started_once_and_waits_for_temporal(
    start_api: StartApi, namespace: Namespace, account: Account, database: Database, receiver: Receiver
) -> None:
    """The starter's part; tests/workflows/test_webhooks.py and tests/faults/test_webhooks.py have the rest."""
    options = {"fetch_allowed_hosts": receiver.allowed, "webhook_plain_http": True}
    away = start_api(**options)
    async with httpx.AsyncClient(base_url=away.url, headers=account.headers, timeout=20) as client:
        hook = await made(client, url=receiver.address)
        delivery_id = (await client.post(f"/v1/hooks/{hook.id}/test")).json()["id"]
    away.stop()
    back = {"temporal_address": namespace.address, "temporal_namespace": namespace.name}
    start_api(**options, **back)
    start_api(**options, **back)
    temporal = await connect(namespace.address, namespace.name)
    dispatched = "SELECT dispatched_at FROM deliveries WHERE dispatched_at IS NOT NULL"
    await eventually(lambda: rows(database, dispatched), lambda found: len(found) == 1)
    seen = await temporal.get_workflow_handle(workflow_id(DELIVERY, delivery_id)).describe()
    assert seen.typed_search_attributes.get(OWNER_ATTRIBUTE) == account.owner_id
    history = await temporal.get_workflow_handle(seen.id).fetch_history()
    told = str(history.events[0])
    assert delivery_id in told
    assert not any(secret in told for secret in (hook.secret, receiver.address))


async def test_a_webhook_that_is_deleted_meanwhile_holds_up_no_job(
    client: httpx.AsyncClient, database: Database
) -> None:
    hook = await made(client, events=["job.cancelled"])
    job_id = await submitted(client)
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM webhooks"))
        # It finds the webhook, and waits to see what becomes of it.
        ending = asyncio.create_task(finish(database, job_id))
        await waiting_for_locks(database, 1)
    await ending
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["status"] == "cancelled"
    assert await deliveries(client, f"jobs/{job_id}") == []
    problem(await client.get(f"/v1/hooks/{hook.id}"), 404, "not_found")
