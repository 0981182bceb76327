"""Text out of Markdown and plain text."""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.contracts.files import BlockKind, FileReason
from core.documents.reader.found import Block, Bounds, Collected, Found, Unreadable
from core.documents.text import clean, one_line

_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*|\f")
# Facts about the text that site generators put before it; only the title is one to us.
_FRONT_MATTER = re.compile(r"---[ \t]*\n((?:(?!---)[^\n]*\n){0,100})---[ \t]*(?:\n|\Z)")
_NAMED = re.compile(r"^title:[ \t]*(\S.*)$", re.MULTILINE)


def read_markdown(data: bytes, bounds: Bounds) -> Found:
    """The text of Markdown (CommonMark and tables), without its marks; HTML in it is left out."""
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 60}).enable("table")
    collected = Collected(bounds)
    text, title = clean(decoded(data)), None
    if front := _FRONT_MATTER.match(text):
        text, named = text[front.end() :], _NAMED.search(front[1])
        title = one_line(named[1].strip().strip("\"'")) if named else None
    _Markdown(collected).read(parser.parse(text))
    return _found(collected, title or _first_heading(collected), "The file has no text.")


def read_text(data: bytes, bounds: Bounds) -> Found:
    """Plain text: what empty lines part is a paragraph, whose lines stay."""
    collected = Collected(bounds)
    text = decoded(data).replace("\r\n", "\n")
    for part in _BLANK_LINES.split(text):
        collected.add(Block(BlockKind.PARAGRAPH, clean(part).strip("\n").rstrip()))
    return _found(collected, None, "The file has no text.")


def decoded(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with its mark. Raises `Unreadable` for anything else."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(FileReason.NOT_TEXT, "The text is not in UTF-8. Save it as UTF-8.") from error


def _found(collected: Collected, title: str | None, message: str) -> Found:
    if not collected.blocks:
        raise Unreadable(FileReason.NO_TEXT, message)
    return Found(collected.blocks, title)


def _first_heading(collected: Collected) -> str | None:
    headings = (block.text for block in collected.blocks if block.kind is BlockKind.HEADING and block.level == 1)
    return next(headings, None)


class _Markdown:
    """Reads tokens, which are flat: lists in lists are counted."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        self._lists: list[int | None] = []
        self._item: Block | None = None
        self._rows: list[list[str]] | None = None

    def read(self, tokens: Sequence[Token]) -> None:
        """All tokens of a file."""
        for at, token in enumerate(tokens):
            match token.type:
                case "bullet_list_open":
                    self._lists.append(None)
                case "ordered_list_open":
                    self._lists.append(int(token.attrs.get("start", 1)))
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    number = self._lists[-1]
                    self._item = Block(BlockKind.ITEM, "", len(self._lists) - 1, number is not None, number)
                    if number is not None:
                        self._lists[-1] = number + 1
                case "list_item_close":
                    self._item = None
                case "inline":
                    self._inline(tokens[at - 1], _shown(token.children or ()))
                case "fence" | "code_block":
                    self.collected.add(Block(BlockKind.CODE, token.content.rstrip("\n")))
                case "table_open":
                    self._rows = []
                case "tr_open":
                    assert self._rows is not None
                    self._rows.append([])
                case "table_close":
                    self.collected.add(Block(BlockKind.TABLE, rows=self._rows or []))
                    self._rows = None

    def _inline(self, opened: Token, text: str) -> None:
        if self._rows is not None:
            self._rows[-1].append(one_line(text))
        elif opened.type == "heading_open":
            self.collected.add(Block(BlockKind.HEADING, one_line(text), int(opened.tag[1])))
        elif self._item is not None:
            self._item.text, done, self._item = text, self._item, None
            self.collected.add(done)
        else:
            self.collected.add(Block(BlockKind.PARAGRAPH, text))


def _shown(tokens: Sequence[Token]) -> str:
    """What a reader sees of inline tokens; a picture is its alternative text."""
    parts = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline" | "image":
                parts.append(token.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
    return "".join(parts).strip()
