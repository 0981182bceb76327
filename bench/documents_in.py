"""How long the text of a PDF takes, with the process that reads it, and how much memory that process takes."""

import asyncio
import contextlib
import time

import psutil

from bench.exports import article
from bench.figures import Figure, Target, median
from core.contracts.documents import Article
from core.contracts.files import FileKind
from core.documents.docx import article_to_docx
from core.documents.extraction import STANDARD, extract
from core.documents.pdf import article_to_pdf

ROUNDS = 3
PARTS = 5
"""Articles of 10,000 words put together: about 105 pages."""
MOST_SECONDS = 5.0
MOST_MB = 150.0


async def run() -> list[Figure]:
    """One file after the other, as one worker would read them."""
    made = _article()
    pdf, docx = await asyncio.to_thread(article_to_pdf, made), await asyncio.to_thread(article_to_docx, made)
    return [*await _figures("PDF", FileKind.PDF, pdf), *await _figures("DOCX", FileKind.DOCX, docx)]


def _article() -> Article:
    editions = [article(number) for number in range(PARTS)]
    sections = [section for edition in editions for section in edition.sections]
    numbered = tuple(section.model_copy(update={"id": f"s{n}"}) for n, section in enumerate(sections, 1))
    words = sum(edition.words for edition in editions)
    return editions[0].model_copy(update={"sections": numbered, "words": words})


async def _largest() -> int:
    """The most bytes that a reader was seen to hold, until it is cancelled."""
    largest = 0
    while True:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process().children()
            largest = max([largest, *(child.memory_info().rss for child in children if "-m" in child.cmdline())])
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            return largest


async def _figures(name: str, kind: FileKind, data: bytes) -> list[Figure]:
    times = []
    watching = asyncio.create_task(_largest())
    for _ in range(ROUNDS):
        before = time.perf_counter()
        found = await extract(data, kind)
        times.append(time.perf_counter() - before)
    watching.cancel()
    largest = await watching / 1_000_000
    pages = f"{found.pages} pages, " if found.pages else ""
    what = f"{pages}{len(found.blocks):,} blocks, {len(data) / 1024:.0f} KiB"
    return [
        Figure(
            f"Text of a {name} of {PARTS * 10_000:,} words",
            median(times),
            "s",
            Target("under", MOST_SECONDS),
            f"median of {ROUNDS}, at most {max(times):.1f} s, each in a process of its own; {what}",
        ),
        Figure(
            f"Memory of the process that reads that {name}",
            largest,
            "MB",
            Target("under", MOST_MB),
            f"resident, at most in 10 ms; its address space is limited to {STANDARD.memory >> 20} MB",
        ),
    ]
