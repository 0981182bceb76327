"""The command line against a small API in memory: arguments, what is shown, and errors as sentences."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from cli import children, main
from cli.children import Child, end_children
from cli.errors import CliError
from cli.home import Access, HomeLock, read_credentials, read_serving, write_credentials, write_serving
from cli.logs import LogFollower
from cli.outputs import slug
from cli.supervisor import child_environment
from cli.timeline import Timeline
from cli.view import duration, job_panel, size
from core.embedded.process import wait_until
from core.settings import Settings
from tests.support.fake_api import EVENTS, KEY, PDF, FakeApi, completed, failed, job_id, make_job, serve

PATIENCE = 10.0  # seconds, for conditions that take well under one


class Terminal:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.out = self.err = ""

    def run(self, *arguments: str, typed: str = "") -> int:
        """The exit code; what was printed is in `out` and `err`."""
        self._monkeypatch.setattr(sys, "argv", ["atelier", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return int(ended.value.code or 0)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API with no jobs."""
    with serve() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that the environment names, in an empty current folder."""
    for name in ("ATELIER_URL", "ATELIER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def terminal(api: FakeApi, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal whose environment names the API."""
    monkeypatch.setenv("ATELIER_URL", api.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    return Terminal(monkeypatch, capsys)


# ---------------------------------------------------------------------------------------------- submitting


def test_flags_of_longform_become_its_input(api: FakeApi, terminal: Terminal) -> None:
    lengths = ["--words", "900", "--format", "md,pdf", "--language", "de", "--audience", "children", "--tone", "warm"]
    more = ["--title", "T", "--tag", "a", "--tag", "b", "--model", "simulator:composer", "--idempotency-key", "k"]
    assert terminal.run("submit", "longform", "--topic", "Tides", *lengths, *more) == 0
    assert api.asked[0] == (
        "POST",
        "/v1/jobs",
        {
            "pipeline": "longform",
            "input": {
                "topic": "Tides",
                "target_words": 900,
                "audience": "children",
                "tone": "warm",
                "language": "de",
                "formats": ["markdown", "pdf"],
            },
            "title": "T",
            "tags": ["a", "b"],
            "models": ["simulator:composer"],
        },
    )
    assert api.headers[0]["idempotency-key"] == "k"
    assert terminal.out.strip() == job_id(1)
    assert "atelier watch 00000001" in terminal.err


def test_input_comes_from_a_file_or_standard_input_and_flags_go_over_it(
    api: FakeApi, terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_text('{"topic": "Tides", "target_pages": 2}')
    assert terminal.run("submit", "longform", "--input", "in.json", "--minutes", "5") == 0
    assert terminal.run("submit", "film", "--input", "-", "--json", typed='{"premise": "A storm"}') == 0
    assert json.loads(terminal.out)["id"] == job_id(2)
    bodies = [body for _, _, body in api.asked]
    assert bodies[0] == {"pipeline": "longform", "input": {"topic": "Tides", "target_duration": 5.0}}
    assert bodies[1] == {"pipeline": "film", "input": {"premise": "A storm"}}


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["submit", "longform"], "", "A topic is needed."),
        (["submit", "film"], "", "film needs an input."),
        (["submit", "film", "--topic", "x"], "", "are for longform, not for film"),
        (["submit", "film", "--input", "missing.json"], "", "missing.json cannot be read: No such file"),
        (["submit", "film", "--input", "-"], "{", "standard input is not JSON"),
        (["submit", "film", "--input", "-"], "[]", "does not hold a JSON object"),
        (
            ["submit", "longform", "--topic", "x", "--words", "5"],
            "",
            "The request is not valid: input.target_words: Input should be 300 or more.",
        ),
        (["show", "nonsense!"], "", "is not a job's id"),
        (["show", "abcd"], "", "No job's id begins or ends with abcd."),
        (["show", job_id(9)], "", "There is no such job."),
        (["show", "last"], "", "There are no jobs yet."),
        (["demo", "film"], "", "There is no demo of 'film'."),
    ],
)
def test_a_user_error_is_a_sentence(terminal: Terminal, arguments: list[str], typed: str, said: str) -> None:
    assert terminal.run(*arguments, typed=typed) == 1
    assert said in terminal.err
    assert len(terminal.err.strip().splitlines()) <= 2


# ---------------------------------------------------------------------------------------------- access


def test_nobody_home_says_atelier_up(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_URL", "http://127.0.0.1:9")
    assert terminal.run("jobs") == 1
    assert "No Atelier answers at http://127.0.0.1:9." in terminal.err
    assert "atelier up" in terminal.err
    monkeypatch.delenv("ATELIER_URL")
    monkeypatch.delenv("ATELIER_API_KEY")
    assert terminal.run("jobs") == 1
    assert "There are no credentials in" in terminal.err
    monkeypatch.setenv("ATELIER_URL", "nonsense")
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    assert terminal.run("jobs") == 1
    assert "'nonsense' is not a URL." in terminal.err


def test_credentials_of_the_folder_are_used_and_sent_nowhere_else(
    api: FakeApi, terminal: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATELIER_URL")
    monkeypatch.delenv("ATELIER_API_KEY")
    HomeLock(home)  # makes the folder
    write_credentials(home, Access(api.url, KEY))
    assert (home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert read_credentials(home) == Access(api.url, KEY)
    assert terminal.run("jobs") == 0
    monkeypatch.setenv("ATELIER_URL", "http://127.0.0.1:9")
    assert terminal.run("jobs") == 1
    assert "There is no API key for http://127.0.0.1:9." in terminal.err
    monkeypatch.setenv("ATELIER_URL", api.url)
    monkeypatch.setenv("ATELIER_API_KEY", "wrong")
    assert terminal.run("jobs") == 1
    assert "A valid API key is needed." in terminal.err


def test_a_wrong_setting_is_named_without_its_value(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "s3cret")
    assert terminal.run("jobs") == 1
    assert "API_PORT: " in terminal.err
    assert "s3cret" not in terminal.err


def test_another_server_is_not_mistaken_for_atelier(
    api: FakeApi, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "artifact", b"<html>")
    monkeypatch.setenv("ATELIER_URL", f"{api.url}/v1/artifacts/x?")
    assert terminal.run("jobs") == 1
    assert "ATELIER_URL" in terminal.err or "did not answer with JSON" in terminal.err


# ---------------------------------------------------------------------------------------------- looking


def test_jobs_are_listed_over_pages(api: FakeApi, terminal: Terminal) -> None:
    api.add(*(make_job(number) for number in range(1, 251)))
    assert terminal.run("jobs", "--limit", "230", "--json") == 0
    assert [job["id"] for job in json.loads(terminal.out)] == [job_id(n) for n in range(250, 20, -1)]
    assert [path for _, path, _ in api.asked] == ["/v1/jobs?limit=200", "/v1/jobs?cursor=200&limit=30"]


def test_the_table_shows_status_and_cost(api: FakeApi, terminal: Terminal) -> None:
    free = make_job(1)["cost"] | {"usd": 0}
    api.add(
        make_job(1, cost=free),
        failed(make_job(2, simulated=False, title="[bold]Tides")),
        make_job(3, cancel_requested=True),
    )
    assert terminal.run("jobs") == 0
    newest, second, oldest = terminal.out.strip().splitlines()[-3:]
    assert "00000003" in newest
    assert "cancelling" in newest
    assert all(part in second for part in ("failed", "[bold]Tides", "25 %", "$0.0123"))
    assert "simulated" in oldest
    assert terminal.run("jobs", "--status", "failed") == 0
    assert "00000002" in terminal.out
    assert "00000001" not in terminal.out
    assert terminal.run("jobs", "--status", "paused") == 0
    assert "No job fits." in terminal.out


def test_a_job_is_found_by_a_part_of_its_id(api: FakeApi, terminal: Terminal) -> None:
    api.add(make_job(0x1ABC), make_job(0x2ABC), failed(make_job(3)))
    assert terminal.run("show", "1abc", "--json") == 0
    assert json.loads(terminal.out)["id"] == job_id(0x1ABC)
    assert terminal.run("show", "abc0") == 1
    assert terminal.run("show", "0abc") == 1
    assert terminal.run("show", "019ab") == 1
    assert "3 jobs' ids begin or end with 019ab." in terminal.err
    assert terminal.run("show", "last") == 0
    assert all(
        part in terminal.out
        for part in (job_id(3), "failed", "25 %, 1 of 4 steps", "Every model failed.", "at decompose", "3 attempts")
    )


# ---------------------------------------------------------------------------------------------- watching


def test_watch_resumes_behind_the_last_event(api: FakeApi, terminal: Terminal) -> None:
    api.add(make_job(1))
    api.after_events = completed(make_job(1))
    api.cut_after = 3
    assert terminal.run("watch", "last") == 0
    assert api.resumed_from == [None, "3", "6"]
    lines = [line.split("  ")[-1].strip() for line in terminal.out.splitlines()]
    assert lines[1:-1] == [
        "accepted",
        "started",
        "decompose done",
        "sections begins",
        "section s1 failed (overloaded): Busy",
        "now.",
        "section s1 done",
        "completed",
    ]
    assert lines[-1] == "Download its files: atelier download 00000001"


def test_a_watched_job_that_fails_is_the_commands_error(api: FakeApi, terminal: Terminal) -> None:
    api.add(failed(make_job(1)))
    assert terminal.run("watch", "last", "--json") == 1
    assert json.loads(terminal.out)["status"] == "failed"
    assert "The job failed at decompose: Every model failed." in terminal.err
    assert "atelier retry 00000001" in terminal.err


def test_submit_and_watch(api: FakeApi, terminal: Terminal) -> None:
    api.after_events = completed(make_job(1))
    assert terminal.run("submit", "longform", "--topic", "Tides", "--watch") == 0
    assert "completed" in terminal.out


def test_acts(api: FakeApi, terminal: Terminal) -> None:
    api.add(make_job(1), make_job(2), completed(make_job(3)))
    assert terminal.run("pause", "0001", "--wait") == 0
    assert terminal.out.strip() == "00000001  paused"
    assert terminal.run("cancel", "0002", "--wait") == 0
    assert terminal.out.strip() == "00000002  cancelled"
    assert terminal.run("cancel", "0003") == 1
    assert "A completed job cannot be canceled." in terminal.err


# ---------------------------------------------------------------------------------------------- files


def test_outputs_are_downloaded_whole_and_not_over_others(api: FakeApi, terminal: Terminal, tmp_path: Path) -> None:
    api.add(completed(make_job(1, title="Why Tides? Größe")))
    assert terminal.run("download", "last") == 0
    file = tmp_path / "atelier-output/why-tides-grosse/article.pdf"
    assert file.read_bytes() == PDF
    assert terminal.out.split() == [str(file), "19", "B"]
    assert terminal.run("download", "last") == 0
    assert (tmp_path / "atelier-output/why-tides-grosse-00000001/article.pdf").exists()
    assert terminal.run("download", "last", "--out", "here") == 0
    assert (tmp_path / "here/article.pdf").read_bytes() == PDF
    api.artifact = b"%PDF-1.7 not rea"
    assert terminal.run("download", "last", "--out", "there") == 1
    assert "article.pdf arrived damaged." in terminal.err
    assert list((tmp_path / "there").iterdir()) == []


def test_a_files_name_is_never_a_path(api: FakeApi, terminal: Terminal, tmp_path: Path) -> None:
    job = completed(make_job(1))
    output = job["result"]["outputs"][0]
    job["result"]["outputs"] = [output | {"name": "../../evil.pdf"}, output | {"name": ".."}, output | {"name": "a/.."}]
    api.add(job)
    assert terminal.run("download", "last", "--out", "out") == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["evil.pdf", "output", "output-3"]
    api.add(make_job(2))
    assert terminal.run("download", "last") == 1
    assert "The job has no files to download; it is running." in terminal.err


@pytest.mark.parametrize(
    ("text", "name"), [("Why lighthouses matter!", "why-lighthouses-matter"), ("../..", "job"), ("灯台", "灯台")]
)
def test_slug(text: str, name: str) -> None:
    assert slug(text) == name


# ---------------------------------------------------------------------------------------------- what is drawn


def drawn(shown: RenderableType) -> str:
    """As a terminal of 100 columns shows it."""
    file = io.StringIO()
    Console(file=file, width=100, force_terminal=True, color_system=None).print(shown)
    return file.getvalue()


def test_the_panel_tells_stages_progress_and_simulation() -> None:
    timeline = Timeline()
    for seq, event in enumerate(EVENTS[:6], 1):
        timeline.apply({"seq": seq, **event})
    timeline.apply({"seq": 3, **EVENTS[2]})  # twice changes nothing
    panel = drawn(job_panel(make_job(1), timeline))
    assert "Title 1" in panel
    assert "✓ decompose" in panel
    assert "⠋ sections     0 of 1  s1  section s1: overloaded, again soon" in panel
    assert "25 %  1/4 steps" in panel
    assert "about 0:12 left" in panel
    assert "$0.0123 · 1,500 tokens" in panel
    assert "simulated" in panel
    for seq, event in enumerate(EVENTS[6:], 7):
        timeline.apply({"seq": seq, **event})
    panel = drawn(job_panel(completed(make_job(1)), timeline))
    assert "✓ sections     1 of 1" in panel
    assert "100 %  4/4 steps  0:08" in panel
    assert "left" not in panel


def test_the_panel_of_a_failed_job_says_why() -> None:
    timeline = Timeline()
    timeline.apply({"seq": 1, **EVENTS[2]})
    panel = drawn(job_panel(failed(make_job(1)), timeline))
    assert "✗ decompose" in panel
    assert "Every model failed.  (all_models_failed, at decompose, after 3 attempts)" in panel


def test_figures() -> None:
    assert [duration(s) for s in (0, 65.9, 3723)] == ["0:00", "1:05", "1:02:03"]
    assert [size(n) for n in (19, 1500, 2_500_000, 3_000_000_000)] == ["19 B", "1.5 kB", "2.5 MB", "3.0 GB"]


# ---------------------------------------------------------------------------------------------- supervising


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
    settings = Settings(api_port=7, anthropic_api_key="k", artifacts_url="here", atelier_home=home)
    environment = child_environment(settings)
    assert environment["API_PORT"] == "7"
    assert environment["ANTHROPIC_API_KEY"] == "k"
    assert environment["ARTIFACTS_URL"] == str(tmp_path / "here")
    assert environment["ATELIER_HOME"] == str(home)
    assert environment["LOG_FORMAT"] == "console"
    assert "ATELIER_API_KEY" not in environment
    assert "TEMPORAL_ADDRESS" not in environment
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert child_environment(Settings())["LOG_FORMAT"] == "json"


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


def test_the_light_commands_do_not_load_the_heavy_libraries() -> None:
    program = "import sys, cli.main; print(*sorted({'temporalio', 'sqlalchemy', 'pydantic_ai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
