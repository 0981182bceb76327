"""An article as one HTML file: no script, nothing from elsewhere, and all text of users and models escaped."""

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path

from core.contracts.documents import Article, ArticleSection, Reference
from core.documents.blocks import SCREEN, Block, Inline, parse_blocks
from core.documents.citations import Numbers, mark, numbers_of, source_line
from core.documents.labels import CONTENTS_FROM, Labels, labels, language
from core.documents.text import one_line

STYLE = Path(__file__).with_name("article.css")
# A browser runs and loads nothing, whatever a text should hold in spite of all.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def article_to_html(article: Article) -> str:
    """The article as a page that reads well on a phone, on a desktop and printed, light or dark.

    Title, note, thesis, contents (from 4 sections on), sections and references; a citation leads to its reference.
    Links go to http, https and mailto addresses only. Ends with one newline.
    """
    own, words = language(article.language), labels(article.language)
    title, thesis = escape(one_line(article.title)), escape(one_line(article.thesis))
    return "".join(
        (
            f'<!doctype html>\n<html lang="{own.tag}" dir="{own.direction}">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n",
            f'<meta name="description" content="{thesis}">\n' if thesis else "",
            f"<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n<article>\n<header>\n<h1>{title}</h1>\n",
            f'<p class="note"{_attributes(words)}>{_note(words)}</p>\n' if article.simulated else "",
            f'<p class="thesis">{thesis}</p>\n' if thesis else "",
            "</header>\n",
            _contents(article, words) if len(article.sections) >= CONTENTS_FROM else "",
            *_sections(article.sections, numbers_of(article.references)),
            _references(article.references, words) if article.references else "",
            "</article>\n</main>\n</body>\n</html>\n",
        )
    )


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")


def _attributes(words: Labels) -> str:
    """Our own words may be English in a text that is not."""
    return f' lang="{words.language.tag}" dir="{words.language.direction}"'


def _note(words: Labels) -> str:
    return f"<strong>{escape(words.simulated)}</strong> {escape(words.simulator)}"


def _contents(article: Article, words: Labels) -> str:
    entries = [
        f'<li><a href="#section-{number}">{escape(one_line(section.title))}</a></li>\n'
        for number, section in enumerate(article.sections, 1)
    ]
    if article.references:
        entries.append(f'<li{_attributes(words)}><a href="#references">{escape(words.references)}</a></li>\n')
    return (
        f'<nav aria-labelledby="contents">\n<h2 id="contents"{_attributes(words)}>{escape(words.contents)}</h2>\n'
        f"<ul>\n{''.join(entries)}</ul>\n</nav>\n"
    )


def _sections(sections: Sequence[ArticleSection], numbers: Numbers) -> Iterator[str]:
    for number, section in enumerate(sections, 1):
        yield f'<section aria-labelledby="section-{number}">\n'
        yield f'<h2 id="section-{number}">{escape(one_line(section.title))}</h2>\n'
        if transition := one_line(section.transition):
            yield f"<p>{escape(transition)}</p>\n"
        yield from _blocks(parse_blocks(section.markdown, numbers, SCREEN))
        yield "</section>\n"


def _references(references: Sequence[Reference], words: Labels) -> str:
    entries = "".join(
        f'<li id="ref-{entry.number}"><span class="number">{mark([entry.number])}</span> '
        f"<span>{escape(source_line(entry))}</span></li>\n"
        for entry in references
    )
    return (
        '<section aria-labelledby="references">\n'
        f'<h2 id="references"{_attributes(words)}>{escape(words.references)}</h2>\n'
        f'<ul class="references">\n{entries}</ul>\n</section>\n'
    )


def _blocks(blocks: Sequence[Block], tight: bool = False) -> Iterator[str]:
    for block in blocks:
        kind = block["t"]
        if kind == "p":
            line = _line(block["c"])
            yield f"{line}\n" if tight else f"<p>{line}</p>\n"
        elif kind == "h":
            yield f"<h{block['level']}>{_line(block['c'])}</h{block['level']}>\n"
        elif kind in ("ul", "ol"):
            yield from _list(block)
        elif kind == "quote":
            yield "<blockquote>\n"
            yield from _blocks(block["items"][0])
            yield "</blockquote>\n"
        elif kind == "code":
            # It scrolls, so the keyboard has to reach it.
            yield f'<pre dir="ltr" tabindex="0"><code>{escape(block["v"])}</code></pre>\n'
        elif kind == "table":
            yield _table(block)
        else:
            yield "<hr>\n"


def _list(block: Block) -> Iterator[str]:
    start = block.get("start", 1)
    yield f'<ol start="{start}">\n' if start != 1 else f"<{block['t']}>\n"
    for item in block["items"]:
        yield "<li>"
        yield from _blocks(item, tight=block["tight"])
        yield "</li>\n"
    yield f"</{block['t']}>\n"


def _table(block: Block) -> str:
    classes = [f' class="{align}"' if align != "start" else "" for align in block["align"]]
    head, *body = block["rows"]
    cells = "".join(f'<th scope="col"{kind}>{_line(cell)}</th>' for kind, cell in zip(classes, head, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{_line(cell)}</td>' for kind, cell in zip(classes, row, strict=True))}</tr>\n"
        for row in body
    )
    return (
        f'<figure tabindex="0">\n<table>\n<thead>\n<tr>{cells}</tr>\n</thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n</figure>\n"
    )


def _line(line: Sequence[Inline], linked: bool = False) -> str:
    return "".join(_piece(piece, linked) for piece in line)


def _piece(piece: Inline, linked: bool) -> str:
    """One piece of a line; in a link (`linked`) a citation is no second one."""
    kind = piece["t"]
    if kind == "text":
        return escape(piece["v"])
    if kind == "code":
        return f'<code dir="ltr">{escape(piece["v"])}</code>'
    if kind == "break":
        return "<br>\n"
    if kind == "cite":
        links = (f'<a href="#ref-{number}">{number}</a>' for number in piece["n"])
        return mark(piece["n"]) if linked else f'<span class="cite">[{", ".join(links)}]</span>'
    if kind == "link":
        return f'<a href="{escape(piece["url"])}">{_line(piece["c"], linked=True)}</a>'
    return f"<{kind}>{_line(piece['c'], linked)}</{kind}>"
