"""Text out of a DOCX (ECMA-376, WordprocessingML): paragraphs, headings, lists, tables and notes in their order.

The XML is walked here and not by python-docx, which would unpack pictures and embedded files too, and leaves out
controls, text boxes and what is tracked as inserted. Nothing but five parts is opened; a part with a document type
declaration is refused before it is parsed, so no entity is ever defined.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from core.contracts.files import BlockKind, FileReason
from core.documents.reader.found import Block, Bounds, Collected, Found, Unreadable
from core.documents.reader.package import Package
from core.documents.text import clean, one_line

Element = Any
"""Of lxml, which has no types."""
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
_TRANSITIONAL = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_DECLARATIONS = tuple(
    mark.encode(code) for mark in ("<!DOCTYPE", "<!ENTITY") for code in ("ascii", "utf-16-le", "utf-16-be")
)
_PLAIN = {f"{_W}tab": " ", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-", f"{_W}ptab": " "}
_SKIPPED = frozenset(
    {f"{_W}{name}" for name in ("pPr", "rPr", "del", "moveFrom", "instrText", "delText", "object")} | {f"{_MC}Fallback"}
)
_UNNUMBERED = ("bullet", "none")
MAX_CHAIN = 20
"""Styles that a style may rest on, one on the other."""


def read_docx(data: bytes, bounds: Bounds) -> Found:
    """The text of a DOCX. Raises `Unreadable`."""
    package = Package(io.BytesIO(data))
    folder = package.main.rpartition("/")[0]
    root = _parse(package.read(package.main, bounds.unpacked))
    body = root.find(f"{_W}body") if root is not None else None
    if body is None:
        raise Unreadable(FileReason.MALFORMED, "The document is damaged. Open it in a word processor and save it anew.")
    styles = _styles(_parse(package.read(f"{folder}/styles.xml", bounds.unpacked)))
    lists = _Lists(_parse(package.read(f"{folder}/numbering.xml", bounds.unpacked)))
    reader = _Reader(styles, lists, Collected(bounds))
    reader.blocks(body)
    for kind in ("footnote", "endnote"):
        reader.notes(_parse(package.read(f"{folder}/{kind}s.xml", bounds.unpacked)), kind)
    if not reader.collected.blocks:
        raise Unreadable(FileReason.NO_TEXT, "The document has no text. Send one with text.")
    core = _parse(package.read("docProps/core.xml", 1_000_000))
    title = one_line(core.findtext(_DC_TITLE) or "") if core is not None else ""
    headings = (block.text for block in reader.collected.blocks if block.kind is BlockKind.HEADING and block.level == 1)
    return Found(reader.collected.blocks, title or next(headings, None))


def _parse(data: bytes | None) -> Element | None:
    """A part as a tree: no entities, no network; libxml2's bounds are 256 levels and 10 MB of text in one place."""
    if data is None:
        return None
    if any(mark in data for mark in _DECLARATIONS):
        raise _declares()
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data.replace(_STRICT, _TRANSITIONAL), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        code = getattr(error, "code", None)
        if code == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        if code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
            message = "The document is nested too deeply, or too long in one place. Send a simpler one."
            raise Unreadable(FileReason.TOO_COMPLEX, message) from error
        message = "The document is damaged. Open it in a word processor and save it anew."
        raise Unreadable(FileReason.MALFORMED, message) from error
    if root.getroottree().docinfo.doctype:
        raise _declares()
    return root


def _declares() -> Unreadable:
    message = "The document declares entities, which no word processor does. Save it anew."
    return Unreadable(FileReason.MALFORMED, message)


@dataclass(frozen=True)
class _Style:
    """What a paragraph's style says of it."""

    heading: int = 0
    code: bool = False
    list: tuple[str, int] | None = None


def _value(parent: Element | None, path: str) -> str | None:
    found = parent.find("/".join(f"{_W}{name}" for name in path.split("/"))) if parent is not None else None
    return found.get(f"{_W}val") if found is not None else None


def _int(value: str | None, otherwise: int = 0) -> int:
    try:
        return max(0, min(int(value or ""), 1_000_000))
    except ValueError:
        return otherwise


def _styles(root: Element | None) -> dict[str, _Style]:
    """The styles of paragraphs by id; one inherits from what it is based on."""
    elements = {e.get(f"{_W}styleId", ""): e for e in root.iterchildren(f"{_W}style")} if root is not None else {}
    return {id_: _style(id_, elements) for id_ in elements}


def _style(id_: str, elements: dict[str, Element]) -> _Style:
    heading, code, list_ = 0, False, None
    for _ in range(MAX_CHAIN):
        if (element := elements.get(id_)) is None:
            break
        name = (_value(element, "name") or "").casefold()
        outline = _value(element, "pPr/outlineLvl")
        if not heading and name.startswith("heading ") and name[8:].isdecimal():
            heading = min(max(_int(name[8:]), 1), 6)
        elif not heading and name == "title":
            heading = 1
        elif not heading and outline is not None and _int(outline, 9) < 9:
            heading = min(_int(outline) + 1, 6)
        code = code or any(word in name for word in ("code", "preformatted", "source text"))
        if list_ is None and (number := _value(element, "pPr/numPr/numId")) is not None:
            list_ = (number, _int(_value(element, "pPr/numPr/ilvl")))
        id_ = _value(element, "basedOn") or ""
    return _Style(heading, code, list_)


class _Lists:
    """The lists of a document, and the numbers that their items have come to.

    Lists of one definition go on counting from each other, unless one says where it starts (ECMA-376, 17.9.27).
    """

    def __init__(self, root: Element | None) -> None:
        self._definition: dict[str, str] = {}
        self._levels: dict[tuple[str, int], tuple[bool, int]] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._counts: dict[tuple[str, int], int] = {}
        for element in root.iterchildren(f"{_W}abstractNum") if root is not None else ():
            id_ = element.get(f"{_W}abstractNumId", "")
            for level in element.iterchildren(f"{_W}lvl"):
                ordered = (_value(level, "numFmt") or "decimal") not in _UNNUMBERED
                self._levels[id_, _int(level.get(f"{_W}ilvl"))] = (ordered, _int(_value(level, "start"), 1))
        for element in root.iterchildren(f"{_W}num") if root is not None else ():
            number = element.get(f"{_W}numId", "")
            self._definition[number] = _value(element, "abstractNumId") or ""
            for override in element.iterchildren(f"{_W}lvlOverride"):
                if (start := _value(override, "startOverride")) is not None:
                    self._starts[number, _int(override.get(f"{_W}ilvl"))] = _int(start, 1)

    def item(self, number: str, level: int) -> tuple[bool, int | None]:
        """The next item of a list: whether it is numbered, and its number."""
        definition = self._definition.get(number, "")
        ordered, start = self._levels.get((definition, level), (False, 1))
        if not ordered:
            return False, None
        key = (definition, level)
        own = self._starts.pop((number, level), None)
        count = own if own is not None else self._counts.get(key, start - 1) + 1
        self._counts[key] = count
        for deeper in range(level + 1, 9):
            self._counts.pop((definition, deeper), None)
        return True, count


@dataclass
class _Reader:
    """Walks the body. The tree is no deeper than libxml2 lets it be."""

    styles: dict[str, _Style]
    lists: _Lists
    collected: Collected
    _code: Block | None = field(default=None)

    def blocks(self, parent: Element) -> None:
        """The paragraphs and tables of a body, of a control, or of what else holds them."""
        for element in parent.iterchildren():
            if element.tag == f"{_W}p":
                self.paragraph(element)
            elif element.tag == f"{_W}tbl":
                self.table(element)
            elif element.tag not in _SKIPPED:
                self.blocks(element)

    def paragraph(self, element: Element) -> None:
        """A paragraph, with the text boxes that hang on it behind it."""
        properties = element.find(f"{_W}pPr")
        style = self.styles.get(_value(properties, "pStyle") or "", _Style())
        boxes: list[Element] = []
        text = clean("".join(_text(element, boxes))).strip("\n")
        before, self._code = self._code, None
        if style.code:
            if before is not None:
                before.text += f"\n{text}"
                self._code = before
            elif text:
                self._code = Block(BlockKind.CODE, text)
                self.collected.add(self._code)
        else:
            self.collected.add(self._block(" ".join(text.split(" ")).strip(), properties, style))
        for box in boxes:
            self.blocks(box)

    def _block(self, text: str, properties: Element | None, style: _Style) -> Block:
        outline = _value(properties, "outlineLvl")
        heading = min(_int(outline) + 1, 6) if outline is not None and _int(outline, 9) < 9 else style.heading
        number, level = style.list or ("0", 0)
        if (own := _value(properties, "numPr/numId")) is not None:
            number, level = own, _int(_value(properties, "numPr/ilvl"))
        if heading:
            return Block(BlockKind.HEADING, one_line(text), heading)
        if number != "0" and text:
            ordered, shown = self.lists.item(number, min(level, 8))
            return Block(BlockKind.ITEM, text, min(level, 8), ordered, shown)
        return Block(BlockKind.PARAGRAPH, text)

    def table(self, element: Element) -> None:
        """A table; one of a single cell is a frame around its text."""
        rows = [list(_within(row, "tc")) for row in _within(element, "tr")]
        if sum(map(len, rows)) == 1:
            self.blocks(rows[0][0])
            return
        self._code = None
        self.collected.add(
            Block(BlockKind.TABLE, rows=[[t for cell in row for t in _cell(cell)] for row in rows if row])
        )

    def notes(self, root: Element | None, kind: str) -> None:
        """Footnotes or endnotes, with the marks that the text has for them."""
        for note in root.iterchildren(f"{_W}{kind}") if root is not None else ():
            if note.get(f"{_W}type") is None:
                text = one_line(" ".join("".join(_text(p, [])) for p in note.iter(f"{_W}p")))
                self.collected.add(Block(BlockKind.NOTE, f"[^{_mark(kind, note)}] {text}" if text else ""))


def _mark(kind: str, element: Element) -> str:
    return f"{'e' if kind == 'endnote' else ''}{_int(element.get(f'{_W}id'))}"


def _within(parent: Element, name: str) -> Iterator[Element]:
    """The rows of a table or the cells of a row, also those in controls and changes."""
    for child in parent.iterchildren():
        if child.tag == f"{_W}{name}":
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"):
            yield from _within(child, name)


def _cell(cell: Element) -> list[str]:
    """The text of a cell, and empty ones for the columns that it spans too."""
    texts = ["".join(_text(paragraph, [])) for paragraph in cell.iter(f"{_W}p")]
    span = min(max(_int(_value(cell, "tcPr/gridSpan"), 1), 1), 64)
    return [one_line(" ".join(texts)), *[""] * (span - 1)]


def _text(element: Element, boxes: list[Element]) -> Iterator[str]:
    """The text of a paragraph; boxes on it are put aside."""
    for child in element.iterchildren():
        tag: Any = child.tag
        if tag == f"{_W}t":
            yield child.text or ""
        elif tag in _PLAIN:
            yield _PLAIN[tag]
        elif tag == f"{_W}txbxContent":
            boxes.append(child)
        elif tag in (f"{_W}footnoteReference", f"{_W}endnoteReference"):
            yield f"[^{_mark(tag.removeprefix(_W).removesuffix('Reference'), child)}]"
        elif tag not in _SKIPPED:
            yield from _text(child, boxes)
