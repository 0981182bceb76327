"""What models write and judge. A step asks one model once; a stored step asks none."""

import asyncio
import json
from collections.abc import Sequence

from temporalio import activity

from activities.longform.assembling import as_written
from activities.longform.base import LongformBase
from activities.longform.prompting import (
    SECTION_CHARACTERS,
    brief_inputs,
    judge_figures,
    number_of,
    output_tokens,
    overview,
    own_words,
    plan_sources,
    planned_inputs,
    query_of,
    section_inputs,
    source_inputs,
    transition_inputs,
    with_every_source,
    wrong_outline,
    wrong_section,
    wrong_transitions,
)
from core.contracts.base import Json, implements
from core.contracts.documents import Article, Criterion, Evaluation, Measured, Rubric, SectionVerdict
from core.contracts.longform import (
    REVISED_A_ROUND,
    TRANSITION_WORDS,
    Brief,
    JudgeAnswer,
    JudgedCriterion,
    Outline,
    OutlineAnswer,
    SectionAnswer,
    TransitionsAnswer,
)
from core.contracts.longform_steps import (
    AdjustSection,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    EvaluateArticle,
    Evaluated,
    LongformActivities,
    ReviseSection,
    Section,
    Transitions,
    WeakSection,
    WriteTransitions,
)
from core.contracts.outlines import plan_outline, planned
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.quality import measure, overall
from core.documents.text import count_words, one_line
from core.llm.provider import Reply

SOUND = 0.8
"""A section that scores this or more is not weak, unless it is the weakest of a document that is."""


class Writing(LongformBase):
    """The paid steps."""

    @implements(LongformActivities.decompose_topic)
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        """Idempotent by the step's key: a stored outline is returned and no model is asked."""
        brief = request.brief
        sources = await self._sources(brief)
        previous = None if request.previous is None else await self._outline(request.previous)

        async def keep(reply: Reply[OutlineAnswer]) -> Kept[Decomposed]:
            outline = plan_outline(reply.output, brief, simulated=reply.simulated)
            outline = await with_every_source(outline, sources)
            ref = await self._put(request.key.owner_id, outline)
            first = {**brief_inputs(brief), **section_inputs(outline, 0), "sources": []}
            shares = self._gateway.keeps_prefix(request.model, "longform/draft_section", first)
            made = planned(outline, ref).model_copy(update={"shares_prefix": shares})
            return Kept(made, (StepArtifact("outline.json", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="longform/decompose_topic",
            inputs={
                **brief_inputs(brief),
                "words": brief.words,
                "section_count": brief.section_count,
                "sources": await plan_sources(brief, sources),
                "previous": [] if previous is None else overview(previous, "title", "purpose", "words"),
                "instructions": request.instructions,
            },
            output=OutlineAnswer,
            result=Decomposed,
            keep=keep,
            # Asked for fewer or more sections, a model may well answer so.
            check=lambda answer: None if request.instructions else wrong_outline(answer, brief.section_count),
        )

    @implements(LongformActivities.draft_section)
    async def draft_section(self, request: DraftSection) -> Section:
        """Idempotent by the step's key: a stored section is returned and no model is asked."""
        outline = await self._outline(request.outline)
        number = number_of(outline, request.section_id)
        inputs = await self._section_inputs(request.brief, outline, number)
        return await self._write(
            request, "longform/draft_section", inputs, request.section_id, own_words(outline, number)
        )

    @implements(LongformActivities.revise_section)
    async def revise_section(self, request: ReviseSection) -> Section:
        """Idempotent by the step's key: a stored section is returned and no model is asked."""
        outline, article = await asyncio.gather(self._outline(request.outline), self._article(request.article))
        number = number_of(outline, request.section_id)
        markdown = next(section.markdown for section in article.sections if section.id == request.section_id)
        inputs = await self._section_inputs(request.brief, outline, number)
        inputs |= {"markdown": markdown, "advice": request.advice}
        words = own_words(outline, number)
        return await self._write(request, "longform/revise_section", inputs, request.section_id, words)

    @implements(LongformActivities.adjust_section)
    async def adjust_section(self, request: AdjustSection) -> Section:
        """Idempotent by the step's key: a stored section is returned and no model is asked."""
        draft = request.draft
        outline = await self._outline(request.outline)
        number = number_of(outline, draft.id)
        words = own_words(outline, number)
        markdown = (await self._store.get(draft.text)).decode()
        brief = request.brief
        inputs = {
            **brief.model_dump(include={"audience", "tone", "language", "style_guide"}),
            "number": number + 1,
            "section": planned_inputs(outline, number),
            "markdown": markdown,
            "words_now": draft.words,
            "sources": list(outline.sections[number].sources),
        }
        # A pass that leads away from the budget is paid for, and not taken.
        return await self._write(request, "longform/adjust_section", inputs, draft.id, words, rather=draft)

    async def _write(
        self,
        request: DraftSection | ReviseSection | AdjustSection,
        prompt: str,
        inputs: Json,
        section_id: str,
        words: int,
        *,
        rather: Section | None = None,
    ) -> Section:
        """Ask for the text of a section; `rather` is kept if it is nearer to the budget."""

        async def keep(reply: Reply[SectionAnswer]) -> Kept[Section]:
            markdown = reply.output.markdown.strip()
            ref = await self._store.put(request.key.owner_id, markdown.encode(), "text/markdown")
            counted = count_words(markdown)
            section = Section(id=section_id, text=ref, words=counted, simulated=reply.simulated)
            if rather is not None and abs(rather.words - words) <= abs(counted - words):
                section = rather
            return Kept(section, (StepArtifact(f"{section_id}.md", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt=prompt,
            inputs=inputs,
            output=SectionAnswer,
            result=Section,
            keep=keep,
            check=lambda answer: wrong_section(answer, words),
            max_output_tokens=output_tokens(words),
            text_field="markdown",
        )

    async def _section_inputs(self, brief: Brief, outline: Outline, number: int) -> Json:
        section = outline.sections[number]
        sources = await self._sources(brief, section.sources)
        passages = await source_inputs(sources, query_of(section), SECTION_CHARACTERS)
        return {**brief_inputs(brief), **section_inputs(outline, number), "sources": passages}

    @implements(LongformActivities.write_transitions)
    async def write_transitions(self, request: WriteTransitions) -> Transitions:
        """Idempotent by the step's key: stored sentences are returned and no model is asked."""
        outline = await self._outline(request.outline)
        wanted = [
            number
            for number, section in enumerate(outline.sections)
            if outline.lead_in(number) and (not request.only or section.id in request.only)
        ]
        endings = await self._endings(request)

        async def keep(reply: Reply[TransitionsAnswer]) -> Kept[Transitions]:
            said = {transition.number - 1: one_line(transition.text) for transition in reply.output.transitions}
            sentences = {outline.sections[number].id: said[number] for number in wanted}
            data = json.dumps(sentences, ensure_ascii=False).encode()
            ref = await self._store.put(request.key.owner_id, data, "application/json")
            made = Transitions(sentences=ref, simulated=reply.simulated)
            return Kept(made, (StepArtifact("transitions.json", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="longform/write_transitions",
            inputs={
                **request.brief.model_dump(include={"language", "audience", "tone"}),
                "title": outline.title,
                "thesis": outline.thesis,
                "sections": transition_inputs(outline, endings, wanted),
                "words": TRANSITION_WORDS,
            },
            output=TransitionsAnswer,
            result=Transitions,
            keep=keep,
            check=lambda answer: wrong_transitions(answer, wanted),
            max_output_tokens=output_tokens(TRANSITION_WORDS * len(wanted) * 2),
        )

    async def _endings(self, request: WriteTransitions) -> dict[str, str]:
        """The last paragraph of each section by id."""
        if request.article is not None:
            article = await self._article(request.article)
            texts = {section.id: section.markdown for section in article.sections}
        else:
            read = await asyncio.gather(*(self._store.get(section.text) for section in request.sections))
            texts = {section.id: text.decode() for section, text in zip(request.sections, read, strict=True)}
        return {id: text.rstrip().rsplit("\n\n", 1)[-1] for id, text in texts.items()}

    @implements(LongformActivities.evaluate_article)
    async def evaluate_article(self, request: EvaluateArticle) -> Evaluated:
        """Idempotent by the step's key: a stored evaluation is returned and no model is asked."""
        brief = request.brief
        outline, article = await asyncio.gather(self._outline(request.outline), self._article(request.article))
        ids = [source.id for source in brief.sources]
        outline = as_written(outline, article)
        measured = await asyncio.to_thread(measure, article, outline, outline.words, ids)

        async def keep(reply: Reply[JudgeAnswer]) -> Kept[Evaluated]:
            evaluation = judged(reply.output, measured, article, request.model, simulated=reply.simulated)
            ref = await self._put(request.key.owner_id, evaluation)
            evaluated = Evaluated(
                evaluation=ref,
                score=evaluation.score,
                weakest=weakest(evaluation.sections),
                simulated=reply.simulated,
            )
            return Kept(evaluated, (StepArtifact("evaluation.json", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="longform/judge_article",
            inputs={
                **brief.model_dump(include={"audience", "tone", "language", "style_guide"}),
                "title": article.title,
                "thesis": article.thesis,
                "outline": overview(outline, "title", "purpose", "key_points", "words"),
                "sections": [
                    {"number": number, "title": section.title, "markdown": _read(section.transition, section.markdown)}
                    for number, section in enumerate(article.sections, start=1)
                ],
                "sources": [{"id": source.id, "title": source.title} for source in brief.sources],
                "figures": judge_figures(measured, article),
            },
            output=JudgeAnswer,
            result=Evaluated,
            keep=keep,
        )


def judged(answer: JudgeAnswer, measured: Measured, article: Article, model: str, *, simulated: bool) -> Evaluation:
    """The evaluation of an answer: scores from 0 to 1, sections by id; a number that is no section's is passed over."""
    rubric = Rubric(
        coherence=_criterion(answer.coherence),
        coverage=_criterion(answer.coverage),
        style=_criterion(answer.style),
        support=_criterion(answer.support),
    )
    by_number = {section.number: section for section in answer.sections}
    verdicts = tuple(
        SectionVerdict(section_id=section.id, score=found.score / 10, reason=found.reason, advice=found.advice)
        for number, section in enumerate(article.sections, start=1)
        if (found := by_number.get(number)) is not None
    )
    return Evaluation(
        score=overall(measured, rubric),
        measured=measured,
        rubric=rubric,
        sections=verdicts,
        model=model,
        simulated=simulated,
    )


def weakest(verdicts: Sequence[SectionVerdict]) -> tuple[WeakSection, ...]:
    """The sections to revise: of those that are not sound the weakest few, and if all are the weakest one."""
    ranked = sorted(verdicts, key=lambda verdict: verdict.score)
    found = [verdict for verdict in ranked if verdict.score < SOUND][:REVISED_A_ROUND] or ranked[:1]
    return tuple(
        WeakSection(section_id=verdict.section_id, advice=f"{verdict.reason}\n{verdict.advice}"[:2_000])
        for verdict in found
    )


def _criterion(answer: JudgedCriterion) -> Criterion:
    return Criterion(score=answer.score / 10, reason=answer.reason)


def _read(transition: str, markdown: str) -> str:
    return f"{transition}\n\n{markdown}" if transition else markdown
