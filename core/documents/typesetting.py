"""What all PDFs share: the compiler, its fonts, and how text of others goes in: as JSON, and never as Typst markup."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

from core.contracts.errors import AtelierError, ErrorType
from core.documents.blocks import LONGEST_WORD, breakable
from core.documents.labels import Labels, labels
from core.documents.text import clean, one_line

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


def typeset(template: Path, **inputs: Any) -> bytes:
    """The PDF of a template, whose `sys.inputs` are JSON. The same inputs give the same bytes.

    It blocks: call it in a thread; Typst lets go of the GIL, and calls may run side by side. Raises EXPORT_FAILED.
    """
    try:
        # A compiler is cheap once the fonts are read, and one shared between threads refuses the second call.
        compiler = typst.Compiler(str(template), root=str(template.parent), font_paths=fonts())
        made = compiler.compile(format="pdf", sys_inputs={name: json.dumps(value) for name, value in inputs.items()})
    except Exception as error:
        # Typst's message can quote the text; the first line says enough.
        reason = str(error).partition("\n")[0][:300]
        raise AtelierError(ErrorType.EXPORT_FAILED, f"the PDF could not be set: {reason}") from error
    if not isinstance(made, bytes):
        raise AtelierError(ErrorType.EXPORT_FAILED, "Typst gave no document")
    return made


@cache
def fonts() -> typst.Fonts:
    """Typst's own fonts (Libertinus Serif, DejaVu Sans Mono) and Source Sans Pro (OFL), read once; never the
    machine's, or the same text would look different elsewhere."""
    return typst.Fonts(include_system_fonts=False, font_paths=[Path(font_source_sans_pro.font_directory)])


def unreadable(text: str) -> bool:
    """Whether the fonts lack a character of a text: it shows as a box."""
    return bool(_NO_GLYPHS.search(clean(text)))


def readable_labels(tag: str) -> Labels:
    """The words in the text's language, or in English where the fonts lack its script."""
    words = labels(tag)
    return labels("en") if unreadable(" ".join(words[1:])) else words


def heading(text: str) -> str:
    """Text of others as a heading: on one line, long words with places to break at."""
    return breakable(one_line(text), LONGEST_WORD // 2)


def line(text: str) -> str:
    """Text of others on one line, long words with places to break at."""
    return breakable(one_line(text), LONGEST_WORD)
