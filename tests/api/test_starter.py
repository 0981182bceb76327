"""The starter and the reconciler, side by side with others of their kind, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.reconciler import Reconciler
from api.starter import Starter
from core.contracts.errors import ErrorType
from core.contracts.jobs import BeginJob, FinishJob, JobError, JobResult, JobStatus
from core.db.engine import Database
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.temporal import connect
from tests.conftest import Account, Namespace
from tests.support.rows import accept, one, rows
from tests.support.visibility import workflow_ids

GRACE = timedelta(seconds=30)


@pytest_asyncio.fixture
async def client(namespace: Namespace) -> AsyncIterator[Client]:
    """A client in a namespace where no worker polls."""
    yield await connect(namespace.address, namespace.name)


async def runs(client: Client, job_id: str) -> list[WorkflowExecutionStatus | None]:
    """How the workflow stands, or nothing. Asked of the server's own record, which does not lag."""
    try:
        return [(await client.get_workflow_handle(f"longform/{job_id}").describe()).status]
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return []


async def test_five_starters_at_once_start_each_job_once(database: Database, account: Account, client: Client) -> None:
    jobs = [await accept(database, account.owner_id) for _ in range(40)]
    await asyncio.gather(*(Starter(database, client).sweep() for _ in range(5)))
    found = await rows(database, "SELECT id, dispatched_run_id FROM jobs")
    assert len({row["dispatched_run_id"] for row in found}) == 40
    assert await workflow_ids(client, 40) == sorted(f"longform/{job}" for job in jobs)


async def test_a_start_that_was_not_noted_is_the_same_workflow(
    database: Database, account: Account, client: Client
) -> None:
    """The API process died between Temporal's answer and its note of it."""
    job = await accept(database, account.owner_id)
    await Starter(database, client).sweep()
    first = await one(database, "SELECT dispatched_run_id FROM jobs")
    await _forget(database, job)
    await Starter(database, client).sweep()
    assert await one(database, "SELECT dispatched_run_id FROM jobs") == first
    assert await runs(client, job) == [WorkflowExecutionStatus.RUNNING]


async def test_a_workflow_that_ended_is_not_started_again(database: Database, account: Account, client: Client) -> None:
    job = await accept(database, account.owner_id)
    await Starter(database, client).sweep()
    await client.get_workflow_handle(f"longform/{job}").terminate("a test")
    await _forget(database, job)
    await Starter(database, client).sweep()
    assert await runs(client, job) == [WorkflowExecutionStatus.TERMINATED]
    await _until_closed(database, client)
    assert (await one(database, "SELECT status FROM jobs"))["status"] == "failed"


async def test_a_finished_job_is_left_alone(database: Database, account: Account, client: Client) -> None:
    job = await accept(database, account.owner_id)
    async with database.transaction() as connection:
        carried = RunRepository(connection)
        await carried.begin(BeginJob(job_id=job, run=1, workflow_run_id="run"))
        await carried.finish(FinishJob(job_id=job, run=1, status=JobStatus.COMPLETED, result=JobResult()))
    await Starter(database, client).sweep()
    assert await runs(client, job) == []


async def test_a_claim_of_a_dead_process_is_taken_over_when_it_is_stale(database: Database, account: Account) -> None:
    job = await accept(database, account.owner_id)
    async with database.transaction() as connection:
        carried = RunRepository(connection)
        assert [request.job_id for request in await carried.claim(10, timedelta(seconds=10), 60)] == [job]
        assert await carried.claim(10, timedelta(seconds=10), 60) == []
    async with database.transaction() as connection:
        assert [request.job_id for request in await RunRepository(connection).claim(10, timedelta(0), 60)] == [job]


async def test_a_workflow_that_was_lost_before_it_began_is_started_again(
    database: Database, account: Account, client: Client
) -> None:
    job = await accept(database, account.owner_id)
    async with database.transaction() as connection:
        await RunRepository(connection).dispatched(job, 1, "a run that Temporal lost")
    await _make_quiet(database)
    await Reconciler(database, client, cancel_grace=GRACE).sweep()
    await Starter(database, client).sweep()
    assert await runs(client, job) == [WorkflowExecutionStatus.RUNNING]


async def test_a_workflow_that_is_gone_fails_its_job_and_a_retry_starts_anew(
    database: Database, account: Account, client: Client
) -> None:
    job = await accept(database, account.owner_id)
    async with database.transaction() as connection:
        carried = RunRepository(connection)
        await carried.dispatched(job, 1, "a run that Temporal lost")
        await carried.begin(BeginJob(job_id=job, run=1, workflow_run_id="a run that Temporal lost"))
    await _make_quiet(database)
    await Reconciler(database, client, cancel_grace=GRACE).sweep()
    row = await one(database, "SELECT status, error->>'code' AS code FROM jobs")
    assert row == {"status": "failed", "code": "workflow_gone"}
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).retry(job)
    await Starter(database, client).sweep()
    assert await runs(client, job) == [WorkflowExecutionStatus.RUNNING]


async def test_a_live_workflow_is_left_alone(database: Database, account: Account, client: Client) -> None:
    await accept(database, account.owner_id)
    await Starter(database, client).sweep()
    await _make_quiet(database)
    await Reconciler(database, client, cancel_grace=GRACE).sweep()
    assert (await one(database, "SELECT status FROM jobs"))["status"] == "pending"


async def test_a_cancel_between_claim_and_start_ends_the_job_when_it_begins(
    database: Database, account: Account
) -> None:
    job = await accept(database, account.owner_id)
    async with database.transaction() as connection:
        await RunRepository(connection).claim(10, timedelta(seconds=10), 60)
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).request_cancel(job)
    async with database.transaction() as connection:
        begun = await RunRepository(connection).begin(BeginJob(job_id=job, run=1, workflow_run_id="run"))
    assert not begun.proceed
    assert (await one(database, "SELECT status FROM jobs"))["status"] == "cancelled"


async def test_a_job_whose_start_was_never_noted_can_be_cancelled_and_closed(
    database: Database, account: Account, client: Client
) -> None:
    """The API died after the start, and a worker began the job: it is as good as any other."""
    job = await accept(database, account.owner_id)
    await Starter(database, client).sweep()
    await _forget(database, job)
    async with database.transaction() as connection:
        await RunRepository(connection).begin(BeginJob(job_id=job, run=1, workflow_run_id=await _run_id(client, job)))
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).request_cancel(job)
    await Starter(database, client).sweep()
    assert (await one(database, "SELECT cancel_sent_at FROM jobs"))["cancel_sent_at"] is not None
    await client.get_workflow_handle(f"longform/{job}").terminate("a test")
    await _until_closed(database, client)


async def test_a_retry_at_once_does_not_attach_to_the_run_that_is_about_to_end(
    database: Database, account: Account, client: Client
) -> None:
    job = await accept(database, account.owner_id)
    starter = Starter(database, client)
    await starter.sweep()
    failed = JobError(code=ErrorType.ALL_MODELS_FAILED, message="No model could do it.")
    async with database.transaction() as connection:
        carried = RunRepository(connection)
        await carried.begin(BeginJob(job_id=job, run=1, workflow_run_id=await _run_id(client, job)))
        await carried.finish(FinishJob(job_id=job, run=1, status=JobStatus.FAILED, error=failed))
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).retry(job)
    first = await _run_id(client, job)
    await starter.sweep()
    assert (await one(database, "SELECT dispatched_at, claimed_at FROM jobs")) == {
        "dispatched_at": None,
        "claimed_at": None,
    }
    await client.get_workflow_handle(f"longform/{job}").terminate("the first run ends")
    await starter.sweep()
    second = await one(database, "SELECT dispatched_run_id, status FROM jobs")
    assert second == {"dispatched_run_id": await _run_id(client, job), "status": "pending"}
    assert second["dispatched_run_id"] != first


async def test_workflows_of_others_do_not_stop_the_reconciler(
    database: Database, account: Account, client: Client
) -> None:
    for name in ("orders/4711", "longform/4711", "alone"):
        handle = await client.start_workflow("Other", id=name, task_queue="others")
        await handle.terminate("a test")
    job = await accept(database, account.owner_id)
    await Starter(database, client).sweep()
    await client.get_workflow_handle(f"longform/{job}").terminate("a test")
    await workflow_ids(client, 4)
    await _until_closed(database, client)
    assert (await one(database, "SELECT error->>'code' AS code FROM jobs"))["code"] == "terminated"


async def test_a_wish_is_delivered_when_temporal_is_back(database: Database, account: Account, client: Client) -> None:
    job = await accept(database, account.owner_id)
    starter = Starter(database, client)
    await starter.sweep()
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).request_pause(job, paused=True)
    away = await connect("127.0.0.1:1", "nowhere", lazy=True)
    await Starter(database, away).sweep()
    assert (await one(database, "SELECT control_sent FROM jobs"))["control_sent"] == 0
    await starter.sweep()
    assert (await one(database, "SELECT control_sent FROM jobs"))["control_sent"] == 1
    history = await client.get_workflow_handle(f"longform/{job}").fetch_history()
    assert [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ] == ["control_changed"]


async def _run_id(client: Client, job_id: str) -> str:
    return (await client.get_workflow_handle(f"longform/{job_id}").describe()).run_id


async def _forget(database: Database, job_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE jobs SET dispatched_at = NULL, dispatched_run_id = NULL, claimed_at = NULL WHERE id = :id"),
            {"id": job_id},
        )


async def _make_quiet(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET updated_at = now() - interval '1 hour'"))


async def _until_closed(database: Database, client: Client) -> None:
    """The list of ended workflows lags behind a little."""
    async with asyncio.timeout(10):
        while (await one(database, "SELECT finished_at FROM jobs"))["finished_at"] is None:
            await Reconciler(database, client, cancel_grace=GRACE).sweep()
