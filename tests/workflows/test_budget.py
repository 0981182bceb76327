"""A job whose budget is used up waits, and goes on where it stood; what a chain tells the models that come later."""

import asyncio

import pytest
from temporalio.client import WorkflowFailureError

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Control
from core.contracts.longform import PARALLEL_SECTIONS
from tests.support.scripted import request, start
from tests.workflows.conftest import Bench

HAIKU, FLASH = "anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"
REFUSED = {"which": "job", "budget_usd": 0.01, "spent_usd": 0.009, "reserved_usd": 0.0, "needed_usd": 0.002}
OVER_BUDGET = AtelierError(ErrorType.BUDGET_EXCEEDED, "The budget does not allow it.", details=REFUSED)


async def test_what_is_in_flight_ends_then_the_job_waits_and_goes_on_when_it_is_raised(bench: Bench) -> None:
    reached, gate = bench.longform.hold("section s1")
    bench.longform.failures["section s2"] = OVER_BUDGET
    bench.longform.failures["section s3"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await reached.wait()
    await bench.longform.until_asked(f"section s2 {HAIKU}")
    assert bench.jobs.said == ["running"]
    gate.set()
    await bench.jobs.until_said("waiting_for_budget")
    assert bench.jobs.waiting_for == [{"what": "budget", **REFUSED}]
    bench.longform.failures.clear()
    await handle.signal("control_changed", Control(seq=1, budget=1))
    await handle.result()
    assert bench.jobs.said == ["running", "waiting_for_budget", "running", "completed"]
    # The same model again, at the latest when the others had ended: what the chain had come to is not begun anew.
    assert 2 <= bench.longform.asked[f"section s2 {HAIKU}"] <= 4
    assert bench.longform.asked[f"section s2 {FLASH}"] == 0
    assert bench.longform.asked[f"section s1 {HAIKU}"] == 1


async def test_a_cancel_that_comes_while_the_budget_is_asked_for_ends_the_job(bench: Bench) -> None:
    """The refusal comes after the cancel: no wait may begin that nobody would end."""
    reached, gate = bench.longform.hold("decompose")
    bench.longform.deaf.add("decompose")
    bench.longform.failures["decompose"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.cancel()
    gate.set()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert bench.jobs.said == ["running", "cancelled"]


async def test_what_was_only_held_for_others_is_tried_again_when_they_end(bench: Bench) -> None:
    reached, gate = bench.longform.hold("section s1")
    bench.longform.failures["section s2"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await reached.wait()
    await bench.longform.until_asked(f"section s2 {HAIKU}")
    bench.longform.failures.clear()
    gate.set()
    await handle.result()
    assert bench.jobs.said == ["running", "completed"]


async def test_a_raise_that_is_too_small_makes_it_wait_again(bench: Bench) -> None:
    bench.longform.failures["decompose"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await bench.jobs.until_said("waiting_for_budget")
    await handle.signal("control_changed", Control(seq=1, budget=1))
    await bench.jobs.until_said("waiting_for_budget", 2)
    bench.longform.failures.clear()
    await handle.signal("control_changed", Control(seq=2, budget=2))
    await handle.result()
    assert bench.jobs.said.count("waiting_for_budget") == 2


async def test_a_raise_that_came_while_the_step_was_refused_is_not_waited_for(bench: Bench) -> None:
    reached, gate = bench.longform.hold("decompose")
    bench.longform.failures["decompose"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await reached.wait()
    await handle.signal("control_changed", Control(seq=1, budget=1))
    await handle.query("progress")  # the signal has been taken
    gate.set()
    await bench.jobs.until_said("waiting_for_budget")
    # Tried once more at once, as more was there than when it was refused; then there was not.
    assert bench.longform.asked[f"decompose {HAIKU}"] == 2
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert bench.jobs.said[-1] == "cancelled"


async def test_a_job_that_waits_for_its_budget_can_be_paused_and_raised(bench: Bench) -> None:
    bench.longform.failures["decompose"] = OVER_BUDGET
    handle = await start(bench.client, request())
    await bench.jobs.until_said("waiting_for_budget")
    bench.longform.failures.clear()
    await handle.signal("control_changed", Control(seq=1, paused=True, budget=1))
    await bench.jobs.until_said("paused")
    assert bench.longform.asked[f"decompose {HAIKU}"] == 1
    await handle.signal("control_changed", Control(seq=2, budget=1))
    await handle.result()
    assert bench.jobs.said[-1] == "completed"


async def test_after_a_pause_that_came_in_between_the_job_waits_for_its_budget_again(bench: Bench) -> None:
    """Said once, it would be forgotten: the job would look as if it ran, and nobody would raise anything."""
    bench.longform.sections = PARALLEL_SECTIONS + 2
    last = f"section s{bench.longform.sections}"
    bench.longform.failures["section s2"] = OVER_BUDGET
    numbers = [number for number in range(1, PARALLEL_SECTIONS + 1) if number != 2]
    held = [bench.longform.hold(f"section s{number}") for number in numbers]
    handle = await start(bench.client, request())
    for reached, _ in held:
        await reached.wait()
    await bench.longform.until_asked(f"section s2 {HAIKU}")
    await handle.signal("control_changed", Control(seq=1, paused=True))
    for _, gate in held:
        gate.set()
    await bench.jobs.until_said("paused")
    await handle.signal("control_changed", Control(seq=2))
    await bench.longform.until_asked(f"{last} {HAIKU}")
    await _until_last(bench, "waiting_for_budget")
    bench.longform.failures.clear()
    await handle.signal("control_changed", Control(seq=3, budget=1))
    await handle.result()
    assert bench.jobs.said[-1] == "completed"


async def _until_last(bench: Bench, status: str) -> None:
    """Wait until a status is the last thing that was said."""
    async with bench.jobs.changed, asyncio.timeout(20):
        await bench.jobs.changed.wait_for(lambda: bench.jobs.said[-1] == status)


async def test_the_least_that_is_missing_is_told(bench: Bench) -> None:
    dear = AtelierError(ErrorType.BUDGET_EXCEEDED, "No.", details={**REFUSED, "needed_usd": 0.5})
    bench.longform.failures |= {"section s1": dear, "section s2": OVER_BUDGET, "section s3": dear}
    handle = await start(bench.client, request())
    async with bench.jobs.changed, asyncio.timeout(20):
        await bench.jobs.changed.wait_for(lambda: {"what": "budget", **REFUSED} in bench.jobs.waiting_for)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()


async def test_a_prompt_that_is_too_long_asks_the_next_model_for_a_larger_window(bench: Bench) -> None:
    details = {"context_window": 200_000, "attempts": 1}
    bench.longform.failures[f"decompose {HAIKU}"] = AtelierError(
        ErrorType.PROMPT_TOO_LONG, "The prompt is too long.", details=details
    )
    await (await start(bench.client, request())).result()
    asked = [(paid.model, paid.larger_than, paid.last) for paid in bench.longform.requests]
    assert asked[:2] == [(HAIKU, 0, False), (FLASH, 200_000, True)]
    # The next step begins at the first model again, of which nothing is known yet.
    assert asked[2] == (HAIKU, 0, False)


@pytest.mark.parametrize(("cache", "reuse"), [("use", True), ("bypass", False)])
async def test_answers_are_taken_again_where_the_job_allows_it(bench: Bench, cache: str, reuse: bool) -> None:
    await (await start(bench.client, request(input={"cache": cache}))).result()
    assert {paid.reuse for paid in bench.longform.requests} == {reuse}


async def test_the_first_section_precedes_the_others_where_the_provider_keeps_what_they_share(bench: Bench) -> None:
    bench.longform.sections, bench.longform.shares_prefix = 5, True
    reached, gate = bench.longform.hold("section s1")
    handle = await start(bench.client, request())
    await reached.wait()
    asked = (await handle.query("progress"))["current_step"]
    assert asked == "section s1"
    gates = [bench.longform.hold(f"section s{number}") for number in (2, 3, 4, 5)]
    gate.set()
    await asyncio.gather(*(reached.wait() for reached, _ in gates))
    for _, opened in gates:
        opened.set()
    await handle.result()
    assert {bench.longform.asked[f"section s{number} {HAIKU}"] for number in range(1, 6)} == {1}


async def test_where_nothing_is_kept_all_sections_begin_at_once(bench: Bench) -> None:
    bench.longform.sections = 5
    held = [bench.longform.hold(f"section s{number}") for number in range(1, 6)]
    handle = await start(bench.client, request())
    await asyncio.gather(*(reached.wait() for reached, _ in held))
    for _, gate in held:
        gate.set()
    await handle.result()
