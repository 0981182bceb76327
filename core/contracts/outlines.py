"""How an outline comes to be: from a model's answer, and from what a person changes in it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from core.contracts.base import ArtifactRef, Name, Submission
from core.contracts.documents import SectionId, SourceId
from core.contracts.longform import (
    LEAST_BUDGET,
    MAX_SECTIONS,
    MAX_SOURCES,
    MAX_WORDS,
    MIN_WORDS,
    MOST_BUDGET,
    Brief,
    KeyPoint,
    Outline,
    OutlineAnswer,
    Purpose,
    SectionPlan,
)
from core.contracts.longform_steps import Decomposed, PlannedSection


class SectionEdit(Submission):
    """One section of an edited outline. What is left out stays; without an `id` it is a new section."""

    id: SectionId | None = None
    title: Name | None = None
    purpose: Purpose | None = None
    key_points: tuple[KeyPoint, ...] | None = Field(default=None, max_length=12)
    words: int | None = Field(default=None, ge=0, le=MAX_WORDS, description="Its budget; without one it gets a share.")
    sources: tuple[SourceId, ...] | None = Field(default=None, max_length=MAX_SOURCES)


class OutlineEdit(Submission):
    """An outline as a person wants it: the sections in their order. A section that is not named is removed."""

    title: Name | None = None
    thesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] | None = None
    sections: tuple[SectionEdit, ...] = Field(max_length=MAX_SECTIONS)
    approve: bool = Field(default=True, description="Write it at once; `false` shows it to you once more.")
    round: int | None = Field(
        default=None, ge=1, description="Which outline it was made from; another one refuses the edit."
    )


class OutlineEditError(ValueError):
    """An edit that makes no outline. `loc` is the place in the edit."""

    def __init__(self, loc: str, message: str) -> None:
        super().__init__(message)
        self.loc = loc


def plan_outline(answer: OutlineAnswer, brief: Brief, *, simulated: bool) -> Outline:
    """The outline of an answer: sections get ids, known sources, and budgets that add up to the target."""
    known = {source.id for source in brief.sources}
    count = len(answer.sections)
    # A model's shares count within reason: half to double an even share, so that no answer gets too long to write.
    even = brief.words / count
    wishes = [min(max(idea.words or even, even / 2), even * 2) for idea in answer.sections]
    sections = tuple(
        SectionPlan(
            id=f"s{number}",
            title=idea.title,
            purpose=idea.purpose,
            key_points=idea.key_points,
            words=words,
            sources=tuple(dict.fromkeys(source for source in idea.sources if source in known)),
        )
        for number, (idea, words) in enumerate(zip(answer.sections, share_out(brief.words, wishes), strict=True), 1)
    )
    return Outline(title=answer.title, thesis=answer.thesis, sections=sections, simulated=simulated)


def planned(outline: Outline, ref: ArtifactRef) -> Decomposed:
    """What the workflow needs to know of an outline that lies in the store."""
    sections = tuple(
        PlannedSection(
            id=section.id,
            title=section.title,
            words=section.words - outline.lead_in(number),
            lead_in=outline.lead_in(number),
        )
        for number, section in enumerate(outline.sections)
    )
    return Decomposed(title=outline.title, outline=ref, sections=sections, simulated=outline.simulated)


def share_out(total: int, wishes: list[float]) -> list[int]:
    """Whole numbers of at least 1 in proportion to the wishes, which add up to the total exactly."""
    scale = total / sum(wishes)
    shares, due, given = list[int](), 0.0, 0
    for wish in wishes:
        due += wish * scale
        share = max(1, round(due) - given)
        shares.append(share)
        given += share
    shares[-1] += total - sum(shares)
    return shares


def edited_outline(outline: Outline, edit: OutlineEdit, brief: Brief) -> Outline:
    """The outline as the edit wants it. Raises `OutlineEditError` when it makes none.

    Sections without a budget share what the others leave of the target. If all have one, their sum is the new length
    of the document.
    """
    if not edit.sections:
        raise OutlineEditError("sections", "An outline needs a section; to drop the document, cancel the job.")
    _check_ids(outline, edit)
    budgets = _budgets(outline, edit, brief)
    known = {section.id: section for section in outline.sections}
    next_id = 1 + max(int(section.id[1:]) for section in outline.sections)
    sections: list[SectionPlan] = []
    for at, (change, words) in enumerate(zip(edit.sections, budgets, strict=True)):
        sections.append(_section(known, change, words, at, f"s{next_id}", brief))
        next_id += change.id is None
    return outline.model_copy(
        update={
            "title": edit.title or outline.title,
            "thesis": edit.thesis or outline.thesis,
            "sections": tuple(sections),
        }
    )


def _check_ids(outline: Outline, edit: OutlineEdit) -> None:
    known = {section.id for section in outline.sections}
    seen: set[str] = set()
    for at, change in enumerate(edit.sections):
        if change.id is None:
            continue
        if change.id not in known:
            raise OutlineEditError(f"sections.{at}.id", f"The outline has no section {change.id}; leave out a new id.")
        if change.id in seen:
            raise OutlineEditError(f"sections.{at}.id", f"The section {change.id} is named twice.")
        seen.add(change.id)


def _budgets(outline: Outline, edit: OutlineEdit, brief: Brief) -> list[int]:
    """The words of each section. Raises `OutlineEditError`."""
    given = [change.words for change in edit.sections]
    for at, words in enumerate(given):
        if words is not None and words < LEAST_BUDGET:
            raise OutlineEditError(
                f"sections.{at}.words", f"A section has at least {LEAST_BUDGET} words; leave it out to remove it."
            )
    total = sum(words for words in given if words is not None)
    free = given.count(None)
    if not free:
        if not MIN_WORDS <= total <= MAX_WORDS:
            raise OutlineEditError(
                "sections", f"The budgets add up to {total} words; a document has {MIN_WORDS} to {MAX_WORDS}."
            )
        return _writable([words for words in given if words is not None])
    left = brief.words - total
    if left < free * LEAST_BUDGET:
        raise OutlineEditError(
            "sections",
            f"{free} sections without a budget share {max(left, 0)} of {brief.words} words; each needs at least "
            f"{LEAST_BUDGET}. Give every section a budget, or fewer sections.",
        )
    before = {section.id: section.words for section in outline.sections}
    wishes = [
        float(before.get(change.id or "", outline.words / len(outline.sections)))
        for change in edit.sections
        if change.words is None
    ]
    shares = iter(share_out(left - free * LEAST_BUDGET, wishes) if left > free * LEAST_BUDGET + free else [0] * free)
    return _writable([words if words is not None else LEAST_BUDGET + next(shares) for words in given])


def _writable(budgets: list[int]) -> list[int]:
    for at, words in enumerate(budgets):
        if words > MOST_BUDGET:
            raise OutlineEditError(
                f"sections.{at}.words",
                f"The section would have {words} words; at most {MOST_BUDGET} are written at once. Split it.",
            )
    return budgets


def _section(
    known: dict[str, SectionPlan], change: SectionEdit, words: int, at: int, new_id: str, brief: Brief
) -> SectionPlan:
    sources = {source.id for source in brief.sources}
    for source in change.sources or ():
        if source not in sources:
            raise OutlineEditError(f"sections.{at}.sources", f"The job has no source {source}.")
    base = known.get(change.id or "")
    if base is None:
        if change.title is None:
            raise OutlineEditError(f"sections.{at}.title", "A new section needs a title.")
        purpose = change.purpose or change.title
        return SectionPlan(
            id=new_id,
            title=change.title,
            purpose=purpose,
            key_points=change.key_points if change.key_points is not None else (purpose[:500],),
            words=words,
            sources=change.sources or (),
        )
    wanted = change.model_dump(exclude={"id", "words"}, exclude_none=True)
    return base.model_copy(update={**{name: getattr(change, name) for name in wanted}, "words": words})
