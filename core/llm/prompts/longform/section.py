"""One simulated section: paragraphs around its key points, citations, and now and then a list, table, quote or code."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from core.llm.prompts.longform.citations import cite
from core.llm.prompts.longform.filling import ABOUT_THE_SUBJECT, REFLECTIONS, Filler, kinds
from core.llm.prompts.longform.phrases import Bank
from core.llm.prompts.longform.sentences import Sentences, count_words, plain
from core.llm.prompts.longform.subject import capitalised

_BLOCKS = ("quote", "bullets", "plain", "table", "numbers", "plain")
_WORDS_A_PARAGRAPH = 62
_WORDS_WITH_BLOCK = 130
"""A shorter section is all prose."""
_MOST_IN_SOURCES = 0.4
"""Of a section's words, those of sentences that name a source; what is left is cited behind other sentences."""
_MOST_IN_A_GROUP = 4
_ROOM_BETWEEN = 8
"""Words that a paragraph may leave to the next one."""


@dataclass(frozen=True)
class Citable:
    """A source to cite: its title and a word of it, in quotation marks and escaped. `term` may be empty."""

    id: str
    title: str
    term: str


@dataclass(frozen=True)
class SectionBrief:
    """What the writer of a section knows. `points` are indirect questions, escaped for Markdown; `plain_points` the
    same as plain text, for code; `seed` is the section's own, `offset` the document's. `turn` changes the section's
    form from one writing to another."""

    bank: Bank
    seed: str
    offset: int
    number: int
    first: bool
    last: bool
    words: int
    points: Sequence[str]
    plain_points: Sequence[str]
    technical: bool
    subject: str
    sources: Sequence[Citable] = ()
    turn: int = 0


def write_section(plan: SectionBrief, sentences: Sentences) -> str:
    """The section's Markdown, about as many words as the plan asks for."""
    writer = _Writer(plan, sentences)
    block = writer.block()
    opening = [writer.once("hooks")] if plan.first else []
    closing = [writer.once("closers")] if plan.last else []
    reserved = count_words("\n".join([*block, *opening, *closing]))
    if reserved > plan.words / 2:
        block, opening, closing, reserved = [], [], [], 0
    paragraphs = writer.paragraphs(plan.words - reserved)
    paragraphs[0] = [*opening, *paragraphs[0]]
    paragraphs[-1] = [*paragraphs[-1], *closing]
    texts = [" ".join(paragraph) for paragraph in paragraphs if paragraph]
    if block:
        # After the first half, but before the last paragraph, which may close the section.
        texts[max(1, len(texts) // 2) : max(1, len(texts) // 2)] = block
    return "\n\n".join(texts) + "\n"


class _Writer:
    def __init__(self, plan: SectionBrief, sentences: Sentences) -> None:
        self._plan = plan
        self._sentences = sentences
        self._rng = random.Random(plan.seed)
        self._filler = Filler(sentences, self._rng, (*REFLECTIONS, *ABOUT_THE_SUBJECT))
        self._visits = dict.fromkeys(range(len(plan.points)), 0)

    def once(self, kind: str) -> str:
        """A line that a document holds once, and another one when its section is written anew."""
        lines = self._plan.bank.lines[kind]
        at = (self._plan.number + self._plan.offset) % len(lines)
        filled = [self._sentences.fill(line) for line in (*lines[at:], *lines[:at])]
        return next((line for line in filled if not self._sentences.stale(line)), filled[0])

    def paragraphs(self, words: int) -> list[list[str]]:
        """Paragraphs of uneven length, `words` in all to within a short sentence; each has a key point if any."""
        count = max(1, round(words / _WORDS_A_PARAGRAPH))
        named, behind = self._citing(count, words)
        weights = [self._rng.uniform(0.7, 1.3) for _ in range(count)]
        paragraphs: list[list[str]] = []
        left = words
        for index, weight in enumerate(weights):
            room = round(left * weight / sum(weights[index:]))
            paragraph = self._paragraph(index, count, room, named[index], exact=index == count - 1)
            left -= count_words(" ".join(paragraph))
            paragraphs.append(paragraph)
        _cite_behind(paragraphs, behind)
        return paragraphs

    def _citing(self, count: int, words: int) -> tuple[list[list[str]], list[str]]:
        """Sentences that name the sources, by paragraph, and the ids for which there is no such sentence."""
        sources = self._plan.sources
        named: list[list[str]] = [[] for _ in range(count)]
        # In a long section each source comes back in every third paragraph or so.
        wanted = max(len(sources), round(count / 3)) if sources else 0
        behind: list[str] = []
        left = _MOST_IN_SOURCES * words
        for n in range(wanted):
            source = sources[n % len(sources)]
            family = "term" if source.term and n % 3 < 2 else "cite"
            found = self._sentences.ahead(family, 1, x=source.title, k=source.term)
            if found and found[0].words <= left:
                left -= found[0].words
                named[n * count // wanted].append(cite(self._sentences.use(found[0]), [source.id]))
            elif n < len(sources):
                behind.append(source.id)
        return named, behind

    def _paragraph(self, index: int, count: int, words: int, named: list[str], *, exact: bool) -> list[str]:
        sentences: list[str] = []
        used: set[str] = set()
        if opener := self._opener(index, count, words):
            # Whoever names a source cites it.
            named_here = [source.id for source in self._plan.sources if source.title in opener]
            sentences.append(cite(opener, named_here) if named_here else opener)
            used |= kinds("subject") if self._plan.subject in opener else set()
        sentences += named
        left = words - count_words(" ".join(sentences))
        if exact:
            return sentences + self._filler.fill(left, used, sentences)
        while left > _ROOM_BETWEEN and (sentence := self._filler.next(used, sentences[-1] if sentences else "")):
            sentences.append(sentence)
            left -= count_words(sentence)
        return sentences

    def _opener(self, index: int, count: int, words: int) -> str | None:
        """A key point's first sentence; where it has a second paragraph, another one that comes back to it."""
        if not self._plan.points:
            return None
        at = index * len(self._plan.points) // count
        point = self._plan.points[at]
        # A long point is tiresome to read in full again.
        family = "point" if not self._visits[at] else "return" if count_words(point) <= 9 else None
        self._visits[at] += 1
        if family is None or self._visits[at] > 2:
            return None
        found = self._sentences.ahead(family, 1, p=point)
        return self._sentences.use(found[0]) if found and found[0].words <= words else None

    def block(self) -> list[str]:
        """The section's list, table, quote or code with its lead-in; empty for a section of prose."""
        plan = self._plan
        kind = _BLOCKS[(plan.number + plan.offset + plan.turn) % len(_BLOCKS)]
        if plan.words < _WORDS_WITH_BLOCK or kind == "plain":
            return []
        if kind == "quote":
            maxim = self._sentences.take("maxim")
            return [f"> {maxim}"] if maxim else []
        if kind == "table":
            return self._code() if plan.technical else self._table()
        steps = [step for _ in range(3) if (step := self._sentences.take("step"))]
        items = [f"{n}. {step}" if kind == "numbers" else f"- {step}" for n, step in enumerate(steps, start=1)]
        return self._led(kind, items)

    def _table(self) -> list[str]:
        points = self._plan.points[:4]
        head = self._sentences.take_head() if len(points) > 1 else None
        if head is None:
            return []
        rows = [(capitalised(point), step) for point in points if (step := self._sentences.take("step"))]
        lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
        return self._led("tables", lines + [f"| {point} | {step.removesuffix('.')} |" for point, step in rows])

    def _code(self) -> list[str]:
        # Fenced text knows no escapes, so it holds no text that could end the fence.
        points = [point for point in self._plan.plain_points if "`" not in point]
        if not points:
            return self._table()
        labels = self._plan.bank.code_labels
        steps = [step for _ in labels[1:] if (step := self._sentences.take("step"))]
        width = max(map(len, labels))
        values = [capitalised(points[0]), *(step.removesuffix(".") for step in steps)]
        lines = [f"{label.ljust(width)} : {value}" for label, value in zip(labels, values, strict=False)]
        return self._led("code", ["```text", *lines, "```"])

    def _led(self, kind: str, lines: list[str]) -> list[str]:
        """The block behind its lead-in, unless a line of it stands in the text that is written anew."""
        said = [line for line in lines if any(map(str.isalnum, plain(line))) and line != "```text"]
        if not said or any(self._sentences.stale(line) for line in said):
            return []
        lead = self._sentences.take(kind)
        return [lead, "\n".join(lines)] if lead else []


def _cite_behind(paragraphs: list[list[str]], ids: Sequence[str]) -> None:
    """Cite sources behind sentences that say something else: as few to a sentence as their number allows."""
    places = [
        (paragraph, at)
        for paragraph in paragraphs
        for at, sentence in enumerate(paragraph)
        if sentence.endswith(".") and "[@" not in sentence
    ]
    groups = min(len(places), len(ids))
    for group in range(groups):
        paragraph, at = places[(group + 1) * len(places) // groups - 1]
        chosen = ids[group * len(ids) // groups : (group + 1) * len(ids) // groups]
        paragraph[at] = cite(paragraph[at], chosen[:_MOST_IN_A_GROUP])
