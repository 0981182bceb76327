"""The workflow's paths, on a real server, in the product's own sandbox."""

import asyncio

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Begun, Control, JobResult
from tests.support.scripted import request, start
from tests.workflows.conftest import Bench

OVERLOADED = AtelierError(ErrorType.OVERLOADED, "The provider is overloaded.", details={"attempts": 3}, final=True)
REFUSED = AtelierError(ErrorType.MODEL_REFUSED, "The model declined.", details={"attempts": 1})
HAIKU, FLASH = "anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"


async def test_every_step_runs_once_and_the_result_names_the_files(bench: Bench) -> None:
    handle = await start(bench.client, request())
    result = JobResult.model_validate(await handle.result())
    assert [output.name for output in result.outputs] == ["article.markdown", "article.pdf", "report.md"]
    assert result.summary["document_id"] == "job"
    assert (result.summary["version"], result.summary["revisions"], result.summary["cached"]) == (1, 0, False)
    assert bench.jobs.said == ["running", "completed"]
    assert set(bench.longform.asked.values()) == {1}
    progress = await handle.query("progress")
    assert (progress["percentage"], progress["total_steps"]) == (100.0, 12)


async def test_the_second_model_is_asked_when_the_first_is_given_up(bench: Bench) -> None:
    bench.longform.failures[f"section s2 {HAIKU}"] = OVERLOADED
    await (await start(bench.client, request())).result()
    assert bench.longform.asked[f"section s2 {HAIKU}"] == 1
    assert bench.longform.asked[f"section s2 {FLASH}"] == 1
    assert bench.jobs.said[-1] == "completed"


async def test_when_all_models_fail_the_job_names_the_step_and_each_reason_and_the_siblings_end(bench: Bench) -> None:
    bench.longform.failures["section s2"] = REFUSED
    reached, gate = bench.longform.hold("section s3")
    handle = await start(bench.client, request())
    await reached.wait()
    gate.set()
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == ErrorType.ALL_MODELS_FAILED
    last = bench.jobs.last
    assert last is not None
    assert last.error is not None
    assert (last.error.code, last.error.step, last.error.attempts) == (ErrorType.ALL_MODELS_FAILED, "section s2", 2)
    assert [model["model"] for model in last.error.details["models"]] == [HAIKU, FLASH]
    assert bench.longform.asked[f"section s3 {HAIKU}"] == 1
    assert bench.longform.cancelled == []


async def test_an_error_that_no_other_model_would_mend_ends_the_chain(bench: Bench) -> None:
    bench.longform.failures["section s2"] = AtelierError(ErrorType.ARTIFACT_MISSING, "The outline is gone.")
    with pytest.raises(WorkflowFailureError):
        await (await start(bench.client, request())).result()
    assert bench.longform.asked[f"section s2 {FLASH}"] == 0
    assert bench.jobs.last is not None
    assert bench.jobs.last.error is not None
    assert bench.jobs.last.error.code is ErrorType.ARTIFACT_MISSING


async def test_cancel_reaches_the_running_step_and_the_job_says_so(bench: Bench) -> None:
    reached, _ = bench.longform.hold("section s2")
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as cancelled:
        await handle.result()
    assert isinstance(cancelled.value.cause, CancelledError)
    assert bench.longform.cancelled == ["section s2"]
    assert bench.jobs.said == ["running", "cancelled"]
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_nothing_more_is_asked_when_the_step_ends_before_it_hears_of_the_cancel(bench: Bench) -> None:
    reached, gate = bench.longform.hold("decompose")
    bench.longform.deaf.add("decompose")
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.cancel()
    gate.set()
    with pytest.raises(WorkflowFailureError) as cancelled:
        await handle.result()
    assert isinstance(cancelled.value.cause, CancelledError)
    assert set(bench.longform.asked) == {"cache", f"decompose {HAIKU}"}
    assert bench.jobs.said == ["running", "cancelled"]


async def test_no_other_model_is_asked_when_the_first_fails_while_the_job_is_cancelled(bench: Bench) -> None:
    reached, gate = bench.longform.hold("decompose")
    bench.longform.deaf.add("decompose")
    bench.longform.failures["decompose"] = OVERLOADED
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.cancel()
    gate.set()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert set(bench.longform.asked) == {"cache", f"decompose {HAIKU}"}
    assert bench.jobs.said == ["running", "cancelled"]


async def test_pause_in_the_fan_out_lets_all_sections_end(bench: Bench) -> None:
    held = [bench.longform.hold(f"section s{number}") for number in (1, 2, 3)]
    handle = await start(bench.client, request())
    for reached, _ in held:
        await reached.wait()
    await handle.signal("control_changed", Control(seq=1, paused=True))
    for _, gate in held:
        gate.set()
    await bench.jobs.until_said("paused")
    assert "assemble" not in bench.longform.asked
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await handle.result()
    assert bench.jobs.said == ["running", "paused", "running", "completed"]


async def test_pause_lets_what_runs_end_and_starts_nothing(bench: Bench) -> None:
    reached, gate = bench.longform.hold("decompose")
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.signal("control_changed", Control(seq=1, paused=True))
    gate.set()
    await bench.jobs.until_said("paused")
    assert set(bench.longform.asked) == {"cache", f"decompose {HAIKU}"}
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await handle.result()
    assert bench.jobs.said == ["running", "paused", "running", "completed"]


async def test_a_wish_that_arrives_late_does_not_win(bench: Bench) -> None:
    reached, gate = bench.longform.hold("decompose")
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.signal("control_changed", Control(seq=2, paused=False))
    await handle.signal("control_changed", Control(seq=1, paused=True))
    gate.set()
    await handle.result()
    assert "paused" not in bench.jobs.said


async def test_a_job_that_was_paused_before_it_began_starts_nothing_and_can_be_cancelled(bench: Bench) -> None:
    bench.jobs.begun = Begun(proceed=True, control=Control(seq=1, paused=True))
    handle = await start(bench.client, request())
    await bench.jobs.until_said("paused")
    assert not bench.longform.asked
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert bench.jobs.said == ["running", "paused", "cancelled"]


async def test_a_job_that_ended_before_it_began_does_nothing(bench: Bench) -> None:
    bench.jobs.begun = Begun(proceed=False)
    with pytest.raises(WorkflowFailureError):
        await (await start(bench.client, request())).result()
    assert not bench.longform.asked
    assert bench.jobs.said == ["running"]


async def test_an_input_that_no_longer_validates_fails_the_job(bench: Bench) -> None:
    handle = await start(bench.client, request(input={"topic": "x", "target_words": -5}))
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 10)
    assert bench.jobs.last is not None
    assert bench.jobs.last.error is not None
    assert bench.jobs.last.error.code is ErrorType.INVALID_REQUEST
    assert "target_words" in bench.jobs.last.error.message


async def test_a_request_that_is_no_request_fails_the_workflow_and_does_not_loop(bench: Bench) -> None:
    handle = await bench.client.start_workflow("Longform", {"rubbish": 1}, id="longform/x", task_queue="orchestration")
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 10)
