"""A word on an outline by REST: stored once, refused with a reason, and never half done."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy import text

from activities.jobs import Jobs
from api.document_schemas import OutlineApproval, OutlineView
from api.schemas import JobView
from api.updates import word
from core.contracts.base import Json
from core.contracts.jobs import Answer, JobStatus
from core.contracts.longform import Outline
from core.contracts.longform_steps import REVIEW_STEP, OutlineEdited
from core.db.engine import Database
from core.db.repositories.runs import RunRepository
from core.db.repositories.steps import AnswersRepository, StepRepository
from core.temporal import connect
from tests.api.conftest import TOPIC, StartApi, counts, set_status, submitted
from tests.api.test_rubbish import JSON, UNKNOWN, locs, problem
from tests.api.written import Shelf, an_outline
from tests.conftest import Account, Namespace, make_account
from tests.support.rows import one, rows, step_key
from tests.support.scripted import ScriptedLongform, scripted_workers

REVIEWED = {"pipeline": "longform", "input": {**TOPIC, "target_words": 900, "review_outline": True}}
EXPIRES = "2026-12-21T09:30:04+00:00"
SECTIONS = [{"id": "s3"}, {"id": "s1"}]


async def ask(database: Database, job_id: str, round: int = 1, what: str = "outline_review") -> None:
    """Put a job where its workflow would: it waits for a word on its outline."""
    question = {"what": what, "round": round, "expires_at": EXPIRES}
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE jobs SET status = 'waiting_for_input', waiting_for = CAST(:question AS jsonb), "
                "claimed_at = now() WHERE id = :id"
            ),
            {"id": job_id, "question": json.dumps(question)},
        )


async def _asking(client: httpx.AsyncClient, shelf: Shelf, round: int = 1) -> str:
    """A job that waits for a word on its outline. Its id."""
    job_id = await submitted(client, **REVIEWED)
    await shelf.outline(job_id)
    await ask(shelf.database, job_id, round)
    return job_id


async def test_the_outline_is_shown(client: httpx.AsyncClient, shelf: Shelf) -> None:
    job_id = await submitted(client)
    path = f"/v1/jobs/{job_id}/outline"
    assert problem(await client.get(path), 404, "not_found").details == {"job_id": job_id}
    await shelf.outline(job_id)
    found = OutlineView.model_validate_json((await client.get(path)).content)
    assert (found.round, found.waiting, found.expires_at, found.words) == (1, False, None, 900)
    assert [section.id for section in found.sections] == ["s1", "s2", "s3"]
    outline = an_outline(2)
    await shelf.outline(job_id, outline, revision=2)
    await ask(shelf.database, job_id, 2)
    found = OutlineView.model_validate_json((await client.get(path)).content)
    assert (found.round, found.waiting, len(found.sections)) == (2, True, 2)
    assert found.expires_at is not None
    assert found.expires_at.isoformat() == EXPIRES
    assert [section.model_dump() for section in found.sections] == [
        section.model_dump(mode="json") for section in outline.sections
    ]


async def _acts(client: httpx.AsyncClient, job_id: str) -> list[httpx.Response]:
    path = f"/v1/jobs/{job_id}/outline"
    return [
        await client.post(f"{path}/approve"),
        await client.post(f"{path}/edit", json={"sections": SECTIONS}),
        await client.post(f"{path}/revise", json={"instructions": "Shorter."}),
    ]


async def test_a_job_that_asks_nothing_says_what_it_does(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    job_id = await submitted(client)
    await shelf.outline(job_id)
    told = {
        "pending": "has not begun",
        "running": "at work (stage: outline)",
        "paused": "resume it first",
        "waiting_for_budget": "something else",
        "completed": "is completed",
        "failed": "is failed",
        "cancelled": "is cancelled",
    }
    for status, sentence in told.items():
        await set_status(database, job_id, status)
        before = await counts(database)
        for response in await _acts(client, job_id):
            found = problem(response, 409, "invalid_state")
            assert sentence in found.detail
            assert found.details == {"status": status}
        assert await counts(database) == before


async def test_a_job_that_waits_for_something_else_or_is_being_cancelled(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    job_id = await _asking(client, shelf)
    await ask(database, job_id, what="screenplay_review")
    for response in await _acts(client, job_id):
        assert "something else" in problem(response, 409, "invalid_state").detail
    assert (await client.get(f"/v1/jobs/{job_id}/outline")).json()["waiting"] is False
    await ask(database, job_id)
    assert (await client.post(f"/v1/jobs/{job_id}/cancel")).status_code == 202
    for response in await _acts(client, job_id):
        assert "being cancelled" in problem(response, 409, "invalid_state").detail
    assert (await client.get(f"/v1/jobs/{job_id}/outline")).json()["waiting"] is False


async def test_a_word_on_another_round(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    job_id = await _asking(client, shelf, round=2)
    before = await counts(database)
    path = f"/v1/jobs/{job_id}/outline"
    for round in (1, 3):
        for act, body in (("approve", {}), ("edit", {"sections": SECTIONS}), ("revise", {"instructions": "Shorter."})):
            found = problem(await client.post(f"{path}/{act}", json={**body, "round": round}), 409, "invalid_state")
            assert found.details == {"status": "waiting_for_input", "round": 2, "given_round": round}
            assert f"round {round}" in found.detail
            assert "round 2" in found.detail
    assert await counts(database) == before


async def test_a_word_that_was_stored_is_answered_again_and_no_other_under_its_key(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    """Temporal is down: what Postgres has is answered from there."""
    job_id = await _asking(client, shelf)
    path = f"/v1/jobs/{job_id}/outline"
    key = {"Idempotency-Key": "my-word"}
    first = await client.post(f"{path}/approve", headers=key)
    problem(first, 503, "temporal_unavailable")
    # What the workflow would have stored, had it been there.
    said = word("approve_outline", OutlineApproval(), "my-word")
    stored = Answer(act=said.act, update_id=said.update_id, body_sha256=said.body_sha256)
    async with database.transaction() as connection:
        await StepRepository(connection).store(
            step_key(job_id, shelf.owner_id, REVIEW_STEP), stored.model_dump_json(), [], simulated=False
        )
    await set_status(database, job_id, "running")
    again = await client.post(f"{path}/approve", headers=key)
    assert (again.status_code, again.json()["status"]) == (202, "running")
    before = await counts(database)
    for act, body in (
        ("approve", {"round": 1}),
        ("edit", {"sections": SECTIONS}),
        ("revise", {"instructions": "Shorter."}),
    ):
        found = problem(await client.post(f"{path}/{act}", json=body, headers=key), 409, "idempotency_mismatch")
        assert found.details == {"answered": "approve_outline"}
    problem(await client.post(f"{path}/approve"), 409, "invalid_state")
    assert await counts(database) == before


async def test_temporal_is_away(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    job_id = await _asking(client, shelf)
    before = await counts(database)
    for response in await _acts(client, job_id):
        found = problem(response, 503, "temporal_unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert "may still take effect" in found.detail
        assert found.details is not None
        assert found.details["idempotency_key"]
    assert await counts(database) == before


BODIES: list[tuple[str, str, object, list[str]]] = [
    ("approve", "round zero", {"round": 0}, ["round"]),
    ("approve", "negative round", {"round": -1}, ["round"]),
    ("approve", "huge round", {"round": 10**30}, ["round"]),
    ("approve", "round as text", {"round": "first"}, ["round"]),
    ("approve", "unknown field", {"because": "good"}, ["because"]),
    ("approve", "a list", [], [""]),
    ("approve", "not JSON", b"{", [""]),
    ("revise", "nothing", b"", [""]),
    ("revise", "no instructions", {}, ["instructions"]),
    ("revise", "empty instructions", {"instructions": "  "}, ["instructions"]),
    ("revise", "long instructions", {"instructions": "x" * 2_001}, ["instructions"]),
    ("revise", "NUL", {"instructions": "a\x00"}, ["instructions"]),
    ("revise", "round zero", {"instructions": "a", "round": 0}, ["round"]),
    ("edit", "nothing", b"", [""]),
    ("edit", "no sections", {}, ["sections"]),
    ("edit", "an empty outline", {"sections": []}, ["sections"]),
    ("edit", "too many sections", {"sections": [{"title": "T"}] * 61}, ["sections"]),
    ("edit", "an id that is none", {"sections": [{"id": "x"}]}, ["sections.0.id"]),
    ("edit", "an unknown id", {"sections": [{"id": "s1"}, {"id": "s9"}]}, ["sections.1.id"]),
    ("edit", "the same section twice", {"sections": [{"id": "s1"}, {"id": "s1"}]}, ["sections.1.id"]),
    ("edit", "negative words", {"sections": [{"id": "s1", "words": -1}]}, ["sections.0.words"]),
    ("edit", "too few words", {"sections": [{"id": "s1", "words": 5}]}, ["sections.0.words"]),
    ("edit", "too few in all", {"sections": [{"id": "s1", "words": 50}]}, ["sections"]),
    ("edit", "an unknown source", {"sections": [{"id": "s1", "sources": ["r7"]}]}, ["sections.0.sources"]),
    ("edit", "a new section without a title", {"sections": [{"id": "s1"}, {}]}, ["sections.1.title"]),
    ("edit", "NUL", {"sections": [{"id": "s1", "title": "a\x00"}]}, ["sections.0.title"]),
    ("edit", "unknown field", {"sections": [{"id": "s1", "colour": "red"}]}, ["sections.0.colour"]),
    ("edit", "a long thesis", {"sections": SECTIONS, "thesis": "x" * 2_001}, ["thesis"]),
]


async def test_words_that_are_refused(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    job_id = await _asking(client, shelf)
    path = f"/v1/jobs/{job_id}/outline"
    before = await counts(database)
    for act, name, body, where in BODIES:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post(f"{path}/{act}", content=content, headers=JSON)
        assert locs(problem(response, 422, "invalid_request")) == where, (act, name)
    large = json.dumps({"instructions": "x" * 2_000_000}).encode()
    for act in ("approve", "edit", "revise"):
        problem(await client.post(f"{path}/{act}", content=large, headers=JSON), 413, "body_too_large")
        response = await client.post(f"{path}/{act}", content=b"{}", headers={"Content-Type": "text/plain"})
        problem(response, 415, "unsupported_media_type")
        response = await client.post(f"{path}/{act}?force=1", json={})
        assert locs(problem(response, 422, "invalid_request")) == ["query.force"]
        response = await client.post(f"{path}/{act}", json={}, headers={"Idempotency-Key": "a b"})
        assert locs(problem(response, 422, "invalid_request")) == ["header.Idempotency-Key"]
    assert await counts(database) == before


async def test_the_outline_of_nobody_and_of_others(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    job_id = await _asking(client, shelf)
    stranger = await make_account(database, "Bob Example")
    before = await counts(database)
    for wrong, headers in ((job_id, stranger.headers), (UNKNOWN, {}), ("nonsense", {}), ("%00", {})):
        problem(await client.get(f"/v1/jobs/{wrong}/outline", headers=headers), 404, "not_found")
        for act, body in (
            ("approve", {}),
            ("edit", {"sections": SECTIONS}),
            ("revise", {"instructions": "Mine."}),
        ):
            response = await client.post(f"/v1/jobs/{wrong}/outline/{act}", json=body, headers=headers)
            problem(response, 404, "not_found")
    assert await counts(database) == before


@asynccontextmanager
async def _whole(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedLongform, Shelf]]:
    """An API with its starter, and a worker: the real workflow and its job activities, with scripted steps."""
    api = start_api(temporal_address=namespace.address, temporal_namespace=namespace.name)
    temporal = await connect(namespace.address, namespace.name)
    steps = ScriptedLongform()
    async with (
        scripted_workers(temporal, Jobs(database), steps),
        httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client,
    ):
        yield client, steps, Shelf(database, api.deps.store, account.owner_id)


async def _until(client: httpx.AsyncClient, job_id: str, status: str, round: int | None = None) -> Json:
    """The job, once it is so."""
    async with asyncio.timeout(30):
        while True:
            job: Json = (await client.get(f"/v1/jobs/{job_id}")).json()
            assert job["status"] not in {"failed", "cancelled"}, job["error"]
            if job["status"] == status and (round is None or job["waiting_for"]["round"] == round):
                return job
            await asyncio.sleep(0.05)


async def test_the_workflow_hears_every_word(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> None:
    async with _whole(start_api, namespace, database, account) as (client, steps, shelf):
        job_id = await submitted(client, **REVIEWED)
        path = f"/v1/jobs/{job_id}/outline"
        await _until(client, job_id, "waiting_for_input", 1)
        await shelf.outline(job_id)
        key = {"Idempotency-Key": "again"}
        revised = await client.post(f"{path}/revise", json={"instructions": "Shorter."}, headers=key)
        assert JobView.model_validate_json(revised.content).id == job_id
        assert revised.status_code == 202
        await _until(client, job_id, "waiting_for_input", 2)
        assert steps.instructions == ["", "Shorter."]
        await shelf.outline(job_id, revision=2)
        # The same word again changes nothing, although another question is open by now.
        again = await client.post(f"{path}/revise", json={"instructions": "Shorter."}, headers=key)
        assert again.status_code == 202
        edit = {"sections": SECTIONS, "title": "Mills", "approve": False, "round": 2}
        assert (await client.post(f"{path}/edit", json=edit)).status_code == 202
        await _until(client, job_id, "waiting_for_input", 3)
        shown = (await client.get(path)).json()
        assert (shown["round"], shown["waiting"], shown["title"]) == (3, True, "Mills")
        assert [section["id"] for section in shown["sections"]] == ["s3", "s1"]
        assert (await client.post(f"{path}/approve", json={"round": 3})).status_code == 202
        await _until(client, job_id, "completed")
        assert sorted(step for step in steps.asked if step.startswith("section")) == [
            "section s1 simulator:composer",
            "section s3 simulator:composer",
        ]
    async with database.transaction() as connection:
        answers = AnswersRepository(connection, shelf.owner_id)
        stored = [answer for _, answer in await answers.of(job_id, REVIEW_STEP)]
    assert [answer.act for answer in stored] == ["revise_outline", "edit_outline", "approve_outline"]
    assert stored[0].update_id == "again"
    plan = OutlineEdited.model_validate({"plan": stored[1].data["plan"]}).plan
    outline = Outline.model_validate_json(await shelf.store.get(plan.outline))
    assert (outline.title, outline.words) == ("Mills", 900)
    assert [section.words + section.lead_in for section in plan.sections] == [s.words for s in outline.sections]
    (file,) = await rows(database, "SELECT name, sha256 FROM artifacts WHERE step = :step", step=REVIEW_STEP)
    assert file == {"name": "outline.json", "sha256": plan.outline.sha256}


async def test_of_two_words_at_once_one_counts(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> None:
    async with _whole(start_api, namespace, database, account) as (client, _, shelf):
        job_id = await submitted(client, **REVIEWED)
        path = f"/v1/jobs/{job_id}/outline"
        await _until(client, job_id, "waiting_for_input")
        await shelf.outline(job_id)
        acts: list[tuple[str, dict[str, Any]]] = [("approve", {}), ("revise", {"instructions": "Shorter."})]
        keyed = {"Idempotency-Key": "mine"}
        answers = await asyncio.gather(
            *(client.post(f"{path}/{act}", json=body) for act, body in acts * 2),
            *(client.post(f"{path}/approve", headers=keyed) for _ in range(3)),
        )
        for response in answers:
            if response.status_code != 202:
                problem(response, 409, "invalid_state")
        keyed_codes = {response.status_code for response in answers[4:]}
        # The same key is the same word: all three are heard, or none is.
        assert len(keyed_codes) == 1
        assert sum(response.status_code == 202 for response in answers[:4]) == (0 if keyed_codes == {202} else 1)
        stored = await one(database, "SELECT count(*) AS answers FROM steps WHERE step = :step", step=REVIEW_STEP)
        assert stored == {"answers": 1}


async def test_an_answer_that_was_stored_first_wins(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> None:
    """The workflow has not heard of it: the run that was to tell it died after it had stored the answer."""
    async with _whole(start_api, namespace, database, account) as (client, _, shelf):
        job_id = await submitted(client, **REVIEWED)
        await _until(client, job_id, "waiting_for_input")
        await shelf.outline(job_id)
        first = Answer(act="approve_outline", update_id="first", body_sha256="0" * 64)
        async with database.transaction() as connection:
            key = step_key(job_id, account.owner_id, REVIEW_STEP)
            assert await RunRepository(connection).store_answer(key, first) == first
        response = await client.post(f"/v1/jobs/{job_id}/outline/revise", json={"instructions": "Shorter."})
        found = problem(response, 409, "invalid_state")
        assert found.details == {"status": "waiting_for_input", "answered": "approve_outline"}
        assert (await _until(client, job_id, "completed"))["result"] is not None


async def test_no_worker_is_there_and_no_connection_is_held(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> None:
    temporal = {"temporal_address": namespace.address, "temporal_namespace": namespace.name}
    starting = start_api(**temporal)
    # Two connections at most: five requests that held theirs would leave none to the others.
    api = start_api(background=False, database_pool_size=1, **temporal)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client:
        job_id = await submitted(client, **REVIEWED)
        await Shelf(database, starting.deps.store, account.owner_id).outline(job_id)
        async with asyncio.timeout(20):
            while not (await one(database, "SELECT dispatched_run_id FROM jobs"))["dispatched_run_id"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await ask(database, job_id)
        keys = [f"patience-{n}" for n in range(5)]
        path = f"/v1/jobs/{job_id}/outline/approve"
        saying = asyncio.gather(*(client.post(path, headers={"Idempotency-Key": key}) for key in keys))
        while not saying.done():
            job = await client.get(f"/v1/jobs/{job_id}")
            assert (job.status_code, job.json()["status"]) == (200, JobStatus.WAITING_FOR_INPUT)
            await asyncio.wait([saying], timeout=0.5)
        for key, response in zip(keys, await saying, strict=True):
            assert problem(response, 503, "temporal_unavailable").details == {"idempotency_key": key}


async def test_a_workflow_that_has_just_ended(
    start_api: StartApi, namespace: Namespace, database: Database, account: Account
) -> None:
    """The row still says that it waits; Temporal knows no such workflow."""
    api = start_api(background=False, temporal_address=namespace.address, temporal_namespace=namespace.name)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client:
        shelf = Shelf(database, api.deps.store, account.owner_id)
        job_id = await _asking(client, shelf)
        before = await counts(database)
        for response in await _acts(client, job_id):
            assert "just ended" in problem(response, 409, "invalid_state").detail
        assert await counts(database) == before
