"""The first form of `longform`, for runs that began before it was whole: no review, no evaluation, no version."""

from core.contracts.jobs import JobResult
from core.contracts.longform import Brief
from core.contracts.longform_steps import (
    AssembleArticle,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    LongformActivities,
    PlannedSection,
    Section,
)
from core.contracts.options import LLM, RENDER
from workflows._chain import together
from workflows._document import DocumentWorkflow


async def first_form(job: DocumentWorkflow, brief: Brief) -> JobResult:
    """Decompose, write the sections side by side, assemble, export."""

    async def draft(plan: Decomposed, section: PlannedSection) -> Section:
        key = job.key("sections", f"section {section.id}")
        request = DraftSection(key=key, brief=brief, outline=plan.outline, section_id=section.id)
        return await job.paid_step(LongformActivities.draft_section, request, LLM)

    job.plan(2 + brief.section_count + len(brief.formats))
    decompose = DecomposeTopic(key=job.key("decompose", "decompose"), brief=brief)
    plan = await job.paid_step(LongformActivities.decompose_topic, decompose, LLM)
    job.plan(2 + len(plan.sections) + len(brief.formats))
    sections = await together(draft(plan, section) for section in plan.sections)
    key = job.key("assemble", "assemble")
    request = AssembleArticle(key=key, brief=brief, outline=plan.outline, sections=tuple(sections))
    article = await job.step(LongformActivities.assemble_article, request, RENDER)
    return JobResult(
        outputs=await job.export(article, brief.formats),
        summary={"title": article.title, "words": article.words},
        simulated=article.simulated,
    )
