"""What the repositories keep of documents and answers: each once, under a number that is never given twice."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, attachment
from core.contracts.documents import Reason, Version
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Answer, AnswerFile, FinishJob, JobResult, JobStatus
from core.contracts.longform_steps import REVIEW_STEP, REVISION_PIPELINE
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.documents import DocumentRepository, NewVersion
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.steps import AnswersRepository
from tests.api.written import Shelf, an_article
from tests.conftest import Account, make_account
from tests.support.rows import accept, begin, new_job, one, rows, step_key


@pytest.fixture
def shelf(database: Database, account: Account, tmp_path: Path) -> Shelf:
    """Where documents are written to; no API is needed."""
    return Shelf(database, ArtifactStore.open(str(tmp_path / "artifacts")), account.owner_id)


async def keep(database: Database, owner_id: str, new: NewVersion) -> Version:
    async with database.transaction() as connection:
        return await DocumentRepository(connection, owner_id).keep(new)


async def delete_job(database: Database, owner_id: str, job_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET status = 'completed' WHERE id = :id"), {"id": job_id})
        await JobRepository(connection, owner_id).delete(job_id)


async def test_a_version_is_kept_once_by_its_job(shelf: Shelf, database: Database) -> None:
    job_id = await accept(database, shelf.owner_id)
    new = await shelf.new_version(job_id, an_article(), instructions="Kürzer.", score=None, simulated=True)
    ready = asyncio.Barrier(8)

    async def keep_at_once() -> Version:
        async with database.transaction() as connection:
            await ready.wait()
            return await DocumentRepository(connection, shelf.owner_id).keep(new)

    kept = await asyncio.gather(*(keep_at_once() for _ in range(8)))
    assert {version.number for version in kept} == {1}
    assert kept[0] == Version(
        document_id=job_id,
        number=1,
        reason=Reason.WRITTEN,
        instructions="Kürzer.",
        job_id=job_id,
        title="Tide mills",
        words=new.words,
        sections=new.sections,
        article=new.article,
        outline=new.outline,
        report=new.report,
        outputs=new.outputs,
        simulated=True,
    )
    assert kept[0] == kept[-1]
    assert await one(database, "SELECT last_number FROM documents") == {"last_number": 1}


async def test_numbers_are_taken_in_turn_and_never_again(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    made = await asyncio.gather(
        *(shelf.write(document_id=first.document_id, parent=1, reason=Reason.EDITED) for _ in range(8))
    )
    assert sorted(version.number for version in made) == list(range(2, 10))
    newest = max(made, key=lambda version: version.number)
    await delete_job(database, shelf.owner_id, newest.job_id)
    assert (await shelf.write(document_id=first.document_id, parent=1)).number == 10


async def test_a_document_that_went_meanwhile_begins_behind_its_parent(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    await delete_job(database, shelf.owner_id, first.job_id)
    assert await rows(database, "SELECT * FROM documents") == []
    assert (await shelf.write(document_id=first.document_id, parent=1)).number == 2


async def test_a_version_of_a_job_that_is_gone_is_not_kept(shelf: Shelf, database: Database) -> None:
    new = await shelf.new_version(new_id(), an_article())
    with pytest.raises(AtelierError) as refused:
        await keep(database, shelf.owner_id, new)
    assert refused.value.type is ErrorType.INVALID_STATE
    assert await rows(database, "SELECT * FROM documents") == []


async def test_nobody_writes_into_anothers_document(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    stranger = await make_account(database, "Bob Example")
    theirs = Shelf(database, shelf.store, stranger.owner_id)
    with pytest.raises(AtelierError) as refused:
        await theirs.write(document_id=first.document_id, parent=1)
    assert refused.value.type is ErrorType.NOT_FOUND
    assert len(await rows(database, "SELECT * FROM versions")) == 1


async def test_the_document_goes_with_its_last_version(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    second = await shelf.write(document_id=first.document_id, parent=1)
    await delete_job(database, shelf.owner_id, first.job_id)
    assert await rows(database, "SELECT number FROM versions") == [{"number": 2}]
    assert len(await rows(database, "SELECT * FROM documents")) == 1
    await delete_job(database, shelf.owner_id, second.job_id)
    assert await rows(database, "SELECT * FROM documents") == []


async def test_two_that_delete_the_last_versions_at_once_leave_no_empty_document(
    shelf: Shelf, database: Database
) -> None:
    for _ in range(10):
        first = await shelf.write()
        others = [await shelf.write(document_id=first.document_id, parent=1) for _ in range(3)]
        await asyncio.gather(*(delete_job(database, shelf.owner_id, version.job_id) for version in (first, *others)))
        assert await rows(database, "SELECT * FROM documents") == []


async def test_a_version_that_is_added_while_the_last_one_goes_is_not_lost(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    job_id = await accept(database, shelf.owner_id)
    new = await shelf.new_version(job_id, an_article(), document_id=first.document_id, parent=1)
    async with database.transaction() as connection:
        await DocumentRepository(connection, shelf.owner_id).keep(new)
        deleting = asyncio.create_task(delete_job(database, shelf.owner_id, first.job_id))
        # The trigger waits for the document that this transaction holds.
        async with asyncio.timeout(10):
            while not await rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await deleting
    assert await rows(database, "SELECT number FROM versions") == [{"number": 2}]
    assert len(await rows(database, "SELECT * FROM documents")) == 1


async def test_documents_go_with_their_owner(shelf: Shelf, database: Database) -> None:
    first = await shelf.write()
    await shelf.write(document_id=first.document_id, parent=1)
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM owners"))
    assert await rows(database, "SELECT * FROM versions") == []
    assert await rows(database, "SELECT * FROM documents") == []


async def test_the_cache_has_the_newest_completed_version_of_the_owner(shelf: Shelf, database: Database) -> None:
    async def cached(owner_id: str, key: str = "key") -> tuple[Version, JobResult] | None:
        async with database.transaction() as connection:
            return await DocumentRepository(connection, owner_id).cached(key)

    stranger = await make_account(database, "Bob Example")
    assert await cached(shelf.owner_id) is None
    await shelf.write(cache_key="key")
    newest = await shelf.write(cache_key="key")
    unfinished = await shelf.new_version(await accept(database, shelf.owner_id), an_article(), cache_key="key")
    await keep(database, shelf.owner_id, unfinished)
    await shelf.write(cache_key="another")
    found = await cached(shelf.owner_id)
    assert found == (newest, JobResult(outputs=newest.outputs))
    assert await cached(stranger.owner_id) is None
    await delete_job(database, shelf.owner_id, newest.job_id)
    again = await cached(shelf.owner_id)
    assert again is not None
    assert again[0].job_id not in {newest.job_id, unfinished.job_id}


async def test_a_version_is_opened_with_its_brief(shelf: Shelf, database: Database) -> None:
    version = await shelf.write()
    async with database.transaction() as connection:
        documents = DocumentRepository(connection, shelf.owner_id)
        opened = await documents.opened(version.document_id, 1)
        assert opened is not None
        assert opened[0] == version
        assert opened[1]["topic"] == "Tide mills"
        assert await documents.opened(version.document_id, 2) is None
        theirs = DocumentRepository(connection, new_id())
        assert await theirs.opened(version.document_id, 1) is None


async def test_which_revision_is_alive(shelf: Shelf, database: Database) -> None:
    version = await shelf.write()

    async def alive() -> str | None:
        async with database.transaction() as connection:
            return await DocumentRepository(connection, shelf.owner_id).alive_revision(version.document_id)

    await accept(database, shelf.owner_id, input={"document_id": version.document_id})
    await accept(database, shelf.owner_id, pipeline=REVISION_PIPELINE, input={"document_id": new_id()})
    assert await alive() is None
    job_id = await accept(
        database, shelf.owner_id, pipeline=REVISION_PIPELINE, input={"document_id": version.document_id}
    )
    for status in JobStatus:
        async with database.transaction() as connection:
            values = {"id": job_id, "status": status.value}
            await connection.execute(text("UPDATE jobs SET status = :status WHERE id = :id"), values)
        ended = status in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}
        assert await alive() == (None if ended else job_id), status


async def test_attachments_become_rows_with_the_job_and_only_once(database: Database, account: Account) -> None:
    file = attachment(account.owner_id, "source-r1.txt", "Tide tables", "text/plain")
    job = new_job(idempotency_key="k", attachments=(file,))
    async with database.transaction() as connection:
        accepted = [await JobRepository(connection, account.owner_id).submit(job) for _ in range(3)]
    assert [new for _, new in accepted] == [True, False, False]
    job_id = accepted[0][0].id
    async with database.transaction() as connection:
        (found,) = await ArtifactRepository(connection, account.owner_id).of_job(job_id)
        assert await JobRepository(connection, account.owner_id).input(job_id) == job.input
    assert (found.step, found.revision, found.name, found.role) == ("input", 1, "source-r1.txt", "working")
    assert found.ref == file.ref


async def test_a_job_waits_as_long_as_its_starter_says(database: Database, account: Account) -> None:
    await accept(database, account.owner_id)
    async with database.transaction() as connection:
        (request,) = await RunRepository(connection).claim(1, timedelta(seconds=10), 77, 7)
    assert (request.review_seconds, request.remind_seconds) == (77, 7)


def _answer(update_id: str = "u1", *files: AnswerFile) -> Answer:
    return Answer(act="approve_outline", update_id=update_id, body_sha256="b" * 64, files=files)


async def test_the_first_answer_stays(shelf: Shelf, database: Database) -> None:
    job_id = await begin(database, shelf.owner_id)
    key = step_key(job_id, shelf.owner_id, REVIEW_STEP, revision=2)
    file = AnswerFile(name="outline.json", ref=await shelf.put(an_article()))
    first = _answer("u1", file)
    for answer in (first, _answer("u2")):
        async with database.transaction() as connection:
            assert await RunRepository(connection).store_answer(key, answer) == first
    async with database.transaction() as connection:
        runs = RunRepository(connection)
        assert await runs.read_answer(key) == first
        assert await runs.read_answer(key.model_copy(update={"revision": 1})) is None
        assert await AnswersRepository(connection, shelf.owner_id).of(job_id, REVIEW_STEP) == [(2, first)]
        assert await AnswersRepository(connection, new_id()).of(job_id, REVIEW_STEP) == []
        newest = await ArtifactRepository(connection, shelf.owner_id).newest(job_id, "outline.json", [REVIEW_STEP])
    assert newest is not None
    assert (newest.ref, newest.revision) == (file.ref, 2)
    completed = await rows(database, "SELECT 1 FROM events WHERE type = 'step.completed'")
    assert len(completed) == 1


async def test_an_answer_that_comes_too_late_changes_nothing(shelf: Shelf, database: Database) -> None:
    ended, retried = [await begin(database, shelf.owner_id) for _ in range(2)]
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=ended, run=1, status=JobStatus.CANCELLED))
        await connection.execute(text("UPDATE jobs SET run = 2 WHERE id = :id"), {"id": retried})
    for job_id in (ended, retried, new_id()):
        with pytest.raises(AtelierError) as refused:
            async with database.transaction() as connection:
                await RunRepository(connection).store_answer(step_key(job_id, shelf.owner_id, REVIEW_STEP), _answer())
        assert refused.value.type is ErrorType.INVALID_STATE
        assert not refused.value.kind.transient
    assert await rows(database, "SELECT * FROM steps") == []


async def test_the_newest_outline_is_the_one_made_last(shelf: Shelf, database: Database) -> None:
    job_id = await begin(database, shelf.owner_id)

    async def newest() -> ArtifactRef | None:
        async with database.transaction() as connection:
            found = await ArtifactRepository(connection, shelf.owner_id).newest(
                job_id, "outline.json", ["decompose", REVIEW_STEP]
            )
        return None if found is None else found.ref

    assert await newest() is None
    first = await shelf.outline(job_id)
    assert await newest() == first
    edited = AnswerFile(name="outline.json", ref=await shelf.put(an_article("edited")))
    async with database.transaction() as connection:
        await RunRepository(connection).store_answer(
            step_key(job_id, shelf.owner_id, REVIEW_STEP), _answer("u1", edited)
        )
    assert await newest() == edited.ref
    again = await shelf.outline(job_id, revision=2)
    assert await newest() == again
