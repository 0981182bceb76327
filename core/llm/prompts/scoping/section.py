"""What the simulator answers when it is asked for a section of the charter."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.contracts.scoping_charter import Decision, DraftedStatement, SectionAnswer, SectionId
from core.llm.prompts.longform.subject import clean
from core.llm.prompts.scoping.phrases import Phrases, phrases_for
from core.llm.prompts.scoping.reading import Given, quoted

_MOST_STATEMENTS, _MOST_CONDITIONS, _MOST_QUESTIONS = 14, 8, 12
_SHOWN_WORDS = 20


def compose_section(inputs: Mapping[str, Any], seed: str) -> SectionAnswer:
    """Statements made of the findings, each resting on what its finding rests on; no statement comes twice.

    A decision counts: more than half of the findings assumed is no go, anything open makes conditions.
    """
    phrases = phrases_for(str(inputs["language"]))
    stages: Sequence[Given] = inputs["stages"]
    section = SectionId(str(inputs["section"]["id"]))
    if section is SectionId.DECISION:
        return _decision(stages, inputs["open_points"], phrases)
    written = {
        SectionId.SUMMARY: _summary,
        SectionId.PLAN: _plan,
    }.get(section, _stage)
    return SectionAnswer(statements=_distinct(written(stages, phrases))[:_MOST_STATEMENTS])


def _stage(stages: Sequence[Given], phrases: Phrases) -> Iterator[DraftedStatement]:
    """The findings as they stand."""
    for stage in stages:
        for finding in stage["findings"]:
            yield _drafted(str(finding["statement"]), finding)


def _summary(stages: Sequence[Given], phrases: Phrases) -> Iterator[DraftedStatement]:
    """A line a stage: its first finding that is known."""
    for stage in stages:
        known = [finding for finding in stage["findings"] if not finding["assumption"]]
        title = clean(str(stage["title"]))
        for finding in known[:1]:
            yield _drafted(phrases.say("summary", t=title, x=_shown(finding, phrases)), finding)
        for finding in stage["findings"][: not known]:
            yield _drafted(phrases.say("summary_open", t=title), finding)


def _plan(stages: Sequence[Given], phrases: Phrases) -> Iterator[DraftedStatement]:
    """What has to be found out, then of each stage what can be built on first."""
    for stage in stages:
        for finding in stage["findings"]:
            if finding["assumption"]:
                yield _drafted(phrases.say("step_unknown", t=clean(str(finding["title"]))), finding)
    for stage in stages:
        for finding in [finding for finding in stage["findings"] if not finding["assumption"]][:1]:
            title = quoted(phrases.bank, str(finding["title"]), _SHOWN_WORDS)
            yield _drafted(phrases.say("step_known", t=title, x=_shown(finding, phrases)), finding)


def _decision(stages: Sequence[Given], points: Sequence[Given], phrases: Phrases) -> SectionAnswer:
    findings = [finding for stage in stages for finding in stage["findings"]]
    assumed = sum(bool(finding["assumption"]) for finding in findings)
    reasons = [_reason(stage, phrases) for stage in stages if stage["findings"]]
    conditions = [
        DraftedStatement(
            text=phrases.say("condition", x=quoted(phrases.bank, str(point["text"]), _SHOWN_WORDS)),
            rests_on=tuple(map(str, point["rests_on"]))[:_MOST_QUESTIONS],
        )
        for point in points
    ]
    if 2 * assumed > len(findings):
        decision = Decision.NO_GO
    else:
        decision = Decision.GO_WITH_CONDITIONS if conditions else Decision.GO
    return SectionAnswer(
        statements=_distinct(reasons)[:_MOST_STATEMENTS],
        decision=decision,
        conditions=_distinct(conditions)[:_MOST_CONDITIONS],
    )


def _reason(stage: Given, phrases: Phrases) -> DraftedStatement:
    findings = stage["findings"]
    known = sum(not finding["assumption"] for finding in findings)
    text = phrases.say("reason", t=clean(str(stage["title"])), n=known, m=len(findings))
    rests_on = dict.fromkeys(str(id) for finding in findings for id in finding["rests_on"])
    return DraftedStatement(text=text, rests_on=tuple(rests_on)[:_MOST_QUESTIONS])


def _drafted(text: str, finding: Given) -> DraftedStatement:
    return DraftedStatement(text=text, rests_on=tuple(map(str, finding["rests_on"]))[:_MOST_QUESTIONS])


def _distinct(statements: Sequence[DraftedStatement] | Iterator[DraftedStatement]) -> tuple[DraftedStatement, ...]:
    return tuple({statement.text.casefold(): statement for statement in statements}.values())


def _shown(finding: Given, phrases: Phrases) -> str:
    return quoted(phrases.bank, str(finding["statement"]), _SHOWN_WORDS)
