"""The charter of a project: typed sections whose statements name what they rest on."""

from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

from core.contracts.base import Contract, Name
from core.contracts.scoping import FindingId, QuestionId, Resolution, StageNumber, Verdict


class SectionId(StrEnum):
    """The sections of a charter, in their order."""

    SUMMARY = "summary"
    PROBLEM = "problem"
    VALUE = "value"
    DATA = "data"
    USERS = "users"
    RISK = "risk"
    PLAN = "plan"
    DECISION = "decision"


class SectionPlan(NamedTuple):
    """A section's title, and the stages whose findings it is written from."""

    title: str
    stages: tuple[StageNumber, ...]


CHARTER: dict[SectionId, SectionPlan] = {
    SectionId.SUMMARY: SectionPlan("Summary", (1, 2, 3, 4, 5)),
    SectionId.PROBLEM: SectionPlan("Business problem", (1,)),
    SectionId.VALUE: SectionPlan("Value and measures of success", (2,)),
    SectionId.DATA: SectionPlan("Data", (3,)),
    SectionId.USERS: SectionPlan("Users and workflow", (4,)),
    SectionId.RISK: SectionPlan("Risk, ethics and governance", (5,)),
    SectionId.PLAN: SectionPlan("First steps", (2, 3, 4)),
    SectionId.DECISION: SectionPlan("Go or no go", (1, 2, 3, 4, 5)),
}
"""What rests on what: a section none of whose findings changed is taken over as it stands."""


class Basis(Contract):
    """What a statement rests on: an answer, or an assumption where nobody could say."""

    question: QuestionId
    assumption: bool = False


class Statement(Contract):
    """One sentence or two, and what it rests on."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=900)]
    rests_on: tuple[Basis, ...] = Field(min_length=1)


class Decision(StrEnum):
    """The view on whether to go on."""

    GO = "go"
    GO_WITH_CONDITIONS = "go_with_conditions"
    NO_GO = "no_go"


class CharterSection(Contract):
    """A section. Of `decision` the statements are the reasons, and `conditions` what must hold first."""

    id: SectionId
    title: Name
    statements: tuple[Statement, ...] = Field(min_length=1, max_length=14)
    decision: Decision | None = None
    conditions: tuple[Statement, ...] = Field(default=(), max_length=8)
    simulated: bool = False


class OpenRisk(Contract):
    """Something that nobody knows or that does not fit: an assumption, an answer that stayed vague, a contradiction."""

    kind: Annotated[str, StringConstraints(pattern=r"^(assumption|vague|contradiction)$")]
    text: str
    rests_on: tuple[QuestionId, ...]


class SaidAnswer(Contract):
    """A question and what was said to it, for the charter's appendix."""

    question: QuestionId
    stage: StageNumber
    asked: str
    said: tuple[str, ...]
    """The answer, then the answers to its follow-ups."""
    settled: tuple[Resolution, ...] = ()
    """What a person said where it contradicted another answer."""
    skipped: bool = False


class StageFindings(Contract):
    """What a stage found, as it stands in the charter's appendix."""

    stage: StageNumber
    title: Name
    findings: tuple["CharterFinding", ...]


class CharterFinding(Contract):
    """A finding by its title."""

    id: FindingId
    title: Name
    statement: str
    rests_on: tuple[QuestionId, ...]
    assumption: bool = False


class Charter(Contract):
    """A version of a charter, with all that its statements rest on: every export is made from it."""

    name: Name
    description: str
    language: str = "en"
    sections: tuple[CharterSection, ...]
    findings: tuple[StageFindings, ...]
    open_risks: tuple[OpenRisk, ...] = ()
    answers: tuple[SaidAnswer, ...]
    simulated: bool = False

    def section(self, id: SectionId) -> CharterSection:
        """The section of an id."""
        return next(section for section in self.sections if section.id is id)


class JudgeAnswer(Contract):
    """What a model answers that judges answers."""

    verdicts: tuple[Verdict, ...] = Field(min_length=1, max_length=20)


class FoundStatement(Contract):
    """A finding as a model states it."""

    finding: FindingId
    statement: Annotated[str, StringConstraints(min_length=1, max_length=700)]
    rests_on: tuple[QuestionId, ...] = Field(min_length=1, max_length=12)


class FindingsAnswer(Contract):
    """What a model answers that closes a stage."""

    findings: tuple[FoundStatement, ...] = Field(min_length=1, max_length=12)


class FoundContradiction(Contract):
    """A contradiction as a model states it."""

    first: QuestionId
    second: QuestionId
    why: Annotated[str, StringConstraints(min_length=1, max_length=600)]
    question: Annotated[str, StringConstraints(min_length=1, max_length=400)]


class ConsistencyAnswer(Contract):
    """What a model answers that compares the stages."""

    contradictions: tuple[FoundContradiction, ...] = Field(max_length=8)
    """There are none only if the answer says so: another form is no answer."""


class DraftedStatement(Contract):
    """A statement as a model writes it."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=900)]
    rests_on: tuple[QuestionId, ...] = Field(min_length=1, max_length=12)


class SectionAnswer(Contract):
    """What a model answers that writes a section."""

    statements: tuple[DraftedStatement, ...] = Field(min_length=1, max_length=14)
    decision: Decision | None = None
    conditions: tuple[DraftedStatement, ...] = Field(default=(), max_length=8)
