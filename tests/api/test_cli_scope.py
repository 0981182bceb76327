"""`atelier scope` and `atelier sessions`, on the whole product: an API, a worker and the simulator."""

import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest
from rich.console import Console

from cli import demo_scoping
from cli.client import Api
from cli.demo_scoping import ANSWERS, Script, play, read_script
from cli.errors import CliError
from cli.home import Access
from cli.session_api import Sessions
from tests.conftest import Account, Namespace
from tests.support.stack import Stack
from tests.support.terminal import Terminal

CLEAR = {
    1: "The planners see 12 orders of last week on Monday, because the sheet of the sales people comes late.",
    2: "It takes 9 hours of planning away by the end of June, worked out from the time sheets of all planners.",
    3: "There are 48 thousand orders since March, kept in the warehouse program, and the head of sales agreed to it.",
    4: "There are 14 planners who look at every proposal within 5 minutes in the order form and decide themselves.",
    5: "The head of logistics answers for it, looks at 30 results every Friday, and the works council confirmed that.",
}
"""Answers that are clear to every question of a stage, and contradict nothing."""


@pytest.fixture
def access(
    database_url: str, namespace: Namespace, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Access]:
    """The API of a product that runs, for the commands as for the test."""
    with Stack(tmp_path / "home", database_url, namespace.address, namespace.name) as stack:
        api = stack.api()
        stack.worker()
        url = api.url
        monkeypatch.setenv("ATELIER_URL", url)
        monkeypatch.setenv("ATELIER_API_KEY", account.token)
        monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.delenv("EDITOR", raising=False)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.chdir(tmp_path)
        yield Access(url, account.token)


@pytest.fixture
def terminal(access: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def typed(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def stage(number: int, *, questions: int = 6) -> tuple[str, ...]:
    """Clear answers to all questions of a stage, and the word that sends them."""
    return (*[CLEAR[number]] * questions, "")


def said_of(terminal: Terminal, *arguments: str, lines: tuple[str, ...] = ()) -> str:
    """What a command prints that goes well."""
    assert terminal.run(*arguments, typed=typed(*lines)) == 0, terminal.err
    return terminal.out


def test_a_session_from_its_first_question_to_its_charter(
    terminal: Terminal, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text(f'#!/bin/sh\nprintf "First the mail is read.\\n\\n{CLEAR[1]}\\n" > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))

    # Back, a command that is none, the editor, nothing, a skip; and away in the middle of a stage.
    first = (
        "Warehouse orders", "Orders for the warehouse are proposed by a model.",
        CLEAR[1], "Wrong.", ":back", ":nonsense", ":help", "", ":skip nobody counts", ":edit", ":stages", ":quit",
    )  # fmt: skip
    out = said_of(terminal, "scope", lines=first)
    assert "Stage 1 of 5: Business problem" in out
    assert ":nonsense is no command" in out
    assert "So far: Wrong." in out
    assert ":send     send what you have answered" in out
    assert "4 answers not sent yet" in out
    assert "No charter yet" in said_of(terminal, "sessions", "versions", "last")
    assert terminal.run("sessions", "diff", "last") == 1
    assert "There is no charter yet." in terminal.err
    short = out.rstrip().rpartition(" ")[2]
    with Api(access) as api:
        (session,) = api.sessions(5)
        assert str(session["id"]).endswith(short)
        entries = api.json("GET", f"/v1/sessions/{session['id']}/transcript")["entries"]
        assert entries == []

    # On with it: what was written is there, and is sent with the rest; a vague answer is asked about.
    vague = "maybe later, as needed"
    out = said_of(terminal, "scope", "--continue", lines=(CLEAR[1], vague, "2", ":skip", "", ":quit"))
    assert "4 answers you wrote before, and not sent yet." in out
    assert "5 of 6" in out
    assert "2  Wrong." in out
    assert "3  skipped (nobody counts)" in out
    assert "Enter sends this" in out
    assert f"You said: {vague}" in out
    assert "1 of 1" in out

    # The follow-up, and the other stages. Two answers do not fit together.
    lines = (
        CLEAR[1], *[CLEAR[2]] * 5, "700 orders a day are planned in the warehouse by hand at the moment.", "",
        *stage(3), *[CLEAR[4]] * 5, "200 orders a day are planned in the warehouse on a day with rain.", "",
        *stage(5), ":help", "2 it was counted", "2: it was counted",
    )  # fmt: skip
    out = said_of(terminal, "scope", short, "--continue", lines=lines)
    assert "Two answers do not fit together  ·  1 to settle" in " ".join(out.split("\n"))
    assert "1, 2, or what holds instead" in out
    assert "The charter is written: " in out
    pdf = next((tmp_path / "atelier-output" / "warehouse-orders").glob("*-charter.pdf"))
    assert str(pdf) in out
    text = "".join(page.extract_text() for page in pypdf.PdfReader(pdf).pages)
    assert "First the mail is read." in text
    assert "nobody counts" in text

    # Nothing was asked twice, and nothing that was said is lost.
    found = json.loads(said_of(terminal, "sessions", "transcript", "last", "--json"))
    kinds = [entry["kind"] for entry in found["entries"]]
    assert kinds.count("follow_ups") == 1
    assert kinds.count("answer_follow_up") == 1
    assert kinds.count("skip_question") == 2
    assert kinds.count("resolve_contradiction") == 1
    written = said_of(terminal, "sessions", "transcript", "last")
    assert "## Asked back, stage 1" in written
    assert "it was counted" in written
    assert not list((tmp_path / "config").rglob("*.json")), "no draft is left"


def test_sessions_are_listed_changed_and_deleted(terminal: Terminal, access: Access, tmp_path: Path) -> None:
    assert "No sessions yet" in said_of(terminal, "sessions")
    assert terminal.run("scope", "--continue") == 1
    assert "No session waits for anybody." in terminal.err
    assert terminal.run("scope", typed="\n") == 1
    assert "Nothing was begun." in terminal.err

    out = said_of(terminal, "scope", "Mill pond", "--description", "Levels of a pond.", lines=(":finish", "y"))
    assert "The charter is written: " in out
    assert terminal.run("sessions", "diff", "last") == 1
    assert "There is nothing to compare version 1 with." in terminal.err
    listed = said_of(terminal, "sessions")
    assert "Mill pond" in listed
    assert " 1: " in listed
    assert json.loads(said_of(terminal, "sessions", "--status", "failed", "--json")) == []
    old = said_of(terminal, "sessions", "rename", "last", "Mill pond of Orle").split()[0]
    shown = said_of(terminal, "sessions", "show", "last")
    assert "Mill pond of Orle" in shown
    assert "✓  5  Risk, ethics and governance" in shown
    assert "simulated" in shown
    assert "Download its charter" in said_of(terminal, "watch", "last")

    # A stage is reopened: a session of its own, whose charter is the next version.
    out = said_of(terminal, "sessions", "reopen", "last", "2", "--question", "resources", "--because", "They met.")
    assert "makes a new version of the charter" in out
    assert terminal.run("sessions", "reopen", old, "3") == 1
    assert "Another change of this charter is under way" in terminal.err
    answer = "40,000 crowns are approved until June, and one planner."
    out = said_of(terminal, "scope", "--continue", lines=(answer,))
    assert "1 of 1" in out
    versions = json.loads(said_of(terminal, "sessions", "versions", "last", "--json"))
    assert [(one["number"], one["parent"], one["reopened"]) for one in versions] == [(2, 1, 2), (1, None, None)]
    assert "1, stage 2 reopened" in said_of(terminal, "sessions", "versions", "last")
    compared = said_of(terminal, "sessions", "diff", "last", "1", "2")
    assert "version 1 → 2" in compared
    assert said_of(terminal, "sessions", "diff", "last") == compared
    assert "answers: resources" in " ".join(compared.split())
    assert "= Business problem" in compared
    assert len(said_of(terminal, "sessions", "diff", "last", "1", "2", "--full")) > len(compared)
    read = said_of(terminal, "sessions", "charter", "last", "--version", "1", "--read")
    assert "# Project charter: Mill pond" in read
    assert answer not in read
    assert answer in said_of(terminal, "sessions", "charter", "last", "--read")
    said_of(terminal, "sessions", "charter", "last", "--out", "files")
    assert {file.suffix for file in (tmp_path / "files").iterdir()} == {".pdf", ".md", ".json"}

    assert terminal.run("sessions", "rm", "last", typed="n\n") == 1
    said_of(terminal, "sessions", "rm", "last", "--yes")
    assert len(json.loads(said_of(terminal, "sessions", "--json"))) == 1
    assert terminal.run("sessions", "show", "0000ffff") == 1
    assert "`atelier sessions` lists what there is." in terminal.err


def test_somebody_else_is_quicker(terminal: Terminal, access: Access) -> None:
    said_of(terminal, "scope", "Mill pond", "--description", "Levels.", lines=(CLEAR[1], CLEAR[1], ":quit"))
    with Api(access) as api:
        sessions = Sessions(api)
        waiting = sessions.waiting()
        assert waiting is not None
        session = sessions.get(str(waiting["id"]))
        asked = [question["id"] for question in session["asked"]["questions"]]
        sessions.answers(session, {asked[0]: f"{CLEAR[1]} Said elsewhere."})
    out = said_of(terminal, "scope", "--continue", lines=(":quit",))
    assert "1 answer you wrote before, and not sent yet." in out
    assert "2 of 5" in out, "the one that was answered elsewhere is not asked"


def test_the_demo_plays_a_whole_session(access: Access, tmp_path: Path) -> None:
    shown = io.StringIO()
    with Api(access) as api:
        play(Console(file=shown, width=100), api, read_script(None), tmp_path / "out", lambda: None)
        (listed,) = api.sessions(2)
        entries = api.json("GET", f"/v1/sessions/{listed['id']}/transcript")["entries"]
    kinds = [entry["kind"] for entry in entries]
    assert kinds.count("follow_ups") == 1, "one answer is vague, and is asked about once"
    assert kinds.count("skip_question") == 1
    assert kinds.count("resolve_contradiction") == 1
    said = shown.getvalue()
    assert "Asked back: " in said
    assert "Skipped. Nobody has looked at it yet" in said
    assert "Two answers do not fit together" in said
    pdf = tmp_path / "out" / "sorting-cargo-notes-charter.pdf"
    assert str(pdf) in said.replace("\n", "")
    assert "Go, with conditions" in pypdf.PdfReader(pdf).pages[0].extract_text()


def test_the_demo_skips_what_its_file_does_not_say(access: Access, tmp_path: Path) -> None:
    script = Script.model_validate({"project": {"name": "Pond", "description": "Levels."}, "answers": []})
    with Api(access) as api:
        with pytest.raises(CliError, match="Enough"):
            play(Console(file=io.StringIO()), api, script, tmp_path, lambda: CliError("Enough."))
        play(Console(file=io.StringIO()), api, script, tmp_path / "out", lambda: None)
        newest, _ = api.sessions(2)
        found = api.json("GET", f"/v1/sessions/{newest['id']}/transcript")["entries"]
    assert {entry["kind"] for entry in found} == {"skip_question"}
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert demo_scoping.NOT_KNOWN in found[0]["body"]["because"]


def test_the_file_of_answers_has_one_for_every_question() -> None:
    from core.contracts.scoping_questions import QUESTIONNAIRE

    told = tomllib.loads(ANSWERS.read_text())
    asked = [question.id for part in QUESTIONNAIRE.stages for question in part.questions]
    assert [answer["question"] for answer in told["answers"]] == asked
    assert [answer["question"] for answer in told["answers"] if "said" not in answer] == ["unfair_treatment"]
