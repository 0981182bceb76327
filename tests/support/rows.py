"""Rows to begin a test with, and rows to look at."""

import asyncio
from typing import Any

from sqlalchemy import text

from core.contracts.jobs import BeginJob, StepKey
from core.db.engine import Database
from core.db.repositories.jobs import JobRepository, NewJob
from core.db.repositories.runs import RunRepository


def new_job(**changes: Any) -> NewJob:
    """A submission of a long-form job."""
    fields: dict[str, Any] = {
        "pipeline": "longform",
        "title": "Tidal mills",
        "tags": (),
        "input": {"topic": "Tidal mills"},
        "models": ("simulator:composer",),
        "body_sha256": "0" * 64,
    }
    return NewJob(**{**fields, **changes})


async def accept(database: Database, owner_id: str, **changes: Any) -> str:
    """Accept a job. Its id."""
    async with database.transaction() as connection:
        job_id, _ = await JobRepository(connection, owner_id).accept(new_job(**changes))
    return job_id


async def begin(database: Database, owner_id: str, **changes: Any) -> str:
    """Accept a job and let a workflow begin it. Its id."""
    job_id = await accept(database, owner_id, **changes)
    async with database.transaction() as connection:
        await RunRepository(connection).begin(BeginJob(job_id=job_id, run=1, workflow_run_id="run"))
    return job_id


def step_key(job_id: str, owner_id: str, step: str = "draft", **changes: Any) -> StepKey:
    """The key of a step."""
    fields: dict[str, Any] = {"job_id": job_id, "owner_id": owner_id, "run": 1, "step": step, "stage": "sections"}
    return StepKey(**{**fields, **changes})


async def rows(database: Database, statement: str, **values: Any) -> list[dict[str, Any]]:
    """What a statement reads."""
    async with database.transaction() as connection:
        return [dict(row._mapping) for row in await connection.execute(text(statement), values)]


async def one(database: Database, statement: str, **values: Any) -> dict[str, Any]:
    """The one row that a statement reads."""
    (row,) = await rows(database, statement, **values)
    return row


async def execute(database: Database, statement: str) -> None:
    """Change rows, as nobody but a test would."""
    async with database.transaction() as connection:
        await connection.execute(text(statement))


async def waiting_for_locks(database: Database, number: int) -> None:
    """Return when so many statements wait for a lock in this test's database."""
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while (await one(database, waiting))["n"] < number:  # noqa: ASYNC110 - it happens in the server
            await asyncio.sleep(0.01)
