"""The whole product on the session's servers, a provider at the far end of the wire, and an auditor for the end."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.db.engine import Database
from core.temporal import connect
from tests.conftest import Account, Namespace
from tests.support.audit import Audit
from tests.support.ground import Ground
from tests.support.rows import rows
from tests.support.stack import Api, Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer

CALLS = 6
"""Of a job of three sections, when nothing fails: the outline, the sections, the sentences between them, the judge."""


BEHIND_CACHE = "SELECT 1 FROM steps WHERE step <> 'cache'"
"""The steps that are stored, without the look for an identical request."""


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    """Both providers. What nobody scripted is composed; a request that cannot be composed fails the test."""
    with WireProvider(composer=longform_composer) as wire:
        yield wire
        wire.assert_clean()


Far = Literal["anthropic", "gemini", "ollama"]
"""Whose protocols the wire speaks."""


@pytest.fixture
def providers() -> tuple[Far, ...]:
    """Whose models are configured. One by default, as each SDK takes a worker a second or two to import."""
    return ("gemini",)


@pytest.fixture
def stack(
    database_url: str, namespace: Namespace, wire: WireProvider, providers: tuple[Far, ...], tmp_path: Path
) -> Iterator[Stack]:
    """API and worker processes that ask the wire's models."""
    env = wire.environment(*providers)
    with Stack(tmp_path, database_url, namespace.address, namespace.name, env=env) as stack:
        yield stack


@pytest.fixture
def ground(tmp_path: Path, wire: WireProvider) -> Iterator[Ground]:
    """Servers and a stack of this test's own."""
    ground = Ground(tmp_path, wire.environment("gemini"))
    try:
        with ground.stack:
            yield ground
    finally:
        ground.temporal.stop()
        ground.postgres.stop()


@pytest_asyncio.fixture
async def user(api: Api, account: Account) -> AsyncIterator[User]:
    """A user of the API."""
    async with User(api, account.token) as user:
        yield user


@pytest.fixture
def api(stack: Stack) -> Api:
    """An API process."""
    return stack.api()


@pytest_asyncio.fixture
async def audit(database: Database, namespace: Namespace, stack: Stack, wire: WireProvider) -> Audit:
    """The auditor of this test's database, namespace, store and provider."""
    return Audit(
        database,
        ArtifactStore.open(stack.settings().artifacts),
        await connect(namespace.address, namespace.name),
        wires=[wire],
    )


Holding = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def holding(database: Database) -> Holding:
    """Holds workers just before they store a step: a point that a test can await and kill at.

    The test's own transaction has written the same (job, step, revision), so the worker's insert waits for it.
    """

    return partial(hold_steps, database)


@asynccontextmanager
async def hold_steps(database: Database, *steps: tuple[str, str]) -> AsyncIterator[None]:
    """Within, whoever stores one of these steps of a job waits."""
    async with database.engine.connect() as connection:
        for job_id, step in steps:
            await connection.execute(
                text("INSERT INTO steps (job_id, step, revision, run, result) VALUES (:job_id, :step, 1, 0, '{}')"),
                {"job_id": job_id, "step": step},
            )
        try:
            yield
        finally:
            await connection.rollback()


@asynccontextmanager
async def hold_rows(database: Database, statement: str) -> AsyncIterator[None]:
    """Within, whoever wants the rows that a statement locks waits."""
    async with database.engine.connect() as connection:
        await connection.execute(text(statement))
        try:
            yield
        finally:
            await connection.rollback()


async def until_held(database: Database, count: int, what: str = "INSERT INTO steps") -> list[int]:
    """Wait until that many workers wait to store a step, or do `what`. The processes of Postgres that wait for them."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND strpos(query, :what) > 0"
    )
    found = await eventually(lambda: rows(database, waiting, what=what), lambda found: len(found) >= count, 30)
    return [row["pid"] for row in found]


async def drop(database: Database, pids: list[int]) -> None:
    """End what Postgres does for a killed worker: a statement that it had sent would be carried out all the same."""
    await rows(database, "SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS int[])) AS pid", pids=pids)
