"""The steps of `longform`."""

import asyncio
from collections.abc import Callable

from temporalio import activity

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Contract, Json, implements
from core.contracts.jobs import Output
from core.contracts.longform import (
    Article,
    ArticleSection,
    AssembleArticle,
    Assembled,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    ExportArticle,
    Format,
    LongformActivities,
    LongformInput,
    Outline,
    OutlineAnswer,
    PlannedSection,
    Section,
    SectionAnswer,
    SectionPlan,
)
from core.db.ids import artifact_id
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.markdown import article_to_markdown
from core.documents.pdf import article_to_pdf
from core.documents.text import count_words
from core.ledger.free import FreeSteps
from core.llm.gateway import Gateway
from core.llm.provider import Reply

TOKENS_A_WORD = 4
"""Room for the answer: a word is up to about three tokens in the languages we know, and Markdown adds some."""
MIN_OUTPUT_TOKENS = 4_096


class Longform(LongformActivities):
    """Asks models through the gateway and keeps what they write in the artifact store."""

    def __init__(self, gateway: Gateway, steps: FreeSteps, store: ArtifactStore) -> None:
        self._gateway = gateway
        self._steps = steps
        self._store = store

    @implements(LongformActivities.decompose_topic)
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        """Idempotent by the step's key: a stored outline is returned and no model is asked."""
        brief = request.brief

        async def keep(reply: Reply[OutlineAnswer]) -> Kept[Decomposed]:
            outline = plan_outline(reply.output, brief.words, simulated=reply.simulated)
            ref = await self._put(request.key.owner_id, outline)
            sections = tuple(PlannedSection(id=section.id, title=section.title) for section in outline.sections)
            decomposed = Decomposed(title=outline.title, outline=ref, sections=sections, simulated=reply.simulated)
            return Kept(decomposed, (StepArtifact("outline.json", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="longform/decompose_topic",
            inputs={**_brief_inputs(brief), "words": brief.words, "section_count": brief.section_count},
            output=OutlineAnswer,
            result=Decomposed,
            keep=keep,
            check=lambda answer: wrong_outline(answer, brief.section_count),
        )

    @implements(LongformActivities.draft_section)
    async def draft_section(self, request: DraftSection) -> Section:
        """Idempotent by the step's key: a stored section is returned and no model is asked."""
        outline = Outline.model_validate_json(await self._store.get(request.outline))
        number = next(n for n, section in enumerate(outline.sections) if section.id == request.section_id)
        plan = outline.sections[number]

        async def keep(reply: Reply[SectionAnswer]) -> Kept[Section]:
            markdown = reply.output.markdown.strip()
            ref = await self._store.put(request.key.owner_id, markdown.encode(), "text/markdown")
            section = Section(id=plan.id, text=ref, words=count_words(markdown), simulated=reply.simulated)
            return Kept(section, (StepArtifact(f"{plan.id}.md", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="longform/draft_section",
            inputs={**_brief_inputs(request.brief), **_section_inputs(outline, number)},
            output=SectionAnswer,
            result=Section,
            keep=keep,
            check=lambda answer: wrong_section(answer, plan.words),
            max_output_tokens=max(MIN_OUTPUT_TOKENS, plan.words * TOKENS_A_WORD),
        )

    @implements(LongformActivities.assemble_article)
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        """Idempotent by the step's key; done again it makes the same bytes."""

        async def work() -> Kept[Assembled]:
            outline = Outline.model_validate_json(await self._store.get(request.outline))
            texts = await asyncio.gather(*(self._store.get(section.text) for section in request.sections))
            article = Article(
                title=outline.title,
                thesis=outline.thesis,
                language=request.brief.language,
                sections=tuple(
                    ArticleSection(id=plan.id, title=plan.title, markdown=text.decode())
                    for plan, text in zip(outline.sections, texts, strict=True)
                ),
                words=sum(section.words for section in request.sections),
                simulated=outline.simulated or any(section.simulated for section in request.sections),
            )
            ref = await self._put(request.key.owner_id, article)
            assembled = Assembled(title=article.title, article=ref, words=article.words, simulated=article.simulated)
            return Kept(assembled, (StepArtifact("article.json", ref),), article.simulated)

        return await self._steps.once(request.key, Assembled, work, attempt=activity.info().attempt)

    @implements(LongformActivities.export_article)
    async def export_article(self, request: ExportArticle) -> Output:
        """Idempotent by the step's key; done again it makes the same bytes."""
        key = request.key
        export = EXPORTS[request.format]

        async def work() -> Kept[Output]:
            article = Article.model_validate_json(await self._store.get(request.article))
            # Typesetting holds a core for a while: beside the event loop, so that heartbeats go on.
            data = await asyncio.to_thread(export.make, article)
            ref = await self._store.put(key.owner_id, data, export.media_type)
            output = Output(
                name=export.name, artifact_id=artifact_id(key.job_id, key.step, key.revision, export.name), ref=ref
            )
            return Kept(output, (StepArtifact(export.name, ref, output=True),), article.simulated)

        return await self._steps.once(key, Output, work, attempt=activity.info().attempt)

    async def _put(self, owner_id: str, model: Contract) -> ArtifactRef:
        return await self._store.put(owner_id, model.model_dump_json().encode(), "application/json")


class Export:
    """How one format is made. `make` blocks."""

    def __init__(self, name: str, media_type: str, make: Callable[[Article], bytes]) -> None:
        self.name = name
        self.media_type = media_type
        self.make = make


EXPORTS = {
    Format.MARKDOWN: Export(
        "article.md", "text/markdown; charset=utf-8", lambda article: article_to_markdown(article).encode()
    ),
    Format.PDF: Export("article.pdf", "application/pdf", article_to_pdf),
}


def wrong_outline(answer: OutlineAnswer, asked: int) -> str | None:
    """What is wrong with an outline: each section is a paid call, and too few make calls too long for any model."""
    allowed = max(1, asked // 4)
    if abs(len(answer.sections) - asked) > allowed:
        return f"the outline has {len(answer.sections)} sections; asked were {asked}, give or take {allowed}"
    return None


def wrong_section(answer: SectionAnswer, asked: int) -> str | None:
    """What is wrong with a section: nothing to read, or far more than was asked."""
    words, most = count_words(answer.markdown), max(3 * asked, 1_000)
    if not 0 < words <= most:
        return f"the section has {words} words; asked were {asked}, and at most {most} are taken"
    return None


def plan_outline(answer: OutlineAnswer, words: int, *, simulated: bool) -> Outline:
    """The outline of an answer: sections get ids, and word budgets that add up to the target."""
    count = len(answer.sections)
    sections = tuple(
        SectionPlan(
            id=f"s{number + 1}",
            title=idea.title,
            purpose=idea.purpose,
            key_points=idea.key_points,
            words=max(1, words * (number + 1) // count - words * number // count),
        )
        for number, idea in enumerate(answer.sections)
    )
    return Outline(title=answer.title, thesis=answer.thesis, sections=sections, simulated=simulated)


def _brief_inputs(brief: LongformInput) -> Json:
    """What every prompt of the pipeline says of the brief."""
    return brief.model_dump(include={"topic", "audience", "tone", "language", "style_guide"})


def _section_inputs(outline: Outline, number: int) -> Json:
    """What the prompt of a section says of its place. `number` counts from 0."""
    sections = outline.sections
    return {
        "title": outline.title,
        "thesis": outline.thesis,
        "outline": [
            {"number": n + 1, "title": section.title, "purpose": section.purpose} for n, section in enumerate(sections)
        ],
        "number": number + 1,
        "section": sections[number].model_dump(include={"title", "purpose", "key_points", "words"}),
        "previous_purpose": sections[number - 1].purpose if number > 0 else "",
        "next_purpose": sections[number + 1].purpose if number + 1 < len(sections) else "",
    }
