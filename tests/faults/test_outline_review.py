"""The review of an outline over REST, with workers and API processes that die around it."""

import asyncio
from typing import Any

import pytest

from core.db.engine import Database
from tests.faults.conftest import Holding, drop, until_held
from tests.support.audit import Audit
from tests.support.rows import rows
from tests.support.stack import Stack, User, eventually
from tests.support.wire import WireProvider

REVIEWED = {"topic": "Tidal mills", "target_words": 900, "review_outline": True, "formats": ["markdown"]}


async def waiting(user: User, **input: Any) -> dict[str, Any]:
    """A job that waits for its outline."""
    job = await user.submit(input={**REVIEWED, **input})
    return await user.until(job["id"], "waiting_for_input")


async def test_the_review_outlives_worker_and_api_and_nothing_is_asked_meanwhile(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    worker = stack.worker()
    job = await waiting(user)
    assert job["waiting_for"]["what"] == "outline_review"
    assert len(wire.requests) == 1
    worker.kill()
    stack.processes[0].kill()
    async with User(stack.api(), token_of(user)) as later:
        stack.worker()
        outline = await later.get(f"jobs/{job['id']}/outline")
        assert (outline["round"], outline["waiting"], outline["words"]) == (1, True, 900)
        assert (await later.job(job["id"]))["status"] == "waiting_for_input"
        await later.post(f"jobs/{job['id']}/outline/approve", {"round": 1})
        done = await later.until(job["id"], "completed")
    assert done["waiting_for"] is None
    assert len(wire.requests) == 1 + 3 + 1 + 1
    await audit.check()


async def test_two_approvals_at_once_from_two_processes_and_one_wins(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    job = await waiting(user)
    async with User(stack.api(), token_of(user)) as other:
        answers = await asyncio.gather(
            user.http.post(f"/v1/jobs/{job['id']}/outline/approve", headers={"Idempotency-Key": "one"}),
            other.http.post(
                f"/v1/jobs/{job['id']}/outline/revise",
                headers={"Idempotency-Key": "two"},
                json={"instructions": "More history."},
            ),
        )
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    told = next(answer for answer in answers if answer.status_code == 409)
    assert told.json()["code"] == "invalid_state"
    if answers[0].status_code == 409:
        await eventually(lambda: user.get(f"jobs/{job['id']}/outline"), lambda outline: outline["round"] == 2)
        await user.until(job["id"], "waiting_for_input")
        await user.post(f"jobs/{job['id']}/outline/approve", {"round": 2})
    await user.until(job["id"], "completed")
    await audit.check()


async def test_the_same_key_again_is_the_same_answer_and_another_body_is_refused(
    stack: Stack, user: User, audit: Audit
) -> None:
    stack.worker()
    job = await waiting(user)
    path = f"jobs/{job['id']}/outline/approve"
    await user.post(path, {"round": 1}, key="mine")
    await user.post(path, {"round": 1}, key="mine")
    refused = await user.http.post(f"/v1/{path}", json={}, headers={"Idempotency-Key": "mine"})
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_mismatch")
    await user.until(job["id"], "completed")
    await user.post(path, {"round": 1}, key="mine")
    late = await user.http.post(f"/v1/{path}")
    assert (late.status_code, late.json()["code"]) == (409, "invalid_state")
    await audit.check()


@pytest.mark.faults
async def test_a_worker_that_is_killed_as_it_stores_the_answer(
    stack: Stack, user: User, database: Database, holding: Holding, audit: Audit
) -> None:
    worker = stack.worker()
    job = await waiting(user)
    async with holding((job["id"], "review outline")):
        approving = asyncio.create_task(
            user.http.post(f"/v1/jobs/{job['id']}/outline/approve", headers={"Idempotency-Key": "mine"})
        )
        held = await until_held(database, 1)
        worker.kill()
        await drop(database, held)
    stack.worker()
    # The answer arrives, or the client is told to send it again; either way it counts once.
    first = await approving
    if first.status_code == 503:
        assert "Idempotency-Key" in first.json()["detail"]
    else:
        assert first.status_code == 202, first.text
    await user.post(f"jobs/{job['id']}/outline/approve", key="mine")
    await user.until(job["id"], "completed")
    stored = await rows(database, "SELECT revision FROM steps WHERE step = 'review outline'")
    assert len(stored) == 1
    await audit.check()


async def test_edited_asked_again_and_edited_to_sixty_sections(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    job = await waiting(user, target_words=3_000)
    path = f"jobs/{job['id']}/outline"
    await user.post(f"{path}/revise", {"instructions": "Begin with the miller's day.", "round": 1})
    await eventually(lambda: user.get(path), lambda outline: outline["waiting"] and outline["round"] == 2)
    assert "Begin with the miller's day." in wire.requests[1].prompt
    outline = await user.get(path)
    sections = [{"id": outline["sections"][-1]["id"]}, *({"title": f"Mill number {n}"} for n in range(1, 60))]
    nothing = await user.http.post(f"/v1/{path}/edit", json={"sections": []})
    assert (nothing.status_code, nothing.json()["errors"][0]["loc"]) == (422, "sections")
    assert await user.get(path) == outline
    await user.post(f"{path}/edit", {"sections": sections, "round": 2})
    done = await user.until(job["id"], "completed")
    text = (await user.output(done, "article.md")).decode()
    headings = [line for line in text.splitlines() if line.startswith("## ") and "Mill number" in line]
    assert len(headings) == 59
    assert abs(done["result"]["summary"]["words"] - 3_000) <= 300
    await audit.check()


async def test_expired_and_asked_again_by_a_retry(stack: Stack, user: User, wire: WireProvider, audit: Audit) -> None:
    stack.processes[0].kill()
    async with User(stack.api(REVIEW_EXPIRY_DAYS="0.00001"), token_of(user)) as hasty:
        stack.worker()
        job = await hasty.submit(input=REVIEWED)
        failed = await hasty.until(job["id"], "failed")
    assert failed["error"]["code"] == "review_expired"
    stack.processes[-2].kill()
    async with User(stack.api(), token_of(user)) as later:
        await later.act(job["id"], "retry")
        await later.until(job["id"], "waiting_for_input")
        await later.post(f"jobs/{job['id']}/outline/approve")
        await later.until(job["id"], "completed")
    assert len([request for request in wire.requests if "Sections: 3" in request.prompt]) == 1
    await audit.check()


async def test_cancelled_while_it_waits(stack: Stack, user: User, audit: Audit) -> None:
    stack.worker()
    job = await waiting(user)
    await user.act(job["id"], "cancel")
    await user.until(job["id"], "cancelled", seconds=5)
    await audit.check()


def token_of(user: User) -> str:
    """The key that a user sends."""
    return user.http.headers["Authorization"].removeprefix("Bearer ")
