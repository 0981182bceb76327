"""What the simulator answers when it is asked for the sentences between sections."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from core.contracts.longform import TransitionAnswer, TransitionsAnswer
from core.llm.prompts.longform.phrases import Bank, bank_for
from core.llm.prompts.longform.sentences import Sentences, count_words
from core.llm.prompts.longform.subject import quotable

_TITLE_WORDS = (12, 7, 4)
"""Of a title inside a sentence, as far as the sentence's length allows."""
_APART = 20
"""Sections with so many others between them may get a sentence of the same build, about their own titles."""
_USUAL, _ALL = 5, 45
"""Choices of a section without a connector before them, and all."""
_NEAR_ENOUGH = 4


def compose_transitions(inputs: Mapping[str, Any], seed: str) -> TransitionsAnswer:
    """A plain sentence for each section, about as long as asked, none twice. It rests on the titles and on the
    section's number, so that it is the same whatever other sentences are asked for."""
    bank = bank_for(str(inputs["language"]))
    document = hashlib.sha256(f"{bank.language}\n{inputs['title']}".encode("utf-8", "replace")).hexdigest()
    said: dict[str, int] = {}
    for entry in inputs["sections"]:
        number, words = int(entry["number"]), int(inputs["words"])
        titles = str(entry["previous_title"]), str(entry["title"])
        said[_sentence(bank, document, number, titles, words, said)] = number
    return TransitionsAnswer(
        transitions=tuple(TransitionAnswer(number=number, text=text) for text, number in said.items())
    )


def _sentence(
    bank: Bank, document: str, number: int, titles: tuple[str, str], words: int, said: Collection[str]
) -> str:
    """The nearest in length of the section's first choices if it is near enough, or else of all."""

    def choices(many: int, most: int) -> list[str]:
        slots = {slot: bank.quoted(quotable(title, most) or "…") for slot, title in zip("ut", titles, strict=True)}
        sentences = Sentences(bank, seed=document, rank=(number - 1) % _APART, count=_APART, slots=slots)
        found = [one.text for one in sentences.ahead("transition", many) if one.text not in said]
        return sorted(found, key=lambda text: abs(count_words(text) - words))

    nearest = [text for most in _TITLE_WORDS for text in choices(_USUAL, most)[:1]]
    near = [text for text in nearest if abs(count_words(text) - words) <= _NEAR_ENOUGH]
    everything = nearest + [text for most in _TITLE_WORDS for text in choices(_ALL, most)]
    return near[0] if near else min(everything, key=lambda text: abs(count_words(text) - words))
