"""Sentences for one section of many, so that no two sections of a document ever say the same."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from core.llm.prompts.longform.phrases import Bank, Family
from core.llm.prompts.longform.subject import capitalised, uncapitalised

_SLOT = re.compile(r"\{([spt])\}")
_LONG_WORD = re.compile(r"\w{6,}")


# The same rule as `core.documents.text.count_words`, which this package may not import: Han ideographs and kana count
# one by one, list numbers and the language of a code block do not count.
_CJK = "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}][^\s|—–…{_CJK}]*")
_UNREAD = re.compile(r"^(?:```.*$|\d+\.(?= ))", re.MULTILINE)


def count_words(markdown: str) -> int:
    """Words that a reader of this Markdown reads; markup counts for nothing."""
    return sum(1 for _ in _WORD.finditer(_UNREAD.sub(" ", markdown)))


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


class Sentences:
    """Deals out one section's share of every family.

    Sections are composed by calls that know nothing of each other. So each family's combinations have a fixed order
    in a document (`seed` is the document's), and section `rank` of `count` takes every stride-th from its rank on,
    where the stride is `count` or a little more: two sections can never take the same one. The order walks the
    diagonals of beginnings by endings, so a phrase comes back as late as it can; when all pairs are used up, they come
    again behind a connector ("Still, ...").
    """

    def __init__(self, bank: Bank, *, seed: str, rank: int, count: int, slots: Mapping[str, str]) -> None:
        self._bank = bank
        self._rank = rank
        self._slots = dict(slots)
        self._taken: Counter[str] = Counter()
        self._strides = {name: _stride(family, count) for name, family in bank.families.items()}
        rng = random.Random(seed)
        self._orders: dict[str, tuple[list[str], list[str]]] = {}
        self._connectors: dict[str, list[str]] = {}
        for name, family in bank.families.items():
            beginnings, endings = list(family.beginnings), list(family.endings)
            rng.shuffle(beginnings)
            rng.shuffle(endings)
            self._orders[name] = beginnings, endings
            self._connectors[name] = rng.sample(bank.connectors, len(bank.connectors))

    def peek(self, family: str, point: str = "") -> str | None:
        """The next sentence of a family, filled in, or None when this section's share is used up."""
        while _echoes(*self._pair(family, self._index(family) % len(self._bank.families[family]))):
            self._taken[family] += 1
        sentence = self._combination(family, self._index(family))
        return None if sentence is None else self.fill(sentence, point)

    def fill(self, line: str, point: str = "") -> str:
        """A line with its slots filled in; values are put in once, so braces in them stay as they are."""
        slots = {**self._slots, "p": point}
        return capitalised(_SLOT.sub(lambda match: slots[match[1]], line))

    def take(self, family: str, point: str = "") -> str | None:
        """The next sentence of a family, which is then used; None when this section's share is used up."""
        sentence = self.peek(family, point)
        self._taken[family] += 1
        return sentence

    def take_pair(self, family: str) -> tuple[str, str]:
        """The next beginning and ending of a family apart, for the head of a table."""
        index = self._index(family)
        self._taken[family] += 1
        return self._pair(family, index % len(self._bank.families[family]))

    def _index(self, family: str) -> int:
        """Where in the family's order this section's next sentence stands."""
        return self._rank + self._strides[family] * self._taken[family]

    def _pair(self, name: str, index: int) -> tuple[str, str]:
        beginnings, endings = self._orders[name]
        rows, columns = len(beginnings), len(endings)
        return beginnings[index % rows], endings[(index + index // math.lcm(rows, columns)) % columns]

    def _combination(self, name: str, index: int) -> str | None:
        lap, index_in_lap = divmod(index, len(self._bank.families[name]))
        connectors = self._connectors[name]
        if lap > len(connectors):
            return None
        beginning, ending = self._pair(name, index_in_lap)
        # An ending that begins with its own punctuation follows without a space; so does no ending at all.
        joined = ending[:1] in ",;.?\u00a0"
        sentence = beginning.removesuffix(",") + ending if joined else f"{beginning} {ending}"
        if lap == 0:
            return sentence
        connector = connectors[(lap - 1 + index_in_lap) % len(connectors)]
        return f"{connector} {sentence if connector.endswith(':') else uncapitalised(sentence)}"
