"""Words, Markdown and PDF of an article."""

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pypdf
import pytest
import yaml
from pypdf.generic import DictionaryObject

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.longform import Article, ArticleSection
from core.documents import pdf as pdf_module
from core.documents.blocks import MAX_BLOCK_DEPTH, Block, parse_blocks, plain_text
from core.documents.markdown import article_to_markdown, section_body
from core.documents.pdf import article_to_pdf
from core.documents.text import clean, count_words

RICH = """### What the gauges say

The *river* does **not** hurry, and `level = f(rain)` is [explained here](https://example.org/a?b=c#d "t").
See <mailto:a@b.example> too. Considerable uncertainty remains about the contribution of groundwater, which responds
slowly and forgets nothing; nevertheless, extraordinary precipitation notwithstanding, everybody remembered.

| Station | Level | Note |
|:--|--:|:-:|
| Upper bridge | 2.41 | rebuilt |
| Mill `weir` | 1.07 | a **bold** cell |

1. One
2. Two
   - Inner
   - Other

     A second paragraph.

> A quote with *emphasis*.

```python
def f(x: int) -> int:
    return x * 2  # twice
```

#### Deeper

Line one\\
line two.

---

End."""


def section(markdown: str, title: str = "A section", number: int = 1) -> ArticleSection:
    return ArticleSection(id=f"s{number}", title=title, markdown=markdown)


def article(*markdown: str, **changes: Any) -> Article:
    fields: dict[str, Any] = {
        "title": "Living with the River",
        "thesis": "Towns that keep records answer better.",
        "language": "en",
        "words": 100,
        "sections": tuple(section(text, f"Part number {n}", n) for n, text in enumerate(markdown, 1)),
    }
    return Article(**{**fields, **changes})


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
            assert text.count("Simulated text: made by") == 1
            text = re.sub(r"Simulated text: made by.*?language model\.", "", text, flags=re.DOTALL)
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


# Words.


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("", 0),
        ("One two  three.", 3),
        ("well-known and/or don't 3.5 %", 4),
        ("a dash—or – two … end", 5),
        ("# Heading *em* **strong** `code x` ~", 5),
        ("- item\n- [ ] other\n\n1. first\n2) second", 4),
        ("| a | b |\n|:--|--:|\n|c d|e|", 5),
        ("```python\nx = 1\n```", 2),
        ("[the text](https://example.org/a_(b) 'some title') ![alt text](x.png)", 4),
        ("[text][1] end\n\n[1]: https://example.org", 2),
        ("> quoted\n> words\n\n---\n\n***", 2),
        ("R&amp;D &nbsp; x", 2),
        ("1984 was 12 a year", 5),
        ("日本語、テスト。", 6),
        ("mix 中文 and words", 5),
        ("한국어 문장", 2),
        ("Ein schöner Tag. Čtvrtek, élève", 5),
        ("שלום עולם", 2),
        ("😀 ✓ → …", 0),
    ],
)
def test_words(markdown: str, words: int) -> None:
    assert count_words(markdown) == words


def test_words_are_those_a_reader_sees() -> None:
    assert count_words(RICH) == count_words(plain_text(parse_blocks(RICH)))


# Markdown.


def test_markdown_of_an_article() -> None:
    made = article(RICH, "Plain text.", title='A "title": with #1 & *stars*', simulated=True, language="de")
    text = article_to_markdown(made)
    start, front, body = text.split("---\n", 2)
    assert start == ""
    assert yaml.safe_load(front) == {
        "title": 'A "title": with #1 & *stars*', "language": "de", "words": 100, "simulated": True,
    }  # fmt: skip
    lines = body.split("\n")
    assert lines[1] == r'# A "title": with #1 & \*stars\*'
    assert "simulator" in lines[3]
    assert lines[5] == made.thesis
    assert [line for line in lines if line.startswith("## ")] == ["## Part number 1", "## Part number 2"]
    assert text.endswith("Plain text.\n")
    assert "simulator" not in article_to_markdown(article("x"))


def test_an_exported_article_has_the_same_words() -> None:
    made = article(RICH, RICH)
    body = article_to_markdown(made).split("---\n", 2)[2]
    own = sum(count_words(text) for part in made.sections for text in (part.title, part.markdown))
    assert count_words(body) == own + count_words(made.title) + count_words(made.thesis)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# a\n\n## b\n\n###### c", "### a\n\n#### b\n\n##### c"),
        ("## a ##\ntext", "### a ##\ntext"),
        ("### a\n\n##### c", "### a\n\n##### c"),
        ("a\n===\n\nb\nb\n---\nc", "### a\n\n#### b b\nc"),
        ("```\n# no\n```\n\n# yes", "```\n# no\n```\n\n### yes"),
        ("> # a\n> b\n> ---", "> ### a\n> #### b"),
        ("- # a\n  b\n  ---", "- ### a\n  #### b"),
        ("#no heading", "#no heading"),
    ],
)
def test_headings_go_below_the_section(before: str, after: str) -> None:
    assert section_body(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("text <b>x</b> `<b>` \\<i> a < b", "text \\<b>x\\</b> `<b>` \\<i> a < b"),
        ("<script>\nalert(1)\n</script>", "\\<script>\nalert(1)\n\\</script>"),
        ("<!-- open", "\\<!-- open"),
        (
            "| <b> | `<i>` <u> |\n|--|--|\n| <b> | `<i>` <u> |",
            "| \\<b> | `<i>` \\<u> |\n|--|--|\n| \\<b> | `<i>` \\<u> |",
        ),
        ("<https://a.example> [x](<a b>)", "<https://a.example> [x](<a b>)"),
        ("    <b>\n\n```\n<b>\n```", "    <b>\n\n```\n<b>\n```"),
        ("`` ` <b>`` ` <b>", "`` ` <b>`` ` \\<b>"),
    ],
)
def test_html_is_escaped(before: str, after: str) -> None:
    assert section_body(before) == after


@pytest.mark.parametrize("fence", ["```", "~~~~", "````python"])
def test_an_open_code_block_is_closed(fence: str) -> None:
    made = article(f"Text\n\n{fence}\ncode", "After")
    assert "\n\n## Part number 2\n\nAfter\n" in article_to_markdown(made)
    headings = [block for block in parse_blocks(article_to_markdown(made)) if block["t"] == "h"]
    assert len(headings) == 4, "front matter's underline, title and two sections"
    assert section_body("```\nx\n```") == "```\nx\n```"


@pytest.mark.parametrize(
    "thesis", ["# a", "- a", "1. a", "> a", "| a | b |", "~~~ a", "*a*", "<b>", "a\n\n# b", "&amp; #"]
)
def test_a_thesis_stays_a_paragraph(thesis: str) -> None:
    body = article_to_markdown(article("x", thesis=thesis)).split("---\n", 2)[2]
    blocks = parse_blocks(body)
    assert [block["t"] for block in blocks] == ["h", "p", "h", "p"]
    assert plain_text([blocks[1]]) == " ".join(thesis.split())


# Blocks.


def test_links_elsewhere_are_text() -> None:
    text = "[a](javascript:alert(1)) [b](ftp://x/y) [c](/x) [d](HTTPS://ok.example) ![pic](http://x/y.png)"
    [block] = parse_blocks(text)
    assert [piece["url"] for piece in block["c"] if piece["t"] == "link"] == ["HTTPS://ok.example"]
    assert plain_text([block]) == "[a](javascript:alert(1)) b c d pic"


def test_a_wide_table_becomes_records() -> None:
    row = "|" + "|".join("abcdefgh") + "|\n"
    [block] = parse_blocks(row + "|-" * 8 + "|\n" + row.upper())
    assert block["t"] == "ul"
    assert plain_text([block]).startswith("a: A\nb: B\n")


def test_depth_is_bounded_and_nothing_is_lost() -> None:
    blocks = parse_blocks("".join(f"{'  ' * n}- item {n}\n" for n in range(40)))
    assert re.findall(r"\d+", plain_text(blocks)) == [str(n) for n in range(40)]

    def depth(tree: list[Block]) -> int:
        return max((1 + depth(item) for block in tree for item in block.get("items", [])), default=0)

    assert depth(blocks) == MAX_BLOCK_DEPTH


def test_clean() -> None:
    assert clean("a\x00b\x1bc\ud800d\ufeff\r\ne\rf\u2028g\th\u2029i") == "abcd\ne\nf\ng\th\n\ni"
    assert clean("e" + "\u0301" * 100) == "e" + "\u0301" * 8


# PDF.


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
    pdf_module._fonts.cache_clear()
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
        edges: list[float] = []

        def visit(
            text: str, _cm: list[float], tm: list[float], _font: object, size: float, into: list[float] = edges
        ) -> None:
            if text.strip():
                into.append(tm[4])

        page.extract_text(visitor_text=visit)
        assert max(edges) < 595 - 90, "no piece of text starts in the right margin"


def test_a_large_article() -> None:
    made = article("word and words. " * 18_750)
    assert len(read(article_to_pdf(made)).pages) > 60


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("he", ("he", None, "rtl")),
        ("ar-EG", ("ar", "eg", "rtl")),
        ("pt-BR", ("pt", "br", "ltr")),
        ("zh-Hant-TW", ("zh", "tw", "ltr")),
        ("az-Arab", ("az", None, "rtl")),
        ("ku-Latn", ("ku", None, "ltr")),
        ("gsw", ("gsw", None, "ltr")),
        ("xx", ("xx", None, "ltr")),
        ("", ("en", None, "ltr")),
        ("klingon!", ("en", None, "ltr")),
    ],
)
def test_languages(tag: str, found: tuple[str, str | None, str]) -> None:
    language = pdf_module._language(tag)
    assert (language["lang"], language["region"], language["dir"]) == found
    article_to_pdf(article("Text", "a", "b", "c", language=tag))


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
