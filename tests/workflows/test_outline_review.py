"""The review of an outline: approve, edit, ask again; refusals, expiry, and what a retry knows."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Answer, Control, JobResult
from core.contracts.longform_steps import REVIEW_STEP, OutlineAgain, OutlineApproved, OutlineEdited
from tests.support.scripted import plan, request, start
from tests.workflows.conftest import Bench, fired

HAIKU = "anthropic:claude-haiku-4-5"
Handle = WorkflowHandle[Any, Any]


async def waiting(bench: Bench, times: int = 1, **changes: Any) -> Handle:
    """A job that waits for its outline."""
    handle = await start(bench.client, request(input={"review_outline": True}, **changes))
    await bench.jobs.until_said("waiting_for_input", times)
    return handle


async def say(handle: Handle, update: str, verdict: Contract, id: str | None = None) -> Answer:
    answer: Answer = await handle.execute_update(update, verdict, id=id, result_type=Answer)
    return answer


async def refused(handle: Handle, update: str, verdict: Contract) -> ApplicationError:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await say(handle, update, verdict)
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == ErrorType.INVALID_STATE
    return failed.value.cause


async def test_nothing_is_written_before_the_outline_is_approved(bench: Bench) -> None:
    handle = await waiting(bench)
    assert set(bench.longform.asked) == {"cache", f"decompose {HAIKU}"}
    question = bench.jobs.waiting_for[0]
    assert (question["what"], question["round"], question["sections"], question["words"]) == (
        "outline_review",
        1,
        3,
        936,
    )
    assert question["expires_at"].endswith("+00:00")
    answer = await say(handle, "approve_outline", OutlineApproved(round=1), "my-key")
    assert (answer.act, answer.update_id) == ("approve_outline", "my-key")
    assert bench.jobs.answers[REVIEW_STEP, 1] == answer
    await handle.result()
    assert bench.jobs.said == ["running", "waiting_for_input", "running", "completed"]
    progress = await handle.query("progress")
    assert (progress["percentage"], progress["total_steps"]) == (100.0, 13)


async def test_the_same_key_again_is_the_same_answer(bench: Bench) -> None:
    handle = await waiting(bench)
    first = await say(handle, "approve_outline", OutlineApproved(), "my-key")
    assert await say(handle, "approve_outline", OutlineApproved(), "my-key") == first
    await handle.result()


async def test_an_edited_outline_is_written_instead(bench: Bench) -> None:
    handle = await waiting(bench)
    await say(handle, "edit_outline", OutlineEdited(round=1, plan=plan(5, "Mills by the sea")))
    await handle.result()
    assert {step for step, _ in bench.longform.revisions if step.startswith("section")} == {
        f"section s{number}" for number in range(1, 6)
    }
    answer = bench.jobs.answers[REVIEW_STEP, 1]
    assert [file.name for file in answer.files] == ["outline.json"]


async def test_an_edit_that_is_not_approved_yet_is_shown_once_more(bench: Bench) -> None:
    handle = await waiting(bench)
    await say(handle, "edit_outline", OutlineEdited(plan=plan(5, "Mills by the sea"), approve=False))
    await bench.jobs.until_said("waiting_for_input", 2)
    assert (bench.jobs.waiting_for[1]["round"], bench.jobs.waiting_for[1]["sections"]) == (2, 5)
    assert f"section s1 {HAIKU}" not in bench.longform.asked
    await say(handle, "approve_outline", OutlineApproved(round=2))
    await handle.result()
    assert bench.longform.asked[f"section s5 {HAIKU}"] == 1


async def test_asked_again_with_instructions_as_often_as_one_likes(bench: Bench) -> None:
    handle = await waiting(bench)
    for number, wish in enumerate(("More history.", "Less of it."), start=1):
        await say(handle, "revise_outline", OutlineAgain(round=number, instructions=wish))
        await bench.jobs.until_said("waiting_for_input", number + 1)
    assert bench.longform.instructions == ["", "More history.", "Less of it."]
    assert (await handle.query("outline"))["title"] == "Tidal mills 3"
    await say(handle, "approve_outline", OutlineApproved(round=3))
    result = JobResult.model_validate(await handle.result())
    assert result.summary["version"] == 1
    assert (await handle.query("progress"))["total_steps"] == 13


async def test_of_two_approvals_at_once_one_wins_and_the_other_is_told(bench: Bench) -> None:
    handle = await waiting(bench)
    bench.jobs.storing = asyncio.Event()
    first = asyncio.create_task(say(handle, "approve_outline", OutlineApproved(round=1), "first"))
    await bench.jobs.until_storing()
    told = await refused(handle, "revise_outline", OutlineAgain(round=1, instructions="More."))
    assert "came first" in told.message
    bench.jobs.storing.set()
    assert (await first).update_id == "first"
    await handle.result()
    assert bench.longform.instructions == [""]


async def test_both_in_one_workflow_task_and_only_one_is_taken(bench: Bench) -> None:
    handle = await waiting(bench)
    both = await asyncio.gather(
        say(handle, "approve_outline", OutlineApproved(round=1), "a"),
        say(handle, "approve_outline", OutlineApproved(round=1), "b"),
        return_exceptions=True,
    )
    assert sorted(isinstance(one, Answer) for one in both) == [False, True]
    await handle.result()


async def test_a_word_on_another_round_or_when_nothing_is_asked_is_refused(bench: Bench) -> None:
    reached, gate = bench.longform.hold("section s2")
    handle = await waiting(bench)
    assert "round 1" in (await refused(handle, "approve_outline", OutlineApproved(round=2))).message
    await say(handle, "approve_outline", OutlineApproved(round=1))
    await reached.wait()
    assert "answered" in (await refused(handle, "approve_outline", OutlineApproved(round=1))).message
    gate.set()
    await handle.result()


async def test_when_nobody_answers_the_job_fails_and_a_retry_asks_again(bench: Bench) -> None:
    handle = await start(bench.client, request(input={"review_outline": True}, review_seconds=1))
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == ErrorType.REVIEW_EXPIRED
    again = await waiting(bench, times=2, run=2)
    await say(again, "approve_outline", OutlineApproved())
    await again.result()


async def test_an_answer_that_is_being_stored_when_the_time_is_up_counts(bench: Bench) -> None:
    handle = await start(bench.client, request(input={"review_outline": True}, review_seconds=1))
    await bench.jobs.until_said("waiting_for_input")
    bench.jobs.storing = asyncio.Event()
    answering = asyncio.create_task(say(handle, "approve_outline", OutlineApproved()))
    await bench.jobs.until_storing()
    await fired(handle)
    bench.jobs.storing.set()
    await answering
    await handle.result()


async def test_a_retry_knows_what_was_answered(bench: Bench) -> None:
    bench.longform.failures["assemble"] = AtelierError(ErrorType.ARTIFACT_MISSING, "The outline is gone.")
    handle = await waiting(bench)
    await say(handle, "edit_outline", OutlineEdited(plan=plan(4, "Mills by the sea")))
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    bench.longform.failures.clear()
    again = await start(bench.client, request(input={"review_outline": True}, run=2))
    await again.result()
    assert bench.jobs.said.count("waiting_for_input") == 1
    assert bench.longform.asked[f"section s4 {HAIKU}"] == 2  # scripted activities store nothing


async def test_cancelled_while_it_waits(bench: Bench) -> None:
    handle = await waiting(bench)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert bench.jobs.said == ["running", "waiting_for_input", "cancelled"]


async def test_paused_while_it_waits_it_takes_the_answer_and_starts_nothing(bench: Bench) -> None:
    handle = await waiting(bench)
    await handle.signal("control_changed", Control(seq=1, paused=True))
    await say(handle, "approve_outline", OutlineApproved())
    await bench.jobs.until_said("paused")
    assert f"section s1 {HAIKU}" not in bench.longform.asked
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await handle.result()
