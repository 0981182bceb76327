"""How long a document of 10,000 words takes to become each of its files."""

import asyncio
import time
from collections.abc import Callable

from bench.figures import Figure, Target, median
from core.contracts.documents import Article, ArticleSection, Format, Reference
from core.documents.docx import article_to_docx
from core.documents.html import article_to_html
from core.documents.markdown import article_to_markdown
from core.documents.pdf import article_to_pdf
from core.documents.text import count_words

WORDS = 10_000
ROUNDS = 7
MOST_MS = 500.0
SOURCES = 12
EXPORTS: dict[Format, Callable[[Article], str | bytes]] = {
    Format.MARKDOWN: article_to_markdown,
    Format.HTML: article_to_html,
    Format.PDF: article_to_pdf,
    Format.DOCX: article_to_docx,
}

_PARAGRAPH = """The station at mile {n} was read *twice* a day for years, and what it says about floods is **plain**
[@r{one}]. Its keeper wrote down the level, the wind and the state of the ice; where the ink has run, the letters of the
mill help out [@r{one}, @r{two}], and `level({n})` agrees with both of them to within the width of a hand."""
_PLAIN = """Between mile {n} and the next there was no gauge at all. What happened there is told by the marks on the
walls of the mill, by the prices of grain in the town, and by those who wrote home about it; none of them agrees with
the others by more than a foot, and none was asked to. That is *why* the books of the two stations are read together."""
_TABLE = """| Year | Level at mile {n} | What the keeper wrote |
|:--|--:|---|
| 18{tens}1 | {n}.4 m | ice until the second week of March [@r{two}] |
| 18{tens}2 | {n}.1 m | low, and the mill stood still for a month |
| 18{tens}3 | {n}.9 m | the bridge closed, the lower town *under water* |"""
_CODE = """```python
def level_{n}(rain: float, snow: float) -> float:
    melted = snow * 0.{n}  # what the gauge books give
    return rain + melted
```"""
_LIST = """### What was done at mile {n}

1. The gauge was moved {n} feet up the bank.
2. The keeper was paid for a third reading:
   - at noon in summer,
   - before sunset in the months of ice.
3. A copy of the book went to the town [@r{one}]."""


def article(edition: int = 0) -> Article:
    """10,000 words of paragraphs, half of them with citations; in every section a table, a list and a block of code.

    Each edition has other numbers in every paragraph: Typst keeps what it has set before, in memory.
    """
    sections: list[ArticleSection] = []
    words = 0
    while words < WORDS:
        n = len(sections) + 1
        parts = [_PARAGRAPH, _PLAIN, _TABLE, _PLAIN, _PARAGRAPH, _LIST, _CODE]
        markdown = "\n\n".join(
            part.format(
                n=1000 * edition + 10 * n + at,
                tens=n % 10,
                one=(n + at) % SOURCES + 1,
                two=(n + 2 * at + 1) % SOURCES + 1,
            )
            for at, part in enumerate(parts)
        )
        words += count_words(markdown)
        sections.append(ArticleSection(id=f"s{n}", title=f"The books of station {n}", markdown=markdown))
    return Article(
        title="What the gauge books say",
        thesis="A town that reads its river every day is surprised less often.",
        language="en",
        sections=tuple(sections),
        words=words,
        references=tuple(
            Reference(number=n, source_id=f"r{n}", title=f"Gauge book {n} of the upper river")
            for n in range(1, SOURCES + 1)
        ),
    )


async def run() -> list[Figure]:
    """One export at a time, in a thread, as the activity does it."""
    editions = [article(number) for number in range(ROUNDS + 1)]
    return [await _figure(editions, format_, export) for format_, export in EXPORTS.items()]


async def _figure(editions: list[Article], format_: Format, export: Callable[[Article], str | bytes]) -> Figure:
    times = []
    size = 0
    for made in editions:
        before = time.perf_counter()
        file = await asyncio.to_thread(export, made)
        times.append((time.perf_counter() - before) * 1000)
        size = len(file.encode() if isinstance(file, str) else file)
    times = times[1:]
    return Figure(
        f"Export of {WORDS:,} words to {format_}",
        median(times),
        "ms",
        Target("under", MOST_MS),
        f"median of {ROUNDS} after one to warm up, at most {max(times):.0f} ms; {len(made.sections)} sections, each "
        f"with a table, lists, code and citations; {size / 1024:.0f} KiB",
    )
