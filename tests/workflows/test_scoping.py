"""Sessions: five stages of questions, what people may do in them, and the charter at the end."""

import asyncio
from collections import Counter

import pytest

from core.contracts.errors import ErrorType
from core.contracts.scoping_charter import CHARTER
from core.contracts.scoping_state import QuestionStatus, StageStatus
from tests.support.scripted_scoping import is_done
from tests.workflows.conftest import Table

HAIKU = "anthropic:claude-haiku-4-5"


async def test_straight_through_to_the_charter(table: Table) -> None:
    handle = await table.begin()
    for stage in range(1, 6):
        await table.jobs.until_waiting("scoping_stage", stage=stage)
        await table.sponsor.answer(stage)
    result = await table.end(handle)
    assert (result.summary["document_id"], result.summary["version"]) == ("job", 1)
    assert (result.summary["title"], result.summary["decision"]) == ("Tidal mills", "go")
    assert [output.name for output in result.outputs] == ["charter.md", "charter.pdf", "charter.json"]
    assert table.jobs.said == ["running", *["waiting_for_input", "running"] * 5, "completed"]
    assert [point.stage for point in table.scoping.checkpoints] == [1, 2, 3, 4, 5]
    assert {point.number for point in table.scoping.checkpoints} == {1}
    once = {f"{step} stage {n} {HAIKU}" for n in range(1, 6) for step in ("judge", "close")}
    once |= {f"section {id.value} {HAIKU}" for id in CHARTER} | {f"check {HAIKU}"}
    assert {step: table.scoping.asked[step] for step in once} == dict.fromkeys(once, 1)
    assert list(table.scoping.assembled[0].sections) == list(CHARTER)
    assert table.scoping.kept[0].parent is None
    assert is_done(table.scoping.states["job"])
    assert not table.scoping.at_work["job"]
    progress = await handle.query("progress")
    assert (progress["percentage"], progress["total_steps"]) == (100.0, 24)


async def test_what_is_asked_is_told(table: Table) -> None:
    table.scoping.vague["q1a"] = 1
    await table.begin()
    first = await table.jobs.until_waiting("scoping_stage", stage=1)
    await table.sponsor.answer(1, "q1a")
    second = await table.jobs.until_waiting("scoping_stage", questions=["q1b"])
    assert (first["what"], first["stage"], first["questions"]) == ("scoping_stage", 1, ["q1a", "q1b"])
    assert (second["questions"], second["follow_ups"]) == (["q1b"], ["q1a"])
    assert "resolve_contradiction" not in first["acts"]
    assert first["expires_at"].endswith("+00:00")


async def test_a_vague_answer_gets_at_most_two_follow_ups_and_a_clear_one_none(table: Table) -> None:
    table.scoping.vague["q1a"] = 9
    handle = await table.begin()
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1)
    for number in (1, 2):
        state = await table.scoping.until_following_up("q1a")
        assert (state.questions["q1a"].follow_ups, state.questions["q1b"].status) == (number, QuestionStatus.SETTLED)
        await table.sponsor.follow_up(1, "q1a")
    state = await table.scoping.until_asking(2)
    assert state.questions["q1a"].vague
    assert table.scoping.asked_back == [("q1a",), ("q1a",)]
    assert table.scoping.asked[f"judge stage 1 {HAIKU}"] == 3
    assert ("judge stage 1", 3) in table.scoping.revisions
    await table.sponsor.through(2, 3, 4, 5)
    await table.end(handle)


async def test_some_now_and_the_others_later(table: Table) -> None:
    await table.begin()
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1, "q1b")
    await table.scoping.until(lambda state: state.questions["q1b"].status is QuestionStatus.SETTLED)
    refusal = await table.sponsor.refused(table.sponsor.answer(1, "q1b"))
    assert refusal.type == ErrorType.INVALID_STATE
    await table.sponsor.answer(1, "q1a")
    await table.scoping.until_asking(2)
    assert len(table.scoping.checkpoints) == 1


async def test_skipped_questions_ask_no_model_to_judge(table: Table) -> None:
    await table.begin()
    await table.scoping.until_asking(1)
    assert (await table.sponsor.skip(1, "q1a")).seq == 1
    assert (await table.sponsor.skip(1, "q1b")).seq == 2
    state = await table.scoping.until_asking(2)
    assert state.questions["q1a"].status is QuestionStatus.SKIPPED
    assert table.scoping.asked[f"close stage 1 {HAIKU}"] == 1
    assert f"judge stage 1 {HAIKU}" not in table.scoping.asked


async def test_a_reopened_stage_asks_again_what_rests_on_it_and_no_more(table: Table) -> None:
    handle = await table.begin()
    await table.sponsor.through(1, 2, 3)
    await table.scoping.until_asking(4)
    await table.sponsor.reopen(2, "q2a")
    state = await table.scoping.until_asking(2)
    asked = {id for id, question in state.questions.items() if question.status is QuestionStatus.OPEN}
    assert asked == {"q2a", "q3a", "q4a", "q4b", "q5a", "q5b"}
    assert state.stages[2].status is StageStatus.REOPENED
    await table.sponsor.answer(2, "q2a")
    await table.scoping.until_asking(3)
    await table.sponsor.answer(3, "q3a")
    await table.sponsor.through(4, 5)
    await table.end(handle)
    points = [(point.stage, point.number) for point in table.scoping.checkpoints]
    assert points == [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (4, 1), (5, 1)]
    assert [finding.id for finding in table.scoping.checkpoints[3].findings] == ["f2a"]
    assert ("close stage 2", 2) in table.scoping.revisions


async def test_a_contradiction_becomes_a_question_and_is_not_asked_twice(table: Table) -> None:
    table.scoping.found = [("q1a", "q3b")]
    handle = await table.begin()
    await table.sponsor.through(1, 2, 3, 4, 5)
    state = await table.scoping.until_asking(None)
    (found,) = state.contradictions
    await table.jobs.until_waiting("scoping_contradictions", contradictions=[found.id])
    refusal = await table.sponsor.refused(table.sponsor.resolve("q1a-q2a-9"))
    assert refusal.type == ErrorType.NOT_FOUND
    await table.sponsor.resolve(found.id)
    await table.end(handle)
    assert table.scoping.asked[f"check {HAIKU}"] == 2, "what holds now is compared again"
    assert table.scoping.states["job"].contradictions[0].settled
    assert [point.stage for point in table.scoping.checkpoints[5:]] == [1, 3], "the findings know which one holds"


async def test_finished_early_it_asks_nothing_more(table: Table) -> None:
    table.scoping.found = [("q1a", "q2a")]
    handle = await table.begin()
    await table.sponsor.through(1)
    await table.scoping.until_asking(2)
    await table.sponsor.finish()
    await table.end(handle)
    state = table.scoping.states["job"]
    assert {state.questions[f"q{stage}a"].status for stage in range(2, 6)} == {QuestionStatus.SKIPPED}
    assert state.contradictions[0].accepted
    assert [point.stage for point in table.scoping.checkpoints] == [1, 2, 3, 4, 5]


async def test_of_two_acts_at_once_one_is_taken_and_the_other_told(table: Table) -> None:
    handle = await table.begin()
    await table.scoping.until_asking(1)
    table.scoping.storing = asyncio.Event()
    first = asyncio.create_task(table.sponsor.answer(1))
    await table.scoping.at_the_door.wait()
    refusal = await table.sponsor.refused(table.sponsor.skip(1, "q1b"))
    assert refusal.type == ErrorType.INVALID_STATE
    assert "first" in refusal.message
    table.scoping.storing.set()
    assert (await first).seq == 1
    await table.scoping.until_asking(2)
    await handle.cancel()


async def test_both_in_one_workflow_task_and_only_one_is_taken(table: Table) -> None:
    await table.begin()
    await table.scoping.until_asking(1)
    both = await asyncio.gather(table.sponsor.answer(1), table.sponsor.answer(1), return_exceptions=True)
    assert sum(isinstance(one, Exception) for one in both) == 1
    assert (await table.scoping.until_asking(2)).seq == 1


async def test_nobody_is_refused_for_coming_before_the_session_is_open(table: Table) -> None:
    reached, gate = table.scoping.hold("open session")
    await table.begin()
    await reached.wait()
    early = asyncio.create_task(table.sponsor.answer(1))
    also = asyncio.create_task(table.sponsor.answer(2))
    gate.set()
    told = await asyncio.gather(early, also, return_exceptions=True)
    assert [isinstance(one, Exception) for one in told] == [False, True]
    await table.scoping.until_asking(2)


async def test_an_act_while_a_model_works_is_refused(table: Table) -> None:
    reached, gate = table.scoping.hold("judge stage 1")
    await table.begin()
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1, "q1a")
    await reached.wait()
    assert table.scoping.at_work["job"]
    for saying in (table.sponsor.answer(1, "q1b"), table.sponsor.finish(), table.sponsor.skip(1, "q1b")):
        refusal = await table.sponsor.refused(saying)
        assert refusal.type == ErrorType.INVALID_STATE
        assert "reading your answers" in refusal.message
    gate.set()
    await table.scoping.until(lambda state: state.questions["q1a"].status is QuestionStatus.SETTLED)
    await table.sponsor.answer(1, "q1b")
    await table.scoping.until_asking(2)


async def test_what_is_not_asked_is_refused(table: Table) -> None:
    await table.begin()
    await table.sponsor.through(1)
    await table.scoping.until_asking(2)
    refusals = Counter[str | None]()
    for saying in (
        table.sponsor.answer(1),
        table.sponsor.answer(3),
        table.sponsor.follow_up(2, "q2a"),
        table.sponsor.skip(1, "q1a"),
        table.sponsor.reopen(4),
    ):
        refusals[(await table.sponsor.refused(saying)).type] += 1
    assert refusals == {ErrorType.INVALID_STATE: 5}
    assert (await table.sponsor.refused(table.sponsor.answer(2, "q1a"))).type == ErrorType.NOT_FOUND


async def test_an_entry_that_was_taken_before_changes_nothing(table: Table) -> None:
    """Its acknowledgement was lost, and it comes again, under another update id."""
    await table.begin()
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1, "q1a", entry_id="mine")
    await table.scoping.until(lambda state: state.questions["q1a"].status is QuestionStatus.SETTLED)
    before = table.scoping.states["job"]
    assert (await table.sponsor.answer(1, "q1b", entry_id="mine")).seq == 1
    assert table.scoping.states["job"] == before
    await table.sponsor.answer(1, "q1b")
    await table.scoping.until_asking(2)


@pytest.mark.parametrize("stage", [1, 3])
async def test_a_stage_is_named_with_what_it_needs(table: Table, stage: int) -> None:
    """Every paid step says at which act it stands, so that it reads what was said until then and no more."""
    await table.begin()
    await table.sponsor.through(*range(1, stage + 1))
    await table.scoping.until_asking(stage + 1)
    asked = [request for request in table.scoping.requests if request.key.step == f"close stage {stage}"]
    assert [getattr(request, "seq", None) for request in asked] == [stage]
