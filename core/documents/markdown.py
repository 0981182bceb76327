"""An article as one Markdown file."""

import json
import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from markdown_it.token import Token

from core.contracts.documents import Article
from core.documents.blocks import LAST_LEVEL, SCREEN, TOP_LEVEL, Block, heading_shift, parse_blocks, plain_text
from core.documents.citations import CITATION, Numbers, citations, mark, numbers_of, parse, shown, source_line
from core.documents.labels import CONTENTS_FROM, Labels, labels
from core.documents.text import clean, one_line

_SPECIAL = re.compile(r"[\\`*_\[\]<]|&(?=#?\w+;)|#(?=#*$)")
# What could be markup anywhere in a line or a table's cell.
_ANY_SPECIAL = re.compile(r"[\\`*_\[\]<>|&#~!]")
# What would start another block than a paragraph: a heading, a list, a quote, a table, a fence, a rule, a setext line.
_BLOCK_START = re.compile(r"^(?:[-+>#|=~]|\d+(?=[.)]))")
_NO_NUMBERS: Numbers = {}
# Of anchors: letters, marks, decimal digits, and what joins words, as `_` does.
_ANCHOR = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Pc"))
# Around a citation that is left out: what can neither start nor end markup.
_LETTER = re.compile(r" *[^\W\d_]")
_LINE_END = re.compile(r" *(?:\n|$)")
_PLAIN_END = re.compile(r"[^\W_]$|[.,;:!?…)”’\"'%]$")
_PLAIN_START = re.compile(r"$|\s|[.,:!?…]")
_LIST_NUMBER = re.compile(r"\d+[.)]?")
_JOINER = "\u2060"
_FENCE_END = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*$")
_ATX = re.compile(r"#{1,6}(?=[ \t]|$)")
# In the text of a paragraph, in this order: an escaped character, a run of backticks, a link in angle brackets, and a
# bracket that would start HTML.
_HTML = re.compile(r"\\.|(?P<ticks>`+)|(?<=\]\()<|<[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*>|(?P<tag><(?=[A-Za-z/!?]))")


def article_to_markdown(article: Article) -> str:
    """The article with front matter (YAML), its title as `#`, contents (from 4 sections on), its sections as `##` with
    all headings below, and the references.

    Sections cannot reach into each other: their headings go down to level 3 and deeper, a code block that is left
    open is closed, and raw HTML is escaped, so it reads as text here as it does in the PDF. A citation reads `[1]`, and
    is no link. Ends with one newline.
    """
    words, numbers = labels(article.language), numbers_of(article.references)
    parts = [_front_matter(article), f"# {_escaped(one_line(article.title))}"]
    if article.simulated:
        parts.append(f"> **{words.simulated}** {words.simulator}")
    parts.append(_paragraph(article.thesis))
    if len(article.sections) >= CONTENTS_FROM:
        parts += [f"## {words.contents}", _contents(article, words, numbers)]
    for section in article.sections:
        parts.append(f"## {_escaped(one_line(section.title))}")
        parts += [_paragraph(section.transition), section_body(section.markdown, numbers)]
    if article.references:
        parts.append(f"## {words.references}")
        parts += [f"\\[{entry.number}\\] {_escaped(source_line(entry))}" for entry in article.references]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(article: Article) -> str:
    front = {"title": one_line(article.title), "language": one_line(article.language), "words": article.words}
    front |= {"references": len(article.references)} if article.references else {}
    front |= {"simulated": article.simulated}
    # JSON strings and numbers are YAML too.
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---"]
    )


def _contents(article: Article, words: Labels, numbers: Numbers) -> str:
    """A list of links to the sections. An anchor depends on all headings before it."""
    anchors = Anchors()
    for title in (article.title, words.contents):
        anchors.add(one_line(title))
    lines = []
    for section in article.sections:
        lines.append(_entry(one_line(section.title), anchors))
        for heading in _headings(parse_blocks(section.markdown, numbers, SCREEN)):
            anchors.add(heading)
    if article.references:
        lines.append(_entry(words.references, anchors))
    return "\n".join(lines)


def _entry(title: str, anchors: "Anchors") -> str:
    anchor = anchors.add(title)
    return f"- [{_escaped(title)}](#{anchor})" if anchor else f"- {_escaped(title)}"


def _headings(blocks: list[Block]) -> Iterator[str]:
    for block in blocks:
        if block["t"] == "h":
            yield plain_text([block])
        for item in block.get("items", []):
            yield from _headings(item)


class Anchors:
    """The anchors that GitHub makes of a document's headings, one after the other.

    GitLab and VS Code make the same ones, but for headings with dashes or other signs between spaces.
    https://github.com/gjtorikian/html-pipeline, `TableOfContentsFilter`.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def add(self, heading: str) -> str:
        """The anchor of the next heading, without `#`; empty for one of signs alone."""
        kept = (char for char in heading.lower() if char in "- " or unicodedata.category(char) in _ANCHOR)
        anchor = "".join(kept).replace(" ", "-")
        before = self._seen[anchor]
        self._seen[anchor] += 1
        return f"{anchor}-{before}" if before and anchor else anchor


def section_body(markdown: str, numbers: Numbers = _NO_NUMBERS) -> str:
    """A section's Markdown as it may stand below a heading of level 2, with the numbers of what it cites."""
    text = clean(markdown)
    tokens = parse(text)
    lines = text.split("\n")
    shift = heading_shift(tokens)
    drop: set[int] = set()
    marks: dict[tuple[int, int], list[_Mark | None]] = defaultdict(list)
    for token, following in zip(tokens, [*tokens[1:], None], strict=False):
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "inline":
            _escape_html(lines, first, end)
            marks[first, end] += _marks(token, numbers)
        elif token.type == "heading_open" and following is not None:
            level = max(TOP_LEVEL, min(LAST_LEVEL, int(token.tag[1]) + shift))
            _demote(lines, token, following, level)
            drop.update(range(first + 1, end))
    for (first, end), of_lines in marks.items():
        _set_marks(lines, first, end, of_lines)
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


class _Mark(NamedTuple):
    """What stands in the place of a citation, and whether the spaces before or after it go."""

    text: str
    before: bool = False
    after: bool = False


def _marks(token: Token, numbers: Numbers) -> Iterator[_Mark | None]:
    """A mark for everything in a line's text that looks like a citation; None for what stays, as it is in code."""
    cites = {cite.meta["at"]: cite.meta["ids"] for cite in citations(token)}
    kept, at = "", 0
    for match in CITATION.finditer(token.content):
        kept, at = kept + token.content[at : match.start()], match.end()
        ids = cites.get(match.start())
        if ids is None:
            kept += match.group()
            yield None
        elif found := shown(ids, numbers):
            text = re.sub(r"[\[\]]", r"\\\g<0>", mark(found))
            kept += text
            yield _Mark(text)
        else:
            left_out = _left_out(kept.rpartition("\n")[2].rstrip(" "), token.content[at:])
            kept = (kept.rstrip(" ") if left_out.before else kept) + left_out.text
            yield left_out


def _left_out(left: str, right: str) -> _Mark:
    """Nothing, or where the text around it would become markup, an invisible character that keeps it apart."""
    if not left:
        return _Mark("" if _LETTER.match(right) else _JOINER, after=not _LINE_END.match(right))
    plain = _PLAIN_END.search(left) and not _LIST_NUMBER.fullmatch(left) and _PLAIN_START.match(right)
    return _Mark("" if plain else _JOINER, before=True)


def _set_marks(lines: list[str], first: int, end: int, marks: list[_Mark | None]) -> None:
    """Put marks in place of the first citations in these lines. Cells of a row share their line."""
    text = "\n".join(lines[first:end])
    parts, at = [], 0
    for match, made in zip(CITATION.finditer(text), marks, strict=False):
        if made is None:
            continue
        before = text[at : match.start()]
        parts += [before.rstrip(" ") if made.before else before, made.text]
        at = match.end()
        while made.after and text[at : at + 1] == " ":
            at += 1
    if parts:
        lines[first:end] = "".join([*parts, text[at:]]).split("\n")


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


def _paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return _BLOCK_START.sub(_escape_start, _escaped(one_line(text)))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match.group(), text)


def literal(text: str) -> str:
    """Text of others on one line, without markup of any flavour, wherever it stands in a line or in a table's cell."""
    return _ANY_SPECIAL.sub(lambda match: "\\" + match.group(), one_line(text))


def literal_paragraph(text: str) -> str:
    """Text of others on one line that may begin one: it starts no list, no quote and no heading."""
    return _BLOCK_START.sub(_escape_start, literal(text))


def _escape_start(match: re.Match[str]) -> str:
    # A number is not escapable, the dot after it is.
    return match.group() + "\\" if match.group().isdigit() else "\\" + match.group()
