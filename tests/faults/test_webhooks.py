"""Deliveries in the whole product: a receiver that is away for long, workers and APIs that are killed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from core.contracts.webhooks import HookEvent
from core.db.engine import Database
from tests.faults.conftest import Far
from tests.support.ground import Ground
from tests.support.receiver import OK, Receiver, status, verified
from tests.support.rows import rows
from tests.support.stack import Stack, User, eventually
from tests.support.web_server import then_silent

ENDINGS = [HookEvent.COMPLETED, HookEvent.FAILED, HookEvent.CANCELLED]


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def providers() -> tuple[Far, ...]:
    """The simulator answers: what is written does not matter here."""
    return ()


def settings(receiver: Receiver) -> dict[str, str]:
    """Deliveries are tried again after tenths of a second, for a minute that stands for a day."""
    return {
        "FETCH_ALLOWED_HOSTS": receiver.allowed,
        "WEBHOOK_PLAIN_HTTP": "true",
        "WEBHOOK_TIMEOUT_SECONDS": "0.5",
        "WEBHOOK_FIRST_RETRY_SECONDS": "0.1",
        "WEBHOOK_LONGEST_RETRY_SECONDS": "0.4",
        "WEBHOOK_RETRY_HOURS": str(60 / 3600),
        "WEBHOOK_DISABLE_DAYS": "0",
    }


@pytest.fixture
def stack(stack: Stack, receiver: Receiver) -> Stack:
    """A stack whose deliveries may go to the receiver."""
    stack.env |= settings(receiver)
    return stack


async def hook(user: User, receiver: Receiver, *events: str) -> dict[str, Any]:
    answer = await user.http.post("/v1/hooks", json={"url": receiver.address, "events": events or ENDINGS})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def cancelled(user: User, **fields: Any) -> str:
    """A job that ends at once."""
    job = await user.submit(**fields)
    await user.act(job["id"], "cancel")
    return str(job["id"])


async def ended(user: User, path: str) -> list[dict[str, Any]]:
    """The deliveries below a path, when all have ended."""

    async def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await user.get(f"{path}/deliveries"))["items"]
        return found

    return await eventually(read, lambda found: bool(found) and all(one["state"] != "pending" for one in found))


@pytest.mark.faults
async def test_a_job_that_ended_is_told_to_its_url_and_to_the_webhook(
    stack: Stack, user: User, receiver: Receiver, database: Database
) -> None:
    made = await hook(user, receiver)
    stack.worker("orchestration,web")
    # Down, then up: nobody listens, it hangs, it breaks.
    receiver.scripts = [status(500), then_silent(), status(503, retry_after="1"), b"", status(404)]
    job_id = await cancelled(user, webhook_url=receiver.address)
    found = await ended(user, f"jobs/{job_id}")
    assert {one["state"] for one in found} == {"delivered"}
    assert len({one["id"] for one in found}) == 2
    assert set(receiver.ids) == {one["id"] for one in found}
    assert sum(len(one["tries"]) for one in found) == len(receiver.requests) == 7
    secrets = {
        None: (await user.get("me/signing-secret"))["secret"],
        made["id"]: made["secret"],
    }
    signed = {one["id"]: secrets[one["hook_id"]] for one in found}
    for request in receiver.requests:
        told = verified(request, signed[request.headers["webhook-id"]])
        assert (told["type"], told["data"]["job"]["id"]) == ("job.cancelled", job_id)
    # Made again, with the same id.
    await user.post(f"deliveries/{found[0]['id']}/redeliver")
    await receiver.until(8)
    assert receiver.ids[-1] == found[0]["id"]
    logs = [process.log.read_text() for process in stack.processes]
    assert not any(secret in log for secret in secrets.values() for log in logs)


@pytest.mark.faults
async def test_a_receiver_that_was_away_for_hours_gets_it_once_it_is_back(
    stack: Stack, user: User, receiver: Receiver
) -> None:
    made = await hook(user, receiver)
    stack.worker("orchestration,web")
    receiver._server.close()
    job_id = await cancelled(user)

    async def tried() -> int:
        (one,) = (await user.get(f"jobs/{job_id}/deliveries"))["items"] or [{"tries": []}]
        return len(one["tries"])

    await eventually(tried, lambda count: count >= 4)
    assert (await user.get(f"hooks/{made['id']}"))["failing_since"] is not None
    receiver._server = await asyncio.start_server(receiver._accept, receiver.host, receiver.port)
    (one,) = await ended(user, f"jobs/{job_id}")
    assert (one["state"], receiver.ids) == ("delivered", [one["id"]])
    assert (await user.get(f"hooks/{made['id']}"))["failing_since"] is None


@pytest.mark.faults
async def test_given_up_and_disabled(stack: Stack, account: Any, receiver: Receiver) -> None:
    stack.env["WEBHOOK_RETRY_HOURS"] = str(0.5 / 3600)
    receiver.then = status(500)
    async with User(stack.api(), account.token) as user:
        made = await hook(user, receiver)
        stack.worker("orchestration,web")
        job_id = await cancelled(user)
        (one,) = await ended(user, f"hooks/{made['id']}")
        assert (one["job_id"], one["state"]) == (job_id, "failed")
        assert len(one["tries"]) >= 2
        seen = await user.get(f"hooks/{made['id']}")
        assert "Nothing has got through" in seen["disabled_because"]
        actions = [line["action"] for line in (await user.get("me/audit"))["items"]]
        assert "hooks.disabled" in actions
        await cancelled(user)
        assert len((await user.get(f"hooks/{made['id']}/deliveries"))["items"]) == 1


@pytest.mark.faults
async def test_killed_workers_and_apis_lose_none(
    stack: Stack, user: User, receiver: Receiver, database: Database
) -> None:
    made = await hook(user, receiver)
    jobs = [await cancelled(user) for _ in range(5)]
    # Each worker dies while the receiver holds its requests.
    for death in range(2):
        receiver.scripts = [then_silent()] * 5
        worker = stack.worker("orchestration,web", wait=False, WEBHOOK_TIMEOUT_SECONDS="30")
        await receiver.until(5 * (death + 1))
        worker.kill()
    stack.processes[0].kill()  # the API
    async with User(stack.api(), user.http.headers["authorization"].removeprefix("Bearer ")) as later:
        jobs.append(await cancelled(later))
        stack.worker("orchestration,web")
        found = await eventually(
            lambda: rows(database, "SELECT id, job_id FROM deliveries WHERE state = 'delivered'"),
            lambda found: len(found) == len(jobs),
        )
        assert {str(row["job_id"]) for row in found} == set(jobs)
        assert {row["hook_id"] for row in await rows(database, "SELECT hook_id FROM deliveries")} != {None}
    assert set(receiver.ids) == {str(row["id"]) for row in found}
    for request in receiver.requests:
        verified(request, made["secret"])


@pytest.mark.faults
async def test_servers_that_are_killed_lose_none(ground: Ground, receiver: Receiver) -> None:
    stack, database = ground.stack, ground.database()
    stack.env = settings(receiver) | {"WEBHOOK_TIMEOUT_SECONDS": "30"}
    stack.worker("orchestration,web")
    receiver.then = status(503)
    async with User(stack.api(), ground.account.token) as user:
        made = await hook(user, receiver)
        jobs = [await cancelled(user)]
        await receiver.until(2)
        await asyncio.to_thread(ground.temporal.kill)
        jobs.append(await cancelled(user))
        await asyncio.to_thread(ground.temporal.start)
        while len(set(receiver.ids)) < 2:
            await receiver.until(len(receiver.requests) + 1)
        # The receiver takes what it is told while the database is away: that is held, and not forgotten.
        before, gate = len(receiver.requests), asyncio.Event()

        async def taken(writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            writer.write(OK)
            await writer.drain()

        receiver.then = taken
        await receiver.until(before + 2)
        await asyncio.to_thread(ground.postgres.kill)
        gate.set()
        await asyncio.to_thread(ground.postgres.start)
        for job_id in jobs:
            (one,) = await ended(user, f"jobs/{job_id}")
            assert one["state"] == "delivered"
    assert len(set(receiver.ids)) == 2
    assert {verified(request, made["secret"])["data"]["job"]["id"] for request in receiver.requests} == set(jobs)
    await ground.audit(database)
    await database.close()


@pytest.mark.faults
async def test_an_account_that_is_deleted_is_told_nothing_more(
    stack: Stack, user: User, receiver: Receiver, database: Database
) -> None:
    await hook(user, receiver)
    stack.worker("orchestration,web")
    receiver.then = status(500)
    await cancelled(user)
    await receiver.until(2)
    erased = await user.http.request("DELETE", "/v1/me")
    assert erased.status_code in {200, 202}, erased.text
    unfinished = "SELECT 1 FROM erasures WHERE finished_at IS NULL"
    await eventually(lambda: rows(database, unfinished), lambda found: not found, 20)
    for table in ("webhooks", "deliveries", "signing_secrets", "owners"):
        assert await rows(database, f"SELECT 1 FROM {table}") == []
