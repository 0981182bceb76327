"""A web page as blocks: all of it, or its main text without what stands around it.

The main text is what `readability-lxml` finds. It was compared with `justext` on eleven pages (article with menus,
advertisements, comments and a banner for cookies; text in bare divs; forum; manual; price list; questions and answers;
one paragraph; German; Japanese; an empty application). readability kept the text and dropped the rest on all of them,
with headings, lists and tables in place. justext needs a list of words for each language, so it found nothing on the
Japanese page; nor did it where paragraphs are short (forum, manual, list, questions); and it knows no tables. A page
that readability takes too long for, or leaves little of, is taken whole, without what is named like a menu or a foot.

Nothing is run and nothing loaded. libxml2 stops at a depth of 256, so recursion here is bounded by that.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

from core.contracts.files import BlockKind, FileReason
from core.documents.reader.found import Block, Bounds, Collected, Found, Unreadable, too_long
from core.documents.text import clean, one_line

MAX_TITLE = 300
MAX_SCORED = 20_000
"""Elements of a page whose main text is looked for: readability takes 6 s for 100,000."""
MAX_SPAN = 50
"""Columns or rows that one cell of a table may cover."""
MAX_CELLS = 1_000_000
"""Of one table, with those that are empty."""
MAX_SIZE_OF_TAG = 16_000
"""Bytes: attributes of longer tags are left out, as libxml2's time grows with the square of their number."""
_ENOUGH = 250
"""Characters. A shorter main text is mistrusted: short paragraphs are what readability leaves out."""

_LONG_TAG = re.compile(rf"<([a-zA-Z][a-zA-Z0-9]*)[^<>a-zA-Z0-9][^<>]{{{MAX_SIZE_OF_TAG},}}")
_META_CHARSET = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([\w:.+-]{1,40})""", re.IGNORECASE | re.ASCII)
_META_BYTES = 4_096
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# https://encoding.spec.whatwg.org/#names-and-labels: what pages call by these names is a larger set of characters.
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis-620": "cp874",
}
_CHARSET = re.compile(
    r"utf-(?:8|16(?:-[lb]e)?)|cp(?:125\d|866|874|932|949)|iso8859-(?:[2-8]|1[03456])|koi8-[ru]|gb18030|big5hkscs"
    r"|euc_jp|iso2022_jp|mac-(?:roman|cyrillic)"
)
"""Python's names of the character sets that pages are written in."""

_UNREAD = {
    *("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas", "audio", "map"),
    *("select", "datalist", "textarea", "input", "button", "dialog", "head", "title", "progress", "meter", "video"),
}
_AROUND = frozenset(("nav", "aside", "footer", "header", "form", "menu", "search"))
"""What stands around the main text, unless it is part of an article: an article has a header of its own."""
_ROLES_AROUND = frozenset(("navigation", "banner", "contentinfo", "complementary", "search", "dialog", "alert"))
_NAMES_AROUND = re.compile(
    r"(?:^|[\s_-])(?:ads?|advert\w*|breadcrumbs?|comments?|consent|cookies?|footer|gdpr|masthead|menu|modal|nav|navbar"
    r"|navigation|newsletter|popup|promo\w*|related|share|sharing|sidebar|social|sponsor\w*|subscribe)(?:$|[\s_-])",
    re.IGNORECASE,
)
_INLINE = {
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"),
    *("kbd", "label", "mark", "nobr", "output", "q", "rb", "rp", "rt", "rtc", "ruby", "s", "samp", "small", "span"),
    *("strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "picture", "source"),
}
"""All others begin and end a block: an element that nobody knows is more often a frame than a piece of a line."""
_HEADING = re.compile(r"h[1-6]")
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_KEPT_ATTRIBUTES = frozenset(("class", "id", "role", "start", "value", "colspan", "rowspan"))


_OF_HEAD = frozenset(("base", "link", "meta", "noscript", "script", "style", "template", "title"))


@dataclass
class FoundPage(Found):
    """A `Found` with what a page says of itself."""

    byline: str | None = None
    site: str | None = None


def read_page(data: bytes, bounds: Bounds, charset: str | None = None, *, main: bool = False) -> FoundPage:
    """Blocks, title, author and site of a page; with `main`, of its main text only.

    `charset` is what the server said. Raises `Unreadable`: no text (a page that a script would have to fill), too
    complex (nested deeper than 256), too much text.
    """
    tree = _parse(data, charset)
    page = FoundPage(title=_title(tree), byline=_byline(tree), site=_meta(tree, "og:site_name"))
    body = _body(tree)
    _strip(tree)
    page.blocks = _main_text(tree, body, bounds) if main else _blocks(body, bounds)
    if not page.blocks:
        raise Unreadable(
            FileReason.NO_TEXT,
            "The page holds no text of its own: a script may fill it in. Save it as PDF or text and send that.",
        )
    if page.title is None:
        heading = next((block.text for block in page.blocks if block.kind is BlockKind.HEADING), None)
        page.title = heading and heading[:MAX_TITLE]
    return page


def decoded(data: bytes, charset: str | None = None) -> str:
    """A page as text. A byte-order mark counts most, then what the server said, then what the page says of itself.

    Without any it is UTF-8 if it can be, else windows-1252, as browsers have it.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    named = _codec(charset)
    if named is None and (meta := _META_CHARSET.search(data[:_META_BYTES])):
        named = _codec(meta[1].decode("ascii"))
        # It could be read, so it is no UTF-16.
        named = "utf-8" if named is not None and named.startswith("utf-16") else named
    if named is not None:
        return data.decode(named, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _codec(label: str | None) -> str | None:
    try:
        name = codecs.lookup(label or "").name
    except (LookupError, ValueError):
        return None
    name = _LARGER.get(name, name)
    return name if _CHARSET.fullmatch(name) else None


def _parse(data: bytes, charset: str | None) -> HtmlElement:
    text = _LONG_TAG.sub(r"<\1 ", decoded(data, charset).replace("\x00", ""))
    parser = HTMLParser(encoding="utf-8", huge_tree=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        tree = document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, AssertionError):
        raise Unreadable(FileReason.NO_TEXT, "The page is empty.") from None
    if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
        raise Unreadable(
            FileReason.TOO_COMPLEX, "The page is nested too deeply to be read. Save it as PDF or text and send that."
        )
    return tree


def _body(tree: HtmlElement) -> HtmlElement:
    """The body. A page may leave out the tags of head and body; libxml2, which knows no `article`, then takes it for a
    part of the head."""
    head, body = tree.find("head"), tree.find("body")
    strays = [] if head is None else [element for element in head if element.tag not in _OF_HEAD]
    if strays:
        body = etree.SubElement(tree, "body") if body is None else body
        body[:0] = strays
    return tree if body is None else body


def _meta(tree: HtmlElement, *names: str) -> str | None:
    for name in names:
        for meta in tree.iterfind(".//meta"):
            if name in (meta.get("property"), meta.get("name")) and (text := one_line(meta.get("content") or "")):
                return text[:MAX_TITLE]
    return None


def _title(tree: HtmlElement) -> str | None:
    """The only heading of level 1 if the title repeats it, as titles have the site's name added; else the title."""
    title = next((one_line(found.text or "") for found in tree.iterfind(".//title")), "")
    title = _meta(tree, "og:title") or title
    headings = [one_line(heading.text_content()) for heading in tree.iterfind(".//h1")]
    if len(headings) == 1 and headings[0] and (not title or headings[0].casefold() in title.casefold()):
        title = headings[0]
    return title[:MAX_TITLE] or None


def _byline(tree: HtmlElement) -> str | None:
    named = _meta(tree, "author", "article:author", "dc.creator", "DC.creator")
    return None if named is None or named.startswith(("http://", "https://")) else named


def _strip(tree: HtmlElement) -> None:
    """Take out what is not read or not shown, and all attributes but those that tell what an element is."""
    for element in list(tree.iter()):
        if not isinstance(element.tag, str):
            continue
        attributes = element.attrib
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        hidden = hidden or _HIDDEN.search(attributes.get("style", "")[:1_000]) is not None
        if (element.tag in _UNREAD or hidden) and element.tag not in ("html", "body"):
            _empty(element, "span")
            continue
        for name, value in attributes.items():
            if name not in _KEPT_ATTRIBUTES:
                del attributes[name]
            elif len(value) > 200:
                attributes[name] = value[:200]


def _empty(element: HtmlElement, tag: str) -> None:
    """Leave nothing of an element but its place. (To drop it would move its tail: quadratic when there are many.)"""
    element.clear(keep_tail=True)
    element.tag = tag


def _main_text(tree: HtmlElement, body: HtmlElement, bounds: Bounds) -> list[Block]:
    found = _readable(tree, bounds) if sum(1 for _ in tree.iter()) <= MAX_SCORED else []
    if sum(len(block.text) + sum(len(cell) for row in block.rows for cell in row) for block in found) >= _ENOUGH:
        return found
    half = len(body.text_content()) / 2
    for element in list(body.iterdescendants()):
        # A frame around everything may be called "with-sidebar": what holds half of the text stays.
        if _is_around(element) and len(element.text_content()) < half:
            _empty(element, "div")
    return _blocks(body, bounds) or found


def _is_around(element: HtmlElement) -> bool:
    if element.get("role") in _ROLES_AROUND:
        return True
    if element.tag in _AROUND:
        return not any(up.tag in ("article", "main") for up in element.iterancestors())
    return _NAMES_AROUND.search(f"{element.get('class', '')} {element.get('id', '')}") is not None


def _readable(tree: HtmlElement, bounds: Bounds) -> list[Block]:
    # It takes a fifth of a second to import, and uploaded files do without.
    from readability import Document
    from readability.readability import Unparseable

    try:
        summary = Document(tree).summary(html_partial=True)
        return _blocks(document_fromstring(f"<body>{summary}").find("body"), bounds)
    except (Unparseable, etree.LxmlError, ValueError):
        return []


def _blocks(element: HtmlElement, bounds: Bounds) -> list[Block]:
    walk = _Walk(Collected(bounds))
    walk.inside(element)
    walk.flush()
    return walk.collected.blocks


class _Walk:
    """Goes through the elements of a page and puts the pieces of its lines together."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        self._line: list[str] = []
        self._next = Block(BlockKind.PARAGRAPH)
        self._depth = -1
        self._numbers: list[int | None] = []
        """Of the lists around: the number of the next item; None for one without numbers."""

    def inside(self, element: HtmlElement) -> None:
        """Read an element's text and children."""
        self._line.append(element.text or "")
        for child in element:
            if isinstance(child.tag, str):
                self._element(child, child.tag)
            self._line.append(child.tail or "")

    def flush(self) -> None:
        """End the block: one, or one for each part between empty lines. What follows is a paragraph again."""
        text, self._line = "".join(self._line), []
        block, self._next = self._next, Block(BlockKind.PARAGRAPH)
        for part in text.split("\x00\x00"):
            if lines := list(filter(None, map(_shown, part.split("\x00")))):
                block.text = (" " if block.kind is BlockKind.HEADING else "\n").join(lines)
                self.collected.add(block)
                block = Block(BlockKind.PARAGRAPH)

    def _element(self, element: HtmlElement, tag: str) -> None:
        if tag == "br":
            # Two in a row, with nothing but spaces between, end a paragraph.
            if self._line and not self._line[-1].strip(" \t\r\n"):
                self._line.pop()
            self._line.append("\x00")
        elif tag in _INLINE:
            self.inside(element)
        elif tag == "pre":
            self._code(element)
        elif tag == "table" and (rows := _rows(element)):
            self.flush()
            if (caption := element.find("caption")) is not None:
                self.collected.add(Block(BlockKind.PARAGRAPH, text=_text_of(caption)))
            self.collected.add(Block(BlockKind.TABLE, rows=rows))
        elif tag in ("ul", "ol", "menu", "dir"):
            with self._apart():
                self._list(element, _number(element, "start", 1) if tag == "ol" else None)
        else:
            with self._apart():
                if _HEADING.fullmatch(tag):
                    self._next = Block(BlockKind.HEADING, level=int(tag[1]))
                elif tag == "li":
                    self._next = self._item(element)
                self.inside(element)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """A block of its own. The mark of an item without text yet goes to its first paragraph."""
        waiting = self._next if self._next.kind is BlockKind.ITEM and not _shown("".join(self._line)) else None
        self.flush()
        if waiting is not None:
            self._next = waiting
        yield
        self.flush()

    def _code(self, element: HtmlElement) -> None:
        self.flush()
        for line_break in element.iter("br"):
            line_break.tail = "\n" + (line_break.tail or "")
        text = clean(element.text_content()).expandtabs(4).strip("\n")
        self.collected.add(Block(BlockKind.CODE, text=text if text.strip() else ""))

    def _list(self, element: HtmlElement, first: int | None) -> None:
        self._numbers.append(first)
        self.inside(element)
        self._numbers.pop()

    def _item(self, element: HtmlElement) -> Block:
        if not self._numbers:
            return Block(BlockKind.ITEM)
        number = self._numbers[-1]
        if number is not None:
            number = _number(element, "value", number)
            self._numbers[-1] = number + 1
        return Block(BlockKind.ITEM, level=len(self._numbers) - 1, ordered=number is not None, number=number)


def _shown(text: str) -> str:
    return one_line(text.replace("\u00ad", "").replace("\u200b", "")) if text else ""


def _number(element: HtmlElement, attribute: str, otherwise: int) -> int:
    value = element.get(attribute, "").strip()
    return int(value) if value.isdecimal() and len(value) < 7 else otherwise


def _rows(table: HtmlElement) -> list[list[str]]:
    """The cells of a table, none for one that only lays out a page: with a table, a list or a heading in a cell.

    A cell that covers several columns or rows stands in the first; the others are empty.
    """
    if next(table.iterdescendants("table", "h1", "h2", "h3", "ul", "ol", "pre"), None) is not None:
        return []
    rows: list[list[str]] = []
    covered: dict[int, int] = {}
    for line in table.iter("tr"):
        row: list[str] = []
        for cell in line.iterchildren("td", "th"):
            _skip(row, covered)
            across = min(_number(cell, "colspan", 1) or 1, MAX_SPAN)
            down = min(_number(cell, "rowspan", 1) or 1, MAX_SPAN)
            covered.update((len(row) + column, down) for column in range(across) if down > 1)
            row += [_text_of(cell), *[""] * (across - 1)]
        _skip(row, covered)
        covered = {column: left - 1 for column, left in covered.items() if left > 1}
        rows.append(row)
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if width * len(rows) > MAX_CELLS:
        raise too_long()
    return [row + [""] * (width - len(row)) for row in rows] if width > 1 else []


def _text_of(element: HtmlElement) -> str:
    """The text of a cell on one line, with a space where a block begins or ends."""
    parts: list[str] = []
    for event, part in etree.iterwalk(element, events=("start", "end")):
        parts.append("" if part.tag in _INLINE else " ")
        if event == "start":
            parts.append(part.text or "")
        elif part is not element:
            parts.append(part.tail or "")
    return _shown("".join(parts))


def _skip(row: list[str], covered: dict[int, int]) -> None:
    while len(row) in covered:
        row.append("")
