"""The same text in all four files."""

import pytest

from core.contracts.documents import Article
from core.documents.docx import article_to_docx
from core.documents.html import article_to_html
from core.documents.labels import labels
from core.documents.markdown import article_to_markdown
from core.documents.pdf import article_to_pdf
from tests.support.articles import (
    RICH,
    article,
    references,
    section,
    words_of_docx,
    words_of_html,
    words_of_markdown,
    words_of_pdf,
)

SOURCES = references(r1="The gauge books, 1870–1912", r2="A miller's letters", r7="What the tide left")
EVERYTHING = article(
    title="Living with the River",
    simulated=True,
    references=SOURCES,
    sections=(
        section(RICH, "What was read", 1),
        section(
            "They said so [@r1], twice [@r2; @r7], and nobody [@r9] else [@r9, @r7]. [@r9] A start.\n\n"
            "| Who | What |\n|--|--|\n| A [@r1] | `[@r2]` |\n\n- **so [@r2]**\n- [see [@r7]](https://example.org)\n\n"
            "> Quoted [@r1].\n\n    code [@r1]\n\n### Cited [@r2]\n\nEnd [r1] [@r1, p. 5] \\[@r2].",
            "What they cited",
            2,
            "Those who read were [not] *always* #right.",
        ),
        section(
            "3. Three\n4. Four\n   1. Inner one\n   2. Inner two\n5. Five\n\nAgain:\n\n1. One\n\n   More.\n\n2. Two\n\n"
            "- a\n  - b\n    - c\n      1. d\n\n> - quoted item\n>\n>   ```\n>   quoted code\n>   ```",
            "What was counted",
            3,
            "- 1. So it was counted.",
        ),
        section("Plain words, “quoted”, and an &amp; with &lt;b&gt;.", "What was left", 4, "The rest."),
    ),
)
HOSTILE_TEXT = """<script>alert(1)</script> <b onclick="x()">bold</b> &lt;i&gt; </w:t></w:r> ]]> <!-- c

#let $x$ = #panic("p") @label \\<label> \\# // comment /* c */ \\$ \\_ ~ ^

{{ jinja }} ${shell} %s {0}

[a](javascript:alert) [b](data:text/html,x) ![c](https://example.org/c.png) [d](https://example.org/?a=1&b=%22%3E)

| </td> | `</code>` |
|--|--|
| <td> | #x |

---

title: no

```
</code></pre><script> #let [@r1] ---
```"""
HOSTILE = article(
    title='# $T$ <x> [@r1] "q" & </title> --- *s*',
    thesis='--- #panic("x") @a <!-- [@r1] -->',
    references=references(r1='</li><script> [@r1] #x [a](b) "'),
    sections=(
        section(HOSTILE_TEXT, "[@r1] <h2> # `c`", 1),
        section("a [@r1]", "---", 2, '<p> [@r1] "q" = #x'),
        section("a &#x202;b &#12;c &#0;d", "1. One", 3),
        section("`a` \x00\x07b\ufffe", "</section>", 4),
    ),
)
RIGHT_TO_LEFT = article(
    title="לחיות עם הנהר",
    thesis="עיירות ששומרות רשומות עונות טוב יותר.",
    language="he",
    simulated=True,
    references=references(r1="ספרי המדידה"),
    sections=tuple(
        section("הנהר *אינו* ממהר [@r1]. שלום עולם.\n\n- אחד\n- שניים\n\n> ציטוט קצר.", f"חלק {name}", n, "ומכאן הלאה.")
        for n, name in enumerate(("ראשון", "שני", "שלישי", "רביעי"), 1)
    ),
)


def every_text(made: Article) -> dict[str, list[str]]:
    """The words of each file, by format."""
    note = labels(made.language).note if made.simulated else ""
    return {
        "markdown": words_of_markdown(article_to_markdown(made)),
        "html": words_of_html(article_to_html(made)),
        "pdf": words_of_pdf(article_to_pdf(made), made.title, note),
        "docx": words_of_docx(article_to_docx(made)),
    }


def between(text: list[str], start: str, end: str) -> str:
    """What stands between the last heading `start` and the next `end`."""
    joined = " ".join(text)
    return joined[joined.rindex(start) + len(start) :].partition(end)[0].strip()


@pytest.mark.parametrize("format_", ["markdown", "pdf", "docx"])
@pytest.mark.parametrize("made", [EVERYTHING, HOSTILE], ids=["everything", "hostile"])
def test_every_file_has_the_same_words(made: Article, format_: str) -> None:
    texts = every_text(made)
    assert texts[format_] == texts["html"]


def test_the_words_are_those_of_the_article() -> None:
    text = every_text(EVERYTHING)["html"]
    assert " ".join(text).startswith(
        "Living with the River Simulated text. Made by Atelier’s simulator, not by a language model. "
        "Towns that keep records answer better. Contents What was read What they cited What was counted What was left "
        "References What was read What the gauges say The river does not hurry, and level = f(rain) is explained here."
    )
    assert between(text, "What they cited", "What was counted") == (
        "Those who read were [not] *always* #right. They said so [1], twice [2, 7], and nobody else [7]. A start. "
        "Who What A [1] [@r2] so [2] see [7] Quoted [1]. code [@r1] Cited [2] End [r1] [@r1, p. 5] [@r2]."
    )
    assert between(text, "What was counted", "What was left") == (
        "- 1. So it was counted. 3. Three 4. Four 1. Inner one 2. Inner two 5. Five Again: 1. One More. 2. Two "
        "a b c 1. d quoted item quoted code"
    )
    assert between(text, "References", "\n") == (
        "[1] The gauge books, 1870–1912 [2] A miller's letters [7] What the tide left"
    )


def test_hostile_text_is_shown_as_it_is() -> None:
    text = " ".join(every_text(HOSTILE)["html"])
    assert text.startswith('# $T$ <x> [@r1] "q" & </title> --- *s* --- #panic("x") @a <!-- [@r1] --> Contents')
    for shown in (
        '<script>alert(1)</script> <b onclick="x()">bold</b> <i> </w:t></w:r> ]]> <!-- c',
        '#let $x$ = #panic("p") @label <label> # // comment /* c */ $ _ ~ ^',
        "[a](javascript:alert) [b](data:text/html,x) c d",
        "</td> </code> <td> #x",
        "</code></pre><script> #let [@r1] ---",
        '<p> [@r1] "q" = #x a [1]',
        '[1] </li><script> [@r1] #x [a](b) "',
    ):
        assert shown in text


def test_right_to_left_text_is_the_same_text_everywhere() -> None:
    texts = every_text(RIGHT_TO_LEFT)
    # pdfium reads brackets in the mirror.
    texts["pdf"] = [word.translate(str.maketrans("[]", "][")) for word in texts["pdf"]]
    texts["pdf"] = [word.replace("[1.]", "[1].") for word in texts["pdf"]]
    assert texts["html"] == texts["markdown"] == texts["docx"] == texts["pdf"]
    assert (
        between(texts["html"], "רביעי", "מקורות") == "ומכאן הלאה. הנהר אינו ממהר [1]. שלום עולם. אחד שניים ציטוט קצר."
    )


def test_another_section_leaves_the_rest_as_it_was() -> None:
    first, _, third, fourth = EVERYTHING.sections
    other = section("7. Other\n\n### Heading\n\nwords [@r7] [a](https://example.org/other)", "What they cited", 2)
    changed = EVERYTHING.model_copy(update={"sections": (first, other, third, fourth)})
    before, after = every_text(EVERYTHING), every_text(changed)
    for format_ in before:
        for start, end in (("What was read", "What they cited"), ("What was counted", "\n")):
            assert between(before[format_], start, end) == between(after[format_], start, end), format_
        assert before[format_] != after[format_]
    pages = [article_to_html(made).split("<section") for made in (EVERYTHING, changed)]
    assert [old == new for old, new in zip(*pages, strict=True)] == [True, True, False, True, True, True]
    files = [article_to_markdown(made).split("\n## ") for made in (EVERYTHING, changed)]
    assert [old == new for old, new in zip(*files, strict=True)] == [True, True, True, False, True, True, True]


@pytest.mark.parametrize("made", [EVERYTHING, HOSTILE, RIGHT_TO_LEFT], ids=["everything", "hostile", "right_to_left"])
def test_the_same_article_gives_the_same_bytes(made: Article) -> None:
    for export in (article_to_markdown, article_to_html, article_to_pdf, article_to_docx):
        first = export(made)
        export(article("between [@r1]"))
        assert export(made) == first


def test_an_article_of_nothing() -> None:
    empty = article(title="T", thesis="", sections=(section("", "S"),))
    for format_, text in every_text(empty).items():
        assert text == ["T", "S"], format_
