"""`longform_revision`: a child job that writes one section of a document anew, takes yours, or restores a version."""

from temporalio import workflow

from core.contracts.documents import Reason
from core.contracts.jobs import JobRequest, JobResult, Output
from core.contracts.longform_steps import (
    Assembled,
    Evaluated,
    KeepVersion,
    KeptVersion,
    LongformActivities,
    MeasureArticle,
    OpenedVersion,
    OpenVersion,
    PlannedSection,
    ReplaceSection,
    ReportExported,
    ReviseSection,
    RevisionAct,
    RevisionInput,
    Section,
    Transitions,
    WriteTransitions,
)
from core.contracts.options import DB, LLM, RENDER
from workflows._document import DocumentWorkflow

REASONS = {
    RevisionAct.REGENERATE: Reason.REGENERATED,
    RevisionAct.EDIT: Reason.EDITED,
    RevisionAct.RESTORE: Reason.RESTORED,
}
ANEW = "Write it anew: another angle on the same purpose and key points, other examples, other sentences."


@workflow.defn(name="LongformRevision")
class LongformRevisionWorkflow(DocumentWorkflow):
    """A new version of a document. What is not named stays byte for byte."""

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """Every step is stored once; a retried job goes on behind the last one that is."""
        async with self.job(request):
            wish = RevisionInput.model_validate(request.input)
            self.plan(8)
            opened = await self._open(wish)
            self.plan(_total(wish, opened))
            article = await self._changed(wish, opened)
            evaluated = await self._evaluate(wish, opened, article)
            outputs = await self.export(article, opened.brief.formats)
            report = await self.report(opened.brief, article, evaluated)
            version = await self._keep(wish, opened, article, evaluated, outputs, report)
            self.result = _result(article, evaluated, (*outputs, report.output), version)
        return self.result

    async def _open(self, wish: RevisionInput) -> OpenedVersion:
        request = OpenVersion(
            key=self.key("open", "open version"), document_id=wish.document_id, number=wish.restore or wish.base
        )
        return await self.step(LongformActivities.open_version, request, DB)

    async def _changed(self, wish: RevisionInput, opened: OpenedVersion) -> Assembled:
        """The article as it is to be: with another section, or as it was."""
        whole = Assembled(title=opened.title, article=opened.article, words=opened.words, simulated=opened.simulated)
        if wish.act is RevisionAct.RESTORE:
            return whole
        if wish.act is RevisionAct.EDIT:
            assert wish.text is not None
            return await self._replace(wish, opened, Section(id=wish.section_id or "", text=wish.text, words=0), None)
        planned = next(section for section in opened.sections if section.id == wish.section_id)
        section = await self._regenerate(wish, opened, planned)
        return await self._replace(wish, opened, section, await self._lead_in(opened, planned))

    async def _regenerate(self, wish: RevisionInput, opened: OpenedVersion, planned: PlannedSection) -> Section:
        request = ReviseSection(
            key=self.key("sections", f"section {planned.id}"),
            brief=opened.brief,
            outline=opened.outline,
            article=opened.article,
            section_id=planned.id,
            advice=wish.instructions or ANEW,
        )
        section = await self.paid_step(LongformActivities.revise_section, request, LLM)
        return await self.fit(opened.brief, opened.outline, planned, section, revision=2)

    async def _lead_in(self, opened: OpenedVersion, planned: PlannedSection) -> Transitions | None:
        """The sentence that leads into the section, anew. The one that leads out of it belongs to the next section,
        which stays as it is."""
        if not planned.lead_in:
            return None
        request = WriteTransitions(
            key=self.key("assemble", "transitions"),
            brief=opened.brief,
            outline=opened.outline,
            article=opened.article,
            only=(planned.id,),
        )
        return await self.paid_step(LongformActivities.write_transitions, request, LLM)

    async def _replace(
        self, wish: RevisionInput, opened: OpenedVersion, section: Section, transitions: Transitions | None
    ) -> Assembled:
        request = ReplaceSection(
            key=self.key("assemble", "assemble"),
            brief=opened.brief,
            article=opened.article,
            section_id=section.id,
            text=section.text,
            title=wish.title,
            transitions=None if transitions is None else transitions.sentences,
            simulated=section.simulated,
        )
        return await self.step(LongformActivities.replace_section, request, RENDER)

    async def _evaluate(self, wish: RevisionInput, opened: OpenedVersion, article: Assembled) -> Evaluated:
        """What a model wrote is judged by one; what a person wrote or has seen before is measured only."""
        if wish.act is RevisionAct.REGENERATE:
            return await self.evaluate(opened.brief, opened.outline, article)
        request = MeasureArticle(
            key=self.key("evaluate", "evaluate"),
            brief=opened.brief,
            outline=opened.outline,
            article=article.article,
        )
        return await self.step(LongformActivities.measure_article, request, RENDER)

    async def _keep(
        self,
        wish: RevisionInput,
        opened: OpenedVersion,
        article: Assembled,
        evaluated: Evaluated,
        outputs: tuple[Output, ...],
        report: ReportExported,
    ) -> KeptVersion:
        request = KeepVersion(
            key=self.key("version", "version"),
            brief=opened.brief,
            document_id=wish.document_id,
            parent=wish.base,
            reason=REASONS[wish.act],
            section_id=wish.section_id,
            restored_from=wish.restore,
            instructions=wish.instructions,
            outline=opened.outline,
            article=article.article,
            report=report.report,
            score=evaluated.score,
            outputs=(*outputs, report.output),
            simulated=article.simulated,
        )
        return await self.step(LongformActivities.keep_version, request, DB)


def _total(wish: RevisionInput, opened: OpenedVersion) -> int:
    """Steps: open, the section with its lead-in if a model writes it, assemble unless restored, evaluate, each
    format, report, version."""
    written = 0
    if wish.act is RevisionAct.REGENERATE:
        written = 1 + any(section.lead_in for section in opened.sections if section.id == wish.section_id)
    return 4 + written + (wish.act is not RevisionAct.RESTORE) + len(opened.brief.formats)


def _result(article: Assembled, evaluated: Evaluated, outputs: tuple[Output, ...], version: KeptVersion) -> JobResult:
    return JobResult(
        outputs=outputs,
        summary={
            "title": article.title,
            "words": article.words,
            "document_id": version.document_id,
            "version": version.number,
            "score": evaluated.score,
        },
        simulated=article.simulated,
    )
