"""Deliveries: what is posted, how it is signed, what is noted of it, and what becomes of a webhook that fails."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import WebhookVerificationError

from activities.webhooks import SPREAD, Webhooks
from core.contracts.errors import ErrorType
from core.contracts.jobs import FinishJob, JobError, JobResult, JobStatus, Remind, SetStatus
from core.contracts.webhooks import HookEvent, Tried, TryDelivery
from core.db.engine import Database
from core.db.repositories.deliveries import DeliveryRecord, DeliveryRepository, DeliveryWorkRepository
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.webhooks import HookRecord, WebhookRepository
from core.web.fetcher import Fetcher
from core.web.rules import USER_AGENT, FetchRules
from tests.conftest import Account
from tests.support.receiver import OK, Receiver, status, verified
from tests.support.rows import accept, begin, execute, one, rows
from tests.support.web_server import redirect, then_silent

EVERYTHING = tuple(event for event in HookEvent if event is not HookEvent.TEST)
NEVER = timedelta(days=1_000)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


class Bench:
    """An owner with a receiver, and the activities."""

    def __init__(self, database: Database, account: Account, receiver: Receiver) -> None:
        self.database, self.owner_id, self.receiver = database, account.owner_id, receiver
        self.disable_after = NEVER

    @property
    def webhooks(self) -> Webhooks:
        rules = FetchRules(allowed=(self.receiver.allowed,), silence_seconds=0.3, total_seconds=1)
        return Webhooks(self.database, Fetcher(rules, USER_AGENT), disable_after=self.disable_after)

    async def hook(self, *events: HookEvent, url: str | None = None) -> tuple[HookRecord, str]:
        async with self.database.transaction() as connection:
            return await WebhookRepository(connection, self.owner_id).create(
                url or self.receiver.address, events or EVERYTHING, description="", active=True, at_most=20
            )

    async def seen(self, hook_id: str) -> HookRecord:
        async with self.database.transaction() as connection:
            return await WebhookRepository(connection, self.owner_id).get(hook_id)

    async def finished(self, state: JobStatus = JobStatus.COMPLETED, **changes: Any) -> str:
        job_id = await begin(self.database, self.owner_id, **changes)
        await self.finish(job_id, state)
        return job_id

    async def finish(self, job_id: str, state: JobStatus = JobStatus.COMPLETED, run: int = 1) -> None:
        error = JobError(code=ErrorType.INTERNAL, message="It broke.") if state is JobStatus.FAILED else None
        async with self.database.transaction() as connection:
            await RunRepository(connection).finish(
                FinishJob(job_id=job_id, run=run, status=state, result=JobResult(), error=error)
            )

    async def told(self) -> list[DeliveryRecord]:
        found = await rows(self.database, "SELECT id FROM deliveries ORDER BY id")
        async with self.database.transaction() as connection:
            deliveries = DeliveryRepository(connection, self.owner_id)
            return [await deliveries.get(str(row["id"])) for row in found]

    async def attempt(self, number: int = 1, pause: float | None = 5.0, which: int = 0, round: int = 1) -> Tried:
        delivery = (await self.told())[which]
        return await self.webhooks.deliver(
            TryDelivery(delivery_id=delivery.id, round=round, number=number, pause=pause)
        )


@pytest.fixture
def bench(database: Database, account: Account, receiver: Receiver) -> Bench:
    return Bench(database, account, receiver)


async def test_the_reference_library_verifies_what_a_job_tells(bench: Bench, receiver: Receiver) -> None:
    hook, secret = await bench.hook()
    job_id = await bench.finished(tags=("museum",))
    assert await bench.attempt() == Tried()
    (request,) = receiver.requests
    told = verified(request, secret)
    assert (told["type"], told["data"]["job"]["id"], told["data"]["job"]["status"]) == (
        "job.completed",
        job_id,
        "completed",
    )
    assert told["timestamp"].endswith("Z")
    assert told["data"]["job"]["tags"] == ["museum"]
    assert "input" not in told["data"]["job"]
    (delivery,) = await bench.told()
    assert (request.headers["webhook-id"], request.method) == (delivery.id, "POST")
    assert request.headers["content-type"] == "application/json"
    assert (delivery.state, delivery.hook_id, delivery.tries[0]["status"]) == ("delivered", hook.id, 200)
    for wrong in ("whsec_" + "QUFB" * 8, secret[:-5] + "AAAA="):
        with pytest.raises(WebhookVerificationError):
            verified(request, wrong)


async def test_for_a_day_after_a_rotation_both_secrets_sign(
    bench: Bench, receiver: Receiver, database: Database
) -> None:
    hook, old = await bench.hook()
    async with database.transaction() as connection:
        rotated, new = await WebhookRepository(connection, bench.owner_id).rotate(hook.id)
    assert rotated.previous_secret_until is not None
    await bench.finished()
    await bench.attempt()
    assert verified(receiver.requests[0], old) == verified(receiver.requests[0], new)
    await execute(database, "UPDATE webhooks SET previous_until = now()")
    await bench.finished()
    await bench.attempt(which=1)
    verified(receiver.requests[1], new)
    with pytest.raises(WebhookVerificationError):
        verified(receiver.requests[1], old)


async def test_each_event_goes_to_those_who_chose_it_and_to_the_url_of_the_job(
    bench: Bench, receiver: Receiver, database: Database
) -> None:
    ends, _ = await bench.hook(HookEvent.COMPLETED, HookEvent.FAILED)
    waits, _ = await bench.hook(HookEvent.WAITING)
    await bench.finished(JobStatus.FAILED, webhook_url=receiver.address)
    cancelled = await accept(database, bench.owner_id, webhook_url=receiver.address)
    async with database.transaction() as connection:
        await JobRepository(connection, bench.owner_id).request_cancel(cancelled)
    waiting = await begin(database, bench.owner_id)
    for change, state, question in (
        (1, JobStatus.WAITING_FOR_INPUT, {"what": "outline_review", "expires_at": "2026-12-21", "outline": {"a": "b"}}),
        (1, JobStatus.WAITING_FOR_INPUT, {"what": "outline_review"}),
        (2, JobStatus.RUNNING, None),
        (3, JobStatus.WAITING_FOR_BUDGET, {"what": "budget"}),
    ):
        async with database.transaction() as connection:
            await RunRepository(connection).set_status(
                SetStatus(job_id=waiting, run=1, change=change, status=state, waiting_for=question)
            )
    told = [(delivery.type.value, delivery.hook_id) for delivery in await bench.told()]
    assert sorted(told, key=str) == sorted(
        [
            ("job.failed", None),
            ("job.failed", ends.id),
            ("job.cancelled", None),
            ("job.waiting", waits.id),
            ("job.waiting", waits.id),
        ],
        key=str,
    )
    for which in range(len(told)):
        await bench.attempt(which=which)
    said = {body["type"]: body["data"]["job"] for body in receiver.bodies}
    assert said["job.failed"]["error"] == {"code": "internal", "message": "It broke."}
    waits_for = [body["data"]["job"]["waiting_for"] for body in receiver.bodies if body["type"] == "job.waiting"]
    assert waits_for == [{"what": "outline_review", "expires_at": "2026-12-21"}, {"what": "budget"}]
    assert "waiting_for" not in said["job.cancelled"]


async def test_a_reminder_is_told_with_the_time_that_is_left(
    bench: Bench, receiver: Receiver, database: Database
) -> None:
    await bench.hook(HookEvent.REMINDER)
    job = await begin(database, bench.owner_id, webhook_url=receiver.address)
    waiting = {"what": "outline_review", "expires_at": "2026-12-21"}
    async with database.transaction() as connection:
        runs = RunRepository(connection)
        await runs.set_status(
            SetStatus(job_id=job, run=1, change=1, status=JobStatus.WAITING_FOR_INPUT, waiting_for=waiting)
        )
        await runs.remind(Remind(job_id=job, run=1, change=1, expires_at="2026-12-21"))
    told = [delivery.type.value for delivery in await bench.told()]
    assert sorted(told) == ["job.reminder", "job.reminder", "job.waiting"]
    for which in range(len(told)):
        await bench.attempt(which=which)
    assert [body["data"]["job"]["waiting_for"] for body in receiver.bodies] == [waiting] * 3


async def test_an_event_that_is_said_twice_is_told_once(bench: Bench) -> None:
    await bench.hook()
    job_id = await bench.finished()
    await bench.finish(job_id)
    assert len(await bench.told()) == 1


async def test_every_run_of_a_job_tells_how_it_ended(bench: Bench, database: Database, receiver: Receiver) -> None:
    await bench.hook()
    job_id = await bench.finished(JobStatus.FAILED)
    async with database.transaction() as connection:
        await JobRepository(connection, bench.owner_id).retry(job_id)
    await execute(database, "UPDATE jobs SET status = 'running'")
    await bench.finish(job_id, run=2)
    assert [delivery.type.value for delivery in await bench.told()] == ["job.failed", "job.completed"]
    for which in range(2):
        await bench.attempt(which=which)
    assert [(body["data"]["job"]["run"], "error" in body["data"]["job"]) for body in receiver.bodies] == [
        (1, True),
        (2, False),
    ]
    assert len(set(receiver.ids)) == 2


async def test_the_default_secret_signs_for_the_url_of_a_job(
    bench: Bench, receiver: Receiver, database: Database
) -> None:
    await bench.finished(webhook_url=receiver.address)
    await bench.attempt()
    async with database.transaction() as connection:
        webhooks = WebhookRepository(connection, bench.owner_id)
        old = await webhooks.signing_secret()
        new = await webhooks.rotate_signing_secret()
    verified(receiver.requests[0], old.secret)
    await bench.finished(webhook_url=receiver.address)
    await bench.attempt(which=1)
    assert verified(receiver.requests[1], old.secret) == verified(receiver.requests[1], new.secret)


async def test_a_receiver_that_fails_is_tried_again_with_the_same(bench: Bench, receiver: Receiver) -> None:
    hook, _ = await bench.hook()
    await bench.finished()
    inside = redirect("http://127.0.0.1:1/latest/meta-data")
    receiver.scripts = [status(500), then_silent(), inside, status(429, retry_after="60"), b"rubbish\r\n\r\n", OK]
    pauses: list[float] = []
    for number in range(1, 6):
        tried = await bench.attempt(number, pause=5.0)
        pauses.append(tried.again or 0)
        assert (await bench.seen(hook.id)).failing_since is not None
    assert await bench.attempt(6) == Tried()
    assert pauses.pop(3) == 60.0, "as it asked"
    assert all(5 * (1 - SPREAD) <= pause <= 5 for pause in pauses)
    assert len(set(pauses)) == 4, "what failed together is not tried together"
    assert len(set(receiver.ids)) == 1
    assert len({request.body for request in receiver.requests}) == 1
    (delivery,) = await bench.told()
    assert [(seen["status"], seen["error"] is None) for seen in delivery.tries] == [
        (500, False), (None, False), (302, False), (429, False), (None, False), (200, True),
    ]  # fmt: skip
    assert "redirect" in delivery.tries[2]["error"]
    assert (delivery.state, delivery.next_try_at) == ("delivered", None)
    assert (await bench.seen(hook.id)).failing_since is None


async def test_a_try_that_was_noted_is_not_made_again(bench: Bench, receiver: Receiver) -> None:
    await bench.hook()
    await bench.finished()
    receiver.scripts = [status(503)]
    await bench.attempt(1, pause=100)
    again = (await bench.attempt(1, pause=100)).again
    assert again is not None
    assert 70 < again <= 100
    assert await bench.attempt(2) == Tried()
    assert await bench.attempt(3) == Tried()
    assert await bench.attempt(1, round=2) == Tried()
    assert len(receiver.requests) == 2


async def test_gone_disables_at_once_and_says_so(bench: Bench, receiver: Receiver, database: Database) -> None:
    hook, _ = await bench.hook()
    other, secret = await bench.hook(HookEvent.DISABLED)
    await bench.finished()
    receiver.scripts = [status(410)]
    assert await bench.attempt() == Tried()
    seen = await bench.seen(hook.id)
    assert seen.disabled_at is not None
    assert "410" in (seen.disabled_because or "")
    line = await one(database, "SELECT * FROM audit WHERE action = 'hooks.disabled'")
    assert (str(line["owner_id"]), line["resource"], line["actor_id"]) == (bench.owner_id, f"hooks/{hook.id}", None)
    await bench.finished()
    assert [(d.type.value, d.hook_id) for d in await bench.told()] == [
        ("job.completed", hook.id),
        ("webhook.disabled", other.id),
    ]
    await bench.attempt(which=1)
    assert verified(receiver.requests[-1], secret)["data"]["hook"]["id"] == hook.id
    async with database.transaction() as connection:
        mended = await WebhookRepository(connection, bench.owner_id).change(
            hook.id, url=None, events=None, description=None, active=True
        )
    assert (mended.disabled_at, mended.disabled_because, mended.failing_since) == (None, None, None)


async def test_a_webhook_that_failed_for_long_is_disabled_when_a_delivery_is_given_up(
    bench: Bench, receiver: Receiver
) -> None:
    hook, _ = await bench.hook()
    for given_up in range(2):
        await bench.finished()
        receiver.scripts = [status(500), status(500)]
        await bench.attempt(1, which=given_up)
        assert (await bench.seen(hook.id)).disabled_at is None
        bench.disable_after = timedelta(0) if given_up else NEVER
        assert await bench.attempt(2, pause=None, which=given_up) == Tried()
    assert [delivery.state.value for delivery in await bench.told()] == ["failed", "failed"]
    assert "Nothing has got through since" in ((await bench.seen(hook.id)).disabled_because or "")


async def test_what_waits_for_a_webhook_that_was_switched_off_is_not_sent(
    bench: Bench, receiver: Receiver, database: Database
) -> None:
    await bench.hook()
    await bench.finished()
    await execute(database, "UPDATE webhooks SET active = false")
    assert await bench.attempt() == Tried()
    assert (receiver.requests, (await bench.told())[0].state.value) == ([], "failed")
    await execute(database, "UPDATE owners SET erasing_at = now()")
    await execute(database, "UPDATE deliveries SET state = 'pending', tried = 0")
    assert await bench.attempt() == Tried()
    assert receiver.requests == []


async def test_an_address_that_may_not_be_asked_is_given_up_at_once(bench: Bench, receiver: Receiver) -> None:
    await bench.hook(url="http://127.0.0.1:9999/inside")
    await bench.hook(url="http://localhost:9999/inside")
    await bench.finished()
    for which in range(2):
        assert await bench.attempt(which=which) == Tried()
    assert all("public" in delivery.tries[0]["error"] for delivery in await bench.told())


async def test_a_lost_delivery_is_claimed_again_and_an_old_one_is_dropped(bench: Bench, database: Database) -> None:
    await bench.hook()
    await bench.finished()

    async def claimed() -> int:
        async with database.transaction() as connection:
            return len(await DeliveryWorkRepository(connection).claim(20, timedelta(seconds=10)))

    async def lost() -> int:
        async with database.transaction() as connection:
            return await DeliveryWorkRepository(connection).find_lost()

    async def dropped() -> int:
        async with database.transaction() as connection:
            return await DeliveryWorkRepository(connection).drop_old()

    assert [await claimed(), await claimed()] == [1, 0]
    await execute(database, "UPDATE deliveries SET claimed_at = now() - interval '11 s'")
    assert await claimed() == 1
    long_ago = "now() - interval '4 h'"
    await execute(database, f"UPDATE deliveries SET claimed_at = {long_ago}, dispatched_at = now()")
    assert (await lost(), await claimed()) == (0, 0)
    # What waits for longer than that, as it is set to, is not lost.
    await execute(database, f"UPDATE deliveries SET dispatched_at = {long_ago}, next_try_at = now() + interval '1 h'")
    assert (await lost(), await claimed()) == (0, 0)
    await execute(database, f"UPDATE deliveries SET next_try_at = {long_ago}")
    assert (await lost(), await claimed()) == (1, 1)
    await execute(database, "UPDATE deliveries SET created_at = now() - interval '31 days'")
    assert await dropped() == 0, "it is made again"
    await execute(database, "UPDATE deliveries SET state = 'failed'")
    assert await dropped() == 1
