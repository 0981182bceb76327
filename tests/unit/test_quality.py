"""The measured figures of an article, its score and its reference list."""

from typing import Any

import pytest

from core.contracts.documents import (
    Article,
    ArticleSection,
    Criterion,
    Measured,
    Reference,
    Rubric,
    UnknownCitation,
)
from core.contracts.longform import Outline, SectionPlan
from core.documents.quality import measure, overall, references
from core.documents.text import count_words

RIVER = (
    "The river rose by four metres in 1998, higher than ever before [@r1]. Nobody on the upper bridge had expected "
    "such masses of brown water that night.\n\n"
    "“We carried the children upstairs,” an old miller told reporters [@r2]. His cellar stayed wet until spring came."
)
GAUGES = (
    "Gauges now report every ten minutes to a common office downstream. Warnings reach 12,000 households within "
    "an hour of any alarm [@r1, @r2].\n\n"
    "- Sirens cover 95% of all villages [@r1]\n- Volunteers check the remaining farms"
)
SOURCES = ("r1", "r2")


def section(id_: str, title: str, markdown: str, transition: str = "") -> ArticleSection:
    return ArticleSection(id=id_, title=title, markdown=markdown, transition=transition)


def article(*sections: ArticleSection, language: str = "en") -> Article:
    return Article(title="Floods", thesis="Floods.", language=language, sections=sections, words=1)


def plan(id_: str, title: str, *points: str, words: int = 40) -> SectionPlan:
    return SectionPlan(id=id_, title=title, purpose="To say it.", key_points=points, words=words)


def outline(*plans: SectionPlan) -> Outline:
    return Outline(title="Floods", thesis="Floods.", sections=plans)


ARTICLE = article(
    section("s1", "The flood", RIVER),
    section("s2", "The gauges", GAUGES, "What has been learnt since then is told next."),
)
WORDS = sum(count_words(part) for found in ARTICLE.sections for part in (found.markdown, found.transition))
OUTLINE = outline(
    plan("s1", "The flood", "The river rises higher than expected", "Children carried upstairs"),
    plan("s2", "The gauges", "Warnings reach every household", words=50),
)


def measured(
    changed: Article = ARTICLE, plans: Outline = OUTLINE, words: int = WORDS, sources: tuple[str, ...] = SOURCES
) -> Measured:
    return measure(changed, plans, words, sources)


def of(markdown: str, sources: tuple[str, ...] = SOURCES) -> Measured:
    """The figures of one section."""
    return measure(article(section("s1", "One", markdown)), outline(plan("s1", "One")), 100, sources)


def with_text(number: int, old: str, new: str) -> Article:
    """The article with something else in a section."""
    sections = list(ARTICLE.sections)
    assert old in sections[number].markdown
    sections[number] = sections[number].model_copy(update={"markdown": sections[number].markdown.replace(old, new)})
    return ARTICLE.model_copy(update={"sections": tuple(sections)})


def test_a_flawless_article_scores_one() -> None:
    found = measured()
    assert found.score == 1
    assert (found.words, found.target_words, found.length_error) == (WORDS, WORDS, 0)
    assert (found.repetition, found.heading_coverage) == (0, 1)
    assert (found.claims, found.uncited_claims) == (4, 0)
    assert (found.unknown_citations, found.uncited_sources) == ((), ())


def test_every_fault_lowers_the_score_and_more_of_it_lowers_it_more() -> None:
    def falls(*scores: float) -> bool:
        return all(after < before for before, after in zip((1.0, *scores), scores, strict=False))

    assert falls(*(measured(words=WORDS * 10 // tenths).score for tenths in (9, 7, 4, 1)))
    assert falls(*(measured(words=WORDS * tenths // 10).score for tenths in (9, 7, 4, 1)))
    again = "Nobody on the upper bridge had expected such masses of brown water that night.\n\n"
    repeated = [with_text(0, "“We", again * times + "“We") for times in (1, 2, 5)]
    assert falls(*(measured(one, words=count_of(one)).score for one in repeated))
    uncited = [with_text(1, " [@r1]", ""), with_text(1, " [@r1, @r2].", ".")]
    assert falls(*(measured(one, words=count_of(one)).score for one in uncited[:1]))
    assert falls(measured(uncited[1], words=count_of(uncited[1])).score)
    unknown = [with_text(0, "[@r1]", f"[@r1, {cited}]") for cited in ("@r7", "@r7, @r8", "@r7, @r8, @r9")]
    assert falls(*(measured(one, words=count_of(one)).score for one in unknown))
    assert falls(*(measured(sources=("r1", "r2", "r3", "r4", "r5", "r6")[:n]).score for n in (3, 4, 6)))
    points = [plan("s1", "The flood", "The river rises", *("Insurance premiums doubled",) * n) for n in (1, 2, 4)]
    assert falls(*(measured(plans=outline(one, OUTLINE.sections[1])).score for one in points))


def count_of(changed: Article) -> int:
    return measured(changed).words


def test_taking_a_section_out_lowers_the_score_and_is_seen_in_length_and_coverage() -> None:
    found = measured(article(ARTICLE.sections[0]))
    assert found.score < 0.6
    assert found.heading_coverage == pytest.approx(3 / 5)
    assert found.section_lengths["s2"] == -1
    emptied = measured(ARTICLE.model_copy(update={"sections": (ARTICLE.sections[0], section("s2", "The gauges", ""))}))
    assert emptied.heading_coverage == pytest.approx(3 / 5)


def test_taking_a_citation_out_is_seen() -> None:
    assert measured(with_text(0, " [@r2]", "")).uncited_claims == 1
    gone = measured(with_text(1, " [@r1, @r2].", "."))
    assert gone.uncited_claims == 1
    only_other = with_text(0, "[@r2]", "[@r1]")
    only_other = only_other.model_copy(
        update={
            "sections": (
                only_other.sections[0],
                only_other.sections[1].model_copy(update={"markdown": GAUGES.replace(", @r2", "")}),
            )
        }
    )
    assert measured(only_other).uncited_sources == ("r2",)


def test_nothing_written_scores_nothing() -> None:
    nothing = measured(article())
    assert (nothing.score, nothing.words, nothing.length_error, nothing.heading_coverage) == (0, 0, -1, 0)
    assert nothing.readability is None
    assert nothing.uncited_sources == SOURCES


def test_lengths_are_signed_and_count_transitions() -> None:
    found = measure(
        article(section("s1", "One", "word " * 90), section("s2", "Two", "word " * 50, "And now on we go.")),
        outline(plan("s1", "One", words=100), plan("s2", "Two", words=50), plan("s3", "Three", words=70)),
        200,
        (),
    )
    assert found.words == 145
    assert found.length_error == -0.275
    assert found.section_lengths == {"s1": -0.1, "s2": 0.1, "s3": -1.0}


@pytest.mark.parametrize(
    ("markdown", "share"),
    [
        ("one two three four five six", 0),
        ("One two three four. ONE TWO, three four!", 1 / 5),
        ("one two three four\n\n- one two three four", 1 / 5),
        ("one two three", 0),
        ("```\n" + "one two three four\n" * 9 + "```\n", 0),
        ("### one two three four\n\none two three four", 0),
        ("春眠不觉晓。春眠不觉", 1 / 6),
    ],
)
def test_repetition_is_the_share_of_sequences_that_stood_before(markdown: str, share: float) -> None:
    assert of(markdown).repetition == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("markdown", "lix"),
    [
        ("The cat sat. The dog ran away.", 3.5),
        ("Considerable uncertainty remains.", 3 + 100),
        ("It rained, e.g. on the hills. They said J. Smith fled.", 12 / 2),
        ("It rose [@r1]. It fell [@r2].", 2),
        ("- The cat sat\n- The dog ran", 3),
        ("The cat sat.\n\n```\nunreadable_identifier = extraordinary\n```", 3),
        ("“It rained.” Then it ended!", 2.5),
        ("האיש הלך הביתה. הכלב ישן.", 2.5),
        ("乡村的河流在夜里上涨。没有人知道。", None),
        ("แม่น้ำขึ้นสูงในเวลากลางคืน", None),
        ("!!!", None),
    ],
)
def test_readability_is_lix(markdown: str, lix: float | None) -> None:
    found = of(markdown).readability
    assert found == (lix if lix is None else pytest.approx(lix, abs=0.06))


@pytest.mark.parametrize(
    ("markdown", "claims", "uncited"),
    [
        ("It rose in 1998. It fell.", 1, 1),
        ("It rose in 1998. It fell by 3.5 m [@r1].", 2, 0),
        ("It rose in 1998.\n\nIt fell [@r1].", 1, 1),
        ("It rose in 1998 [@r9].", 1, 1),
        ("It rose in 1998 `[@r1]`.", 1, 1),
        ("H2O and COVID-19 are names. So are B2B and [@r12].", 0, 0),
        ("Ten per cent were lost.", 1, 1),
        ("He said “we lost it all” and left. A “weir” is a dam.", 1, 1),
        ("He said “we lost. We lost it all. We left.” and wept.", 1, 1),
        ('She said "that is enough", and it was.', 1, 1),
        ("She said ‘that isn’t enough’, and it’s true. It’s the miller’s.", 1, 1),
        ("Er sagte: „Das Wasser kam nachts.“ Es war kalt.", 1, 1),
        ("他说「水是在夜里来的」。很冷。", 1, 1),
        ("- In 1998\n- In 1999 [@r1]\n- Never", 2, 1),
        ("- In 1998 [@r1]\n  - In 1999", 2, 1),
        ("| Year | 2024 |\n|--|--|\n| rain | 12 |\n| snow | 13 [@r1] |\n| hail | none |", 2, 0),
        ("| Year | 2024 |\n|--|--|\n| rain | 12 |", 1, 1),
        ("> In 1998 it rose.", 1, 1),
        ("```\nx = 12\n```\n\n### In 1998\n\nIt rose.", 0, 0),
        ("Es stieg auf ٣ أمتار.", 1, 1),
    ],
)
def test_claims_are_cited_by_paragraph_item_or_table(markdown: str, claims: int, uncited: int) -> None:
    found = of(markdown)
    assert (found.claims, found.uncited_claims) == (claims, uncited)
    # Where nothing can be cited, nothing is uncited.
    without = of(markdown, sources=())
    assert (without.claims, without.uncited_claims) == (claims, 0)


def test_citations_of_no_source_are_listed_by_section_once() -> None:
    found = measure(
        article(section("s1", "One", "A [@r9]. B [@r1, @r9; @r4]. `[@r8]`"), section("s2", "Two", "### C [@r9]\n\nD.")),
        outline(plan("s1", "One")),
        100,
        ["r1", "r2", "r3"],
    )
    assert found.unknown_citations == (
        UnknownCitation(section_id="s1", cited="r9"),
        UnknownCitation(section_id="s1", cited="r4"),
        UnknownCitation(section_id="s2", cited="r9"),
    )
    assert found.uncited_sources == ("r2", "r3")


@pytest.mark.parametrize(
    ("title", "markdown", "point", "share"),
    [
        ("One", "The levels of rivers were measured.", "Measuring river levels", 1),
        ("one ", "Nothing of it.", "Measuring river levels", 0.5),
        ("Other", "The river levels were measured.", "Measuring river levels", 0.5),
        ("One", "", "Measuring river levels", 0),
        ("One", "### Measuring river levels", "Measuring river levels", 0),
        ("One", "It is raining.", "Rain", 1),
        ("One", "We use AI.", "AI", 1),
        ("One", "Anything.", "?!", 1),
        ("One", "河流的水位在夜里上涨。", "水位上涨", 1),
        ("One", "没有人知道这件事。", "水位上涨", 0.5),
        ("One", "نهرها يرتفع ليلا", "النهر يرتفع ليلا", 1),
    ],
)
def test_coverage_counts_headings_and_key_points(title: str, markdown: str, point: str, share: float) -> None:
    found = measure(article(section("s1", title, markdown)), outline(plan("s1", "One", point)), 100, ())
    assert found.heading_coverage == share


HOSTILE = {
    "marks": "." * 50_000,
    "quotes": '"' * 50_000,
    "open quotes": "“a " * 20_000,
    "single quotes": "‘a’b" * 15_000,
    "spaces": "a" + " " * 50_000 + "b 1",
    "sentences": "a. " * 20_000,
    "brackets": "[@r1" * 5_000,
    "too many citations": "[@r1] 1. " * 21_000,
    "one word": "x" * 50_000,
    "items": "- 1 a\n" * 5_000,
    "nested": "".join(f"{'  ' * depth}- 1\n" for depth in range(300)),
    "table": "|a|b|\n|-|-|\n" + "|1|2 [@r1]|\n" * 3_000,
    "quoted": ">" * 50_000 + " 12",
    "controls": "\x00\ud800\u202e12\x1b[@r1]",
    "open fence": "```\n[@r1] 12",
    "html": "<script>alert(1)</script> <b>12</b>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_measured(name: str) -> None:
    found = of(HOSTILE[name])
    assert 0 <= found.score <= 1
    assert 0 <= found.repetition <= 1
    assert found.uncited_claims <= found.claims


def test_the_same_section_twice_is_measured() -> None:
    twice = section("s1", "One", "It rose in 1998.")
    assert measure(article(twice, twice), outline(plan("s1", "One")), 8, ("r1", "r1")).uncited_sources == ("r1",)


def rubric(*scores: float) -> Rubric:
    names = ("coherence", "coverage", "style", "support")
    return Rubric(**{name: Criterion(score=score, reason="") for name, score in zip(names, scores, strict=True)})


def test_the_judge_has_three_fifths_of_the_score() -> None:
    figures = measured().model_copy(update={"score": 0.51239})
    assert overall(figures, rubric(1, 0.8, 0.6, 0.4)) == 0.625
    assert overall(figures, None) == 0.5124
    assert overall(figures, rubric(0, 0, 0, 0)) == 0.205


def numbered(markdown: str, **more: Any) -> list[tuple[int, str]]:
    sources = [(f"r{n}", f"Source {n}") for n in range(1, 6)]
    return [(found.number, found.source_id) for found in references([section("s1", "One", markdown)], sources, **more)]


def test_references_are_numbered_by_first_citation() -> None:
    assert numbered("A [@r3, @r1]. `[@r2]` B [@r1; @r9; @r5].") == [(1, "r3"), (2, "r1"), (3, "r5")]
    assert numbered("Nothing.") == []
    sections = [section("s1", "One", "A [@r2]."), section("s2", "Two", "B [@r1] [@r2].")]
    assert references(sections, [("r1", "First"), ("r2", "Second")]) == (
        Reference(number=1, source_id="r2", title="Second"),
        Reference(number=2, source_id="r1", title="First"),
    )


def test_references_keep_their_numbers() -> None:
    before = [Reference(number=n, source_id=f"r{n + 1}", title="Old title") for n in (1, 2, 4)]
    # r2 is 1, r3 is 2 and r5 is 4: the numbers of what is no longer cited are not given again.
    assert numbered("A [@r1, @r3]. B [@r4].", before=before) == [(2, "r3"), (5, "r1"), (6, "r4")]
    assert numbered("A [@r5, @r2].", before=before) == [(1, "r2"), (4, "r5")]
    # What comes back without a number gets a new one.
    assert numbered("A [@r1].", before=before[:1]) == [(2, "r1")]
