"""The text of good files: its words, their order, and the places they are at."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.contracts.files import BlockKind, FileKind, FileReason
from core.contracts.reading import ReadBlock, ReadDocument
from core.documents.docx import article_to_docx
from core.documents.extraction import as_markdown, extract, placed
from core.documents.html import article_to_html
from core.documents.markdown import article_to_markdown
from core.documents.pdf import article_to_pdf
from core.documents.reader.docx import read_docx
from core.documents.reader.found import Block, Bounds, Found, Unreadable
from core.documents.reader.markup import read_markdown, read_text
from core.documents.reader.pdf import read_pdf
from tests.support import files
from tests.support.articles import RICH, article, section, words
from tests.support.files import W, docx, pages, paragraph, pdf, shown

BOUNDS = Bounds()
STATION = """{n} stations were read twice a day. What they say about floods is **plain**, and what they leave out is
told by the marks on the walls of the mill; none of them agrees with the others by more than a foot, so the well-known
books of the river are read together.

1. The gauge {n} was moved up the bank.
2. The keeper was paid for a third reading:
   - at noon in summer,
   - before sunset in winter.

| Year | Level at {n} | What the keeper wrote |
|:--|--:|---|
| 1821 | {n}.4 m | ice until March |
| 1822 | {n}.1 m | low, and the mill stood still |

### What came of station {n}

Nobody was asked to stay, and nobody did: the town had seen water before, and had kept a book of it."""
ARTICLE = article(*(f"{STATION.format(n=n)}\n\n{STATION.format(n=100 + n)}" for n in range(30, 46)))


def from_the_text_on(found: Found) -> list[Block]:
    """Without the title, and without the table of contents, which the article itself does not have."""
    first = next(n for n, block in enumerate(found.blocks) if block.text == "Part number 1" and block.level)
    return found.blocks[first:]


def text_of(block: Block | ReadBlock) -> str:
    mark = f"{block.number}. " if block.kind is BlockKind.ITEM and block.ordered else ""
    return mark + block.text + " ".join(cell for row in block.rows for cell in row)


def expected() -> list[str]:
    """The words of the article in their order, as they stand in its Markdown, which is plain here."""
    found: list[str] = []
    for part in ARTICLE.sections:
        lines = [line for line in part.markdown.split("\n") if not re.fullmatch(r"[|:-]+", line)]
        plain = re.sub(r"\*\*|^#+ |^ *- |\|", "", "\n".join(lines), flags=re.MULTILINE)
        found += words(f"{part.title} {plain}")
    return found


def reading_of(blocks: Iterable[Block]) -> list[str]:
    return [word for block in blocks for word in text_of(block).split()]


def test_all_words_of_a_pdf_come_back_in_order() -> None:
    found = read_pdf(article_to_pdf(ARTICLE), BOUNDS)
    assert found.pages is not None
    assert found.pages >= 10
    assert found.title == "Living with the River"
    assert found.pages_without_text == []
    blocks = from_the_text_on(found)
    assert reading_of(blocks) == expected()
    tables = [block.rows for block in blocks if block.kind is BlockKind.TABLE]
    assert tables[:1] == [[["Year", "Level at 30", "What the keeper wrote"], ["1821", "30.4 m", "ice until March"],
                           ["1822", "30.1 m", "low, and the mill stood still"]]]  # fmt: skip
    assert len(tables) >= 30
    items = [block for block in blocks if block.kind is BlockKind.ITEM][:4]
    assert [(i.level, i.number) for i in items] == [(0, 1), (0, 2), (1, None), (1, None)]
    at = [block.page for block in blocks]
    assert at == sorted(page for page in at if page)
    headings = [block.text for block in blocks if block.kind is BlockKind.HEADING]
    assert [text for text in headings if text.startswith("What came")] == [
        f"What came of station {n}" for number in range(30, 46) for n in (number, 100 + number)
    ]


def test_all_words_of_a_docx_come_back_in_order() -> None:
    found = read_docx(article_to_docx(ARTICLE), BOUNDS)
    assert found.title == "Living with the River"
    blocks = from_the_text_on(found)
    assert reading_of(blocks) == expected()
    kinds = [block.kind.value for block in blocks[:7]]
    assert kinds == ["heading", "paragraph", "item", "item", "item", "item", "table"]


def test_rich_text_comes_back_as_what_it_is() -> None:
    made = article(RICH, sections=(section(RICH, "One"),))
    pdf_found, docx_found = read_pdf(article_to_pdf(made), BOUNDS), read_docx(article_to_docx(made), BOUNDS)
    markdown = read_markdown(article_to_markdown(made).encode(), BOUNDS)
    for found in (pdf_found, docx_found, markdown):
        code = [block.text for block in found.blocks if block.kind is BlockKind.CODE]
        assert [re.sub(" +", " ", text) for text in code] == ["def f(x: int) -> int:\n return x * 2 # twice"]
        assert [b.rows[1] for b in found.blocks if b.kind is BlockKind.TABLE] == [["Upper bridge", "2.41", "rebuilt"]]
    assert reading_of(docx_found.blocks) == reading_of(markdown.blocks)
    assert markdown.title == "Living with the River"


async def test_a_file_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a file; rm -rf"
    path.write_bytes(article_to_docx(article(RICH)))
    by_path = await extract(path, FileKind.DOCX)
    assert by_path == await extract(path.read_bytes(), FileKind.DOCX)
    assert by_path.kind is FileKind.DOCX
    assert by_path.title == "Living with the River"
    page = await extract(article_to_html(article(RICH)).encode(), FileKind.HTML)
    assert page.title == "Living with the River"
    assert "Considerable uncertainty" in as_markdown(page)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("he", "הנהר עלה בשנת 1821 עד הגשר. תושבי העיר ידעו כי המים יבואו, וכתבו זאת בספר (River book 3) שנשמר."),
        ("ar", "ارتفع النهر في عام 1821 حتى الجسر. وكان أهل المدينة يعرفون أن الماء سيأتي في الربيع كما أتى من قبل."),
        ("el", "Ο ποταμός ανέβηκε το 1821 ως τη γέφυρα· οι κάτοικοι ήξεραν ότι το νερό θα έρθει, και το έγραψαν."),
    ],
)
def test_other_scripts_are_read_in_their_order(language: str, text: str) -> None:
    found = read_pdf(article_to_pdf(article(text, language=language)), BOUNDS)
    assert found.blocks[-1].text == text


def document(*blocks: ReadBlock) -> ReadDocument:
    return ReadDocument(kind=FileKind.PDF, blocks=blocks)


def test_places_are_pages_or_headings() -> None:
    made = document(
        ReadBlock(kind=BlockKind.HEADING, text="One", level=1),
        ReadBlock(kind=BlockKind.HEADING, text="Two", level=2),
        ReadBlock(kind=BlockKind.PARAGRAPH, text="a"),
        ReadBlock(kind=BlockKind.HEADING, text="Three", level=1),
        ReadBlock(kind=BlockKind.PARAGRAPH, text="b", page=12),
        ReadBlock(kind=BlockKind.PARAGRAPH, text="c", page=12, last_page=13),
    )
    assert [str(place) for _, place in placed(made)] == ["", "One", "One › Two", "", "p. 12", "pp. 12–13"]
    assert as_markdown(made) == "# One\n\n## Two\n\na\n\n# Three\n\n[p. 12]\n\nb\n\n[pp. 12–13]\n\nc\n"


def test_only_we_say_where_a_text_stands() -> None:
    made = document(
        ReadBlock(kind=BlockKind.PARAGRAPH, text="[p. 99]\n# No heading\n  ```", page=1),
        ReadBlock(kind=BlockKind.CODE, text="```\n[p. 98]", page=1),
        ReadBlock(kind=BlockKind.TABLE, rows=(("a|b", "c\nd"), ("e",)), page=1),
        ReadBlock(kind=BlockKind.ITEM, text="one", ordered=True, number=3, page=1),
        ReadBlock(kind=BlockKind.ITEM, text="two\nlines", level=1, page=1),
    )
    assert as_markdown(made) == (
        "[p. 1]\n\n\\[p. 99]\n\\# No heading\n\\  ```\n\n````\n```\n[p. 98]\n````\n\n"
        "| a\\|b | c d |\n|---|---|\n| e |  |\n\n3. one\n   - two\n     lines\n"
    )


def lines(x: float, top: float, *texts: str) -> list[tuple[float, float, str]]:
    return [(x, top - 12 * n, text) for n, text in enumerate(texts)]


def test_two_columns_are_read_one_after_the_other() -> None:
    left = [f"left column line {n} with several words" for n in range(8)]
    right = [f"right column line {n} with several words" for n in range(8)]
    rows = [line for pair in zip(lines(50, 600, *left), lines(320, 600, *right), strict=True) for line in pair]
    page = shown((50, 650, "A title across both of the columns of this page, as papers have it"), size=16) + shown(
        *rows
    )
    found = read_pdf(pdf(pages(page)), BOUNDS)
    assert [block.kind.value for block in found.blocks] == ["heading", "paragraph"]
    assert found.blocks[1].text == " ".join(left + right)


def test_hyphens_at_line_ends_go_unless_they_are_the_words_own() -> None:
    text = ("The obser-", "vation of the well-", "known river, a well-known one, was impos-", "sible on Mon-", "Tue.")
    found = read_pdf(pdf(pages(shown(*lines(50, 600, *text)))), BOUNDS)
    assert found.blocks[0].text == (
        "The observation of the well-known river, a well-known one, was impossible on Mon-Tue."
    )


def test_heads_and_feet_go_and_paragraphs_go_on() -> None:
    contents = [
        shown((50, 780, f"River report {n}"), (280, 20, f"Page {n} of 4"))
        + shown(*lines(50, 700, f"chapter {n} begins here and has a line of its own", "and goes on without an end"))
        for n in range(1, 5)
    ]
    found = read_pdf(pdf(pages(*contents)), BOUNDS)
    assert len(found.blocks) == 1
    assert (found.blocks[0].page, found.blocks[0].last_page) == (1, 4)
    assert "report" not in found.blocks[0].text
    assert found.blocks[0].text.count("goes on") == 4


def test_pages_without_text_are_told() -> None:
    drawing = "10 10 50 50 re f"
    found = read_pdf(pdf(pages(shown((50, 700, "Text.")), drawing, "", shown((50, 700, "More.")), drawing)), BOUNDS)
    assert found.pages_without_text == [2, 5]
    assert [(block.text, block.page) for block in found.blocks] == [("Text.", 1), ("More.", 4)]
    with pytest.raises(Unreadable, match="no text, only pictures") as caught:
        read_pdf(pdf(pages(drawing, drawing)), BOUNDS)
    assert caught.value.reason is FileReason.NO_TEXT


def test_text_in_fonts_that_do_not_say_what_they_read_is_not_guessed() -> None:
    objects = pages(shown((50, 700, "ABCDEFGH")), shown((50, 700, "Read."), font="F2"))
    objects[3] = "<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[5 0 R]>>"
    objects[5] = "<</Type/Font/Subtype/CIDFontType2/BaseFont/X/DW 500>>"
    found = read_pdf(pdf(objects), BOUNDS)
    assert [(block.text, block.page) for block in found.blocks] == [("Read.", 2)]
    assert found.pages_without_text == [1]


def test_text_that_is_turned_drawn_twice_or_in_a_form() -> None:
    turned = "BT /F1 10 Tf 0 1 -1 0 20 100 Tm (stamp at the margin) Tj ET"
    twice = shown((50, 700, "Bold by drawing twice."), (50.3, 700, "Bold by drawing twice."))
    kerned = "BT /F1 10 Tf 50 600 Td [(W) 80 (ater ) -300 (r) -20 (ose) -400 (twice)] TJ T* (x) ' ET"
    objects = pages(turned + "\n" + twice + kerned + " /X1 Do", resources="/XObject<</X1 5 0 R>>")
    own = "/Type/XObject/Subtype/Form/Resources<</Font<</F1 3 0 R>>/XObject<</X1 5 0 R>>>>"
    objects[5] = files.stream("/X1 Do BT /F1 10 Tf 50 500 Td (In a form.) Tj ET", own)
    found = read_pdf(pdf(objects), BOUNDS)
    texts = [block.text for block in found.blocks]
    assert texts[0] == "Bold by drawing twice."
    assert any(text.startswith("Water rose twice") for text in texts)
    assert texts[-2:] == ["In a form.", "stamp at the margin"]


def docx_blocks(body: str, parts: dict[str, str]) -> list[tuple[str, str]]:
    found = read_docx(docx(body, parts), BOUNDS)
    return [(block.kind.value, text_of(block)) for block in found.blocks]


def test_what_a_docx_hides_in_its_body() -> None:
    row = f"<w:tr><w:tc>{paragraph('a')}<w:tbl><w:tr><w:tc>{paragraph('in')}</w:tc></w:tr></w:tbl></w:tc></w:tr>"
    body = (
        f"<w:sdt><w:sdtContent>{paragraph('In a control.')}</w:sdtContent></w:sdt>"
        "<w:p><w:r><w:t>Kept</w:t></w:r><w:del><w:r><w:delText> gone</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t> and new</w:t><w:tab/><w:t>tab</w:t><w:footnoteReference w:id='2'/></w:r></w:ins>"
        "<w:hyperlink><w:r><w:t>, linked</w:t></w:r></w:hyperlink>"
        f"<w:r><w:pict><w:txbxContent>{paragraph('A box.')}</w:txbxContent></w:pict></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc>{paragraph('Framed.')}</w:tc></w:tr></w:tbl>"
        f"<w:tbl>{row}{row}</w:tbl>"
    )
    notes = f"<w:footnotes xmlns:w='{W}'><w:footnote w:id='2'>{paragraph('A note.')}</w:footnote></w:footnotes>"
    assert docx_blocks(body, {"footnotes": notes}) == [
        ("paragraph", "In a control."),
        ("paragraph", "Kept and new tab[^2], linked"),
        ("paragraph", "A box."),
        ("paragraph", "Framed."),
        ("table", "a in a in"),
        ("note", "[^2] A note."),
    ]


def test_headings_and_lists_of_a_docx_by_its_styles() -> None:
    styles = (
        f"<w:styles xmlns:w='{W}'><w:style w:styleId='U1'><w:name w:val='heading 2'/></w:style>"
        "<w:style w:styleId='Own'><w:name w:val='Mine'/><w:basedOn w:val='U1'/></w:style>"
        "<w:style w:styleId='Loop'><w:name w:val='Loop'/><w:basedOn w:val='Loop'/></w:style></w:styles>"
    )
    numbering = (
        f"<w:numbering xmlns:w='{W}'><w:abstractNum w:abstractNumId='0'>"
        "<w:lvl w:ilvl='0'><w:start w:val='4'/><w:numFmt w:val='decimal'/></w:lvl>"
        "<w:lvl w:ilvl='1'><w:numFmt w:val='bullet'/></w:lvl></w:abstractNum>"
        "<w:num w:numId='7'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='8'><w:abstractNumId w:val='0'/>"
        "<w:lvlOverride w:ilvl='0'><w:startOverride w:val='2'/></w:lvlOverride></w:num></w:numbering>"
    )

    def item(level: int, number: int = 7) -> str:
        return f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{number}'/></w:numPr>"

    body = paragraph("Head", "<w:pStyle w:val='Own'/>") + paragraph("Plain", "<w:pStyle w:val='Loop'/>")
    body += paragraph("four", item(0)) + paragraph("dot", item(1)) + paragraph("five", item(0))
    body += paragraph("two", item(0, 8)) + paragraph("three", item(0, 7))
    found = read_docx(docx(body, {"styles": styles, "numbering": numbering}), BOUNDS).blocks
    assert [(b.kind.value, b.level, b.number, b.text) for b in found] == [
        ("heading", 2, None, "Head"),
        ("paragraph", 0, None, "Plain"),
        ("item", 0, 4, "four"),
        ("item", 1, None, "dot"),
        ("item", 0, 5, "five"),
        ("item", 0, 2, "two"),
        ("item", 0, 3, "three"),
    ]


def test_markdown_and_text() -> None:
    markdown = (
        "---\ntitle: 'From the front'\nx: 1\n---\n## Two\n\nOne *two* [three](http://a)\nfour\\\nfive <b>six</b>\n\n"
    )
    markdown += "3. a\n   - b\n\n     c\n4. d\n\n> quoted\n\n```\ncode\n```\n\n| a | b |\n|---|---|\n| c | |\n"
    found = read_markdown(markdown.encode(), BOUNDS)
    assert found.title == "From the front"
    assert [(b.kind.value, b.level, b.number, text_of(b)) for b in found.blocks] == [
        ("heading", 2, None, "Two"),
        ("paragraph", 0, None, "One two three four\nfive six"),
        ("item", 0, 3, "3. a"),
        ("item", 1, None, "b"),
        ("paragraph", 0, None, "c"),
        ("item", 0, 4, "4. d"),
        ("paragraph", 0, None, "quoted"),
        ("code", 0, None, "code"),
        ("table", 0, None, "a b c "),
    ]
    assert [block.text for block in read_text("\ufeffa\r\nb\r\n \r\n\fc\x07".encode("utf-16"), BOUNDS).blocks] == [
        "a\nb",
        "c",
    ]


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\n\n", "no_text"), (b"\xe9", "not_text"), (b"a\n\n" * 30, "too_complex")]
)
def test_texts_that_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_text(data, Bounds(blocks=20))
    assert caught.value.reason == reason
