"""An article as a PDF."""

from pathlib import Path
from typing import Any

from core.contracts.documents import Article
from core.documents.blocks import LONGEST_WORD, breakable, parse_blocks
from core.documents.citations import mark, numbers_of, source_line
from core.documents.labels import CONTENTS_FROM, language, running_head
from core.documents.text import one_line
from core.documents.typesetting import heading, line, readable_labels, typeset, unreadable

TEMPLATE = Path(__file__).with_name("article.typ")
MAX_KEYWORDS = 40


def article_to_pdf(article: Article) -> bytes:
    """Typeset an article: A4, title, thesis, contents (from 4 sections on), running head, page numbers.

    It blocks, 30 ms to a second for an ordinary article: call it in a thread (`asyncio.to_thread`); Typst lets go of
    the GIL, and calls may run side by side. The same article gives the same bytes. Raises EXPORT_FAILED.
    """
    return typeset(TEMPLATE, article=_data(article))


def _data(article: Article) -> dict[str, Any]:
    """What `article.typ` reads."""
    title, words, numbers = one_line(article.title), readable_labels(article.language), numbers_of(article.references)
    own = language(article.language)
    sections = [
        {
            "title": heading(section.title),
            "transition": line(section.transition),
            "blocks": parse_blocks(section.markdown, numbers),
        }
        for section in article.sections
    ]
    references = [
        {"number": entry.number, "mark": mark([entry.number]), "title": line(source_line(entry))}
        for entry in article.references
    ]
    keywords = [one_line(section.title) for section in article.sections][:MAX_KEYWORDS]
    return {
        "lang": own.code,
        "region": own.region,
        "dir": own.direction,
        "labels": {
            "lang": words.language.code,
            "dir": words.language.direction,
            "contents": words.contents,
            "references": words.references,
            "simulated": words.note,
            "unreadable": words.unreadable,
        },
        "name": title,
        "title": heading(title),
        "head": breakable(running_head(title), LONGEST_WORD),
        "thesis": line(article.thesis),
        "keywords": [*keywords, "simulated"] if article.simulated else keywords,
        "simulated": article.simulated,
        "unreadable": unreadable(_all_text(article)),
        "contents": len(article.sections) >= CONTENTS_FROM,
        "sections": sections,
        "references": references,
    }


def _all_text(article: Article) -> str:
    sections = (part for section in article.sections for part in (section.title, section.transition, section.markdown))
    return "".join((article.title, article.thesis, *sections, *map(source_line, article.references)))
