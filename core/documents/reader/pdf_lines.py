"""Runs of a page put together as lines in reading order: by columns, from top to bottom.

Nothing in a PDF says what a line is. Runs on about one height are a row; a row falls apart where a gap is wide, into
segments; and a page has two columns where many segments lie on both sides of a strip that few cross.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from statistics import fmean

from core.documents.reader.pdf_runs import PageText, Run

WORD_GAP = 0.14
"""Ems between runs from which on there is a space."""
SEGMENT_GAP = 1.0
COLUMN_LINES, COLUMN_CHARACTERS, COLUMN_SHARE, CROSSING = 5, 18, 0.15, 0.35
"""A column has so many segments of so many characters on average, and at least this share of the region's text; and so
much of it at most may cross the strip between two columns."""
REPEATED, REPEATED_SHARE = 3, 0.4
"""On so many pages, and on this share of them, a line at the edge is no text but the head or foot of the pages."""
EDGE = 2
"""Rows at the top and at the bottom that may be a head or a foot."""
EDGE_GAP = 1.7
"""Times their size, from there to the text."""

_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LETTER = re.compile(r"[^\W\d_]")
# What keeps its own direction among letters that are read from the right.
_LATIN = "[^\\W\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc_]+"
_LEFT_TO_RIGHT = re.compile(f"{_LATIN}(?:[ .,:/'’-]{_LATIN})*")
_NUMBER = re.compile(r"[^ ]+")
# The number of a page: at the beginning or the end of a head or foot, perhaps "3 of 7".
_PAGE_NUMBER = re.compile(r"\A\W*\d+\b|\b\d+(?:\s*(?:of|/|von|de|sur|di)\s*\d+)?\W*\Z")
_MARKER = re.compile(r"[•◦▪‣●○■·*–-]|\(?(?:\d{1,3}|[A-Za-z])[.)]")


@dataclass(slots=True)
class Line:
    """A line of a column, from where it begins (`x0`) to where it ends. A line of a table has several cells."""

    page: int
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    mono: bool
    cells: list["Segment"]
    region: int = 0
    """Which column, or piece of one, of its page: lines of another are no neighbours."""

    @property
    def text(self) -> str:
        """Its text with single spaces."""
        return " ".join(" ".join(cell.text for cell in self.cells).split())


@dataclass(slots=True)
class Segment:
    """A part of a row without a wide gap."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    runs: list[Run] = field(default_factory=list)


def lines_of(pages: Sequence[PageText]) -> list[Line]:
    """The lines of all pages in reading order, without heads and feet that repeat."""
    rows = {page.number: [_rows(list(turned)) for turned in _by_turn(page.runs)] for page in pages}
    repeated = _repeated([upright[0] for upright in rows.values() if upright], len(pages))
    return [
        line
        for number, turns in rows.items()
        for at, turned in enumerate(turns)
        for line in _page(number, turned if at else _without(turned, repeated))
    ]


def joined(runs: Sequence[Run]) -> str:
    """The text of runs on one line, from left to right, with spaces where gaps are."""
    parts = [runs[0].text] if runs else []
    for before, run in pairwise(runs):
        gap = run.x0 - before.x1
        if gap > WORD_GAP * min(before.size, run.size) and parts[-1][-1:] != " " and run.text[:1] != " ":
            parts.append(" ")
        parts.append(run.text)
    text = "".join(parts)
    return _logical(text) if _RTL.search(text) else text


def _is_rtl(text: str) -> bool:
    return 2 * len(_RTL.findall(text)) >= max(1, len(_LETTER.findall(text)))


def _logical(shown: str) -> str:
    """The order of reading of a line that is set from the right, which a PDF has as it is seen."""
    return _LEFT_TO_RIGHT.sub(_turned, shown[::-1]) if _is_rtl(shown) else shown


def _turned(found: re.Match[str]) -> str:
    """Words are read from the left together; numbers without words each by itself."""
    if _LETTER.search(found[0]):
        return found[0][::-1]
    return _NUMBER.sub(lambda number: number[0][::-1], found[0])


def _by_turn(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs of each direction of writing, that with the most text first: a stamp at the margin is no line of it."""
    turns: dict[int, list[Run]] = {}
    for run in runs:
        turns.setdefault(run.turn, []).append(run)
    return sorted(turns.values(), key=lambda some: -sum(len(run.text) for run in some))


def _rows(runs: list[Run]) -> list[list[Segment]]:
    """Runs on about one height, from top to bottom, each row from left to right and in segments."""
    rows: list[tuple[float, float, list[Run]]] = []
    for run in sorted(runs, key=lambda run: (-run.y, run.x0)):
        if rows:
            y, size, members = rows[-1]
            larger, smaller = max(size, run.size), min(size, run.size)
            # What is raised or lowered is small, and belongs to the line beside it.
            if y - run.y <= (0.3 if smaller > 0.85 * larger else 0.5) * larger:
                members.append(run)
                if run.size > size:
                    rows[-1] = (run.y, run.size, members)
                continue
        rows.append((run.y, run.size, [run]))
    return [_segments(y, size, members) for y, size, members in rows]


def _segments(y: float, size: float, runs: list[Run]) -> list[Segment]:
    runs.sort(key=lambda run: run.x0)
    groups = [[runs[0]]]
    end = runs[0].x1
    for run in runs[1:]:
        if run.x0 - end > SEGMENT_GAP * size and not _MARKER.fullmatch(joined(groups[-1]).strip()):
            groups.append([run])
        else:
            groups[-1].append(run)
        end = max(end, run.x1)
    return [
        Segment(" ".join(joined(group).split()), group[0].x0, max(run.x1 for run in group), y, size, group)
        for group in groups
    ]


def _key(row: Sequence[Segment]) -> tuple[str, int]:
    return _PAGE_NUMBER.sub("#", " ".join(segment.text for segment in row)), round(row[0].y / 4)


def _edges(rows: list[list[Segment]]) -> list[list[Segment]]:
    """The rows at the top and at the bottom that a gap parts from the text."""
    count = len(rows)
    parted = [before[0].y - row[0].y > EDGE_GAP * before[0].size for before, row in pairwise(rows)]
    top = max((n for n in range(1, EDGE + 1) if n < count and parted[n - 1]), default=0)
    bottom = max((n for n in range(1, EDGE + 1) if n < count and parted[count - 1 - n]), default=0)
    return rows if count == 1 else rows[:top] + rows[max(top, count - bottom) :]


def _repeated(pages: list[list[list[Segment]]], total: int) -> set[tuple[str, int]]:
    """What stands at the edges of many pages in one place, apart from the number of the page."""
    counts = Counter(key for rows in pages for key in {_key(row) for row in _edges(rows)})
    # A number that stands alone is a page's, also where only the first pages of chapters have one.
    share = REPEATED_SHARE * total
    return {key for key, n in counts.items() if n >= REPEATED and (n >= share or key[0] == "#")}


def _without(rows: list[list[Segment]], repeated: set[tuple[str, int]]) -> list[list[Segment]]:
    edges = {id(row) for row in _edges(rows) if _key(row) in repeated}
    return [row for row in rows if id(row) not in edges]


def _page(number: int, rows: list[list[Segment]]) -> list[Line]:
    lines: list[Line] = []
    for region, segments in enumerate(_ordered([segment for row in rows for segment in row], 0)):
        # One row of a column: its segments have one height, as they came from one row of the page.
        for y, members in groupby(segments, key=lambda segment: segment.y):
            cells = list(members)
            runs = [run for cell in cells for run in cell.runs]
            weight = sum(len(run.text) for run in runs)
            left, right = cells[0].x0, max(cell.x1 for cell in cells)
            if _is_rtl("".join(cell.text for cell in cells)):
                # It begins on the right: seen in a mirror it is a line like others.
                left, right = -right, -left
                cells.reverse()
            lines.append(
                Line(
                    number,
                    left,
                    right,
                    y,
                    max(cell.size for cell in cells),
                    2 * sum(len(run.text) for run in runs if run.bold) > weight,
                    all(run.mono for run in runs),
                    cells,
                    region,
                )
            )
    return lines


def _ordered(segments: list[Segment], depth: int) -> list[list[Segment]]:
    """Segments in columns: regions in reading order, each from top to bottom."""
    strip = _strip(segments) if depth < 4 else None
    if strip is None:
        return [segments] if segments else []
    regions: list[list[Segment]] = []
    band: list[Segment] = []

    def close() -> None:
        for side in ([s for s in band if s.x1 <= strip], [s for s in band if s.x1 > strip]):
            # Columns inside of columns are looked for where there is enough of them.
            regions.extend(_ordered(side, depth + 1))
        band.clear()

    crossing: list[Segment] = []
    for segment in segments:
        if segment.x0 < strip < segment.x1:
            close()
            crossing.append(segment)
            continue
        if crossing:
            regions.append(crossing)
            crossing = []
        band.append(segment)
    if crossing:
        regions.append(crossing)
    close()
    return regions


def _strip(segments: list[Segment]) -> float | None:
    """Where the strip between two columns lies, if there are two."""
    if len(segments) < 2 * COLUMN_LINES:
        return None
    left, right = min(s.x0 for s in segments), max(s.x1 for s in segments)
    # Between columns, many segments begin where few lie: the beginnings are the places to look at.
    begins = Counter(round(s.x0) for s in segments if left + 0.2 * (right - left) < s.x0 < left + 0.8 * (right - left))
    best: tuple[float, float] | None = None
    for x, _ in begins.most_common(8):
        at = x - 1.0
        before, after = [s for s in segments if s.x1 <= at], [s for s in segments if s.x0 >= at]
        total = sum(len(s.text) for s in segments)
        crossed = total - sum(len(s.text) for s in before) - sum(len(s.text) for s in after)
        if crossed > CROSSING * total or not (_is_column(before, total) and _is_column(after, total)):
            continue
        # The gap, not the text beside it: a strip in the middle of it.
        if best is None or crossed < best[0]:
            best = (crossed, at)
    return best[1] if best else None


def _is_column(segments: list[Segment], total: int) -> bool:
    if len(segments) < COLUMN_LINES:
        return False
    lengths = [len(s.text) for s in segments]
    return fmean(lengths) >= COLUMN_CHARACTERS and sum(lengths) >= COLUMN_SHARE * total
