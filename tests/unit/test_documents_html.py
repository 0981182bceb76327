"""The HTML export."""

import re
from collections.abc import Iterator

import pytest

from core.contracts.documents import Article
from core.documents.html import article_to_html
from tests.support.articles import RICH, Page, article, references, section

MADE = article(
    RICH,
    "See [@r1], [@r2, @r1] and [the [@r2]](https://example.org).\n\n5. Five\n6. Six",
    "c",
    "d",
    references=references(r1="First", r2="Second"),
    simulated=True,
)


def page(made: Article) -> Page:
    read = Page()
    read.feed(article_to_html(made))
    read.close()
    return read


def found(read: Page, tag: str) -> Iterator[dict[str, str | None]]:
    return (attributes for name, attributes in read.elements if name == tag)


def test_the_page_is_made_of_what_it_means() -> None:
    read = page(MADE)
    tags = [tag for tag, _ in read.elements]
    for one in ("main", "article", "header", "nav", "h1", "figure", "thead", "tbody", "pre", "blockquote", "hr"):
        assert tags.count(one) == 1, one
    assert tags.count("section") == 5
    assert tags.count("h2") == 6, "contents, four sections and the references"
    assert list(found(read, "th")) == [
        {"scope": "col"}, {"scope": "col", "class": "end"}, {"scope": "col", "class": "center"},
    ]  # fmt: skip
    assert next(found(read, "html")) == {"lang": "en", "dir": "ltr"}
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in list(found(read, "meta"))
    assert {"start": "5"} in list(found(read, "ol"))
    labelled = [str(each["aria-labelledby"]) for tag in ("section", "nav") for each in found(read, tag)]
    assert set(labelled) <= set(read.ids())


def test_it_has_one_file_and_no_script() -> None:
    text = article_to_html(MADE)
    read = page(MADE)
    assert {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    [policy] = (str(each["content"]) for each in found(read, "meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'")


def test_every_link_within_the_page_has_a_target() -> None:
    read = page(MADE)
    ids = list(read.ids())
    assert len(ids) == len(set(ids))
    inner = [link[1:] for link in read.links if link.startswith("#")]
    assert inner == [f"section-{n}" for n in range(1, 5)] + ["references", "ref-1", "ref-2", "ref-1"]
    assert set(inner) <= set(ids)
    assert "the [2]</a>" in article_to_html(MADE), "no link in a link"


@pytest.mark.parametrize("place", ["title", "thesis", "language", "markdown", "section", "transition", "reference"])
def test_text_is_never_markup(place: str) -> None:
    evil = '"><script>alert(1)</script></style></title><img src=x onerror=alert(1)>\' onclick="x'
    texts = dict.fromkeys(("title", "thesis", "language", "markdown", "section", "transition", "reference"), "x")
    texts["language"] = "en"
    harmless = {tag for tag, _ in page(one(texts)).elements}
    read = page(one({**texts, place: evil}))
    assert {tag for tag, _ in read.elements} == harmless
    assert not any(name.startswith("on") or name == "src" for _, attributes in read.elements for name in attributes)
    if place != "language":
        assert "<script>alert(1)</script>" in "".join(read.text)


def one(texts: dict[str, str]) -> Article:
    parts = [
        section("[@r1]"),
        *(section(texts["markdown"], texts["section"], n, texts["transition"]) for n in (2, 3, 4)),
    ]
    return article(
        title=texts["title"],
        thesis=texts["thesis"],
        language=texts["language"],
        sections=tuple(parts),
        references=references(r1=texts["reference"]),
    )


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "JAVASCRIPT:x", "data:text/html,x", "vbscript:x", "//example.org", "/x", "file:///etc"],
)
def test_links_lead_to_addresses_only(link: str) -> None:
    read = page(article(f'[a]({link}) [b](<{link}>) <{link}> [c](https://example.org/?a=1&b="%22)', f"<{link}>"))
    assert read.links == ["https://example.org/?a=1&b=%22%22"]


def test_a_right_to_left_page() -> None:
    made = article("שלום\n\n```\nx\n```\n\n`y`", "a", "b", "c", language="he-IL")
    read = page(made)
    assert next(found(read, "html")) == {"lang": "he-IL", "dir": "rtl"}
    assert next(found(read, "pre"))["dir"] == "ltr"
    assert "תוכן העניינים" in "".join(read.text)
    unknown = article_to_html(article("a", "b", "c", "d", language="fa"))
    assert 'lang="en" dir="ltr">Contents' in unknown


def test_its_style_uses_what_the_page_has() -> None:
    text = article_to_html(MADE)
    style, body = text.split("</style>")
    rules = re.sub(r"/\*.*?\*/", "", style.split("<style>")[1], flags=re.DOTALL)
    classes = set(re.findall(r"\.([a-z]+)[ ,{:]", rules))
    assert classes == set(re.findall(r'class="([a-z]+)"', body))
