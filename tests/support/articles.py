"""Articles to export, and what a reader reads in each file: the words, with the numbers of lists, in order."""

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import docx
import pypdfium2
from docx.oxml.ns import qn
from markdown_it import MarkdownIt

from core.contracts.documents import Article, ArticleSection, Reference

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


def section(markdown: str, title: str = "A section", number: int = 1, transition: str = "") -> ArticleSection:
    return ArticleSection(id=f"s{number}", title=title, markdown=markdown, transition=transition)


def article(*markdown: str, **changes: Any) -> Article:
    fields: dict[str, Any] = {
        "title": "Living with the River",
        "thesis": "Towns that keep records answer better.",
        "language": "en",
        "words": 100,
        "sections": tuple(section(text, f"Part number {n}", n) for n, text in enumerate(markdown, 1)),
    }
    return Article(**{**fields, **changes})


def references(**titles: str) -> tuple[Reference, ...]:
    """`references(r4="A title")` is number 4."""
    return tuple(Reference(number=int(id_[1:]), source_id=id_, title=title) for id_, title in titles.items())


def words(text: str) -> list[str]:
    """Words without what only sets them: soft hyphens, joiners, and marks of direction."""
    return re.sub("[\u00ad\u200b\u200e\u2060]", "", text).split()


def words_of_markdown(made: str) -> list[str]:
    """What a viewer of Markdown shows, which is not our parser."""
    shown = MarkdownIt("commonmark").enable("table").render(made.split("---\n", 2)[2])
    return words_of_html(f"<main>{shown}</main>")


def words_of_html(made: str) -> list[str]:
    page = Page()
    page.feed(made)
    page.close()
    return words("".join(page.text))


def words_of_docx(made: bytes) -> list[str]:
    document = docx.Document(io.BytesIO(made))
    numbered: dict[str, int] = {}
    starts = {
        num.get(qn("w:numId")): int(start.get(qn("w:val")))
        for num in document.part.numbering_part.element.iter(qn("w:num"))
        for start in num.iter(qn("w:startOverride"))
    }
    parts: list[str] = []
    for element in document.element.body.iter():
        if element.tag == qn("w:numPr"):
            list_id = element.find(qn("w:numId")).get(qn("w:val"))
            if list_id in starts:
                numbered[list_id] = numbered.get(list_id, starts[list_id] - 1) + 1
                parts.append(f"{numbered[list_id]}. ")
        elif element.tag == qn("w:t"):
            parts.append(element.text or "")
        elif element.tag in (qn("w:p"), qn("w:tab"), qn("w:br")):
            parts.append(" ")
    return words("".join(parts))


def words_of_pdf(made: bytes, title: str, note: str = "") -> list[str]:
    """The words of all pages without running heads and feet, and without the page numbers of the contents."""
    pages = []
    with pypdfium2.PdfDocument(made) as document:
        for number, page in enumerate(document, 1):
            text = page.get_textpage().get_text_bounded().replace("\r\n", "\n").strip()
            # pdfium reads the line of a right-to-left page from the right.
            foot = next(f for f in (f"{number} / {len(document)}", f"{len(document)} / {number}") if text.endswith(f))
            text = text.removesuffix(foot).rstrip()
            if number > 1:
                assert text.startswith(title), text[:100]
                text = text.removeprefix(title)
                assert text.endswith(note), text[-100:]
                text = text.removesuffix(note)
            pages.append(text)
    text = re.sub(r"(?: \.)+ \d+$", "", "\n".join(pages), flags=re.MULTILINE)
    return [word for word in words(re.sub("[\ufffe\x02]\n?", "", text)) if word not in "•–◦"]


class Page(HTMLParser):
    """The text of an HTML page's `main`, its elements with attributes, and its links."""

    _INLINE = frozenset(("a", "em", "strong", "code", "span", "img"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._lists: list[int | None] = []
        self._open: list[str] = []

    @property
    def links(self) -> list[str]:
        return [str(attributes["href"]) for tag, attributes in self.elements if tag == "a"]

    def ids(self) -> Iterator[str]:
        return (str(attributes["id"]) for _, attributes in self.elements if "id" in attributes)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in ("meta", "br", "hr", "img"):
            self._open.append(tag)
        self.text += [attributes["alt"] or ""] if tag == "img" else []
        if tag in ("ol", "ul"):
            self._lists.append(int(attributes.get("start") or 1) - 1 if tag == "ol" else None)
        self._space(tag)
        if tag == "li" and (before := self._lists[-1]) is not None:
            self._lists[-1] = before + 1
            self.text.append(f"{before + 1}. ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements nest"
        if tag in ("ol", "ul"):
            self._lists.pop()
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if "main" in self._open:
            self.text.append(data)

    def close(self) -> None:
        super().close()
        assert not self._open

    def _space(self, tag: str) -> None:
        if tag not in self._INLINE:
            self.text.append(" ")
