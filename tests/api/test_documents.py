"""Documents by REST: listed, read, their versions, what changed between them; and nothing of anybody else's."""

import hashlib
import shutil
from pathlib import Path

import httpx

from api.document_schemas import DocumentList, DocumentView, VersionList, WholeVersionView
from core.contracts.documents import Reason, Version
from core.db.engine import Database
from core.documents.diff import ArticleDiff, SectionStatus
from tests.api.conftest import counts
from tests.api.test_rubbish import UNKNOWN, locs, problem
from tests.api.written import TEXTS, Shelf, a_report, an_article
from tests.conftest import make_account

NEW_TEXT = "Steam asked no moon for the hour."


async def _all_pages(client: httpx.AsyncClient, path: str, limit: int, name: str) -> list[object]:
    found: list[object] = []
    cursor = ""
    while True:
        page = (await client.get(f"{path}?limit={limit}{cursor}")).json()
        found += [item[name] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = f"&cursor={page['next_cursor']}"


async def _changed(shelf: Shelf) -> tuple[Version, Version]:
    """A document with two versions; the second has another section s2."""
    first = await shelf.write()
    second = await shelf.write(
        an_article(TEXTS[0], NEW_TEXT, TEXTS[2], title="Tide mills again"),
        document_id=first.document_id,
        parent=1,
        reason=Reason.REGENERATED,
        section_id="s2",
        instructions="Name the moon.",
        score=0.9,
    )
    return first, second


async def test_a_document_is_shown_as_its_newest_version_has_it(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first, second = await _changed(shelf)
    response = await client.get(f"/v1/documents/{first.document_id}")
    assert response.status_code == 200
    document = DocumentView.model_validate_json(response.content)
    assert (document.id, document.title, document.latest) == (first.document_id, "Tide mills again", 2)
    assert (document.versions, document.words, document.score) == (2, second.words, 0.9)
    assert (document.language, document.simulated) == ("en", False)
    assert document.created_at < document.updated_at
    page = DocumentList.model_validate_json((await client.get("/v1/documents")).content)
    assert page.items == [document]


async def test_a_document_shrinks_with_the_jobs_that_wrote_it(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first, second = await _changed(shelf)
    path = f"/v1/documents/{first.document_id}"
    assert (await client.delete(f"/v1/jobs/{second.job_id}")).status_code == 204
    left = (await client.get(path)).json()
    assert (left["latest"], left["versions"], left["title"]) == (1, 1, "Tide mills")
    problem(await client.get(f"{path}/versions/2"), 404, "not_found")
    assert (await client.delete(f"/v1/jobs/{first.job_id}")).status_code == 204
    problem(await client.get(path), 404, "not_found")
    assert (await client.get("/v1/documents")).json() == {"items": [], "next_cursor": None}


async def test_documents_are_paged(client: httpx.AsyncClient, shelf: Shelf) -> None:
    ids = [(await shelf.write()).document_id for _ in range(5)]
    await shelf.write(document_id=ids[0], parent=1)  # a new version moves no document
    for limit in (1, 2, 5, 200):
        assert await _all_pages(client, "/v1/documents", limit, "id") == ids[::-1]
    page = (await client.get("/v1/documents?limit=2")).json()
    await client.delete(f"/v1/jobs/{ids[3]}")  # the one that the cursor names
    await shelf.write()
    after = (await client.get(f"/v1/documents?limit=2&cursor={page['next_cursor']}")).json()
    assert [document["id"] for document in after["items"]] == [ids[2], ids[1]]


async def test_versions_are_paged(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first = await shelf.write()
    for number in range(1, 6):
        await shelf.write(document_id=first.document_id, parent=number, reason=Reason.EDITED, section_id="s1")
    path = f"/v1/documents/{first.document_id}/versions"
    for limit in (1, 4, 6):
        assert await _all_pages(client, path, limit, "number") == [6, 5, 4, 3, 2, 1]
    page = VersionList.model_validate_json((await client.get(path)).content)
    newest = page.items[0]
    assert (newest.parent, newest.reason, newest.section_id) == (5, Reason.EDITED, "s1")
    assert [section.id for section in newest.sections] == ["s1", "s2", "s3"]


async def test_a_version_is_read_whole(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first, second = await _changed(shelf)
    response = await client.get(f"/v1/documents/{first.document_id}/versions/2")
    assert response.status_code == 200
    found = WholeVersionView.model_validate_json(response.content)
    assert (found.number, found.parent, found.job_id) == (2, 1, second.job_id)
    assert (found.reason, found.instructions, found.restored_from) == (Reason.REGENERATED, "Name the moon.", None)
    assert found.sha256 == second.article.sha256
    assert [section.markdown for section in found.sections] == [TEXTS[0], NEW_TEXT, TEXTS[2]]
    assert [section.transition for section in found.sections] == ["", "And so.", "And so."]
    assert [section.words for section in found.sections] == [9, 7, 3]
    for section in found.sections:
        assert section.sha256 == hashlib.sha256(section.markdown.encode()).hexdigest()
    assert (found.thesis, found.language) == ("The clock beat the moon.", "en")
    assert [reference.source_id for reference in found.references] == ["r1"]
    assert found.report == a_report()
    assert found.outputs[0].url == f"/v1/artifacts/{second.outputs[0].artifact_id}"
    # What was version 1 still is.
    before = WholeVersionView.model_validate_json(
        (await client.get(f"/v1/documents/{first.document_id}/versions/1")).content
    )
    assert [section.markdown for section in before.sections] == list(TEXTS)
    assert before.sha256 == first.article.sha256


async def test_two_versions_are_compared(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first, _ = await _changed(shelf)
    path = f"/v1/documents/{first.document_id}/diff"

    async def compared(old: int, new: int) -> ArticleDiff:
        response = await client.get(f"{path}?from={old}&to={new}")
        assert response.status_code == 200, response.text
        return ArticleDiff.model_validate_json(response.content)

    found = await compared(1, 2)
    assert [section.status for section in found.sections] == [
        SectionStatus.SAME,
        SectionStatus.CHANGED,
        SectionStatus.SAME,
    ]
    assert found.title_changed
    assert found.sections[1].parts is not None
    for op, text in (("insert", NEW_TEXT), ("delete", TEXTS[1])):
        runs = found.sections[1].parts.markdown
        assert "".join(run.text for run in runs if run.op in ("equal", op)) == text
    backwards = await compared(2, 1)
    assert backwards.summary.words_inserted == found.summary.words_deleted
    assert (await compared(2, 2)).summary.same == 3


QUERIES = [
    ("diff", "", ["query.from", "query.to"]),
    ("diff", "from=1", ["query.to"]),
    ("diff", "from=0&to=1", ["query.from"]),
    ("diff", "from=1&to=-1", ["query.to"]),
    ("diff", "from=1&to=2147483648", ["query.to"]),
    ("diff", "from=one&to=2", ["query.from"]),
    ("diff", "from=1&to=1&words=yes", ["query.words"]),
    ("versions", "limit=0", ["query.limit"]),
    ("versions", "limit=201", ["query.limit"]),
    ("versions", "number=1", ["query.number"]),
    ("versions/1", "full=1", ["query.full"]),
    ("", "verbose=1", ["query.verbose"]),
]
CURSORS = ["", "x", "AAAA", "%00", "A" * 9_000, "_____w", "AZqgwn8-fEGdCluebx8qEA"]


async def test_questions_that_are_refused(client: httpx.AsyncClient, shelf: Shelf) -> None:
    first = await shelf.write()
    for path, query, where in QUERIES:
        response = await client.get(f"/v1/documents/{first.document_id}/{path}".rstrip("/") + f"?{query}")
        assert locs(problem(response, 422, "invalid_request")) == where, query
    for cursor in CURSORS:
        response = await client.get(f"/v1/documents/{first.document_id}/versions?cursor={cursor}")
        problem(response, 400, "invalid_cursor")
    for cursor in CURSORS[:-1]:
        problem(await client.get(f"/v1/documents?cursor={cursor}"), 400, "invalid_cursor")
    for number in ("0", "-1", "01", "2", "999999999", "99999999999999", "one", "%00", "1.0"):
        problem(await client.get(f"/v1/documents/{first.document_id}/versions/{number}"), 404, "not_found")
    problem(await client.get(f"/v1/documents/{first.document_id}/diff?from=1&to=2"), 404, "not_found")


ROUTES = [
    ("GET", "/v1/documents/{id}"),
    ("GET", "/v1/documents/{id}/versions"),
    ("GET", "/v1/documents/{id}/versions/1"),
    ("GET", "/v1/documents/{id}/diff?from=1&to=1"),
    ("POST", "/v1/documents/{id}/sections/s1/regenerate"),
    ("POST", "/v1/documents/{id}/sections/s1/edit"),
    ("POST", "/v1/documents/{id}/versions/1/restore"),
    ("GET", "/v1/jobs/{id}/outline"),
    ("POST", "/v1/jobs/{id}/outline/approve"),
    ("POST", "/v1/jobs/{id}/outline/edit"),
    ("POST", "/v1/jobs/{id}/outline/revise"),
]
BODIES = {"/edit": {"markdown": "mine now"}, "outline/edit": {"sections": []}, "/revise": {"instructions": "Mine."}}


async def test_what_is_anothers_is_not_there(client: httpx.AsyncClient, shelf: Shelf, database: Database) -> None:
    stranger = await make_account(database, "Bob Example")
    await _changed(shelf)
    theirs = (await shelf.write()).document_id  # of the client, and its id is its job's
    before = await counts(database)
    for method, path in ROUTES:
        body = next((body for end, body in reversed(BODIES.items()) if path.endswith(end)), None)
        for wrong in (theirs, UNKNOWN, "nonsense", "%00", "%FF", "..%2f..", UNKNOWN + "0", "1" * 3_000):
            who = stranger.headers if wrong == theirs else {}
            response = await client.request(method, path.format(id=wrong), json=body, headers=who)
            problem(response, 404, "not_found")
    assert (await client.get("/v1/documents", headers=stranger.headers)).json()["items"] == []
    assert await counts(database) == before


async def test_nothing_is_shown_without_a_key(client: httpx.AsyncClient, shelf: Shelf) -> None:
    document_id = (await shelf.write()).document_id
    async with httpx.AsyncClient(base_url=client.base_url) as anonymous:
        for method, path in [*ROUTES, ("GET", "/v1/documents")]:
            problem(await anonymous.request(method, path.format(id=document_id)), 401, "unauthenticated")


async def test_bytes_that_are_gone(client: httpx.AsyncClient, shelf: Shelf, tmp_path: Path) -> None:
    first = await shelf.write()
    folder = tmp_path / "artifacts" / shelf.owner_id
    assert folder.is_dir()
    shutil.rmtree(folder)
    path = f"/v1/documents/{first.document_id}"
    problem(await client.get(f"{path}/versions/1"), 500, "artifact_missing")
    problem(await client.get(f"{path}/diff?from=1&to=1"), 500, "artifact_missing")
    assert (await client.get(f"{path}/versions")).status_code == 200
