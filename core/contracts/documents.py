"""Documents: an article as it is exported, what was found when it was measured and judged, and its versions."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from core.contracts.base import ArtifactRef, Contract, Name, Sha256, ShortText
from core.contracts.jobs import Output

SourceId = Annotated[str, StringConstraints(pattern=r"^r[0-9]{1,3}$")]
"""Of a source within its job: `r1`, `r2`, in the order in which they were given. Texts cite `[@r1]` or `[@r1, @r2]`."""
SectionId = Annotated[str, StringConstraints(pattern=r"^s[0-9]{1,3}$")]
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, or a score: 0 is the worst and 1 the best."""


class Format(StrEnum):
    """The files a document can be exported to."""

    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"


class Reference(Contract):
    """One entry of the reference list. A number, once given, stays the source's in all later versions."""

    number: int = Field(ge=1)
    source_id: SourceId
    title: Name
    url: str = ""
    read_on: date | None = Field(default=None, description="The day on which the URL was read.")
    places: tuple[str, ...] = Field(
        default=(), description="Where in the source stands what is cited, as far as it has pages: `12`, `14–15`."
    )
    headings: tuple[str, ...] = Field(
        default=(), description="The headings under which it stands, in a source without pages."
    )


class ArticleSection(Contract):
    """A section of an article: Markdown without its own heading. `transition` is the sentence that leads into it."""

    id: str
    title: Name
    markdown: str
    transition: str = ""


class Article(Contract):
    """A whole document, ready to be exported. `words` counts the sections' text with their transitions."""

    title: Name
    thesis: str
    language: str
    sections: tuple[ArticleSection, ...]
    words: int
    references: tuple[Reference, ...] = ()
    """Exactly the sources that are cited, by number."""
    simulated: bool = False


class UnknownCitation(Contract):
    """A citation of something that is no source of the document. It is left out of the exports, and reported."""

    section_id: str
    cited: str


class Measured(Contract):
    """Figures that no model is asked for."""

    target_words: int
    words: int
    length_error: float = Field(description="Signed: (words - target) / target.")
    repetition: Share = Field(description="Share of the text's 4-word sequences that stood in it before.")
    readability: float | None = Field(
        default=None,
        description="LIX (Björnsson 1968): mean words a sentence plus the percentage of words over six letters; about "
        "30 is easy, 60 is hard. None for a script without word breaks.",
    )
    claims: int = Field(default=0, description="Sentences with a figure, a year or a quotation.")
    uncited_claims: int = Field(default=0, description="Of these, those in a paragraph that cites nothing.")
    heading_coverage: Share = Field(description="Share of the planned headings and key points that the text takes up.")
    section_lengths: dict[str, float] = Field(default_factory=dict, description="Signed length error by section id.")
    unknown_citations: tuple[UnknownCitation, ...] = ()
    uncited_sources: tuple[SourceId, ...] = ()
    score: Share = Field(description="All of these as one: core.documents.quality says how.")


class Criterion(Contract):
    """One line of the judge's rubric."""

    score: Share
    reason: ShortText


class Rubric(Contract):
    """What the judge says of the whole."""

    coherence: Criterion
    coverage: Criterion
    style: Criterion
    support: Criterion

    @property
    def score(self) -> float:
        """The mean of the four."""
        return sum(c.score for c in (self.coherence, self.coverage, self.style, self.support)) / 4


class SectionVerdict(Contract):
    """What the judge says of one section, and what a reviser should do about it."""

    section_id: str
    score: Share
    reason: ShortText
    advice: ShortText


JUDGE_WEIGHT = 0.6
"""Of the judge's mean in the score; the measured figures have the rest."""


class Evaluation(Contract):
    """How good one state of a document is. Without a judge (`rubric` is None) the score is that of the figures."""

    score: Share
    measured: Measured
    rubric: Rubric | None = None
    sections: tuple[SectionVerdict, ...] = ()
    model: str = ""
    simulated: bool = False


class Round(Contract):
    """One try at making a document better: which sections were revised, and whether the result was taken."""

    revised: tuple[str, ...]
    score_before: float
    score_after: float
    taken: bool


class Report(Contract):
    """The evaluation of a version, and how it was reached. Kept with the version and exported with the document."""

    evaluation: Evaluation
    threshold: float | None = None
    rounds: tuple[Round, ...] = ()


class Reason(StrEnum):
    """Why a version was made."""

    WRITTEN = "written"
    REGENERATED = "section_regenerated"
    EDITED = "section_edited"
    RESTORED = "restored"


class VersionSection(Contract):
    """A section of a version, without its text. `sha256` is that of its Markdown."""

    id: str
    title: Name
    words: int
    sha256: Sha256


class Version(Contract):
    """One immutable state of a document."""

    document_id: str
    number: int = Field(ge=1)
    parent: int | None = Field(default=None, description="The version it was made from; None for the first.")
    reason: Reason
    section_id: str | None = Field(default=None, description="The section that was regenerated or edited.")
    restored_from: int | None = None
    instructions: str = ""
    job_id: str
    title: Name
    words: int
    score: float | None = None
    sections: tuple[VersionSection, ...]
    article: ArtifactRef = Field(description="The whole content as JSON; its SHA-256 is the version's content hash.")
    outline: ArtifactRef
    report: ArtifactRef
    outputs: tuple[Output, ...] = ()
    simulated: bool = False
