"""Changes of a document: each is one child job, submitted once, while no other change is under way."""

import asyncio
import json
from pathlib import Path

import httpx

from api.schemas import JobView
from core.contracts.jobs import JobStatus
from core.contracts.longform_steps import RevisionAct, RevisionInput
from core.db.engine import Database
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.jobs import JobRepository
from tests.api.conftest import LONGFORM, TOPIC, Api, StartApi, counts, set_status
from tests.api.test_rubbish import JSON, UNKNOWN, locs, problem
from tests.api.written import Shelf, an_article
from tests.conftest import Account
from tests.support.rows import one, rows

MARKDOWN = "The gate is a door [@r1].\n\nIt opens one way."


async def _submitted(response: httpx.Response) -> JobView:
    assert response.status_code == 202, response.text
    job = JobView.model_validate_json(response.content)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    return job


async def _input(database: Database, owner_id: str, job_id: str) -> RevisionInput:
    async with database.transaction() as connection:
        return RevisionInput.model_validate(await JobRepository(connection, owner_id).input(job_id))


async def test_a_section_is_regenerated_by_a_child_job(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    first = await shelf.write()
    path = f"/v1/documents/{first.document_id}/sections/s2/regenerate"
    job = await _submitted(await client.post(path, json={"instructions": " Shorter. "}))
    assert (job.pipeline, job.parent_job, job.status) == ("longform_revision", first.job_id, JobStatus.PENDING)
    assert job.title == 'Section "Part 2" of Tide mills'
    assert job.models == ["simulator:composer"]
    assert job.workflow_id == f"longform_revision/{job.id}"
    assert await _input(database, shelf.owner_id, job.id) == RevisionInput(
        act=RevisionAct.REGENERATE,
        document_id=first.document_id,
        base=1,
        section_id="s2",
        instructions="Shorter.",
    )
    assert [found["id"] for found in (await client.get("/v1/jobs?pipeline=longform_revision")).json()["items"]] == [
        job.id
    ]


async def test_a_regeneration_may_have_a_budget(start_api: StartApi, database: Database, account: Account) -> None:
    api = start_api(background=False, anthropic_api_key="k", anthropic_model="claude-of-tomorrow")
    first = await Shelf(database, api.deps.store, account.owner_id).write()
    path = f"/v1/documents/{first.document_id}/sections/s1/regenerate"
    key = {"Idempotency-Key": "once"}
    body = {"budget_usd": 0.5, "models": ["anthropic:claude-haiku-4-5"]}
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        before = await counts(database)
        problem(await client.post(path, json={"budget_usd": 0.5}, headers=key), 422, "price_unknown")
        assert await counts(database) == before
        job = await _submitted(await client.post(path, json=body, headers=key))
        assert (job.cost.budget_usd, job.cost.estimate) == (0.5, None)
        assert (await _submitted(await client.post(path, json=body, headers=key))).id == job.id
        for other in ({**body, "budget_usd": 0.6}, {"models": body["models"]}):
            problem(await client.post(path, json=other, headers=key), 409, "idempotency_mismatch")
        await set_status(database, job.id, "completed")
        unlimited = await _submitted(await client.post(path))
        assert unlimited.cost.budget_usd is None


async def test_a_base_of_ones_own_choice(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    second = await shelf.write(an_article("Only one."), document_id=first.document_id, parent=1)
    path = f"/v1/documents/{first.document_id}/sections"
    # Section s2 is in version 1 only, and the newest version is what is meant without a base.
    found = problem(await client.post(f"{path}/s2/regenerate"), 404, "not_found")
    assert found.details == {"sections": ["s1"]}
    job = await _submitted(
        await client.post(f"{path}/s2/regenerate", json={"base": 1, "models": ["simulator:composer"]})
    )
    assert job.parent_job == first.job_id
    assert (await _input(database, shelf.owner_id, job.id)).base == 1
    await client.post(f"/v1/jobs/{job.id}/cancel")
    job = await _submitted(await client.post(f"{path}/s1/regenerate"))
    assert job.parent_job == second.job_id
    assert (await _input(database, shelf.owner_id, job.id)).base == 2


async def test_an_edited_text_is_kept_before_the_job_is_accepted(
    api: Api, client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    first = await shelf.write()
    path = f"/v1/documents/{first.document_id}/sections/s2/edit"
    job = await _submitted(await client.post(path, json={"markdown": f"\n{MARKDOWN}\n", "title": "Gates"}))
    wish = await _input(database, shelf.owner_id, job.id)
    assert (wish.act, wish.section_id, wish.title, wish.base) == (RevisionAct.EDIT, "s2", "Gates", 1)
    assert wish.text is not None
    assert (await api.deps.store.get(wish.text)).decode() == MARKDOWN
    async with database.transaction() as connection:
        (file,) = await ArtifactRepository(connection, shelf.owner_id).of_job(job.id)
    assert (file.ref, file.step, file.role) == (wish.text, "input", "working")


async def test_a_version_is_restored_onto_the_newest(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    first = await shelf.write()
    second = await shelf.write(document_id=first.document_id, parent=1)
    path = f"/v1/documents/{first.document_id}/versions"
    before = await counts(database)
    found = problem(await client.post(f"{path}/2/restore"), 409, "invalid_state")
    assert found.details == {"latest": 2}
    for number in ("3", "0", "-1", "x", "99999999999"):
        problem(await client.post(f"{path}/{number}/restore"), 404, "not_found")
    assert locs(problem(await client.post(f"{path}/1/restore", json={"why": 1}), 422, "invalid_request")) == ["why"]
    assert await counts(database) == before
    job = await _submitted(await client.post(f"{path}/1/restore", json={}))
    assert (job.title, job.parent_job) == ("Version 1 of Tide mills restored", second.job_id)
    wish = await _input(database, shelf.owner_id, job.id)
    assert (wish.act, wish.base, wish.restore) == (RevisionAct.RESTORE, 2, 1)


async def test_one_change_at_a_time(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    first, other = await shelf.write(), await shelf.write()
    path = f"/v1/documents/{first.document_id}"
    job = await _submitted(await client.post(f"{path}/sections/s1/regenerate"))
    before = await counts(database)
    for status in ("pending", "running", "waiting_for_input", "paused"):
        await set_status(database, job.id, status)
        for refused in (
            await client.post(f"{path}/sections/s2/regenerate"),
            await client.post(f"{path}/sections/s2/edit", json={"markdown": "Mine."}),
        ):
            assert problem(refused, 409, "invalid_state").details == {"job_id": job.id}
    after = await counts(database)
    assert {**after, "state": 0} == {**before, "state": 0}
    await _submitted(await client.post(f"/v1/documents/{other.document_id}/sections/s1/regenerate"))
    await set_status(database, job.id, "failed")
    await _submitted(await client.post(f"{path}/sections/s2/regenerate"))


async def test_the_same_key_is_the_same_change(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    path = f"/v1/documents/{first.document_id}/sections/s1"
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *(client.post(f"{path}/edit", json={"markdown": MARKDOWN}, headers=key) for _ in range(10))
    )
    jobs = [await _submitted(response) for response in answers]
    assert len({job.id for job in jobs}) == 1
    assert len(await rows(database, "SELECT * FROM artifacts WHERE name = 'edited.md'")) == 1
    before = await counts(database)
    others = [
        (f"{path}/edit", {"markdown": MARKDOWN + "!"}),
        (f"{path}/edit", {"markdown": MARKDOWN, "title": "T"}),
        (f"{path}/edit", {"markdown": MARKDOWN, "base": 1}),
        (f"{path[:-1]}2/edit", {"markdown": MARKDOWN}),
        (f"{path}/regenerate", {}),
        ("/v1/jobs", LONGFORM),
    ]
    for other, body in others:
        found = problem(await client.post(other, json=body, headers=key), 409, "idempotency_mismatch")
        assert found.details == {"job_id": jobs[0].id}
    assert await counts(database) == before
    # Also when it is long done, and the document has another newest version.
    await set_status(database, jobs[0].id, "completed")
    await shelf.write(an_article("Only one."), document_id=first.document_id, parent=1)
    again = await _submitted(await client.post(f"{path}/edit", json={"markdown": MARKDOWN}, headers=key))
    assert (again.id, again.status) == (jobs[0].id, JobStatus.COMPLETED)


async def test_of_many_changes_at_once_one_is_accepted(
    client: httpx.AsyncClient, shelf: Shelf, database: Database
) -> None:
    first = await shelf.write()
    path = f"/v1/documents/{first.document_id}/sections"
    answers = await asyncio.gather(*(client.post(f"{path}/s{1 + n % 3}/regenerate") for n in range(12)))
    assert sorted(response.status_code for response in answers) == [202] + [409] * 11
    assert len(await rows(database, "SELECT * FROM jobs WHERE pipeline = 'longform_revision'")) == 1


BODIES: list[tuple[str, str, object, list[str]]] = [
    ("regenerate", "long instructions", {"instructions": "x" * 2_001}, ["instructions"]),
    ("regenerate", "NUL", {"instructions": "a\x00"}, ["instructions"]),
    ("regenerate", "no base", {"base": 0}, ["base"]),
    ("regenerate", "negative base", {"base": -1}, ["base"]),
    ("regenerate", "huge base", {"base": 2**31}, ["base"]),
    ("regenerate", "base as text", {"base": "first"}, ["base"]),
    ("regenerate", "no models", {"models": []}, ["models"]),
    ("regenerate", "no budget", {"budget_usd": 0}, ["budget_usd"]),
    ("regenerate", "budget as text", {"budget_usd": "0.5"}, ["budget_usd"]),
    ("regenerate", "unknown field", {"title": "T"}, ["title"]),
    ("regenerate", "a list", [], [""]),
    ("regenerate", "null", None, [""]),
    ("regenerate", "not JSON", b"{", [""]),
    ("edit", "nothing", b"", [""]),
    ("edit", "no text", {}, ["markdown"]),
    ("edit", "empty text", {"markdown": " \n"}, ["markdown"]),
    ("edit", "only marks", {"markdown": "--- * !"}, ["markdown"]),
    ("edit", "huge text", {"markdown": "x" * 200_001}, ["markdown"]),
    ("edit", "NUL", {"markdown": "a\x00b"}, ["markdown"]),
    ("edit", "lone surrogate", b'{"markdown": "\\ud800 mills"}', [""]),
    ("edit", "empty title", {"markdown": "a", "title": " "}, ["title"]),
    ("edit", "title with a newline", {"markdown": "a", "title": "a\nb"}, ["title"]),
    ("edit", "models", {"markdown": "a", "models": ["simulator:composer"]}, ["models"]),
]


async def test_changes_that_are_refused(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    path = f"/v1/documents/{first.document_id}/sections"
    before = await counts(database)
    for act, name, body, where in BODIES:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post(f"{path}/s1/{act}", content=content, headers=JSON)
        assert locs(problem(response, 422, "invalid_request")) == where, name
    problem(await client.post(f"{path}/s1/regenerate", json={"models": ["openai:gpt-5"]}), 422, "unknown_model")
    for section in ("s4", "s0", "S1", "r1", "%00", "s" * 3_000):
        problem(await client.post(f"{path}/{section}/regenerate"), 404, "not_found")
    found = problem(await client.post(f"{path}/s1/regenerate", json={"base": 2}), 404, "not_found")
    assert found.details == {"document_id": first.document_id, "number": 2}
    for query in ("", "/v1"):
        response = await client.post(f"{path}/s1/edit?q={query}", json={"markdown": MARKDOWN})
        assert locs(problem(response, 422, "invalid_request")) == ["query.q"]
    large = json.dumps({"markdown": "x" * 2_000_000}).encode()
    problem(await client.post(f"{path}/s1/edit", content=large, headers=JSON), 413, "body_too_large")
    problem(await client.post(f"{path}/s1/edit", content=b"{}", headers={"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip
    assert await counts(database) == before


async def test_a_change_of_a_document_that_is_gone(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    key = {"Idempotency-Key": "once"}
    path = f"/v1/documents/{first.document_id}/sections/s1/regenerate"
    job = await _submitted(await client.post(path, headers=key))
    assert (await client.delete(f"/v1/jobs/{first.job_id}")).status_code == 204
    problem(await client.post(path), 404, "not_found")
    # What was accepted stays accepted.
    assert (await _submitted(await client.post(path, headers=key))).id == job.id


async def test_a_child_job_is_not_submitted_as_a_job(client: httpx.AsyncClient, database: Database) -> None:
    before = await counts(database)
    body = {"pipeline": "longform_revision", "input": {"act": "edit_section", "document_id": UNKNOWN, "base": 1}}
    found = problem(await client.post("/v1/jobs", json=body), 422, "unknown_pipeline")
    assert found.details == {"pipelines": ["longform", "scoping"]}
    assert await counts(database) == before


async def test_sources_are_kept_with_the_job(api: Api, client: httpx.AsyncClient, database: Database) -> None:
    sources = [{"text": f"Survey {n}: " + "grain " * 10_000, "priority": "high"} for n in range(3)]
    body = {"pipeline": "longform", "input": {**TOPIC, "sources": sources}}
    key = {"Idempotency-Key": "with-sources"}
    first = await _submitted(await client.post("/v1/jobs", json=body, headers=key))
    assert (await _submitted(await client.post("/v1/jobs", json=body, headers=key))).id == first.id
    stored = await one(database, "SELECT input::text AS input, owner_id FROM jobs")
    assert len(stored["input"]) < 16_384
    async with database.transaction() as connection:
        files = await ArtifactRepository(connection, str(stored["owner_id"])).of_job(first.id)
    assert [file.name for file in files] == ["source-r1.txt", "source-r2.txt", "source-r3.txt"]
    brief = json.loads(stored["input"])
    for file, source, given in zip(files, brief["sources"], sources, strict=True):
        assert source["text"]["sha256"] == file.ref.sha256
        assert (await api.deps.store.get(file.ref)).decode() == str(given["text"]).strip()
    body["input"] = {**TOPIC, "sources": sources[:2]}
    problem(await client.post("/v1/jobs", json=body, headers=key), 409, "idempotency_mismatch")


async def test_a_store_that_is_away_accepts_nothing(
    start_api: StartApi, database: Database, account: Account, tmp_path: Path
) -> None:
    api = start_api(background=False)
    first = await Shelf(database, api.deps.store, account.owner_id).write()
    # A file stands where the owner's folder was: nothing can be put there.
    folder = tmp_path / "artifacts" / account.owner_id
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("")
    before = await counts(database)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=60) as client:
        body = {"pipeline": "longform", "input": {**TOPIC, "sources": [{"text": "A survey."}]}}
        for path, sent in (
            ("/v1/jobs", body),
            (f"/v1/documents/{first.document_id}/sections/s1/edit", {"markdown": MARKDOWN}),
        ):
            response = await client.post(path, json=sent)
            problem(response, 503, "store_unavailable")
            assert int(response.headers["retry-after"]) > 0
        assert await counts(database) == before
        assert (await client.post("/v1/jobs", json=LONGFORM)).status_code == 202


async def test_long_titles_are_cut(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first = await shelf.write(an_article(title="Tide\nmills " + "x" * 189))
    job = await _submitted(await client.post(f"/v1/documents/{first.document_id}/sections/s1/regenerate"))
    assert len(job.title) == 200
    assert job.title.startswith('Section "Part 1" of Tide mills xxx')
