"""What differs between two versions of an article: section by section, and in changed sections word by word."""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise, zip_longest

from pydantic import Field

from core.contracts.base import Contract, Name
from core.contracts.documents import Article, ArticleSection
from core.documents.passages import PUNCTUATION, UNSPACED
from core.documents.text import count_words

MOST_TOKENS = 5_000
"""A changed passage with more (about 2,000 words, with the spaces and marks between them) is replaced as a whole."""
MOST_BITS = 10**8
"""Of the table by which paragraphs are matched: 12 MB. Texts with more paragraphs are compared one by one."""
LEAST_IN_COMMON = 0.4
"""Share of the shorter passage's words below which it was replaced, not changed: the small words of any two texts of a
language have about a quarter in common."""

_TOKEN = re.compile(rf"\s+|[{UNSPACED}]|[^\s{PUNCTUATION}{UNSPACED}]+|[{PUNCTUATION}]")
_EMPTY_LINES = re.compile(r"\n\s*\n")


class Op(StrEnum):
    """Where a run of text stands: in both versions, in the new one, in the old one."""

    EQUAL = "equal"
    INSERT = "insert"
    DELETE = "delete"


class Run(Contract):
    """A piece of text. What is equal or deleted makes the old text, put together; what is equal or inserted the new."""

    op: Op
    text: str


class Parts(Contract):
    """The runs of a section's texts."""

    title: tuple[Run, ...] = ()
    transition: tuple[Run, ...] = ()
    markdown: tuple[Run, ...] = ()


class SectionStatus(StrEnum):
    """What became of a section."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class SectionDiff(Contract):
    """One section in both versions."""

    section_id: str
    status: SectionStatus
    moved: bool = Field(default=False, description="It stands in another place among the sections that both have.")
    title_before: Name | None = None
    title_after: Name | None = None
    words_before: int = Field(default=0, description="With the sentence that leads into it.")
    words_after: int = 0
    parts: Parts | None = Field(default=None, description="None if nothing changed.")


class DiffSummary(Contract):
    """How much differs. A section counts once; `moved` ones are among the others."""

    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    moved: int = 0
    words_inserted: int = 0
    words_deleted: int = 0


class ArticleDiff(Contract):
    """What differs between two versions. Sections in the new order; removed ones behind the one they stood behind."""

    title_changed: bool = False
    thesis_changed: bool = False
    references_changed: bool = False
    sections: tuple[SectionDiff, ...] = ()
    summary: DiffSummary = DiffSummary()


def diff(old: Article, new: Article) -> ArticleDiff:
    """Compare two versions of an article; sections are known by their ids.

    Paragraphs are matched first, then words in those that changed (by longest common subsequences). It blocks: two
    sections of 30,000 words that differ everywhere take half a second.
    """
    before, after = _keyed(old.sections), _keyed(new.sections)
    moved = _moved([key for key in before if key in after], [key for key in after if key in before])
    sections = tuple(_section(before.get(key), after.get(key), key in moved) for key in _order(before, after))
    return ArticleDiff(
        title_changed=old.title != new.title,
        thesis_changed=old.thesis != new.thesis,
        references_changed=old.references != new.references,
        sections=sections,
        summary=_summary(sections),
    )


_Key = tuple[str, int]


def _keyed(sections: Sequence[ArticleSection]) -> dict[_Key, ArticleSection]:
    """Sections by their id and how often it came before: no contract says that it is unique."""
    seen: Counter[str] = Counter()
    keyed = {}
    for section in sections:
        keyed[section.id, seen[section.id]] = section
        seen[section.id] += 1
    return keyed


def _order(before: dict[_Key, ArticleSection], after: dict[_Key, ArticleSection]) -> list[_Key]:
    removed: dict[_Key | None, list[_Key]] = defaultdict(list)
    last: _Key | None = None
    for key in before:
        if key in after:
            last = key
        else:
            removed[last].append(key)
    order = [*removed[None]]
    for key in after:
        order += [key, *removed[key]]
    return order


def _moved(before: Sequence[_Key], after: Sequence[_Key]) -> set[_Key]:
    """The fewest that must have moved: all but a longest run of sections whose order is the same."""
    place = {key: number for number, key in enumerate(before)}
    ends: list[int] = []  # the least last place of an ascending run, by its length
    lengths: list[int] = []
    for key in after:
        lengths.append(bisect_left(ends, place[key]))
        ends[lengths[-1] : lengths[-1] + 1] = [place[key]]
    stayed, wanted = set[_Key](), len(ends) - 1
    limit = len(before)
    for key, length in zip(reversed(after), reversed(lengths), strict=True):
        if length == wanted and place[key] < limit:
            stayed.add(key)
            wanted, limit = wanted - 1, place[key]
    return set(after) - stayed


def _section(old: ArticleSection | None, new: ArticleSection | None, moved: bool) -> SectionDiff:
    named = new or old
    assert named is not None
    if old is None or new is None:
        status = SectionStatus.ADDED if old is None else SectionStatus.REMOVED
    else:
        same = (old.title, old.transition, old.markdown) == (new.title, new.transition, new.markdown)
        status = SectionStatus.SAME if same else SectionStatus.CHANGED
    return SectionDiff(
        section_id=named.id,
        status=status,
        moved=moved,
        title_before=old.title if old else None,
        title_after=new.title if new else None,
        words_before=_words(old),
        words_after=_words(new),
        parts=None if status is SectionStatus.SAME else _parts(old, new),
    )


def _words(section: ArticleSection | None) -> int:
    return count_words(section.markdown) + count_words(section.transition) if section else 0


def _parts(old: ArticleSection | None, new: ArticleSection | None) -> Parts:
    return Parts(
        title=text_runs(old.title if old else "", new.title if new else ""),
        transition=text_runs(old.transition if old else "", new.transition if new else ""),
        markdown=text_runs(old.markdown if old else "", new.markdown if new else ""),
    )


def _summary(sections: Sequence[SectionDiff]) -> DiffSummary:
    statuses = Counter(section.status for section in sections)
    words: Counter[Op] = Counter()
    for section in sections:
        if section.parts is not None:
            for run in (*section.parts.transition, *section.parts.markdown):
                words[run.op] += count_words(run.text) if run.op is not Op.EQUAL else 0
    return DiffSummary(
        same=statuses[SectionStatus.SAME],
        changed=statuses[SectionStatus.CHANGED],
        added=statuses[SectionStatus.ADDED],
        removed=statuses[SectionStatus.REMOVED],
        moved=sum(section.moved for section in sections),
        words_inserted=words[Op.INSERT],
        words_deleted=words[Op.DELETE],
    )


_Pieces = Iterator[tuple[Op, str]]


def text_runs(old: str, new: str) -> tuple[Run, ...]:
    """The runs of two texts: equal paragraphs, and between these changed words."""
    return _runs(_paragraphs(_split(old), _split(new)))


def _split(text: str) -> list[str]:
    """Paragraphs with the empty lines behind them."""
    bounds = [0, *(match.end() for match in _EMPTY_LINES.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds) if start < end]


def _paragraphs(old: Sequence[str], new: Sequence[str]) -> _Pieces:
    gap_old, gap_new = list[str](), list[str]()
    for op, paragraph in aligned(old, new):
        if op is Op.EQUAL:
            yield from _gap(gap_old, gap_new)
            gap_old, gap_new = [], []
            yield op, paragraph
        else:
            (gap_old if op is Op.DELETE else gap_new).append(paragraph)
    yield from _gap(gap_old, gap_new)


def _gap(old: Sequence[str], new: Sequence[str]) -> _Pieces:
    """Paragraphs that have no equal: compared as one text if it is short enough, else pair by pair."""
    tokens = _TOKEN.findall("".join(old)), _TOKEN.findall("".join(new))
    if max(map(len, tokens)) <= MOST_TOKENS or min(map(len, tokens)) == 0:
        yield from _changed(*tokens)
        return
    for one, other in zip_longest(old, new, fillvalue=""):
        yield from _changed(_TOKEN.findall(one), _TOKEN.findall(other))


def _changed(old: Sequence[str], new: Sequence[str]) -> _Pieces:
    """Word by word, if the texts are short enough and have enough in common."""
    if max(len(old), len(new)) <= MOST_TOKENS:
        pieces = list(aligned(old, new))
        kept = sum(op is Op.EQUAL and token[0].isalnum() for op, token in pieces)
        shorter = min(sum(token[0].isalnum() for token in tokens) for tokens in (old, new))
        if kept >= LEAST_IN_COMMON * shorter:
            yield from pieces
            return
    elif old == new:
        yield Op.EQUAL, "".join(old)
        return
    yield Op.DELETE, "".join(old)
    yield Op.INSERT, "".join(new)


def aligned(old: Sequence[str], new: Sequence[str]) -> _Pieces:
    """The tokens of both, with as many equal ones as can be: (op, token)."""
    start, end = 0, 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    yield from ((Op.EQUAL, token) for token in old[:start])
    yield from _subsequence(old[start : len(old) - end], new[start : len(new) - end])
    yield from ((Op.EQUAL, token) for token in old[len(old) - end :])


def _subsequence(old: Sequence[str], new: Sequence[str]) -> _Pieces:
    """A longest common subsequence, row by row of its table: bit j of a row is 0 where the j-th token of `new` makes it
    longer (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004). The time does not depend on the texts, as
    that of `difflib` does: a row is four operations on whole numbers of so many bits."""
    if len(old) * len(new) > MOST_BITS:
        yield from ((Op.DELETE, token) for token in old)
        yield from ((Op.INSERT, token) for token in new)
        return
    places: dict[str, int] = defaultdict(int)
    for at, token in enumerate(new):
        places[token] |= 1 << at
    full = (1 << len(new)) - 1
    rows = [full]
    for token in old:
        row = rows[-1]
        common = row & places.get(token, 0)
        rows.append(((row + common) | (row - common)) & full)
    yield from reversed(list(_walked_back(rows, old, new)))


def _walked_back(rows: Sequence[int], old: Sequence[str], new: Sequence[str]) -> _Pieces:
    i, j = len(old), len(new)
    while i and j:
        if rows[i] >> (j - 1) & 1:
            j -= 1
            yield Op.INSERT, new[j]
        elif rows[i - 1] >> (j - 1) & 1:
            i, j = i - 1, j - 1
            yield Op.EQUAL, old[i]
        else:
            i -= 1
            yield Op.DELETE, old[i]
    yield from ((Op.DELETE, token) for token in reversed(old[:i]))
    yield from ((Op.INSERT, token) for token in reversed(new[:j]))


def _runs(pieces: _Pieces) -> tuple[Run, ...]:
    """Pieces in runs, in each change what is deleted before what is inserted."""
    made = _Runs()
    for op, text in pieces:
        made.add(op, text)
    made.close()
    return tuple(Run(op=op, text="".join(texts)) for op, texts in made.runs)


class _Runs:
    """Collects pieces. A space between two replaced words is replaced with them, as it would only be in the way."""

    def __init__(self) -> None:
        self.runs: list[tuple[Op, list[str]]] = []
        self.deleted: list[str] = []
        self.inserted: list[str] = []
        self.space: list[str] = []

    def add(self, op: Op, text: str) -> None:
        """Add a piece; an empty one is none."""
        if op is Op.EQUAL:
            if self.deleted and self.inserted and not self.space and text.isspace() and "\n" not in text:
                self.space.append(text)
            elif text:
                self.close()
                self.emit(Op.EQUAL, [text])
        elif text:
            self.deleted += self.space
            self.inserted += self.space
            self.space = []
            (self.deleted if op is Op.DELETE else self.inserted).append(text)

    def close(self) -> None:
        """End the change that is open."""
        self.emit(Op.DELETE, self.deleted)
        self.emit(Op.INSERT, self.inserted)
        self.emit(Op.EQUAL, self.space)
        self.deleted, self.inserted, self.space = [], [], []

    def emit(self, op: Op, texts: list[str]) -> None:
        """Add texts to the last run, if it is one of the same kind."""
        if texts and self.runs and self.runs[-1][0] is op:
            self.runs[-1][1].extend(texts)
        elif texts:
            self.runs.append((op, texts))
