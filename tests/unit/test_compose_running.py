"""The compose file's own commands do the work: each is started as a process, without Docker, with the environment, the
health checks and the order that the file gives it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.embedded.process import die_with_parent
from tests.support.servers import Servers
from tests.support.stack import Api, Process, User, free_port, until
from tests.unit.test_compose import GIVEN, OURS, RAW, ROOT, Node, interpolate, seconds


class Deployment:
    """The services of ours, run as processes as the file says."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder = folder
        self.replaced = replaced
        self.services: Node = interpolate(RAW["base"]["services"], GIVEN)
        self.processes: list[Process] = []

    def environment(self, name: str) -> dict[str, str]:
        """The file's own, with addresses of servers that run here instead of those it names."""
        said = {key: value for key, value in self.services[name]["environment"].items() if value is not None}
        kept = {key: os.environ[key] for key in os.environ if key in {"PATH", "HOME"} or key.startswith("COV")}
        image = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return {**kept, **image, **said, **{key: value for key, value in self.replaced.items() if key in said}}

    def words(self, command: list[str], replica: int) -> list[str]:
        """A command with this Python, and with a /tmp of each container's own."""
        own = self.folder / f"tmp-{replica}"
        own.mkdir(exist_ok=True)
        assert command[0] == "python"
        return [sys.executable, *(re.sub(r"^/tmp\b", str(own), word) for word in command[1:])]

    def run(self, name: str, command: list[str], replica: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end in a service's environment."""
        return subprocess.run(
            self.words(command, replica),
            env=self.environment(name),
            # Not the repository: no .env of a developer is read, and the code comes by PYTHONPATH, as in the image.
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    def complete(self, name: str) -> None:
        """Run a service that ends."""
        done = self.run(name, self.services[name]["command"])
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    def start(self, name: str, replica: int = 0) -> Process:
        """Start a service that stays."""
        log = self.folder / f"{name}-{replica}.log"
        with log.open("wb") as sink:
            popen = subprocess.Popen(
                self.words(self.services[name]["command"], replica),
                env=self.environment(name),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def is_healthy(self, name: str, replica: int = 0) -> bool:
        """The health check of the file."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, command, replica).returncode == 0

    def await_health(self, name: str, process: Process, replica: int = 0) -> None:
        """As long as the file gives a start."""

        def looked() -> bool:
            healthy = self.is_healthy(name, replica)
            # A check is a process of its own, which takes time from those that start.
            time.sleep(0 if healthy else 0.5)
            return healthy

        until(looked, seconds(self.services[name]["healthcheck"]["start_period"]), process)

    def close(self) -> None:
        """Stop what is left."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.kill()


@pytest.fixture
def running(servers: Servers, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on an empty database and a namespace that nobody has made."""
    servers.postgres.start()
    name = f"compose_{time.time_ns()}"
    deployment = Deployment(
        tmp_path,
        {
            "DATABASE_URL": servers.postgres.create_database(name),
            "TEMPORAL_ADDRESS": servers.temporal.start(),
            "TEMPORAL_NAMESPACE": name,
            "ATELIER_HOME": str(tmp_path / "home"),
            "API_HOST": "127.0.0.1",
            "API_PORT": str(free_port()),
        },
    )
    yield deployment
    deployment.close()
    servers.postgres.drop_database(name)


def in_order(services: Node) -> list[str]:
    """Our services, each after those it depends on."""
    order: list[str] = []

    def visit(name: str) -> None:
        for before in services[name].get("depends_on", {}):
            visit(before)
        if name in OURS and name not in order:
            order.append(name)

    for name in OURS:
        visit(name)
    return order


async def test_the_commands_of_the_file_do_a_job_from_an_empty_database(running: Deployment) -> None:
    api: Process | None = None
    workers: list[Process] = []
    for name in in_order(running.services):
        if name == "api":
            api = running.start(name)
            running.await_health(name, api)
        elif name == "worker":
            replicas = running.services[name]["deploy"]["replicas"]
            assert not running.is_healthy(name), "healthy without a worker"
            workers = [running.start(name, replica) for replica in range(replicas)]
            for replica, worker in enumerate(workers):
                running.await_health(name, worker, replica)
        else:
            running.complete(name)
    assert api is not None

    made = running.run("api", ["python", "-m", "api.keys", "create", "--owner", "Ada Example"])
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    url = f"http://127.0.0.1:{running.replaced['API_PORT']}"
    async with User(Api(api, url), token) as user:
        job = await user.submit()
        done = await user.until(job["id"], "completed", seconds=90)
        assert b"#" in await user.output(done, done["result"]["outputs"][0]["name"])
        revoked = running.run("api", ["python", "-m", "api.keys", "revoke", token])
        assert revoked.returncode == 0, revoked.stderr
        assert (await user.http.get(f"/v1/jobs/{job['id']}")).status_code == 401

    grace = {name: seconds(running.services[name]["stop_grace_period"]) for name in ("api", "worker")}
    for worker in workers:
        assert worker.stop(grace["worker"]) == 0, worker.tail()
    assert not running.is_healthy("worker")
    assert running.is_healthy("api")
    assert api.stop(grace["api"]) == 0, api.tail()
    assert not running.is_healthy("api")


def test_the_one_shots_say_what_is_wrong(running: Deployment) -> None:
    running.replaced["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"
    refused = running.run("prepare", [*running.services["prepare"]["command"], "--wait", "2"])
    assert refused.returncode == 1
    assert re.search(r"Temporal at 127\.0\.0\.1:\d+ was not ready within 2 s: .+", refused.stderr)
    early = running.run("api", ["python", "-m", "api.keys", "create", "--owner", "Ada Example"])
    assert early.returncode == 1
    assert early.stdout == ""
    assert 'relation "owners" does not exist' in early.stderr


def test_without_servers_the_one_shots_name_what_is_missing(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, {"DATABASE_URL": "", "TEMPORAL_ADDRESS": ""})
    cases: list[tuple[str, list[str], str]] = [
        ("migrate", deployment.services["migrate"]["command"], "DATABASE_URL"),
        ("prepare", deployment.services["prepare"]["command"], "TEMPORAL_ADDRESS"),
        ("api", ["python", "-m", "api.keys", "revoke", "atl_nothing"], "DATABASE_URL"),
    ]
    for name, command, missing in cases:
        done = deployment.run(name, command)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"{missing} is not set")
