"""The Markdown export."""

import re

import pytest
import yaml

from core.documents.blocks import parse_blocks, plain_text
from core.documents.markdown import Anchors, article_to_markdown, section_body
from core.documents.text import count_words
from tests.support.articles import RICH, article, references, section

NUMBERS = {"r1": 1, "r2": 7}


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
    assert lines[3] == "> **Simulierter Text.** Vom Simulator von Atelier erzeugt, nicht von einem Sprachmodell."
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


# Citations, contents, transitions and references.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a [@r1], [@r2; @r1]; `[@r1]` \\[@r1]", "a \\[1\\], \\[7, 1\\]; `[@r1]` \\[@r1]"),
        ("a [@r9]. [@r9] b\n[@r9] c [@r9]\nd", "a. b\nc\nd"),
        ("| `[@r1]` | [@r1] |\n|-|-|\n| [@r9] x | \\| [@r2] |", "| `[@r1]` | \\[1\\] |\n|-|-|\n| x | \\| \\[7\\] |"),
        ("- > [@r1]\n  > [@r2]", "- > \\[1\\]\n  > \\[7\\]"),
        ("a [@r1]\nb\n---", "### a \\[1\\] b"),
        ("# [@r2] #", "### \\[7\\] #"),
        ("[@r1]: http://x.example", "\\[1\\]: http://x.example"),
        ("[@r1](http://x.example)", "\\[1\\](http://x.example)"),
        ("[x [@r1]](http://x.example)", "[x \\[1\\]](http://x.example)"),
        ("```\n[@r1]\n```\n\n    [@r1]", "```\n[@r1]\n```\n\n    [@r1]"),
        ("![p [@r1]](x.png) [@r1]", "![p [@r1]](x.png) \\[1\\]"),
        ("<b> [@r1] <i>", "\\<b> \\[1\\] \\<i>"),
    ],
)  # fmt: skip
def test_citations(before: str, after: str) -> None:
    assert section_body(before, NUMBERS) == after


@pytest.mark.parametrize(
    "markdown",
    [
        "[@r9] # no heading",
        "[@r9] - no list",
        "1[@r9]. no list",
        "1 [@r9]. no list",
        "a\n[@r9]\nb",
        "a\n[@r9]---",
        "[@r9]    no code",
        "[x][@r9](http://x.example)",
        "![@r9](http://x.example)",
        "&amp[@r9];",
        "*a*[@r9]*b*",
        "**a [@r9]**",
        "[@r9]\n\n- [@r9]\n\n> [@r9]",
        "`a[@r9]`[@r9]`b`",
        "<https://example.org>[@r9]<b>",
    ],
)
def test_a_citation_that_is_left_out_makes_no_markup(markdown: str) -> None:
    assert shape(section_body(markdown, NUMBERS)) == shape(markdown)


def shape(markdown: str) -> str:
    """The blocks without invisible characters and what holds nothing else, and with single spaces."""
    text = str(parse_blocks(markdown, NUMBERS)).replace("\\u2060", "")
    text = re.sub(r"\{'t': 'text', 'v': ''\}(?:, )?", "", text)
    return re.sub(" +", " ", re.sub(r"\{'t': 'p', 'c': \[\]\}(?:, )?", "", text))


def test_text_without_citations_stays_byte_for_byte() -> None:
    assert section_body(RICH, NUMBERS) == RICH


def test_references_keep_their_numbers() -> None:
    made = article(
        "a [@r2]", references=references(r2="*A* [book](http://x.example)", r7="# <b>"), language="de", simulated=True
    )
    text = article_to_markdown(made)
    assert yaml.safe_load(text.split("---\n", 2)[1])["references"] == 2
    assert text.endswith("## Quellen\n\n\\[2\\] \\*A\\* \\[book\\](http://x.example)\n\n\\[7\\] # \\<b>\n")
    assert "> **Simulierter Text.** Vom Simulator" in text


def test_a_transition_is_a_paragraph_and_no_markdown() -> None:
    made = article(sections=(section("First."), section("Text.", "Two", 2, "# So *it*\n- [@r1] went.")))
    assert "## Two\n\n\\# So \\*it\\* - \\[@r1\\] went.\n\nText.\n" in article_to_markdown(made)


def test_contents_link_to_the_headings() -> None:
    titles = ["Water & wind", "Contents", "Größe: “3 m” – [@r1]", "Water & wind", "???", "Inner"]
    made = article(
        title="Inner",
        references=references(r1="x"),
        sections=tuple(
            section(f"### Inner\n\n- > #### References [@r1] {n}", title, n) for n, title in enumerate(titles)
        ),
    )
    assert article_to_markdown(made).split("## Contents\n\n")[1].split("\n\n")[0].split("\n") == [
        "- [Water & wind](#water--wind)",
        "- [Contents](#contents-1)",
        r"- [Größe: “3 m” – \[@r1\]](#größe-3-m--r1)",
        "- [Water & wind](#water--wind-1)",
        "- ???",
        "- [Inner](#inner-6)",
        "- [References](#references)",
    ]
    assert "Contents" not in article_to_markdown(article("a", "b", "c"))


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Hello, World!", "hello-world"),
        ("snake_case and-dash", "snake_case-and-dash"),
        ("हिन्दी शब्द", "हिन्दी-शब्द"),
        ("日本語 (テスト)", "日本語-テスト"),
        ("a  b", "a--b"),
        ("1. One", "1-one"),
        ("…", ""),
    ],
)
def test_anchors(heading: str, anchor: str) -> None:
    anchors = Anchors()
    assert anchors.add(heading) == anchor
    assert anchors.add(heading) == (f"{anchor}-1" if anchor else "")
