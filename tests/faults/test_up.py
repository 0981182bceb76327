"""`atelier up`, for real: a process with servers and data of its own, told to stop, killed, started again."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.embedded.process import wait_until
from tests.faults.conftest import CALLS

ATELIER = Path(sys.prefix) / "bin/atelier"
START = 60.0  # seconds; it takes about six
PATIENCE = 30.0
SECTIONS = 3  # of 900 words


class Machine:
    """A machine with nothing on it but a data folder: every command runs with the same environment."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.home = folder / "home"
        self._folder = folder
        self._stack = stack
        leave = {"DATABASE_URL", "TEMPORAL_ADDRESS", "ATELIER_URL", "ATELIER_API_KEY", "ANTHROPIC_API_KEY"}
        self.environment = {name: value for name, value in os.environ.items() if name not in leave}
        self.environment |= {
            "ATELIER_HOME": str(self.home),
            "API_PORT": "0",
            "SIMULATOR_LATENCY_MS": "3000",
            "WORKER_DRAIN_SECONDS": "3",
            "COLUMNS": "200",
        }

    def up(self) -> "Up":
        """Start `atelier up` and wait until it says that it is up."""
        up = Up(
            subprocess.Popen(
                [ATELIER, "up"],
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        self._stack.callback(up.end)
        assert wait_until(lambda: "Ctrl-C" in up.said or up.process.poll() is not None, START), up.said
        assert up.process.poll() is None, up.said
        return up

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another command to its end."""
        return subprocess.run(
            [ATELIER, *arguments],
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START,
        )

    def job(self) -> dict[str, object]:
        """The newest job."""
        shown = self.run("show", "last", "--json")
        assert shown.returncode == 0, shown.stderr
        job: dict[str, object] = json.loads(shown.stdout)
        return job

    def calls(self) -> int:
        """How often a model was asked, by the worker's log, which goes on over restarts."""
        return (self.home / "logs/worker-1.log").read_text().count("llm.call ")


class Up:
    """An `atelier up` and all that it has started."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def said(self) -> str:
        """All it has said so far."""
        return "".join(list(self.lines))

    def family(self) -> list[psutil.Process]:
        """The processes below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit code, when it has ended and all it said has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        return code

    def end(self) -> None:
        """Whatever happened, nothing of it is left."""
        if self.process.poll() is None:
            family = self.family()
            self.process.kill()
            self.wait()
            psutil.wait_procs(family, PATIENCE)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that is empty and quiet again after the test."""
    tmp_path.chmod(0o755)
    with contextlib.ExitStack() as stack:
        yield Machine(tmp_path, stack)


def names(family: list[psutil.Process]) -> set[str]:
    """What runs, as the supervisor calls it."""
    known = {"-m api": "api", "-m worker": "worker", "start-dev": "temporal", "cluster_name=": "postgres"}
    return {name for process in family for mark, name in known.items() if mark in command(process)}


def command(process: psutil.Process) -> str:
    """Its command line; nothing if it has ended meanwhile, as Postgres's own processes do all the time."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def time_of(event: str, said: str) -> str:
    """When the first line was logged that tells of it."""
    line = next(line for line in said.splitlines() if event in line)
    found = re.search(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line)
    assert found, line
    return found[0]


def test_it_comes_up_once_stops_in_order_goes_on_and_mends_what_dies(machine: Machine) -> None:
    up = machine.up()
    family = up.family()
    assert names(family) == {"api", "worker", "temporal", "postgres"}
    assert all(part in up.said for part in ("/docs", str(machine.home), "simulator", "atelier submit"))

    second = machine.run("up")
    assert second.returncode == 0
    assert "Atelier runs already" in second.stdout
    assert json.loads((machine.home / "credentials.json").read_text())["url"] + "/docs" in second.stdout
    assert up.process.poll() is None

    submitted = machine.run("submit", "longform", "--topic", "How tides work", "--words", "900", "--format", "md")
    assert submitted.returncode == 0, submitted.stderr
    # The outline is made and sections are being written: stop there.
    assert wait_until(lambda: "decompose" in json.dumps(machine.job()["progress"]), PATIENCE)
    assert machine.job()["status"] == "running"
    assert up.interrupt() == 0, up.said
    assert psutil.wait_procs(family, timeout=1)[1] == []
    said = up.said
    # By their times: lines of two processes that come together are shown process by process.
    order = [time_of(part, said) for part in ("worker.draining", "worker.stopped", "Shutting down")]
    assert order == sorted(order), said
    assert said.rstrip().splitlines()[-1].startswith("Stopped."), said
    assert "Killed" not in said
    assert not (machine.home / "up.json").exists()
    assert 1 <= machine.calls() < CALLS, "it stopped before the end"

    away = machine.run("jobs")
    assert away.returncode == 1
    assert "atelier up" in away.stderr

    up = machine.up()
    watched = machine.run("watch", "last")
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert watched.stdout.count("decompose done") == 1
    downloaded = machine.run("download", "last")
    assert downloaded.returncode == 0
    assert Path(downloaded.stdout.split()[0]).read_text().count("\n## ") >= SECTIONS
    assert machine.calls() == CALLS, "the workers were drained, so nothing was asked twice"

    # What dies is started again, by the same supervisor.
    for process in up.family():
        if names([process]) & {"worker", "temporal"}:
            process.kill()
    assert wait_until(lambda: "worker-1 ended (killed by SIGKILL)" in up.said, PATIENCE)
    assert wait_until(lambda: "Temporal ended" in up.said, PATIENCE)
    machine.run("submit", "longform", "--topic", "Why bees dance", "--words", "300", "--format", "md")
    watched = machine.run("watch", "last")
    assert watched.returncode == 0, watched.stdout + watched.stderr + up.said

    # Killed, it leaves nothing behind either.
    family = up.family()
    assert names(family) == {"api", "worker", "temporal", "postgres"}
    up.process.kill()
    up.wait()
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []


def test_a_demo_makes_its_files_and_leaves_nothing_running(machine: Machine) -> None:
    machine.environment["SIMULATOR_LATENCY_MS"] = "0"
    demo = machine.run("demo", "--words", "600", "--topic", "How tides work")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    files = [Path(line.split("  ")[0]) for line in demo.stdout.splitlines() if "atelier-output" in line]
    assert sorted(file.suffix for file in files) == [".docx", ".html", ".md", ".md", ".pdf"]
    assert files[0].stat().st_size > 1000
    left = [p for p in psutil.process_iter(["cmdline"]) if str(machine.home) in " ".join(p.info["cmdline"] or ())]
    assert left == []
