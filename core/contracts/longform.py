"""`longform`: what a user asks for, what travels between its steps, and the signatures of its activities."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from temporalio import activity

from core.contracts.base import ArtifactRef, Contract, Name, Submission
from core.contracts.jobs import Output, PaidRequest, StepRequest

PIPELINE = "longform"

WORDS_A_PAGE = 500
WORDS_A_MINUTE = 150
"""Spoken words a minute of narration."""
MIN_WORDS, MAX_WORDS, DEFAULT_WORDS = 300, 20_000, 1_200
WORDS_A_SECTION = 300
"""A section of this length is one idea, and one model answer that stays under every output limit."""
MIN_SECTIONS, MAX_SECTIONS = 3, 40


class Format(StrEnum):
    """The files a document can be exported to."""

    MARKDOWN = "markdown"
    PDF = "pdf"


class LongformInput(Submission):
    """What a user asks for. One of the three lengths, or none for 1,200 words."""

    topic: Annotated[str, StringConstraints(min_length=3, max_length=8_000)] = Field(
        description="The topic in a line, or a brief of some paragraphs."
    )
    audience: Annotated[str, StringConstraints(min_length=1, max_length=300)] = "curious general readers"
    tone: Annotated[str, StringConstraints(min_length=1, max_length=300)] = "clear and factual"
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = Field(
        default="en", description="A BCP 47 language tag."
    )
    style_guide: Annotated[str, StringConstraints(max_length=4_000)] = ""
    target_words: int | None = Field(default=None, ge=MIN_WORDS, le=MAX_WORDS)
    target_pages: float | None = Field(default=None, gt=0, le=MAX_WORDS / WORDS_A_PAGE, allow_inf_nan=False)
    target_duration: float | None = Field(
        default=None, gt=0, le=MAX_WORDS / WORDS_A_MINUTE, allow_inf_nan=False, description="Minutes when read aloud."
    )
    formats: tuple[Format, ...] = Field(default=(Format.MARKDOWN, Format.PDF), min_length=1, max_length=len(Format))

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        given = [n for n in ("target_words", "target_pages", "target_duration") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"give one length, not {len(given)}: {', '.join(given)}")
        if self.words < MIN_WORDS:
            raise ValueError(f"the length comes to {self.words} words; the least is {MIN_WORDS}")
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("a format is named twice")
        return self

    @property
    def words(self) -> int:
        """The target in words."""
        if self.target_words is not None:
            return self.target_words
        if self.target_pages is not None:
            return round(self.target_pages * WORDS_A_PAGE)
        if self.target_duration is not None:
            return round(self.target_duration * WORDS_A_MINUTE)
        return DEFAULT_WORDS

    @property
    def section_count(self) -> int:
        """How many sections a document of this length has."""
        return max(MIN_SECTIONS, min(MAX_SECTIONS, round(self.words / WORDS_A_SECTION)))


class SectionPlan(Contract):
    """One section of an outline, as the model plans it. `words` is its share of the target."""

    id: Annotated[str, StringConstraints(pattern=r"^s[0-9]{1,3}$")]
    title: Name
    purpose: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    key_points: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(max_length=12)
    words: int = Field(ge=1, le=MAX_WORDS)


class Outline(Contract):
    """The whole plan of a document: an artifact, as it can pass 16 KiB."""

    title: Name
    thesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    sections: tuple[SectionPlan, ...] = Field(min_length=1, max_length=MAX_SECTIONS)
    simulated: bool = False


class SectionIdea(Contract):
    """One section as a model answers it."""

    title: Name = Field(description="A heading of three to nine words, without a number.")
    purpose: Annotated[str, StringConstraints(min_length=1, max_length=1_000)] = Field(
        description="What the reader knows after this section, in one sentence."
    )
    key_points: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(
        min_length=1, max_length=12, description="The points this section makes, in order."
    )


class OutlineAnswer(Contract):
    """What a model answers to `longform/decompose_topic`."""

    title: Name
    thesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="What the whole document argues, in one or two sentences."
    )
    sections: tuple[SectionIdea, ...] = Field(min_length=1, max_length=MAX_SECTIONS)


class SectionAnswer(Contract):
    """What a model answers to `longform/draft_section`."""

    markdown: Annotated[str, StringConstraints(min_length=1, max_length=200_000)] = Field(
        description="The section's text in Markdown: paragraphs, lists, tables, code; no heading of its own."
    )


class PlannedSection(Contract):
    """What the workflow needs to know of a section."""

    id: str
    title: Name


class Decomposed(Contract):
    """The outline by reference, and its sections by name."""

    title: Name
    outline: ArtifactRef
    sections: tuple[PlannedSection, ...]
    simulated: bool = False


class Section(Contract):
    """One written section: its Markdown by reference. `words` is counted, not promised."""

    id: str
    text: ArtifactRef
    words: int
    simulated: bool = False


class ArticleSection(Contract):
    """A section of an article: Markdown without its own heading."""

    id: str
    title: Name
    markdown: str


class Article(Contract):
    """A whole document, ready to be exported."""

    title: Name
    thesis: str
    language: str
    sections: tuple[ArticleSection, ...]
    words: int
    simulated: bool = False


class Assembled(Contract):
    """The article by reference."""

    title: Name
    article: ArtifactRef
    words: int
    simulated: bool = False


class DecomposeTopic(PaidRequest):
    """Plan a document."""

    brief: LongformInput


class DraftSection(PaidRequest):
    """Write one section of an outline."""

    brief: LongformInput
    outline: ArtifactRef
    section_id: str


class AssembleArticle(StepRequest):
    """Put the sections together in the outline's order."""

    brief: LongformInput
    outline: ArtifactRef
    sections: tuple[Section, ...]


class ExportArticle(StepRequest):
    """Make one file of an article."""

    article: ArtifactRef
    format: Format


class LongformActivities(ABC):
    """The steps of `longform`. Each is stored once by (job, step, revision); a stored one is never asked again."""

    @activity.defn(name="longform.decompose_topic")
    @abstractmethod
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        """Ask a model for title, thesis and sections whose word budgets add up to the target."""

    @activity.defn(name="longform.draft_section")
    @abstractmethod
    async def draft_section(self, request: DraftSection) -> Section:
        """Ask a model for one section, knowing the outline and its neighbours' purpose."""

    @activity.defn(name="longform.assemble_article")
    @abstractmethod
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        """Put the sections together; no model is asked."""

    @activity.defn(name="longform.export_article")
    @abstractmethod
    async def export_article(self, request: ExportArticle) -> Output:
        """Make the file of one format and store it as an artifact of the job."""
