"""What requests and answers about scoping sessions look like; see `schemas.py`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.document_schemas import VersionNumber
from api.schemas import AnswerModel, CostView, OutputView, PageQuery, ReceiverUrl, Tags, Title, Usd
from core.contracts.base import Json, Submission
from core.contracts.jobs import JobError, JobStatus
from core.contracts.llm import ModelChain
from core.contracts.scoping import AnswerText, Finding, QuestionId, Resolution, ScopingInput
from core.contracts.scoping_charter import Charter, Decision
from core.contracts.scoping_state import Phase, QuestionStatus, StageStatus

Because = Annotated[str, StringConstraints(max_length=1_000)]
Answers = Annotated[dict[QuestionId, AnswerText], Field(min_length=1, max_length=20)]


class SessionCreation(ScopingInput):
    """A session to be begun."""

    models: ModelChain | None = Field(
        default=None,
        description="Models as `provider:model`, in the order in which they are tried. By default what is configured.",
    )
    tags: Tags = Field(default=(), description="Free words to find its job by; the same word twice counts once.")
    budget_usd: Usd | None = Field(
        default=None, description="The most that the session may cost, in US dollars; see the same field of a job."
    )
    webhook_url: ReceiverUrl | None = Field(
        default=None, description="Told when the session waits, ends, or is about to expire; see that of a job."
    )


class SessionPatch(Submission):
    """What can be changed of a session at any time."""

    name: Title = Field(description="The project's new name: a charter that is written after it has it, too.")


class StageAnswers(Submission):
    """Answers to some or all questions of a stage, by the questions' ids."""

    answers: Answers


class FollowUpAnswers(Submission):
    """Answers to what was asked back, by the questions' ids."""

    answers: Answers


class QuestionSkip(Submission):
    """A question that nobody can answer."""

    question: QuestionId
    because: Because = Field(default="", description="Why nobody can say: it stands beside the assumption.")


class StageReopening(Submission):
    """A stage to be answered again."""

    questions: Annotated[tuple[QuestionId, ...], Field(max_length=20)] = Field(
        default=(), description="Those that are to be asked again; all of the stage if left out."
    )
    because: Because = ""


class ContradictionWord(Submission):
    """Which of two answers holds."""

    holds: Literal["first", "second", "neither"]
    text: Annotated[str, StringConstraints(max_length=8_000)] = Field(
        default="", description="What holds instead, or in what sense."
    )


class SessionQuery(PageQuery):
    """How a list of sessions is narrowed and paged."""

    status: JobStatus | None = None


class CharterDiffQuery(BaseModel):
    """Which two versions are compared."""

    model_config = ConfigDict(extra="forbid")

    old: VersionNumber = Field(alias="from", description="The number of the older version.")
    new: VersionNumber = Field(alias="to", description="The number of the newer version.")


class StageSummary(AnswerModel):
    """A stage at a glance: how many of its questions are done with, `closed`: how often it was closed."""

    number: int
    title: str
    status: StageStatus
    closed: int
    questions: int
    settled: int


class AskedQuestion(AnswerModel):
    """A question that waits for your word. `follow_up` is what is asked now if it is not empty, about what was `said`.

    `stale`: it was answered before, and is asked again because what it rests on was reopened.
    """

    id: str
    text: str
    help: str
    status: QuestionStatus
    follow_up: str
    stale: bool
    said: list[str]


class Asked(AnswerModel):
    """What is asked at the moment, all of one stage."""

    stage: int
    title: str
    purpose: str
    questions: list[AskedQuestion]


class OpenContradiction(AnswerModel):
    """Two answers that cannot both hold; `first` and `second` are their questions."""

    id: str
    first: str
    second: str
    why: str
    question: str


class TroubleView(AnswerModel):
    """Every model failed. The session goes on by itself at `again_at`; what you said is kept."""

    step: str
    code: str
    message: str
    tries: int
    again_at: datetime


class SessionCharter(AnswerModel):
    """The charter that a session has made."""

    version: int
    decision: Decision
    outputs: list[OutputView]


class ReopenedFrom(AnswerModel):
    """The session whose charter this one goes on from, and the stage that was reopened."""

    session_id: str
    version: int
    stage: int


class SessionLinks(AnswerModel):
    """Where more is read of it; relative to this server."""

    job: str
    events: str
    transcript: str
    charter: str


class SessionView(AnswerModel):
    """A session. `working`: it is not your turn, read it again in a moment; `asked` and `contradictions` say what is.

    `status` and `error` are its job's: the routes of jobs cancel, pause, resume and retry it. One that expired has
    failed with `review_expired`, and goes on after a retry.
    """

    id: str
    name: str
    description: str
    language: str
    status: JobStatus
    phase: Phase
    stage: int | None = Field(description="The lowest stage that is not closed; null: all are.")
    stages: list[StageSummary]
    asked: Asked | None
    contradictions: list[OpenContradiction]
    working: bool
    trouble: TroubleView | None
    error: JobError | None
    expires_at: datetime | None = Field(description="When it fails if nobody says anything.")
    document_id: str = Field(description="Its charter's: the id of the session that wrote the first version.")
    charter: SessionCharter | None
    reopened_from: ReopenedFrom | None
    cost: CostView
    models: list[str]
    tags: list[str]
    webhook_url: str | None
    simulated: bool
    created_at: datetime
    updated_at: datetime
    links: SessionLinks


class SessionListItem(AnswerModel):
    """A session in a list."""

    id: str
    name: str
    description: str
    status: JobStatus
    phase: Phase
    stage: int | None
    working: bool
    expires_at: datetime | None
    document_id: str
    version: int | None = Field(description="Of its charter, when it is written.")
    decision: Decision | None
    usd: float
    simulated: bool
    created_at: datetime
    updated_at: datetime


class SessionList(AnswerModel):
    """A page of sessions, newest first. Without `next_cursor` it is the last."""

    items: list[SessionListItem]
    next_cursor: str | None


class QuestionView(AskedQuestion):
    """A question with all that holds of it. `said`: the answer, then those to its follow-ups.

    `vague`: it stayed so after the last follow-up. `resolutions`: what was said where it contradicted another answer.
    """

    finding: str
    follow_ups: int
    vague: bool
    skipped: bool
    because: str
    resolutions: list[Resolution]


class FindingView(Finding):
    """What the stage found, with its title."""

    model_config = ConfigDict(extra="forbid")

    title: str


class CheckpointRef(AnswerModel):
    """The newest checkpoint of a stage. `through_seq`: the last act that it knows."""

    number: int
    through_seq: int
    simulated: bool
    at: datetime


class StageView(AnswerModel):
    """A stage with its questions, and what it found when it was closed last."""

    session_id: str
    number: int
    title: str
    purpose: str
    status: StageStatus
    closed: int
    questions: list[QuestionView]
    findings: list[FindingView]
    checkpoint: CheckpointRef | None


class AnswerOf(AnswerModel):
    """One side of a contradiction."""

    question: str
    stage: int
    asked: str
    said: list[str]


class ContradictionView(AnswerModel):
    """A contradiction with both answers. `accepted`: nobody settled it, and it is an open risk of the charter."""

    id: str
    status: Literal["open", "settled", "accepted"]
    first: AnswerOf
    second: AnswerOf
    why: str
    question: str


class ContradictionList(AnswerModel):
    """All that were found and not answered anew since."""

    items: list[ContradictionView]


class EntryView(AnswerModel):
    """Something that was said or asked back. `kind` says what `body` holds; `seq` counts what was said."""

    seq: int
    kind: str
    stage: int | None
    body: Json
    at: datetime


class CheckpointView(CheckpointRef):
    """What a stage had found one time that it closed, and on what."""

    stage: int
    findings: list[Finding]
    assumptions: list[Json]
    transcript: list[Json]


class TranscriptView(AnswerModel):
    """All that was said, asked back and found, in order."""

    session_id: str
    name: str
    description: str
    entries: list[EntryView]
    checkpoints: list[CheckpointView]


class CharterVersion(AnswerModel):
    """A version of a charter. `parent`: the version it was made from, by reopening the stage `reopened`."""

    document_id: str
    number: int
    parent: int | None
    reopened: int | None
    session_id: str
    title: str
    decision: Decision
    simulated: bool
    sha256: str
    outputs: list[OutputView]
    created_at: datetime


class CharterVersionList(AnswerModel):
    """A page of versions, newest first. Without `next_cursor` it is the last."""

    items: list[CharterVersion]
    next_cursor: str | None


class WholeCharter(CharterVersion):
    """A version with its text: every statement with what it rests on."""

    charter: Charter
