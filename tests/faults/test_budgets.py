"""Budgets of the whole product: a job waits and goes on, a lost call holds what it may have cost, a month binds all."""

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

from core.contracts.options import HEARTBEAT_TIMEOUT
from core.db.engine import Database
from tests.faults.conftest import BEHIND_CACHE, CALLS
from tests.support.audit import Audit
from tests.support.rows import one, rows
from tests.support.stack import Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_messages import hang, slow

LITTLE = "0.001"
"""USD; less than the first call of a job may cost, and more than nothing."""
ENOUGH = "0.1"
"""USD; more than what all calls of a job may cost, one after another."""


async def test_a_job_whose_budget_is_too_small_waits_and_goes_on(
    stack: Stack, user: User, database: Database, audit: Audit
) -> None:
    stack.worker()
    job = (await user.submit(budget_usd=float(LITTLE)))["id"]
    waiting = await user.until(job, "waiting_for_budget")
    assert (waiting["waiting_for"]["what"], waiting["waiting_for"]["which"]) == ("budget", "job")
    assert waiting["cost"]["usd"] == 0
    told = await events(database, "job.budget")
    assert [(event["percent"], event["refused"]) for event in told] == [(100, True)]
    await audit.check()
    # At once, and each is added; the repeated one is the same.
    half = {"add_usd": float(ENOUGH) / 2}
    added = await asyncio.gather(
        *(user.post(f"jobs/{job}/budget", half, key=key) for key in ("one", "two", "two", "one"))
    )
    assert max(answer["cost"]["budget_usd"] for answer in added) == float(LITTLE) + float(ENOUGH)
    done = await user.until(job, "completed")
    assert done["cost"]["budget_usd"] == float(LITTLE) + float(ENOUGH)
    assert len(await events(database, "job.budget_raised")) == 2
    await never_passed(database)
    await audit.check()


@pytest.mark.faults
async def test_a_call_that_was_lost_holds_what_it_may_have_cost_until_it_is_settled(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    gate = threading.Event()
    wire.script(hang(gate), prompt="Write section 2 of 3")
    worker = stack.worker()
    job = (await user.submit(budget_usd=float(ENOUGH)))["id"]
    await wire.received(lambda request: "Write section 2 of 3" in request.prompt, 30)
    await eventually(lambda: rows(database, BEHIND_CACHE), lambda stored: len(stored) == 3)
    worker.kill()
    gate.set()
    # Meanwhile another call's first byte comes later than a worker's death is noticed: it is not made twice.
    wire.script(slow(HEARTBEAT_TIMEOUT.total_seconds() + 1), prompt="Slow mills")
    stack.worker()
    late = await user.submit(input={"topic": "Slow mills", "target_words": 900, "cache": "bypass"})
    await user.until(late["id"], "completed")
    await user.until(job, "completed")
    assert len(wire.requests) == 2 * CALLS + 1
    lost = await one(database, "SELECT reserved_usd, usd, settled_at FROM attempts WHERE outcome = 'unknown'")
    assert lost["usd"] is None
    assert lost["settled_at"] is None
    assert lost["reserved_usd"] > 0
    spent = await figures(database, job)
    assert [row["reserved"] for row in spent] == [lost["reserved_usd"]] * 2
    await audit.check()
    stack.api(SETTLE_AFTER_SECONDS="0.1")
    settled = await eventually(lambda: figures(database, job), lambda found: found[0]["reserved"] == 0, 20)
    assert settled == [{"spent": row["spent"] + lost["reserved_usd"], "reserved": Decimal(0)} for row in spent]
    assert (await user.job(job))["cost"]["usd"] == float(settled[0]["spent"])
    await audit.check()


async def test_a_month_holds_all_jobs_of_its_owner_until_it_may_cost_more(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    await set_month(user, float(LITTLE))
    jobs = [(await user.submit())["id"] for _ in range(2)]
    for job in jobs:
        waiting = await user.until(job, "waiting_for_budget")
        assert waiting["waiting_for"]["which"] == "month"
    assert wire.requests == []
    await audit.check()
    # Enough for all of them one after another, and not for all that they would hold at once.
    await set_month(user, float(ENOUGH))
    for job in jobs:
        await user.until(job, "completed", seconds=90)
    month = await user.get("me/budget")
    assert 0 < month["spent_usd"] <= month["monthly_usd"] == float(ENOUGH)
    assert month["reserved_usd"] == 0
    await audit.check()


async def set_month(user: User, usd: float | None) -> None:
    """Set what a month may cost."""
    answer = await user.http.put("/v1/me/budget", json={"monthly_usd": usd})
    assert answer.status_code == 200, answer.text


async def events(database: Database, kind: str) -> list[dict[str, Any]]:
    """What was told of that kind, in order."""
    found = await rows(database, "SELECT data FROM events WHERE type = :kind ORDER BY seq", kind=kind)
    return [row["data"] for row in found]


async def figures(database: Database, job: str) -> list[dict[str, Any]]:
    """Spent and reserved, of the job and of its owner's month."""
    return await rows(
        database,
        "SELECT cost_usd AS spent, reserved_usd AS reserved FROM jobs WHERE id = :job "
        "UNION ALL SELECT spent_usd, reserved_usd FROM spending",
        job=job,
    )


async def never_passed(database: Database) -> None:
    """At every close of a call what was spent until then is within what the job's budget was."""
    told = await rows(database, "SELECT type, data FROM events ORDER BY seq")
    spent, budget = 0.0, float(LITTLE)
    for event in told:
        spent += event["data"].get("usd") or 0.0
        budget = event["data"]["budget_usd"] if event["type"] == "job.budget_raised" else budget
        assert spent <= budget
    assert spent > 0
