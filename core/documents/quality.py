"""How good an article is by figures that no model is asked for, and its reference list."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from markdown_it.token import Token

from core.contracts.documents import (
    JUDGE_WEIGHT,
    Article,
    ArticleSection,
    Measured,
    Reference,
    Rubric,
    UnknownCitation,
)
from core.contracts.longform import Outline
from core.documents.citations import citations, cited, parse
from core.documents.passages import STEM, UNSPACED, terms, words
from core.documents.text import clean, count_words, one_line

SEQUENCE = 4
"""Words of a sequence whose coming again is repetition."""
LONG_WORD = 6
"""Letters: LIX calls a word long that has more."""
MOST_UNSPACED = 0.2
"""Share of single characters among a text's words from which on LIX says nothing of it."""
SHORT_WORD = 3
"""Letters: shorter words, and those of this length, say nothing in a key point."""
TAKEN_UP = 0.5
"""Share of a key point's words that come back when a text makes the point in other words."""
QUOTED_WORDS = 3
"""Fewer words in quotation marks are a name or a term, no quotation."""

REPETITION_POWER = 2
UNCITED_CLAIMS, UNCITED_SOURCES, COVERAGE = 0.4, 0.3, 0.7
"""What each can cost of the score at most."""
UNKNOWN_CITATION = 0.95
"""What each leaves of the score."""

_IS_UNSPACED = re.compile(f"[{UNSPACED}]")
# A run of end marks, what closes behind it, and a space; scripts without spaces need none. No run is entered twice.
_SENTENCE_END = re.compile(r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]++[\"'”’»)\]]*+\s++|[。！？]++[」』”’）]*+\s*+")
_INITIAL = re.compile(r"(?:^|[\W_])[^\W\d_]$")
# A number that is no part of a name, as in "H2O" or "COVID-19".
_FIGURE = re.compile(r"(?<!\w)(?<![^\W\d_]-)\d|[%‰]|\bper ?cent\b", re.IGNORECASE)
_QUOTED = re.compile(r"“[^“”]+”|„[^„“”]+[“”]|«[^«»]+»|\"[^\"]+\"|‘(?:[^‘’]|’(?=\w))+’(?!\w)|「[^「」]+」|『[^『』]+』")


def measure(article: Article, outline: Outline, brief_words: int, source_ids: Sequence[str]) -> Measured:
    """The figures of an article. `brief_words` is at least 1. Linear in the text: under 150 ms for 20,000 words.

    Words are those of `count_words`, transitions included. Repetition and readability are those of running text: lists
    and transitions, but no headings and no code; repetition of tables too. Sequences are of words without case, in
    scripts without spaces of characters.

    A sentence ends at a mark with a space behind it, unless a small letter follows or a single letter stands before it
    ("J. Smith"); "Dr. Smith" is taken for two. The end of an item of a list ends one, and a row of a table is one. A
    claim is a sentence with a number in digits, a percentage or a quotation of three words or more, in a paragraph, a
    list or a table. It is uncited if its paragraph, its item or its table cites no source of the document; without
    sources none is, as nothing could be cited.

    A planned heading is taken up if it is the section's heading and the section has a text; a key point, if half of its
    words of four letters or more come back in the section's text, endings aside. So a point in quite other words is
    missed.

    `score` is a product: a text is as good as its faults leave it, and no virtue makes up for one. Its factors are

    - length: the smaller of words and target, divided by the larger. Half the length and twice the length are equally
      wrong; nothing written is worth nothing.
    - repetition: (1 - share) squared, as padding is felt before its share is: 3 % costs 6 %, a half three quarters.
    - uncited claims: 1 - 0.4 × their share of the claims. Many figures need no source, so this alone fails no text.
    - unknown citations: 0.95 for each in a section. An invented source is a fault whatever the length of the text.
    - uncited sources: 1 - 0.3 × their share of the sources. They were given to be used, but may have little to say.
    - coverage: 1 - 0.7 × what is missing of it. To compare words is rough, so this does not decide alone.
    """
    known = set(source_ids)
    texts = [_read(section) for section in article.sections]
    counted = [count_words(section.markdown) + count_words(section.transition) for section in article.sections]
    claims = [(unit.claims(), not known.isdisjoint(unit.cites)) for text in texts for unit in text.units]
    used = {id_ for text in texts for id_ in text.cites}
    figures = Measured(
        target_words=brief_words,
        words=sum(counted),
        length_error=_error(sum(counted), brief_words),
        repetition=_repetition(texts),
        readability=_readability(texts),
        claims=sum(count for count, _ in claims),
        uncited_claims=sum(count for count, is_cited in claims if known and not is_cited),
        heading_coverage=_coverage(article, outline, texts),
        section_lengths=_lengths(article, outline, counted),
        unknown_citations=tuple(
            UnknownCitation(section_id=section.id, cited=id_)
            for section, text in zip(article.sections, texts, strict=True)
            for id_ in text.cites
            if id_ not in known
        ),
        uncited_sources=tuple(id_ for id_ in dict.fromkeys(source_ids) if id_ not in used),
        score=0,
    )
    return figures.model_copy(update={"score": _score(figures, len(known))})


def overall(measured: Measured, rubric: Rubric | None) -> float:
    """The score of an article: the judge's mean and the figures' score by `JUDGE_WEIGHT`, or the latter alone."""
    if rubric is None:
        return round(measured.score, 4)
    return round(JUDGE_WEIGHT * rubric.score + (1 - JUDGE_WEIGHT) * measured.score, 4)


def references(
    sections: Sequence[ArticleSection], sources: Sequence[tuple[str, str]], before: Sequence[Reference] = ()
) -> tuple[Reference, ...]:
    """The reference list of sections: exactly the cited sources, by number. `sources` are ids and titles.

    A source keeps its number in `before`; the others are numbered in the order in which they are first cited, behind
    the highest number that `before` has.
    """
    titles = dict(sources)
    numbers = {reference.source_id: reference.number for reference in before}
    following = 1 + max(numbers.values(), default=0)
    found: list[Reference] = []
    for id_ in dict.fromkeys(id_ for section in sections for id_ in cited(section.markdown)):
        if id_ in titles:
            number = numbers.get(id_, following)
            following += number == following
            found.append(Reference(number=number, source_id=id_, title=titles[id_]))
    return tuple(sorted(found, key=lambda reference: reference.number))


@dataclass
class _Unit:
    """What one citation speaks for: a paragraph, an item of a list or a table."""

    is_table: bool = False
    lines: list[str] = field(default_factory=list)
    """Its paragraphs, or the rows below its head."""
    cites: list[str] = field(default_factory=list)

    def claims(self) -> int:
        """Sentences with a figure or a quotation."""
        return sum(_claims(line, [(0, len(line))] if self.is_table else list(_sentences(line))) for line in self.lines)


@dataclass
class _Text:
    """What is read of a section."""

    transition: str
    units: list[_Unit] = field(default_factory=list)
    cites: list[str] = field(default_factory=list)
    """Each id once, in order."""
    says_something: bool = False
    """Beside headings."""
    stems: set[str] = field(default_factory=set)


def _read(section: ArticleSection) -> _Text:
    text = _Text(one_line(section.transition))
    markdown = clean(section.markdown)
    # A word of four letters in a key point is found in a longer one.
    text.stems = {*terms(markdown), *terms(markdown, STEM - 1)}
    opened: list[_Unit] = []
    part = ""
    for token in parse(markdown):
        if token.type in ("list_item_open", "table_open"):
            opened.append(_Unit(is_table=token.type == "table_open"))
            text.units.append(opened[-1])
        elif token.type in ("list_item_close", "table_close"):
            opened.pop()
        elif token.type in ("heading_open", "paragraph_open", "thead_open", "tbody_open"):
            part = token.type
        elif token.type == "tr_open":
            opened[-1].lines.append("")
        elif token.type == "inline":
            text.says_something |= part != "heading_open" and any(map(str.isalnum, _plain(token)))
            _add(text, opened, part, token)
        elif token.type in ("fence", "code_block"):
            text.says_something |= any(map(str.isalnum, token.content))
    text.cites = list(dict.fromkeys(text.cites))
    return text


def _add(text: _Text, opened: list[_Unit], part: str, token: Token) -> None:
    """Add a line of Markdown to its unit; a paragraph that stands alone is one."""
    cites = [id_ for citation in citations(token) for id_ in citation.meta["ids"]]
    text.cites += cites
    if part == "heading_open":
        return
    if not opened:
        text.units.append(_Unit(lines=[_plain(token)], cites=cites))
        return
    unit = opened[-1]
    unit.cites += cites
    if part == "paragraph_open":
        unit.lines.append(_plain(token))
    elif part == "tbody_open":
        unit.lines[-1] += _plain(token) + " "


def _plain(line: Token) -> str:
    """A line as it is read, without its citations and pictures."""
    kinds = {"text": "", "code_inline": "", "softbreak": " ", "hardbreak": " "}
    return "".join(kinds[child.type] or child.content for child in line.children or () if child.type in kinds)


def _sentences(line: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a line begin and end."""
    start = 0
    for mark in _SENTENCE_END.finditer(line):
        at, end = mark.span()
        is_initial = line[at] == "." and _INITIAL.search(line[max(0, at - 2) : at])
        if end < len(line) and not line[end].islower() and not is_initial:
            yield start, end
            start = end
    yield start, len(line)


def _claims(line: str, sentences: Sequence[tuple[int, int]]) -> int:
    """How many of these sentences make a claim. A quotation of several sentences is one, of that which begins it."""
    starts = [start for start, _ in sentences]
    quoting = {
        bisect_right(starts, quoted.start()) - 1
        for quoted in _QUOTED.finditer(line)
        if len(words(quoted.group())) >= QUOTED_WORDS
    }
    return sum(
        number in quoting or _FIGURE.search(line, start, end) is not None
        for number, (start, end) in enumerate(sentences)
    )


def _error(count: int, target: int) -> float:
    return round((count - target) / target, 4)


def _lengths(article: Article, outline: Outline, counted: Sequence[int]) -> dict[str, float]:
    """The length error of each planned section; one that is missing is wholly too short."""
    lengths = {section.id: count for section, count in zip(article.sections, counted, strict=True)}
    return {plan.id: _error(lengths.get(plan.id, 0), plan.words) for plan in outline.sections}


def _repetition(texts: Sequence[_Text]) -> float:
    """Over the whole article, in reading order."""
    read = [
        word
        for text in texts
        for line in (text.transition, *(line for unit in text.units for line in unit.lines))
        for word in words(line)
    ]
    total = len(read) - SEQUENCE + 1
    different = len(set(zip(*(read[start:] for start in range(SEQUENCE)), strict=False)))
    return round(1 - different / total, 4) if total > 0 else 0.0


def _readability(texts: Sequence[_Text]) -> float | None:
    """LIX, or None of a text without words or in a script without spaces."""
    lines = [text.transition for text in texts]
    lines += [line for text in texts for unit in text.units if not unit.is_table for line in unit.lines]
    sentences = [found for line in lines for start, end in _sentences(line) if (found := words(line[start:end]))]
    read = [word for sentence in sentences for word in sentence]
    unspaced = sum(1 for word in read if _IS_UNSPACED.match(word))
    if not read or unspaced / len(read) > MOST_UNSPACED:
        return None
    long_words = sum(1 for word in read if len(word) > LONG_WORD)
    return round(len(read) / len(sentences) + 100 * long_words / len(read), 1)


def _coverage(article: Article, outline: Outline, texts: Sequence[_Text]) -> float:
    """Headings and key points count alike; a key point without a letter or digit does not count."""
    written = {section.id: (section, text) for section, text in zip(article.sections, texts, strict=True)}
    planned = taken = 0
    for plan in outline.sections:
        points = [point for point in map(_content, plan.key_points) if point]
        planned += 1 + len(points)
        section, text = written.get(plan.id, (None, None))
        if section is None or text is None or not text.says_something:
            continue
        taken += one_line(section.title).casefold() == one_line(plan.title).casefold()
        taken += sum(len(point & text.stems) >= TAKEN_UP * len(point) for point in points)
    return round(taken / planned, 4)


def _content(point: str) -> set[str]:
    """The words of a key point that say something; if it has short ones only, these."""
    found = terms(point)
    return {term for term in found if len(term) > SHORT_WORD or _IS_UNSPACED.match(term)} or set(found)


def _score(figures: Measured, sources: int) -> float:
    """See `measure`."""
    shorter, longer = sorted((figures.words, figures.target_words))
    factors = (
        shorter / longer,
        (1 - figures.repetition) ** REPETITION_POWER,
        1 - UNCITED_CLAIMS * figures.uncited_claims / max(figures.claims, 1),
        UNKNOWN_CITATION ** len(figures.unknown_citations),
        1 - UNCITED_SOURCES * len(figures.uncited_sources) / max(sources, 1),
        1 - COVERAGE * (1 - figures.heading_coverage),
    )
    return round(prod(factors), 4)
