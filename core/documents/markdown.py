"""An article as one Markdown file."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator

from markdown_it.token import Token

from core.contracts.longform import Article
from core.documents.blocks import LAST_LEVEL, TOP_LEVEL, heading_shift, parse
from core.documents.text import clean, one_line

SIMULATED_NOTE = "> **Simulated text.** Made by Atelier’s simulator, not by a language model."

_SPECIAL = re.compile(r"[\\`*_\[\]<]|&(?=#?\w+;)|#(?=#*$)")
# What would start another block than a paragraph: a heading, a list, a quote, a table, a fence, a rule, a setext line.
_BLOCK_START = re.compile(r"^(?:[-+>#|=~]|\d+(?=[.)]))")
_FENCE_END = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*$")
_ATX = re.compile(r"#{1,6}(?=[ \t]|$)")
# In the text of a paragraph, in this order: an escaped character, a run of backticks, a link in angle brackets, and a
# bracket that would start HTML.
_HTML = re.compile(r"\\.|(?P<ticks>`+)|(?<=\]\()<|<[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*>|(?P<tag><(?=[A-Za-z/!?]))")


def article_to_markdown(article: Article) -> str:
    """The article with front matter (YAML), its title as `#`, its sections as `##` and all headings below.

    Sections cannot reach into each other: their headings go down to level 3 and deeper, a code block that is left
    open is closed, and raw HTML is escaped, so it reads as text here as it does in the PDF. There is no table of
    contents: viewers make one, and no two of them name anchors alike. Ends with one newline.
    """
    title = one_line(article.title)
    front = {
        "title": title,
        "language": one_line(article.language),
        "words": article.words,
        "simulated": article.simulated,
    }
    # JSON strings and numbers are YAML too.
    parts = [
        "\n".join(["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---"])
    ]
    parts.append(f"# {_escaped(title)}")
    if article.simulated:
        parts.append(SIMULATED_NOTE)
    if thesis := one_line(article.thesis):
        parts.append(_BLOCK_START.sub(_escape_start, _escaped(thesis)))
    for section in article.sections:
        parts.append(f"## {_escaped(one_line(section.title))}")
        parts.append(section_body(section.markdown))
    return "\n\n".join(part for part in parts if part) + "\n"


def section_body(markdown: str) -> str:
    """A section's Markdown as it may stand below a heading of level 2."""
    text = clean(markdown)
    tokens = parse(text)
    lines = text.split("\n")
    shift = heading_shift(tokens)
    drop: set[int] = set()
    for token, following in zip(tokens, [*tokens[1:], None], strict=False):
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "inline":
            _escape_html(lines, first, end)
        elif token.type == "heading_open" and following is not None:
            level = max(TOP_LEVEL, min(LAST_LEVEL, int(token.tag[1]) + shift))
            _demote(lines, token, following, level)
            drop.update(range(first + 1, end))
    closing = _missing_fence(tokens, lines)
    body = "\n".join(line for number, line in enumerate(lines) if number not in drop)
    return body.strip("\n").rstrip() + closing


def _demote(lines: list[str], heading: Token, inline: Token, level: int) -> None:
    """Rewrite a heading in its first line; it may stand in a list or a quote, behind their markers."""
    first = (heading.map or [0])[0]
    line = lines[first]
    if heading.markup.startswith("#"):
        for match in _ATX.finditer(line):
            if match.group() == heading.markup:
                lines[first] = line[: match.start()] + "#" * level + line[match.end() :]
                return
    # Underlined with = or -, perhaps over more than one line.
    start = line.find(inline.content.split("\n")[0])
    lines[first] = f"{line[: max(start, 0)]}{'#' * level} {' '.join(inline.content.split())}"


def _escape_html(lines: list[str], first: int, end: int) -> None:
    """Escape what would be an HTML tag in these lines, but not in code spans."""
    text = "\n".join(lines[first:end])
    if "<" in text:
        places = set(_tags(text))
        lines[first:end] = "".join("\\<" if at in places else char for at, char in enumerate(text)).split("\n")


def _tags(text: str) -> Iterator[int]:
    runs: dict[int, list[int]] = {}
    for run in re.finditer("`+", text):
        runs.setdefault(len(run.group()), []).append(run.start())
    at = 0
    while match := _HTML.search(text, at):
        at = match.end()
        if ticks := match.group("ticks"):
            # A code span ends at the next run of as many backticks; without one these are text.
            same = runs.get(len(ticks), [])
            found = bisect_left(same, at)
            at = same[found] + len(ticks) if found < len(same) else at
        elif match.group("tag"):
            yield match.start()


def _missing_fence(tokens: list[Token], lines: list[str]) -> str:
    """What closes a code block that the section leaves open, which would swallow the sections after it."""
    last = tokens[-1] if tokens else None
    if last is None or last.type != "fence" or last.map is None:
        return ""
    first, end = last.map
    closing = _FENCE_END.match(lines[end - 1]) if end - 1 > first else None
    return "" if closing and closing.group(1).startswith(last.markup) else f"\n{last.markup}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match.group(), text)


def _escape_start(match: re.Match[str]) -> str:
    # A number is not escapable, the dot after it is.
    return match.group() + "\\" if match.group().isdigit() else "\\" + match.group()
