"""What the simulator answers when it is asked to judge an article: scores of what was measured and what it counts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.contracts.longform import JudgeAnswer, JudgedCriterion, JudgedSection
from core.llm.prompts.longform.blocks import read_blocks
from core.llm.prompts.longform.citations import cited_ids
from core.llm.prompts.longform.phrases import Bank, bank_for
from core.llm.prompts.longform.sentences import count_words, plain
from core.llm.prompts.longform.subject import clean, escape, short_title

_GOOD, _FAIR = 9, 8
"""Of 10: what a text without a fault gets where that can be measured, and where it can hardly be."""
_LENGTH_FORGIVEN = 0.05
_POINTS_A_LENGTH, _MOST_FOR_LENGTH = 20, 6
"""A text that misses its length by 5 % more loses one point."""
_HARD = 60
"""LIX: what is above it is hard to read (Björnsson 1968)."""
_SHORT_SENTENCE = 4
"""Words: shorter sentences may come twice."""
_TAKEN_UP = 0.5
"""Of a key point's longer words, those that its section has to hold."""
_EMPTY = -0.5
"""A section that misses this much of its budget does not count as written."""


@dataclass(frozen=True)
class _Section:
    """What is found in one section. `gaps` are places that name a source, or should, and do not cite it."""

    number: int
    error: float
    points: int
    untaken: tuple[str, ...]
    cited: tuple[str, ...]
    gaps: int
    sentences: tuple[str, ...]
    words: int


def compose_judgement(inputs: Mapping[str, Any], seed: str) -> JudgeAnswer:
    """Scores that any fault lowers: a section, a point or a citation that is missing, what comes twice, a length that
    is missed. An article without one gets between 0.8 and 0.95 of the points."""
    bank = bank_for(str(inputs["language"]))
    figures: Mapping[str, Any] = inputs["figures"]
    sources = {
        str(source["id"]): bank.quoted(escape(short_title(str(source["title"])))) for source in inputs["sources"]
    }
    plans = {int(entry["number"]): entry for entry in inputs["outline"]}
    sections = [_read(entry, plans, sources, figures) for entry in inputs["sections"]]
    said = Counter(sentence for section in sections for sentence in section.sentences)
    return JudgeAnswer(
        coherence=_coherence(bank, sections, said, figures),
        coverage=_coverage(bank, sections, plans, figures),
        style=_style(bank, figures),
        support=_support(bank, sections, sources, figures),
        sections=tuple(_section(bank, section, said, bool(sources)) for section in sections),
    )


def _read(
    entry: Mapping[str, Any],
    plans: Mapping[int, Mapping[str, Any]],
    sources: Mapping[str, str],
    figures: Mapping[str, Any],
) -> _Section:
    number, markdown = int(entry["number"]), str(entry["markdown"])
    said = [sentence for block in read_blocks(markdown) for sentence in block.said]
    points = [str(point) for point in plans.get(number, {}).get("key_points", ())]
    cited = cited_ids(markdown)
    text = plain(markdown)
    gaps = sum(
        name in sentence and id_ not in cited_ids(sentence) for sentence in said for id_, name in sources.items()
    )
    gaps += sum(name in escape(point) and id_ not in cited for point in points for id_, name in sources.items())
    return _Section(
        number=number,
        error=float(figures["section_lengths"].get(str(number), 0.0)),
        points=len(points),
        untaken=tuple(point for point in points if not _takes_up(text, point)),
        cited=tuple(cited),
        gaps=gaps,
        sentences=tuple(plain(sentence) for sentence in said if count_words(sentence) >= _SHORT_SENTENCE),
        words=count_words(markdown),
    )


def _takes_up(text: str, point: str) -> bool:
    """Whether a text holds enough of a point's longer words, or of all if there are none, in whatever form."""
    words = plain(escape(clean(point).replace("'", "’"))).split()
    stems = [word.strip("“”„«»,.?!")[:6] for word in words]
    wanted = [stem for stem in stems if len(stem) > 4] or [stem for stem in stems if stem]
    return not wanted or sum(stem in text for stem in wanted) >= _TAKEN_UP * len(wanted)


def _coherence(
    bank: Bank, sections: Sequence[_Section], said: Counter[str], figures: Mapping[str, Any]
) -> JudgedCriterion:
    score, reasons = _GOOD, []
    if twice := said.total() - len(said):
        score -= 1 + min(5, math.ceil(10 * twice / said.total()))
        reasons.append(_line(bank, "repeated", n=twice))
    if comes_back := _more_than_usual(float(figures["repetition"]), int(figures["words"])):
        score -= comes_back
        reasons.append(_line(bank, "sequences", n=round(100 * figures["repetition"])))
    numbers = [section.number for section in sections]
    if figures["length_error"] > 0 and (off := _for_length(figures["length_error"])):
        score -= off
        reasons.append(_line(bank, "length", n=figures["words"], m=figures["target_words"]))
    if numbers != sorted(numbers):
        score -= 3
    return _criterion(score, reasons or [bank.judge["coherent"]])


def _more_than_usual(repetition: float, words: int) -> int:
    """Points for sequences of words that come back more often than a text of this length has them by nature."""
    usual = 0.1 + 0.8 * words / (words + 8_000)
    return min(4, max(0, math.ceil(10 * (repetition - usual))))


def _coverage(
    bank: Bank, sections: Sequence[_Section], plans: Mapping[int, Any], figures: Mapping[str, Any]
) -> JudgedCriterion:
    score, reasons = _GOOD, []
    written = {section.number for section in sections if section.error > _EMPTY and section.words} & plans.keys()
    if missing := len(plans) - len(written):
        score -= 1 + math.ceil(6 * missing / len(plans))
        reasons.append(_line(bank, "missing", n=len(written), m=len(plans)))
    points, untaken = sum(s.points for s in sections), sum(len(s.untaken) for s in sections)
    taken = min(float(figures["heading_coverage"]), 1 - untaken / points if points else 1.0)
    if lost := math.floor(4 * (1 - taken)):
        score -= lost
        reasons.append(_line(bank, "points", n=round(100 * taken)))
    if figures["length_error"] < 0 and (off := _for_length(figures["length_error"])):
        score -= off
        reasons.append(_line(bank, "length", n=figures["words"], m=figures["target_words"]))
    return _criterion(score, reasons or [_line(bank, "complete", n=len(sections))])


def _style(bank: Bank, figures: Mapping[str, Any]) -> JudgedCriterion:
    if (lix := figures["readability"]) is None:
        return _criterion(_FAIR, [bank.judge["plain"]])
    hard = max(0, math.ceil((float(lix) - _HARD) / 5))
    return _criterion(_FAIR - min(4, hard), [_line(bank, "hard" if hard else "readable", n=round(lix))])


def _support(
    bank: Bank, sections: Sequence[_Section], sources: Mapping[str, str], figures: Mapping[str, Any]
) -> JudgedCriterion:
    cited = [id_ for section in sections for id_ in section.cited]
    unknown = {*(id_ for id_ in cited if id_ not in sources), *map(str, figures["unknown_citations"])}
    score, reasons = (_GOOD if sources else _FAIR), []
    if unknown:
        score -= 1 + min(3, len(unknown))
        reasons.append(_line(bank, "unknown", n=len(unknown)))
    if sources:
        unused = {*(id_ for id_ in sources if id_ not in cited), *map(str, figures["uncited_sources"])}
        gaps = len(unused) + sum(section.gaps + (not section.cited) for section in sections)
        if gaps:
            score -= 1 + math.ceil(4 * min(1.0, gaps / (len(sections) + len(sources))))
            reasons.append(_line(bank, "gaps", n=gaps))
        if figures["claims"] and figures["uncited_claims"] > 0.75 * figures["claims"]:
            score -= 1
    good = _line(bank, "supported", n=len(cited)) if sources else bank.judge["unsourced"]
    return _criterion(score, reasons or [good])


def _section(bank: Bank, section: _Section, said: Counter[str], sourced: bool) -> JudgedSection:
    score, reasons, advice = _GOOD, list[str](), list[str]()
    if off := _for_length(section.error):
        score -= off
        reasons.append(_line(bank, "length_off", n=round(100 * abs(section.error))))
        words = max(1, round(abs(section.error) * section.words / max(0.1, 1 + section.error)))
        advice.append(_line(bank, "deepen" if section.error < 0 else "shorten", n=words))
    if section.untaken:
        score -= math.ceil(2 * len(section.untaken) / section.points)
        reasons.append(_line(bank, "points_taken", n=section.points - len(section.untaken), m=section.points))
        advice.append(_line(bank, "take_up", x=clean(section.untaken[0])[:300]))
    if sourced and (section.gaps or not section.cited):
        score -= 1 + (not section.cited)
        reasons.append(bank.judge["uncited"])
        advice.append(bank.judge["cite"])
    if twice := sum(said[sentence] > 1 for sentence in section.sentences):
        score -= 1 + min(3, twice)
        reasons.append(_line(bank, "repeated", n=twice))
        advice.append(bank.judge["cut"])
    return JudgedSection(
        number=section.number,
        reason=" ".join(reasons) or bank.judge["section"],
        advice=" ".join(advice) or bank.judge["further"],
        score=max(0, score),
    )


def _for_length(error: float) -> int:
    """Points for a length that is missed."""
    off = math.ceil(round(_POINTS_A_LENGTH * (abs(float(error)) - _LENGTH_FORGIVEN), 6))
    return min(_MOST_FOR_LENGTH, max(0, off))


def _line(bank: Bank, name: str, **slots: object) -> str:
    line = bank.judge[name]
    for slot, value in slots.items():
        line = line.replace(f"{{{slot}}}", str(value))
    return line


def _criterion(score: int, reasons: Sequence[str]) -> JudgedCriterion:
    return JudgedCriterion(reason=" ".join(reasons)[:1_000], score=max(0, score))
