"""Scoping sessions by REST, with nobody at work: what is shown, and what is refused and changes nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.session_schemas import (
    CharterVersionList,
    ContradictionList,
    SessionList,
    SessionView,
    StageView,
    TranscriptView,
    WholeCharter,
)
from core.contracts.base import Json
from core.contracts.scoping import Base, Contradiction, Finish, Verdict
from core.db.engine import Database
from core.documents.charter_diff import CharterDiff
from tests.api.conftest import LONGFORM, Api, StartApi, counts, submitted
from tests.api.scoped import CLEAR, EXPIRES, Scoped, answers_of
from tests.api.test_rubbish import JSON, UNKNOWN, locs, problem
from tests.conftest import Account, make_account
from tests.support.rows import execute, one, rows
from tests.support.traces import mentions

NEW = {"name": "Sorted mail", "description": "Sort what comes in."}
FIRST = next(iter(answers_of(1)))


@pytest.fixture
def scoped(api: Api, database: Database, account: Account) -> Scoped:
    """A session of the client's owner."""
    return Scoped(database, api.deps.store, account.owner_id)


@pytest_asyncio.fixture
async def bob(api: Api, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of somebody else."""
    other = await make_account(database, "Bob Example")
    async with httpx.AsyncClient(base_url=api.url, headers=other.headers, timeout=20) as client:
        yield client


async def whole(client: httpx.AsyncClient, session_id: str, database: Database) -> dict[str, Any]:
    """All that is shown and stored of a session: what a refused request must not change."""
    path = f"/v1/sessions/{session_id}"
    shown = {
        name: (await client.get(f"{path}{name}")).json()
        for name in ("", "/transcript", "/contradictions", *(f"/stages/{n}" for n in range(1, 6)))
    }
    tables = ("scoping_sessions", "scoping_entries", "scoping_checkpoints", "scoping_turns", "charters", "events")
    for table in tables:
        shown[table] = await rows(database, f"SELECT to_jsonb(t) AS line FROM {table} t ORDER BY 1")
    return {**shown, "counts": await counts(database)}


def act_of(session_id: str, act: str) -> str:
    return f"/v1/sessions/{session_id}/{act}"


async def test_a_session_begins_as_a_job(client: httpx.AsyncClient, database: Database) -> None:
    key = {"Idempotency-Key": "mail"}
    made = await client.post("/v1/sessions", json={**NEW, "tags": ["post"], "budget_usd": 2}, headers=key)
    assert made.status_code == 202, made.text
    view = SessionView.model_validate_json(made.content)
    assert made.headers["location"] == f"/v1/sessions/{view.id}"
    assert (view.name, view.status.value, view.working, view.asked, view.stage) == (
        "Sorted mail", "pending", True, None, 1,
    )  # fmt: skip
    assert [stage.status.value for stage in view.stages] == ["open", *["upcoming"] * 4]
    again = await client.post("/v1/sessions", json={"budget_usd": 2, "tags": ["post"], **NEW}, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, view.id)
    other = await client.post("/v1/sessions", json=NEW, headers=key)
    problem(other, 409, "idempotency_mismatch")
    job = (await client.get(f"/v1/jobs/{view.id}")).json()
    assert (job["pipeline"], job["title"], job["tags"]) == ("scoping", "Sorted mail", ["post"])
    same = {"pipeline": "scoping", "input": NEW, "tags": ["post"], "budget_usd": 2}
    as_job = await client.post("/v1/jobs", json=same, headers=key)
    assert (as_job.status_code, as_job.json()["id"]) == (202, view.id)
    stage = StageView.model_validate_json((await client.get(f"/v1/sessions/{view.id}/stages/1")).content)
    assert [question.id for question in stage.questions] == list(answers_of(1))
    (file,) = await rows(database, "SELECT name, step FROM artifacts")
    assert file == {"name": "questionnaire.json", "step": "input"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"name": "A"}, "description"),
        ({**NEW, "name": " "}, "name"),
        ({**NEW, "name": "two\nlines"}, "name"),
        ({**NEW, "name": "x" * 201}, "name"),
        ({**NEW, "language": "?"}, "language"),
        ({**NEW, "formats": ["docx"]}, "formats.0"),
        ({**NEW, "budget_usd": -1}, "budget_usd"),
        ({**NEW, "models": []}, "models"),
        ({**NEW, "colour": "red"}, "colour"),
    ],
)
async def test_a_session_that_cannot_begin(
    client: httpx.AsyncClient, database: Database, body: Json, where: str
) -> None:
    before = await counts(database)
    assert locs(problem(await client.post("/v1/sessions", json=body), 422, "invalid_request")) == [where]
    assert await counts(database) == before


async def test_the_list(client: httpx.AsyncClient, bob: httpx.AsyncClient, scoped: Scoped) -> None:
    await submitted(client)
    made = [await Scoped(scoped.database, scoped.store, scoped.owner_id).begin(f"Mail {n}") for n in range(5)]
    await made[1].complete()
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = SessionList.model_validate_json((await client.get("/v1/sessions?limit=2", params=cursor)).content)
        found += [item.id for item in page.items]
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    assert found == [one.id for one in made[::-1]]
    (item,) = (await client.get("/v1/sessions?status=completed")).json()["items"]
    assert (item["id"], item["version"], item["decision"], item["phase"], item["working"]) == (
        made[1].id, 1, "go", "done", False,
    )  # fmt: skip
    (waiting, *_) = (await client.get("/v1/sessions?status=waiting_for_input")).json()["items"]
    assert (waiting["expires_at"], waiting["stage"], waiting["version"]) == (EXPIRES.replace("+00:00", "Z"), 1, None)
    assert (await bob.get("/v1/sessions")).json() == {"items": [], "next_cursor": None}
    problem(await client.get("/v1/sessions?cursor=x"), 400, "invalid_cursor")
    problem(await client.get("/v1/sessions?status=asleep"), 422, "invalid_request")


async def test_what_is_said_is_shown(client: httpx.AsyncClient, scoped: Scoped) -> None:
    await scoped.begin("Mail")
    path = f"/v1/sessions/{scoped.id}"
    await scoped.answer(1, {**answers_of(1), FIRST: "Hm."})
    view = SessionView.model_validate_json((await client.get(path)).content)
    assert (view.working, view.asked) == (True, None)
    await scoped.go_on(Verdict(question=FIRST, vague=True, follow_up="What burns?"))
    view = SessionView.model_validate_json((await client.get(path)).content)
    assert view.asked is not None
    (asked,) = view.asked.questions
    assert (asked.id, asked.status.value, asked.follow_up, asked.said) == (FIRST, "follow_up", "What burns?", ["Hm."])
    assert view.stages[0].settled == view.stages[0].questions - 1
    assert view.expires_at is not None
    renamed = await client.patch(path, json={"name": "Post"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Post")
    first, second = "personal_data", "rules_that_apply"
    why = {"why": "They differ.", "question": "Which one?"}
    scoped.contradictions = (Contradiction(first=first, second=second, **why),)
    await scoped.do(Finish(entry_id=""), "finish", {})
    await scoped.go_on()
    found = ContradictionList.model_validate_json((await client.get(f"{path}/contradictions")).content).items
    assert [(one.status, one.first.question, one.second.stage, one.why) for one in found] == [
        ("accepted", first, 5, "They differ.")
    ]
    await scoped.complete()
    stage = StageView.model_validate_json((await client.get(f"{path}/stages/1")).content)
    assert stage.checkpoint is not None
    assert (stage.status.value, stage.closed, len(stage.findings)) == ("closed", 1, 5)
    assert {one.id: (one.skipped, one.said) for one in stage.questions}[FIRST] == (True, ["Hm."])
    told = TranscriptView.model_validate_json((await client.get(f"{path}/transcript")).content)
    assert [(one.seq, one.kind) for one in told.entries] == [(1, "answer_stage"), (1, "follow_ups"), (2, "finish")]
    assert [(one.stage, one.number) for one in told.checkpoints] == [(n, 1) for n in range(1, 6)]
    charter = WholeCharter.model_validate_json((await client.get(f"{path}/charter")).content)
    assert (charter.number, charter.title, charter.charter.name, charter.decision.value) == (1, "Post", "Post", "go")
    view = SessionView.model_validate_json((await client.get(path)).content)
    assert view.charter is not None
    assert (view.status.value, view.phase.value, view.stage, view.working) == ("completed", "done", None, False)


LONG = "x" * 200_000
REFUSED: list[tuple[str, Json, int, str]] = [
    ("stages/99/answers", {"answers": {FIRST: "A."}}, 404, "not_found"),
    ("stages/0/answers", {"answers": {FIRST: "A."}}, 404, "not_found"),
    ("stages/x/answers", {"answers": {FIRST: "A."}}, 404, "not_found"),
    ("stages/1/answers", {"answers": {FIRST: "A."}}, 409, "invalid_state"),
    ("stages/3/answers", {"answers": {"data_kept": "A."}}, 409, "invalid_state"),
    ("stages/2/answers", {"answers": {"no_such": "A."}}, 404, "not_found"),
    ("stages/2/answers", {"answers": {FIRST: "A."}}, 404, "not_found"),
    ("stages/2/answers", {"answers": {"who_gains": ""}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"who_gains": " \n"}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"who_gains": "a\x00"}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"who_gains": LONG}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"who_gains": LONG * 6}}, 413, "body_too_large"),
    ("stages/2/answers", {"answers": {}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"Who?": "A."}}, 422, "invalid_request"),
    ("stages/2/answers", {"answers": {"who_gains": 3}}, 422, "invalid_request"),
    ("stages/2/answers", {}, 422, "invalid_request"),
    ("stages/2/follow-ups", {"answers": {"who_gains": "A."}}, 409, "invalid_state"),
    ("stages/99/follow-ups", {"answers": {"who_gains": "A."}}, 404, "not_found"),
    ("stages/2/skips", {"question": "no_such"}, 404, "not_found"),
    ("stages/1/skips", {"question": FIRST}, 409, "invalid_state"),
    ("stages/2/skips", {"question": "who_gains", "because": LONG}, 422, "invalid_request"),
    ("stages/99/skips", {"question": "who_gains"}, 404, "not_found"),
    ("stages/4/reopen", {}, 409, "invalid_state"),
    ("stages/99/reopen", {}, 404, "not_found"),
    ("stages/1/reopen", {"questions": ["who_gains"]}, 404, "not_found"),
    ("contradictions/none", {"holds": "first"}, 404, "not_found"),
    ("contradictions/no%20ne", {"holds": "first"}, 404, "not_found"),
    ("contradictions/none", {"holds": "both"}, 422, "invalid_request"),
    ("finish", {"now": True}, 422, "invalid_request"),
]


async def test_what_is_refused_changes_nothing(client: httpx.AsyncClient, scoped: Scoped) -> None:
    """A session at stage 2; Temporal is down, so nothing else than the refusal can be the answer."""
    await scoped.begin()
    await scoped.answer(1, answers_of(1))
    await scoped.go_on()
    before = await whole(client, scoped.id, scoped.database)
    for act, body, status, code in REFUSED:
        response = await client.post(act_of(scoped.id, act), content=json.dumps(body).encode(), headers=JSON)
        problem(response, status, code)
    for name in ("0", "6", "99", "x"):
        problem(await client.get(act_of(scoped.id, f"stages/{name}")), 404, "not_found")
    problem(await client.patch(f"/v1/sessions/{scoped.id}", json={"name": ""}), 422, "invalid_request")
    alive = problem(await client.delete(f"/v1/sessions/{scoped.id}"), 409, "invalid_state")
    assert "cancel its job first" in alive.detail
    assert await whole(client, scoped.id, scoped.database) == before


ACTS: list[tuple[str, Json]] = [
    ("stages/1/answers", {"answers": {FIRST: CLEAR}}),
    ("stages/1/follow-ups", {"answers": {FIRST: CLEAR}}),
    ("stages/1/skips", {"question": FIRST}),
    ("stages/1/reopen", {"questions": [FIRST]}),
    ("contradictions/none", {"holds": "first"}),
    ("finish", {}),
]
"""Everything that can be said."""


async def test_a_session_that_does_not_listen_says_why(client: httpx.AsyncClient, scoped: Scoped) -> None:
    new = await Scoped(scoped.database, scoped.store, scoped.owner_id).accept()
    before = await whole(client, new.id, scoped.database)
    for act, body in ACTS:
        found = problem(await client.post(act_of(new.id, act), json=body), 409, "invalid_state")
        assert "about to begin" in found.detail
    assert await whole(client, new.id, scoped.database) == before
    await scoped.begin()
    told = {
        "paused": "resume its job",
        "waiting_for_budget": "budget",
        "failed": "has failed",
        "cancelled": "was cancelled",
    }
    for status, words in told.items():
        await scoped.set_status(status)
        before = await whole(client, scoped.id, scoped.database)
        assert before[""]["asked"] is None
        for act, body in ACTS:
            found = problem(await client.post(act_of(scoped.id, act), json=body), 409, "invalid_state")
            assert words in found.detail
            assert found.details == {"status": status}
        assert await whole(client, scoped.id, scoped.database) == before
    await execute(
        scoped.database,
        'UPDATE jobs SET status = \'failed\', error = \'{"code": "review_expired", "message": "Late."}\'',
    )
    expired = problem(await client.post(act_of(scoped.id, "finish")), 409, "invalid_state")
    assert "has expired" in expired.detail
    await scoped.set_status("waiting_for_input")
    assert (await client.post(f"/v1/jobs/{scoped.id}/cancel")).status_code == 202
    for act, body in ACTS:
        found = problem(await client.post(act_of(scoped.id, act), json=body), 409, "invalid_state")
        assert "being cancelled" in found.detail


async def test_an_answer_while_the_model_works(client: httpx.AsyncClient, scoped: Scoped) -> None:
    await scoped.begin()
    await scoped.answer(1, answers_of(1))
    other = await Scoped(scoped.database, scoped.store, scoped.owner_id).begin("Another")
    before = await whole(client, scoped.id, scoped.database)
    said = {name: body for name, body in ACTS if not name.startswith("contra")}
    for act, body in said.items():
        found = problem(await client.post(act_of(scoped.id, act), json=body), 409, "invalid_state")
        assert "reading your answers" in found.detail or "is reopened" in found.detail
    busy = await client.post(act_of(other.id, "stages/1/answers"), json={"answers": {FIRST: CLEAR}})
    assert problem(busy, 429, "stage_running").details == {"session_id": scoped.id}
    assert int(busy.headers["retry-after"]) > 0
    assert await whole(client, scoped.id, scoped.database) == before


async def test_temporal_is_away_and_the_same_word_again_is_safe(client: httpx.AsyncClient, scoped: Scoped) -> None:
    await scoped.begin()
    path, key = act_of(scoped.id, "stages/1/answers"), {"Idempotency-Key": "mine"}
    body = {"answers": {FIRST: CLEAR}}
    before = (await client.get(f"/v1/sessions/{scoped.id}")).json()
    for _ in range(2):
        away = await client.post(path, json=body, headers=key)
        assert problem(away, 503, "temporal_unavailable").details == {"idempotency_key": "mine"}
    other = await client.post(path, json={"answers": {FIRST: "No."}}, headers=key)
    problem(other, 409, "idempotency_mismatch")
    elsewhere = await client.post(act_of(scoped.id, "stages/2/answers"), json=body, headers=key)
    problem(elsewhere, 409, "idempotency_mismatch")
    (entry,) = await rows(scoped.database, "SELECT id, seq, update_id FROM scoping_entries")
    assert (entry["seq"], entry["update_id"]) == (None, "mine")
    assert (await client.get(f"/v1/sessions/{scoped.id}")).json() == before
    assert (await client.get(act_of(scoped.id, "transcript"))).json()["entries"] == []
    # It had reached the workflow after all.
    await execute(scoped.database, "UPDATE scoping_entries SET seq = 1")
    taken = await client.post(path, json=body, headers=key)
    assert taken.status_code == 202


async def test_another_user(client: httpx.AsyncClient, bob: httpx.AsyncClient, scoped: Scoped) -> None:
    await scoped.begin()
    before = await whole(client, scoped.id, scoped.database)
    for id in (scoped.id, UNKNOWN, "nonsense", await submitted(bob, **LONGFORM)):
        for name in ("", "/stages/1", "/transcript", "/contradictions", "/charter", "/charter/versions"):
            problem(await bob.get(f"/v1/sessions/{id}{name}"), 404, "not_found")
        for act, body in ACTS:
            problem(await bob.post(act_of(id, act), json=body), 404, "not_found")
        problem(await bob.patch(f"/v1/sessions/{id}", json={"name": "Mine"}), 404, "not_found")
        problem(await bob.delete(f"/v1/sessions/{id}"), 404, "not_found")
    after = await whole(client, scoped.id, scoped.database)
    del before["counts"], after["counts"], before["events"], after["events"]
    assert after == before


async def test_a_charter_has_versions_and_is_changed_one_at_a_time(client: httpx.AsyncClient, scoped: Scoped) -> None:
    await (await scoped.begin("Mail", budget_usd=2, tags=("post",))).complete()
    path = f"/v1/sessions/{scoped.id}"
    for wrong in ("stages/99/reopen", "stages/1/reopen"):
        body = {"questions": ["no_such"]}
        problem(await client.post(f"{path}/{wrong}", json=body), 404, "not_found")
    key = {"Idempotency-Key": "again"}
    made = await client.post(f"{path}/stages/2/reopen", json={"because": "Dear."}, headers=key)
    assert made.status_code == 202, made.text
    child = SessionView.model_validate_json(made.content)
    assert made.headers["location"] == f"/v1/sessions/{child.id}"
    assert child.reopened_from is not None
    assert child.reopened_from.model_dump() == {"session_id": scoped.id, "version": 1, "stage": 2}
    assert (child.document_id, child.tags, child.cost.budget_usd, child.working) == (scoped.id, ["post"], 2, True)
    again = await client.post(f"{path}/stages/2/reopen", json={"because": "Dear."}, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, child.id)
    second = await client.post(f"{path}/stages/3/reopen")
    assert problem(second, 409, "invalid_state").details == {"session_id": child.id}
    problem(await client.post(f"{path}/stages/3/reopen", headers=key), 409, "idempotency_mismatch")
    await execute(scoped.database, f"DELETE FROM jobs WHERE id = '{child.id}'")

    problem(await client.get(f"{path}/charter/diff?from=1&to=2"), 404, "not_found")
    base = Base(job_id=scoped.id, document_id=scoped.id, version=1, stage=2)
    later = await Scoped(scoped.database, scoped.store, scoped.owner_id).begin("Mail", base=base)
    problem(await client.get(f"/v1/sessions/{later.id}/charter"), 404, "not_found")
    await later.complete()
    versions = CharterVersionList.model_validate_json((await client.get(f"{path}/charter/versions")).content).items
    assert [(one.number, one.parent, one.reopened, one.session_id) for one in versions] == [
        (2, 1, 2, later.id),
        (1, None, None, scoped.id),
    ]
    assert (await client.get(f"/v1/sessions/{later.id}/charter/versions?limit=1")).json()["next_cursor"]
    older = WholeCharter.model_validate_json((await client.get(f"/v1/sessions/{later.id}/charter/versions/1")).content)
    assert older.session_id == scoped.id
    problem(await client.get(f"{path}/charter/versions/3"), 404, "not_found")
    diff = CharterDiff.model_validate_json((await client.get(f"{path}/charter/diff?from=1&to=2")).content)
    changed = {section.id.value for section in diff.sections if section.status.value != "same"}
    assert {"value", "summary"} <= changed
    assert "problem" not in changed


async def test_deleting_leaves_nothing(client: httpx.AsyncClient, scoped: Scoped) -> None:
    secret = "the blue herring of the harbour"
    await scoped.begin("Mail")
    await scoped.answer(1, answers_of(1, f"Nobody is told of {secret} in time, and that is all I say."))
    await scoped.go_on()
    await scoped.complete()
    base = Base(job_id=scoped.id, document_id=scoped.id, version=1, stage=5)
    child = await (await Scoped(scoped.database, scoped.store, scoped.owner_id).begin("Mail", base=base)).complete()
    assert (await client.delete(f"/v1/sessions/{scoped.id}")).status_code == 204
    problem(await client.get(f"/v1/sessions/{scoped.id}"), 404, "not_found")
    charter = await client.get(f"/v1/sessions/{child.id}/charter")
    assert charter.status_code == 200, "a later version keeps all it took over"
    assert (await client.delete(f"/v1/sessions/{child.id}")).status_code == 204
    assert await mentions(scoped.database, secret) == {}
    left = set(await mentions(scoped.database, scoped.id, child.id))
    assert left <= {"audit"}
    assert await rows(scoped.database, "SELECT 1 FROM artifacts") == []


async def test_a_session_is_read_by_another_process(start_api: StartApi, scoped: Scoped, account: Account) -> None:
    """Postgres is all there is: no Temporal, no worker."""
    await (await scoped.begin("Mail")).answer(1, answers_of(1))
    await scoped.go_on()
    api = start_api(background=False)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        assert (await client.get(f"/v1/sessions/{scoped.id}")).json()["stage"] == 2
        assert len((await client.get(f"/v1/sessions/{scoped.id}/transcript")).json()["checkpoints"]) == 1
    assert (await one(scoped.database, "SELECT count(*) AS n FROM scoping_checkpoints")) == {"n": 1}
