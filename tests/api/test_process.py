"""The API as a process: health, servers that are away, start and stop."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.deps import Errands
from core.contracts.names import Queue, workflow_id
from core.db.engine import Database
from core.embedded.postgres import EmbeddedPostgres
from core.temporal import connect
from migrations.run import migrate
from tests.api.conftest import LONGFORM, NOWHERE, StartApi, make_settings, running, set_status, submitted, until
from tests.api.test_rubbish import problem
from tests.conftest import Account, Namespace, make_account
from tests.support.servers import FAST_POSTGRES
from worker.sandbox import runner
from workflows.longform import LongformWorkflow


async def test_jobs_are_accepted_while_temporal_is_down(
    start_api: StartApi, account: Account, database: Database
) -> None:
    api = start_api(starter_interval_seconds=0.05, reconciler_interval_seconds=0.05)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        ids = [await submitted(client) for _ in range(5)]
        ready = await client.get("/v1/health/ready")
        assert ready.status_code == 200
        down = dict.fromkeys(("orchestration", "llm", "render", "web"), "degraded")
        assert ready.json() == {"status": "degraded", "database": "up", "temporal": "down", "queues": down}
        assert (await client.get("/v1/health/live")).json() == {"status": "up"}
        await set_status(database, ids[0], "failed")
        assert (await client.delete(f"/v1/jobs/{ids[0]}")).status_code == 204
        assert len((await client.get("/v1/jobs")).json()["items"]) == 4


@activity.defn(name="idle")
async def idle() -> None:
    """Stand for an activity of a queue."""


async def test_ready_names_the_queues_that_have_workers(start_api: StartApi, namespace: Namespace) -> None:
    api = start_api(temporal_address=namespace.address, temporal_namespace=namespace.name)
    temporal = await connect(namespace.address, namespace.name)
    async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:

        async def becomes(status: str, **queues: str) -> None:
            expected = {"status": status, "database": "up", "temporal": "up", "queues": queues}
            async with asyncio.timeout(10):
                while (answer := await client.get("/v1/health/ready")).json() != expected:
                    assert answer.status_code == 200
                    await asyncio.sleep(0.02)

        workflows: Any = {"workflows": [LongformWorkflow], "workflow_runner": runner()}
        await becomes("degraded", orchestration="degraded", llm="degraded", render="degraded", web="degraded")
        async with Worker(temporal, task_queue=Queue.ORCHESTRATION, activities=[idle], **workflows):
            await becomes("degraded", orchestration="up", llm="degraded", render="degraded", web="degraded")
            async with (
                Worker(temporal, task_queue=Queue.LLM, activities=[idle]),
                Worker(temporal, task_queue=Queue.RENDER, activities=[idle]),
                Worker(temporal, task_queue=Queue.WEB, activities=[idle]),
            ):
                await becomes("up", orchestration="up", llm="up", render="up", web="up")


async def test_a_deleted_job_takes_its_history_along(
    start_api: StartApi, namespace: Namespace, account: Account, database: Database
) -> None:
    api = start_api(temporal_address=namespace.address, temporal_namespace=namespace.name)
    temporal = await connect(namespace.address, namespace.name)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        job_id = await submitted(client)
        handle = temporal.get_workflow_handle(workflow_id("longform", job_id))

        await _started(handle)
        await handle.terminate()
        await set_status(database, job_id, "failed")
        with capture_logs() as logs:
            assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
            # The server deletes in its own time, up to minutes later: that it took the order is all that shows.
            await until(lambda: any(line["event"] == "job.history_to_be_deleted" for line in logs))


async def _started(handle: WorkflowHandle[Any, Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(RPCError):
                await handle.describe()
                return
            await asyncio.sleep(0.02)


async def test_the_database_goes_away_and_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("away")
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder / "postgres", settings=FAST_POSTGRES)
    url = await asyncio.to_thread(postgres.start)
    try:
        database = Database(url)
        await migrate(database)
        account = await make_account(database, "Ada Example")
        await database.close()
        settings = make_settings(url, folder, event_poll_seconds=0.2)
        with running(settings) as api:
            async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client:
                job_id = await submitted(client)
                async with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
                    lines = stream.aiter_lines()
                    await _heard(lines, "id: 1")
                    await asyncio.to_thread(postgres.stop)
                    for method, path in (
                        ("GET", "/v1/jobs"),
                        ("POST", "/v1/jobs"),
                        ("POST", f"/v1/jobs/{job_id}/cancel"),
                    ):
                        body = LONGFORM if path.endswith("/jobs") and method == "POST" else None
                        response = await client.request(method, path, json=body)
                        problem(response, 503, "database_unavailable")
                        assert int(response.headers["retry-after"]) > 0
                    ready = await client.get("/v1/health/ready")
                    assert (ready.status_code, ready.json()["database"]) == (503, "down")
                    assert (await client.get("/v1/health/live")).status_code == 200
                    assert await asyncio.to_thread(postgres.start) == url
                    assert (await client.get(f"/v1/jobs/{job_id}")).status_code == 200
                    assert (await client.post(f"/v1/jobs/{job_id}/pause")).status_code == 202
                    # The stream was open all the time, and goes on where it was.
                    await _heard(lines, "event: job.pause_requested")
    finally:
        await asyncio.to_thread(postgres.stop)


async def _heard(lines: AsyncIterator[str], wanted: str) -> None:
    async with asyncio.timeout(15):
        async for line in lines:
            if line == wanted:
                return
    raise AssertionError("the stream ended")


async def test_an_api_starts_while_the_database_is_away(tmp_path: Path) -> None:
    settings = make_settings("postgresql://nobody:nothing@127.0.0.1:1/none", tmp_path)
    threads = threading.active_count()
    with running(settings) as api:
        async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": "Bearer atl_x"}) as client:
            problem(await client.get("/v1/jobs"), 503, "database_unavailable")
            assert (await client.get("/v1/health/ready")).json()["status"] == "down"
    await until(lambda: threading.active_count() <= threads)


def _environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path.cwd()), "ATELIER_HOME": str(tmp_path), "API_PORT": "0", **more}


async def _start(tmp_path: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api",
        env=_environment(tmp_path, **environment), cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_settings_that_do_not_do(tmp_path: Path) -> None:
    async def refused(named: str, **environment: str) -> None:
        process = await _start(tmp_path, **environment)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 2, errors
        (line,) = errors.decode().splitlines()
        assert line.startswith("atelier api: ")
        assert named in line

    (tmp_path / "file").touch()
    database = {"DATABASE_URL": "postgresql://x@127.0.0.1/x"}
    temporal = {"TEMPORAL_ADDRESS": NOWHERE}
    await asyncio.gather(
        refused("DATABASE_URL is not set", **temporal),
        refused("TEMPORAL_ADDRESS is not set", **database),
        refused("API_PORT", API_PORT="many"),
        refused("DATABASE_URL must begin with", DATABASE_URL="mysql://x/y", **temporal),
        refused("s3://", ARTIFACTS_URL="ftp://x/y", **database, **temporal),
        refused("Not a directory", ARTIFACTS_URL=str(tmp_path / "file/below"), **database, **temporal),
    )


async def test_a_process_starts_serves_and_stops_with_a_stream_open(
    tmp_path: Path, database_url: str, account: Account
) -> None:
    process = await _start(tmp_path, DATABASE_URL=database_url, TEMPORAL_ADDRESS=NOWHERE)
    try:
        url = await asyncio.wait_for(_listening(process), 20)
        async with httpx.AsyncClient(base_url=url, headers=account.headers, timeout=20) as client:
            job_id = await submitted(client)
            async with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
                lines = stream.aiter_lines()
                await _heard(lines, "id: 1")
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(4):
                    async for _ in lines:
                        pass
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert b"Traceback" not in errors, errors.decode()
        assert account.token.encode() not in errors
        assert b'"path": "/v1/jobs/{job_id}/events"' in errors
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listening(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if b"api.listening" in line:
            return line.split(b'"url": "')[1].split(b'"')[0].decode()
    raise AssertionError("it ended")


async def test_errands_are_waited_for_and_then_given_up() -> None:
    done: list[str] = []

    async def quick() -> None:
        done.append("quick")

    async def endless() -> None:
        await asyncio.Event().wait()

    errands = Errands()
    errands.run(quick())
    errands.run(endless())
    await errands.stop(0.05)
    await asyncio.sleep(0)
    assert done == ["quick"]
