"""What travels between the steps of `longform`, and the signatures of its activities."""

from abc import ABC, abstractmethod
from enum import StrEnum

from pydantic import Field
from temporalio import activity

from core.contracts.base import ArtifactRef, Contract, Name, ShortText
from core.contracts.documents import Format, Reason, Round
from core.contracts.jobs import JobResult, Output, PaidRequest, StepRequest
from core.contracts.llm import ModelChain
from core.contracts.longform import Brief
from core.contracts.longform_sources import FetchSource, ReadSource, SourceFetched, SourceRead

REVISION_PIPELINE = "longform_revision"
"""The pipeline of the child jobs: one section of a document written anew or edited, or an old version restored."""


class PlannedSection(Contract):
    """What the workflow needs to know of a section."""

    id: str
    title: Name
    words: int = 0
    """Its budget, without the sentence that leads into it. 0 in what older workers planned."""
    lead_in: int = 0
    """Words of that sentence; 0: it has none."""


class Decomposed(Contract):
    """The outline by reference, and its sections by name."""

    title: Name
    outline: ArtifactRef
    sections: tuple[PlannedSection, ...]
    simulated: bool = False
    shares_prefix: bool = False
    """What the prompts of the sections have in common is long enough for the model's provider to keep it."""


class Section(Contract):
    """One written section: its Markdown by reference. `words` is counted, not promised."""

    id: str
    text: ArtifactRef
    words: int
    simulated: bool = False


class Transitions(Contract):
    """The sentences that lead into sections, by reference: a JSON object from section id to sentence."""

    sentences: ArtifactRef
    simulated: bool = False


class Assembled(Contract):
    """The article by reference."""

    title: Name
    article: ArtifactRef
    words: int
    simulated: bool = False


class WeakSection(Contract):
    """A section that the judge finds weak, and what to do about it."""

    section_id: str
    advice: ShortText


class Evaluated(Contract):
    """The evaluation by reference, its score, and the sections to revise, the weakest first."""

    evaluation: ArtifactRef
    score: float
    weakest: tuple[WeakSection, ...] = ()
    simulated: bool = False


class CacheChecked(Contract):
    """The key of the request, and the result of an identical one that completed, if there is one."""

    cache_key: str
    hit: JobResult | None = None


class KeptVersion(Contract):
    """A version that was stored."""

    document_id: str
    number: int


class CheckCache(StepRequest):
    """Look for an identical request of the same owner."""

    brief: Brief
    models: ModelChain


class DecomposeTopic(PaidRequest):
    """Plan a document; or plan it again, with what a person said of the plan before."""

    brief: Brief
    previous: ArtifactRef | None = None
    instructions: ShortText = ""


class DraftSection(PaidRequest):
    """Write one section of an outline."""

    brief: Brief
    outline: ArtifactRef
    section_id: str


class AdjustSection(PaidRequest):
    """Bring a section that missed its budget nearer to it."""

    brief: Brief
    outline: ArtifactRef
    draft: Section


class ReviseSection(PaidRequest):
    """Write one section of an article anew, following advice."""

    brief: Brief
    outline: ArtifactRef
    article: ArtifactRef
    section_id: str
    advice: ShortText


class WriteTransitions(PaidRequest):
    """Write the sentences that lead into the named sections. `article` has the texts instead of `sections`, and
    `only` what is written anew of it."""

    brief: Brief
    outline: ArtifactRef
    sections: tuple[Section, ...] = ()
    article: ArtifactRef | None = None
    only: tuple[str, ...] = ()


class AssembleArticle(StepRequest):
    """Put the sections together in the outline's order."""

    brief: Brief
    outline: ArtifactRef
    sections: tuple[Section, ...]
    transitions: ArtifactRef | None = None


class ReplaceSection(StepRequest):
    """Put one section into an article in the place of the one that stands there. The rest stays byte for byte."""

    brief: Brief
    article: ArtifactRef
    section_id: str
    text: ArtifactRef
    title: Name | None = None
    transitions: ArtifactRef | None = None
    simulated: bool = False


class EvaluateArticle(PaidRequest):
    """Measure an article and have it judged."""

    brief: Brief
    outline: ArtifactRef
    article: ArtifactRef


class MeasureArticle(StepRequest):
    """Measure an article that nobody judges: a person wrote what is new in it."""

    brief: Brief
    outline: ArtifactRef
    article: ArtifactRef


class ExportArticle(StepRequest):
    """Make one file of an article."""

    article: ArtifactRef
    format: Format


class ExportReport(StepRequest):
    """Make the file that says how good the document is, and how that was found."""

    brief: Brief
    article: ArtifactRef
    evaluation: ArtifactRef
    rounds: tuple[Round, ...] = ()
    threshold: float | None = None


class ReportExported(Contract):
    """The report as JSON, and as a file for people."""

    report: ArtifactRef
    output: Output


class KeepVersion(StepRequest):
    """Store the job's version of the document, once its files are made."""

    brief: Brief
    document_id: str
    parent: int | None = None
    reason: Reason
    section_id: str | None = None
    restored_from: int | None = None
    instructions: str = ""
    outline: ArtifactRef
    article: ArtifactRef
    report: ArtifactRef
    score: float | None = None
    outputs: tuple[Output, ...]
    cache_key: str | None = None
    simulated: bool = False


class RevisionAct(StrEnum):
    """What a child job does to a document."""

    REGENERATE = "regenerate_section"
    EDIT = "edit_section"
    RESTORE = "restore_version"


class RevisionInput(Contract):
    """The input of a child job. The API makes it, of a version that it has found to be the owner's."""

    act: RevisionAct
    document_id: str
    base: int = Field(ge=1, description="The version that the new one is made from.")
    section_id: str | None = None
    instructions: ShortText = ""
    title: Name | None = None
    text: ArtifactRef | None = Field(default=None, description="The edited section.")
    restore: int | None = Field(default=None, description="The version that is restored.")


class OpenVersion(StepRequest):
    """Read what a version was made of."""

    document_id: str
    number: int


class OpenedVersion(Contract):
    """A version's brief, outline and content. The refs are rows of this job too, so that they outlive the other."""

    brief: Brief
    outline: ArtifactRef
    article: ArtifactRef
    title: Name
    words: int
    sections: tuple[PlannedSection, ...]
    simulated: bool = False


REVIEW_STEP = "review outline"
"""The step at which a job waits for a person's word on its outline; its revision is the round, from 1."""


class OutlineVerdict(Contract):
    """What a person says of an outline. The API has checked it against the outline of that round."""

    round: int | None = Field(default=None, description="The outline it is about; None: the one that is asked about.")
    body_sha256: str = ""


class OutlineApproved(OutlineVerdict):
    """Write it so."""


class OutlineEdited(OutlineVerdict):
    """Write this one instead; it is in the store already."""

    plan: Decomposed
    approve: bool = True


class OutlineAgain(OutlineVerdict):
    """Plan it again, like this."""

    instructions: ShortText


class LongformActivities(ABC):
    """The steps of `longform` and its revisions. Each is stored once by (job, step, revision); a stored one is never
    asked again."""

    @activity.defn(name="longform.fetch_source")
    @abstractmethod
    async def fetch_source(self, request: FetchSource) -> SourceFetched:
        """Fetch what a URL leads to and keep its bytes. One that stays unreachable is given up after some tries."""

    @activity.defn(name="longform.read_source")
    @abstractmethod
    async def read_source(self, request: ReadSource) -> SourceRead:
        """Read the text of a file in a process of its own, and keep it."""

    @activity.defn(name="longform.check_cache")
    @abstractmethod
    async def check_cache(self, request: CheckCache) -> CacheChecked:
        """Look for an identical request of the same owner that completed: same brief, prompts and models."""

    @activity.defn(name="longform.decompose_topic")
    @abstractmethod
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        """Ask a model for title, thesis and sections whose word budgets add up to the target."""

    @activity.defn(name="longform.draft_section")
    @abstractmethod
    async def draft_section(self, request: DraftSection) -> Section:
        """Ask a model for one section, knowing the outline and its neighbours' purpose."""

    @activity.defn(name="longform.adjust_section")
    @abstractmethod
    async def adjust_section(self, request: AdjustSection) -> Section:
        """Ask a model to lengthen or shorten a section. The nearer of the two to the budget is kept."""

    @activity.defn(name="longform.revise_section")
    @abstractmethod
    async def revise_section(self, request: ReviseSection) -> Section:
        """Ask a model to write a section anew, following advice."""

    @activity.defn(name="longform.write_transitions")
    @abstractmethod
    async def write_transitions(self, request: WriteTransitions) -> Transitions:
        """Ask a model for the sentences between the sections, all in one call."""

    @activity.defn(name="longform.assemble_article")
    @abstractmethod
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        """Put the sections together and number the references; no model is asked."""

    @activity.defn(name="longform.replace_section")
    @abstractmethod
    async def replace_section(self, request: ReplaceSection) -> Assembled:
        """Put one section in another's place; references keep their numbers. No model is asked."""

    @activity.defn(name="longform.evaluate_article")
    @abstractmethod
    async def evaluate_article(self, request: EvaluateArticle) -> Evaluated:
        """Measure, and ask a model to judge."""

    @activity.defn(name="longform.measure_article")
    @abstractmethod
    async def measure_article(self, request: MeasureArticle) -> Evaluated:
        """Measure; no model is asked."""

    @activity.defn(name="longform.export_article")
    @abstractmethod
    async def export_article(self, request: ExportArticle) -> Output:
        """Make the file of one format and store it as an artifact of the job."""

    @activity.defn(name="longform.export_report")
    @abstractmethod
    async def export_report(self, request: ExportReport) -> ReportExported:
        """Make the report of the evaluation and store it as an artifact of the job."""

    @activity.defn(name="longform.keep_version")
    @abstractmethod
    async def keep_version(self, request: KeepVersion) -> KeptVersion:
        """Store the version under the document's next number. A job has one version."""

    @activity.defn(name="longform.open_version")
    @abstractmethod
    async def open_version(self, request: OpenVersion) -> OpenedVersion:
        """Read what a version was made of."""
