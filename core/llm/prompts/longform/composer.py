"""What the simulator answers to the prompts of `longform`, made of the request's own words."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from core.contracts.longform import SectionAnswer
from core.llm.prompts.longform.adjustment import compose_adjustment
from core.llm.prompts.longform.judge import compose_judgement
from core.llm.prompts.longform.outline import compose_outline
from core.llm.prompts.longform.phrases import Bank, bank_for
from core.llm.prompts.longform.section import Citable, SectionBrief, write_section
from core.llm.prompts.longform.sentences import Sentences, count_words
from core.llm.prompts.longform.subject import (
    QUOTED_WORDS,
    clean,
    escape,
    quotable,
    read_subject,
    short_title,
    terms,
    uncapitalised,
)
from core.llm.prompts.longform.transitions import compose_transitions

_POINT_WORDS = 22
"""A longer key point is cut short where a sentence takes it up."""
_ATTEMPTS, _NEAR_ENOUGH = 8, 0.02
"""So often a section is written in other ways while it misses its words by more than this share."""
_TECHNICAL = re.compile(
    r"\b(?:api|apis|algorithms?|algorithm(?:us|en)|software|sql|python|rust|java(?:script)?|typescript|c\+\+|linux|"
    r"program(?:ming|mierung|mation|ación|mazione|ação)|code|coding|código|codice|databases?|datenbank(?:en)?|kubernetes|"
    r"docker|git|compilers?|machine learning)(?!\w)",
    re.IGNORECASE,
)


def compose_section(inputs: Mapping[str, Any], seed: str) -> SectionAnswer:
    """The Markdown of one section, about as long as asked, sharing no sentence with any other section.

    It cites every source that it is given, if it has a sentence for it, and no other.
    """
    return _compose(inputs, seed)


def compose_revision(inputs: Mapping[str, Any], seed: str) -> SectionAnswer:
    """The section anew: other sentences of its own share, in another form, with a point about the advice."""
    return _compose(inputs, seed, old=str(inputs["markdown"]), advice=str(inputs["advice"]))


COMPOSERS: dict[str, Callable[[Mapping[str, Any], str], BaseModel]] = {
    "decompose_topic": compose_outline,
    "draft_section": compose_section,
    "adjust_section": compose_adjustment,
    "revise_section": compose_revision,
    "write_transitions": compose_transitions,
    "judge_article": compose_judgement,
}
"""A prompt's name within this pipeline, to the function that answers it from inputs and a seed."""


def _compose(inputs: Mapping[str, Any], seed: str, *, old: str = "", advice: str = "") -> SectionAnswer:
    bank = bank_for(str(inputs["language"]))
    topic, section, number = str(inputs["topic"]), inputs["section"], int(inputs["number"])
    count = max(len(inputs["outline"]), number, 1)
    subject = read_subject(topic, bank)
    document = hashlib.sha256(f"{bank.language}\n{inputs['title']}\n{topic}".encode("utf-8", "replace")).hexdigest()
    points = [*_advised(advice, bank), *(_point(str(point), bank) for point in section["key_points"])]
    words = int(section["words"])

    def write(attempt: int) -> str:
        plan = SectionBrief(
            bank=bank,
            seed=f"{seed}/{attempt}",
            offset=int(document[:8], 16),
            number=number,
            first=number == 1,
            last=number == count,
            words=words,
            # Of a short section a long point takes so much that the rest cannot be filled: then it goes without.
            points=[escape(point) for point in points] if attempt < _ATTEMPTS // 2 else [],
            plain_points=points,
            technical=_TECHNICAL.search(topic) is not None,
            subject=escape(subject.phrase),
            sources=_citables(inputs["sources"], number, bank),
            turn=1 + int(seed[:8], 16) % 5 if old else 0,
        )
        slots = {"s": plan.subject}
        return write_section(plan, Sentences(bank, seed=document, rank=number - 1, count=count, slots=slots, avoid=old))

    best = write(0)
    for attempt in range(1, _ATTEMPTS):
        missed = abs(count_words(best) - words)
        if missed <= max(1, _NEAR_ENOUGH * words):
            break
        best = min(best, write(attempt), key=lambda text: abs(count_words(text) - words))
    return SectionAnswer(markdown=best)


def _citables(sources: Sequence[Mapping[str, Any]], number: int, bank: Bank) -> list[Citable]:
    """The sources as sentences name them: by a shortened title, and by a word that stands in the passage."""
    citables = []
    for source in sources:
        title = short_title(str(source["title"])) or str(source["id"])
        words = terms(str(source["text"]))[:8]
        term = bank.quoted(escape(words[number % len(words)])) if words else ""
        citables.append(Citable(id=str(source["id"]), title=bank.quoted(escape(title)), term=term))
    return citables


def _advised(advice: str, bank: Bank) -> list[str]:
    """Advice as a point of its own: a short remark as it is, of a long one its longest words."""
    remark = clean(advice)
    if len(remark.split()) <= QUOTED_WORDS:
        phrases = [quotable(remark)]
    else:
        phrases = sorted(terms(remark), key=len, reverse=True)[:2] or [quotable(remark)]
    patterns = bank.lines["keyword_points"]
    return [pattern.replace("{x}", bank.quoted(x)) for pattern, x in zip(patterns, phrases, strict=False) if x]


def _point(point: str, bank: Bank) -> str:
    """A key point as an indirect question. Ours are; a model's or a person's is put into quotation marks."""
    text = clean(point).rstrip(" .!?:;,…").replace("'", "’")
    words = text.split()
    short = 2 < len(words) <= _POINT_WORDS and len(text) <= 20 * _POINT_WORDS
    if short and words[0].casefold() in bank.questions:
        return uncapitalised(text)
    text = quotable(text, _POINT_WORDS)
    return bank.wrap.replace("{x}", bank.quoted(text or "…"))
