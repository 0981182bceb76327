"""The steps of `scoping`: what goes into each activity and what comes out."""

from abc import ABC, abstractmethod

from pydantic import Field
from temporalio import activity

from core.contracts.base import ArtifactRef, Contract
from core.contracts.jobs import Output, PaidRequest, StepRequest
from core.contracts.scoping import (
    ActTaken,
    CharterFormat,
    Contradiction,
    Finding,
    FindingId,
    QuestionId,
    ScopingBrief,
    StageNumber,
    Verdict,
)
from core.contracts.scoping_charter import SectionId
from core.contracts.scoping_state import SessionState


class OpenSession(StepRequest):
    """Begin a session, or go on with it in another run."""

    brief: ScopingBrief


class SessionOpened(Contract):
    """The session as Postgres has it; `sections` are those of the charter that it goes on from."""

    state: SessionState
    sections: dict[SectionId, ArtifactRef] = Field(default_factory=dict)


class KeepAct(StepRequest):
    """What a person did, and the state that it makes. `state.seq` is the act's number."""

    entry_id: str
    state: SessionState


class Checkpoint(Contract):
    """What a stage found when it closed."""

    stage: StageNumber
    number: int
    findings: tuple[Finding, ...]
    simulated: bool = False


class KeepState(StepRequest):
    """The state after something that no person did: `number` counts these within the run. `at_work`: a model is, or is
    about to be; otherwise the owner's turn is given back."""

    number: int
    state: SessionState
    at_work: bool
    verdicts: tuple[Verdict, ...] = ()
    """What follow-ups were asked: they become entries of the transcript."""
    checkpoint: Checkpoint | None = None


class StateKept(Contract):
    """It is stored. `turn` False: a model was to work, and another session of the owner is at work; try again later."""

    turn: bool = True


class JudgeAnswers(PaidRequest):
    """Judge answers of a stage, as they stand at `seq`."""

    stage: StageNumber
    questions: tuple[QuestionId, ...]
    seq: int


class Judged(Contract):
    """A verdict for each question that was asked about."""

    verdicts: tuple[Verdict, ...]


class CloseStage(PaidRequest):
    """Make findings of a stage's answers, as they stand at `seq`. Those of `findings` only."""

    stage: StageNumber
    findings: tuple[FindingId, ...]
    seq: int


class StageClosed(Contract):
    """The findings that were made anew."""

    findings: tuple[Finding, ...]
    simulated: bool = False


class CheckConsistency(PaidRequest):
    """Compare the answers of all stages, as they stand at `seq`."""

    seq: int


class Consistency(Contract):
    """What does not fit; of two stages each."""

    contradictions: tuple[Contradiction, ...]


class DraftCharterSection(PaidRequest):
    """Write one section of the charter from the newest checkpoints."""

    section: SectionId
    seq: int


class SectionDrafted(Contract):
    """A section, in the store."""

    section: SectionId
    ref: ArtifactRef
    simulated: bool = False


class AssembleCharter(StepRequest):
    """Put the sections together with findings, open risks and answers."""

    sections: dict[SectionId, ArtifactRef]
    seq: int


class CharterAssembled(Contract):
    """The charter as JSON, in the store."""

    charter: ArtifactRef
    statements: int
    decision: str
    open_risks: int
    simulated: bool = False


class ExportCharter(StepRequest):
    """Make one file of a charter."""

    charter: ArtifactRef
    format: CharterFormat


class KeepCharter(StepRequest):
    """Store the session's version of the charter, once its files are made."""

    document_id: str
    parent: int | None = None
    reopened: StageNumber | None = None
    charter: ArtifactRef
    sections: dict[SectionId, ArtifactRef]
    outputs: tuple[Output, ...]
    decision: str
    simulated: bool = False


class CharterKept(Contract):
    """A version that was stored."""

    document_id: str
    number: int


class ScopingActivities(ABC):
    """The steps of `scoping`. A paid one is stored once by (job, step, revision); a stored one is never asked again."""

    @activity.defn(name="scoping.open_session")
    @abstractmethod
    async def open_session(self, request: OpenSession) -> SessionOpened:
        """The session's row, made if it is not there; a session with a base begins with what that one had."""

    @activity.defn(name="scoping.keep_act")
    @abstractmethod
    async def keep_act(self, request: KeepAct) -> ActTaken:
        """Store what a person did, and the state that it makes. Idempotent by entry: a second time changes nothing.
        Raises `INVALID_STATE` when the job ended or is in another run, or another act has this number."""

    @activity.defn(name="scoping.keep_state")
    @abstractmethod
    async def keep_state(self, request: KeepState) -> StateKept:
        """Store the state, the follow-ups that are asked, and the checkpoint. Idempotent by (run, number)."""

    @activity.defn(name="scoping.judge_answers")
    @abstractmethod
    async def judge_answers(self, request: JudgeAnswers) -> Judged:
        """Ask a model which answers are vague, and what to ask about them."""

    @activity.defn(name="scoping.close_stage")
    @abstractmethod
    async def close_stage(self, request: CloseStage) -> StageClosed:
        """Ask a model for the findings of a stage."""

    @activity.defn(name="scoping.check_consistency")
    @abstractmethod
    async def check_consistency(self, request: CheckConsistency) -> Consistency:
        """Ask a model which answers contradict each other across stages."""

    @activity.defn(name="scoping.draft_section")
    @abstractmethod
    async def draft_section(self, request: DraftCharterSection) -> SectionDrafted:
        """Ask a model for one section of the charter."""

    @activity.defn(name="scoping.assemble_charter")
    @abstractmethod
    async def assemble_charter(self, request: AssembleCharter) -> CharterAssembled:
        """Put the charter together; no model is asked."""

    @activity.defn(name="scoping.export_charter")
    @abstractmethod
    async def export_charter(self, request: ExportCharter) -> Output:
        """Make the file of one format and store it as an artifact of the job."""

    @activity.defn(name="scoping.keep_charter")
    @abstractmethod
    async def keep_charter(self, request: KeepCharter) -> CharterKept:
        """Store the version under the document's next number. A session has one version."""
