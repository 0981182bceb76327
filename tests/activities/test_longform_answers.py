"""What is not taken of a model although it fits the schema, and what the judge's answer becomes."""

from datetime import date
from typing import Any

import pytest

from activities.longform.keeping import cache_key_of
from activities.longform.prompting import wrong_outline, wrong_section, wrong_transitions
from activities.longform.writing import judged, weakest
from core.contracts.base import ArtifactRef
from core.contracts.documents import Article, ArticleSection, Measured, SectionVerdict
from core.contracts.errors import ErrorType
from core.contracts.longform import (
    Brief,
    JudgeAnswer,
    JudgedCriterion,
    JudgedSection,
    LeftOut,
    LongformInput,
    OutlineAnswer,
    SectionAnswer,
    SectionIdea,
    Source,
    TransitionAnswer,
    TransitionsAnswer,
    prepare,
)


def outline(sections: int) -> OutlineAnswer:
    idea = SectionIdea(title="Mills", purpose="The reader knows mills.", key_points=("Mills turn.",))
    return OutlineAnswer(title="Tidal mills", thesis="They turn twice a day.", sections=(idea,) * sections)


@pytest.mark.parametrize(
    ("asked", "answered", "taken"), [(3, 3, True), (3, 4, True), (3, 40, False), (12, 9, True), (40, 1, False)]
)
def test_an_outline_has_about_as_many_sections_as_were_asked(asked: int, answered: int, taken: bool) -> None:
    assert (wrong_outline(outline(answered), asked) is None) == taken


@pytest.mark.parametrize(("words", "taken"), [(300, True), (900, True), (1_001, False), (30_000, False)])
def test_a_section_is_not_far_longer_than_asked(words: int, taken: bool) -> None:
    assert (wrong_section(SectionAnswer(markdown="mill " * words), 300) is None) == taken


def test_a_section_without_words_is_not_taken() -> None:
    assert wrong_section(SectionAnswer(markdown="---"), 300) is not None


@pytest.mark.parametrize(("numbers", "missing"), [((2, 3), None), ((2,), "3"), ((), "2, 3"), ((3, 2, 9), None)])
def test_every_section_that_needs_one_has_its_sentence(numbers: tuple[int, ...], missing: str | None) -> None:
    answer = TransitionsAnswer(transitions=tuple(TransitionAnswer(number=n, text="So on.") for n in numbers))
    wrong = wrong_transitions(answer, [1, 2])
    assert wrong is None if missing is None else wrong is not None and wrong.endswith(missing)


def test_a_sentence_that_says_nothing_is_missing() -> None:
    answer = TransitionsAnswer(transitions=(TransitionAnswer(number=2, text="…"),))
    assert wrong_transitions(answer, [1]) is not None


def verdicts(*scores: float) -> list[SectionVerdict]:
    return [
        SectionVerdict(section_id=f"s{n}", score=score, reason="Thin.", advice="Say more.")
        for n, score in enumerate(scores, start=1)
    ]


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ((0.9, 0.5, 0.7), ["s2", "s3"]),
        ((0.1, 0.2, 0.3, 0.4), ["s1", "s2", "s3"]),
        ((0.95, 0.9, 0.85), ["s3"]),
        ((), []),
    ],
)
def test_the_weakest_sections(scores: tuple[float, ...], found: list[str]) -> None:
    assert [weak.section_id for weak in weakest(verdicts(*scores))] == found


def test_a_judges_answer_becomes_an_evaluation_by_section_id() -> None:
    article = Article(
        title="Mills",
        thesis="They turn.",
        language="en",
        sections=tuple(ArticleSection(id=id, title="Part", markdown="Text.") for id in ("s4", "s2")),
        words=2,
    )
    measured = Measured(target_words=2, words=2, length_error=0, repetition=0, heading_coverage=1, score=1.0)
    criterion = JudgedCriterion(reason="Well done.", score=5)
    sections = tuple(JudgedSection(number=n, reason="Thin.", advice="Say more.", score=n) for n in (2, 1, 7))
    answer = JudgeAnswer(coherence=criterion, coverage=criterion, style=criterion, support=criterion, sections=sections)
    evaluation = judged(answer, measured, article, "google:gemini-2.5-flash", simulated=False)
    assert [(verdict.section_id, verdict.score) for verdict in evaluation.sections] == [("s4", 0.1), ("s2", 0.2)]
    assert evaluation.score == pytest.approx(0.6 * 0.5 + 0.4)


def key(
    models: tuple[str, ...] = ("google:gemini-2.5-flash",), owner: str = "ada", version: int = 1, **input: Any
) -> str:
    brief = prepare(LongformInput.model_validate({"topic": "Tidal mills", "target_words": 1_000, **input}), owner).input
    assert isinstance(brief, Brief)
    return cache_key_of(owner, brief, models, {"longform/draft_section": version})


def test_the_same_request_has_the_same_key_however_it_is_put() -> None:
    assert key() == key(cache="bypass") == key(topic="Tidal   mills") == key(target_words=None, target_pages=2)
    assert key(formats=["pdf", "markdown"]) == key(formats=["markdown", "pdf"])


def test_a_document_of_other_places_or_without_a_source_answers_no_other_request() -> None:
    text = ArtifactRef(owner_id="ada", sha256="0" * 64, size=1, media_type="text/markdown")
    source = Source(id="r1", title="Mills", text=text, characters=1)
    fetched = source.model_copy(update={"url": "https://mills.example/", "read_on": date(2026, 11, 21)})
    left = LeftOut(id="r2", title="Tides", code=ErrorType.URL_STATUS, reason="404")

    def key_of(*sources: Source, **more: Any) -> str:
        brief = Brief(topic="Tidal mills", target_words=1_000, sources=sources, **more)
        return cache_key_of("ada", brief, ("simulator:composer",), {})

    keys = {key_of(source), key_of(fetched), key_of(source, left_out=(left,))}
    assert len(keys) == 3
    assert key_of(fetched.model_copy(update={"read_on": date(2026, 11, 22)})) == key_of(fetched)


def test_another_request_prompt_chain_or_owner_has_another() -> None:
    source = {"text": "A source."}
    keys = [
        key(),
        key(owner="bob"),
        key(version=2),
        key(models=("simulator:composer",)),
        key(topic="Windmills"),
        key(target_words=1_001),
        key(language="de"),
        key(quality_threshold=0.8),
        key(review_outline=True),
        key(formats=["pdf"]),
        key(sources=[source]),
        key(sources=[{**source, "priority": "high"}]),
        key(sources=[{**source, "title": "Another"}]),
    ]
    assert len(set(keys)) == len(keys)
