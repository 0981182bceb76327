"""Lines of a PDF put together as headings, paragraphs, items, tables and code, by what they look like.

A heading is larger than the text or bold and alone; a paragraph ends where a gap, an indent or a short line is. Where
looks deceive, a block is a paragraph: its words and their order are what must be right.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from core.contracts.files import BlockKind
from core.documents.reader.found import Block
from core.documents.reader.pdf_lines import Line, Segment
from core.documents.reader.prose import BULLET, NUMBERED, join, vocabulary

LARGER = 1.12
"""How much larger than the text a heading is at least."""
MAX_HEADING = 250
"""Characters."""
MAX_BOLD_HEADING = 120
GAP = 1.45
"""Times the text's size from line to line, relative to what is usual in it, that ends a paragraph."""
_ENDED = re.compile(r"[.!?:;…。！？؟][\"'”’»)\]\d,\s]*\Z")
_HAS_LETTER = re.compile(r"[^\W\d_]")


def blocks_of(lines: Sequence[Line]) -> list[Block]:
    """The blocks of a document's lines, which are in reading order."""
    if not lines:
        return []
    known = vocabulary(line.text for line in lines)
    body = _usual(Counter[float](), lines)
    sizes = sorted({_rounded(line.size) for line in lines if line.size > LARGER * body}, reverse=True)
    levels = {size: min(level, 6) for level, size in enumerate(sizes, 1)}
    pitch = _pitch(lines, body)
    maker = _Maker(known, body, levels, pitch)
    blocks = [maker.block(group) for group in _groups(lines, maker)]
    return _continued(blocks, known)


class _Maker:
    """What is usual in this document, and blocks made by it."""

    def __init__(self, known: set[str], body: float, levels: dict[float, int], pitch: float) -> None:
        self.known, self.body, self.levels, self.pitch = known, body, levels, pitch
        self.indents: list[float] = []

    def kind(self, line: Line) -> BlockKind:
        """What a line looks like by itself."""
        text = line.text
        if _rounded(line.size) in self.levels and len(text) <= MAX_HEADING and _HAS_LETTER.search(text):
            return BlockKind.HEADING
        if line.mono:
            return BlockKind.CODE
        return BlockKind.ITEM if BULLET.match(text) or NUMBERED.match(text) else BlockKind.PARAGRAPH

    def block(self, group: list[Line]) -> Block:
        """The block of lines that belong together."""
        first, last = group[0], group[-1]
        kind = self.kind(first)
        made = Block(kind, page=first.page, last_page=last.page if last.page != first.page else None)
        if kind is not BlockKind.ITEM:
            self.indents.clear()
        if _is_table(group):
            made.kind, made.rows = BlockKind.TABLE, _rows(group)
            return made
        if kind is BlockKind.CODE:
            left = min(line.x0 for line in group)
            made.text = "\n".join(" " * round((line.x0 - left) / (0.6 * line.size)) + line.text for line in group)
            return made
        made.text = join([line.text for line in group], self.known)
        if kind is BlockKind.HEADING:
            made.level = self.levels[_rounded(first.size)]
        elif kind is BlockKind.ITEM:
            self._item(made, first)
        elif self._is_bold_heading(group, made.text):
            made.kind, made.level = BlockKind.HEADING, min(len(self.levels) + 1, 6)
        return made

    def _item(self, made: Block, line: Line) -> None:
        if found := NUMBERED.match(made.text):
            made.ordered, made.number = True, int(found["number"]) if found["number"] else None
            if found["letter"]:
                made.number = ord(found["letter"].casefold()) - ord("a") + 1
        else:
            found = BULLET.match(made.text)
        assert found is not None
        made.text = made.text[found.end() :]
        while self.indents and self.indents[-1] > line.x0 + 0.5 * line.size:
            self.indents.pop()
        if not self.indents or self.indents[-1] < line.x0 - 0.5 * line.size:
            self.indents.append(line.x0)
        made.level = len(self.indents) - 1

    def _is_bold_heading(self, group: list[Line], text: str) -> bool:
        short = len(group) <= 2 and len(text) <= MAX_BOLD_HEADING
        return short and all(line.bold for line in group) and not _ENDED.search(text) and bool(_HAS_LETTER.search(text))


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _usual(counts: Counter[float], lines: Sequence[Line]) -> float:
    """The size of most of the text."""
    for line in lines:
        counts[_rounded(line.size)] += len(line.text)
    return counts.most_common(1)[0][0] or 1.0


def _pitch(lines: Sequence[Line], body: float) -> float:
    """The usual distance of lines of text, in their size."""
    distances = Counter(
        round((before.y - line.y) / body, 1)
        for before, line in pairwise(lines)
        if _beside(before, line) and _rounded(line.size) == body and 0.9 * body < before.y - line.y < 2.5 * body
    )
    return distances.most_common(1)[0][0] if distances else 1.3


def _beside(before: Line, line: Line) -> bool:
    return before.page == line.page and before.region == line.region


def _groups(lines: Sequence[Line], maker: _Maker) -> list[list[Line]]:
    """Lines that are a block together."""
    groups: list[list[Line]] = []
    at = 0
    while at < len(lines):
        if rows := _table(lines, at):
            groups.append(list(lines[at : at + rows]))
            at += rows
        elif groups and not _is_table(groups[-1]) and _goes_on(groups[-1], lines[at], maker):
            groups[-1].append(lines[at])
            at += 1
        else:
            groups.append([lines[at]])
            at += 1
    return groups


def _goes_on(group: list[Line], line: Line, maker: _Maker) -> bool:
    """Whether a line belongs to the block before it."""
    before = group[-1]
    if not _beside(before, line) or abs(line.size - before.size) > 0.08 * max(line.size, before.size):
        return False
    distance = (before.y - line.y) / max(line.size, 1e-6)
    kind, first = maker.kind(line), maker.kind(group[0])
    if kind is BlockKind.CODE or first is BlockKind.CODE:
        return kind is first and distance < 2 * GAP * maker.pitch
    if distance > maker.pitch * (GAP if len(group) == 1 else 1.2) or distance < 0.3:
        return False
    if kind is BlockKind.ITEM or (line.bold != before.bold and (kind is BlockKind.HEADING or group[0].bold)):
        return False
    if first is BlockKind.ITEM:
        return line.x0 > group[0].x0 + 0.4 * line.size
    width = max(member.x1 for member in (*group, line)) - min(member.x0 for member in (*group, line))
    indented = line.x0 - (before.x0 if len(group) > 1 else min(before.x0, line.x0)) > 0.8 * line.size
    if indented and _is_flush(group):
        return False
    short = width > 10 * line.size and line.x1 - before.x1 > 0.2 * width
    return not (short and _ENDED.search(before.text))


def _is_flush(group: list[Line]) -> bool:
    """Whether the lines after the first begin at one place: then one that does not begins something."""
    rest = [line.x0 for line in group[1:]] or [group[0].x0]
    return max(rest) - min(rest) < 0.3 * group[0].size


def _is_table(group: Sequence[Line]) -> bool:
    return len(group) > 1 and len(group[0].cells) > 1 and len(group[1].cells) > 1 and _aligned(group[0], group[1])


def _table(lines: Sequence[Line], at: int) -> int:
    """How many lines from here on are a table; 0 if none is."""
    if not _is_table(lines[at : at + 2]):
        return 0
    end = at + 1
    while end < len(lines) and _beside(lines[end - 1], lines[end]):
        line, before = lines[end], lines[end - 1]
        near = before.y - line.y < 3.5 * line.size
        # A cell that goes on in the next line: not in the first column, and close.
        wrapped = len(line.cells) == 1 and before.y - line.y < 1.5 * line.size and line.x0 > lines[at].cells[0].x1
        if not near or not (wrapped or (len(line.cells) > 1 and _fits(lines[at], line))):
            break
        end += 1
    return end - at if end - at > 1 else 0


def _fits(head: Line, line: Line) -> bool:
    """Whether each cell lies in one column of the head's."""
    return all(_column(head.cells, cell) is not None for cell in line.cells)


def _aligned(line: Line, other: Line) -> bool:
    """Whether cells of two lines begin, end or are centred at one place, at least two of them."""
    near = 0.6 * line.size
    found = sum(
        any(
            abs(a.x0 - b.x0) < near or abs(a.x1 - b.x1) < near or abs(a.x0 + a.x1 - b.x0 - b.x1) < 2 * near
            for b in other.cells
        )
        for a in line.cells
    )
    return found > 1


def _column(head: Sequence[Segment], cell: Segment) -> int | None:
    """The column of a cell: that it overlaps most, else the nearest."""
    overlaps = [min(cell.x1, own.x1) - max(cell.x0, own.x0) for own in head]
    best = max(range(len(head)), key=overlaps.__getitem__)
    return best if overlaps[best] > -3 * cell.size else None


def _rows(group: Sequence[Line]) -> list[list[str]]:
    widest = max(group, key=lambda line: len(line.cells))
    rows: list[list[str]] = []
    for line in group:
        row = [""] * len(widest.cells)
        for cell in line.cells:
            column = _column(widest.cells, cell) or 0
            row[column] = f"{row[column]} {cell.text}".strip()
        if len(line.cells) == 1 and rows:
            rows[-1] = [f"{above} {own}".strip() for above, own in zip(rows[-1], row, strict=True)]
        else:
            rows.append(row)
    return rows


def _continued(blocks: list[Block], known: set[str]) -> list[Block]:
    """A paragraph that goes on in the next column or on the next page is one."""
    made: list[Block] = []
    for block in blocks:
        before = made[-1] if made else None
        if (
            before is not None
            and before.kind in (BlockKind.PARAGRAPH, BlockKind.ITEM)
            and block.kind is BlockKind.PARAGRAPH
            and not _ENDED.search(before.text)
            and block.text[:1].islower()
        ):
            before.text = join([before.text, block.text], known)
            last = block.last_page or block.page
            before.last_page = last if last != before.page else None
        else:
            made.append(block)
    return made
