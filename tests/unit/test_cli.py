"""The command line against a small API in memory: arguments, lists, acts, files, and errors as sentences."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.home import Access, HomeLock, read_credentials, write_credentials
from cli.outputs import slug
from cli.submission import SOURCE_CHARACTERS, read_source, with_uploads
from core.contracts.longform import MAX_SOURCE_CHARACTERS, LongformInput, SourceInput
from tests.support.fake_api import KEY, PDF, FakeApi, completed, failed, job_id, make_job
from tests.support.terminal import Terminal

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


def test_flags_of_the_whole_pipeline_become_its_input(api: FakeApi, terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("\ufeff\n# The mill at Orle #\n\nIt ground by night.", encoding="utf-8")
    (tmp_path / "log.txt").write_text("12 March: ice.\n# no heading", encoding="utf-8")
    (tmp_path / "house.md").write_text("Short sentences.")
    sources = ["--source", "high:notes.md", "--source", "log.txt"]
    flags = ["--review", "--threshold", "0.8", "--max-revisions", "0", "--no-cache", "--style", "house.md"]
    formats = ["--format", "md,html,pdf,docx"]
    assert terminal.run("submit", "longform", "--topic", "Mills", *sources, *flags, *formats) == 0
    assert api.asked[0][2] is not None
    given = api.asked[0][2]["input"]
    assert given == {
        "topic": "Mills",
        "style_guide": "Short sentences.",
        "sources": [
            {"title": "The mill at Orle", "text": "\n# The mill at Orle #\n\nIt ground by night.", "priority": "high"},
            {"title": "log", "text": "12 March: ice.\n# no heading", "priority": "normal"},
        ],
        "review_outline": True,
        "quality_threshold": 0.8,
        "max_revisions": 0,
        "cache": "bypass",
        "formats": ["markdown", "html", "pdf", "docx"],
    }
    LongformInput.model_validate(given)
    assert terminal.run("submit", "longform", "--topic", "Mills", "--style", "No adjectives. " * 30) == 0
    assert api.asked[1][2] is not None
    assert api.asked[1][2]["input"] == {"topic": "Mills", "style_guide": "No adjectives. " * 30}


def test_sources_are_looked_at_before_they_are_sent(api: FakeApi, terminal: Terminal, tmp_path: Path) -> None:
    assert SOURCE_CHARACTERS == MAX_SOURCE_CHARACTERS
    (tmp_path / "long.txt").write_text("x" * (SOURCE_CHARACTERS + 1))
    (tmp_path / "empty.txt").write_text("---\n")
    (tmp_path / "scan.bin").write_bytes(b"SCAN\xff\xfe")
    for file, said in (
        ("long.txt", "long.txt has 400,001 characters; the most is 400,000."),
        ("low:empty.txt", "empty.txt has no text."),
        ("scan.bin", "scan.bin is not UTF-8 text."),
        ("urgent:notes.md", "urgent:notes.md cannot be read: No such file or directory."),
    ):
        assert terminal.run("submit", "longform", "--topic", "Mills", "--source", file) == 1
        assert said in terminal.err
    assert terminal.run("submit", "longform", "--topic", "Mills", "--style", "house.md") == 1
    assert "house.md cannot be read: No such file or directory." in terminal.err
    assert api.asked == []


def test_urls_are_sent_as_they_are_and_files_once_as_uploads(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "survey.pdf").write_bytes(b"%PDF-1.7\xff")
    (tmp_path / "letter.docx").write_bytes(b"PK\x03\x04\xff")
    (tmp_path / "notes.md").write_text("Notes")
    given = ["high:https://a.example/x:y", "optional:low:survey.pdf", "letter.docx", "survey.pdf", "optional:notes.md"]
    sent: list[Path] = []

    def upload(file: Path) -> str:
        sent.append(file)
        return f"id-{len(sent)}"

    body = with_uploads({"input": {"sources": [read_source(source) for source in given]}}, upload)
    assert body["input"]["sources"] == [
        {"priority": "high", "url": "https://a.example/x:y"},
        {"priority": "low", "required": False, "upload_id": "id-1"},
        {"priority": "normal", "upload_id": "id-2"},
        {"priority": "normal", "upload_id": "id-1"},
        {"priority": "normal", "required": False, "title": "notes", "text": "Notes"},
    ]
    assert [file.name for file in sent] == ["survey.pdf", "letter.docx"]
    for source in body["input"]["sources"]:
        SourceInput.model_validate(source)


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
    assert "There is no API key for http://127.0.0.1:9, and no login." in terminal.err
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


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_shows_ids_and_status_whole(
    api: FakeApi, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    api.add(
        make_job(1, status="waiting_for_input", pipeline="longform_revision", title="A title of many words " * 5),
        make_job(2, title="Short"),
    )
    assert terminal.run("jobs") == 0
    header, _, second, first = terminal.out.splitlines()
    assert first.startswith("00000001   waiting for input   ")
    assert "A title of " in first
    assert "$0.0123" in first
    assert "Short" in second
    assert ("longform_revision" in first, "created" in header) == (columns == 120, columns > 60)
    assert max(map(len, terminal.out.splitlines())) <= columns


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


def test_the_light_commands_do_not_load_the_heavy_libraries() -> None:
    program = "import sys, cli.main; print(*sorted({'temporalio', 'sqlalchemy', 'pydantic_ai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/request.json"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_can_be_submitted(api: FakeApi, terminal: Terminal, file: Path) -> None:
    assert terminal.run("submit", "longform", "--input", str(file)) == 0
    assert api.asked[0][2] is not None
    LongformInput.model_validate(api.asked[0][2]["input"])


def test_help_tells_what_is_taken_by_itself(terminal: Terminal) -> None:
    # In square brackets, which the help page's markup would take for a style of its own.
    assert terminal.run("up", "--help") == 0
    assert "[default: 8000, or a free one]" in terminal.out
