"""Jobs: their states, what starts and ends a workflow, steps, events, and the activities that every pipeline shares."""

from abc import ABC, abstractmethod
from datetime import datetime
from enum import StrEnum

from pydantic import Field
from temporalio import activity

from core.contracts.base import ArtifactRef, Contract, Json, Name
from core.contracts.errors import ErrorType
from core.contracts.llm import ModelChain


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING_FOR_INPUT = "waiting_for_input"
    WAITING_FOR_BUDGET = "waiting_for_budget"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
ALIVE = frozenset(JobStatus) - ENDED

# Which status wins over which: a change is made only from the states named here, in the statement that makes it.
_WORKING = frozenset({JobStatus.RUNNING, JobStatus.WAITING_FOR_INPUT, JobStatus.WAITING_FOR_BUDGET, JobStatus.PAUSED})
REACHED_FROM: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.FAILED}),  # retry
    JobStatus.RUNNING: frozenset({JobStatus.PENDING}) | _WORKING,
    JobStatus.WAITING_FOR_INPUT: _WORKING,
    JobStatus.WAITING_FOR_BUDGET: _WORKING,
    JobStatus.PAUSED: _WORKING,
    JobStatus.COMPLETED: _WORKING,
    JobStatus.FAILED: ALIVE,
    JobStatus.CANCELLED: ALIVE,
}


class EventType(StrEnum):
    """What the stream of a job's events can say."""

    ACCEPTED = "job.accepted"
    STARTED = "job.started"
    STATUS = "job.status"
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    RETRIED = "job.retried"
    CANCEL_REQUESTED = "job.cancel_requested"
    PAUSE_REQUESTED = "job.pause_requested"
    RESUME_REQUESTED = "job.resume_requested"
    STEP_STARTED = "step.started"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_TEXT = "step.text"
    BUDGET = "job.budget"
    BUDGET_RAISED = "job.budget_raised"
    REMINDER = "job.reminder"


ENDING_EVENTS = {
    JobStatus.COMPLETED: EventType.COMPLETED,
    JobStatus.FAILED: EventType.FAILED,
    JobStatus.CANCELLED: EventType.CANCELLED,
}


class Event(Contract):
    """One line of a job's history for its readers. `seq` counts from 1 without a gap within a job."""

    seq: int
    type: EventType
    at: datetime
    data: Json = Field(default_factory=dict)


class Outcome(StrEnum):
    """How an attempt ended. `unknown`: its worker died and nobody knows; `superseded`: another had stored the step."""

    OPEN = "open"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"


class JobError(Contract):
    """Why a job failed."""

    code: ErrorType
    message: str
    step: str | None = None
    attempts: int | None = None
    details: Json = Field(default_factory=dict)


class Output(Contract):
    """A file that a job made."""

    name: Name
    artifact_id: str
    ref: ArtifactRef


class JobResult(Contract):
    """What a finished job leaves: its files, and figures that are its pipeline's own."""

    outputs: tuple[Output, ...] = ()
    summary: Json = Field(default_factory=dict)
    simulated: bool = False


class Control(Contract):
    """What a person wants of a running job. A later `seq` wins over an earlier one, in whatever order they arrive."""

    seq: int = 0
    paused: bool = False
    budget: int = 0
    """Counts how often what the job may spend was raised: a step that was refused for want of it is tried again."""


class Carried(Contract):
    """What a workflow that continues as new takes along: what it knows of its job and Postgres does not tell."""

    control: Control = Control()
    changes: int = 0
    """Changes of status that this run of the job has told so far."""
    done: tuple[str, ...] = ()
    own: Json = Field(default_factory=dict)
    """Of the pipeline's."""


class JobRequest(Contract):
    """The input of every job's workflow. What a pipeline chooses by settings is fixed here at submission."""

    job_id: str
    owner_id: str
    pipeline: str
    run: int = 1
    """Counts the runs of one job from 1; a retry is the next."""
    input: Json
    models: ModelChain
    review_seconds: int = 30 * 86_400
    """How long the job waits for a person, each time."""
    remind_seconds: int = 0
    """How long before it would give up waiting its owner is reminded, each time; 0: never."""
    trace_id: str = ""
    """Of the HTTP request that submitted it: it stands in every line of the log that tells of the job."""
    carried: Carried | None = None
    """There is when the workflow of the same run of the job continued as new."""


class StepKey(Contract):
    """Which step of which job an activity works at. (job, step, revision) is stored once."""

    job_id: str
    owner_id: str
    run: int
    step: Name
    revision: int = 1
    stage: str = ""
    total_steps: int = Field(default=0, ge=0)
    """Steps the job will have, as far as its workflow knows now."""


class StepRequest(Contract):
    """The base of every step's request."""

    key: StepKey


class PaidRequest(StepRequest):
    """The base of every request that asks a model; the chain sets `model`, `last` and `larger_than`."""

    model: str = ""
    last: bool = True
    """No model comes after this one: while its provider is left alone, the step waits instead of going on."""
    larger_than: int = 0
    """Tokens. The prompt was too long for this context window: a model whose own is no larger is not asked."""
    reuse: bool = False
    """The answer to the very same request, of the same owner and from the same model, may be taken again."""


class Progress(Contract):
    """How far a job is."""

    stage: str = ""
    current_step: str = ""
    completed_steps: tuple[str, ...] = ()
    total_steps: int = 0
    percentage: float = 0.0
    eta_seconds: float | None = None


class BeginJob(Contract):
    """A workflow's first word: it runs, as this run."""

    job_id: str
    run: int
    workflow_run_id: str
    continued: bool = False
    """It goes on with a run that has begun: nothing is to be told but who runs it now."""


class Begun(Contract):
    """Whether the job is still wanted, and whether it starts paused."""

    proceed: bool
    control: Control = Control()


class SetStatus(Contract):
    """A change between the states of a job that is alive. `change` counts within the run and makes it idempotent."""

    job_id: str
    run: int
    change: int
    status: JobStatus
    waiting_for: Json | None = None


class Remind(Contract):
    """A job has waited for a person for long. `change` is that which told that it waits, and makes it idempotent."""

    job_id: str
    run: int
    change: int
    expires_at: str
    """When it gives up waiting: ISO 8601, UTC."""


class AnswerFile(Contract):
    """A file that comes with an answer."""

    name: Name
    ref: ArtifactRef


class Answer(Contract):
    """What a person said where a job waited for them. Stored like any other step, so that no run asks again."""

    act: Name
    update_id: str
    body_sha256: str = ""
    """Of the request: the same Idempotency-Key with another body is refused."""
    data: Json = Field(default_factory=dict)
    files: tuple[AnswerFile, ...] = ()
    """Bytes that were put into the store for it; what is long travels by reference."""


class StoreAnswer(StepRequest):
    """An answer to the question that is named by the key."""

    answer: Answer


class StoredAnswer(Contract):
    """The answer to a question, if there is one."""

    answer: Answer | None = None


class FinishJob(Contract):
    """A workflow's last word."""

    job_id: str
    run: int
    status: JobStatus
    result: JobResult | None = None
    error: JobError | None = None


class JobActivities(ABC):
    """What every pipeline's workflow tells Postgres about its job."""

    @activity.defn(name="jobs.begin")
    @abstractmethod
    async def begin(self, request: BeginJob) -> Begun:
        """Store the run id and set the job running. Idempotent by (job, run). A workflow that continued as new only
        stores its run id, and hears what people want by now."""

    @activity.defn(name="jobs.set_status")
    @abstractmethod
    async def set_status(self, request: SetStatus) -> None:
        """Change the status of a job that is alive. Idempotent by (job, run, change)."""

    @activity.defn(name="jobs.remind")
    @abstractmethod
    async def remind(self, request: Remind) -> None:
        """Remind the owner of a job that waits for them. Idempotent by (job, run, change); a job that waits no more
        stays as it is."""

    @activity.defn(name="jobs.read_answer")
    @abstractmethod
    async def read_answer(self, request: StepRequest) -> StoredAnswer:
        """What a person has answered at this step, in whatever run. Changes nothing."""

    @activity.defn(name="jobs.store_answer")
    @abstractmethod
    async def store_answer(self, request: StoreAnswer) -> StoredAnswer:
        """Store an answer; the first one stays. Idempotent by the step's key; returns what is stored."""

    @activity.defn(name="jobs.finish")
    @abstractmethod
    async def finish(self, request: FinishJob) -> None:
        """Close the job. Idempotent by (job, run); a job that already ended stays as it is."""
