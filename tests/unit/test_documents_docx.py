"""The DOCX export."""

import io
import zipfile
from typing import Any

import docx
import pytest
from docx.document import Document
from docx.oxml.ns import qn

from core.contracts.documents import Article
from core.documents.docx import article_to_docx
from core.documents.docx_package import _base
from tests.support.articles import RICH, article, references, section, words_of_docx


def read(made: Article) -> Document:
    return docx.Document(io.BytesIO(article_to_docx(made)))


def styled(document: Document) -> list[tuple[str, str]]:
    return [(str(p.style and p.style.name), p.text) for p in document.paragraphs]


def values(document: Document, tag: str, attribute: str = "val") -> list[str]:
    return [element.get(qn(f"w:{attribute}")) for element in document.element.body.iter(qn(f"w:{tag}"))]


def numbering(document: Document) -> list[tuple[str, int, str]]:
    """Text, level and number of the paragraphs of lists, with the number that Word shows."""
    starts: dict[tuple[str, str], int] = {}
    kinds: dict[str, str] = {}
    for num in document.part.numbering_part.element.iter(qn("w:num")):
        list_id = num.get(qn("w:numId"))
        kinds[list_id] = num.find(qn("w:abstractNumId")).get(qn("w:val"))
        for override in num.iter(qn("w:lvlOverride")):
            start = override.find(qn("w:startOverride"))
            starts[list_id, override.get(qn("w:ilvl"))] = int(start.get(qn("w:val")))
    shown, counts = [], dict[tuple[str, str], int]()
    for paragraph in document.paragraphs:
        for found in paragraph._p.iter(qn("w:numPr")):
            key = (found.find(qn("w:numId")).get(qn("w:val")), found.find(qn("w:ilvl")).get(qn("w:val")))
            counts[key] = counts.get(key, starts.get(key, 1) - 1) + 1
            shown.append((paragraph.text, int(key[1]), f"{counts[key]}." if kinds[key[0]] == "2" else "•"))
    return shown


def test_paragraphs_have_real_styles() -> None:
    document = read(article(RICH, simulated=True, sections=(section(RICH, "One"), section("x", "Two", 2, "So."))))
    assert [entry for entry in styled(document) if entry[1]][:6] == [
        ("Title", "Living with the River"),
        ("Note", "Simulated text. Made by Atelier’s simulator, not by a language model."),
        ("Subtitle", "Towns that keep records answer better."),
        ("Heading 1", "One"),
        ("Heading 2", "What the gauges say"),
        ("Normal", "The river does not hurry, and level = f(rain) is explained here. See mailto:a@b.example too. "
         "Considerable uncertainty remains about the contribution of groundwater, which responds slowly and forgets "
         "nothing; nevertheless, extraordinary precipitation notwithstanding, everybody remembered."),
    ]  # fmt: skip
    names = [name for name, _ in styled(document)]
    for name in ("List Number", "List Bullet", "List Continue", "Quote", "Code", "Heading 3", "Rule", "Table End"):
        assert name in names, name
    assert styled(document)[-3:] == [("Heading 1", "Two"), ("Normal", "So."), ("Normal", "x")]
    [code] = [text for name, text in styled(document) if name == "Code"]
    assert code == "def f(x: int) -> int:\n    return x * 2  # twice"
    runs = [run for paragraph in document.paragraphs for run in paragraph.runs]
    assert [run.text for run in runs if run.bold] == ["Simulated text.", "not"]
    assert [run.text for run in runs if run.style.name == "Inline Code"] == ["level = f(rain)"]
    assert ("river", True) in [(run.text, run.italic) for run in runs]


def test_every_style_that_is_used_exists() -> None:
    made = article(
        RICH, "> - a\n>   1. b\n\n##### h\n\n[a](http://x.example)", "c", "[@r1]", references=references(r1="x")
    )
    document = read(article(*(part.markdown for part in made.sections), references=made.references, simulated=True))
    known = {style.style_id for style in document.styles}
    used = {*values(document, "pStyle"), *values(document, "rStyle"), *values(document, "tblStyle")}
    assert used <= known
    based = {
        element.get(qn("w:val"))
        for tag in ("basedOn", "next", "link")
        for element in document.styles.element.iter(qn(f"w:{tag}"))
    }
    assert based <= known


def test_lists_start_again_and_nest() -> None:
    markdown = (
        "1. a\n2. b\n   - c\n   - d\n     1. e\n3. f\n\nx\n\n1. g\n\ny\n\n7) h\n8) i\n\n- - j\n-\n- ```\n  k\n  ```"
    )
    assert numbering(read(article(markdown))) == [
        ("a", 0, "1."), ("b", 0, "2."), ("c", 1, "•"), ("d", 1, "•"), ("e", 2, "1."), ("f", 0, "3."),
        ("g", 0, "1."), ("h", 0, "7."), ("i", 0, "8."),
        ("", 0, "•"), ("j", 1, "•"), ("", 0, "•"), ("", 0, "•"),
    ]  # fmt: skip
    assert numbering(read(article("999999999. x")))[0][2] == "32767.", "the highest that Word counts from"


def test_a_table_repeats_its_head() -> None:
    document = read(article(RICH))
    [table] = document.tables
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["Station", "Level", "Note"], ["Upper bridge", "2.41", "rebuilt"], ["Mill weir", "1.07", "a bold cell"],
    ]  # fmt: skip
    assert [row._tr.find(f".//{qn('w:tblHeader')}") is not None for row in table.rows] == [True, False, False]
    assert values(document, "jc") == ["right", "center"] * 3
    widths = [int(width) for width in values(document, "gridCol", "w")]
    assert sum(widths) == pytest.approx(9070, abs=3)
    assert widths[1] < widths[0]


def test_contents_are_a_field_that_shows_its_entries() -> None:
    document = read(article("a", "b", "c", "d", references=references(r1="x")))
    [content] = document.element.body.iter(qn("w:sdtContent"))
    assert ["".join(t.text for t in p.iter(qn("w:t"))) for p in content] == [
        "Contents", "Part number 1", "Part number 2", "Part number 3", "Part number 4", "References",
    ]  # fmt: skip
    assert [element.text.strip() for element in content.iter(qn("w:instrText"))] == [r'TOC \o "1-1" \n \h']
    assert [mark.get(qn("w:fldCharType")) for mark in content.iter(qn("w:fldChar"))] == ["begin", "separate", "end"]
    assert_links_lead_somewhere(document)
    assert not list(read(article("a", "b", "c")).element.body.iter(qn("w:sdt")))


def assert_links_lead_somewhere(document: Document) -> None:
    names = values(document, "bookmarkStart", "name")
    assert len(names) == len(set(names))
    assert len(set(values(document, "bookmarkStart", "id"))) == len(names)
    anchors = [anchor for anchor in values(document, "hyperlink", "anchor") if anchor]
    assert anchors
    assert set(anchors) <= set(names)
    for link in document.element.body.iter(qn("w:hyperlink")):
        if link.get(qn("r:id")):
            assert document.part.rels[link.get(qn("r:id"))].is_external


def test_citations_lead_to_references() -> None:
    sources = references(r1="First & <last>", r7="Other")
    document = read(article("a [@r7] b [@r1, @r7] [c [@r1]](https://example.org/?a=1&b=2).", references=sources))
    assert styled(document)[3:] == [
        ("Normal", "a [7] b [1, 7] c [1]."),
        ("Heading 1", "References"),
        ("Bibliography", "[1]\tFirst & <last>"),
        ("Bibliography", "[7]\tOther"),
    ]
    assert values(document, "hyperlink", "anchor") == ["ref_7", "ref_1", "ref_7", None]
    assert_links_lead_somewhere(document)
    assert [rel.target_ref for rel in document.part.rels.values() if rel.is_external] == [
        "https://example.org/?a=1&b=2"
    ]


def test_heads_and_feet() -> None:
    document = read(article("x", simulated=True, title="T" * 100))
    [part] = document.sections
    assert part.different_first_page_header_footer
    assert part.header.paragraphs[0].text == "T" * 69 + "…"
    assert part.first_page_header.paragraphs[0].text == ""
    assert (
        part.footer.paragraphs[0].text == "Simulated text. Made by Atelier’s simulator, not by a language model.\t1 / 1"
    )
    assert part.first_page_footer.paragraphs[0].text == "\t1 / 1"
    fields = [element.text.strip() for element in part.footer._element.iter(qn("w:instrText"))]
    assert fields == ["PAGE", "NUMPAGES"]


@pytest.mark.parametrize(
    ("tag", "word"), [("en", "en-US"), ("de-AT", "de-AT"), ("sv", "sv-SE"), ("gsw", "gsw"), ("klingon!", "en-US")]
)
def test_language(tag: str, word: str) -> None:
    document = read(article("x", language=tag))
    [found] = document.styles.element.iter(qn("w:lang"))
    assert found.get(qn("w:val")) == word
    assert not list(document.element.body.iter(qn("w:rtl")))
    assert not list(document.element.body.iter(qn("w:bidi")))


def test_right_to_left() -> None:
    document = read(article("שלום\n\n| א | ב |\n|--|--|\n| 1 | 2 |\n\n`code`", language="he"))
    [found] = document.styles.element.iter(qn("w:lang"))
    assert found.get(qn("w:bidi")) == "he-IL"
    assert document.styles["Normal"].element.find(f".//{qn('w:bidi')}") is not None
    assert document.styles["Code"].element.find(f".//{qn('w:bidi')}").get(qn("w:val")) == "0"
    assert len(list(document.element.body.iter(qn("w:bidiVisual")))) == 1
    assert document.element.body.sectPr.find(qn("w:bidi")) is not None
    [code] = [run for p in document.paragraphs for run in p.runs if run.text == "code"]
    assert code.font.rtl is None
    assert all(run.font.rtl for p in document.paragraphs for run in p.runs if run is not code and run.text != "code")


def test_properties() -> None:
    document = read(article("a", title="Größe & <Maß>", thesis="t" * 400, language="de"))
    properties = document.core_properties
    assert (properties.title, properties.subject, properties.language) == ("Größe & <Maß>", "t" * 255, "de")
    assert (properties.author, properties.created, properties.keywords) == ("", None, "Part number 1")


def test_the_same_article_gives_the_same_bytes() -> None:
    made = article(RICH, "x [@r1]", references=references(r1="y"))
    first = article_to_docx(made)
    article_to_docx(article("other [a](http://x.example)\n\n1. b", language="he"))
    _base.cache_clear()
    assert article_to_docx(made) == first
    with zipfile.ZipFile(io.BytesIO(first)) as package:
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert not [name for name in package.namelist() if "thumbnail" in name or "WithEffects" in name]
        assert package.testzip() is None


HOSTILE: list[Any] = [
    "</w:t></w:r></w:p> <w:p/> ]]> &lt;/w:t> &amp; <?xml?> <!-- x",
    "a\x00b\x07c\ud800d\ufffee\x0b &#11; &#12; &#x1; &#xFFFF;",
    "x" * 5_000,
    "> " * 50 + "deep",
    "".join(f"{'  ' * n}- item{n}\n" for n in range(40)),
    "- \n- \n\n>\n\n#\n\n``` x\n```",
    "|a|b|\n|-|-|\n",
    "[a](https://example.org/%zz?\\\"<>) <https://example.org/a'b>",
    "",
]


@pytest.mark.parametrize("markdown", HOSTILE)
def test_hostile_text(markdown: str) -> None:
    made = article(markdown, "end", title="</w:t> & ]]>\x00", thesis=markdown[:200], language='"><x>')
    made_bytes = article_to_docx(made)
    found = words_of_docx(made_bytes)
    assert found[:3] == ["</w:t>", "&", "]]>"]
    assert found[-1] == "end"
    for name in zipfile.ZipFile(io.BytesIO(made_bytes)).namelist():
        assert "\x00" not in name
    docx.Document(io.BytesIO(made_bytes))
