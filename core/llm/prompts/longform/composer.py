"""What the simulator answers to the prompts of `longform`: an outline and sections, out of the request's own words."""

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from core.contracts.longform import MAX_SECTIONS, OutlineAnswer, SectionAnswer, SectionIdea
from core.llm.prompts.longform.phrases import Angle, Bank, bank_for
from core.llm.prompts.longform.section import SectionBrief, write_section
from core.llm.prompts.longform.sentences import Sentences, count_words
from core.llm.prompts.longform.subject import (
    Subject,
    capitalised,
    clean,
    escape,
    read_subject,
    title_case,
    uncapitalised,
)

_POINT_WORDS = 22
"""A longer key point is cut short where a sentence takes it up."""
_TECHNICAL = re.compile(
    r"\b(?:api|apis|algorithms?|algorithm(?:us|en)|software|sql|python|rust|java(?:script)?|typescript|c\+\+|linux|"
    r"program(?:ming|mierung|mation|ación|mazione|ação)|code|coding|código|codice|databases?|datenbank(?:en)?|kubernetes|"
    r"docker|git|compilers?|machine learning)(?!\w)",
    re.IGNORECASE,
)


def compose_outline(inputs: Mapping[str, Any], seed: str) -> OutlineAnswer:
    """An outline of exactly `section_count` sections (1 to 40), no two of them alike."""
    bank = bank_for(str(inputs["language"]))
    subject = read_subject(str(inputs["topic"]), bank)
    rng = random.Random(seed)
    count = max(1, min(MAX_SECTIONS, int(inputs["section_count"])))
    angles = _angles(bank, count, rng)
    return OutlineAnswer(
        title=_document_title(rng.choice(bank.lines["titles"]), subject, bank),
        thesis=capitalised(rng.choice(bank.lines["theses"]).replace("{s}", subject.phrase)),
        sections=tuple(_idea(bank, subject, angle, index, rng) for index, angle in enumerate(angles)),
    )


def compose_section(inputs: Mapping[str, Any], seed: str) -> SectionAnswer:
    """The Markdown of one section, within ten per cent of its words, sharing no sentence with any other section."""
    bank = bank_for(str(inputs["language"]))
    topic, section, number = str(inputs["topic"]), inputs["section"], int(inputs["number"])
    outline = [dict(entry) for entry in inputs["outline"]]
    count = max(len(outline), number, 1)
    subject = read_subject(topic, bank)
    document = hashlib.sha256(f"{bank.language}\n{inputs['title']}\n{topic}".encode("utf-8", "replace")).hexdigest()
    titles = [clean(str(entry["title"])) for entry in outline]
    following = titles[number] if number < len(titles) else ""
    points = [_point(str(point), bank) for point in section["key_points"]]
    phrase = escape(subject.phrase)
    plan = SectionBrief(
        bank=bank,
        seed=seed,
        offset=int(document[:8], 16),
        number=number,
        first=number == 1,
        last=number == count,
        words=int(section["words"]),
        points=[escape(point) for point in points],
        plain_points=points,
        technical=_TECHNICAL.search(topic) is not None,
        subject=phrase,
        bridge=bool(following) and titles.count(following) == 1,
    )
    slots = {"s": phrase, "t": escape(bank.quoted(following))}
    sentences = Sentences(bank, seed=document, rank=number - 1, count=count, slots=slots)
    return SectionAnswer(markdown=write_section(plan, sentences))


COMPOSERS: dict[str, Callable[[Mapping[str, Any], str], BaseModel]] = {
    "decompose_topic": compose_outline,
    "draft_section": compose_section,
}
"""A prompt's name within this pipeline, to the function that answers it from inputs and a seed."""


def _angles(bank: Bank, count: int, rng: random.Random) -> list[Angle]:
    """`count` different angles in the bank's order: from what it is, by way of practice, to what comes next."""
    first, *between, last = bank.angles
    if count == 1:
        return [first]
    core = [angle for angle in between if angle.core]
    rest = [angle for angle in between if not angle.core]
    wanted = count - 2
    chosen = rng.sample(core, min(wanted, len(core)))
    chosen += rng.sample(rest, min(wanted - len(chosen), len(rest)))
    return [first, *sorted(chosen, key=between.index), last]


def _idea(bank: Bank, subject: Subject, angle: Angle, index: int, rng: random.Random) -> SectionIdea:
    title = angle.title
    # A subject in quotation marks is heavy in a heading: once is enough for those.
    if angle.named and subject.short and (index % 3 == 1 if subject.inline else index == 0):
        named = angle.named.replace("{s}", subject.phrase)
        title = named if count_words(named) <= 9 else title
    points = [point.replace("{s}", subject.phrase) for point in angle.points]
    if index < len(subject.keywords):
        patterns = bank.lines["keyword_points"]
        keyword = bank.quoted(subject.keywords[index])
        points.append(patterns[index % len(patterns)].replace("{x}", keyword))
    purpose = rng.choice(bank.lines["purposes"]).replace("{a}", points[0]).replace("{b}", points[1])
    return SectionIdea(
        title=title_case(title) if bank.language == "en" else capitalised(title),
        purpose=purpose,
        key_points=tuple(capitalised(point) for point in points),
    )


def _document_title(pattern: str, subject: Subject, bank: Bank) -> str:
    if subject.title.endswith(("?", "…", "？", "؟")):
        # A question mark and a colon do not stand side by side.
        rest = pattern.replace("{r}", "").lstrip(" \u00a0:")
        return f"{subject.title} {capitalised(rest)}"
    return pattern.replace("{r}", subject.title)


def _point(point: str, bank: Bank) -> str:
    """A key point as an indirect question. Ours are; a model's or a person's is put into quotation marks."""
    text = clean(point).rstrip(" .!?:;,…").replace("'", "’")
    words = text.split()
    if len(words) <= _POINT_WORDS and len(text) <= 20 * _POINT_WORDS and words:
        if words[0].casefold() in bank.questions and len(words) > 2:
            return uncapitalised(text)
    elif words:
        text = " ".join(words[:_POINT_WORDS])[: 20 * _POINT_WORDS].rstrip(" ,;:") + "…"
    return bank.wrap.replace("{x}", bank.quoted(text or "…"))
