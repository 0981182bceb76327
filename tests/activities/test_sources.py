"""Sources as they are really fetched and read: a web server, files, the reader's process, Postgres and the store."""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.longform import Longform
from core.artifacts.store import ArtifactStore
from core.contracts.documents import Article, ArticleSection, Reference
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.files import FileKind
from core.contracts.jobs import StepKey
from core.contracts.longform import MAX_SOURCE_CHARACTERS, Brief, UnreadSource
from core.contracts.longform_sources import FetchSource, ReadSource, SourceFetched, SourceRead
from core.contracts.longform_steps import AssembleArticle, Section
from core.contracts.reading import UploadedFile
from core.db.engine import Database
from core.ledger.free import FreeSteps
from core.web.fetcher import Fetcher
from core.web.rules import DOCX, FetchRules
from tests.conftest import Account
from tests.support.files import GOOD, docx, pages, paragraph, pdf, shown
from tests.support.rows import begin, rows
from tests.support.web_server import WebServer, page

ARTICLE = "<!doctype html><title>Mills of the coast</title><article><h1>Mills</h1>{}</article>".format(
    "".join(
        f"<p>Paragraph {n} tells how the tide filled the pond, and how the miller let it out.</p>" for n in range(9)
    )
)
SURVEY = pdf(
    pages(
        shown((50, 700, "The survey of the eastern coast counted forty mills in spring.")),
        shown((50, 700, "Oak wheels lasted thirty years before carpenters replaced paddles.")),
    )
)


@dataclass
class Reader:
    """The real activities for one job, and the web that they see."""

    database: Database
    store: ArtifactStore
    web: WebServer
    longform: Longform
    job_id: str
    owner_id: str
    attempt: int = 0

    def source(self, id: str = "r1", target: str = "/", **more: Any) -> UnreadSource:
        if "file" not in more:
            more["url"] = more.get("url", self.web.url(target))
        return UnreadSource(id=id, **more)

    async def upload(self, data: bytes, kind: FileKind, name: str = "file", id: str = "r1", **more: Any) -> SourceRead:
        ref = await self.store.put(self.owner_id, data, "application/octet-stream")
        file = UploadedFile(ref=ref, name=name, kind=kind)
        return await self.read(self.source(id, file=file, **more), SourceFetched())

    async def fetch(self, source: UnreadSource, run: int = 1) -> SourceFetched:
        request = FetchSource(key=self.key(f"fetch source {source.id}", run), source=source)
        found: SourceFetched = await self._run(self.longform.fetch_source, request)
        return found

    async def read(self, source: UnreadSource, fetched: SourceFetched, run: int = 1) -> SourceRead:
        request = ReadSource(key=self.key(f"read source {source.id}", run), source=source, fetched=fetched.file)
        found: SourceRead = await self._run(self.longform.read_source, request)
        return found

    async def both(self, source: UnreadSource) -> SourceRead:
        return await self.read(source, await self.fetch(source))

    async def text(self, read: SourceRead) -> str:
        assert read.source is not None
        return (await self.store.get(read.source.text)).decode()

    def key(self, step: str, run: int = 1) -> StepKey:
        return StepKey(job_id=self.job_id, owner_id=self.owner_id, run=run, step=step, stage="sources")

    async def _run(self, activity: Any, request: Any) -> Any:
        # An attempt of a number of its own, as Temporal counts them.
        self.attempt += 1
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=self.attempt)
        return await environment.run(activity, request)


@pytest_asyncio.fixture
async def reader(database: Database, account: Account, tmp_path: Path) -> AsyncIterator[Reader]:
    """A job whose sources stand on a web server of this test's own."""
    async with WebServer() as web:
        store = ArtifactStore.open(str(tmp_path))
        rules = FetchRules(allowed=(f"127.0.0.1:{web.port}",), max_body_bytes=2_000_000)
        nothing: Any = None
        longform = Longform(nothing, FreeSteps(database), store, database, Fetcher(rules, "Atelier/1"))
        job_id = await begin(database, account.owner_id)
        yield Reader(database, store, web, longform, job_id, account.owner_id)


async def test_a_page_is_fetched_once_and_kept_as_it_came_and_as_it_was_read(reader: Reader) -> None:
    reader.web.pages["/"] = page(b"", status=302, location="/mills")
    reader.web.pages["/mills"] = page(ARTICLE, "text/html; charset=utf-8")
    read = await reader.both(reader.source())
    assert read.source is not None
    assert (read.source.title, read.source.url) == ("Mills", reader.web.url("/mills"))
    assert (read.source.read_on, read.source.pages) == (datetime.now(UTC).date(), None)
    text = await reader.text(read)
    assert "Paragraph 3 tells how the tide filled the pond" in text
    assert read.source.characters == len(text)
    assert await reader.both(reader.source()) == read
    assert reader.web.targets.count("/mills") == 1
    found = await rows(reader.database, "SELECT name, role, media_type FROM artifacts ORDER BY name")
    assert [(row["name"], row["role"]) for row in found] == [
        ("source-r1-text.md", "working"),
        ("source-r1.html", "working"),
    ]


async def test_a_run_after_the_first_reads_nothing_again(reader: Reader) -> None:
    reader.web.pages["/"] = page("Clay and oak.", "text/plain")
    source = reader.source()
    first = await reader.both(source)
    asked = len(reader.web.requests)
    assert await reader.read(source, await reader.fetch(source, run=2), run=2) == first
    assert len(reader.web.requests) == asked


async def test_pages_keep_their_numbers_and_the_reference_shows_them(reader: Reader) -> None:
    reader.web.pages["/survey"] = page(SURVEY, "application/pdf")
    read = await reader.both(reader.source(target="/survey", title="The survey"))
    assert read.source is not None
    assert (read.source.pages, read.source.placed, read.source.title) == (2, True, "The survey")
    assert "[p. 2]" in await reader.text(read)
    brief = Brief(topic="Tidal mills", target_words=900, sources=(read.source,))
    texts = ("Oak wheels lasted thirty years before paddles were replaced [@r1].", "It says nothing [@r1].")
    references = await reader.longform._references(
        brief, tuple(ArticleSection(id=f"s{n}", title="A", markdown=text) for n, text in enumerate(texts))
    )
    assert references == (
        Reference(
            number=1, source_id="r1", title="The survey", url=reader.web.url("/survey"),
            read_on=read.source.read_on, places=("2",),
        ),
    )  # fmt: skip


async def test_what_has_no_pages_is_cited_with_the_heading_it_stands_under(reader: Reader) -> None:
    notes = "# Mills\n\nThey stood there.\n\n## Wheels\n\nOak wheels lasted thirty years.\n\n## Rents\n\nIn pennies."
    read = await reader.upload(notes.encode(), FileKind.MARKDOWN, "notes.md")
    assert read.source is not None
    brief = Brief(topic="Tidal mills", target_words=900, sources=(read.source,))
    section = ArticleSection(id="s1", title="A", markdown="For thirty years oak wheels lasted [@r1].")
    (reference,) = await reader.longform._references(brief, (section,))
    assert (reference.title, reference.places, reference.headings) == ("Mills", (), ("Wheels",))


@pytest.mark.parametrize(
    ("data", "kind", "name", "title", "holds"),
    [
        (SURVEY, FileKind.PDF, "survey 2026.pdf", "survey 2026", "forty mills"),
        (docx(paragraph("The river rose.")), FileKind.DOCX, "../../rise\u202e.docx", "rise", "The river rose."),
        (b"# Wheels\n\nThey turn.", FileKind.MARKDOWN, "notes.md", "Wheels", "They turn."),
        ("Größe: 3".encode(), FileKind.TEXT, "sizes.txt", "sizes", "Größe: 3"),
        (GOOD[FileKind.JSON], FileKind.JSON, "data.json", "data", "2.5"),
    ],
)
async def test_an_upload_is_read_by_its_kind(
    reader: Reader, data: bytes, kind: FileKind, name: str, title: str, holds: str
) -> None:
    read = await reader.upload(data, kind, name)
    assert holds in await reader.text(read)
    assert read.source is not None
    assert (read.source.title, read.source.url, read.source.read_on) == (title, "", None)


@pytest.mark.parametrize(
    ("body", "media_type", "holds"),
    [
        ("Größe".encode("latin-1"), "text/plain; charset=iso-8859-1", "Größe"),
        ("<p>Größe und Gewicht der Räder</p>".encode("latin-1"), "text/html; charset=iso-8859-1", "Größe"),
        (SURVEY, "text/html", "forty mills"),
        (docx(paragraph("The river rose.")), DOCX, "The river rose."),
        (b"- one\n- two", "text/markdown", "- one\n- two"),
        (b"Plain", "text/plain; charset=no-such", "Plain"),
    ],
)
async def test_what_a_url_leads_to_is_told_by_its_content(
    reader: Reader, body: bytes, media_type: str, holds: str
) -> None:
    reader.web.pages["/"] = page(body, media_type)
    assert holds in await reader.text(await reader.both(reader.source()))


async def test_a_long_text_is_cut_and_says_so(reader: Reader) -> None:
    whole = "\n\n".join(f"Paragraph {n}: " + 30 * "water " for n in range(2_200))
    read = await reader.upload(whole.encode(), FileKind.TEXT)
    assert read.source is not None
    assert MAX_SOURCE_CHARACTERS - 300 < read.source.characters <= MAX_SOURCE_CHARACTERS < read.source.cut_from
    assert (await reader.text(read)).endswith("water")


async def test_a_required_source_that_is_not_there_fails_at_once_and_by_name(reader: Reader) -> None:
    with pytest.raises(AtelierError) as failed:
        await reader.fetch(reader.source("r7", "/gone", title="The gone page"))
    error = failed.value
    assert (error.type, error.final) == (ErrorType.URL_STATUS, True)
    assert error.message.startswith("The source r7 (The gone page) cannot be read. 127.0.0.1")
    assert (error.details["status"], error.details["step"]) == (404, "fetch source r7")


async def test_an_optional_source_that_is_not_there_is_left_out_in_all_runs(reader: Reader) -> None:
    source = reader.source("r2", "/gone", required=False)
    fetched = await reader.fetch(source)
    assert fetched.left_out is not None
    assert (fetched.left_out.code, fetched.left_out.id) == (ErrorType.URL_STATUS, "r2")
    assert "status 404" in fetched.left_out.reason
    reader.web.pages["/gone"] = page(ARTICLE)
    assert await reader.fetch(source, run=2) == fetched


@pytest.mark.parametrize("required", [True, False])
async def test_a_server_that_stays_down_is_given_up_after_some_tries(reader: Reader, required: bool) -> None:
    reader.web.pages["/"] = page("Later", status=503)
    source = reader.source(required=required)
    for _ in range(3):
        with pytest.raises(AtelierError) as failed:
            await reader.fetch(source)
        assert not failed.value.final
    if required:
        with pytest.raises(AtelierError) as failed:
            await reader.fetch(source)
        assert (failed.value.type, failed.value.final) == (ErrorType.URL_STATUS, True)
        # The job is retried: the server may have come back.
        reader.web.pages["/"] = page(ARTICLE)
        assert (await reader.fetch(source, run=2)).file is not None
    else:
        assert (await reader.fetch(source)).left_out is not None
    assert reader.web.targets.count("/") == 4 + required


async def test_a_server_that_asks_for_an_hour_is_not_waited_for(reader: Reader) -> None:
    reader.web.pages["/"] = page("Later", status=429, retry_after="3600")
    assert (await reader.fetch(reader.source(required=False))).left_out is not None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/", ErrorType.URL_REFUSED),
        ("http://169.254.169.254/latest/meta-data", ErrorType.URL_REFUSED),
        ("http://localhost/", ErrorType.URL_REFUSED),
    ],
)
async def test_an_address_that_is_not_public_is_final(reader: Reader, url: str, code: ErrorType) -> None:
    fetched = await reader.fetch(reader.source(url=url, required=False))
    assert fetched.left_out is not None
    assert fetched.left_out.code is code


async def test_robots_are_obeyed(reader: Reader) -> None:
    reader.web.pages |= {"/robots.txt": page("User-agent: *\nDisallow: /", "text/plain"), "/": page(ARTICLE)}
    fetched = await reader.fetch(reader.source(required=False))
    assert fetched.left_out is not None
    assert fetched.left_out.code is ErrorType.ROBOTS_DISALLOWED
    assert "/" not in reader.web.targets


async def test_a_file_without_text_is_left_out_or_fails_with_its_reason(reader: Reader) -> None:
    scan = pdf(pages("0 0 100 100 re f"))
    read = await reader.upload(scan, FileKind.PDF, "scan.pdf", required=False)
    assert read.left_out is not None
    assert (read.left_out.title, read.left_out.code) == ("scan.pdf", ErrorType.FILE_REFUSED)
    with pytest.raises(AtelierError) as failed:
        await reader.upload(scan, FileKind.PDF, "scan.pdf", "r2")
    assert (failed.value.final, failed.value.details["reason"]) == (True, "no_text")


async def test_a_store_that_is_away_is_no_fault_of_the_source(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise AtelierError(ErrorType.STORE_UNAVAILABLE, "The store is away.")

    reader.web.pages["/"] = page(ARTICLE)
    source = reader.source(required=False)
    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "put", away)
        for _ in range(5):
            with pytest.raises(AtelierError) as failed:
                await reader.fetch(source)
            assert not failed.value.final
    assert (await reader.fetch(source)).file is not None


async def test_the_article_is_assembled_with_what_was_fetched(reader: Reader) -> None:
    reader.web.pages["/"] = page(ARTICLE)
    read = await reader.both(reader.source())
    assert read.source is not None
    store, owner = reader.store, reader.owner_id
    outline = await store.put(owner, OUTLINE.encode(), "application/json")
    text = await store.put(owner, b"The pond filled [@r1].", "text/markdown")
    request = AssembleArticle(
        key=reader.key("assemble"),
        brief=Brief(topic="Tidal mills", target_words=900, sources=(read.source,)),
        outline=outline,
        sections=(Section(id="s1", text=text, words=3),),
    )
    assembled = await reader._run(reader.longform.assemble_article, request)
    article = Article.model_validate_json(await store.get(assembled.article))
    assert [(entry.title, entry.url) for entry in article.references] == [("Mills", reader.web.url("/"))]


OUTLINE = """{"title": "Mills", "thesis": "They turn.", "sections": [
    {"id": "s1", "title": "Ponds", "purpose": "Ponds.", "key_points": [], "words": 300}]}"""
