"""`longform`: decompose the topic, write the sections in parallel, assemble them, export the files."""

from temporalio import workflow

from core.contracts.jobs import JobRequest, JobResult, Output
from core.contracts.longform import (
    AssembleArticle,
    Assembled,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    ExportArticle,
    Format,
    LongformActivities,
    LongformInput,
    PlannedSection,
    Section,
)
from core.contracts.options import LLM, RENDER
from workflows._job import JobWorkflow, together


@workflow.defn(name="Longform")
class LongformWorkflow(JobWorkflow):
    """An article from a topic or a brief."""

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """Every step is stored once; a retried job goes on behind the last one that is."""
        async with self.job(request):
            brief = LongformInput.model_validate(request.input)
            self.plan(_total(brief, brief.section_count))
            plan = await self._decompose(brief)
            self.plan(_total(brief, len(plan.sections)))
            sections = await together(self._draft(brief, plan, section) for section in plan.sections)
            article = await self._assemble(brief, plan, sections)
            outputs = await together(self._export(article, format) for format in brief.formats)
            self.result = _result(article, outputs)
        return self.result

    async def _decompose(self, brief: LongformInput) -> Decomposed:
        key = self.key("decompose", "decompose")
        return await self.paid_step(LongformActivities.decompose_topic, DecomposeTopic(key=key, brief=brief), LLM)

    async def _draft(self, brief: LongformInput, plan: Decomposed, section: PlannedSection) -> Section:
        request = DraftSection(
            key=self.key("sections", f"section {section.id}"),
            brief=brief,
            outline=plan.outline,
            section_id=section.id,
        )
        return await self.paid_step(LongformActivities.draft_section, request, LLM)

    async def _assemble(self, brief: LongformInput, plan: Decomposed, sections: list[Section]) -> Assembled:
        request = AssembleArticle(
            key=self.key("assemble", "assemble"), brief=brief, outline=plan.outline, sections=tuple(sections)
        )
        return await self.step(LongformActivities.assemble_article, request, RENDER)

    async def _export(self, article: Assembled, format: Format) -> Output:
        request = ExportArticle(
            key=self.key("export", f"export {format.value}"), article=article.article, format=format
        )
        return await self.step(LongformActivities.export_article, request, RENDER)


def _total(brief: LongformInput, sections: int) -> int:
    """Steps: decompose, each section, assemble, each format."""
    return 2 + sections + len(brief.formats)


def _result(article: Assembled, outputs: list[Output]) -> JobResult:
    return JobResult(
        outputs=tuple(outputs),
        summary={"title": article.title, "words": article.words},
        simulated=article.simulated,
    )
