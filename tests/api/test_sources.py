"""Sources by URL and upload, as they are submitted: what is refused, what is stored, what is the same request."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from core.contracts.files import FileKind
from core.contracts.longform import Brief
from core.db.engine import Database
from core.db.repositories.uploads import NewUpload, UploadRepository, UploadRules
from tests.api.conftest import TOPIC, counts
from tests.conftest import Account, make_account
from tests.support.rows import one, rows

RULES = UploadRules(10, 10_000, timedelta(hours=1), timedelta(hours=1))


class Uploads:
    """Uploads of an owner, as if their bytes had come."""

    def __init__(self, database: Database, owner_id: str) -> None:
        self.database, self.owner_id = database, owner_id

    async def add(self, kind: FileKind | None = FileKind.PDF, name: str = "survey.pdf") -> str:
        """One that is ready, of a kind; None: one that is pending."""
        async with self.database.transaction() as connection:
            uploads = UploadRepository(connection, self.owner_id)
            upload = await uploads.create(NewUpload(name, 10, "application/pdf", None), RULES)
            if kind is not None:
                await uploads.set_ready(upload.id, "ab" * 32, kind, "application/pdf")
        return upload.id

    async def delete(self, id: str) -> None:
        async with self.database.transaction() as connection:
            await UploadRepository(connection, self.owner_id).delete(id)


@pytest_asyncio.fixture
async def uploads(database: Database, account: Account) -> Uploads:
    return Uploads(database, account.owner_id)


def body(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"pipeline": "longform", "input": {**TOPIC, "sources": list(sources)}}


async def refused(client: httpx.AsyncClient, *sources: dict[str, Any]) -> list[tuple[str, str, str]]:
    answer = await client.post("/v1/jobs", json=body(*sources))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    return [(error["loc"], error["type"], error["message"]) for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a.example/", "http"),
        ("http://user:secret@a.example/", "The URL is refused."),
        ("http://0x7f.1/", "four decimal numbers"),
        ("http://a.example:25/", "port"),
        ("mills", "The URL is refused."),
        ("http://a.ex\u0001ample/", "control character"),
    ],
)
async def test_a_url_that_nobody_may_ask_for_is_refused_in_its_place(
    client: httpx.AsyncClient, database: Database, url: str, said: str
) -> None:
    before = await counts(database)
    ((loc, type, message),) = await refused(client, {"text": "Mills."}, {"url": url})
    assert (loc, type) == ("input.sources.1.url", "url_refused")
    assert said in message
    estimated = await client.post("/v1/estimates", json=body({"url": url}))
    assert estimated.status_code == 422
    assert await counts(database) == before


async def test_uploads_that_cannot_be_used_are_refused_in_their_places(
    client: httpx.AsyncClient, database: Database, uploads: Uploads
) -> None:
    bob = Uploads(database, (await make_account(database, "Bob Example")).owner_id)
    ids = [await bob.add(), await uploads.add(None), await uploads.add(FileKind.PNG), "../../etc/passwd", "0" * 32]
    before = await counts(database)
    found = await refused(client, *({"upload_id": id} for id in ids))
    assert [(loc, type) for loc, type, _ in found] == [
        ("input.sources.0.upload_id", "not_found"),
        ("input.sources.1.upload_id", "invalid_state"),
        ("input.sources.2.upload_id", "file_refused"),
        ("input.sources.3.upload_id", "not_found"),
        ("input.sources.4.upload_id", "not_found"),
    ]
    assert "only one that is ready" in found[1][2]
    assert "PDF and DOCX can be read" in found[2][2]
    assert await counts(database) == before


async def test_what_is_to_be_read_travels_by_reference_and_belongs_to_the_job(
    client: httpx.AsyncClient, database: Database, uploads: Uploads
) -> None:
    id = await uploads.add(name="../survey\u202e.pdf")
    given = body(
        {"url": "HTTPS://Mills.Example/a b", "required": False, "priority": "low"},
        {"text": "Wheels turn."},
        {"upload_id": id.upper(), "title": "The survey"},
    )
    answer = await client.post("/v1/jobs", json=given)
    assert answer.status_code == 202, answer.text
    job = await one(database, "SELECT id, owner_id, input FROM jobs")
    brief = Brief.model_validate(job["input"])
    assert [source.id for source in brief.sources] == ["r2"]
    url, file = brief.unread
    assert (url.id, url.url, url.required, url.priority.value) == ("r1", "HTTPS://Mills.Example/a b", False, "low")
    assert file.file is not None
    assert (file.id, file.title, file.file.kind, file.file.ref.sha256) == ("r3", "The survey", "pdf", "ab" * 32)
    kept = await rows(database, "SELECT name, role, sha256, job_id FROM artifacts ORDER BY name")
    assert [(row["name"], row["job_id"] == job["id"]) for row in kept] == [
        ("source-r2.txt", True),
        ("source-r3.pdf", True),
    ]


async def test_the_same_request_is_the_same_job_when_its_upload_is_gone(
    client: httpx.AsyncClient, uploads: Uploads
) -> None:
    id = await uploads.add()
    key = {"Idempotency-Key": "with-an-upload"}
    first = await client.post("/v1/jobs", json=body({"upload_id": id}), headers=key)
    await uploads.delete(id)
    again = await client.post("/v1/jobs", json=body({"upload_id": id}), headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = await client.post("/v1/jobs", json=body({"upload_id": id, "required": False}), headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


async def test_an_estimate_guesses_what_nobody_has_read(client: httpx.AsyncClient) -> None:
    async def tokens(*sources: dict[str, Any]) -> int:
        answer = await client.post("/v1/estimates", json=body(*sources))
        assert answer.status_code == 200, answer.text
        return int(answer.json()["models"][0]["input_tokens"])

    assert await tokens() < await tokens({"url": "https://mills.example/"}) < await tokens({"upload_id": "survey.pdf"})
