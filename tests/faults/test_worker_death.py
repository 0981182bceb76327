"""A worker is killed at every stage, in a model call and just before it stores: nothing is lost or stored twice."""

import asyncio
import threading
from functools import partial

import pytest

from core.db.engine import Database
from tests.faults.conftest import BEHIND_CACHE, CALLS, Holding, drop, until_held
from tests.support.audit import Audit
from tests.support.rows import rows
from tests.support.stack import Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_messages import WireRequest, hang

STEPS = ("decompose", "section s2", "assemble", "export pdf")


@pytest.mark.parametrize("deaths", [1, pytest.param(2, marks=pytest.mark.faults)])
async def test_killed_before_each_kind_of_step_is_stored(
    stack: Stack, user: User, database: Database, holding: Holding, wire: WireProvider, audit: Audit, deaths: int
) -> None:
    jobs = [(await user.submit(input={"topic": f"Held at {step}", "target_words": 600}))["id"] for step in STEPS]
    held = list(zip(jobs, STEPS, strict=True))
    for _ in range(deaths):
        async with holding(*held):
            worker = stack.worker(wait=False)
            waiting = await until_held(database, len(held))
            worker.kill()
            await drop(database, waiting)
    stack.worker()
    for job in jobs:
        await user.until(job, "completed")
    # What was answered and not stored is asked again, once a death; what was stored is not.
    unknown = await rows(database, "SELECT step, count(*) FROM attempts WHERE outcome = 'unknown' GROUP BY step")
    assert {row["step"]: row["count"] for row in unknown} == {"decompose": deaths, "section s2": deaths}
    assert len(wire.requests) == len(jobs) * CALLS + 2 * deaths
    await audit.check()


@pytest.mark.faults
async def test_killed_in_a_model_call_again_and_again(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    gate = threading.Event()
    wire.script(hang(gate), hang(gate), prompt="Write section 2 of 3")
    job = await user.submit()
    for death in range(1, 3):
        worker = stack.worker(wait=False)
        await asyncio.to_thread(wire.wait_until, partial(_times_asked, wire, "Write section 2 of 3", death), 30)
        await eventually(lambda: rows(database, BEHIND_CACHE), lambda stored: len(stored) == 3)
        worker.kill()
    gate.set()
    stack.worker()
    await user.until(job["id"], "completed")
    assert len(_asked(wire, "Write section 1 of 3")) == 1
    assert len(_asked(wire, "Write section 2 of 3")) == 3
    await audit.check()


async def test_a_worker_that_is_told_to_stop_finishes_its_calls_and_leaves_nothing(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    gate = threading.Event()
    wire.script(hang(gate), prompt="Write section 2 of 3")
    worker = stack.worker()
    job = await user.submit()
    await wire.received(lambda request: "Write section 2 of 3" in request.prompt)
    worker.popen.terminate()
    gate.set()
    assert worker.stop() == 0
    stack.worker()
    await user.until(job["id"], "completed")
    assert len(wire.requests) == CALLS
    await audit.check()


def _times_asked(wire: WireProvider, text: str, times: int) -> bool:
    return len(_asked(wire, text)) == times


def _asked(wire: WireProvider, text: str) -> list[WireRequest]:
    return [request for request in wire.requests if text in request.prompt]
