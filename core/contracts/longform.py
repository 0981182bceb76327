"""`longform`: what a user asks for, the plan that is made of it, and what models answer."""

from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from core.contracts.base import (
    ArtifactRef,
    Attachment,
    Contract,
    Name,
    Prepared,
    Referred,
    ShortText,
    Submission,
    attachment,
)
from core.contracts.documents import Format, SectionId, SourceId
from core.contracts.errors import ErrorType
from core.contracts.reading import UploadedFile

PIPELINE = "longform"

WORDS_A_PAGE = 500
WORDS_A_MINUTE = 150
"""Spoken words a minute of narration."""
MIN_WORDS, MAX_WORDS, DEFAULT_WORDS = 300, 20_000, 1_200
WORDS_A_SECTION = 300
"""A section of this length is one idea, and one model answer that stays under every output limit."""
MIN_SECTIONS, USUAL_SECTIONS, MAX_SECTIONS = 3, 40, 60
"""The least and most that are asked of a model, and the most that an outline can have."""
LEAST_BUDGET, MOST_BUDGET = 40, 3_000
"""Words of a section: a shorter one says nothing, a longer one is more than a model writes at once."""
MAX_SOURCES, MAX_SOURCE_CHARACTERS = 20, 400_000
TRANSITION_WORDS = 18
"""Of a section's budget these lead into it; a section of less than `TRANSITION_FROM` words has no such sentence."""
TRANSITION_FROM = 150
LENGTH_TOLERANCE = 0.15
"""A section that misses its budget by more than this gets a second pass."""
PARALLEL_SECTIONS = 12
"""Sections of one job that are written at once."""
REVISED_A_ROUND = 3
"""At most so many of the weakest sections are revised in one round."""

Instructions = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
PARALLEL_READS = 4
"""Sources of one job that are fetched and read at once."""
LONGEST_SOURCE_URL = 2_000
"""Characters. It travels through the workflow with every step."""


class Priority(StrEnum):
    """How much a source matters: what is high is used whenever it fits, what is low only where nothing else does."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class SourceInput(Submission):
    """Something to write from, and to cite: a text, or where to read one."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SOURCE_CHARACTERS)] | None = Field(
        default=None, description="Plain text or Markdown. Markup in it never becomes markup of the document."
    )
    url: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SOURCE_URL)] | None = Field(
        default=None, description="Of a web page, a text, a PDF or a DOCX document that everybody can read."
    )
    upload_id: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        default=None, description="A completed upload of yours: text, Markdown, JSON, PDF or DOCX."
    )
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        default=None, description="How the reference list names it; without one its own title or first line does."
    )
    priority: Priority = Priority.NORMAL
    required: bool = Field(
        default=True,
        description="Whether the job fails when it cannot be read. If not, the report says why it was left out.",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [name for name in ("text", "url", "upload_id") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of text, url and upload_id" + (f", not {len(given)}" if given else ""))
        if self.text is not None and not any(map(str.isalnum, self.text)):
            raise ValueError("the source has no text")
        return self


def name_of(*candidates: str | None) -> str:
    """The first line that says something, of the first candidate that has one; cut short."""
    lines = (" ".join(line.split()).lstrip("#*->_ ") for text in candidates for line in (text or "").splitlines())
    found = next((line for line in lines if any(map(str.isalnum, line))), "Source")
    return found if len(found) <= 120 else found[:119].rstrip() + "…"


class Topic(Contract):
    """What every brief says, whoever fills it in."""

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
    review_outline: bool = Field(
        default=False, description="Wait for your word on the outline before a section is written."
    )
    quality_threshold: float = Field(
        default=0.7, ge=0, le=1, allow_inf_nan=False, description="The weakest sections are revised below this score."
    )
    max_revisions: int = Field(default=1, ge=0, le=5, description="Rounds of revision at most.")
    cache: Literal["use", "bypass"] = Field(
        default="use", description="`use` answers an identical request that completed with its document."
    )

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
        return max(MIN_SECTIONS, min(USUAL_SECTIONS, round(self.words / WORDS_A_SECTION)))


class LongformInput(Topic, Submission):
    """What a user asks for. One of the three lengths, or none for 1,200 words."""

    sources: tuple[SourceInput, ...] = Field(default=(), max_length=MAX_SOURCES)

    @model_validator(mode="before")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if isinstance(value, dict) and "narrate" in value:
            raise ValueError("narration is not available yet: leave `narrate` out")
        return value

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


class Source(Contract):
    """A source as it travels: its text is in the artifact store. `characters` is its length."""

    id: SourceId
    title: Name
    priority: Priority = Priority.NORMAL
    text: ArtifactRef
    characters: int
    url: str = ""
    """Where it was found in the end, if it was fetched."""
    read_on: date | None = None
    """When it was fetched, in UTC."""
    pages: int | None = None
    pages_without_text: int = 0
    placed: bool = False
    """Its text says where its pages begin: `[p. 12]` on a line of its own, as `core.documents.extraction` has it."""
    cut_from: int = 0
    """Characters that it had before it was cut to `MAX_SOURCE_CHARACTERS`; 0: it was not."""


class UnreadSource(Contract):
    """A source of which nobody has the text yet: a URL, or an upload's file."""

    id: SourceId
    title: Name | None = None
    priority: Priority = Priority.NORMAL
    required: bool = True
    url: str = ""
    file: UploadedFile | None = None

    @property
    def name(self) -> str:
        """What it is called before it is read."""
        return name_of(self.title, self.file.name if self.file else self.url)


class LeftOut(Contract):
    """A source that could not be read, and that the document does without."""

    id: SourceId
    title: Name
    code: ErrorType
    reason: ShortText


class Brief(Topic):
    """What a user asked for, as the workflow gets it: long texts by reference."""

    sources: tuple[Source, ...] = ()
    unread: tuple[UnreadSource, ...] = ()
    """Sources that are to be read first; then they are `sources`, or `left_out`."""
    left_out: tuple[LeftOut, ...] = ()


def refers(given: LongformInput) -> Iterator[Referred]:
    """The URLs and uploads that an input names, with their places in it."""
    for number, source in enumerate(given.sources):
        if source.url is not None:
            yield Referred(("sources", str(number), "url"), url=source.url)
        if source.upload_id is not None:
            yield Referred(("sources", str(number), "upload_id"), upload_id=source.upload_id)


def prepare(
    given: LongformInput, owner_id: str, uploads: Mapping[str, UploadedFile] = MappingProxyType({})
) -> Prepared:
    """The brief of an input: its sources get ids, and their texts and files become attachments.

    `uploads` holds the files of all the uploads that it names, by the ids it gives.
    """
    files: list[Attachment] = []
    sources: list[Source] = []
    unread: list[UnreadSource] = []
    for number, source in enumerate(given.sources, start=1):
        id = f"r{number}"
        if source.text is not None:
            files.append(attachment(owner_id, f"source-{id}.txt", source.text, "text/plain; charset=utf-8"))
            sources.append(
                Source(
                    id=id,
                    title=name_of(source.title, source.text),
                    priority=source.priority,
                    text=files[-1].ref,
                    characters=len(source.text),
                )
            )
            continue
        file = None if source.upload_id is None else uploads[source.upload_id]
        if file is not None:
            # A row of the job's own: it can be read when the upload is deleted meanwhile.
            files.append(Attachment(f"source-{id}.{file.kind.value}", file.ref, None))
        unread.append(
            UnreadSource(
                id=id,
                title=source.title,
                priority=source.priority,
                required=source.required,
                url=source.url or "",
                file=file,
            )
        )
    fields = {name: getattr(given, name) for name in Topic.model_fields}
    return Prepared(Brief(**fields, sources=tuple(sources), unread=tuple(unread)), tuple(files))


KeyPoint = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Purpose = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class SectionPlan(Contract):
    """One section of an outline. `words` is its share of the target, with the sentence that leads into it."""

    id: SectionId
    title: Name
    purpose: Purpose
    key_points: tuple[KeyPoint, ...] = Field(max_length=12)
    words: int = Field(ge=1, le=MAX_WORDS)
    sources: tuple[SourceId, ...] = ()


class Outline(Contract):
    """The whole plan of a document: an artifact, as it can pass 16 KiB."""

    title: Name
    thesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    sections: tuple[SectionPlan, ...] = Field(min_length=1, max_length=MAX_SECTIONS)
    simulated: bool = False

    @property
    def words(self) -> int:
        """The length of the document that is planned."""
        return sum(section.words for section in self.sections)

    def lead_in(self, number: int) -> int:
        """Words of the sentence that leads into a section; `number` counts from 0. 0: it has none."""
        return TRANSITION_WORDS if number > 0 and self.sections[number].words >= TRANSITION_FROM else 0


class SectionIdea(Contract):
    """One section as a model answers it."""

    title: Name = Field(description="A heading of three to nine words, without a number.")
    purpose: Purpose = Field(description="What the reader knows after this section, in one sentence.")
    key_points: tuple[KeyPoint, ...] = Field(
        min_length=1, max_length=12, description="The points this section makes, in order."
    )
    words: int = Field(default=0, ge=0, le=MAX_WORDS, description="Its share of the document's words.")
    sources: tuple[str, ...] = Field(
        default=(), max_length=MAX_SOURCES, description="Ids of the sources it should draw on, such as r1."
    )


class OutlineAnswer(Contract):
    """What a model answers to `longform/decompose_topic`."""

    title: Name
    thesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="What the whole document argues, in one or two sentences."
    )
    sections: tuple[SectionIdea, ...] = Field(min_length=1, max_length=MAX_SECTIONS)


class SectionAnswer(Contract):
    """What a model answers to `longform/draft_section`, `adjust_section` and `revise_section`."""

    markdown: Annotated[str, StringConstraints(min_length=1, max_length=200_000)] = Field(
        description="The section's text in Markdown: paragraphs, lists, tables, code; no heading of its own."
    )


class TransitionAnswer(Contract):
    """One sentence between two sections."""

    number: int = Field(ge=1, description="The section it leads into.")
    text: Annotated[str, StringConstraints(min_length=1, max_length=600)] = Field(
        description="Plain text, one sentence."
    )


class TransitionsAnswer(Contract):
    """What a model answers to `longform/write_transitions`."""

    transitions: tuple[TransitionAnswer, ...] = Field(max_length=MAX_SECTIONS)


class JudgedCriterion(Contract):
    """A score with its reason. The reason comes first, so that the score follows from it."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    score: int = Field(ge=0, le=10)


class JudgedSection(Contract):
    """A section's score, its reason, and what a reviser should do."""

    number: int = Field(ge=1)
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    advice: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    score: int = Field(ge=0, le=10)


class JudgeAnswer(Contract):
    """What a model answers to `longform/judge_article`."""

    coherence: JudgedCriterion = Field(description="Does one argument run through it, in an order that helps?")
    coverage: JudgedCriterion = Field(description="Does it do what thesis, purposes and key points promise?")
    style: JudgedCriterion = Field(description="Does it keep to audience, tone, language and style guide?")
    support: JudgedCriterion = Field(description="Do claims rest on the sources given, or on what is well known?")
    sections: tuple[JudgedSection, ...] = Field(max_length=MAX_SECTIONS, description="Every section, by its number.")
