"""An article as a DOCX for Word and LibreOffice, with real styles, numbering and fields. Text is text, never XML."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from docx.document import Document as WordDocument
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement as Element

from core.contracts.documents import Article
from core.documents.blocks import TOP_LEVEL, WORD_PROCESSOR, Block, Inline, parse_blocks, plain_text
from core.documents.citations import mark, numbers_of, source_line
from core.documents.docx_package import (
    FIRST_LIST,
    INDENT,
    TEXT_WIDTH,
    describe,
    el,
    empty_document,
    field,
    head_and_foot,
    number,
    style,
    text,
    to_bytes,
)
from core.documents.labels import CONTENTS_FROM, Labels, labels, language, running_head
from core.documents.text import one_line

_QUOTE_INDENT = 567
_ALIGNMENT = {"start": "left", "center": "center", "end": "right"}
"""In a right-to-left paragraph Word's `left` is where the line begins."""
_WIDEST_CELL = 40
"""Characters: what is longer asks for no wider column."""


def article_to_docx(article: Article) -> bytes:
    """The article as a Word document: A4, title, note, thesis, contents (from 4 sections on), sections, references.

    The contents are a field that shows its entries, without page numbers, which only Word can know. It blocks, some
    100 ms for 10,000 words: call it in a thread. The same article gives the same bytes.
    """
    own, words = language(article.language), labels(article.language)
    title, thesis = one_line(article.title), one_line(article.thesis)
    document = empty_document(own)
    writer = _Writer(document, article, own.rtl)
    body = document.element.body
    end = body.find(qn("w:sectPr"))
    body[:] = [
        writer.paragraph("Title", title),
        *([writer.note(words)] if article.simulated else []),
        *([writer.paragraph("Subtitle", thesis)] if thesis else []),
        *([writer.contents(article, words)] if len(article.sections) >= CONTENTS_FROM else []),
        *writer.sections(article),
        *(writer.references(article, words) if article.references else []),
        end,
    ]
    number(document, writer.lists)
    note = words.note if article.simulated else ""
    head_and_foot(document, writer.paragraph("Header", running_head(title)), writer.foot(note), writer.foot(""))
    describe(document, title, thesis, own.tag, [one_line(section.title) for section in article.sections])
    return to_bytes(document)


class _Place(NamedTuple):
    """Where a block stands: how many lists and quotes are around it."""

    lists: int = 0
    quotes: int = 0

    @property
    def indent(self) -> int:
        """Twips from the margin."""
        return INDENT * self.lists + _QUOTE_INDENT * self.quotes


class _Look(NamedTuple):
    """How a run of text looks."""

    strong: bool = False
    em: bool = False
    quoted: bool = False
    linked: bool = False


_PLAIN = _Look()


class _Writer:
    """Makes the elements of one document, and counts its lists, links and bookmarks."""

    def __init__(self, document: WordDocument, article: Article, rtl: bool) -> None:
        self.relations = document.part.rels
        self.links: dict[str, str] = {}
        self.lists: list[tuple[int, int] | None] = []
        self.bookmarks = 0
        self.numbers = numbers_of(article.references)
        self.rtl = rtl

    # Our own paragraphs.

    def paragraph(self, name: str, *content: str | Element) -> Element:
        """A paragraph of a style around text and elements."""
        runs = [self.run(part) if isinstance(part, str) else part for part in content]
        return el("p", el("pPr", style(name)), *runs)

    def note(self, words: Labels) -> Element:
        """What is said of a simulated text."""
        return self.paragraph("Note", self.run(words.simulated, _Look(strong=True)), f" {words.simulator}")

    def contents(self, article: Article, words: Labels) -> Element:
        """A table of contents as Word makes it, so that Word offers to update it."""
        titles = [one_line(section.title) for section in article.sections]
        titles += [words.references] if article.references else []
        links = [el("hyperlink", self.run(title), anchor=_anchor(at)) for at, title in enumerate(titles, 1)]
        opening = field(r'TOC \o "1-1" \n \h')
        entries = [self.paragraph("TOC1", link) for link in links]
        entries[0][1:1] = opening[:-1]
        entries[-1].append(opening[-1])
        kind = el("docPartObj", el("docPartGallery", val="Table of Contents"), el("docPartUnique"))
        heading = self.paragraph("TOCHeading", words.contents)
        return el("sdt", el("sdtPr", kind), el("sdtContent", heading, *entries))

    def sections(self, article: Article) -> Iterator[Element]:
        """Heading, transition and text of each section."""
        for at, section in enumerate(article.sections, 1):
            yield self.paragraph("Heading1", *self.bookmark(_anchor(at), self.run(one_line(section.title))))
            if transition := one_line(section.transition):
                yield el("p", self.run(transition))
            yield from self.blocks(parse_blocks(section.markdown, self.numbers, WORD_PROCESSOR), _Place())

    def references(self, article: Article, words: Labels) -> Iterator[Element]:
        """The list that citations lead to."""
        anchor = _anchor(len(article.sections) + 1)
        yield self.paragraph("Heading1", *self.bookmark(anchor, self.run(words.references)))
        for entry in article.references:
            marked = self.bookmark(f"ref_{entry.number}", self.run(mark([entry.number])))
            yield self.paragraph("Bibliography", *marked, el("r", el("tab")), source_line(entry))

    def foot(self, note: str) -> Element:
        """A note, and the number of the page of how many."""
        # A mark at the front keeps "1 / 3" from turning round.
        turn = [text("\u200e")] if self.rtl else []
        pages = [*turn, *field("PAGE", text("1")), text(" / "), *field("NUMPAGES", text("1"))]
        return self.paragraph("Footer", note, el("r", el("tab")), *pages)

    def bookmark(self, name: str, *content: Element) -> list[Element]:
        """What a link leads to."""
        self.bookmarks += 1
        opening = el("bookmarkStart", id=self.bookmarks, name=name)
        return [opening, *content, el("bookmarkEnd", id=self.bookmarks)]

    # The text.

    def blocks(self, blocks: Sequence[Block], place: _Place) -> Iterator[Element]:
        """The elements of blocks."""
        for block in blocks:
            kind = block["t"]
            if kind == "p":
                yield self.text_paragraph(block["c"], place)
            elif kind == "h":
                indent = [el("ind", left=place.indent)] if place.indent else []
                name = style(f"Heading{block['level'] - TOP_LEVEL + 2}")
                yield el("p", el("pPr", name, *indent), *self.line(block["c"], _Look()))
            elif kind in ("ul", "ol"):
                yield from self.list_(block, place)
            elif kind == "quote":
                yield from self.blocks(block["items"][0], place._replace(quotes=place.quotes + 1))
            elif kind == "code":
                yield self.code(block["v"], place)
            elif kind == "table":
                yield self.table(block, place)
                # Word joins tables that touch, and sets no space below one.
                yield el("p", el("pPr", style("TableEnd")))
            else:
                yield el("p", el("pPr", style("Rule")))

    def text_paragraph(self, line: Sequence[Inline], place: _Place) -> Element:
        """A paragraph, perhaps of a quote or a list's item."""
        name = "Quote" if place.quotes else "ListContinue" if place.lists else None
        look = _Look(quoted=place.quotes > 0)
        properties = [el("pPr", style(name), el("ind", left=place.indent))] if name else []
        return el("p", *properties, *self.line(line, look))

    def list_(self, block: Block, place: _Place) -> Iterator[Element]:
        """A list. The first paragraph of an item carries its number, an empty one where it begins otherwise."""
        self.lists.append((place.lists, block["start"]) if block["t"] == "ol" else None)
        list_id = FIRST_LIST + len(self.lists) - 1
        inside = place._replace(lists=place.lists + 1)
        for item in block["items"]:
            opening = item[:1] if item and item[0]["t"] == "p" else []
            line = opening[0]["c"] if opening else []
            properties = [
                style("ListNumber" if block["t"] == "ol" else "ListBullet"),
                el("numPr", el("ilvl", val=place.lists), el("numId", val=list_id)),
                el("ind", left=place.indent + INDENT, hanging=INDENT),
                *([] if block["tight"] else [el("contextualSpacing", val=0)]),
            ]
            yield el("p", el("pPr", *properties), *self.line(line, _Look(quoted=place.quotes > 0)))
            yield from self.blocks(item[len(opening) :], inside)

    def code(self, code: str, place: _Place) -> Element:
        """A block of code: one paragraph with forced breaks, so that it stays one."""
        run = el("r")
        for at, row in enumerate(code.split("\n")):
            if at:
                run.append(el("br"))
            content = el("t")
            content.text = row
            content.set(qn("xml:space"), "preserve")
            run.append(content)
        indent = [el("ind", left=place.indent + 160)] if place.indent else []
        return el("p", el("pPr", style("Code"), *indent), run)

    def table(self, block: Block, place: _Place) -> Element:
        """A table whose head is repeated on each page, with columns as wide as their cells ask for."""
        width = TEXT_WIDTH - place.indent
        lengths = [max(map(_asked, column)) for column in zip(*block["rows"], strict=True)]
        widths = [width * length // sum(lengths) for length in lengths]
        properties = el("tblPr", el("tblStyle", val="DataTable"))
        properties.extend([el("bidiVisual")] if self.rtl else [])
        properties.append(el("tblW", w=sum(widths), type="dxa"))
        properties.extend([el("tblInd", w=place.indent, type="dxa")] if place.indent else [])
        properties.append(el("tblLook", firstRow=1, lastRow=0, firstColumn=0, lastColumn=0, noHBand=1, noVBand=1))
        made = el("tbl", properties, el("tblGrid", *(el("gridCol", w=each) for each in widths)))
        for at, row in enumerate(block["rows"]):
            head = [] if at else [el("tblHeader")]
            cells = [
                el("tc", el("tcPr", el("tcW", w=each, type="dxa")), self.cell(cell, align, bool(head)))
                for cell, align, each in zip(row, block["align"], widths, strict=True)
            ]
            # A row moves to the next page whole, unless it is so long that it might not fit on one.
            whole = [el("cantSplit")] if sum(map(_length, row)) < 1_000 else []
            made.append(el("tr", *([el("trPr", *whole, *head)] if whole or head else []), *cells))
        return made

    def cell(self, line: Sequence[Inline], align: str, head: bool) -> Element:
        """The paragraph of a cell."""
        properties = [style("TableHeading" if head else "TableText")]
        properties += [el("jc", val=_ALIGNMENT[align])] if align != "start" else []
        return el("p", el("pPr", *properties), *self.line(line, _Look()))

    def line(self, line: Sequence[Inline], look: _Look) -> Iterator[Element]:
        """The runs and links of a line."""
        for piece in line:
            kind = piece["t"]
            if kind == "text":
                yield self.run(piece["v"], look)
            elif kind == "code":
                yield text(piece["v"], el("rStyle", val="InlineCode"))
            elif kind == "break":
                yield el("r", el("br"))
            elif kind == "cite":
                yield from self.citation(piece["n"], look)
            elif kind == "link" and not look.linked:
                runs = self.line(piece["c"], look._replace(linked=True))
                link = el("hyperlink", *runs)
                link.set(qn("r:id"), self.link(piece["url"]))
                yield link
            else:
                inner = (
                    look._replace(em=True) if kind == "em" else look._replace(strong=look.strong or kind == "strong")
                )
                yield from self.line(piece["c"], inner)

    def citation(self, numbers: Sequence[int], look: _Look) -> Iterator[Element]:
        """Numbers in brackets, each a link to its reference; in a link it is no second one."""
        if look.linked:
            yield self.run(mark(numbers), look)
            return
        for at, each in enumerate(numbers):
            yield self.run(", " if at else "[", look)
            yield el("hyperlink", self.run(str(each), look._replace(linked=True)), anchor=f"ref_{each}")
        yield self.run("]", look)

    def run(self, value: str, look: _Look = _PLAIN) -> Element:
        """A run of text."""
        properties = [el("rStyle", val="Hyperlink")] if look.linked else []
        properties += [el("b"), el("bCs")] if look.strong else []
        if look.em or look.quoted:
            # A quote is set in italics; what is stressed in it is upright.
            on = int(look.em is not look.quoted)
            properties += [el("i", val=on), el("iCs", val=on)]
        properties += [el("rtl")] if self.rtl else []
        return text(value, *properties)

    def link(self, url: str) -> str:
        """The id of an address. (python-docx looks for it in all there are, one after the other.)"""
        if url not in self.links:
            self.links[url] = f"link{len(self.links) + 1}"
            self.relations.add_relationship(RELATIONSHIP_TYPE.HYPERLINK, url, self.links[url], is_external=True)
        return self.links[url]


def _anchor(section: int) -> str:
    return f"_Toc{section:06d}"


def _length(cell: Sequence[Inline]) -> int:
    return len(plain_text([{"t": "p", "c": list(cell)}]))


def _asked(cell: Sequence[Inline]) -> int:
    """The width that a cell asks of its column, in characters."""
    return min(_WIDEST_CELL, _length(cell)) + 4
