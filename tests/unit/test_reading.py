"""Web pages as blocks: the main text of pages of several kinds, character sets, and pages made to hurt."""

import pytest

from core.contracts.files import BlockKind, FileKind, FileReason
from core.documents.extraction import extract
from core.documents.reader.found import Bounds, Unreadable
from core.documents.reader.html_page import MAX_SCORED, decoded, read_page

HEAD = (
    '<header class="top"><a href="/">Home</a><nav class="menu"><ul><li><a>News</a><li><a>Subscribe</a></ul></nav>'
    "</header>"
)
ASIDE = (
    '<aside class="sidebar"><h3>Most read</h3><ul><li><a href="/1">Ten glazes you must try</a></ul></aside>'
    '<div class="ad-break">Buy a new kiln now, a sponsored offer, only today and only here.</div>'
)
COMMENTS = (
    '<div id="comments" class="comments"><h3>2 comments</h3><div class="comment"><p>I do not agree with this, because '
    "my own kiln, which is small, cools much faster than that.</p></div></div>"
)
FOOT = (
    '<footer class="foot"><p>Copyright Claywork Weekly. All rights reserved. Read our policy.</p></footer>'
    '<div class="cookie-banner popup"><p>We use cookies. Accept all cookies, or manage them here.</p></div>'
)
AROUND = ("Home", "News", "Subscribe", "Most read", "glazes you must", "sponsored", "comments", "Copyright", "cookies")
CLAY = "The kiln holds its heat for nine hours, and most of the clay comes from the river bank, where it is dug. "
TABLE = "<table><caption>Cones</caption><tr><th>Glaze<th>Cone<tr><td>Celadon<td>10<tr><td>Tenmoku<td>9</table>"


def document(body: str, title: str = "How a kiln keeps its heat | Claywork Weekly", head: str = "") -> bytes:
    return f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>".encode()


def shown(html: str | bytes, main: bool = False) -> list[tuple[str, str | list[list[str]]]]:
    """Kind and text, or cells, of each block."""
    data = html if isinstance(html, bytes) else document(html)
    found = read_page(data, Bounds(), main=main)
    return [(block.kind.value, block.text or block.rows) for block in found.blocks]


ARTICLE = (
    f'{HEAD}<div id="content"><article class="post"><header><h1>How a kiln keeps its heat</h1></header>'
    f"<p>{CLAY * 2}</p><script>stolen()</script><h2>Clay</h2><p>{CLAY * 3}</p>"
    "<ul><li>River clay, dug in autumn</li><li>Fire clay</li></ul>"
    f"<h2>Glazes</h2>{TABLE}<p>{CLAY}</p><blockquote><p>Heat is patience.</p></blockquote></article>{ASIDE}{COMMENTS}"
    f"</div>{FOOT}"
)


def test_of_an_article_its_text_is_left() -> None:
    data = document(
        ARTICLE, head='<meta name="author" content=" Mara  Quill "><meta property=og:site_name content=Clay>'
    )
    found = read_page(data, Bounds(), main=True)
    assert (found.title, found.byline, found.site) == ("How a kiln keeps its heat", "Mara Quill", "Clay")
    assert shown(data, main=True) == [
        ("heading", "How a kiln keeps its heat"),
        ("paragraph", (CLAY * 2).strip()),
        ("heading", "Clay"),
        ("paragraph", (CLAY * 3).strip()),
        ("item", "River clay, dug in autumn"),
        ("item", "Fire clay"),
        ("heading", "Glazes"),
        ("paragraph", "Cones"),
        ("table", [["Glaze", "Cone"], ["Celadon", "10"], ["Tenmoku", "9"]]),
        ("paragraph", CLAY.strip()),
        ("paragraph", "Heat is patience."),
    ]


POSTS = (
    "It does not cool, what can I do about it?",
    "Open the damper a little, but not before morning.",
    "That worked.",
)
THREAD = "".join(f"<div class=post><div>ann</div><p>{post}</p></div>" for post in POSTS)
ANSWERS = "".join(f"<section><h2>Why {n}?</h2><p>So {n}.</p></section>" for n in range(9))
JAPANESE = "<p>窯は約九時間熱を保ち、粘土は村の下の川岸から来る。</p>" * 9
PAGES = {
    "divs": f"{HEAD}<div class=c1><div class=c2>{CLAY}<br> <br>{CLAY * 2}<br><br>{CLAY}</div>{ASIDE}</div>{FOOT}",
    "forum": f"{HEAD}<div><h1>Kiln</h1>{THREAD}</div>{FOOT}",
    "questions": f"{HEAD}<div>{ANSWERS}</div>{FOOT}",
    "manual": f"<nav><ul>{'<li><a>Home</a>' * 30}</ul></nav><main><h1>Cones</h1><p>It bends.</p>{TABLE}</main>{FOOT}",
    "japanese": f"{HEAD}<div><h1>窯の熱</h1>{JAPANESE}</div>{ASIDE}{FOOT}",
    "bare": "<h1>Note</h1><p>The kiln is cold.",
    "long": f"{HEAD}<main>{f'<p>{CLAY}</p>' * MAX_SCORED}</main><div role=contentinfo>Copyright</div>{FOOT}",
}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("divs", [CLAY.strip(), (CLAY * 2).strip()]),
        ("forum", list(POSTS)),
        ("questions", [text for n in range(9) for text in (f"Why {n}?", f"So {n}.")]),
        ("manual", ["Cones", "It bends."]),
        ("japanese", ["窯は約九時間熱を保ち、粘土は村の下の川岸から来る。"]),
        ("bare", ["Note", "The kiln is cold."]),
        ("long", [CLAY.strip()]),
    ],
)
def test_of_other_pages_the_text_is_left_too(name: str, kept: list[str]) -> None:
    texts = [text for _, text in shown(PAGES[name], main=True)]
    assert all(text in texts for text in kept), texts
    assert not [word for word in AROUND if any(isinstance(text, str) and word in text for text in texts)]


def test_without_main_all_that_is_shown_is_kept() -> None:
    texts = [text for _, text in shown(ARTICLE)]
    assert {"Home", "News", "Most read", "2 comments"} <= {text for text in texts if isinstance(text, str)}
    assert not any("stolen" in text for text in texts)


@pytest.mark.parametrize(
    ("html", "blocks"),
    [
        (
            "<p>a <b>b</b>c\n <i>d</i></p>e<div>f<p>g</div>",
            [("paragraph", "a bc d"), *[("paragraph", x) for x in "efg"]],
        ),
        ("a<br>b<br><br>c", [("paragraph", "a\nb"), ("paragraph", "c")]),
        (
            "<title>a</title><article><h1>b</h1>c</article><article>d</article>",
            [("heading", "b"), ("paragraph", "c"), ("paragraph", "d")],
        ),
        ("<h2>a<br>b</h2><h7>c</h7>", [("heading", "a b"), ("paragraph", "c")]),
        ("<pre>\n  a\n\n\tb<br>c\n</pre>", [("code", "  a\n\n    b\nc")]),
        ("<ul><li><p>a<p>b<li><h3>c</h3></ul>", [("item", "a"), ("paragraph", "b"), ("heading", "c")]),
        ("<dl><dt>a<dd>b</dl>", [("paragraph", "a"), ("paragraph", "b")]),
        ("<p hidden>a</p><p style='color:red;display : none'>b</p><p aria-hidden=true>c</p>d", [("paragraph", "d")]),
        (
            "<style>a{}</style><template>b</template><noscript>c</noscript><svg><text>d</text></svg>e",
            [("paragraph", "e")],
        ),
        ("<p>co\u00adop\u200b<wbr>er &amp; &lt;b&gt;&#0;&#1;</p><!-- x -->", [("paragraph", "cooper & <b>\ufffd")]),
        ("<img src=x alt=y onerror=z><iframe src=//a></iframe><a href='javascript:b'>c</a>", [("paragraph", "c")]),
        ("<table><tr><td>a<td>b<table><tr><td>c</table></table>", [("paragraph", x) for x in "abc"]),
        ("<table><tr><td>a<tr><td>b</table>", [("paragraph", "a"), ("paragraph", "b")]),
        (
            "<table><tr><td rowspan=2>a<td colspan=2><p>b<p>c</table>"[:-8] + "<tr><td>d<td>e<tr><td>f</table>",
            [("table", [["a", "b c", ""], ["", "d", "e"], ["f", "", ""]])],
        ),
    ],
)
def test_elements_become_blocks(html: str, blocks: list[tuple[str, object]]) -> None:
    assert shown(html) == blocks


def test_items_have_depth_and_numbers() -> None:
    html = "<ol start=3><li>a<ul><li>b</ul><li value=9>c<ol><li>d</ol><li>e</ol><li>f"
    found = read_page(document(html), Bounds()).blocks
    assert [(block.text, block.level, block.ordered, block.number) for block in found] == [
        ("a", 0, True, 3),
        ("b", 1, False, None),
        ("c", 0, True, 9),
        ("d", 1, True, 1),
        ("e", 0, True, 10),
        ("f", 0, False, None),
    ]
    assert {block.kind for block in found} == {BlockKind.ITEM}


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (document("<h1>Clay</h1>", "Clay - Site"), "Clay"),
        (document("<h1>Menu</h1>", "Clay - Site"), "Clay - Site"),
        (document("<h1>Clay</h1><h1>Ash</h1>", "Clay | Site"), "Clay | Site"),
        (document("a", "X", "<meta property='og:title' content='Clay'>"), "Clay"),
        (b"<h1> Clay\n pot</h1>", "Clay pot"),
        (b"<h2>Clay</h2>", "Clay"),
        (b"<p>Clay</p>", None),
        (document("a", "a" * 5_000), "a" * 300),
    ],
)
def test_a_title_is_that_of_the_page_not_of_the_site(data: bytes, title: str | None) -> None:
    assert read_page(data, Bounds()).title == title


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("<p>Töpfe für 3 €".encode(), None),
        ("<p>Töpfe für 3 €".encode("cp1252"), None),
        ("<p>Töpfe für 3 €".encode("cp1252"), "ISO-8859-1"),
        ("<meta charset=latin1><p>Töpfe für 3 €".encode("cp1252"), None),
        ("<meta charset=utf-16><p>Töpfe für 3 €".encode(), None),
        ("<meta charset=latin1><p>Töpfe für 3 €".encode(), "utf-8"),
        ("\ufeff<meta charset=latin1><p>Töpfe für 3 €".encode(), "latin1"),
        ("\ufeff<p>Töpfe für 3 €".encode("utf-16-le"), "utf-8"),
        ("\ufeff<p>Töpfe für 3 €".encode("utf-16-be"), None),
        ("<p>Töpfe für 3 €".encode("iso8859-15"), "iso-8859-15"),
        *[
            ("<p>Töpfe für 3 €".encode(), name)
            for name in ("nonsense", "base64", "idna", "unicode_escape", "utf-7", "\0")
        ],
    ],
)
def test_a_character_set_is_told_by_mark_server_or_page(data: bytes, charset: str | None) -> None:
    assert decoded(data, charset).endswith("<p>Töpfe für 3 €")
    assert read_page(data, Bounds(), charset).blocks[0].text == "Töpfe für 3 €"


def test_other_alphabets_are_read() -> None:
    for name, text in (
        ("shift_jis", "窯の熱①"),
        ("gb2312", "窑的热量镕"),
        ("euc-kr", "가마의 열 똠"),
        ("koi8-r", "печь"),
    ):
        wider = {"shift_jis": "cp932", "gb2312": "gb18030", "euc-kr": "cp949"}.get(name, name)
        data = f'<meta http-equiv="Content-Type" content="text/html; charset={name}"><p>{text}'.encode(wider)
        assert read_page(data, Bounds()).blocks[0].text == text


@pytest.mark.parametrize(
    "html",
    [
        "",
        " \n",
        "<html></html>",
        "<title>App</title><div id=root></div><script>go()</script><noscript>No</noscript>",
        "<!-- a",
    ],
)
def test_a_page_without_text_says_so(html: str) -> None:
    for main in (False, True):
        with pytest.raises(Unreadable) as error:
            read_page(html.encode(), Bounds(), main=main)
        assert error.value.reason is FileReason.NO_TEXT


HOSTILE = {
    "deep": "<div>" * 10_000 + CLAY + "</div>" * 10_000,
    "unclosed": "<p>" + "<b><i>" * 20_000 + "x",
    "lists": "<ul><li>" * 5_000 + "x",
    "cells": "<table><tr><td>" * 3_000 + "x",
    "wide table": f"<table><tr>{'<td colspan=50>x' * 1_000}</tr>{'<tr><td>y' * 1_000}</table>",
    "much text": f"<p>{CLAY}" * 3_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("main", [False, True])
def test_a_page_that_is_too_much_is_refused(name: str, main: bool) -> None:
    with pytest.raises(Unreadable) as error:
        read_page(HOSTILE[name].encode(), Bounds(characters=200_000), main=main)
    assert error.value.reason is FileReason.TOO_COMPLEX


@pytest.mark.parametrize(
    "html",
    [
        pytest.param("<div " + " ".join(f"a{n}=1" for n in range(100_000)) + ">x</div>", id="attributes"),
        pytest.param("<p>" + " \n\t" * 300_000 + "x", id="spaces"),
        pytest.param("<div>" + "<br>" * 30_000 + "x", id="breaks"),
        pytest.param("x" + "<script></script> " * 30_000, id="scripts"),
        pytest.param("x" + "<" * 300_000, id="brackets"),
        pytest.param("x" + "<a" * 100_000, id="tags without an end"),
        pytest.param("x" + "&" * 300_000 + "&#x" * 100_000, id="references"),
        pytest.param("<meta " * 30_000 + ">x", id="meta"),
    ],
)
def test_a_page_that_is_mostly_something_else_is_read(html: str) -> None:
    for main in (False, True):
        assert "x" in shown(f"{html}<p>x</p>", main)[-1][1]


async def test_the_reader_process_has_what_it_needs_for_a_page() -> None:
    read = await extract(document(ARTICLE), FileKind.HTML, charset="utf-8", main_text=True)
    assert (read.title, len(read.blocks)) == ("How a kiln keeps its heat", 11)
