"""What a document is expected to ask of models: from its length, its sections and its sources.

The figures are rules of thumb. A test holds them against the real prompts, answered by the simulator: within a factor
of two.
"""

import math
from collections.abc import Iterator

from core.contracts.estimates import CHARACTERS_A_TOKEN, EstimatedCall
from core.contracts.longform import PARALLEL_SECTIONS, REVISED_A_ROUND, TRANSITION_FROM, LongformInput, SourceInput

NOTES = (
    "Tokens are guessed from the length that is asked for, its sections and its sources.",
    "Some sections are written a second time to bring them to their length.",
)
TOKENS_A_WORD_OF_ENGLISH, TOKENS_A_WORD = 1.4, 1.75
PLAN_TOKENS, SECTION_TOKENS = 15_000, 6_000
"""At most so much of all sources together stands in the prompt of a plan, and of a section."""
PAGE_CHARACTERS, FILE_CHARACTERS = 15_000, 40_000
"""Taken for the length of a web page and of an uploaded file, which nobody knows before they are read."""
ADJUSTED = 4
"""One section of so many misses its length and gets a second pass."""
DEMANDING = 0.8
"""From this threshold on a round of revision is expected; most documents score less."""

_FORM = 250
"""The form of the answer, which providers count as input."""
_INSTRUCTIONS = {
    "decompose_topic": 1_150,
    "draft_section": 1_300,
    "adjust_section": 750,
    "revise_section": 1_400,
    "write_transitions": 600,
    "judge_article": 1_450,
}
"""What each prompt says before anything of the job stands in it."""
_LISTED, _PLANNED, _JUDGED = 35, 110, 60
"""A section in the plan that every writer sees, in the planner's answer and before the judge, in the judge's answer."""
_LEAD_IN, _LED_OVER = 30, 100
"""A sentence between two sections, and what its writer sees of them."""
_REMARKS = 200
"""A title, a thesis, the judge's remarks on the whole."""


def estimate(given: LongformInput) -> tuple[EstimatedCall, ...]:
    """The calls for a document, in their order."""
    return tuple(_calls(given))


def _calls(given: LongformInput) -> Iterator[EstimatedCall]:
    sections = given.section_count
    text = round(given.words * (TOKENS_A_WORD_OF_ENGLISH if _is_english(given.language) else TOKENS_A_WORD))
    part = math.ceil(text / sections)
    sources = math.ceil(sum(map(_characters, given.sources)) / CHARACTERS_A_TOKEN)
    brief = _brief(given)
    path = 0

    def call(prompt: str, more: int, answer: int) -> EstimatedCall:
        asked = _INSTRUCTIONS[prompt] + _FORM + brief + more
        return EstimatedCall(prompt=f"longform/{prompt}", input_tokens=asked, output_tokens=answer, path=path)

    yield call("decompose_topic", min(sources, PLAN_TOKENS), _REMARKS + _PLANNED * sections)
    # A planner gives each source to the section or two that it fits.
    shared = min(SECTION_TOKENS, sources, math.ceil(2 * sources / sections))
    around = _LISTED * sections + _PLANNED
    for number in range(sections):
        path = 1 + number // PARALLEL_SECTIONS
        yield call("draft_section", around + shared, part)
    path += 1
    for _ in range(math.ceil(sections / ADJUSTED)):
        yield call("adjust_section", part + _PLANNED, part)
    path += 1
    if given.words / sections >= TRANSITION_FROM:
        yield call("write_transitions", _LED_OVER * (sections - 1), _LEAD_IN * (sections - 1))
        path += 1
    judged = call("judge_article", text + _PLANNED * sections, _REMARKS + _JUDGED * sections)
    yield judged
    if given.max_revisions and given.quality_threshold >= DEMANDING:
        path += 1
        for _ in range(min(REVISED_A_ROUND, sections)):
            yield call("revise_section", around + shared + part, part)
        yield judged.model_copy(update={"path": path + 1})


def _characters(source: SourceInput) -> int:
    """Its length, as far as it is known before it is read."""
    if source.text is not None:
        return len(source.text)
    return PAGE_CHARACTERS if source.url is not None else FILE_CHARACTERS


def _brief(given: LongformInput) -> int:
    said = (given.topic, given.audience, given.tone, given.style_guide)
    return math.ceil(sum(map(len, said)) / CHARACTERS_A_TOKEN)


def _is_english(language: str) -> bool:
    return language.partition("-")[0] == "en"
