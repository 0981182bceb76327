"""An article as a PDF, set by Typst. User text travels as JSON and is never Typst markup."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

from core.contracts.documents import Article
from core.contracts.errors import AtelierError, ErrorType
from core.documents.blocks import LONGEST_WORD, breakable, parse_blocks
from core.documents.citations import mark, numbers_of, source_line
from core.documents.labels import CONTENTS_FROM, Labels, labels, language, running_head
from core.documents.text import clean, one_line

TEMPLATE = Path(__file__).with_name("article.typ")
MAX_KEYWORDS = 40

# What none of the fonts has, found by trying every letter and symbol (typst 0.15): some Arabic letters that Arabic
# itself does not need, South and East Asia but Devanagari, Ethiopic, some signs, and above the first plane all but
# mathematics, so every emoji there.
_NO_GLYPHS = re.compile(
    "[\u0500-\u052f\u0660-\u0673\u0675-\u0678\u067c\u067d\u0681\u0682\u0685\u0688-\u0690\u0692-\u0697\u0699-\u06a3"
    "\u06a5-\u06a8\u06aa-\u06ae\u06b0-\u06bd\u06bf-\u06cb\u06cd-\u06ef\u0700-\u08ff\u0980-\u0dff\u0e00-\u0e3e"
    "\u0e40-\u109f\u1100-\u1cff\u2400-\u244a\u26b3-\u2700\u2705\u270a\u270b\u274c\u274e\u2753-\u2755\u2757"
    "\u2780-\u2797\u27b0\u2c00-\u2c5f\u2d00-\u2dff\u2e80-\ua4ff\ua800-\uab2f\uabc0-\ud7ff\uf900-\ufaff"
    "\uff01-\uffee\U00010000-\U0001d3ff\U0001d800-\U0010ffff]"
)


def article_to_pdf(article: Article) -> bytes:
    """Typeset an article: A4, title, thesis, contents (from 4 sections on), running head, page numbers.

    It blocks, 30 ms to a second for an ordinary article: call it in a thread (`asyncio.to_thread`); Typst lets go of
    the GIL, and calls may run side by side. The same article gives the same bytes. Raises EXPORT_FAILED.
    """
    try:
        # A compiler is cheap once the fonts are read, and one shared between threads refuses the second call.
        compiler = typst.Compiler(str(TEMPLATE), root=str(TEMPLATE.parent), font_paths=_fonts())
        made = compiler.compile(format="pdf", sys_inputs={"article": json.dumps(_data(article))})
    except Exception as error:
        # Typst's message can quote the text; the first line says enough.
        reason = str(error).partition("\n")[0][:300]
        raise AtelierError(ErrorType.EXPORT_FAILED, f"the PDF could not be set: {reason}") from error
    if not isinstance(made, bytes):
        raise AtelierError(ErrorType.EXPORT_FAILED, "Typst gave no document")
    return made


@cache
def _fonts() -> typst.Fonts:
    """Typst's own fonts (Libertinus Serif, DejaVu Sans Mono) and Source Sans Pro (OFL), read once; never the
    machine's, or the same article would look different elsewhere."""
    return typst.Fonts(include_system_fonts=False, font_paths=[Path(font_source_sans_pro.font_directory)])


def _data(article: Article) -> dict[str, Any]:
    """What `article.typ` reads."""
    title, words, numbers = one_line(article.title), _readable_labels(article.language), numbers_of(article.references)
    own = language(article.language)
    sections = [
        {
            "title": _heading(section.title),
            "transition": _text(section.transition),
            "blocks": parse_blocks(section.markdown, numbers),
        }
        for section in article.sections
    ]
    references = [
        {"number": entry.number, "mark": mark([entry.number]), "title": _text(source_line(entry))}
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
        "title": _heading(title),
        "head": breakable(running_head(title), LONGEST_WORD),
        "thesis": _text(article.thesis),
        "keywords": [*keywords, "simulated"] if article.simulated else keywords,
        "simulated": article.simulated,
        "unreadable": bool(_NO_GLYPHS.search(clean(_all_text(article)))),
        "contents": len(article.sections) >= CONTENTS_FROM,
        "sections": sections,
        "references": references,
    }


def _readable_labels(tag: str) -> Labels:
    """The words in the text's language, or in English where the fonts lack its script."""
    words = labels(tag)
    return labels("en") if _NO_GLYPHS.search(" ".join(words[1:])) else words


def _all_text(article: Article) -> str:
    sections = (part for section in article.sections for part in (section.title, section.transition, section.markdown))
    return "".join((article.title, article.thesis, *sections, *map(source_line, article.references)))


def _heading(text: str) -> str:
    return breakable(one_line(text), LONGEST_WORD // 2)


def _text(text: str) -> str:
    return breakable(one_line(text), LONGEST_WORD)
