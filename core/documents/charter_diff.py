"""What differs between two versions of a charter: section by section, statement by statement."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import Field

from core.contracts.base import Contract, Name
from core.contracts.scoping import QuestionId
from core.contracts.scoping_charter import Charter, CharterSection, Decision, OpenRisk, SectionId, Statement
from core.documents.diff import LEAST_IN_COMMON, Op, Run, SectionStatus, aligned, text_runs
from core.documents.text import count_words


class StatementDiff(Contract):
    """One statement in both versions. It has changed too when its words are the same and rest on something else."""

    status: SectionStatus
    before: Statement | None = None
    after: Statement | None = None
    runs: tuple[Run, ...] = Field(default=(), description="The words, where both versions have the statement.")


class CharterSectionDiff(Contract):
    """One section in both versions."""

    id: SectionId
    status: SectionStatus
    title_before: Name | None = None
    title_after: Name | None = None
    decision_before: Decision | None = None
    decision_after: Decision | None = None
    statements: tuple[StatementDiff, ...] = ()
    """In the new order; removed ones behind what they stood behind. Of `decision` they are the reasons."""
    conditions: tuple[StatementDiff, ...] = ()


class CharterDiffSummary(Contract):
    """How much differs. The statements are those of all sections, with conditions."""

    sections_changed: int = 0
    statements_same: int = 0
    statements_changed: int = 0
    statements_added: int = 0
    statements_removed: int = 0


class CharterDiff(Contract):
    """What differs between two versions of a charter. Sections in the new order, removed ones at the end."""

    name_changed: bool = False
    description_changed: bool = False
    sections: tuple[CharterSectionDiff, ...] = ()
    risks_added: tuple[OpenRisk, ...] = ()
    risks_removed: tuple[OpenRisk, ...] = ()
    answers_changed: tuple[QuestionId, ...] = Field(
        default=(), description="Questions whose answer is another one, or that only one version has."
    )
    summary: CharterDiffSummary = CharterDiffSummary()


def diff_charters(old: Charter, new: Charter) -> CharterDiff:
    """Compare two versions of a charter; sections are known by their ids, statements by their words.

    It blocks, some milliseconds for an ordinary charter.
    """
    before = {section.id: section for section in old.sections}
    after = {section.id: section for section in new.sections}
    order = [*after, *(id for id in before if id not in after)]
    sections = tuple(_section(id, before.get(id), after.get(id)) for id in order)
    return CharterDiff(
        name_changed=old.name != new.name,
        description_changed=old.description != new.description,
        sections=sections,
        risks_added=_missing(new.open_risks, old.open_risks),
        risks_removed=_missing(old.open_risks, new.open_risks),
        answers_changed=_answers(old, new),
        summary=_summary(sections),
    )


def _missing(these: Sequence[OpenRisk], those: Sequence[OpenRisk]) -> tuple[OpenRisk, ...]:
    """Those of the first that the second lack."""
    return tuple(risk for risk in these if risk not in those)


def _answers(old: Charter, new: Charter) -> tuple[QuestionId, ...]:
    """Questions that were answered otherwise. How a question is worded is no answer."""
    before = {answer.question: (answer.said, answer.settled, answer.skipped) for answer in old.answers}
    after = {answer.question: (answer.said, answer.settled, answer.skipped) for answer in new.answers}
    return tuple(id for id in {**after, **before} if before.get(id) != after.get(id))


def _section(id: SectionId, old: CharterSection | None, new: CharterSection | None) -> CharterSectionDiff:
    statements = _statements(old.statements if old else (), new.statements if new else ())
    conditions = _statements(old.conditions if old else (), new.conditions if new else ())
    if old is None or new is None:
        status = SectionStatus.ADDED if old is None else SectionStatus.REMOVED
    else:
        same = (old.title, old.decision) == (new.title, new.decision)
        same &= all(one.status is SectionStatus.SAME for one in (*statements, *conditions))
        status = SectionStatus.SAME if same else SectionStatus.CHANGED
    return CharterSectionDiff(
        id=id,
        status=status,
        title_before=old.title if old else None,
        title_after=new.title if new else None,
        decision_before=old.decision if old else None,
        decision_after=new.decision if new else None,
        statements=statements,
        conditions=conditions,
    )


def _statements(old: Sequence[Statement], new: Sequence[Statement]) -> tuple[StatementDiff, ...]:
    """Statements with the same words are matched first; between these, those that have enough words in common."""
    before, after = iter(old), iter(new)
    found: list[StatementDiff] = []
    gone: list[Statement] = []
    come: list[Statement] = []
    for op, _ in aligned([one.text for one in old], [one.text for one in new]):
        if op is Op.DELETE:
            gone.append(next(before))
        elif op is Op.INSERT:
            come.append(next(after))
        else:
            found += _gap(gone, come)
            found.append(_pair(next(before), next(after)))
            gone, come = [], []
    return (*found, *_gap(gone, come))


def _gap(gone: list[Statement], come: list[Statement]) -> Iterator[StatementDiff]:
    """What stands between two equal statements, or at an end. Pairs never cross, so that both orders can be read."""
    rest = list(gone)
    for statement in come:
        partner = next((place for place, one in enumerate(rest) if _alike(one.text, statement.text)), None)
        if partner is None:
            yield StatementDiff(status=SectionStatus.ADDED, after=statement)
            continue
        for removed in rest[:partner]:
            yield StatementDiff(status=SectionStatus.REMOVED, before=removed)
        yield _pair(rest[partner], statement)
        rest = rest[partner + 1 :]
    for removed in rest:
        yield StatementDiff(status=SectionStatus.REMOVED, before=removed)


def _alike(one: str, other: str) -> bool:
    """Whether a statement may be another one reworded."""
    kept = sum(count_words(run.text) for run in text_runs(one, other) if run.op is Op.EQUAL)
    return kept > 0 and kept >= LEAST_IN_COMMON * min(count_words(one), count_words(other))


def _pair(old: Statement, new: Statement) -> StatementDiff:
    status = SectionStatus.SAME if old == new else SectionStatus.CHANGED
    return StatementDiff(status=status, before=old, after=new, runs=text_runs(old.text, new.text))


def _summary(sections: Sequence[CharterSectionDiff]) -> CharterDiffSummary:
    counted = Counter(one.status for section in sections for one in (*section.statements, *section.conditions))
    return CharterDiffSummary(
        sections_changed=sum(section.status is not SectionStatus.SAME for section in sections),
        statements_same=counted[SectionStatus.SAME],
        statements_changed=counted[SectionStatus.CHANGED],
        statements_added=counted[SectionStatus.ADDED],
        statements_removed=counted[SectionStatus.REMOVED],
    )
