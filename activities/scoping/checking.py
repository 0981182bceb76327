"""Which answers of models are not taken although they fit their schema. Each says what is wrong, or None."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from core.contracts.scoping import FindingId, QuestionId, StageNumber
from core.contracts.scoping_charter import (
    ConsistencyAnswer,
    Decision,
    DraftedStatement,
    FindingsAnswer,
    JudgeAnswer,
    SectionAnswer,
    SectionId,
)


def wrong_verdicts(
    answer: JudgeAnswer, asked: Mapping[QuestionId, int], before: Mapping[QuestionId, Sequence[str]]
) -> str | None:
    """`asked`: the follow-ups that each question to be judged has left; `before`: those that were asked about it."""
    if wrong := _not_exactly("verdict", (verdict.question for verdict in answer.verdicts), asked):
        return wrong
    for verdict in answer.verdicts:
        if verdict.vague and asked[verdict.question]:
            if not speaks(verdict.follow_up):
                return f"the answer to {verdict.question} is called vague, and no follow-up asks about it"
            if _plain(verdict.follow_up) in map(_plain, before.get(verdict.question, ())):
                return f"the follow-up about {verdict.question} was asked before, word for word"
    return None


def wrong_findings(answer: FindingsAnswer, wanted: Mapping[FindingId, Sequence[QuestionId]]) -> str | None:
    """`wanted`: the findings that were asked for, and the questions that each is made from."""
    if wrong := _not_exactly("statement", (found.finding for found in answer.findings), wanted):
        return wrong
    for found in answer.findings:
        if not speaks(found.statement):
            return f"the statement of {found.finding} says nothing"
        # What rests on another question would not be made anew when that one is reopened.
        if strange := _beyond(found.rests_on, wanted[found.finding]):
            return f"{found.finding} rests on {strange}; it can rest on {', '.join(wanted[found.finding])} only"
    return None


def wrong_contradictions(answer: ConsistencyAnswer, answered: Mapping[QuestionId, StageNumber]) -> str | None:
    """`answered`: the questions that have an answer, and their stages."""
    for found in answer.contradictions:
        if strange := _beyond((found.first, found.second), answered):
            return f"a contradiction names {strange}, which is no question that was answered"
        if answered[found.first] == answered[found.second]:
            return f"{found.first} and {found.second} are questions of one stage; name answers of two stages"
        if not (speaks(found.why) and speaks(found.question)):
            return f"the contradiction between {found.first} and {found.second} says or asks nothing"
    return None


def wrong_section(answer: SectionAnswer, section: SectionId, known: Sequence[QuestionId]) -> str | None:
    """`known`: the questions of the stages that the section is written from."""
    decides = section is SectionId.DECISION
    for written in (*answer.statements, *(answer.conditions if decides else ())):
        if not speaks(written.text):
            return "a statement says nothing"
        if strange := _beyond(written.rests_on, known):
            return f"a statement rests on {strange}; this section can rest on {', '.join(known)} only"
    if twice := _twice((*answer.statements, *(answer.conditions if decides else ()))):
        return f"a statement stands twice: {twice[:80]}"
    if decides and answer.decision is None:
        return "the section has no decision"
    if decides and answer.decision is Decision.GO and answer.conditions:
        return "the decision is go and has conditions; then it is go_with_conditions"
    if decides and answer.decision is Decision.GO_WITH_CONDITIONS and not answer.conditions:
        return "the decision is go_with_conditions and names no condition"
    return None


def speaks(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(map(str.isalnum, text))


def _not_exactly(what: str, given: Iterable[str], asked: Iterable[str]) -> str | None:
    """What is wrong with answers that have to be one for each that was asked."""
    counted, wanted = Counter(given), set(asked)
    if missing := sorted(wanted - counted.keys()):
        return f"no {what} for {', '.join(missing)}"
    if strange := sorted(counted.keys() - wanted):
        return f"a {what} for {', '.join(strange)}, which was not asked for"
    if twice := sorted(id for id, times in counted.items() if times > 1):
        return f"more than one {what} for {', '.join(twice)}"
    return None


def _beyond(named: Iterable[QuestionId], known: Iterable[QuestionId]) -> str:
    return ", ".join(sorted(set(named) - set(known)))


def _twice(written: Iterable[DraftedStatement]) -> str:
    seen: set[str] = set()
    for one in written:
        if (text := _plain(one.text)) in seen:
            return one.text
        seen.add(text)
    return ""


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
