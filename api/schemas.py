"""What requests and answers look like. Request models are checked; answers are written by `views.py`, which a test
compares with the models here, so that an answer costs no validation."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from core.contracts.base import Json, Submission
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import EventType, JobError, JobStatus, Progress
from core.contracts.llm import ModelChain
from core.web.addresses import place_of

# No control character (Cc), as every dialect of regular expressions spells it: the document is for all of them.
_VISIBLE = r"^[^\x00-\x1f\x7f-\x9f]+$"


def _distinct(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _in_utc(value: datetime) -> datetime:
    """Raises ValueError for an instant that has no year in UTC: the driver would stumble over it."""
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the instant lies outside the years 1 to 9999") from error


def a_number(value: Any) -> Any:
    """Raises ValueError for what is no number in JSON: money is neither a word nor true."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
        raise ValueError("Input should be a number")
    return value


MOST_URL = 2_000
"""Characters."""
MOST_USD = 1_000_000
Usd = Annotated[
    Annotated[Decimal, Field(gt=0, le=MOST_USD, decimal_places=8)],
    BeforeValidator(a_number),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST_USD}),
]
"""An amount of money, in US dollars."""
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_VISIBLE)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=_VISIBLE)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=20), AfterValidator(_distinct)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


def _a_url(value: str) -> str:
    """The URL in the one spelling that is asked. Raises ValueError for one that is not understood."""
    try:
        return place_of(value).url
    except AtelierError as error:
        raise ValueError(error.message) from None


ReceiverUrl = Annotated[
    str,
    StringConstraints(max_length=MOST_URL),
    AfterValidator(_a_url),
    WithJsonSchema({"type": "string", "format": "uri", "maxLength": MOST_URL}),
]
"""Of a receiver of webhooks; `api.hook_schemas.check_receiver` says whether it may be one."""


class JobSubmission(Submission):
    """A job to be done."""

    pipeline: Annotated[str, StringConstraints(max_length=100)] = Field(description="Which pipeline is to run.")
    input: dict[str, Any] = Field(description="What the pipeline is to do; each pipeline has a schema of its own.")
    title: Title | None = Field(default=None, description="Without it the pipeline makes one up from the input.")
    tags: Tags = Field(default=(), description="Free words to find jobs by; the same word twice counts once.")
    models: ModelChain | None = Field(
        default=None,
        description="Models as `provider:model`, in the order in which they are tried. By default what is configured.",
    )
    budget_usd: Usd | None = Field(
        default=None,
        description="The most that the job may cost, in US dollars: no call is made that could pass it. The job then "
        "waits until you add to it. At most eight decimals.",
    )
    webhook_url: ReceiverUrl | None = Field(
        default=None,
        description="Told when the job completes, fails, is cancelled or waits, as Standard Webhooks says, and signed "
        "with your signing secret (`GET /v1/me/signing-secret`). https, at a public address.",
    )


class JobPatch(Submission):
    """What can be changed of a job at any time. What is left out stays."""

    title: Title = Field(default="")
    tags: Tags = Field(default=(), description="Replaces all tags.")


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")
    limit: int = Field(default=50, ge=1, le=200)


class JobQuery(PageQuery):
    """How a list of jobs is narrowed and paged."""

    pipeline: Annotated[str, StringConstraints(max_length=100)] | None = None
    status: JobStatus | None = None
    tag: Tag | None = None
    created_from: Instant | None = Field(default=None, description="Jobs made at this instant or later (RFC 3339).")
    created_to: Instant | None = Field(default=None, description="Jobs made before this instant (RFC 3339).")


class EventQuery(BaseModel):
    """Where a stream of events begins."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="Begin behind the event of this number; the header `Last-Event-ID` counts more.",
    )


class AnswerModel(BaseModel):
    """The base of what answers look like."""

    model_config = ConfigDict(extra="forbid")


class EstimateView(AnswerModel):
    """What was expected of a job if this model did all of it."""

    model: str
    calls: int
    usd: float | None = Field(description="Null where the price is unknown.")
    input_tokens: int
    output_tokens: int
    minutes: float = Field(description="Of the models' work; not of waiting for a worker or a person.")


class CostView(AnswerModel):
    """What the job has cost so far, beside what was expected; `input_tokens` includes the cached ones."""

    usd: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    minutes: float | None = Field(
        description="From its start to its end, or to its last change. Null before it starts."
    )
    reserved_usd: float = Field(description="Held for calls that are not done. Never more than the budget leaves.")
    budget_usd: float | None = Field(description="The most that it may cost; null: no limit of its own.")
    estimate: EstimateView | None = Field(description="Made when it was submitted; null where nothing is known.")


class OutputView(AnswerModel):
    """A file that the job made for its owner. `size` in bytes; `url` is relative to this server."""

    name: str
    artifact_id: str
    media_type: str
    size: int
    sha256: str
    url: str


class ResultView(AnswerModel):
    """What a completed job leaves; `summary` holds the pipeline's own figures."""

    outputs: list[OutputView]
    summary: Json
    simulated: bool


class JobView(AnswerModel):
    """A job. In lists `progress.completed_steps` is left empty."""

    id: str
    pipeline: str
    title: str
    tags: list[str]
    models: list[str]
    status: JobStatus
    parent_job: str | None
    progress: Progress
    cost: CostView
    waiting_for: Json | None = Field(description="What a job waits for that waits for a person.")
    error: JobError | None
    result: ResultView | None
    simulated: bool = Field(description="Something in it came from the simulator and not from a model.")
    webhook_url: str | None
    cancel_requested: bool
    paused: bool
    run: int = Field(description="Counts from 1; a retry is the next.")
    workflow_id: str
    workflow_run_id: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobList(AnswerModel):
    """A page of jobs, newest first. Without `next_cursor` it is the last."""

    items: list[JobView]
    next_cursor: str | None


class ArtifactView(AnswerModel):
    """A file of a job. `role` is `output` for what was asked for, `working` for what steps pass on."""

    id: str
    job_id: str
    step: str
    name: str
    role: Literal["output", "working"]
    media_type: str
    size: int
    sha256: str
    simulated: bool
    created_at: datetime
    url: str


class ArtifactList(AnswerModel):
    """All files of a job, outputs first."""

    items: list[ArtifactView]


class EventView(BaseModel):
    """The `data` of a server-sent event. More fields follow, by type.

    `step.text` is text that a model is still writing: append `text` at `offset`, and begin anew when `attempt_id`
    changes. `job.budget` tells that 80 or 100 % of the budget is spent.
    """

    seq: int
    type: EventType
    at: datetime


class Live(AnswerModel):
    """The process answers."""

    status: Literal["up"]


UpDown = Literal["up", "down"]
UpDegraded = Literal["up", "degraded"]


class Ready(AnswerModel):
    """Whether the parts answer. `degraded`: jobs are accepted, and run when the missing part is back."""

    status: Literal["up", "degraded", "down"]
    database: UpDown
    temporal: UpDown
    queues: dict[str, UpDegraded] = Field(description="Whether workers were seen on a task queue lately.")


class FieldProblem(AnswerModel):
    """One thing that is wrong in the request. `loc`: a dotted path; `query.` and `header.` lead out of the body."""

    loc: str
    message: str
    type: str


class Problem(AnswerModel):
    """A problem document (RFC 9457). `code` is stable; `details` depend on it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: ErrorType
    request_id: str
    trace_id: str
    errors: list[FieldProblem] | None = None
    details: Json | None = None
