"""The package around the text of a DOCX: styles, numbering, language, head and foot, and the same bytes each time."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from docx import Document
from docx.document import Document as WordDocument
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.oxml.xmlchemy import BaseOxmlElement as Element
from docx.shared import Mm

from core.documents.labels import Language

STYLES = Path(__file__).with_name("docx_styles.xml")
TEXT_WIDTH = 9070
"""Twips between the margins of an A4 page."""
INDENT = 425
"""Twips by which a list goes in at each level."""
MAX_PROPERTY = 255
"""Characters that python-docx allows in a property of the file."""
BULLETS, NUMBERS = 1, 2
"""Ids of the two kinds of lists, each with nine levels. A list has a number of its own, from `FIRST_LIST` on."""
FIRST_LIST = 3
LEVELS = 9

# Of python-docx's own template: styles of another look, a preview of an empty page, and figures that would be wrong.
_UNUSED = ("stylesWithEffects", "webSettings", "fontTable", "theme", "customXml", "extended-properties", "thumbnail")
_SETTINGS = f"""<w:settings {nsdecls("w")}>
  <w:defaultTabStop w:val="{INDENT}"/>
  <w:characterSpacingControl w:val="doNotCompress"/>
  <w:compat>
    <w:compatSetting w:name="compatibilityMode" w:uri="http://schemas.microsoft.com/office/word" w:val="15"/>
  </w:compat>
</w:settings>"""
# The regions whose dictionaries Word uses for a language without one.
_REGIONS = {
    "en": "US", "sv": "SE", "da": "DK", "nb": "NO", "no": "NO", "cs": "CZ", "uk": "UA", "el": "GR", "he": "IL",
    "ar": "SA", "fa": "IR", "zh": "CN", "ja": "JP", "ko": "KR", "hi": "IN", "vi": "VN", "ca": "ES", "de": "DE",
    "fr": "FR", "es": "ES", "it": "IT", "pt": "PT", "nl": "NL", "pl": "PL", "fi": "FI", "ru": "RU", "tr": "TR",
    "hu": "HU", "ro": "RO", "bg": "BG", "hr": "HR", "sk": "SK", "lt": "LT", "lv": "LV",
}  # fmt: skip
_EAST_ASIAN = frozenset(("zh", "ja", "ko"))


def el(tag: str, *children: Element, **attributes: str | int) -> Element:
    """A WordprocessingML element: `el("p", el("r"), val=1)` is `<w:p w:val="1"><w:r/></w:p>`. lxml escapes values."""
    made = OxmlElement(f"w:{tag}", {_name(key): str(value) for key, value in attributes.items()})
    made.extend(children)
    return made


def text(value: str, *properties: Element) -> Element:
    """A run of text on one line."""
    content = el("t")
    content.text = value
    content.set(qn("xml:space"), "preserve")
    return el("r", *([el("rPr", *properties)] if properties else []), content)


def field(instruction: str, *shown: Element) -> list[Element]:
    """A field with what it shows until it is updated."""
    code = el("instrText")
    code.text = f" {instruction} "
    marks = [el("r", el("fldChar", fldCharType=kind)) for kind in ("begin", "separate", "end")]
    return [marks[0], el("r", code), marks[1], *shown, marks[2]]


def style(name: str) -> Element:
    """The first property of a paragraph."""
    return el("pStyle", val=name)


def empty_document(own: Language) -> WordDocument:
    """An A4 document with our styles in a language, and nothing in it."""
    document = Document(io.BytesIO(_base()))
    defaults = document.styles.element
    tag = _word_tag(own)
    for properties in defaults.iter(qn("w:lang")):
        properties.set(_name("val"), tag)
        if own.rtl:
            properties.set(_name("bidi"), tag)
        if own.code in _EAST_ASIAN:
            properties.set(_name("eastAsia"), tag)
    if own.rtl:
        normal = next(found for found in defaults.iter(qn("w:style")) if found.get(_name("styleId")) == "Normal")
        normal.find(qn("w:pPr")).append(el("bidi"))
        document.sections[0]._sectPr.append(el("bidi"))
    return document


def describe(document: WordDocument, title: str, thesis: str, tag: str, keywords: Iterable[str]) -> None:
    """The properties of the file: no author and no date, which would make other bytes each time."""
    properties = document.core_properties
    properties.title = title[:MAX_PROPERTY]
    properties.subject = thesis[:MAX_PROPERTY]
    properties.language = tag
    properties.keywords = ", ".join(keywords)[:MAX_PROPERTY]


def number(document: WordDocument, starts: Sequence[tuple[int, int] | None]) -> None:
    """Give each list a number of its own, in order: (level, first number) of a numbered one, None for bullets."""
    numbering = document.part.numbering_part.element
    for list_id, start in enumerate(starts, FIRST_LIST):
        made = el("num", el("abstractNumId", val=NUMBERS if start else BULLETS), numId=list_id)
        if start:
            # Word counts up to 32,767; it takes a file that begins higher for damaged.
            made.append(el("lvlOverride", el("startOverride", val=min(start[1], 32_767)), ilvl=start[0]))
        numbering.append(made)


def head_and_foot(document: WordDocument, head: Element, foot: Element, first_foot: Element) -> None:
    """The paragraphs above and below the text; the first page has no head."""
    section = document.sections[0]
    section.different_first_page_header_footer = True
    parts = (section.header, section.footer, section.first_page_header, section.first_page_footer)
    for part, paragraph in zip(parts, (head, foot, el("p"), first_foot), strict=True):
        part.is_linked_to_previous = False
        part._element[:] = [paragraph]


def to_bytes(document: WordDocument) -> bytes:
    """The file, in which every part has the same date."""
    written, made = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as parts, zipfile.ZipFile(made, "w") as package:
        for name in parts.namelist():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, parts.read(name))
    return made.getvalue()


@cache
def _name(attribute: str) -> str:
    return qn(f"w:{attribute}")


@cache
def _base() -> bytes:
    """python-docx's template with our styles, numbering and settings, and without what is not ours."""
    document = Document()
    for relations in (document.part.rels, document.part.package.rels):
        for relation in [found for found in relations.values() if found.reltype.rpartition("/")[2] in _UNUSED]:
            del relations[relation.rId]
    _replace(document.styles.element, parse_xml(STYLES.read_bytes()))
    _replace(document.settings.element, parse_xml(_SETTINGS))
    numbering = document.part.numbering_part.element
    numbering[:] = [
        el("abstractNum", el("multiLevelType", val="multilevel"), *map(_bullet, range(LEVELS)), abstractNumId=BULLETS),
        el("abstractNum", el("multiLevelType", val="multilevel"), *map(_numeral, range(LEVELS)), abstractNumId=NUMBERS),
        el("num", el("abstractNumId", val=BULLETS), numId=BULLETS),
        el("num", el("abstractNumId", val=NUMBERS), numId=NUMBERS),
    ]
    section = document.sections[0]
    section._sectPr.remove(section._sectPr.find(qn("w:docGrid")))
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = section.bottom_margin = Mm(25)
    section.top_margin = Mm(30)
    document.core_properties._element[:] = []
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def _replace(element: Element, by: Element) -> None:
    element[:] = list(by)


def _bullet(level: int) -> Element:
    return _level(level, "bullet", "•–◦"[min(level, 2)])


def _numeral(level: int) -> Element:
    return _level(level, "decimal", f"%{level + 1}.")


def _level(level: int, kind: str, shown: str) -> Element:
    indent = el("ind", left=INDENT * (level + 1), hanging=INDENT)
    return el(
        "lvl",
        el("start", val=1),
        el("numFmt", val=kind),
        el("lvlText", val=shown),
        el("lvlJc", val="left"),
        el("pPr", indent),
        ilvl=level,
    )


def _word_tag(own: Language) -> str:
    return own._replace(region=own.region or _REGIONS.get(own.code)).tag
