"""Markdown as a small tree of blocks and inlines that a typesetter renders without knowing Markdown.

CommonMark, tables and citations. Raw HTML is text, an image is its alternative text, and a link that is not http,
https or mailto is its text. The tree is plain JSON of bounded depth: Typst's JSON reader, call stack and layout all
have one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple, NotRequired, TypedDict
from urllib.parse import urlsplit

from markdown_it.token import Token

from core.documents.citations import Numbers, mark, parse, shown
from core.documents.text import clean

TOP_LEVEL, LAST_LEVEL = 3, 5
"""Levels of headings inside a section: 1 is the document's title and 2 the section's."""
MAX_BLOCK_DEPTH = 6
"""Lists and quotes deeper than this are set at this depth: below it no room is left on a page."""
MAX_INLINE_DEPTH = 6
MAX_COLUMNS = 7
"""Wider tables do not fit on a page: they become a list of records, "heading: cell"."""
LONGEST_WORD, LONGEST_CODE = 40, 48
"""Characters: longer runs may break anywhere, or they would run off the page."""
LONGEST_URL = 2_000
"""Characters: Typst and Word refuse documents with much longer ones. Such a link is its text."""

_NO_NUMBERS: Numbers = {}
_LINK = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+")
# A break may stand before any character that does not join the one before it: no mark, no joiner, no selector.
_BREAK = re.compile(r"(?<=[^\u200d])(?=[\w!-/:-@\[-`{-~])")


class Inline(TypedDict):
    """A piece of a line: text or code (`v`), a forced break, a citation of the references with the numbers `n`, or em,
    strong or a link around others (`c`)."""

    t: Literal["text", "code", "break", "cite", "em", "strong", "link"]
    v: NotRequired[str]
    n: NotRequired[list[int]]
    c: NotRequired[list["Inline"]]
    url: NotRequired[str]


class Block(TypedDict):
    """A paragraph, heading, list, quote, code block, table or rule."""

    t: Literal["p", "h", "ul", "ol", "quote", "code", "table", "rule"]
    c: NotRequired[list[Inline]]
    """Inlines of a paragraph or heading."""
    level: NotRequired[int]
    """Of a heading, 3 to 5."""
    start: NotRequired[int]
    """First number of a numbered list."""
    tight: NotRequired[bool]
    items: NotRequired[list[list["Block"]]]
    """Of a list; a quote has one."""
    v: NotRequired[str]
    """Text of a code block."""
    align: NotRequired[list[str]]
    """Of a table's columns: start, center or end."""
    rows: NotRequired[list[list[list[Inline]]]]
    """Of a table, its head first."""


class Medium(NamedTuple):
    """What a tree is rendered on."""

    columns: int | None = None
    """Wider tables become a list of records; without a number none does."""
    breaks: bool = False
    """Whether long runs of characters need places to break at, as zero-width spaces."""


PAGE = Medium(MAX_COLUMNS, breaks=True)
SCREEN = Medium()
"""It scrolls, and breaks long words by itself."""
WORD_PROCESSOR = Medium(MAX_COLUMNS)


def heading_shift(tokens: Sequence[Token]) -> int:
    """By how many levels a section's headings go down so that the highest is level 3."""
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    return max(0, TOP_LEVEL - min(levels, default=TOP_LEVEL))


def parse_blocks(markdown: str, numbers: Numbers = _NO_NUMBERS, medium: Medium = PAGE) -> list[Block]:
    """The tree of a section's Markdown. A citation without a number is left out, with the space before it."""
    tokens = parse(clean(markdown))
    return _Converter(heading_shift(tokens), numbers, medium).blocks(_tree(tokens), 0)


@dataclass
class _Node:
    """A block token with what it holds. (markdown-it's own tree recurses into emphasis, which nests without limit.)"""

    token: Token
    children: list["_Node"] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.token.type.removesuffix("_open")


def _tree(tokens: Sequence[Token]) -> list[_Node]:
    stack: list[list[_Node]] = [[]]
    for token in tokens:
        if token.nesting == -1:
            stack.pop()
            continue
        node = _Node(token)
        stack[-1].append(node)
        if token.nesting == 1:
            stack.append(node.children)
    return stack[0]


class _Converter:
    """Walks the tree of blocks, which is no deeper than the parser goes."""

    def __init__(self, shift: int, numbers: Numbers, medium: Medium) -> None:
        self.shift, self.numbers, self.medium = shift, numbers, medium

    def blocks(self, nodes: Sequence[_Node], depth: int) -> list[Block]:
        """The blocks of nodes; at the deepest level those inside a list or quote stand beside it."""
        return [block for node in nodes for block in self.block(node, depth)]

    def block(self, node: _Node, depth: int) -> list[Block]:
        """The block of one node, or what it holds if it is too deep."""
        kind = node.kind
        if kind in ("bullet_list", "ordered_list", "blockquote") and depth >= MAX_BLOCK_DEPTH:
            return self.blocks([n for item in node.children for n in _contents(item)], depth)
        if kind == "paragraph":
            line = self.line(node)
            return [{"t": "p", "c": line}] if line else []
        if kind == "heading":
            level = max(TOP_LEVEL, min(LAST_LEVEL, int(node.token.tag[1]) + self.shift))
            return [{"t": "h", "level": level, "c": self.line(node)}]
        if kind in ("fence", "code_block"):
            code = node.token.content.removesuffix("\n").expandtabs(4)
            return [{"t": "code", "v": breakable(code, LONGEST_CODE) if self.medium.breaks else code}]
        if kind == "bullet_list" or kind == "ordered_list":
            return [self.list_(node, depth)]
        if kind == "blockquote":
            return [{"t": "quote", "items": [self.blocks(node.children, depth + 1)]}]
        if kind == "table":
            return self.table(node)
        return [{"t": "rule"}] if kind == "hr" else []

    def list_(self, node: _Node, depth: int) -> Block:
        """A list. It is tight if markdown-it hides the paragraphs of its items."""
        items = [self.blocks(item.children, depth + 1) for item in node.children]
        paragraphs = [child for item in node.children for child in item.children if child.kind == "paragraph"]
        tight = all(child.token.hidden for child in paragraphs)
        if node.kind == "bullet_list":
            return {"t": "ul", "tight": tight, "items": items}
        return {"t": "ol", "tight": tight, "items": items, "start": int(node.token.attrs.get("start", 1))}

    def table(self, node: _Node) -> list[Block]:
        """A table, or a list of records if it is too wide for a page."""
        cells = [row.children for part in node.children for row in part.children]
        columns = len(cells[0])
        if self.medium.columns is not None and columns > self.medium.columns:
            return [self.records(cells)]
        # About 80 characters fit on a line of a table.
        width = min(LONGEST_WORD, 80 // columns)
        rows = [[self.line(cell, width) for cell in row] for row in cells]
        return [{"t": "table", "rows": rows, "align": [_alignment(cell) for cell in cells[0]]}]

    def records(self, cells: list[list[_Node]]) -> Block:
        """One item a row, "heading: cell" in each line."""
        items: list[list[Block]] = []
        for row in cells[1:] or cells:
            line: list[Inline] = []
            for head, cell in zip(cells[0], row, strict=True):
                line += [{"t": "break"}] if line else []
                if len(cells) > 1:
                    line += [{"t": "strong", "c": [*self.line(head), {"t": "text", "v": ":"}]}, {"t": "text", "v": " "}]
                line += self.line(cell)
            items.append([{"t": "p", "c": line}])
        return {"t": "ul", "tight": False, "items": items}

    def line(self, node: _Node, longest: int = LONGEST_WORD) -> list[Inline]:
        """The inlines of a paragraph, a heading or a cell."""
        tokens = [token for child in node.children for token in child.token.children or []]
        line = inlines(tokens, self.numbers)
        if self.medium.breaks:
            _break_words(line, longest)
        return line


def inlines(tokens: Sequence[Token], numbers: Numbers = _NO_NUMBERS) -> list[Inline]:
    """The tree of a line's tokens. Emphasis deeper than `MAX_INLINE_DEPTH` and links elsewhere leave their text.

    A stack, not recursion: markdown-it nests emphasis without a limit.
    """
    stack: list[list[Inline]] = [[]]
    unspaced, first = False, False
    for token in tokens:
        here = stack[-1]
        if token.nesting == 1:
            node = _wrapper(token) if len(set(map(id, stack))) <= MAX_INLINE_DEPTH else None
            if node is not None:
                here.append(node)
            stack.append(node["c"] if node is not None else here)
        elif token.nesting == -1:
            stack.pop()
        elif token.type == "code_inline":
            here.append({"t": "code", "v": token.content})
        elif token.type == "hardbreak":
            here.append({"t": "break"})
        elif token.type == "citation" and (found := shown(token.meta["ids"], numbers)):
            here.append({"t": "cite", "n": found})
        elif token.type == "citation":
            unspaced = first or _without_space(here)
            continue
        else:
            text = {"softbreak": " ", "image": _plain(token.children or [])}.get(token.type, token.content)
            _add_text(here, text.lstrip(" ") if unspaced else text)
        unspaced, first = False, token.type == "softbreak"
    return stack[0]


def _add_text(line: list[Inline], text: str) -> None:
    if not text.isprintable():
        text = clean(text).replace("\n", " ").replace("\t", " ")  # an entity can stand for any character
    if line and line[-1]["t"] == "text":
        line[-1]["v"] += text
    elif text:
        line.append({"t": "text", "v": text})


def _without_space(line: list[Inline]) -> bool:
    """Take away the space before a citation that is left out. Whether the space after it is to go instead."""
    if line and line[-1]["t"] == "text":
        line[-1]["v"] = line[-1]["v"].rstrip(" ")
        if not line[-1]["v"]:
            line.pop()
    return not line or line[-1]["t"] == "break"


@cache
def _long_run(longest: int) -> re.Pattern[str]:
    # Scripts that write without spaces break by themselves.
    return re.compile(rf"[^\s\u200b\u2e80-\u9fff\uac00-\ud7ff]{{{longest + 1},}}")


def breakable(text: str, longest: int) -> str:
    """Text in which a run of more than `longest` characters may break anywhere (by zero-width spaces)."""
    return _long_run(longest).sub(_with_breaks, text)


def _with_breaks(run: re.Match[str]) -> str:
    word = run.group()
    # Typst's time grows with the square of the places to break at: 200,000 of them took two minutes.
    step = 1 if len(word) <= 400 else 10
    places = [place.start() for place in _BREAK.finditer(word)][step - 1 :: step]
    return "\u200b".join(word[start:end] for start, end in zip([0, *places], [*places, None], strict=True))


def plain_text(blocks: Sequence[Block]) -> str:
    """What a reader of these blocks reads, each line and cell on a line of its own."""
    lines: list[str] = []
    for block in blocks:
        lines += [_read(block["c"])] if "c" in block else []
        lines += [block["v"]] if "v" in block else []
        lines += [plain_text(item) for item in block.get("items", [])]
        lines += [_read(cell) for row in block.get("rows", []) for cell in row]
    return "\n".join(lines).replace("\u200b", "")


def _read(line: Sequence[Inline]) -> str:
    return "".join(map(_read_piece, line))


def _read_piece(piece: Inline) -> str:
    if piece["t"] == "break":
        return "\n"
    return mark(piece["n"]) if piece["t"] == "cite" else piece.get("v") or _read(piece.get("c", []))


def _break_words(line: list[Inline], longest: int) -> None:
    for piece in line:
        if "v" in piece:
            piece["v"] = breakable(piece["v"], longest if piece["t"] == "text" else min(longest, 30))
        _break_words(piece.get("c", []), longest)


def _wrapper(token: Token) -> Inline | None:
    if token.type == "em_open":
        return {"t": "em", "c": []}
    if token.type == "strong_open":
        return {"t": "strong", "c": []}
    url = str(token.attrs.get("href", ""))
    return {"t": "link", "url": url, "c": []} if token.type == "link_open" and _is_address(url) else None


def _is_address(url: str) -> bool:
    """Whether every reader can follow it: Word reports a document with a broken address as damaged."""
    if len(url) > LONGEST_URL or not _LINK.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "mailto" or (bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0)
    except ValueError:
        return False


def _plain(tokens: Sequence[Token]) -> str:
    """The text of an image's description."""
    return "".join(
        _plain(token.children or []) if token.type == "image" else " " if "break" in token.type else token.content
        for token in tokens
    )


def _contents(node: _Node) -> list[_Node]:
    return node.children if node.kind == "list_item" else [node]


def _alignment(cell: _Node) -> str:
    style = str(cell.token.attrs.get("style", ""))
    return {"text-align:center": "center", "text-align:right": "end"}.get(style, "start")
