"""Deleting an account with everything that runs: nothing of it can be found, whoever is killed or away meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.service import RPCError, RPCStatusCode

from core.db.engine import Database
from core.temporal import connect
from tests.faults.conftest import drop
from tests.support.ground import Ground
from tests.support.rows import rows
from tests.support.stack import Api, Process, Stack, User, eventually
from tests.support.traces import files_with, histories_of, mentions

pytestmark = pytest.mark.faults

WORD = "zeugloxon"
"""Stands in all that was asked for, and nowhere else."""
EMAIL, NAME, PASSWORD = "ada.quimby@example.com", "Ada Quimbytest", "a mill turns by the moon"
BRIEF = {
    "topic": f"How the {WORD} mills worked",
    "target_words": 600,
    "cache": "bypass",
    "sources": [{"title": f"On the {WORD}", "text": f"The {WORD} turned twice a day. " * 40}],
}
HOURS = "600000"
"""Milliseconds that the simulator takes for an answer: the call is under way until it is cancelled."""


async def ada(api: Api) -> str:
    """An account that was registered, and the token of its login."""
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as http:
        made = await http.post("/v1/auth/register", json={"email": EMAIL, "name": NAME, "password": PASSWORD})
        assert made.status_code == 201, made.text
        entered = await http.post("/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
        assert entered.status_code == 200, entered.text
        return str(entered.json()["access_token"])


async def owner_of(database: Database) -> str:
    (owner,) = await rows(database, "SELECT id FROM owners WHERE email = :email", email=EMAIL)
    return str(owner["id"])


async def delete(user: User) -> httpx.Response:
    answer = await user.http.request("DELETE", "/v1/me", json={"password": PASSWORD})
    assert answer.status_code in (200, 202), answer.text
    return answer


async def finished(api: Api, place: str, seconds: float = 60) -> dict[str, int]:
    """What was erased, once it is. The report is read without credentials."""
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as http:

        async def read() -> dict[str, Any]:
            report: dict[str, Any] = (await http.get(place)).json()
            return report

        report = await eventually(read, lambda report: report["finished_at"] is not None, seconds)
        erased: dict[str, int] = report["erased"]
        return erased


async def nothing_is_left(stack: Stack, database: Database, owner: str, jobs: list[str]) -> None:
    """Search all tables, all files and Temporal for the account."""
    assert await mentions(database, EMAIL, NAME, WORD) == {}
    left = await mentions(database, owner, *jobs)
    assert left.pop("attempts")
    audit = left.pop("audit")
    assert len(audit) == 1
    assert "account.deleted" in audit[0]
    left.pop("spending", None)  # the simulator costs nothing
    assert left == {}
    held = await rows(database, "SELECT 1 FROM attempts WHERE outcome = 'open' OR error_message IS NOT NULL")
    assert held == []
    assert files_with(Path(stack.settings().artifacts), owner, WORD) == []
    client = await connect(stack.temporal_address, stack.namespace)
    assert await histories_of(client, owner) == []
    for job in jobs:
        for pipeline in ("longform", "longform_revision"):
            with pytest.raises(RPCError) as unknown:
                await client.get_workflow_handle(f"{pipeline}/{job}").describe()
            assert unknown.value.status is RPCStatusCode.NOT_FOUND


async def test_an_account_with_running_jobs(stack: Stack, database: Database) -> None:
    stack.env = {}  # the simulator writes
    api, worker = stack.api(), stack.worker()
    async with User(api, await ada(api)) as user:
        owner = await owner_of(database)
        done = await user.submit(input=BRIEF, title=f"The {WORD}", tags=[WORD], key=f"{WORD}-1")
        reviewed = await user.submit(input={**BRIEF, "review_outline": True})
        await user.until(done["id"], "completed")
        child = await user.post(f"documents/{done['id']}/sections/s1/regenerate", {"instructions": f"More {WORD}."})
        await user.until(child["id"], "completed")
        await user.until(reviewed["id"], "waiting_for_input")
        worker.stop()
        stack.worker(SIMULATOR_LATENCY_MS=HOURS)
        running = await user.submit(input=BRIEF)
        await eventually(
            lambda: rows(database, "SELECT 1 FROM attempts WHERE job_id = :id AND outcome = 'open'", id=running["id"]),
            lambda found: len(found) > 0,
        )
        paused = await user.submit(input=BRIEF)
        await user.act(paused["id"], "pause")
        jobs = [job["id"] for job in (done, reviewed, child, running, paused)]
        assert files_with(Path(stack.settings().artifacts), WORD)
        client = await connect(stack.temporal_address, stack.namespace)
        await eventually(lambda: histories_of(client, owner), lambda found: len(found) == 5)

        answer = await delete(user)
        assert (await user.http.get("/v1/me")).status_code == 401
        erased = await finished(api, answer.headers["Location"])
    assert (erased["jobs"], erased["documents"], erased["histories"], erased["logins"]) == (5, 1, 5, 1)
    assert min(erased[name] for name in ("artifacts", "objects", "bytes", "calls_kept")) > 0
    await nothing_is_left(stack, database, owner, jobs)


@asynccontextmanager
async def holding(database: Database, statement: str, **values: str) -> AsyncIterator[None]:
    """Rows are locked within, so that whoever would delete them waits."""
    async with database.engine.connect() as connection:
        await connection.execute(text(statement), values)
        try:
            yield
        finally:
            await connection.rollback()


async def killed_at(database: Database, waiting_for: str, process: Process) -> None:
    """Kill a process when it waits to lock rows of a table."""
    waits = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        f"AND query LIKE '%FROM {waiting_for} %FOR UPDATE%'"
    )
    found = await eventually(lambda: rows(database, waits), lambda found: len(found) > 0, 40)
    process.kill()
    await drop(database, [row["pid"] for row in found])


async def test_the_process_is_killed_twice_on_the_way(stack: Stack, database: Database) -> None:
    stack.env = {}
    first = stack.api()
    stack.worker()
    async with User(first, await ada(first)) as user:
        owner = await owner_of(database)
        job = await user.submit(input=BRIEF)
        await user.until(job["id"], "completed")
        # Temporal was told to delete, and no row is gone.
        async with holding(database, "SELECT 1 FROM jobs WHERE id = :id FOR KEY SHARE", id=job["id"]):
            request = asyncio.create_task(delete(user))
            await killed_at(database, "jobs", first.process)
            with pytest.raises(httpx.HTTPError):
                await request
    assert len(await rows(database, "SELECT 1 FROM jobs")) == 1
    # The jobs are gone, and the owner is not.
    async with holding(database, "SELECT 1 FROM owners WHERE id = :id FOR KEY SHARE", id=owner):
        second = stack.api()
        await killed_at(database, "owners", second.process)
    assert await rows(database, "SELECT 1 FROM jobs") == []
    (erasure,) = await rows(database, "SELECT id, owner_id FROM erasures")
    assert str(erasure["owner_id"]) == owner
    assert files_with(Path(stack.settings().artifacts), owner)
    third = stack.api()
    erased = await finished(third, f"/v1/erasures/{erasure['id']}")
    assert (erased["jobs"], erased["documents"], erased["histories"]) == (1, 1, 1), "each is counted once"
    await nothing_is_left(stack, database, owner, [job["id"]])


async def test_temporal_is_away(ground: Ground) -> None:
    stack, database = ground.stack, ground.database()
    stack.env = {}
    api = stack.api()
    stack.worker()
    async with User(api, await ada(api)) as user:
        owner = await owner_of(database)
        job = await user.submit(input=BRIEF)
        await user.until(job["id"], "completed")
        waiting = await user.submit(input={**BRIEF, "review_outline": True})
        await user.until(waiting["id"], "waiting_for_input")
        await asyncio.to_thread(ground.temporal.stop)
        answer = await delete(user)
        assert (answer.status_code, answer.json()["finished_at"]) == (202, None)
        assert (await user.http.get("/v1/jobs")).status_code == 401
    assert len(await rows(database, "SELECT 1 FROM jobs")) == 2
    await asyncio.to_thread(ground.temporal.start)
    erased = await finished(api, answer.headers["Location"])
    assert (erased["jobs"], erased["histories"]) == (2, 2)
    await nothing_is_left(stack, database, owner, [job["id"], waiting["id"]])
    await database.close()
