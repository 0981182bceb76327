"""`scoping`: what a user asks for, what a session's workflow gets, and what people do in it."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from core.contracts.base import ArtifactRef, Contract, Name, Submission

PIPELINE = "scoping"
STAGES = 5
MOST_FOLLOW_UPS = 2
"""Times that a vague answer is asked about again."""
ANSWER_CHARACTERS = 8_000
"""Of one answer. Answers stand in Postgres and travel by the id of their entry, never through a workflow."""
ACTS_A_RUN = 500
"""A session continues as new after so many updates; Temporal takes 2,000 a run."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,59}$")]
QuestionId = Slug
FindingId = Slug
StageNumber = Annotated[int, Field(ge=1, le=STAGES)]
AnswerText = Annotated[str, StringConstraints(min_length=1, max_length=ANSWER_CHARACTERS)]


class CharterFormat(StrEnum):
    """The files that a charter is exported to."""

    MARKDOWN = "md"
    PDF = "pdf"
    JSON = "json"


class ScopingInput(Submission):
    """What a user asks for: a session that scopes one AI project."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")] = Field(
        description="The project's name, in one line."
    )
    description: Annotated[str, StringConstraints(min_length=1, max_length=4_000)] = Field(
        description="What the project is about, in a few sentences."
    )
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = Field(
        default="en", description="A BCP 47 language tag: follow-ups, findings and the charter are written in it."
    )
    formats: tuple[CharterFormat, ...] = Field(
        default=tuple(CharterFormat), min_length=1, max_length=len(CharterFormat), description="Files of the charter."
    )

    @model_validator(mode="after")
    def _each_format_once(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("a format is named twice")
        return self


class PlannedQuestion(Contract):
    """A question as the workflow knows it: without its words."""

    id: QuestionId
    stage: StageNumber
    finding: FindingId
    follow_ups: int = Field(default=MOST_FOLLOW_UPS, ge=0, le=MOST_FOLLOW_UPS)


class PlannedFinding(Contract):
    """A finding, and the findings of earlier stages that it rests on."""

    id: FindingId
    stage: StageNumber
    rests_on: tuple[FindingId, ...] = ()


class Base(Contract):
    """What a session goes on from that reopens a stage after the end: another one's charter."""

    job_id: str
    document_id: str
    version: int
    stage: StageNumber
    questions: tuple[QuestionId, ...] = ()
    """To be asked again; empty: all of the stage."""
    because: str = ""
    """What its owner says of the reason."""


class ScopingBrief(Contract):
    """The workflow's input. The questions are fixed when a session is created: an edited file changes later ones."""

    name: Name
    description: str
    language: str = "en"
    formats: tuple[CharterFormat, ...] = tuple(CharterFormat)
    questionnaire: ArtifactRef
    """The questions with their words (`Questionnaire` as JSON)."""
    questions: tuple[PlannedQuestion, ...]
    findings: tuple[PlannedFinding, ...]
    base: Base | None = None
    acts_a_run: int = ACTS_A_RUN
    pause_seconds: float = Field(default=5.0, gt=0)
    """How long after every model failed they are asked again, at first; it doubles each time, up to ten minutes."""


class ActKind(StrEnum):
    """What a person can do in a session. Each is an update of this name."""

    ANSWER_STAGE = "answer_stage"
    ANSWER_FOLLOW_UP = "answer_follow_up"
    SKIP_QUESTION = "skip_question"
    REOPEN_STAGE = "reopen_stage"
    RESOLVE_CONTRADICTION = "resolve_contradiction"
    FINISH = "finish"


class Act(Contract):
    """The base of every update. The words stand in the entry, which is in Postgres before the workflow is told."""

    entry_id: str


class AnswerStage(Act):
    """Answers to some or all open questions of the stage that is asked."""

    stage: StageNumber
    questions: tuple[QuestionId, ...] = Field(min_length=1)


class AnswerFollowUp(Act):
    """Answers to follow-up questions."""

    stage: StageNumber
    questions: tuple[QuestionId, ...] = Field(min_length=1)


class SkipQuestion(Act):
    """A question that nobody can answer: it becomes a marked assumption."""

    stage: StageNumber
    question: QuestionId


class ReopenStage(Act):
    """Ask a closed stage again, and what rests on it. `questions` empty: all of the stage."""

    stage: StageNumber
    questions: tuple[QuestionId, ...] = ()


class ResolveContradiction(Act):
    """Which of two answers holds, or what holds instead of both."""

    contradiction: str
    holds: Literal["first", "second", "neither"]


class Finish(Act):
    """Ask no more: what is open becomes an assumption or an open risk, and the charter is written."""


class Resolution(Contract):
    """What a person said about an answer that contradicted that to the question `other`."""

    other: QuestionId
    holds: Literal["this", "other", "neither"]
    text: str = ""
    """In what sense, or what holds instead."""


class ActTaken(Contract):
    """An act that changed the session. `seq` counts a session's acts from 1."""

    entry_id: str
    seq: int


class Finding(Contract):
    """What a stage found: a statement and the answers it rests on."""

    id: FindingId
    statement: Annotated[str, StringConstraints(min_length=1, max_length=700)]
    rests_on: tuple[QuestionId, ...] = Field(min_length=1)
    assumption: bool = False
    """Nobody said so: each question it rests on was skipped, or left vague."""


class Verdict(Contract):
    """What a model says of one answer. `follow_up` asks for what is missing; empty when the answer is clear."""

    question: QuestionId
    vague: bool
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    follow_up: Annotated[str, StringConstraints(max_length=400)] = ""


class Contradiction(Contract):
    """Two answers, of two stages, that cannot both hold, and the question that they make."""

    first: QuestionId
    second: QuestionId
    why: Annotated[str, StringConstraints(min_length=1, max_length=600)]
    question: Annotated[str, StringConstraints(min_length=1, max_length=400)]
