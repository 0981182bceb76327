"""The quality report that people read."""

from datetime import date
from typing import Any

import pytest

from core.contracts.base import ArtifactRef
from core.contracts.documents import (
    Article,
    ArticleSection,
    Criterion,
    Evaluation,
    Measured,
    Reference,
    Report,
    Round,
    Rubric,
    SectionVerdict,
    UnknownCitation,
)
from core.contracts.errors import ErrorType
from core.contracts.longform import LeftOut, Source
from core.documents.blocks import Block, parse_blocks, plain_text
from core.documents.report import NOBODY_JUDGED, SIMULATED_JUDGE, SIMULATED_TEXT, report_to_markdown

ARTICLE = Article(
    title="Floods",
    thesis="They rise.",
    language="en",
    words=190,
    sections=(
        ArticleSection(id="s1", title="The river", markdown="It rose [@r1]."),
        ArticleSection(id="s2", title="The weir", markdown="It broke [@r9]."),
    ),
    references=(Reference(number=1, source_id="r1", title="Town chronicle"),),
)
NOTHING = ArtifactRef(owner_id="ada", sha256="0" * 64, size=1, media_type="text/plain")


def source(id: str, title: str, **more: Any) -> Source:
    return Source(**{"id": id, "title": title, "text": NOTHING, "characters": 900, **more})


MEASURED = Measured(
    target_words=200,
    words=190,
    length_error=-0.05,
    repetition=0.0312,
    readability=41.6,
    claims=12,
    uncited_claims=3,
    heading_coverage=0.875,
    section_lengths={"s1": 0.1, "s2": -0.2},
    score=0.81,
)
RUBRIC = Rubric(
    coherence=Criterion(score=0.8, reason="One thread."),
    coverage=Criterion(score=0.7, reason="The mill is missing."),
    style=Criterion(score=0.9, reason="Plain."),
    support=Criterion(score=0.6, reason="Two claims hang in the air."),
)
VERDICT = SectionVerdict(section_id="s2", score=0.4, reason="Thin.", advice="Tell who built it.")


def evaluation(figures: dict[str, Any] | None = None, **more: Any) -> Evaluation:
    measured = MEASURED.model_copy(update=figures or {})
    found = Evaluation(score=0.74, measured=measured, rubric=RUBRIC, sections=(VERDICT,), model="claude-haiku-4-5")
    return found.model_copy(update=more)


def report(found: Evaluation | None = None, **more: Any) -> Report:
    return Report(evaluation=found or evaluation(), **more)


def tables(markdown: str) -> list[list[list[str]]]:
    """The tables of a report as a reader sees them: rows of cells."""
    return [
        [[plain_text([{"t": "p", "c": cell}]) for cell in row] for row in block["rows"]]
        for block in parse_blocks(markdown)
        if block["t"] == "table"
    ]


def read(markdown: str) -> str:
    return plain_text(parse_blocks(markdown))


def test_the_report_of_a_judged_version() -> None:
    rounds = (
        Round(revised=("s2", "s1"), score_before=0.61, score_after=0.74, taken=True),
        Round(revised=("s2",), score_before=0.74, score_after=0.7, taken=False),
    )
    markdown = report_to_markdown(report(threshold=0.7, rounds=rounds), ARTICLE)
    assert markdown.startswith("# Quality report: Floods\n\n**Score: 0.74** of 1.00. The threshold of 0.70 is reached.")
    assert markdown.endswith("|\n")
    assert not markdown.endswith("\n\n")
    assert "claude-haiku-4-5" in markdown
    assert "mean (0.75) is 60% of the score, the measured figures (0.81) are 40%" in markdown
    rubric, figures, sections, revision = tables(markdown)
    assert rubric[1:] == [
        ["Coherence", "0.80", "One thread."],
        ["Coverage", "0.70", "The mill is missing."],
        ["Style", "0.90", "Plain."],
        ["Support by sources", "0.60", "Two claims hang in the air."],
    ]
    assert {row[0]: row[1] for row in figures[1:]} == {
        "Words": "190",
        "Length error": "-5.0%",
        "Repetition": "3.1%",
        "Readability (LIX)": "42",
        "Claims": "12",
        "Uncited claims": "3",
        "Coverage": "87.5%",
        "Unknown citations": "0",
        "Uncited sources": "0",
        "Score of the figures": "0.81",
    }
    assert all(len(row[2]) > 15 for row in figures[1:])
    assert sections[1:] == [
        ["The river", "+10.0%", "—", "—", "—"],
        ["The weir", "-20.0%", "0.40", "Thin.", "Tell who built it."],
    ]
    assert revision[1:] == [
        ["1", "The weir, The river", "0.61", "0.74", "yes"],
        ["2", "The weir", "0.74", "0.70", "no, the text from before stands"],
    ]


def test_the_report_of_a_version_that_nobody_judged() -> None:
    found = evaluation(rubric=None, sections=(), model="", score=0.81)
    markdown = report_to_markdown(report(found), ARTICLE)
    assert NOBODY_JUDGED in markdown
    assert len(tables(markdown)) == 2
    assert "**Score: 0.81** of 1.00.\n" in markdown
    assert "threshold" not in markdown
    assert "No section was revised." in markdown


def test_sources_are_told_with_what_was_read_of_them() -> None:
    read_whole = source("r1", "Town *chronicle*", pages=3, pages_without_text=1)
    cut = source(
        "r2", "Gauges", characters=400_000, cut_from=523_411, url="http://a.example/_x_", read_on=date(2026, 5, 4)
    )
    left = LeftOut(id="r3", title="<Gone>", code=ErrorType.URL_STATUS, reason="It answered with status 404.")
    found = read(report_to_markdown(report(evaluation()), ARTICLE, [read_whole, cut], [left]))
    assert "r1: “Town *chronicle*”, 900 characters, 3 pages, 1 of them without text that can be read." in found
    assert "r2: “Gauges”, 400,000 characters, cut: the text has 523,411, and what is behind these was not used" in found
    assert "from http://a.example/_x_ on 2026-05-04." in found
    assert "r3: “<Gone>” was left out. It answered with status 404." in found


@pytest.mark.parametrize(("score", "line"), [(0.6949, "missed by 0.0051"), (0.7, "reached"), (0.1, "missed by 0.6000")])
def test_the_score_is_held_against_the_threshold(score: float, line: str) -> None:
    assert line in report_to_markdown(report(evaluation(score=score), threshold=0.7), ARTICLE)


def test_citations_are_named() -> None:
    figures = {
        "unknown_citations": (
            UnknownCitation(section_id="s2", cited="r9"),
            UnknownCitation(section_id="gone", cited="r8"),
        ),
        "uncited_sources": ("r2", "r3"),
    }
    known = [source("r2", "The *Gauge* Book")]
    found = read(report_to_markdown(report(evaluation(figures)), ARTICLE, known))
    assert "No source is called r9, which is cited in “The weir”." in found
    assert "No source is called r8, which is cited in “gone”." in found
    assert "Nothing cites “The *Gauge* Book” (r2)." in found
    assert "Nothing cites r3." in found


def test_sound_citations_are_told_from_none() -> None:
    assert "every source is cited" in report_to_markdown(report(), ARTICLE)
    without = ARTICLE.model_copy(update={"references": ()})
    assert "The document has no sources." in report_to_markdown(report(), without)


def test_sections_that_are_missing_are_named() -> None:
    found = evaluation({"section_lengths": {"s1": 0.0, "s7": -1.0}})
    assert "Planned, and not in the document: s7." in report_to_markdown(report(found), ARTICLE)


def test_a_script_without_words_has_no_readability() -> None:
    figures = tables(report_to_markdown(report(evaluation({"readability": None})), ARTICLE))[1]
    assert [row[1] for row in figures if row[0].startswith("Readability")] == ["—"]


@pytest.mark.parametrize(("text", "judge"), [(True, True), (True, False), (False, True), (False, False)])
def test_what_was_simulated_is_said(text: bool, judge: bool) -> None:
    article = ARTICLE.model_copy(update={"simulated": text})
    markdown = report_to_markdown(report(evaluation(simulated=judge)), article)
    assert (SIMULATED_TEXT in markdown, SIMULATED_JUDGE in markdown) == (text, judge)
    # Nobody judged: there is no judgement that could be simulated.
    unjudged = report_to_markdown(report(evaluation(simulated=judge, rubric=None)), article)
    assert (SIMULATED_TEXT in unjudged, SIMULATED_JUDGE in unjudged) == (text, False)


HOSTILE = [
    "a | b | c",
    "a \\| b \\",
    "line\n\n# heading\n- item",
    "<script>alert(1)</script> <!-- x",
    "[link](javascript:alert(1)) ![x](http://example.org/a.png) [@r1]",
    "**bold** _em_ `code` ~~gone~~ &lt;b&gt;",
    "`open | `",
    "\x00\x1b[31m\r\n| --- |",
    "http://[x]: y",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_what_others_wrote_is_text(said: str) -> None:
    shown = " ".join(said.replace("\x00", "").replace("\x1b", "").split())
    article = ARTICLE.model_copy(
        update={
            "title": said,
            "sections": (ARTICLE.sections[0].model_copy(update={"title": said}), ARTICLE.sections[1]),
        }
    )
    criterion = Criterion(score=0.5, reason=said)
    found = evaluation(
        {
            "unknown_citations": (UnknownCitation(section_id="s1", cited=said),),
            "uncited_sources": ("r2",),
            "section_lengths": {"s1": 0.0, said: -1.0},
        },
        rubric=Rubric(coherence=criterion, coverage=criterion, style=criterion, support=criterion),
        sections=(SectionVerdict(section_id="s1", score=0.5, reason=said, advice=said),),
        model=said,
    )
    rounds = (Round(revised=("s1", said), score_before=0.1, score_after=0.2, taken=True),)
    sources = [source("r2", said)]
    left_out = [LeftOut(id="r3", title=said, code=ErrorType.URL_STATUS, reason=said)]
    markdown = report_to_markdown(report(found, rounds=rounds), article, sources, left_out)
    rubric, _, sections, revision = tables(markdown)
    assert [row[2] for row in rubric[1:]] == [shown] * 4
    assert sections[1] == [shown, "+0.0%", "0.50", shown, shown]
    assert revision[1][1] == f"{shown}, {shown}"
    blocks = parse_blocks(markdown)
    # Nothing of it is markup: the blocks are the report's own, and all of it is read.
    kinds = " ".join(block["t"] for block in blocks)
    assert kinds == "h p h p table h table h table p h ul h ul h table"
    assert plain_text(blocks).count(shown) == 18
    assert not markup(blocks)


def markup(blocks: list[Block]) -> list[str]:
    """What is marked inside lines, but for the report's own bold score."""
    cells = [cell for block in blocks for row in block.get("rows", []) for cell in row]
    lines = [*cells, *(block["c"] for block in blocks if "c" in block)]
    return [piece["t"] for line in lines for piece in line if piece["t"] not in ("text", "strong")]
