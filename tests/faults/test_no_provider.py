"""A worker that can ask no model: it says so, leaves the models' queue alone, looks again, and does the rest."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from tests.conftest import Account
from tests.support.audit import Audit
from tests.support.stack import Process, Stack, User, eventually, free_port, until
from tests.support.wire import WireProvider
from worker.models import Models

UP, DEGRADED = "up", "degraded"


@asynccontextmanager
async def listening(port: int, wire: WireProvider) -> AsyncIterator[None]:
    """The wire at a port of the test's choice, while the block runs: what is behind it comes up and goes down."""
    open_writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(wire.url.rpartition(":")[2]))
        open_writers.extend((writer, far_writer))
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield
        for writer in open_writers:
            writer.close()


async def test_what_a_worker_can_ask(wire: WireProvider) -> None:
    nothing = Models([], None, "llama3.2")
    assert not await nothing.look()
    assert all(name in (nothing.ailment or "") for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_URL"))
    for names in (["simulator"], ["google"], ["google", "ollama"]):
        models = Models(names, "http://127.0.0.1:1", "llama3.2")
        await asyncio.wait_for(models.until_usable(), 5)
        assert models.ailment is None

    empty = Models(["ollama"], wire.url, "llama3.2")
    wire.models = []
    assert not await empty.look()
    assert "`ollama pull llama3.2`" in (empty.ailment or "")
    wire.models = ["llama3.2:1b", "gemma3:latest"]
    assert not await empty.look()
    assert "only llama3.2:1b, gemma3:latest" in (empty.ailment or "")
    wire.models = ["gemma3:latest", "llama3.2:latest"]
    assert await empty.look()


async def test_an_ollama_comes_and_goes(wire: WireProvider) -> None:
    port = free_port()
    models = Models(["ollama"], f"http://127.0.0.1:{port}", "llama3.2", look_seconds=0.01, say_seconds=0.05)
    with capture_logs() as said:
        waiting = asyncio.create_task(models.until_usable())
        await eventually(lambda: _counted(said, "worker.no_provider"), lambda times: times >= 2)
        assert f"Ollama does not answer at http://127.0.0.1:{port}" in said[0]["reason"]
        async with listening(port, wire):
            await asyncio.wait_for(waiting, 10)
            lost = asyncio.create_task(models.until_lost())
            assert not (await asyncio.wait([lost], timeout=0.1))[0]
        await asyncio.wait_for(lost, 10)
    assert models.ailment is not None
    assert await _counted(said, "worker.provider_found") == 1


async def test_without_any_provider(stack: Stack, account: Account, tmp_path: Path) -> None:
    stack.env = {"SIMULATOR": "false"}
    api = stack.api()
    worker, file = _start_worker(stack, tmp_path)
    await _until_said(worker, "worker.no_provider")
    (ready,) = _lines(worker, "worker.ready")
    assert ready["queues"] == ["orchestration", "render", "web"]
    (line,) = _lines(worker, "worker.no_provider")
    assert line["level"] == "error"
    assert "No provider of models is configured" in line["reason"]
    async with User(api, account.token) as user:
        await _until_queues(user, orchestration=UP, llm=DEGRADED, render=UP, web=UP)
    assert _health(file) == (0, f"degraded: {line['reason']}")
    assert worker.stop() == 0
    assert _health(file)[0] == 1


async def test_jobs_wait_for_an_ollama_that_is_away(
    stack: Stack, account: Account, wire: WireProvider, audit: Audit, tmp_path: Path
) -> None:
    port = free_port()
    stack.env = {**wire.environment("ollama"), "OLLAMA_URL": f"http://127.0.0.1:{port}", "SIMULATOR": "false"}
    api = stack.api()
    worker, file = _start_worker(stack, tmp_path)
    async with User(api, account.token) as user:
        job = await user.submit(input={"topic": "Tidal mills", "target_words": 300, "cache": "bypass"})
        await user.until(job["id"], "running")
        await _until_said(worker, "worker.no_provider")
        await _until_queues(user, orchestration=UP, llm=DEGRADED, render=UP, web=UP)
        assert wire.requests == []
        async with listening(port, wire):
            await user.until(job["id"], "completed")
            await _until_queues(user, orchestration=UP, llm=UP, render=UP, web=UP)
            await eventually(lambda: asyncio.to_thread(_health, file), lambda found: found == (0, "polling"))
        # Now it is gone, and the worker lets go of the queue.
        await eventually(lambda: asyncio.to_thread(_lines, worker, "worker.no_provider"), lambda lines: len(lines) == 2)
    assert {request.provider for request in wire.requests} == {"ollama"}
    await audit.check()


def _start_worker(stack: Stack, folder: Path) -> tuple[Process, Path]:
    file = folder / "alive"
    return stack.start("worker", "-m", "worker", "--health-file", str(file)), file


async def _until_said(process: Process, event: str) -> None:
    await asyncio.to_thread(until, lambda: process.said(event), 30, process)


def _lines(process: Process, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def _health(file: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "worker.health", str(file)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip()


async def _until_queues(user: User, **wanted: str) -> None:
    async def queues() -> dict[str, str]:
        found: dict[str, str] = (await user.get("health/ready"))["queues"]
        return found

    await eventually(queues, lambda found: found == wanted)


async def _counted(said: list[Any], event: str) -> int:
    return sum(line["event"] == event for line in said)
