"""What `atelier up` does with processes, a data folder and logs."""

import os
import sys
import time
from pathlib import Path

import pytest

from cli import children
from cli.children import Child, end_children
from cli.errors import CliError
from cli.home import HomeLock, read_serving, write_serving
from cli.logs import LogFollower
from cli.supervisor import child_environment
from core.embedded.process import wait_until
from core.settings import Settings

PATIENCE = 10.0  # seconds, for conditions that take well under one


def test_one_process_serves_a_folder(home: Path) -> None:
    first, second = HomeLock(home), HomeLock(home)
    assert first.take()
    assert not second.take()
    serving = write_serving(home, "up", "http://127.0.0.1:1", "", "127.0.0.1:2")
    assert read_serving(home) == serving
    first.release()
    assert second.take()
    assert read_serving(home) is None, "what the one before said is no longer so"
    second.release()


def test_children_see_the_settings_as_we_have_them(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "1")
    monkeypatch.setenv("ATELIER_API_KEY", "not theirs")
    (tmp_path / "key").write_text("k\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", "key")
    settings = Settings(api_port=7, artifacts_url="here", atelier_home=home)
    environment = child_environment(settings)
    assert environment["API_PORT"] == "7"
    assert environment["ANTHROPIC_API_KEY"] == "k"
    assert "ANTHROPIC_API_KEY_FILE" not in environment, "its path is seen from elsewhere, and one of the two is enough"
    assert environment["LIMITS"] == "False"
    assert environment["REGISTRATION"] == "closed", "nobody else may come in by whoever runs it"
    assert environment["ARTIFACTS_URL"] == str(tmp_path / "here")
    assert environment["ATELIER_HOME"] == str(home)
    assert environment["LOG_FORMAT"] == "console"
    assert "ATELIER_API_KEY" not in environment
    assert "TEMPORAL_ADDRESS" not in environment
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("LIMITS", "true")
    monkeypatch.setenv("REGISTRATION", "open")
    asked = child_environment(Settings())
    assert (asked["LOG_FORMAT"], asked["LIMITS"], asked["REGISTRATION"]) == ("json", "True", "open")


def make_child(tmp_path: Path, program: str, said: list[str]) -> Child:
    return Child("child", [sys.executable, "-c", program], dict(os.environ), tmp_path / "logs/child.log", said.append)


def test_a_child_that_dies_is_started_again_until_it_is_hopeless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE", 0.01)
    said: list[str] = []
    child = make_child(tmp_path, "import sys; sys.exit('cannot, because')", said)
    child.start()

    def hopeless() -> bool:
        try:
            child.tick()
        except CliError as error:
            said.append(error.message)
            return True
        return False

    assert wait_until(hopeless, PATIENCE)
    assert "ended 5 times right after its start (exit code 1)" in said[-1]
    assert "cannot, because" in said[-1]
    pauses = [line.partition("again in ")[2].split(" s.")[0] for line in said[:-1]]
    assert pauses == ["0.01", "0.02", "0.04", "0.08"]


def test_children_end_by_sigterm_or_at_last_by_sigkill(tmp_path: Path) -> None:
    said: list[str] = []
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
    child = make_child(tmp_path, f"{deaf}time.sleep(60)", said)
    child.start()
    assert wait_until(lambda: "deaf" in child.log.read_text(), PATIENCE)
    began = time.monotonic()
    assert end_children([child], 0.2, lambda: False) == ["child"]
    assert time.monotonic() - began < 2
    willing = make_child(tmp_path, "import time; time.sleep(60)", said)
    willing.start()
    assert end_children([willing], 60, lambda: False) == []


def test_logs_are_shown_from_where_they_were_and_kept_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.logs.LOG_LIMIT", 1000)
    shown: list[tuple[str, str]] = []
    log = tmp_path / "api.log"
    log.write_text("of the run before\n")
    follower = LogFollower(lambda name, line: shown.append((name, line)))
    follower.add("api", log)
    follower.add("worker-1", tmp_path / "worker-1.log")
    follower.start()
    with log.open("a", buffering=1) as file:
        file.write("of the start\n")
        follower.show()
        file.write("begun\nhal")
        assert wait_until(lambda: shown == [("api", "begun")], PATIENCE)
        file.write("f\n")
        assert wait_until(lambda: shown[1:] == [("api", "half")], PATIENCE)
        file.write("x" * 2000 + "\n")
        assert wait_until(lambda: log.stat().st_size == 0, PATIENCE)
        file.write("after\n")
        (tmp_path / "worker-1.log").write_text("late\n")
        assert wait_until(lambda: {("api", "after"), ("worker-1", "late")} <= set(shown), PATIENCE)
    follower.stop()
    assert (tmp_path / "api.log.1").stat().st_size > 2000
