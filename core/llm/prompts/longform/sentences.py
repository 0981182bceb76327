"""Sentences for one section of many, so that no two sections of a document ever say the same."""

import math
import random
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from core.llm.prompts.longform.citations import without_citations
from core.llm.prompts.longform.phrases import Bank, Family
from core.llm.prompts.longform.subject import capitalised, uncapitalised

_SLOT = re.compile(r"\{([a-z])\}")
_LONG_WORD = re.compile(r"\w{6,}")


# The same rule as `core.documents.text.count_words`, which this package may not import: Han ideographs and kana count
# one by one; list numbers, the language of a code block and citations do not count.
_CJK = "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}][^\s|—–…{_CJK}]*")
_UNREAD = re.compile(r"^(?:```.*$|\d+\.(?= ))", re.MULTILINE)


def count_words(markdown: str) -> int:
    """Words that a reader of this Markdown reads; markup and citations count for nothing."""
    return sum(1 for _ in _WORD.finditer(_UNREAD.sub(" ", without_citations(markdown))))


def plain(text: str) -> str:
    """A text as two are compared: without citations, line breaks and differences of case."""
    return " ".join(without_citations(text).split()).casefold()


class Found(NamedTuple):
    """A sentence that can be taken: its family, where it stands in the section's share, and its text."""

    family: str
    step: int
    text: str

    @property
    def words(self) -> int:
        """Its length."""
        return count_words(self.text)


class Sentences:
    """Deals out one section's share of every family.

    Sections are composed by calls that know nothing of each other. So each family's combinations have a fixed order
    in a document (`seed` is the document's), and section `rank` of `count` takes every stride-th from its rank on,
    where the stride is `count` or a little more: two sections can never take the same one. The order walks the
    diagonals of beginnings by endings, so a phrase comes back as late as it can; when all pairs are used up, they come
    again behind a connector ("Still, ...").

    `avoid` is a text none of whose sentences is dealt out: one that is to be written anew. With `asides` every sentence
    stands behind a phrase that no section's own sentences ever begin with.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        seed: str,
        rank: int,
        count: int,
        slots: Mapping[str, str],
        avoid: str = "",
        asides: bool = False,
    ) -> None:
        self._bank = bank
        self._rank = rank
        self._slots = dict(slots)
        self._avoid = plain(avoid)
        self._bare_laps = 0 if asides else 1
        self._first = dict.fromkeys(bank.families, 0)
        self._used: dict[str, set[int]] = {name: set() for name in bank.families}
        self._strides = {name: _stride(family, count) for name, family in bank.families.items()}
        rng = random.Random(seed)
        self._orders: dict[str, tuple[list[str], list[str]]] = {}
        self._connectors: dict[str, list[str]] = {}
        for name, family in bank.families.items():
            beginnings, endings = list(family.beginnings), list(family.endings)
            rng.shuffle(beginnings)
            rng.shuffle(endings)
            self._orders[name] = beginnings, endings
            connectors = bank.asides if asides else bank.connectors
            self._connectors[name] = rng.sample(connectors, len(connectors))

    def ahead(self, family: str, many: int, **slots: str) -> list[Found]:
        """The next sentences of a family, filled in; fewer when this section's share is used up."""
        size, used = len(self._bank.families[family]), self._used[family]
        laps = self._bare_laps + len(self._connectors[family])
        while self._first[family] in used:
            used.remove(self._first[family])
            self._first[family] += 1
        found: list[Found] = []
        step = self._first[family]
        while len(found) < many and (index := self._rank + self._strides[family] * step) < laps * size:
            if step not in used and not _echoes(*self._pair(family, index % size)):
                bare = self._bare(family, index % size)
                # A sentence that was said comes back behind no connector either.
                if not self.stale(self.fill(bare, **slots)):
                    text = self.fill(self._connected(family, index, bare), **slots)
                    found.append(Found(family, step, text))
            step += 1
        return found

    def use(self, found: Found) -> str:
        """Take a sentence that was found ahead."""
        self._used[found.family].add(found.step)
        return found.text

    def peek(self, family: str, **slots: str) -> str | None:
        """The next sentence of a family, or None when this section's share is used up."""
        return found[0].text if (found := self.ahead(family, 1, **slots)) else None

    def take(self, family: str, **slots: str) -> str | None:
        """The next sentence of a family, which is then used; None when this section's share is used up."""
        return self.use(found[0]) if (found := self.ahead(family, 1, **slots)) else None

    def take_head(self) -> tuple[str, str] | None:
        """The two cells of a table's head, or None when this section's share is used up."""
        size = len(self._bank.families["head"])
        for found in self.ahead("head", 1):
            index = self._rank + self._strides["head"] * found.step
            self.use(found)
            # Cells bear no connector, so there is one lap only.
            return self._pair("head", index) if index < size else None
        return None

    def fill(self, line: str, **slots: str) -> str:
        """A line with its slots filled in; values are put in once, so braces in them stay as they are."""
        values = {**self._slots, **slots}
        return capitalised(_SLOT.sub(lambda match: values[match[1]], line))

    def stale(self, text: str) -> bool:
        """Whether a sentence stands in the text that is written anew."""
        return bool(self._avoid) and plain(text).rstrip(" .!?") in self._avoid

    def _pair(self, name: str, index: int) -> tuple[str, str]:
        beginnings, endings = self._orders[name]
        rows, columns = len(beginnings), len(endings)
        return beginnings[index % rows], endings[(index + index // math.lcm(rows, columns)) % columns]

    def _bare(self, name: str, index: int) -> str:
        beginning, ending = self._pair(name, index)
        # An ending that begins with its own punctuation follows without a space; so does no ending at all.
        joined = ending[:1] in ",;.?\u00a0"
        return beginning.removesuffix(",") + ending if joined else f"{beginning} {ending}"

    def _connected(self, name: str, index: int, sentence: str) -> str:
        """The sentence as it stands in its lap: behind a connector, except in those without one."""
        lap, index_in_lap = divmod(index, len(self._bank.families[name]))
        if lap < self._bare_laps:
            return sentence
        connectors = self._connectors[name]
        connector = connectors[(lap - self._bare_laps + index_in_lap) % len(connectors)]
        return f"{connector} {sentence if connector.endswith(':') else uncapitalised(sentence)}"


@lru_cache(maxsize=20_000)
def _echoes(beginning: str, ending: str) -> bool:
    """Whether a longer word of the beginning comes again in the ending: such a pair reads badly, and is passed over."""
    return not {word[:6] for word in _LONG_WORD.findall(beginning.lower())}.isdisjoint(
        word[:6] for word in _LONG_WORD.findall(ending.lower())
    )


def _stride(family: Family, count: int) -> int:
    """The least stride from `count` on with which a section takes four sentences without a common part, or `count`."""
    rows, columns = len(family.beginnings), len(family.endings)
    cycle = math.lcm(rows, columns)

    def repeats(stride: int) -> bool:
        # From one sentence to the d-th after it, endings move on by d strides and one more for each whole cycle.
        steps = [d * stride + d * stride // cycle + extra for d in (1, 2, 3) for extra in (0, 1)]
        return columns > 1 and any(step % columns == 0 for step in steps)

    strides = range(count, count + 2 * cycle)
    return next((n for n in strides if math.gcd(n, rows) == 1 and not repeats(n)), count)
