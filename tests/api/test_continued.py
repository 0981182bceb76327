"""Jobs whose workflow continues as new: whatever their owners want of them meanwhile is heard by one of the two."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.jobs import Jobs
from api.reconciler import Reconciler
from api.starter import Starter
from core.contracts.jobs import BeginJob, Begun, JobStatus, Remind, SetStatus
from core.contracts.scoping import ActTaken
from core.db.engine import Database
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository, Wish
from core.temporal import connect
from tests.api.test_starter import GRACE
from tests.conftest import Account, Namespace
from tests.support.rows import accept, begin, execute, one, rows, waiting_for_locks
from tests.support.scripted import scripted_workers
from tests.support.scripted_scoping import ScriptedScoping, Sponsor, session

HAIKU = "anthropic:claude-haiku-4-5"


@dataclass
class House:
    """A session at the point at which its workflow is to continue as new: an act is being stored."""

    database: Database
    owner_id: str
    client: Client
    scoping: ScriptedScoping
    starter: Starter
    sponsor: Sponsor
    answering: asyncio.Task[ActTaken]

    async def status(self, wanted: str) -> None:
        """Wait until the job's row says so."""
        async with asyncio.timeout(20):
            while (await one(self.database, "SELECT status FROM jobs"))["status"] != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def run_id(self) -> str:
        """Of the workflow that the row names."""
        return str((await one(self.database, "SELECT workflow_run_id FROM jobs"))["workflow_run_id"])

    async def wish(self) -> Wish:
        """What the starter is about to tell, and to whom."""
        async with self.database.transaction() as connection:
            (wish,) = await RunRepository(connection).wishes()
        return wish

    async def want(self, ask: Callable[[JobRepository], object]) -> None:
        """Have the owner want something."""
        async with self.database.transaction() as connection:
            wanted = ask(JobRepository(connection, self.owner_id))
            assert asyncio.iscoroutine(wanted)
            await wanted

    async def go_on(self) -> None:
        """Let the act be stored: the workflow continues as new."""
        before = await self.run_id()
        assert self.scoping.storing is not None
        self.scoping.storing.set()
        assert (await self.answering).seq == 1
        async with asyncio.timeout(20):
            while await self._runs(before):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _runs(self, run_id: str) -> bool:
        """Whether the row names this workflow, and says of none that it ended."""
        row = await one(self.database, "SELECT workflow_run_id, status FROM jobs")
        return bool(row["workflow_run_id"] == run_id and row["status"] != "cancelled")

    async def tell_in_vain(self, wish: Wish) -> None:
        """What the starter does with a wish whose workflow is no more."""
        handle = self.client.get_workflow_handle(f"scoping/{self.sponsor.job}", run_id=wish.workflow_run_id)
        if wish.cancel:
            # To cancel what has ended is nothing to Temporal, and no error.
            await handle.cancel()
        else:
            with pytest.raises(RPCError) as failed:
                await handle.signal("control_changed", wish.control)
            assert failed.value.status is RPCStatusCode.NOT_FOUND
        async with self.database.transaction() as connection:
            await RunRepository(connection).told(wish)


@asynccontextmanager
async def storing_an_act(database: Database, account: Account, client: Client) -> AsyncIterator[House]:
    scoping, starter = ScriptedScoping(), Starter(database, client)
    async with scripted_workers(client, Jobs(database), scoping=scoping):
        given = session(acts_a_run=1)
        job = await accept(database, account.owner_id, pipeline="scoping", input=given.input, models=given.models)
        await starter.sweep()
        await scoping.until_asking(1, job)
        scoping.storing = asyncio.Event()
        sponsor = Sponsor(client, scoping, job)
        answering = asyncio.create_task(sponsor.answer(1))
        await scoping.at_the_door.wait()
        yield House(database, account.owner_id, client, scoping, starter, sponsor, answering)


@pytest_asyncio.fixture
async def house(database: Database, account: Account, namespace: Namespace) -> AsyncIterator[House]:
    client = await connect(namespace.address, namespace.name)
    async with storing_an_act(database, account, client) as house:
        yield house


async def test_a_pause_that_is_told_to_the_workflow_before_is_not_lost(house: House) -> None:
    await house.want(lambda jobs: jobs.request_pause(house.sponsor.job, paused=True))
    late = await house.wish()
    await house.go_on()
    assert late.workflow_run_id != await house.run_id()
    await house.tell_in_vain(late)
    await house.status("paused")
    assert f"judge stage 1 {HAIKU}" not in house.scoping.asked
    await house.want(lambda jobs: jobs.request_pause(house.sponsor.job, paused=False))
    assert (await house.wish()).workflow_run_id == await house.run_id()
    await house.starter.sweep()
    await house.scoping.until_asking(2, house.sponsor.job)


async def test_a_pause_that_the_workflow_before_has_heard_is_carried(house: House) -> None:
    await house.want(lambda jobs: jobs.request_pause(house.sponsor.job, paused=True))
    await house.starter.sweep()
    await house.go_on()
    await house.status("paused")
    assert f"judge stage 1 {HAIKU}" not in house.scoping.asked


async def test_a_cancel_that_is_told_to_the_workflow_before_is_not_lost(house: House) -> None:
    await house.want(lambda jobs: jobs.request_cancel(house.sponsor.job))
    late = await house.wish()
    await house.go_on()
    await house.tell_in_vain(late)
    await house.status("cancelled")
    assert f"judge stage 1 {HAIKU}" not in house.scoping.asked


async def test_a_cancel_that_the_workflow_before_has_heard_ends_it(house: House) -> None:
    await house.want(lambda jobs: jobs.request_cancel(house.sponsor.job))
    await house.starter.sweep()
    await house.go_on()
    await house.status("cancelled")


async def test_the_reconciler_does_not_take_it_for_ended(house: House) -> None:
    await house.go_on()
    await house.scoping.until_asking(2, house.sponsor.job)
    await execute(house.database, "UPDATE jobs SET updated_at = now() - interval '1 hour'")
    await Reconciler(house.database, house.client, cancel_grace=GRACE).sweep()
    await house.status("waiting_for_input")
    begun = [row["data"]["workflow_run_id"] for row in await events(house.database, "job.started")]
    assert len(begun) == 1, "readers see one beginning"
    described = await house.client.get_workflow_handle(f"scoping/{house.sponsor.job}").describe()
    assert (described.run_id, await described.memo_value("run")) == (await house.run_id(), 1)
    assert await house.run_id() not in begun


async def events(database: Database, kind: str) -> list[dict[str, dict[str, str]]]:
    return await rows(database, "SELECT data FROM events WHERE type = :kind ORDER BY seq", kind=kind)


async def go_on(database: Database, job_id: str) -> Begun:
    async with database.transaction() as connection:
        return await RunRepository(connection).begin(
            BeginJob(job_id=job_id, run=1, workflow_run_id="the next", continued=True)
        )


async def test_of_a_run_that_goes_on_the_row_learns_the_workflow_and_nothing_else(
    database: Database, account: Account
) -> None:
    job = await begin(database, account.owner_id)
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).request_pause(job, paused=True)
    shown = "SELECT status, event_seq, started_at, paused FROM jobs"
    before = await one(database, shown)
    begun = await go_on(database, job)
    assert (begun.proceed, begun.control.seq, begun.control.paused) == (True, 1, True)
    assert await go_on(database, job) == begun
    assert await one(database, shown) == before
    assert await one(database, "SELECT workflow_run_id, control_sent FROM jobs") == {
        "workflow_run_id": "the next",
        "control_sent": 1,
    }


async def test_a_pause_that_is_being_stored_is_waited_for(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).request_pause(job, paused=True)
        going_on = asyncio.create_task(go_on(database, job))
        await waiting_for_locks(database, 1)
    assert (await going_on).control.paused


async def test_a_job_that_ended_or_is_in_another_run_does_not_go_on(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    await execute(database, "UPDATE jobs SET run = 2")
    assert not (await go_on(database, job)).proceed
    await execute(database, "UPDATE jobs SET run = 1, status = 'failed'")
    assert not (await go_on(database, job)).proceed
    assert (await one(database, "SELECT workflow_run_id FROM jobs"))["workflow_run_id"] == "run"


async def test_a_reminder_is_told_once_and_only_while_a_person_is_waited_for(
    database: Database, account: Account
) -> None:
    job = await begin(database, account.owner_id)
    jobs = Jobs(database)
    reminder = Remind(job_id=job, run=1, change=1, expires_at="2026-12-21T00:00:00+00:00")
    await jobs.remind(reminder)
    assert await events(database, "job.reminder") == []
    waiting = SetStatus(job_id=job, run=1, change=1, status=JobStatus.WAITING_FOR_INPUT, waiting_for={"what": "a word"})
    await jobs.set_status(waiting)
    for _ in range(2):
        await jobs.remind(reminder)
    assert await events(database, "job.reminder") == [{"data": {"expires_at": "2026-12-21T00:00:00+00:00"}}]
    assert (await one(database, "SELECT status FROM jobs"))["status"] == "waiting_for_input"
    await jobs.remind(reminder.model_copy(update={"run": 2, "change": 2}))
    assert len(await events(database, "job.reminder")) == 1
