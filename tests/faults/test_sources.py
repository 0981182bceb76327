"""Documents from URLs and uploads: read once, cited by where they were found, with servers and workers that fail."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.client import Api as Client
from cli.home import Access
from cli.uploading import upload_file
from core.db.engine import Database
from tests.conftest import Account
from tests.faults.conftest import Holding, drop, until_held
from tests.faults.test_documents import ALL, asked, texts
from tests.support.audit import Audit
from tests.support.files import docx, pages, paragraph, pdf, shown
from tests.support.rows import rows
from tests.support.stack import Process, Stack, User
from tests.support.web_server import WebServer, page
from tests.support.wire import WireProvider

BRIEF = {"topic": "Tidal mills", "target_words": 900, "cache": "bypass", "formats": ["markdown"]}
PAGE = "<!doctype html><html><head><title>Mills</title></head><body><article>{}</article></body></html>".format(
    "".join(f"<p>The tide filled pond {n}, and the miller let it out through the sluice at ebb.</p>" for n in range(9))
)
SURVEY = pdf(pages(*(shown((50, 700, f"Page {n} of the survey counted {n * 10} mills.")) for n in (1, 2, 3))))


@pytest_asyncio.fixture
async def web() -> AsyncIterator[WebServer]:
    """A web server with a page and a PDF."""
    async with WebServer() as web:
        web.pages |= {"/mills": page(PAGE, "text/html; charset=utf-8"), "/survey": page(SURVEY, "application/pdf")}
        yield web


def reading(stack: Stack, web: WebServer, *, wait: bool = True) -> Process:
    """A worker that may ask the web server."""
    return stack.worker(wait=wait, FETCH_ALLOWED_HOSTS=f"127.0.0.1:{web.port}")


def uploaded(user: User, account: Account, folder: Path, data: bytes, name: str) -> str:
    """An upload that is ready, sent as the command line does."""
    file = folder / name
    file.write_bytes(data)
    with Client(Access(str(user.http.base_url).rstrip("/"), account.token)) as client:
        return str(upload_file(client, file)["id"])


async def test_a_document_is_written_from_pages_files_and_texts_and_cites_them(
    stack: Stack, user: User, account: Account, database: Database, wire: WireProvider, web: WebServer, audit: Audit
) -> None:
    reading(stack, web)
    letter = docx(paragraph("The letter of the miller praises oak paddles."))
    upload = await asyncio.to_thread(uploaded, user, account, stack.folder, letter, "letter.docx")
    sources: list[dict[str, Any]] = [
        {"url": web.url("/mills"), "priority": "high"},
        {"url": web.url("/survey"), "title": "The survey"},
        {"upload_id": upload},
        {"text": "Wheels turn at ebb.", "title": "Wheels"},
        {"url": web.url("/gone"), "required": False},
    ]
    job = await user.submit(input={**BRIEF, "formats": ALL, "sources": sources})
    done = await user.until(job["id"], "completed")

    summary = done["result"]["summary"]
    assert [(source["id"], source["title"]) for source in summary["sources"]] == [
        ("r1", "Mills"), ("r2", "The survey"), ("r3", "letter"), ("r4", "Wheels"),
    ]  # fmt: skip
    assert summary["sources"][1]["pages"] == 3
    (left,) = summary["left_out"]
    assert (left["id"], left["code"]) == ("r5", "url_status")
    assert {"fetch source r5", "read source r3"} <= set(done["progress"]["completed_steps"])
    report = (await user.output(done, "report.md")).decode()
    assert "3 pages" in report
    assert "was left out. 127.0.0.1" in report

    # The planner saw what was read, with its pages, and nothing of what was not.
    (plan, *_) = asked(wire, "The letter of the miller praises oak paddles.")
    assert "[p. 3]" in plan.prompt
    assert "let it out through the sluice at ebb" in plan.prompt
    assert "Source r5" not in plan.prompt
    today = datetime.now(UTC).date().isoformat()
    for name, lines in (await texts(user, done)).items():
        listed = " ".join(lines[-30:]).replace("\\", "").replace("\u200b", "")
        assert f"Mills, {web.url('/mills')} ({today})" in listed, name
    # The bytes as they came and the text as it was read, for each.
    names = {row["name"] for row in await rows(database, "SELECT name FROM artifacts")}
    assert {"source-r1.html", "source-r1-text.md", "source-r2.pdf", "source-r3.docx", "source-r3-text.md"} <= names
    assert sorted(web.targets) == ["/gone", "/mills", "/robots.txt", "/survey"]
    await audit.check()


@pytest.mark.faults
async def test_a_required_source_fails_the_job_and_a_retry_reads_only_that(
    stack: Stack, user: User, wire: WireProvider, web: WebServer, audit: Audit
) -> None:
    reading(stack, web)
    job = await user.submit(input={**BRIEF, "sources": [{"url": web.url("/mills")}, {"url": web.url("/later")}]})
    failed = await user.until(job["id"], "failed")
    assert (failed["error"]["code"], failed["error"]["step"]) == ("url_status", "fetch source r2")
    assert web.url("/later") in failed["error"]["message"]
    assert wire.requests == []
    web.pages["/later"] = page("Wheels turn at ebb.", "text/plain")
    await user.act(job["id"], "retry")
    await user.until(job["id"], "completed")
    assert [web.targets.count(target) for target in ("/mills", "/later")] == [1, 2]
    await audit.check()


@pytest.mark.faults
async def test_a_worker_killed_while_it_reads_fetches_nothing_again(
    stack: Stack, user: User, database: Database, web: WebServer, holding: Holding, audit: Audit
) -> None:
    job = await user.submit(input={**BRIEF, "sources": [{"url": web.url("/survey")}, {"url": web.url("/mills")}]})
    for step in ("fetch source r1", "read source r1", "read source r1"):
        async with holding((job["id"], step)):
            worker = reading(stack, web, wait=False)
            waiting = await until_held(database, 1)
            worker.kill()
            await drop(database, waiting)
    reading(stack, web)
    done = await user.until(job["id"], "completed")
    assert [source["pages"] for source in done["result"]["summary"]["sources"] if "pages" in source] == [3]
    # Once for the worker that was killed before it stored what it had fetched, and once for good.
    assert web.targets.count("/survey") == 2
    await audit.check()


@pytest.mark.faults
async def test_a_server_that_stays_down_is_given_up_and_one_that_comes_back_is_read(
    stack: Stack, user: User, web: WebServer, audit: Audit
) -> None:
    web.pages["/down"] = page("Later", status=503)
    reading(stack, web)
    sources = [{"url": web.url("/down"), "required": False}, {"url": web.url("/mills")}]
    job = await user.submit(input={**BRIEF, "sources": sources})
    done = await user.until(job["id"], "completed", seconds=90)
    assert done["result"]["summary"]["left_out"][0]["code"] == "url_status"
    assert web.targets.count("/down") == 4
    await audit.check()
