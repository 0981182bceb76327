"""Inputs of longform, how a plan's words are shared out, and what a person can do to an outline."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.contracts.base import ArtifactRef
from core.contracts.documents import Format
from core.contracts.longform import (
    MAX_SECTIONS,
    MAX_SOURCE_CHARACTERS,
    Brief,
    LongformInput,
    Outline,
    OutlineAnswer,
    Priority,
    SectionIdea,
    prepare,
)
from core.contracts.outlines import OutlineEdit, OutlineEditError, edited_outline, plan_outline, planned, share_out

REF = ArtifactRef(owner_id="owner", sha256="0" * 64, size=1, media_type="text/plain")


def given(**fields: Any) -> LongformInput:
    return LongformInput.model_validate({"topic": "Tidal mills", **fields})


def brief(words: int = 900, **fields: Any) -> Brief:
    prepared = prepare(given(target_words=words, **fields), "owner").input
    assert isinstance(prepared, Brief)
    return prepared


def answer(sections: int, words: list[int] | None = None, sources: tuple[str, ...] = ()) -> OutlineAnswer:
    ideas = tuple(
        SectionIdea(
            title=f"Part {n + 1}",
            purpose="The reader knows mills.",
            key_points=("Mills turn.",),
            words=words[n] if words else 0,
            sources=sources,
        )
        for n in range(sections)
    )
    return OutlineAnswer(title="Tidal mills", thesis="They turn twice a day.", sections=ideas)


def outline(sections: int = 3, words: int = 900) -> Outline:
    return plan_outline(answer(sections), brief(words), simulated=False)


def edit(*sections: dict[str, Any], **fields: Any) -> OutlineEdit:
    return OutlineEdit.model_validate({"sections": sections, **fields})


# --- What is asked for.


def test_sources_get_ids_and_their_texts_become_attachments() -> None:
    sources = [{"text": "First.\nMore."}, {"text": "Second.", "title": "The *second*", "priority": "high"}]
    made, files = prepare(given(sources=sources), "owner")
    assert isinstance(made, Brief)
    assert [(s.id, s.title, s.priority) for s in made.sources] == [
        ("r1", "First.", Priority.NORMAL),
        ("r2", "The *second*", Priority.HIGH),
    ]
    assert [file.data for file in files] == [b"First.\nMore.", b"Second."]
    assert [source.text for source in made.sources] == [file.ref for file in files]
    assert made.sources[0].text.owner_id == "owner"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"url": "http://example.org", "text": "a"}, "one of text, url and upload_id, not 2"),
        ({"title": "Nothing"}, "give one of text, url and upload_id"),
        ({"url": "http://example.org/" + 2_000 * "a"}, "at most 2000"),
        ({"upload": "01"}, "Extra inputs"),
        ({"text": "   "}, "at least 1 character"),
        ({"text": "*** --- \u202e"}, "has no text"),
        ({"text": "a" * (MAX_SOURCE_CHARACTERS + 1)}, "at most"),
        ({"text": "a", "priority": "urgent"}, "'high', 'normal' or 'low'"),
        ({"text": "a", "kind": "book"}, "Extra inputs"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_by_name(source: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        given(sources=[{"text": "fine"}, source])
    error = refused.value.errors()[0]
    assert error["loc"][:2] == ("sources", 1)
    assert said in error["msg"]


def test_narration_is_refused_until_it_is_there() -> None:
    with pytest.raises(ValidationError, match="narration is not available yet"):
        given(narrate=True)


@pytest.mark.parametrize(
    ("length", "words"),
    [({"target_words": 300}, 300), ({"target_pages": 0.6}, 300), ({"target_duration": 2}, 300), ({}, 1_200)],
)
def test_a_length_in_words_pages_or_minutes(length: dict[str, float], words: int) -> None:
    assert given(**length).words == words


@pytest.mark.parametrize(
    "length",
    [
        {"target_words": 299},
        {"target_words": 20_001},
        {"target_pages": 0.1},
        {"target_duration": 1},
        {"target_words": 300, "target_pages": 1},
        {"quality_threshold": 1.1},
        {"max_revisions": 6},
        {"formats": ["pdf", "pdf"]},
        {"formats": []},
        {"cache": "maybe"},
    ],
)
def test_lengths_and_limits_that_are_none(length: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        given(**length)


def test_every_format_can_be_asked_for() -> None:
    assert given(formats=list(Format)).formats == tuple(Format)


# --- What is made of an answer.


@pytest.mark.parametrize(("words", "sections"), [(300, 3), (1_000, 7), (20_000, 40), (19_999, 60)])
def test_the_budgets_add_up_to_the_target(words: int, sections: int) -> None:
    plan = plan_outline(answer(sections), brief(words), simulated=False)
    assert sum(section.words for section in plan.sections) == words
    assert len({section.id for section in plan.sections}) == sections


def test_a_models_shares_count_within_reason() -> None:
    plan = plan_outline(answer(3, [1, 450, 20_000]), brief(900), simulated=False)
    words = [section.words for section in plan.sections]
    assert sum(words) == 900
    assert words[0] < words[1] < words[2]
    assert min(words) >= 900 / 3 / 2 * 0.6


@pytest.mark.parametrize("total", [7, 100, 20_000])
def test_shares_are_whole_and_add_up(total: int) -> None:
    shares = share_out(total, [1.0, 2.5, 0.3, 9.0])
    assert sum(shares) == total
    assert min(shares) >= 1


def test_unknown_sources_of_an_answer_are_passed_over() -> None:
    plan = plan_outline(
        answer(3, sources=("r1", "r9", "r1")), brief(sources=[{"text": "One source."}]), simulated=False
    )
    assert plan.sections[0].sources == ("r1",)


def test_a_section_is_asked_for_less_the_words_that_lead_into_it() -> None:
    sections = planned(outline(), REF).sections
    assert [(section.words, section.lead_in) for section in sections] == [(300, 0), (282, 18), (282, 18)]
    short = planned(outline(3, 300), REF).sections
    assert [(section.words, section.lead_in) for section in short] == [(100, 0)] * 3


# --- What a person changes.


def test_titles_order_budgets_added_and_removed() -> None:
    changed = edited_outline(
        outline(),
        edit({"id": "s3"}, {"title": "Storms", "purpose": "Storms break mills."}, {"id": "s1", "title": "The sea"}),
        brief(),
    )
    assert [(section.id, section.title) for section in changed.sections] == [
        ("s3", "Part 3"),
        ("s4", "Storms"),
        ("s1", "The sea"),
    ]
    assert changed.words == 900
    assert changed.sections[1].key_points == ("Storms break mills.",)
    assert changed.sections[2].purpose == "The reader knows mills."


def test_budgets_that_are_all_given_are_the_new_length() -> None:
    changed = edited_outline(
        outline(), edit({"id": "s1", "words": 500}, {"id": "s2", "words": 700}, title="Mills"), brief()
    )
    assert (changed.words, changed.title) == (1_200, "Mills")


def test_what_is_left_is_shared_by_those_without_a_budget() -> None:
    changed = edited_outline(outline(), edit({"id": "s1", "words": 500}, {"id": "s2"}, {"id": "s3"}), brief())
    assert [section.words for section in changed.sections] == [500, 200, 200]


def test_sixty_sections_and_not_one_more() -> None:
    many = [{"title": f"Part {n}"} for n in range(MAX_SECTIONS)]
    changed = edited_outline(outline(3, 6_000), edit(*many), brief(6_000))
    assert len({section.id for section in changed.sections}) == 60
    assert changed.words == 6_000
    with pytest.raises(ValidationError, match="at most 60"):
        edit(*many, {"title": "One more"})


@pytest.mark.parametrize(
    ("sections", "loc", "said"),
    [
        ([], "sections", "needs a section"),
        ([{"id": "s1", "words": 0}, {"id": "s2", "words": 0}], "sections.0.words", "at least 40"),
        ([{"id": "s1", "words": 40}], "sections", "add up to 40 words"),
        ([{"id": "s1", "words": 860}, {"id": "s2"}, {"id": "s3"}], "sections", "share 40 of 900 words"),
        ([{"id": "s9"}], "sections.0.id", "no section s9"),
        ([{"id": "s1"}, {"id": "s1"}], "sections.1.id", "named twice"),
        ([{"id": "s1"}, {"purpose": "New."}], "sections.1.title", "needs a title"),
        ([{"id": "s1", "sources": ["r1"]}], "sections.0.sources", "no source r1"),
        ([{"id": "s1", "words": 3_001}], "sections.0.words", "at most 3000"),
    ],
)
def test_an_edit_that_makes_no_outline_is_refused_at_its_place(
    sections: list[dict[str, Any]], loc: str, said: str
) -> None:
    with pytest.raises(OutlineEditError, match=said) as refused:
        edited_outline(outline(), edit(*sections), brief())
    assert refused.value.loc == loc


def test_one_section_that_gets_all_words_is_too_long_to_write() -> None:
    with pytest.raises(OutlineEditError, match="Split it"):
        edited_outline(outline(3, 6_000), edit({"id": "s1"}), brief(6_000))
