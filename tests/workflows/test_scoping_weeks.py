"""What happens to a session in weeks: nobody answers, models are away, its history grows long, it is changed after its
end."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Begun, Control
from core.contracts.scoping import ActTaken
from core.contracts.scoping_charter import SectionId
from core.contracts.scoping_state import Phase, QuestionStatus
from tests.support.scripted import REF
from tests.support.scripted_scoping import Sponsor, is_done, session
from tests.workflows.conftest import Table, fired

HAIKU = "anthropic:claude-haiku-4-5"
GEMINI = "google:gemini-2.5-flash"
Handle = WorkflowHandle[Any, Any]
REFUSED = AtelierError(ErrorType.MODEL_REFUSED, "It declines.", details={"attempts": 1})


async def test_nobody_answers_and_a_retry_goes_on_where_it_stood(table: Table) -> None:
    handle = await table.begin(session(review_seconds=2))
    await table.sponsor.through(1)
    state = await table.scoping.until_asking(2)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == ErrorType.REVIEW_EXPIRED
    assert table.jobs.said[-1] == "failed"
    assert table.scoping.states["job"] == state
    asked = table.scoping.asked.copy()
    table.jobs.waiting_for.clear()
    again = await table.begin(session(run=2))
    await table.jobs.until_waiting("scoping_stage", stage=2)
    table.scoping.asked["open session"] -= 1
    assert table.scoping.asked == asked, "no model is asked again"
    await table.sponsor.through(2, 3, 4, 5)
    await table.end(again)
    assert table.scoping.asked[f"close stage 1 {HAIKU}"] == 1


async def test_an_act_that_is_being_stored_when_the_time_is_up_counts(table: Table) -> None:
    handle = await table.begin(session(review_seconds=1))
    await table.jobs.until_waiting("scoping_stage", stage=1)
    table.scoping.storing = asyncio.Event()
    answering = asyncio.create_task(table.sponsor.answer(1))
    await table.scoping.at_the_door.wait()
    await fired(handle)
    table.scoping.storing.set()
    assert (await answering).seq == 1
    await table.scoping.until_asking(2)
    await handle.cancel()


async def test_a_reminder_comes_once_before_it_is_too_late(table: Table) -> None:
    handle = await table.begin(session(review_seconds=3).model_copy(update={"remind_seconds": 2}))
    waiting = await table.jobs.until_waiting("scoping_stage", stage=1)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    (reminder,) = table.jobs.reminders
    assert (reminder.job_id, reminder.run, reminder.change) == ("job", 1, 1)
    assert reminder.expires_at == waiting["expires_at"]


async def test_who_answers_after_the_reminder_is_reminded_of_the_next_stage_anew(table: Table) -> None:
    handle = await table.begin(session(review_seconds=3).model_copy(update={"remind_seconds": 2}))
    await table.jobs.until_reminded(1)
    await table.sponsor.answer(1)
    await table.jobs.until_reminded(2)
    await table.sponsor.finish()
    await table.end(handle)
    first, second = table.jobs.reminders
    assert (first.change, second.change) == (1, 3)


async def test_who_answers_in_time_is_not_reminded(table: Table) -> None:
    handle = await table.begin(session().model_copy(update={"remind_seconds": 1_800}))
    await table.sponsor.through(1, 2, 3, 4, 5)
    await table.end(handle)
    assert table.jobs.reminders == []


@pytest.mark.parametrize("step", ["judge stage 1", "close stage 1", "check", "section summary"])
async def test_every_model_fails_and_the_session_goes_on_when_one_is_back(table: Table, step: str) -> None:
    table.scoping.failures[step] = REFUSED
    handle = await table.begin()
    answering = asyncio.create_task(table.sponsor.through(1, 2, 3, 4, 5))
    state = await table.scoping.until_trouble(2)
    assert state.trouble is not None
    assert (state.trouble.step, state.trouble.code) == (step, ErrorType.ALL_MODELS_FAILED)
    assert "It declines." in state.trouble.message
    assert table.scoping.asked[f"{step} {GEMINI}"] >= 2
    table.scoping.failures.clear()
    await answering
    await table.end(handle)
    assert table.scoping.states["job"].trouble is None
    tries = [revision for name, revision in table.scoping.revisions if name == step]
    assert tries == sorted(tries)
    assert set(tries) == set(range(1, max(tries) + 1)), "each try has a revision of its own"
    written = {id: table.scoping.asked[f"section {id.value} {HAIKU}"] for id in SectionId}
    assert {id for id, times in written.items() if times > 1} <= {SectionId.SUMMARY}


async def test_while_models_are_away_acts_are_told_so_and_answers_stay(table: Table) -> None:
    table.scoping.failures["judge stage 1"] = REFUSED
    await table.begin(session(pause_seconds=3_600))
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1, "q1a")
    state = await table.scoping.until_trouble()
    assert not table.scoping.at_work["job"], "the owner's other sessions may go on"
    assert state.questions["q1a"].status is QuestionStatus.GIVEN
    refusal = await table.sponsor.refused(table.sponsor.answer(1, "q1b"))
    assert refusal.type == ErrorType.INVALID_STATE
    assert state.trouble is not None
    assert state.trouble.again_at in refusal.message


async def test_the_pause_doubles_while_models_fail(table: Table) -> None:
    table.scoping.failures["judge stage 1"] = REFUSED
    handle = await table.begin()
    await table.scoping.until_asking(1)
    await table.sponsor.answer(1)
    await table.scoping.until_trouble(4)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        async for event in handle.fetch_history_events()
        if event.HasField("timer_started_event_attributes")
    ]
    assert [seconds for seconds in timers if seconds < 3_600][:3] == [0.1, 0.2, 0.4]


async def test_a_model_is_back_while_another_session_of_the_owner_has_the_turn(table: Table) -> None:
    table.scoping.failures["judge stage 1"] = REFUSED
    await table.begin(session(pause_seconds=1))
    await table.sponsor.through(1)
    await table.scoping.until_trouble()
    table.scoping.failures.clear()
    table.scoping.others_turn = 1
    asked = table.scoping.asked[f"judge stage 1 {HAIKU}"]
    await table.scoping.until_asking(2)
    assert table.scoping.others_turn == 0, "it asked again until it was its turn"
    assert table.scoping.asked[f"judge stage 1 {HAIKU}"] == asked + 1


async def test_a_run_that_died_while_sections_were_written_writes_the_others(table: Table) -> None:
    table.scoping.failures["section plan"] = AtelierError(ErrorType.ATTEMPTS_EXHAUSTED, "It ended ten workers.")
    handle = await table.begin()
    await table.sponsor.through(1, 2, 3, 4, 5)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert table.scoping.states["job"].phase is Phase.WRITING
    table.scoping.failures.clear()
    await table.end(await table.begin(session(run=2)))
    sections = {revision for step, revision in table.scoping.revisions if step.startswith("section")}
    assert sections == {1}, "what is stored under this key is not paid for again"
    assert f"judge stage 1 {HAIKU}" in table.scoping.asked
    assert is_done(table.scoping.states["job"])


async def test_continued_as_new_nothing_is_lost_and_nothing_asked_twice(table: Table) -> None:
    table.scoping.vague["q2a"] = 2
    handle = await table.begin(session(acts_a_run=2))
    first = (await handle.describe()).run_id
    await table.sponsor.through(1, 2)
    for _ in range(2):
        await table.scoping.until_following_up("q2a")
        await table.sponsor.follow_up(2, "q2a")
    await table.scoping.until_asking(3)
    await table.sponsor.skip(3, "q3a")
    await table.sponsor.skip(3, "q3b")
    await table.sponsor.through(4, 5)
    result = await table.end(handle)
    assert result.summary["version"] == 1
    assert len(table.jobs.begun_by) == 5
    assert [begun.continued for begun in table.jobs.begun_by] == [False, True, True, True, True]
    assert len({begun.workflow_run_id for begun in table.jobs.begun_by}) == 5
    assert table.jobs.begun_by[0].workflow_run_id == first
    assert table.jobs.said.count("completed") == 1
    assert table.scoping.states["job"].seq == 8
    assert len(table.jobs.changes) == len(set(table.jobs.changes)), "each change of status has a number of its own"
    assert table.scoping.asked[f"judge stage 2 {HAIKU}"] == 3
    assert [point.stage for point in table.scoping.checkpoints] == [1, 2, 3, 4, 5]
    progress = await handle.query("progress")
    assert {"judge stage 1", "close stage 5", "charter"} <= set(progress["completed_steps"])


async def test_an_act_in_the_moment_of_continuing_is_taken_by_one_of_the_two(table: Table) -> None:
    """Every act comes while the one before it makes the workflow continue as new."""
    await table.begin(session(acts_a_run=1))
    await table.scoping.until_asking(1)
    for stage in range(1, 5):
        for part in ("a", "b"):
            assert (await table.sponsor.skip(stage, f"q{stage}{part}")).seq == 2 * stage - (part == "a")
        await table.scoping.until_asking(stage + 1)
    await table.jobs.until_begun(5)


async def continuing(table: Table) -> tuple[Handle, asyncio.Task[ActTaken]]:
    """A session that is to continue as new as soon as the answer is stored that is held at the door."""
    handle = await table.begin(session(acts_a_run=1))
    await table.scoping.until_asking(1)
    table.scoping.storing = asyncio.Event()
    answering = asyncio.create_task(table.sponsor.answer(1))
    await table.scoping.at_the_door.wait()
    return handle, answering


async def let_go_on(table: Table, answering: asyncio.Task[ActTaken]) -> None:
    assert table.scoping.storing is not None
    table.scoping.storing.set()
    assert (await answering).seq == 1


async def test_a_pause_before_it_continues_holds_behind_it(table: Table) -> None:
    handle, answering = await continuing(table)
    await handle.signal("control_changed", Control(seq=1, paused=True))
    await let_go_on(table, answering)
    await table.jobs.until_begun(2)
    await table.jobs.until_said("paused")
    assert f"judge stage 1 {HAIKU}" not in table.scoping.asked
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await table.scoping.until_asking(2)


async def test_a_pause_that_came_too_late_for_it_is_heard_by_the_next(table: Table) -> None:
    """The signal went to a workflow that had ended; `begin` of the next reads what the person wants."""
    handle, answering = await continuing(table)
    table.jobs.begun = Begun(proceed=True, control=Control(seq=1, paused=True))
    await let_go_on(table, answering)
    await table.jobs.until_said("paused")
    assert f"judge stage 1 {HAIKU}" not in table.scoping.asked
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await table.scoping.until_asking(2)


async def test_a_cancel_before_it_continues_ends_it(table: Table) -> None:
    handle, answering = await continuing(table)
    await handle.cancel()
    await let_go_on(table, answering)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert table.jobs.said[-1] == "cancelled"
    assert len(table.jobs.begun_by) == 1


async def test_a_cancel_that_came_too_late_for_it_ends_the_next(table: Table) -> None:
    handle, answering = await continuing(table)
    table.jobs.begun = Begun(proceed=False)
    await let_go_on(table, answering)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == ErrorType.CANCELLED
    assert f"judge stage 1 {HAIKU}" not in table.scoping.asked


async def test_cancelled_while_it_waits(table: Table) -> None:
    handle = await table.begin()
    await table.jobs.until_waiting("scoping_stage", stage=1)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert table.jobs.said == ["running", "waiting_for_input", "cancelled"]
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


@pytest.mark.parametrize("step", ["judge stage 1", "section value"])
async def test_cancelled_while_a_model_works(table: Table, step: str) -> None:
    reached, _ = table.scoping.hold(step)
    handle = await table.begin()
    await table.sponsor.through(1)
    if step != "judge stage 1":
        await table.sponsor.through(2, 3, 4, 5)
    await reached.wait()
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert step in table.scoping.cancelled
    assert table.jobs.said[-1] == "cancelled"


async def test_cancelled_while_models_are_away(table: Table) -> None:
    table.scoping.failures["judge stage 1"] = REFUSED
    handle = await table.begin(session(pause_seconds=3_600))
    await table.sponsor.through(1)
    await table.scoping.until_trouble()
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert table.jobs.said[-1] == "cancelled"


async def test_paused_it_takes_what_is_said_and_asks_no_model(table: Table) -> None:
    handle = await table.begin()
    await table.jobs.until_waiting("scoping_stage", stage=1)
    await handle.signal("control_changed", Control(seq=1, paused=True))
    await table.sponsor.answer(1)
    await table.jobs.until_said("paused")
    assert f"judge stage 1 {HAIKU}" not in table.scoping.asked
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await table.scoping.until_asking(2)


async def test_a_session_that_reopens_a_charter_leaves_what_rests_on_nothing_new(table: Table) -> None:
    handle = await table.begin()
    await table.sponsor.through(1, 2, 3, 4, 5)
    await table.end(handle)
    before = {id: REF.model_copy(update={"sha256": f"{number}" * 64}) for number, id in enumerate(SectionId, 1)}
    table.scoping.base = before
    table.scoping.asked.clear()
    base = {"job_id": "job", "document_id": "job", "version": 1, "stage": 2, "questions": ["q2b"]}
    child = await table.begin(session("child", base=base))
    sponsor = Sponsor(table.client, table.scoping, "child")
    state = await table.scoping.until_asking(2, "child")
    assert [id for id, question in state.questions.items() if question.status is QuestionStatus.OPEN] == ["q2b"]
    await sponsor.answer(2, "q2b")
    result = await table.end(child)
    assert (result.summary["document_id"], result.summary["version"]) == ("job", 2)
    kept = table.scoping.kept[-1]
    assert (kept.parent, kept.reopened) == (1, 2)
    stayed = {id for id, ref in kept.sections.items() if ref == before[id]}
    assert stayed == {SectionId.PROBLEM, SectionId.DATA, SectionId.USERS, SectionId.RISK}
    assert not any(f"section {id.value} {HAIKU}" in table.scoping.asked for id in stayed)
    assert table.scoping.asked[f"section value {HAIKU}"] == 1


async def test_acts_on_a_session_that_is_ending_are_refused(table: Table) -> None:
    reached, gate = table.scoping.hold("export pdf")
    handle = await table.begin()
    await table.sponsor.through(1, 2, 3, 4, 5)
    await reached.wait()
    refusal = await table.sponsor.refused(table.sponsor.reopen(1))
    assert refusal.type == ErrorType.INVALID_STATE
    assert "writing the charter" in refusal.message
    gate.set()
    await table.end(handle)
