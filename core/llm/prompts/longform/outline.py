"""What the simulator answers when it is asked for an outline."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from core.contracts.longform import OutlineAnswer, SectionIdea
from core.contracts.outlines import share_out
from core.llm.prompts.longform.phrases import Angle, Bank, bank_for
from core.llm.prompts.longform.sentences import count_words
from core.llm.prompts.longform.subject import (
    QUOTED_WORDS,
    Subject,
    capitalised,
    clean,
    quotable,
    read_subject,
    short_title,
    terms,
    title_case,
)

_OPENINGS = 3
"""So many of a bank's first angles can open a document; as many of its last can end it."""
_WORDS_A_POINT = 60
_MOST_POINTS_ON_SOURCES = 2
_ROOM_FOR_MORE = 150
"""Words from which on a section can draw on more than its own source."""
_SHARES = (0.85, 1.15)


def compose_outline(inputs: Mapping[str, Any], seed: str) -> OutlineAnswer:
    """An outline of `section_count` sections (1 to 40), no two alike, in which each source has a section.

    Asked again, it looks at the subject from other angles, and a key point takes up what the person said.
    """
    bank = bank_for(str(inputs["language"]))
    subject = read_subject(str(inputs["topic"]), bank)
    rng = random.Random(seed)
    count = max(1, min(len(bank.angles), int(inputs["section_count"])))
    before = {_bare(str(entry["title"])) for entry in inputs["previous"]}
    angles = _angles(bank, subject, count, before, rng)
    words = share_out(max(count, int(inputs["words"])), [rng.uniform(*_SHARES) for _ in angles])
    sources = _homes([(str(s["id"]), str(s["title"]), str(s["priority"])) for s in inputs["sources"]], words)
    wishes = _wishes(str(inputs["instructions"]))
    ideas = []
    for index, angle in enumerate(angles):
        taken_up = [wishes[index]] if index < len(wishes) else []
        taken_up += [title for _, title, home in sources[index] if home][:_MOST_POINTS_ON_SOURCES]
        ideas.append(
            SectionIdea(
                **_idea(bank, subject, angle, index, before, rng),
                key_points=_points(bank, subject, angle, index, words[index], taken_up),
                words=words[index],
                sources=tuple(id_ for id_, _, _ in sources[index]),
            )
        )
    return OutlineAnswer(
        title=_document_title(rng.choice(bank.lines["titles"]), subject, bank),
        thesis=capitalised(rng.choice(bank.lines["theses"]).replace("{s}", subject.phrase)),
        sections=tuple(ideas),
    )


def _angles(bank: Bank, subject: Subject, count: int, before: set[str], rng: random.Random) -> list[Angle]:
    """`count` different angles in the bank's order: from what it is, by way of practice, to what comes next. Those of
    an earlier outline come last."""

    def fresh(angles: Sequence[Angle]) -> list[Angle]:
        return [angle for angle in angles if before.isdisjoint(map(_bare, _titles(bank, subject, angle)))]

    if not before:
        first, last = bank.angles[0], bank.angles[-1]
    else:
        first = next(iter(fresh(bank.angles[:_OPENINGS])), bank.angles[0])
        last = next(iter(fresh(bank.angles[: -_OPENINGS - 1 : -1])), bank.angles[-1])
    if count == 1:
        return [first]
    between = [angle for angle in bank.angles if angle not in (first, last)]
    unused = fresh(between)
    ranks = [
        [angle for angle in between if angle.core and angle in unused],
        [angle for angle in between if not angle.core and angle in unused],
        [angle for angle in between if angle not in unused],
    ]
    chosen: list[Angle] = []
    for rank in ranks:
        chosen += rng.sample(rank, min(count - 2 - len(chosen), len(rank)))
    return [first, *sorted(chosen, key=between.index), last]


def _titles(bank: Bank, subject: Subject, angle: Angle) -> list[str]:
    """The titles a section of this angle can have, the one with the subject in it last."""
    titles = [angle.title]
    if angle.named and subject.short and count_words(named := angle.named.replace("{s}", subject.phrase)) <= 9:
        titles.append(named)
    return [title_case(title) if bank.language == "en" else capitalised(title) for title in titles]


def _idea(
    bank: Bank, subject: Subject, angle: Angle, index: int, before: set[str], rng: random.Random
) -> dict[str, str]:
    """Title and purpose of a section."""
    title, *named = _titles(bank, subject, angle)
    # A subject in quotation marks is heavy in a heading: once is enough for those.
    if named and (_bare(title) in before or (index % 3 == 1 if subject.inline else index == 0)):
        title = named[0] if _bare(named[0]) not in before else title
    a, b = (point.replace("{s}", subject.phrase) for point in angle.points[:2])
    return {"title": title, "purpose": rng.choice(bank.lines["purposes"]).replace("{a}", a).replace("{b}", b)}


def _points(
    bank: Bank, subject: Subject, angle: Angle, index: int, words: int, taken_up: Sequence[str]
) -> tuple[str, ...]:
    """The angle's own points, as many as there is room for, and one for each phrase that is to be taken up."""
    points = [point.replace("{s}", subject.phrase) for point in angle.points[: max(2, words // _WORDS_A_POINT)]]
    phrases = list(taken_up) or list(subject.keywords[index : index + 1])
    patterns = bank.lines["keyword_points"]
    for at, phrase in enumerate(phrases):
        pattern = patterns[(index + at) % len(patterns)]
        points.append(pattern.replace("{x}", bank.quoted(phrase)))
    return tuple(map(capitalised, points))


def _homes(sources: Sequence[tuple[str, str, str]], words: Sequence[int]) -> list[list[tuple[str, str, bool]]]:
    """The sources of each section: id, title, and whether it is the section that is written about it.

    Each source has such a section; where one would have none, the sources that are not of low priority come in turn,
    and those of high priority in every other section that has room for another.
    """
    count = len(words)
    sections: list[list[tuple[str, str, bool]]] = [[] for _ in range(count)]
    for at, (id_, title, _) in enumerate(sources):
        home = at * count // len(sources) if len(sources) < count else at % count
        sections[home].append((id_, short_title(title) or id_, True))
    usual = [source for source in sources if source[2] != "low"] or list(sources)
    high = [source for source in sources if source[2] == "high"]
    for index, section in enumerate(sections):
        if not section and usual:
            id_, title, _ = usual[index % len(usual)]
            section.append((id_, title, False))
        roomy = index % 2 == 0 and words[index] >= _ROOM_FOR_MORE
        more = [source for source in high if roomy and source[0] not in {id_ for id_, _, _ in section}]
        section += [(id_, title, False) for id_, title, _ in more]
    return sections


def _wishes(instructions: str) -> list[str]:
    """What a person asks for, as phrases that can stand in a key point: a short remark, or words of a long one."""
    remark = clean(instructions)
    if len(remark.split()) <= QUOTED_WORDS:
        return [phrase] if (phrase := quotable(remark)) else []
    return sorted(terms(remark), key=len, reverse=True)[:3] or [quotable(remark)]


def _bare(title: str) -> str:
    return clean(title).casefold()


def _document_title(pattern: str, subject: Subject, bank: Bank) -> str:
    if subject.title.endswith(("?", "…", "？", "؟")):
        # A question mark and a colon do not stand side by side.
        rest = pattern.replace("{r}", "").lstrip(" \u00a0:")
        return f"{subject.title} {capitalised(rest)}"
    return pattern.replace("{r}", subject.title)
