"""Lengths that are brought to their budget, sections that are revised while it helps, identical requests."""

import pytest
from temporalio.client import WorkflowFailureError

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobResult
from core.contracts.longform import PARALLEL_SECTIONS
from tests.support.scripted import request, start
from tests.workflows.conftest import Bench

HAIKU, FLASH = "anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"
REFUSED = AtelierError(ErrorType.MODEL_REFUSED, "The model declined.", details={"attempts": 1})


async def run(bench: Bench, **input: object) -> JobResult:
    handle = await start(bench.client, request(input=input))
    return JobResult.model_validate(await handle.result())


@pytest.mark.parametrize(("words", "passes"), [(300, 0), (345, 0), (255, 0), (346, 1), (254, 1)])
async def test_a_section_more_than_15_percent_off_gets_a_second_pass(bench: Bench, words: int, passes: int) -> None:
    bench.longform.words["s2"] = words
    await run(bench)
    assert bench.longform.revisions.count(("section s2", 2)) == passes
    assert ("section s1", 2) not in bench.longform.revisions


async def test_a_second_pass_that_no_model_can_do_leaves_the_draft(bench: Bench) -> None:
    bench.longform.words["s2"] = 900
    bench.longform.failures["section s2 2"] = REFUSED
    result = await run(bench)
    assert result.summary["words"] == 300 + 900 + 300


async def test_a_document_above_the_threshold_is_left_alone(bench: Bench) -> None:
    result = await run(bench, quality_threshold=0.9, max_revisions=5)
    assert (result.summary["revisions"], result.summary["threshold_met"]) == (0, True)
    assert bench.longform.asked[f"section s2 {HAIKU}"] == 1


async def test_the_weakest_section_is_revised_until_the_threshold(bench: Bench) -> None:
    bench.longform.scores = [0.4, 0.6, 0.95]
    result = await run(bench, quality_threshold=0.9, max_revisions=5)
    assert (result.summary["revisions"], result.summary["score"]) == (2, 0.95)
    assert [step for step in bench.longform.revisions if step[0] == "section s2"] == [
        ("section s2", 1),
        ("section s2", 3),
        ("section s2", 5),
    ]
    assert result.summary["title"] == "Tidal mills 3"
    assert bench.longform.report is not None
    assert [(r.score_before, r.score_after, r.taken) for r in bench.longform.report.rounds] == [
        (0.4, 0.6, True),
        (0.6, 0.95, True),
    ]


@pytest.mark.parametrize("after", [0.3, 0.4])
async def test_a_revision_that_does_not_help_is_not_taken_and_ends_it(bench: Bench, after: float) -> None:
    bench.longform.scores = [0.4, after, 0.9]
    result = await run(bench, quality_threshold=0.9, max_revisions=5)
    assert (result.summary["revisions"], result.summary["score"]) == (0, 0.4)
    assert result.summary["title"] == "Tidal mills 1"
    assert result.summary["threshold_met"] is False
    assert bench.longform.report is not None
    assert [r.taken for r in bench.longform.report.rounds] == [False]


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_never_more_rounds_than_asked(bench: Bench, most: int) -> None:
    bench.longform.scores = [0.1, 0.2, 0.3, 0.4, 0.5]
    result = await run(bench, quality_threshold=1.0, max_revisions=most)
    assert result.summary["revisions"] == most
    assert bench.longform.asked[f"evaluate {HAIKU}"] == most + 1


async def test_a_revision_that_no_model_can_write_leaves_the_document(bench: Bench) -> None:
    bench.longform.scores = [0.4]
    bench.longform.failures["section s2 3"] = REFUSED
    result = await run(bench, quality_threshold=0.9, max_revisions=5)
    assert (result.summary["revisions"], result.summary["score"]) == (0, 0.4)
    assert bench.longform.asked[f"evaluate {HAIKU}"] == 1


async def test_a_document_that_cannot_be_judged_fails_and_names_the_step(bench: Bench) -> None:
    bench.longform.failures["evaluate"] = REFUSED
    with pytest.raises(WorkflowFailureError):
        await run(bench)
    assert bench.jobs.last is not None
    assert bench.jobs.last.error is not None
    assert bench.jobs.last.error.step == "evaluate"


async def test_an_identical_request_is_answered_with_its_document(bench: Bench) -> None:
    bench.longform.hit = JobResult(summary={"document_id": "before", "cached": True})
    result = await run(bench)
    assert result == bench.longform.hit
    assert set(bench.longform.asked) == {"cache"}


async def test_sections_are_written_side_by_side_but_not_too_many_at_once(bench: Bench) -> None:
    bench.longform.sections = PARALLEL_SECTIONS + 3
    doors = [bench.longform.hold(f"section s{n + 1}") for n in range(bench.longform.sections)]
    handle = await start(bench.client, request())
    for reached, _ in doors[:PARALLEL_SECTIONS]:
        await reached.wait()
    assert not any(reached.is_set() for reached, _ in doors[PARALLEL_SECTIONS:])
    doors[0][1].set()
    await doors[PARALLEL_SECTIONS][0].wait()
    assert not doors[-1][0].is_set()
    for _, gate in doors:
        gate.set()
    await handle.result()
