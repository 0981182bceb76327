"""Filling a given room with sentences of different kinds, to the word where that is possible."""

import random
from collections.abc import Iterable, Sequence

from core.llm.prompts.longform.sentences import Found, Sentences, count_words

ABOUT_THE_SUBJECT = ("subject", "setting")
REFLECTIONS = ("contrast", "reader", "reason", "question", "condition", "advice", "cause", "time")
ROOM_FOR_TWO = 36
"""Words: what one sentence or two can fill exactly. With more left, another sentence is set first."""
_AHEAD = 4
_REPEATS = 0.7
"""What a kind of sentence that the paragraph has already costs, in words of length missed."""


class Filler:
    """Chooses what comes next from a section's share of sentences. `families` are the kinds it may use."""

    def __init__(self, sentences: Sentences, rng: random.Random, families: Sequence[str]) -> None:
        self._sentences = sentences
        self._rng = rng
        self._cycle = list(families)
        rng.shuffle(self._cycle)

    def next(self, used: set[str], before: str) -> str | None:
        """The next sentence in this section's own order of kinds, none twice in a paragraph while there are others.

        `used` are the paragraph's kinds so far, and gets one more; `before` is the sentence that stands before.
        """
        if used.issuperset(self._cycle):
            used.clear()
        family = self._next_family(used, before)
        if family is None:
            return None
        used |= kinds(family)
        return self._sentences.take(family)

    def _next_family(self, used: set[str], before: str) -> str | None:
        if len(used) >= 2 and "short" not in used and self._rng.random() < 0.35 and self._sentences.peek("short"):
            return "short"
        for _ in range(len(self._cycle)):
            family = self._cycle.pop(0)
            self._cycle.append(family)
            sentence = self._sentences.peek(family)
            # Nor do two neighbours begin with the same word.
            if family not in used and sentence and _first_word(sentence) != _first_word(before):
                return family
        return next((family for family in (*self._cycle, "short") if self._sentences.peek(family)), None)

    def finish(self, room: int, used: set[str], before: str) -> list[str]:
        """The sentence, or the two, that come nearest to the room; none if that is nearer still."""
        found = [one for family in (*self._cycle, "short") for one in self._sentences.ahead(family, _AHEAD)]
        measured = [
            (one, one.words, _first_word(one.text), _REPEATS * (one.family in used or one.family == "short"))
            for one in found
        ]
        best, least = tuple[Found, ...](), float(room)
        start = _first_word(before)
        for one, words, first, cost in measured:
            cost += _REPEATS * (first == start)
            if (missed := abs(room - words) + cost) < least:
                best, least = (one,), missed
            for other, more, second, price in measured:
                if other.family == one.family or abs(room - words - more) >= least:
                    continue
                missed = abs(room - words - more) + cost + price + _REPEATS * (first == second)
                if missed < least:
                    best, least = (one, other), missed
        return [self._sentences.use(one) for one in best]

    def fill(self, room: int, used: set[str], said: Iterable[str] = ()) -> list[str]:
        """Sentences for the whole room, after those that were said in the paragraph before."""
        before, *_ = [*list(said)[-1:], ""]
        sentences: list[str] = []
        while room > ROOM_FOR_TWO and (sentence := self.next(used, before)):
            sentences.append(sentence)
            room -= count_words(sentence)
            before = sentence
        return sentences + self.finish(room, used, before)


def kinds(family: str) -> set[str]:
    """What counts as the same kind: the subject's full name comes once a paragraph, as people do not repeat it in
    every sentence."""
    return set(ABOUT_THE_SUBJECT) if family in ABOUT_THE_SUBJECT else {family}


def _first_word(sentence: str) -> str:
    return sentence.split(" ", 1)[0]
