"""What is not taken of a model although it fits the schema, and how a plan's words are shared out."""

import pytest

from activities.longform import plan_outline, wrong_outline, wrong_section
from core.contracts.longform import OutlineAnswer, SectionAnswer, SectionIdea


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


@pytest.mark.parametrize(("words", "sections"), [(300, 3), (1_000, 7), (20_000, 40)])
def test_the_budgets_add_up_to_the_target(words: int, sections: int) -> None:
    plan = plan_outline(outline(sections), words, simulated=False)
    assert sum(section.words for section in plan.sections) == words
    assert len({section.id for section in plan.sections}) == sections
