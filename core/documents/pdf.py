"""An article as a PDF, set by Typst. User text travels as JSON and is never Typst markup."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.longform import Article
from core.documents.blocks import LONGEST_WORD, breakable, parse_blocks
from core.documents.text import clean, one_line

TEMPLATE = Path(__file__).with_name("article.typ")
RUNNING_HEAD = 70
"""Characters of the title in the running head: one line."""
MAX_KEYWORDS = 40

# ISO 639 codes of languages written from right to left, and scripts (ISO 15924) that override them.
_RTL_LANGUAGES = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"})
_RTL_SCRIPTS = frozenset({"arab", "hebr", "syrc", "thaa"})
_LANGUAGE = re.compile(r"[a-z]{2,3}")
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
    title = one_line(article.title)
    sections = [
        {"title": breakable(one_line(section.title), LONGEST_WORD // 2), "blocks": parse_blocks(section.markdown)}
        for section in article.sections
    ]
    keywords = [one_line(section.title) for section in article.sections][:MAX_KEYWORDS]
    read = "".join((article.title, article.thesis, *(s.title + s.markdown for s in article.sections)))
    return {
        **_language(article.language),
        "name": title,
        "title": breakable(title, LONGEST_WORD // 2),
        "head": breakable(_shortened(title, RUNNING_HEAD), LONGEST_WORD),
        "thesis": breakable(one_line(article.thesis), LONGEST_WORD),
        "keywords": [*keywords, "simulated"] if article.simulated else keywords,
        "simulated": article.simulated,
        "unreadable": bool(_NO_GLYPHS.search(clean(read))),
        "sections": sections,
    }


def _language(tag: str) -> dict[str, str | None]:
    """Typst's language, region and direction from a BCP 47 tag; an unknown tag is set as English."""
    language, *rest = tag.lower().replace("_", "-").split("-")
    if not _LANGUAGE.fullmatch(language):
        return {"lang": "en", "region": None, "dir": "ltr"}
    region = next((part for part in rest if len(part) == 2 and part.isascii() and part.isalpha()), None)
    script = next((part for part in rest if len(part) == 4 and part.isalpha()), None)
    rtl = script in _RTL_SCRIPTS if script else language in _RTL_LANGUAGES
    return {"lang": language, "region": region, "dir": "rtl" if rtl else "ltr"}


def _shortened(text: str, longest: int) -> str:
    """Text of at most `longest` characters, cut at a word if there is one to cut at."""
    if len(text) <= longest:
        return text
    cut = text[:longest].rsplit(" ", 1)[0] if " " in text[longest // 2 : longest] else text[: longest - 1]
    return cut.rstrip(" ,;:.–—-") + "…"
