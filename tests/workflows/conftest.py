"""A client in the test's own namespace, and scripted activities."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio
from temporalio.client import Client

from core.temporal import connect
from tests.conftest import Namespace
from tests.support.scripted import ScriptedJobs, ScriptedLongform, scripted_workers


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
