"""One simulated section: paragraphs around its key points, and now and then a list, a table, a quote or code."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from core.llm.prompts.longform.phrases import Bank
from core.llm.prompts.longform.sentences import Sentences, count_words
from core.llm.prompts.longform.subject import capitalised

_ABOUT_THE_SUBJECT = ("subject", "setting")
_REFLECTIONS = ("contrast", "reader", "reason", "question", "condition", "advice", "cause", "time", *_ABOUT_THE_SUBJECT)
_BLOCKS = ("quote", "bullets", "plain", "table", "numbers", "plain")
_WORDS_A_PARAGRAPH = 62
_WORDS_WITH_BLOCK = 130
"""A shorter section is all prose."""


@dataclass(frozen=True)
class SectionBrief:
    """What the writer of a section knows. `points` are indirect questions, escaped for Markdown; `plain_points` the
    same as plain text, for code; `seed` is the section's own, `offset` the document's."""

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
    bridge: bool


def write_section(plan: SectionBrief, sentences: Sentences) -> str:
    """The section's Markdown, about as many words as the plan asks for."""
    writer = _Writer(plan, sentences)
    block = writer.block()
    opening = [writer.once("hooks")] if plan.first else []
    closing = writer.closing()
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
        self._cycle = list(_REFLECTIONS)
        self._rng.shuffle(self._cycle)
        self._visits = dict.fromkeys(range(len(plan.points)), 0)

    def once(self, kind: str) -> str:
        """A line that a document holds at most once, or once a section with the next section's title in it."""
        lines = self._plan.bank.lines[kind]
        line = lines[(self._plan.number + self._plan.offset) % len(lines)]
        return self._sentences.fill(line)

    def closing(self) -> list[str]:
        """The last sentence of the document, or sometimes one that leads to the next section."""
        if self._plan.last:
            return [self.once("closers")]
        return [self.once("bridges")] if self._plan.bridge and self._rng.random() < 0.5 else []

    def paragraphs(self, words: int) -> list[list[str]]:
        """Paragraphs of uneven length, `words` in all to within a short sentence; each has a key point if any."""
        count = max(1, round(words / _WORDS_A_PARAGRAPH))
        weights = [self._rng.uniform(0.7, 1.3) for _ in range(count)]
        paragraphs: list[list[str]] = []
        written, due = 0, 0.0
        for index, weight in enumerate(weights):
            due += words * weight / sum(weights)
            last = index == count - 1
            paragraph = self._paragraph(index, count, round(words if last else due) - written, exact=last)
            written += count_words(" ".join(paragraph))
            paragraphs.append(paragraph)
        return paragraphs

    def _paragraph(self, index: int, count: int, words: int, *, exact: bool) -> list[str]:
        sentences: list[str] = []
        used: set[str] = set()
        left = words
        if (opener := self._opener(index, count)) and count_words(opener) <= words + 2:
            sentences.append(opener)
            left -= count_words(opener)
            used |= set(_ABOUT_THE_SUBJECT) if self._plan.subject in opener else set()
        while left > (2 if exact else 8):
            family = self._fitting(left, used) if exact and left < 36 else self._next(used, sentences)
            sentence = self._sentences.take(family) if family else None
            if sentence is None or family is None:
                break
            # The subject's full name once a paragraph: people do not repeat it in every sentence.
            used |= set(_ABOUT_THE_SUBJECT) if family in _ABOUT_THE_SUBJECT else {family}
            sentences.append(sentence)
            left -= count_words(sentence)
        if not sentences and exact and (sentence := self._sentences.take("short")):
            sentences.append(sentence)
        return sentences

    def _opener(self, index: int, count: int) -> str | None:
        """A key point's first sentence; where it has a second paragraph, another one that comes back to it."""
        if not self._plan.points:
            return None
        at = index * len(self._plan.points) // count
        self._visits[at] += 1
        point = self._plan.points[at]
        if self._visits[at] == 1:
            return self._sentences.take("point", point)
        # A long point is tiresome to read in full again.
        return self._sentences.take("return", point) if self._visits[at] == 2 and count_words(point) <= 9 else None

    def _next(self, used: set[str], sentences: list[str]) -> str | None:
        """The next kind of sentence in this section's own order, none twice in a paragraph while there are others."""
        if len(sentences) >= 2 and "short" not in used and self._rng.random() < 0.35 and self._sentences.peek("short"):
            return "short"
        opening = sentences[-1].split(" ", 1)[0] if sentences else ""
        for _ in range(len(self._cycle)):
            family = self._cycle.pop(0)
            self._cycle.append(family)
            sentence = self._sentences.peek(family)
            # Nor do two neighbours begin with the same word.
            if family not in used and sentence and sentence.split(" ", 1)[0] != opening:
                return family
        return next((family for family in (*self._cycle, "short") if self._sentences.peek(family)), None)

    def _fitting(self, left: int, used: set[str]) -> str | None:
        """The kind whose next sentence comes closest to what is left, or leaves room for another."""
        best: tuple[float, str] | None = None
        for family in (*self._cycle, "short"):
            sentence = self._sentences.peek(family)
            if sentence is None:
                continue
            rest = left - count_words(sentence)
            # Twelve words or more are room for one more sentence; an overshoot is worse than a gap.
            badness = 3.0 if rest >= 12 else rest if rest >= 0 else -1.5 * rest
            badness += 3 if family in used else 0
            if best is None or badness < best[0]:
                best = badness, family
        return best[1] if best and best[0] < max(left, 6) else None

    def block(self) -> list[str]:
        """The section's list, table, quote or code with its lead-in; empty for a section of prose."""
        kind = _BLOCKS[(self._plan.number + self._plan.offset) % len(_BLOCKS)]
        if self._plan.words < _WORDS_WITH_BLOCK or kind == "plain":
            return []
        if kind == "quote":
            maxim = self._sentences.take("maxim")
            return [f"> {maxim}"] if maxim else []
        if kind == "table":
            return self._code() if self._plan.technical else self._table()
        steps = [step for _ in range(3) if (step := self._sentences.take("step"))]
        items = [f"{n}. {step}" if kind == "numbers" else f"- {step}" for n, step in enumerate(steps, start=1)]
        return self._led(kind, "\n".join(items)) if items else []

    def _table(self) -> list[str]:
        head = self._sentences.take_pair("head")
        rows = [(capitalised(point), self._sentences.take("step")) for point in self._plan.points[:4]]
        if len(rows) < 2:
            return []
        lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
        lines += [f"| {point} | {step.removesuffix('.')} |" for point, step in rows if step]
        return self._led("tables", "\n".join(lines))

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
        return self._led("code", "\n".join(["```text", *lines, "```"]))

    def _led(self, kind: str, block: str) -> list[str]:
        lead = self._sentences.take(kind)
        return [lead, block] if lead else []
