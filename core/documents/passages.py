"""What of long sources goes into a prompt: the passages that fit a query best. No model is asked.

Words are compared without case and by their first letters, so "rivers" finds "river's"; scripts without spaces between
words are compared by pairs of neighbouring characters.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from math import log, sqrt
from operator import add

from core.contracts.longform import Priority
from core.documents.text import clean

LEAST, MOST = 900, 1_500
"""Characters of a passage: some paragraphs. The last of a text may be shorter."""
GAP = "\n\n[…]\n\n"
"""Stands between passages that are not neighbours in their source."""
PAGE_MARK = re.compile(r"^\[pp?\. (?P<pages>\d+(?:–\d+)?)\]$", re.MULTILINE)
"""How a source's text says that a page begins, see `core.documents.extraction.as_markdown`."""
STEM = 5
"""Letters of a word that count when it is looked up: endings do not."""
K1, B = 1.2, 0.75
"""BM25's usual constants (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.2)."""

UNSPACED = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
UNSPACED += "\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
"""Of a regular expression's class: scripts that put no spaces between words (Thai, Lao, Tibetan, Burmese, Khmer, Han
and kana)."""
PUNCTUATION = r"!-/:-@\[-`{-~¡¦-©«¬®±´¶·»¿×÷\u055a-\u055f\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f\u066a-\u066d"
PUNCTUATION += "\u06d4\u0964\u0965\u1361-\u1368\u2000-\u200b\u200e-\u206f\u2190-\u2bff\u3000-\u3004"
PUNCTUATION += "\u3008-\u3040\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
"""What ends a word, beside space; an apostrophe does, combining marks and joiners do not."""

# Embeddings, overrides and isolates: they make a text read otherwise than it is.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_BLANK = re.compile(r"\n\s*\n")
# Where a passage may end, the best place first. Each finds the last one: all of `.*` comes before it.
_ENDS = tuple(
    re.compile(rf".*(?:{end})", re.DOTALL) for end in (r"\n\s*\n", r"\n", r"[.!?…؟۔।][\"'”’»)\]]*\s+|[。！？]", r"\s")
)
_WORD = re.compile(rf"[^\W_{UNSPACED}][^\s{PUNCTUATION}{UNSPACED}]*|[{UNSPACED}]")
_SPACED = re.compile(rf"[^\W_{UNSPACED}][^\s{PUNCTUATION}{UNSPACED}]*")
_RUN = re.compile(rf"[{UNSPACED}]+")


@dataclass(frozen=True)
class SourceText:
    """A source with its text, whole or in part."""

    id: str
    title: str
    priority: Priority
    text: str
    placed: bool = False
    """Lines like `[p. 12]` say where its pages begin."""


@dataclass
class _Passage:
    source: int
    """Which source, and which of its passages."""
    at: int
    text: str
    found: Counter[str] = field(default_factory=Counter)
    """The query's terms that it holds."""
    length: int = 0
    """In terms."""
    score: float = 0
    mark: str = ""
    """The mark of the page that it begins on, unless it begins with one."""

    @property
    def cost(self) -> int:
        """Characters that it takes at most: a gap and a mark may come before it."""
        return len(self.text) + len(GAP) + len(self.mark) + 2


def words(text: str) -> list[str]:
    """The words of a text without case; each character of a script without spaces is one. Linear."""
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


def split(text: str) -> list[str]:
    """Passages of a text: put together, they are the cleaned text without more than one empty line in a row.

    Each has 900 to 1,500 characters and ends where a paragraph does, else a line, a sentence or a word, else anywhere;
    only the last may be shorter. Linear. A text without a letter or digit has none.
    """
    text = tidy(text)
    if not any(map(str.isalnum, text)):
        return []
    passages, at = list[str](), 0
    while len(text) - at > MOST:
        end = at + _end(text[at : at + MOST])
        passages.append(text[at:end])
        at = end
    return [*passages, text[at:]]


def select(sources: Sequence[SourceText], query: str, limit: int) -> list[SourceText]:
    """What of the sources goes into `limit` characters: all of it if it fits, else the passages that suit the query.

    First comes the best passage of each source, then what else shares a word with the query, then the rest: each time
    sources of high priority before normal and low, and within these the better passage (BM25) first. What does not fit
    is passed over. A source's passages stand in its own order, with `[…]` where something is left out, and the mark of
    their page behind that if the source has such. The sources keep their order; one of which nothing fits is left out.
    Texts are cleaned of control characters and of marks that override the direction of writing. The same arguments give
    the same result. It blocks: one to two seconds for 20 sources of 400,000 characters.
    """
    passages = [passage for number, source in enumerate(sources) for passage in _passages(number, source)]
    if sum(len(passage.text) for passage in passages) > limit:
        _rank(passages, frozenset(terms(query)))
        passages = _chosen(passages, [_ORDER[source.priority] for source in sources], limit)
    return [
        replace(sources[number], text=_joined(list(chosen)))
        for number, chosen in groupby(passages, key=lambda passage: passage.source)
    ]


def best_section(source_text: str, queries: Sequence[str]) -> int:
    """Which of the queries (sections' titles, purposes and key points) a source fits best; the first, if all alike.

    The words of a query count by how often the source has them and by how few other queries do; a long query has no
    advantage. Raises `ValueError` without a query.
    """
    if not queries:
        raise ValueError("no queries to choose from")
    asked = [frozenset(terms(query)) for query in queries]
    among = weights(asked)
    found = Counter(filter(among.__contains__, terms(tidy(source_text))))
    scores = [
        sum(among[term] * found[term] / (found[term] + K1) for term in sorted(query)) / sqrt(len(query) or 1)
        for query in asked
    ]
    return scores.index(max(scores))


def terms(text: str, stem: int = STEM) -> list[str]:
    """What a text is looked up by: the first letters of its words, and of scripts without spaces each two neighbours
    (a character that has none stands alone). Linear."""
    text = unicodedata.normalize("NFC", text).casefold()
    found = [word[:stem] for word in _SPACED.findall(text)]
    for run in _RUN.findall(text):
        found += map(add, run, run[1:]) if len(run) > 1 else [run]
    return found


_ORDER = {priority: number for number, priority in enumerate((Priority.HIGH, Priority.NORMAL, Priority.LOW))}


def _passages(number: int, source: SourceText) -> Iterator[_Passage]:
    mark = ""
    for at, text in enumerate(split(source.text)):
        marks = [found[0] for found in PAGE_MARK.finditer(text)] if source.placed else []
        yield _Passage(number, at, text, mark="" if marks and text.startswith(marks[0]) else mark)
        mark = marks[-1] if marks else mark


def tidy(text: str) -> str:
    """A text without control characters, marks that override the direction of writing, and empty lines in a row."""
    return _BLANK.sub("\n\n", _BIDI.sub("", clean(text))).strip()


def _end(window: str) -> int:
    """Where a passage that begins this window ends."""
    for pattern in _ENDS:
        if found := pattern.match(window, LEAST):
            return found.end()
    return len(window)


def weights(texts: Sequence[Iterable[str]]) -> dict[str, float]:
    """How much a term says, by how few of the texts hold it; each text names a term once (BM25's idf)."""
    holders = Counter(term for text in texts for term in text)
    return {term: log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for term, n in holders.items()}


def _rank(passages: Sequence[_Passage], wanted: frozenset[str]) -> None:
    """Give each passage its score (BM25)."""
    for passage in passages:
        held = terms(passage.text)
        passage.length = len(held)
        passage.found = Counter(filter(wanted.__contains__, held))
    mean = sum(passage.length for passage in passages) / len(passages) or 1
    by_term = weights([passage.found for passage in passages])
    for passage in passages:
        passage.score = _bm25(passage.found, by_term, K1 * (1 - B + B * passage.length / mean))


def _bm25(found: Mapping[str, int], weights: Mapping[str, float], k: float) -> float:
    return sum(weights[term] * n * (K1 + 1) / (n + k) for term, n in found.items())


def _chosen(passages: Sequence[_Passage], priority: Sequence[int], limit: int) -> list[_Passage]:
    """The passages that are taken, in the order of their sources."""
    order = sorted(passages, key=lambda p: (p.score == 0, priority[p.source], -p.score, p.at, p.source))
    first: dict[int, _Passage] = {}
    for passage in order:
        first.setdefault(passage.source, passage)
    leaders = sorted(first.values(), key=lambda p: (priority[p.source], -p.score, p.source))
    led = {(p.source, p.at) for p in leaders}
    taken, left = list[_Passage](), limit
    for passage in [*leaders, *(p for p in order if (p.source, p.at) not in led)]:
        # Each is charged a gap, so that the limit holds however they come to stand.
        if passage.cost <= left:
            taken.append(passage)
            left -= passage.cost
    return sorted(taken, key=lambda p: (p.source, p.at))


def _joined(passages: Sequence[_Passage]) -> str:
    parts = [_marked(passages[0])]
    for before, passage in pairwise(passages):
        if passage.at == before.at + 1:
            parts.append(passage.text)
        else:
            parts[-1] = parts[-1].rstrip()
            parts += [GAP, _marked(passage)]
    return "".join(parts).strip()


def _marked(passage: _Passage) -> str:
    return f"{passage.mark}\n\n{passage.text}" if passage.mark else passage.text
