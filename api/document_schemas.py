"""What requests and answers about outlines, documents and their versions look like; see `schemas.py`."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from api.schemas import AnswerModel, OutputView, Title, Usd
from core.contracts.base import ShortText, Submission
from core.contracts.documents import Reason, Reference, Report
from core.contracts.llm import ModelChain
from core.contracts.longform import Instructions

Round = Annotated[int, Field(ge=1, lt=2**31)]
VersionNumber = Annotated[int, Field(ge=1, lt=2**31)]


class OutlineApproval(Submission):
    """The outline is good."""

    round: Round | None = Field(default=None, description="Which outline it is about; another one refuses it.")


class OutlineRevision(Submission):
    """The outline is to be planned again."""

    instructions: Instructions = Field(description="What is to be different.")
    round: Round | None = Field(default=None, description="Which outline it is about; another one refuses it.")


class PlannedSectionView(AnswerModel):
    """A section of an outline. `words` is its budget, `sources` are ids of the job's sources."""

    id: str
    title: str
    purpose: str
    key_points: list[str]
    words: int
    sources: list[str]


class OutlineView(AnswerModel):
    """The newest outline of a job. `waiting`: the job waits for your word on it, until `expires_at`."""

    job_id: str
    round: int = Field(description="Counts from 1: each word that asks for another outline makes a next one.")
    waiting: bool
    expires_at: datetime | None
    title: str
    thesis: str
    words: int
    sections: list[PlannedSectionView]
    simulated: bool


class RegenerateSection(Submission):
    """Have a model write a section anew."""

    instructions: ShortText = Field(default="", description="What is to be different. Without it: another try.")
    base: VersionNumber | None = Field(default=None, description="The version to start from; the newest if left out.")
    models: ModelChain | None = Field(
        default=None,
        description="Models as `provider:model`, in the order in which they are tried. By default what is configured.",
    )
    budget_usd: Usd | None = Field(
        default=None, description="The most that the job may cost, in US dollars; see the same field of a job."
    )


class EditSection(Submission):
    """Put your own text in the place of a section's."""

    markdown: Annotated[str, StringConstraints(min_length=1, max_length=200_000)] = Field(
        description="The section's text without its heading. Cite the document's sources as `[@r1]`."
    )
    title: Title | None = Field(default=None, description="Another heading; it stays if left out.")
    base: VersionNumber | None = Field(default=None, description="The version to start from; the newest if left out.")

    @field_validator("markdown")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not any(map(str.isalnum, value)):
            raise ValueError("the section has no text")
        return value


class DiffQuery(BaseModel):
    """Which two versions are compared."""

    model_config = ConfigDict(extra="forbid")

    old: VersionNumber = Field(alias="from", description="The number of the older version.")
    new: VersionNumber = Field(alias="to", description="The number of the newer version.")


class DocumentView(AnswerModel):
    """A document as its newest version (`latest`) has it. `versions` counts them; numbers are never used again."""

    id: str
    title: str
    latest: int
    versions: int
    words: int
    score: float | None
    simulated: bool
    language: str
    created_at: datetime
    updated_at: datetime


class DocumentList(AnswerModel):
    """A page of documents, newest first. Without `next_cursor` it is the last."""

    items: list[DocumentView]
    next_cursor: str | None


class VersionSectionView(AnswerModel):
    """A section of a version; `sha256` is that of its Markdown."""

    id: str
    title: str
    words: int
    sha256: str


class WholeSectionView(VersionSectionView):
    """A section with its text. `transition` is the sentence that leads into it, in plain text."""

    markdown: str
    transition: str


class VersionSummary(AnswerModel):
    """What every view of a version says. `sha256` is the hash of its whole content."""

    document_id: str
    number: int
    parent: int | None = Field(description="The version it was made from; null for the first.")
    reason: Reason
    section_id: str | None = Field(description="The section that was regenerated or edited.")
    restored_from: int | None
    instructions: str
    job_id: str = Field(description="The job that made it.")
    title: str
    language: str
    words: int
    score: float | None
    simulated: bool
    sha256: str
    outputs: list[OutputView]
    created_at: datetime


class VersionView(VersionSummary):
    """A version of a document without its text."""

    sections: list[VersionSectionView]


class VersionList(AnswerModel):
    """A page of versions, newest first. Without `next_cursor` it is the last."""

    items: list[VersionView]
    next_cursor: str | None


class WholeVersionView(VersionSummary):
    """A version with its text, its references, and how good it was found."""

    thesis: str
    sections: list[WholeSectionView]
    references: list[Reference]
    report: Report
