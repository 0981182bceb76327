"""A client in the test's own namespace, and scripted activities."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle

from core.contracts.jobs import JobRequest, JobResult
from core.temporal import connect
from tests.conftest import Namespace
from tests.support.scripted import ScriptedLongform, scripted_workers, start
from tests.support.scripted_scoping import ScriptedScoping, Sponsor, session
from tests.support.scripted_steps import ScriptedJobs


@dataclass
class Bench:
    """A client and the activities that its workers run."""

    client: Client
    jobs: ScriptedJobs
    longform: ScriptedLongform


@pytest_asyncio.fixture
async def bench(namespace: Namespace) -> AsyncIterator[Bench]:
    """Workers that run the real workflows on scripted activities."""
    client = await connect(namespace.address, namespace.name)
    jobs, longform = ScriptedJobs(), ScriptedLongform()
    async with scripted_workers(client, jobs, longform):
        yield Bench(client, jobs, longform)


@dataclass
class Table:
    """A sponsor, and what the session's workers run."""

    client: Client
    jobs: ScriptedJobs
    scoping: ScriptedScoping
    sponsor: Sponsor

    async def begin(self, job: JobRequest | None = None) -> WorkflowHandle[Any, Any]:
        """A session."""
        return await start(self.client, job or session())

    async def end(self, handle: WorkflowHandle[Any, Any]) -> JobResult:
        """The result of a session in which nothing is left to ask."""
        return JobResult.model_validate(await handle.result())


@pytest_asyncio.fixture
async def table(namespace: Namespace) -> AsyncIterator[Table]:
    """Workers that run the real workflow on a scripted session."""
    client = await connect(namespace.address, namespace.name)
    jobs, scoping = ScriptedJobs(), ScriptedScoping()
    async with scripted_workers(client, jobs, scoping=scoping):
        yield Table(client, jobs, scoping, Sponsor(client, scoping))


async def fired(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until the workflow's timer has gone off."""
    async with asyncio.timeout(20):
        while True:
            history = await handle.fetch_history()
            if any(event.HasField("timer_fired_event_attributes") for event in history.events):
                return
            await asyncio.sleep(0.05)
