"""What the prompts of `longform` are told, and which answers are not taken although they fit their schema."""

import asyncio
from collections.abc import Sequence

from core.contracts.base import Json
from core.contracts.documents import Article, Measured
from core.contracts.longform import Brief, Outline, OutlineAnswer, SectionAnswer, SectionPlan, TransitionsAnswer
from core.documents.passages import SourceText, best_section, select
from core.documents.text import count_words

PLAN_CHARACTERS, SECTION_CHARACTERS = 60_000, 24_000
"""Of all sources together in the prompt of a plan, and of a section: about 15,000 and 6,000 tokens."""
ENDING_CHARACTERS = 400
TOKENS_A_WORD = 4
"""Room for an answer: a word is up to about three tokens in the languages we know, and Markdown adds some."""
MIN_OUTPUT_TOKENS = 4_096


def output_tokens(words: int) -> int:
    """The most that an answer of so many words may take."""
    return max(MIN_OUTPUT_TOKENS, words * TOKENS_A_WORD)


def brief_inputs(brief: Brief) -> Json:
    """What every prompt says of the brief."""
    return brief.model_dump(include={"topic", "audience", "tone", "language", "style_guide"})


async def source_inputs(sources: Sequence[SourceText], query: str, limit: int) -> list[Json]:
    """The passages of sources that a prompt has room for. Beside the event loop: long sources take a while."""
    chosen = await asyncio.to_thread(select, sources, query, limit)
    return [{"id": source.id, "title": source.title, "text": source.text} for source in chosen]


async def plan_sources(brief: Brief, sources: Sequence[SourceText]) -> list[Json]:
    """The sources as the planner sees them."""
    priority = {source.id: source.priority.value for source in brief.sources}
    inputs = await source_inputs(sources, brief.topic, PLAN_CHARACTERS)
    return [{**source, "priority": priority[source["id"]]} for source in inputs]


async def with_every_source(outline: Outline, sources: Sequence[SourceText]) -> Outline:
    """The outline with each source that the planner gave to no section given to the one that it fits best."""
    taken = {source for section in outline.sections for source in section.sources}
    sections = list(outline.sections)
    queries = [query_of(section) for section in sections]
    for source in sources:
        if source.id not in taken:
            at = await asyncio.to_thread(best_section, source.text, queries)
            sections[at] = sections[at].model_copy(update={"sources": (*sections[at].sources, source.id)})
    return outline.model_copy(update={"sections": tuple(sections)})


def query_of(section: SectionPlan) -> str:
    """What passages for a section are looked up by."""
    return "\n".join((section.title, section.purpose, *section.key_points))


def overview(outline: Outline, *fields: str) -> list[Json]:
    """The sections with their numbers, and of each the named fields."""
    return [
        {"number": number, **section.model_dump(mode="json", include=set(fields))}
        for number, section in enumerate(outline.sections, start=1)
    ]


def section_inputs(outline: Outline, number: int) -> Json:
    """What the prompt of a section says of its place. `number` counts from 0."""
    sections = outline.sections
    return {
        "title": outline.title,
        "thesis": outline.thesis,
        "outline": overview(outline, "title", "purpose"),
        "number": number + 1,
        "section": planned_inputs(outline, number),
        "previous_purpose": sections[number - 1].purpose if number > 0 else "",
        "next_purpose": sections[number + 1].purpose if number + 1 < len(sections) else "",
    }


def planned_inputs(outline: Outline, number: int) -> Json:
    """The plan of a section; its words without the sentence that leads into it."""
    section = outline.sections[number]
    plan = section.model_dump(mode="json", include={"title", "purpose", "key_points"})
    return {**plan, "words": own_words(outline, number)}


def own_words(outline: Outline, number: int) -> int:
    """The budget of a section's own text."""
    return outline.sections[number].words - outline.lead_in(number)


def number_of(outline: Outline, section_id: str) -> int:
    """Where a section stands in its outline, from 0."""
    return next(number for number, section in enumerate(outline.sections) if section.id == section_id)


def transition_inputs(outline: Outline, endings: dict[str, str], wanted: Sequence[int]) -> list[Json]:
    """The sections that get a sentence. `endings`: the end of each section's text by id; `wanted` counts from 0."""
    return [
        {
            "number": number + 1,
            "title": outline.sections[number].title,
            "purpose": outline.sections[number].purpose,
            "previous_title": outline.sections[number - 1].title,
            "previous_purpose": outline.sections[number - 1].purpose,
            "ending": endings.get(outline.sections[number - 1].id, "")[-ENDING_CHARACTERS:],
        }
        for number in wanted
    ]


def judge_figures(measured: Measured, article: Article) -> Json:
    """The measured figures as the judge sees them: sections by number."""
    numbers = {section.id: str(number) for number, section in enumerate(article.sections, start=1)}
    figures = measured.model_dump(
        mode="json",
        include={
            "words",
            "target_words",
            "length_error",
            "repetition",
            "readability",
            "claims",
            "uncited_claims",
            "heading_coverage",
            "uncited_sources",
        },
    )
    lengths = {numbers[id]: error for id, error in measured.section_lengths.items() if id in numbers}
    unknown = [unknown.cited for unknown in measured.unknown_citations]
    return {**figures, "section_lengths": lengths, "unknown_citations": unknown}


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


def wrong_transitions(answer: TransitionsAnswer, wanted: Sequence[int]) -> str | None:
    """What is wrong with transitions: one is missing. `wanted` counts from 0."""
    given = {transition.number for transition in answer.transitions if any(map(str.isalnum, transition.text))}
    missing = [str(number + 1) for number in wanted if number + 1 not in given]
    return f"no sentence leads into section {', '.join(missing)}" if missing else None
