"""What the workflows of `longform` and of its revisions do alike with a document."""

from collections.abc import Sequence

from core.contracts.base import ArtifactRef
from core.contracts.documents import Format, Round
from core.contracts.jobs import Output
from core.contracts.longform import LENGTH_TOLERANCE, Brief
from core.contracts.longform_steps import (
    AdjustSection,
    Assembled,
    EvaluateArticle,
    Evaluated,
    ExportArticle,
    ExportReport,
    LongformActivities,
    PlannedSection,
    ReportExported,
    Section,
)
from core.contracts.options import LLM, RENDER
from workflows._chain import optional, together
from workflows._job import JobWorkflow


class DocumentWorkflow(JobWorkflow):
    """Steps that a document takes whether it is written or revised."""

    async def fit(
        self, brief: Brief, outline: ArtifactRef, planned: PlannedSection, draft: Section, *, revision: int
    ) -> Section:
        """The section, after a second pass if it misses its budget by more than 15 %. A pass that no model can do
        leaves the section as it is: the report tells of its length."""
        if abs(draft.words - planned.words) <= LENGTH_TOLERANCE * planned.words:
            return draft
        request = AdjustSection(
            key=self.key("sections", f"section {planned.id}", revision), brief=brief, outline=outline, draft=draft
        )
        return await optional(self.paid_step(LongformActivities.adjust_section, request, LLM)) or draft

    async def evaluate(self, brief: Brief, outline: ArtifactRef, article: Assembled, *, revision: int = 1) -> Evaluated:
        """The article measured and judged."""
        request = EvaluateArticle(
            key=self.key("evaluate", "evaluate", revision), brief=brief, outline=outline, article=article.article
        )
        return await self.paid_step(LongformActivities.evaluate_article, request, LLM)

    async def export(self, article: Assembled, formats: Sequence[Format]) -> tuple[Output, ...]:
        """The files, side by side."""

        async def export(format: Format) -> Output:
            key = self.key("export", f"export {format.value}")
            request = ExportArticle(key=key, article=article.article, format=format)
            return await self.step(LongformActivities.export_article, request, RENDER)

        return tuple(await together(export(format) for format in formats))

    async def report(
        self,
        brief: Brief,
        article: Assembled,
        evaluated: Evaluated,
        rounds: tuple[Round, ...] = (),
        threshold: float | None = None,
    ) -> ReportExported:
        """The report of the evaluation."""
        request = ExportReport(
            key=self.key("export", "export report"),
            brief=brief,
            article=article.article,
            evaluation=evaluated.evaluation,
            rounds=rounds,
            threshold=threshold,
        )
        return await self.step(LongformActivities.export_report, request, RENDER)
