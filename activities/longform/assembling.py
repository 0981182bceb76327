"""What is made of the sections: the article, its measure, its files. No model is asked."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity

from activities.longform.base import LongformBase
from core.contracts.base import ArtifactRef, implements
from core.contracts.documents import Article, ArticleSection, Evaluation, Format, Reference, Report
from core.contracts.jobs import Output, StepKey
from core.contracts.longform import Brief, Outline
from core.contracts.longform_steps import (
    AssembleArticle,
    Assembled,
    Evaluated,
    ExportArticle,
    ExportReport,
    LongformActivities,
    MeasureArticle,
    ReplaceSection,
    ReportExported,
)
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.docx import article_to_docx
from core.documents.html import article_to_html
from core.documents.markdown import article_to_markdown
from core.documents.pdf import article_to_pdf
from core.documents.places import cited_headings, cited_pages, citing
from core.documents.quality import measure, overall, references
from core.documents.report import report_to_markdown
from core.documents.text import count_words

REPORT = "report.md"


class Assembling(LongformBase):
    """The free steps. Done again, each makes the same bytes."""

    @implements(LongformActivities.assemble_article)
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        """Idempotent by the step's key; done again it makes the same bytes."""

        async def work() -> Kept[Assembled]:
            outline = await self._outline(request.outline)
            texts = await asyncio.gather(*(self._store.get(section.text) for section in request.sections))
            sentences = await self._sentences(request.transitions)
            sections = tuple(
                ArticleSection(
                    id=plan.id, title=plan.title, markdown=text.decode(), transition=sentences.get(plan.id, "")
                )
                for plan, text in zip(outline.sections, texts, strict=True)
            )
            article = Article(
                title=outline.title,
                thesis=outline.thesis,
                language=request.brief.language,
                sections=sections,
                words=words_of(sections),
                references=await self._references(request.brief, sections),
                simulated=outline.simulated or any(section.simulated for section in request.sections),
            )
            return await self._assembled(request.key, article)

        return await self._steps.once(request.key, Assembled, work, attempt=activity.info().attempt)

    @implements(LongformActivities.replace_section)
    async def replace_section(self, request: ReplaceSection) -> Assembled:
        """Idempotent by the step's key; done again it makes the same bytes."""

        async def work() -> Kept[Assembled]:
            article = await self._article(request.article)
            text = (await self._store.get(request.text)).decode().strip()
            sentences = await self._sentences(request.transitions)
            sections = tuple(
                section.model_copy(
                    update={
                        "markdown": text,
                        "title": request.title or section.title,
                        "transition": sentences.get(section.id, section.transition),
                    }
                )
                if section.id == request.section_id
                else section
                for section in article.sections
            )
            changed = article.model_copy(
                update={
                    "sections": sections,
                    "words": words_of(sections),
                    "references": await self._references(request.brief, sections, article.references),
                    "simulated": article.simulated or request.simulated,
                }
            )
            return await self._assembled(request.key, changed)

        return await self._steps.once(request.key, Assembled, work, attempt=activity.info().attempt)

    async def _references(
        self, brief: Brief, sections: tuple[ArticleSection, ...], before: tuple[Reference, ...] = ()
    ) -> tuple[Reference, ...]:
        """The reference list: of what was fetched with its URL, and where in the sources stands what is cited."""
        sources = {source.id: source for source in brief.sources}
        titles = [(source.id, source.title) for source in brief.sources]

        async def told(reference: Reference) -> Reference:
            source = sources[reference.source_id]
            text = (await self._store.get(source.text)).decode()
            paragraphs = list(citing(sections, source.id))
            place: dict[str, tuple[str, ...]]
            if source.placed:
                place = {"places": await asyncio.to_thread(cited_pages, paragraphs, text)}
            else:
                place = {"headings": await asyncio.to_thread(cited_headings, paragraphs, text, source.title)}
            return reference.model_copy(update={"url": source.url, "read_on": source.read_on, **place})

        return tuple([await told(reference) for reference in references(sections, titles, before)])

    async def _assembled(self, key: StepKey, article: Article) -> Kept[Assembled]:
        ref = await self._put(key.owner_id, article)
        assembled = Assembled(title=article.title, article=ref, words=article.words, simulated=article.simulated)
        return Kept(assembled, (StepArtifact("article.json", ref),), article.simulated)

    async def _sentences(self, ref: ArtifactRef | None) -> dict[str, str]:
        if ref is None:
            return {}
        sentences: dict[str, str] = json.loads(await self._store.get(ref))
        return sentences

    @implements(LongformActivities.measure_article)
    async def measure_article(self, request: MeasureArticle) -> Evaluated:
        """Idempotent by the step's key; done again it makes the same bytes."""

        async def work() -> Kept[Evaluated]:
            outline, article = await asyncio.gather(self._outline(request.outline), self._article(request.article))
            ids = [source.id for source in request.brief.sources]
            measured = await asyncio.to_thread(measure, article, as_written(outline, article), outline.words, ids)
            evaluation = Evaluation(score=overall(measured, None), measured=measured, simulated=article.simulated)
            ref = await self._put(request.key.owner_id, evaluation)
            evaluated = Evaluated(evaluation=ref, score=evaluation.score, simulated=article.simulated)
            return Kept(evaluated, (StepArtifact("evaluation.json", ref),), article.simulated)

        return await self._steps.once(request.key, Evaluated, work, attempt=activity.info().attempt)

    @implements(LongformActivities.export_article)
    async def export_article(self, request: ExportArticle) -> Output:
        """Idempotent by the step's key; done again it makes the same bytes."""
        key, export = request.key, EXPORTS[request.format]

        async def work() -> Kept[Output]:
            article = await self._article(request.article)
            # Typesetting holds a core for a while: beside the event loop, so that heartbeats go on.
            data = await asyncio.to_thread(export.make, article)
            output = await self._output(key, export.name, data, export.media_type)
            return Kept(output, (StepArtifact(export.name, output.ref, output=True),), article.simulated)

        return await self._steps.once(key, Output, work, attempt=activity.info().attempt)

    @implements(LongformActivities.export_report)
    async def export_report(self, request: ExportReport) -> ReportExported:
        """Idempotent by the step's key; done again it makes the same bytes."""
        key = request.key

        async def work() -> Kept[ReportExported]:
            article = await self._article(request.article)
            evaluation = await self._read(Evaluation, request.evaluation)
            report = Report(evaluation=evaluation, threshold=request.threshold, rounds=request.rounds)
            ref = await self._put(key.owner_id, report)
            brief = request.brief
            text = await asyncio.to_thread(report_to_markdown, report, article, brief.sources, brief.left_out)
            output = await self._output(key, REPORT, text.encode(), "text/markdown; charset=utf-8")
            files = (StepArtifact("report.json", ref), StepArtifact(REPORT, output.ref, output=True))
            return Kept(ReportExported(report=ref, output=output), files, evaluation.simulated)

        return await self._steps.once(key, ReportExported, work, attempt=activity.info().attempt)


@dataclass(frozen=True)
class Export:
    """How one format is made. `make` blocks."""

    name: str
    media_type: str
    make: Callable[[Article], bytes]


_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
EXPORTS = {
    Format.MARKDOWN: Export(
        "article.md", "text/markdown; charset=utf-8", lambda article: article_to_markdown(article).encode()
    ),
    Format.HTML: Export("article.html", "text/html; charset=utf-8", lambda article: article_to_html(article).encode()),
    Format.PDF: Export("article.pdf", "application/pdf", article_to_pdf),
    Format.DOCX: Export("article.docx", _DOCX, article_to_docx),
}


def words_of(sections: tuple[ArticleSection, ...]) -> int:
    """Words that a reader reads of the sections, with the sentences that lead into them."""
    return sum(count_words(section.markdown) + count_words(section.transition) for section in sections)


def as_written(outline: Outline, article: Article) -> Outline:
    """The outline with the headings that the article has: a person may have changed one since it was planned."""
    titles = {section.id: section.title for section in article.sections}
    sections = tuple(
        section.model_copy(update={"title": titles.get(section.id, section.title)}) for section in outline.sections
    )
    return outline.model_copy(update={"sections": sections})
