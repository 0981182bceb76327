"""`longform`: plan, have the plan approved, write, assemble, judge and revise, export, keep a version."""

import asyncio
from dataclasses import dataclass
from itertools import count

from temporalio import workflow

from core.contracts.base import Json
from core.contracts.documents import Reason, Round
from core.contracts.jobs import Answer, AnswerFile, JobRequest, JobResult, Output
from core.contracts.llm import ModelChain
from core.contracts.longform import PARALLEL_SECTIONS, Brief
from core.contracts.longform_steps import (
    REVIEW_STEP,
    AssembleArticle,
    Assembled,
    CacheChecked,
    CheckCache,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    Evaluated,
    KeepVersion,
    KeptVersion,
    LongformActivities,
    OutlineAgain,
    OutlineApproved,
    OutlineEdited,
    PlannedSection,
    ReportExported,
    ReviseSection,
    Section,
    Transitions,
    WriteTransitions,
)
from core.contracts.options import DB, LLM, RENDER
from workflows._chain import optional, together
from workflows._document import DocumentWorkflow
from workflows._longform_first import first_form
from workflows._review import ReviewGate
from workflows._sources import own_hit, reading_steps, sources_summary, with_sources

WHOLE = "longform-whole-2026-11-21"
"""Runs that began before this day decompose, write, assemble and export, and no more."""
SHARED_BY = 4
"""Sections from which on it pays that the others wait for the first: they find its beginning in the model's cache."""
APPROVE, EDIT, AGAIN = "approve_outline", "edit_outline", "revise_outline"


@dataclass(frozen=True)
class State:
    """The document at some point: its sections, put together and judged."""

    sections: tuple[Section, ...]
    assembled: Assembled
    evaluated: Evaluated
    rounds: tuple[Round, ...] = ()


@workflow.defn(name="Longform")
class LongformWorkflow(DocumentWorkflow):
    """A document from a topic or a brief."""

    def __init__(self) -> None:
        super().__init__()
        self._review = ReviewGate(self)
        self._plan: Decomposed | None = None

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """Every step is stored once; a retried job goes on behind the last one that is."""
        async with self.job(request):
            brief = Brief.model_validate(request.input)
            self.reuse = brief.cache == "use"
            if not workflow.patched(WHOLE):
                self.result = await first_form(self, brief)
                return self.result
            reading = reading_steps(brief)
            self.plan(reading + _total(brief, brief.section_count))
            # Before the look for an identical request: what was read is part of what is asked.
            brief = await with_sources(self, brief)
            checked = await self._check_cache(brief, request.models)
            if checked.hit is not None:
                self.result = own_hit(brief, checked.hit)
                return self.result
            plan = await self._outline(brief)
            self.plan(reading + _total(brief, len(plan.sections), transitions=_has_transitions(plan)))
            sections = await self._write(brief, plan)
            transitions = await self._lead_in(brief, plan, sections)
            best = await self._improve(brief, plan, sections, transitions)
            outputs = await self.export(best.assembled, brief.formats)
            report = await self.report(brief, best.assembled, best.evaluated, best.rounds, brief.quality_threshold)
            version = await self._keep(brief, plan, best, outputs, report, checked)
            self.result = _result(brief, best, (*outputs, report.output), version)
        return self.result

    @workflow.query
    def outline(self) -> Decomposed | None:
        """The plan of the document, when there is one."""
        return self._plan

    @workflow.update
    async def approve_outline(self, verdict: OutlineApproved) -> Answer:
        """Write the document so."""
        return await self._review.take(APPROVE, verdict.body_sha256, {})

    @workflow.update
    async def edit_outline(self, verdict: OutlineEdited) -> Answer:
        """Write it by this outline instead, or ask once more with it."""
        files = (AnswerFile(name="outline.json", ref=verdict.plan.outline),)
        data = {"plan": verdict.plan.model_dump(mode="json"), "approved": verdict.approve}
        return await self._review.take(EDIT, verdict.body_sha256, data, files)

    @workflow.update
    async def revise_outline(self, verdict: OutlineAgain) -> Answer:
        """Plan it again, like this."""
        return await self._review.take(AGAIN, verdict.body_sha256, {"instructions": verdict.instructions})

    @approve_outline.validator
    def _can_approve(self, verdict: OutlineApproved) -> None:
        self._review.check(verdict.round)

    @edit_outline.validator
    def _can_edit(self, verdict: OutlineEdited) -> None:
        self._review.check(verdict.round)

    @revise_outline.validator
    def _can_revise(self, verdict: OutlineAgain) -> None:
        self._review.check(verdict.round)

    async def _check_cache(self, brief: Brief, models: ModelChain) -> CacheChecked:
        request = CheckCache(key=self.key("cache", "cache"), brief=brief, models=models)
        return await self.step(LongformActivities.check_cache, request, DB)

    async def _outline(self, brief: Brief) -> Decomposed:
        """The plan; if a person is to review it, the one that they approve."""
        self._plan = await self._decompose(DecomposeTopic(key=self.key("outline", "decompose"), brief=brief))
        if not brief.review_outline:
            return self._plan
        for number in count(1):
            answer = await self._review.ask(
                self.key("outline", REVIEW_STEP, number), _question(brief, self._plan, number)
            )
            if answer.act == AGAIN:
                again = DecomposeTopic(
                    key=self.key("outline", "decompose", number + 1),
                    brief=brief,
                    previous=self._plan.outline,
                    instructions=answer.data["instructions"],
                )
                self._plan = await self._decompose(again)
                continue
            if answer.act == EDIT:
                self._plan = Decomposed.model_validate(answer.data["plan"])
            if answer.act == APPROVE or answer.data.get("approved", True):
                break
        return self._plan

    async def _decompose(self, request: DecomposeTopic) -> Decomposed:
        return await self.paid_step(LongformActivities.decompose_topic, request, LLM)

    async def _write(self, brief: Brief, plan: Decomposed) -> tuple[Section, ...]:
        """All sections side by side, a bounded number at once; each brought to its length.

        Where the provider keeps what their prompts have in common, the first is drafted before the others: it is then
        billed to them at a tenth.
        """
        first: Section | None = None
        if plan.shares_prefix and len(plan.sections) >= SHARED_BY:
            first = await self._draft(brief, plan, plan.sections[0])
        room = asyncio.Semaphore(PARALLEL_SECTIONS)

        async def write(section: PlannedSection) -> Section:
            async with room:
                drafted = first if section is plan.sections[0] else None
                draft = drafted or await self._draft(brief, plan, section)
                return await self.fit(brief, plan.outline, section, draft, revision=2)

        return tuple(await together(write(section) for section in plan.sections))

    async def _draft(self, brief: Brief, plan: Decomposed, section: PlannedSection) -> Section:
        request = DraftSection(
            key=self.key("sections", f"section {section.id}"),
            brief=brief,
            outline=plan.outline,
            section_id=section.id,
        )
        return await self.paid_step(LongformActivities.draft_section, request, LLM)

    async def _lead_in(self, brief: Brief, plan: Decomposed, sections: tuple[Section, ...]) -> Transitions | None:
        """The sentences between the sections; none where sections are too short for them."""
        if not _has_transitions(plan):
            return None
        request = WriteTransitions(
            key=self.key("assemble", "transitions"), brief=brief, outline=plan.outline, sections=sections
        )
        return await self.paid_step(LongformActivities.write_transitions, request, LLM)

    async def _improve(
        self, brief: Brief, plan: Decomposed, sections: tuple[Section, ...], transitions: Transitions | None
    ) -> State:
        """Judge the document and revise its weakest sections while that helps."""
        best = await self._state(brief, plan, sections, transitions, revision=1)
        rounds: list[Round] = []
        for number in range(1, brief.max_revisions + 1):
            if best.evaluated.score >= brief.quality_threshold:
                break
            revised = await self._revise(brief, plan, best, number)
            if not revised:
                break
            sections = tuple(revised.get(section.id, section) for section in best.sections)
            candidate = await self._state(brief, plan, sections, transitions, revision=number + 1)
            taken = candidate.evaluated.score > best.evaluated.score
            rounds.append(
                Round(
                    revised=tuple(revised),
                    score_before=best.evaluated.score,
                    score_after=candidate.evaluated.score,
                    taken=taken,
                )
            )
            if not taken:
                break
            best = candidate
        return State(best.sections, best.assembled, best.evaluated, tuple(rounds))

    async def _state(
        self,
        brief: Brief,
        plan: Decomposed,
        sections: tuple[Section, ...],
        transitions: Transitions | None,
        *,
        revision: int,
    ) -> State:
        request = AssembleArticle(
            key=self.key("assemble", "assemble", revision),
            brief=brief,
            outline=plan.outline,
            sections=sections,
            transitions=None if transitions is None else transitions.sentences,
        )
        assembled = await self.step(LongformActivities.assemble_article, request, RENDER)
        return State(sections, assembled, await self.evaluate(brief, plan.outline, assembled, revision=revision))

    async def _revise(self, brief: Brief, plan: Decomposed, best: State, number: int) -> dict[str, Section]:
        """The weakest sections written anew, by id; without those that no model could write."""
        planned = {section.id: section for section in plan.sections}

        async def revise(section: PlannedSection, advice: str) -> Section | None:
            request = ReviseSection(
                key=self.key("revise", f"section {section.id}", 2 * number + 1),
                brief=brief,
                outline=plan.outline,
                article=best.assembled.article,
                section_id=section.id,
                advice=advice,
            )
            revised = await optional(self.paid_step(LongformActivities.revise_section, request, LLM))
            if revised is None:
                return None
            return await self.fit(brief, plan.outline, section, revised, revision=2 * number + 2)

        found = await together(revise(planned[weak.section_id], weak.advice) for weak in best.evaluated.weakest)
        return {section.id: section for section in found if section is not None}

    async def _keep(
        self,
        brief: Brief,
        plan: Decomposed,
        best: State,
        outputs: tuple[Output, ...],
        report: ReportExported,
        checked: CacheChecked,
    ) -> KeptVersion:
        key = self.key("version", "version")
        request = KeepVersion(
            key=key,
            brief=brief,
            document_id=key.job_id,
            reason=Reason.WRITTEN,
            outline=plan.outline,
            article=best.assembled.article,
            report=report.report,
            score=best.evaluated.score,
            outputs=(*outputs, report.output),
            cache_key=checked.cache_key,
            simulated=best.assembled.simulated,
        )
        return await self.step(LongformActivities.keep_version, request, DB)


def _has_transitions(plan: Decomposed) -> bool:
    return any(section.lead_in for section in plan.sections)


def _total(brief: Brief, sections: int, *, transitions: bool = True) -> int:
    """Steps: cache, decompose, the review if asked for, each section, transitions, assemble, evaluate, each format,
    report, version."""
    return 6 + brief.review_outline + sections + transitions + len(brief.formats)


def _question(brief: Brief, plan: Decomposed, number: int) -> Json:
    """What a job that waits for its outline says of it."""
    return {
        "what": "outline_review",
        "question": "Approve the outline, edit it, or ask for another with instructions.",
        "acts": [APPROVE, EDIT, AGAIN],
        "round": number,
        "title": plan.title,
        "sections": len(plan.sections),
        "words": sum(section.words + section.lead_in for section in plan.sections),
    }


def _result(brief: Brief, best: State, outputs: tuple[Output, ...], version: KeptVersion) -> JobResult:
    return JobResult(
        outputs=outputs,
        summary={
            "title": best.assembled.title,
            "words": best.assembled.words,
            "document_id": version.document_id,
            "version": version.number,
            "score": best.evaluated.score,
            "threshold_met": best.evaluated.score >= brief.quality_threshold,
            "revisions": sum(round.taken for round in best.rounds),
            "cached": False,
            **sources_summary(brief),
        },
        simulated=best.assembled.simulated,
    )
