"""Jobs by REST: accepted once, listed, described, steered, deleted."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import text

from api.schemas import JobList, JobView
from core.contracts.jobs import EventType, JobStatus
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.events import EventRepository
from tests.api.conftest import LONGFORM, TOPIC, counts, set_status, submitted
from tests.api.test_rubbish import locs, problem
from tests.conftest import Account, make_account


async def test_a_job_is_accepted_while_temporal_is_down(client: httpx.AsyncClient, database: Database) -> None:
    response = await client.post("/v1/jobs", json={**LONGFORM, "tags": ["b", "a", "b"]})
    assert response.status_code == 202
    job = JobView.model_validate_json(response.content)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.title, job.status, job.tags) == (TOPIC["topic"], JobStatus.PENDING, ["b", "a"])
    assert job.models == ["simulator:composer"]
    assert job.workflow_id == f"longform/{job.id}"
    read = await client.get(response.headers["location"])
    assert read.status_code == 200
    assert read.json() == response.json()
    assert (await counts(database))["events"] == 1


async def test_a_made_up_title_has_no_control_characters(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/jobs", json={"pipeline": "longform", "input": {"topic": "Tide\x07 mills\nand more"}}
    )
    assert response.json()["title"] == "Tide  mills"


async def test_a_job_with_everything_to_show(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    artifact, owner = new_id(), new_id()
    ref = f'{{"owner_id": "{owner}", "sha256": "{"a" * 64}", "size": 3, "media_type": "text/markdown"}}'
    output = f'{{"name": "a.md", "artifact_id": "{artifact}", "ref": {ref}}}'
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE jobs SET status = 'failed', stage = 'sections', current_step = 'section:s2', steps_done = 1, "
                "total_steps = 4, cost_usd = 0.01234567, input_tokens = 10, result = CAST(:result AS jsonb), "
                'error = CAST(:error AS jsonb), waiting_for = \'{"kind": "review"}\', started_at = now(), '
                "finished_at = now(), workflow_run_id = 'run' WHERE id = :id"
            ),
            {
                "id": job_id,
                "result": f'{{"outputs": [{output}], "summary": {{"words": 9}}, "simulated": true}}',
                "error": '{"code": "all_models_failed", "message": "m", "step": "s", "attempts": 3, "details": {}}',
            },
        )
        await connection.execute(
            text("INSERT INTO steps (job_id, step, revision, run, result) VALUES (:id, 'decompose', 1, 1, '{}')"),
            {"id": job_id},
        )
    shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    job = JobView.model_validate(shown)
    assert shown["cost"]["usd"] == 0.01234567
    assert job.progress.completed_steps == ("decompose",)
    assert job.progress.percentage == 25.0
    assert job.error is not None
    assert (job.error.code, job.error.attempts) == ("all_models_failed", 3)
    assert job.result is not None
    assert job.result.outputs[0].url == f"/v1/artifacts/{artifact}"
    page = JobList.model_validate_json((await client.get("/v1/jobs")).content)
    assert page.items[0].progress.completed_steps == ()
    assert page.items[0].result == job.result


async def test_the_same_key(client: httpx.AsyncClient, database: Database) -> None:
    key = {"Idempotency-Key": "tide-mills"}
    first = await client.post("/v1/jobs", json=LONGFORM, headers=key)
    # The same, said in other words: defaults spelled out, other whitespace, another order.
    same = {
        "tags": [],
        "input": {"topic": " How tide mills worked ", "tone": "clear and factual"},
        "pipeline": "longform",
    }
    for body in (LONGFORM, same):
        again = await client.post("/v1/jobs", json=body, headers=key)
        assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
        assert again.json() == first.json()
    await client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert (await client.post("/v1/jobs", json=LONGFORM, headers=key)).json()["status"] == "cancelled"
    before = await counts(database)
    for other in ({**LONGFORM, "title": "Other"}, {**LONGFORM, "models": ["simulator:composer"]}):
        found = problem(await client.post("/v1/jobs", json=other, headers=key), 409, "idempotency_mismatch")
        assert found.details == {"job_id": first.json()["id"]}
    assert await counts(database) == before
    assert before["jobs"] == 1


async def test_the_same_key_of_another_owner_is_another_job(client: httpx.AsyncClient, database: Database) -> None:
    key = {"Idempotency-Key": "k"}
    stranger = await make_account(database, "Bob Example")
    first = await client.post("/v1/jobs", json=LONGFORM, headers=key)
    second = await client.post("/v1/jobs", json={**LONGFORM, "title": "x"}, headers={**key, **stranger.headers})
    assert second.status_code == 202
    assert first.json()["id"] != second.json()["id"]


async def test_twenty_at_once_with_one_key(client: httpx.AsyncClient, database: Database) -> None:
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=LONGFORM, headers=key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await counts(database))["jobs"] == 1


async def test_without_a_key_each_is_a_new_job(client: httpx.AsyncClient) -> None:
    assert await submitted(client) != await submitted(client)


async def _all_pages(client: httpx.AsyncClient, query: str, limit: int) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/jobs?{query}&limit={limit}{cursor}")).json()
        found += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = f"&cursor={page['next_cursor']}"


async def test_lists_are_paged_and_narrowed(client: httpx.AsyncClient, database: Database) -> None:
    ids = [await submitted(client, tags=["even" if n % 2 == 0 else "odd"]) for n in range(10)]
    for job_id in ids[:4]:
        await set_status(database, job_id, "failed")
    newest_first = ids[::-1]
    for limit in (1, 3, 5, 10, 200):
        assert await _all_pages(client, "pipeline=longform", limit) == newest_first
    assert await _all_pages(client, "tag=even", 2) == newest_first[1::2]
    assert await _all_pages(client, "status=failed", 2) == newest_first[6:]
    assert await _all_pages(client, "status=failed&tag=odd", 1) == [ids[3], ids[1]]
    assert await _all_pages(client, "tag=none", 5) == []
    middle = (await client.get(f"/v1/jobs/{ids[5]}")).json()["created_at"]
    assert await _all_pages(client, f"created_from={middle}", 2) == newest_first[:5]
    assert await _all_pages(client, f"created_to={middle}", 2) == newest_first[5:]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+", "%2B")
    assert await _all_pages(client, f"created_from={tomorrow}", 2) == []


async def test_a_cursor_stays_where_it_is_while_jobs_come_and_go(client: httpx.AsyncClient, database: Database) -> None:
    ids = [await submitted(client) for _ in range(6)]
    first = (await client.get("/v1/jobs?limit=2")).json()
    await submitted(client)
    await set_status(database, ids[4], "completed")
    assert (await client.delete(f"/v1/jobs/{ids[4]}")).status_code == 204  # the one that the cursor names
    second = (await client.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}")).json()
    assert [job["id"] for job in second["items"]] == [ids[3], ids[2]]


async def test_title_and_tags_are_changed(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client, tags=["old"])
    changed = await client.patch(f"/v1/jobs/{job_id}", json={"title": "  Ebb  "})
    assert (changed.status_code, changed.json()["title"], changed.json()["tags"]) == (200, "Ebb", ["old"])
    changed = await client.patch(f"/v1/jobs/{job_id}", json={"tags": []})
    assert (changed.json()["title"], changed.json()["tags"]) == ("Ebb", [])
    assert (await client.patch(f"/v1/jobs/{job_id}", json={})).json()["title"] == "Ebb"


async def test_a_pending_job_is_cancelled_at_once_and_again(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client)
    for _ in range(2):
        cancelled = await client.post(f"/v1/jobs/{job_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")


ALLOWED = {
    "pending": {"cancel", "pause", "resume"},
    "running": {"cancel", "pause", "resume"},
    "paused": {"cancel", "pause", "resume"},
    "completed": {"delete"},
    "failed": {"retry", "delete"},
    "cancelled": {"cancel", "delete"},
}


async def test_what_a_state_allows(client: httpx.AsyncClient, database: Database) -> None:
    for status, act in itertools.product(ALLOWED, ("cancel", "pause", "resume", "retry", "delete")):
        job_id = await submitted(client)
        await set_status(database, job_id, status)
        before = await counts(database)
        path = f"/v1/jobs/{job_id}"
        response = await (client.delete(path) if act == "delete" else client.post(f"{path}/{act}"))
        if act not in ALLOWED[status]:
            assert problem(response, 409, "invalid_state").details == {"status": status}
            assert await counts(database) == before
        elif act == "delete":
            assert response.status_code == 204, status
        else:
            assert response.status_code == 202, (status, act)
            assert JobView.model_validate_json(response.content).id == job_id


async def test_a_retry_is_the_next_run(client: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(client)
    await set_status(database, job_id, "failed")
    retried = (await client.post(f"/v1/jobs/{job_id}/retry")).json()
    assert (retried["status"], retried["run"], retried["error"]) == ("pending", 2, None)


async def test_a_deleted_job_is_gone_with_its_records(
    client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    job_id = await submitted(client)
    async with database.transaction() as connection:
        await EventRepository(connection).append(
            job_id, EventType.CANCELLED, "end", sets={"status": "'cancelled'", "finished_at": "now()"}
        )
    assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
    problem(await client.get(f"/v1/jobs/{job_id}"), 404, "not_found")
    problem(await client.delete(f"/v1/jobs/{job_id}"), 404, "not_found")
    left = await counts(database)
    assert (left["jobs"], left["events"]) == (0, 0)


async def test_an_act_is_refused_while_a_body_says_more(client: httpx.AsyncClient) -> None:
    job_id = await submitted(client)
    found = problem(await client.post(f"/v1/jobs/{job_id}/retry", json={"from": "s1"}), 422, "invalid_request")
    assert locs(found) == ["from"]
