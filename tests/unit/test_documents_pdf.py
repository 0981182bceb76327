"""The PDF export."""

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pypdf
import pytest
from pypdf.generic import DictionaryObject

from core.contracts.documents import Article
from core.contracts.errors import AtelierError, ErrorType
from core.documents import pdf as pdf_module
from core.documents import typesetting
from core.documents.blocks import Block, parse_blocks, plain_text
from core.documents.labels import labels
from core.documents.pdf import article_to_pdf
from tests.support.articles import RICH, article, references
from tests.support.pdf_pages import left_edges


def read(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data))


def letters(text: str) -> str:
    """Text without spaces and marks: hyphens and line ends of the set page fall away."""
    return "".join(char for char in text if char.isalnum())


def body_of(reader: pypdf.PdfReader, made: Article) -> str:
    """The letters of all pages without running heads and feet."""
    pages = []
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        if number > 1:
            assert text.startswith(made.title), text[:200]
            text = text.removeprefix(made.title)
        foot = f"{number} / {len(reader.pages)}"
        assert foot in text[-120:]
        text = "".join(text.rsplit(foot, 1))
        if made.simulated:
            assert text.count(labels("en").note) == 1, "on every page, below the title of the first"
            text = text.replace(labels("en").note, "")
        pages.append(letters(text))
    return "".join(pages)


def expected(made: Article, pages: list[int] | None = None) -> str:
    """The letters a reader of the PDF reads."""
    parts = [made.title, made.thesis]
    if pages is not None:
        parts += ["Contents", *(f"{part.title} {page}" for part, page in zip(made.sections, pages, strict=True))]
    for part in made.sections:
        parts += [part.title, numbered(parse_blocks(part.markdown))]
    return letters(" ".join(parts))


def numbered(blocks: list[Block]) -> str:
    """As `plain_text`, with the numbers of lists."""
    parts = []
    for block in blocks:
        if block["t"] in ("ul", "ol", "quote"):
            for number, item in enumerate(block["items"], block.get("start", 1)):
                parts += [str(number) if block["t"] == "ol" else "", numbered(item)]
        else:
            parts.append(plain_text([block]))
    return "\n".join(parts)


def links(reader: pypdf.PdfReader) -> list[str]:
    found = []
    for page in reader.pages:
        for annotation in page.get("/Annots") or []:
            action = annotation.get_object().get("/A")
            if isinstance(action, DictionaryObject) and "/URI" in action:
                found.append(str(action["/URI"]))
    return found


def test_a_pdf_holds_the_article_in_order() -> None:
    made = article(RICH, RICH.replace("###", "#"), "Last words.", simulated=True)
    reader = read(article_to_pdf(made))
    assert len(reader.pages) > 1
    assert body_of(reader, made) == expected(made)
    assert set(links(reader)) == {"https://example.org/a?b=c#d", "mailto:a@b.example"}


def test_a_long_pdf_has_contents_with_the_right_pages() -> None:
    made = article(*(f"{RICH}\n\n" + f"Word{n} word. " * 150 for n in range(12)))
    reader = read(article_to_pdf(made))
    pages = [
        next(
            number
            for number, page in enumerate(reader.pages[1:], 2)
            if re.search(rf"^{part.title}$", page.extract_text(), re.MULTILINE)
        )
        for part in made.sections
    ]
    assert pages == sorted(pages)
    assert pages[0] == 2, "a long article starts on a page of its own"
    assert pages[-1] > 8
    assert body_of(reader, made) == expected(made, pages)
    outline = [item for item in reader.outline if not isinstance(item, list)]
    assert [item.title for item in outline] == [part.title for part in made.sections]


def test_contents_come_from_four_sections_on() -> None:
    assert "Contents" not in read(article_to_pdf(article("a", "b", "c"))).pages[0].extract_text()
    four = article("a", "b", "c", "d")
    assert body_of(read(article_to_pdf(four)), four) == expected(four, [1, 1, 1, 1])
    german = read(article_to_pdf(article("a", "b", "c", "d", language="de-AT"))).pages[0].extract_text()
    assert "Inhaltsverzeichnis" in german


def test_metadata() -> None:
    made = article("a", title="Größe & <Maß>", language="de-DE", simulated=True)
    reader = read(article_to_pdf(made))
    assert reader.metadata is not None
    assert reader.metadata.title == "Größe & <Maß>"
    assert reader.metadata.keywords == "Part number 1, simulated"
    assert reader.metadata.creation_date is None
    assert str(reader.root_object["/Lang"]) == "de-DE"
    assert reader.pages[0].mediabox[2:] == pytest.approx([595.28, 841.89], abs=0.01)


def test_the_same_article_gives_the_same_bytes() -> None:
    made, other = article(RICH, RICH), article(RICH, "x")
    first = article_to_pdf(made)
    article_to_pdf(other)
    typesetting.fonts.cache_clear()
    assert article_to_pdf(made) == first


def test_threads_do_not_disturb_each_other() -> None:
    made = [article(f"Text {n}. {RICH}") for n in range(6)]
    alone = [article_to_pdf(item) for item in made]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(article_to_pdf, made)) == alone
    assert threading.active_count() < 10


@pytest.mark.parametrize(
    ("markdown", "must_show"),
    [
        ('\\# $x^2$ * _ \\\\ @ref \\<label> #import "a" #panic() ~ // c /* d */ = e', 'import"a"#panic()~//c/*d*/=e'),
        ("a\x00b\x07c\ud800d", "abcd"),
        ("<script>alert(1)</script>\n\n<div>\nx\n</div>\n\n<!-- c", "<script>alert(1)</script><div>x</div><!--c"),
        ("x" * 5_000, "x" * 5_000),
        ("`" + "y" * 500 + "`\n\n```\n" + "z" * 500 + "\n```", "y" * 500 + "z" * 500),
        ("|a|b|c|\n|-|-|-|\n|" + "q" * 300 + "|r|s|", "q" * 300),
        ("".join(f"{'  ' * n}- item{n}\n" for n in range(40)), "item39"),
        ("> " * 50 + "deep", "deep"),
        ("*a " * 500 + "b*" * 500, "bbb"),
        ("999999999. x", "999999999.x"),
        ("e" + "\u0301" * 20_000, ""),
        ("😀👩‍👩‍👧 ok", "ok"),
        ("[" * 30_000, "["),
        ("|a|b|\n|-|-|\n", "ab"),
        ("- \n- \n\n>\n\n#\n\n``` x\n```", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_hostile_text(markdown: str, must_show: str) -> None:
    reader = read(article_to_pdf(article(markdown, title="# $T$ <x>", thesis='#panic("x") @a')))
    pages = [re.sub(r"\d+ / \d+", "", page.extract_text()) for page in reader.pages]
    text = re.sub(r"[\s\u200b]", "", "".join(pages))
    assert "#$T$<x>" in text
    assert '#panic("x")@a' in text
    if must_show != "q" * 300:  # cells interleave
        text = text.replace("#$T$<x>", "")
        assert must_show in text or letters(must_show) in letters(text)


def test_nothing_runs_off_the_page() -> None:
    runs = ["x" * 400, "https://example.org/" + "path/" * 80, "`" + "y" * 300 + "`", "a" * 41, "W" * 39, "_" * 300]
    table = "|" + "h" * 30 + "|b" * 6 + "|\n" + "|-" * 7 + "|\n|" + "Donaudampfschifffahrtsgesellschaft|" * 7
    made = article("\n\n".join([*runs, table, "```\n" + "z" * 300 + "\n```"]), title="T" * 180, thesis="t" * 300)
    for page in read(article_to_pdf(made)).pages:
        assert max(left_edges(page)) < 595 - 90, "no piece of text starts in the right margin"


def test_a_large_article() -> None:
    made = article("word and words. " * 18_750)
    assert len(read(article_to_pdf(made)).pages) > 60


@pytest.mark.parametrize("tag", ["ar-EG", "zh-Hant-TW", "gsw", "xx", "", "klingon!"])
def test_every_language_can_be_set(tag: str) -> None:
    article_to_pdf(article("Text [@r1]", "a", "b", "c", language=tag, references=references(r1="x"), simulated=True))


def test_right_to_left() -> None:
    reader = read(article_to_pdf(article("שלום עולם\n\n- אחד\n\n| א | ב |\n|--|--|\n| 1 | 2 |", language="he")))
    assert letters("שלום") in letters(reader.pages[0].extract_text())


def test_missing_glyphs_are_admitted() -> None:
    def says(markdown: str) -> bool:
        return "missing from the fonts" in read(article_to_pdf(article(markdown))).pages[0].extract_text()

    assert says("中文")
    assert says("😀")
    assert not says("Ελληνικά, русский, Türkçe, Việt, עברית, “quotes” – € → ✓ ≤ ∑ x² 𝑥")


def test_a_failure_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_module, "TEMPLATE", pdf_module.TEMPLATE.with_name("gone.typ"))
    with pytest.raises(AtelierError) as error:
        article_to_pdf(article("x"))
    assert error.value.type is ErrorType.EXPORT_FAILED


def test_a_citation_leads_to_its_reference() -> None:
    made = article("One [@r7]. Two [@r1, @r7].", "word " * 3_000, references=references(r1="First book", r7="Other"))
    reader = read(article_to_pdf(made))
    assert "One [7]. Two [1,\xa07]." in reader.pages[0].extract_text()
    places = []
    for annotation in reader.pages[0]["/Annots"]:  # type: ignore[attr-defined]
        page, _fit, _x, y, _zoom = annotation.get_object()["/Dest"]
        places.append((reader.get_page_number(page.get_object()), float(y)))
    seventh, first, again = places
    assert {page for page, _ in places} == {len(reader.pages) - 1}
    assert seventh == again
    assert seventh[1] < first[1], "further down"
    assert "First book" in reader.pages[-1].extract_text()


def test_labels_that_the_fonts_lack_are_english() -> None:
    made = article("a", "b", "c", "d", language="ja", simulated=True, references=references(r1="x"))
    text = "".join(page.extract_text() for page in read(article_to_pdf(made)).pages)
    assert labels("en").note in text
    assert "References" in text
    assert "missing from the fonts" not in text


def test_a_very_long_address_is_set() -> None:
    article_to_pdf(article(f"[a](https://example.org/{'a' * 20_000})"))
