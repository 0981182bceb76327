"""The product as its users run it: API and worker processes, started and killed by tests."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from core.embedded.process import die_with_parent
from core.settings import Settings
from tests.support.forking import MODULES, Forked, fork_server

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0
T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Process:
    """One process of ours, with its log in a file."""

    name: str
    popen: "subprocess.Popen[bytes] | Forked"
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, and wait: its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop in {seconds} s:\n{self.tail()}") from None

    def tail(self, characters: int = 4_000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:]

    def said(self, text: str) -> bool:
        """Whether its log holds a text."""
        return text in self.log.read_text(errors="replace")


@dataclass
class Stack:
    """Processes on one database, one namespace, one artifact folder. Stops all that is left at the end."""

    folder: Path
    database_url: str
    temporal_address: str
    namespace: str
    env: dict[str, str] = field(default_factory=dict)
    forks: bool = True
    """API and workers are forks of a process that has imported them; otherwise programs of their own, whose time to
    start and whose memory tell something."""
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        alive = [process for process in self.processes if process.popen.poll() is None]
        for process in alive:
            process.popen.send_signal(signal.SIGTERM)
        for process in alive:
            try:
                process.popen.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if error is not None:
            for process in self.processes:
                print(f"--- {process.name} (pid {process.pid})\n{process.tail()}", file=sys.stderr)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of every process: the settings of this stack, and nothing of whoever runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "ATELIER_HOME": str(self.folder),
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": self.namespace,
            "STARTER_INTERVAL_SECONDS": "0.5",
            "RECONCILER_INTERVAL_SECONDS": "0.5",
            "WORKER_DRAIN_SECONDS": "5",
            "LIMITS": "false",
            **self.env,
            **more,
        }

    def settings(self, **more: str) -> Settings:
        """The same settings, for code that runs in the test's own process."""
        names = {name.lower() for name in self.environment(**more)} & set(Settings.model_fields)
        values: dict[str, Any] = {k.lower(): v for k, v in self.environment(**more).items() if k.lower() in names}
        return Settings(_env_file=None, **values)

    def start(self, name: str, *arguments: str, **env: str) -> Process:
        """Start `python <arguments>` beside the others."""
        log = self.folder / f"{name}-{len(self.processes)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        process = Process(name, self._begin(arguments, self.environment(**env), log), log)
        self.processes.append(process)
        return process

    def _begin(self, arguments: Sequence[str], env: dict[str, str], log: Path) -> "subprocess.Popen[bytes] | Forked":
        # In the folder no `.env` lies: a developer's keys must not reach a test. A fork's lines are not counted.
        if self.forks and arguments[1] in MODULES and "COVERAGE_RUN" not in os.environ:
            return fork_server().start(arguments, env=env, cwd=self.folder, log=log)
        with log.open("wb") as sink:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    def worker(self, queues: str = "orchestration,llm,render,web", *, wait: bool = True, **env: str) -> Process:
        """A worker, polling when this returns."""
        process = self.start("worker", "-m", "worker", "--queues", queues, **env)
        if wait:
            until(lambda: process.said("worker.ready"), READY_SECONDS, process)
        return process

    def api(self, *, wait: bool = True, **env: str) -> "Api":
        """An API process, answering when this returns."""
        port = free_port()
        process = self.start("api", "-m", "api", API_PORT=str(port), **env)
        api = Api(process, f"http://127.0.0.1:{port}")
        if wait:
            until(api.is_live, READY_SECONDS, process)
        return api


@dataclass
class Api:
    """An API process and where it listens."""

    process: Process
    url: str

    def is_live(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/v1/health/live", timeout=2).status_code == 200
        return False


def until(condition: Callable[[], bool], seconds: float, process: Process | None = None) -> None:
    """Wait for a condition, or fail with the end of the process's log. Fails at once when the process ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.popen.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = process.tail() if process else ""
            raise AssertionError(f"{'its process ended' if ended else f'not within {seconds} s'}\n{tail}")
        time.sleep(0.02)


async def eventually(
    read: Callable[[], Awaitable[T]], holds: Callable[[T], bool], seconds: float = 30.0, *, every: float = 0.05
) -> T:
    """Read until what is read holds, or fail with what was read last."""
    deadline = time.monotonic() + seconds
    while True:
        value = await read()
        if holds(value):
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s; last seen: {value}")
        await asyncio.sleep(every)


class User:
    """A user of the REST API."""

    def __init__(self, api: Api, token: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=api.url, headers={"Authorization": f"Bearer {token}"}, timeout=httpx.Timeout(20)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def submit(self, *, key: str | None = None, **fields: Any) -> dict[str, Any]:
        """Submit a long-form job of 900 words that no cache answers, or what the fields say."""
        brief = {"topic": "Tidal mills", "target_words": 900, "cache": "bypass"}
        body = {"pipeline": "longform", "input": brief, **fields}
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await self.http.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def job(self, job_id: str) -> dict[str, Any]:
        """Read a job."""
        answer = await self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def get(self, path: str) -> dict[str, Any]:
        """Read anything below /v1."""
        answer = await self.http.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> dict[str, Any]:
        """Ask for anything below /v1."""
        answer = await self.http.post(
            f"/v1/{path}", json=body or {}, headers={} if key is None else {"Idempotency-Key": key}
        )
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    async def act(self, job_id: str, act: str) -> dict[str, Any]:
        """cancel, pause, resume, retry."""
        answer = await self.http.post(f"/v1/jobs/{job_id}/{act}")
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def until(self, job_id: str, *statuses: str, seconds: float = 60.0) -> dict[str, Any]:
        """Read a job until it has one of the statuses; an end that is not among them fails at once."""
        ends = {"completed", "failed", "cancelled"}
        job = await eventually(lambda: self.job(job_id), lambda job: job["status"] in ends | set(statuses), seconds)
        assert job["status"] in statuses, f"{job['status']}: {job['error']}"
        return job

    async def output(self, job: dict[str, Any], name: str) -> bytes:
        """The bytes of one of a job's files."""
        url = next(output["url"] for output in job["result"]["outputs"] if output["name"] == name)
        answer = await self.http.get(url)
        assert answer.status_code == 200, answer.text
        return answer.content
