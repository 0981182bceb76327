"""`atelier scope` when something is amiss: no model, no answer, another one at work, a session that expired."""

import os
from pathlib import Path
from typing import Any

import pytest

from cli import session_api
from cli.demo_scoping import Script, read_script
from cli.errors import CliError
from cli.scope_diff import charter_diff_text
from cli.scope_drafts import Drafts, Reply
from cli.scope_talk import ANSWER_CHARACTERS, BECAUSE_CHARACTERS, verdict
from cli.scope_view import contradiction_text, question_text, session_text, working_text
from core.contracts.scoping import ANSWER_CHARACTERS as MOST
from core.documents.charter_diff import diff_charters
from tests.support.charters import charter
from tests.support.fake_api import FakeApi, make_job
from tests.support.fake_sessions import ID, question, session
from tests.support.terminal import Terminal, drawn

TROUBLE = {
    "step": "judge stage 1",
    "code": "all_models_failed",
    "message": "Every model \x1b[31mfailed.",
    "tries": 2,
    "again_at": "2026-11-20T10:00:00Z",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two tries."""
    monkeypatch.setattr(session_api, "_FIRST_GAP", 0.001)
    monkeypatch.setattr(session_api, "_LONGEST_GAP", 0.001)


@pytest.fixture
def job(api: FakeApi) -> dict[str, Any]:
    """The session's job."""
    made = make_job(1, id=ID, pipeline="scoping")
    api.add(made)
    return made


def posted(api: FakeApi) -> list[tuple[str, Any]]:
    """The end of each path that was posted to, and what."""
    return [(path.partition(f"{ID}/")[2] or path, body) for method, path, body in api.asked if method == "POST"]


def keys(api: FakeApi) -> list[str]:
    """The Idempotency-Key of every act."""
    return [h["idempotency-key"] for (method, _, _), h in zip(api.asked, api.headers, strict=True) if method == "POST"]


def go_on(terminal: Terminal, *typed: str) -> int:
    return terminal.run("scope", "--continue", typed="".join(f"{line}\n" for line in typed))


def test_trouble_is_told_and_waited_for(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    troubled = session(trouble=TROUBLE)
    api.sessions.views = [*[troubled] * 4, session(question("pain"))]
    assert go_on(terminal, ":quit") == 0
    assert terminal.out.count("No model answers (Every model [31mfailed). What you said is kept") == 1
    assert "\x1b" not in terminal.out
    assert "No model answers" in drawn(session_text(troubled, 90))


def test_a_connection_that_is_lost_is_waited_for(
    api: FakeApi, terminal: Terminal, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ["database_unavailable"] * 3
    api.sessions.views = [session(), session(), *lost, session(), *lost, session(question("pain"))]
    assert go_on(terminal, ":quit") == 0
    assert terminal.out.count("The connection is lost; trying again.") == 2
    monkeypatch.setattr(session_api, "LOST_FOR", -1)
    api.sessions.views = [session(), *lost]
    assert go_on(terminal) == 1
    assert "Try again in a moment." in terminal.err


def test_an_act_is_one_act_however_often_it_is_sent(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    api.sessions.views = [session(question("pain")), session(), session(status="cancelled")]
    api.sessions.refusals = ["stage_running", "temporal_unavailable", "stage_running"]
    assert go_on(terminal, "It hurts.") == 1
    assert "The session was cancelled." in terminal.err
    assert terminal.out.count("This waits for it.") == 1
    assert posted(api) == [("stages/1/answers", {"answers": {"pain": "It hurts."}})] * 4
    assert len(set(keys(api))) == 1
    assert not list(Path("config").rglob("*.json"))


def test_what_cannot_be_sent_stays(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    api.sessions.views = [session(question("pain"))]
    api.sessions.refusals = ["temporal_unavailable"] * session_api.TRIES
    assert go_on(terminal, "It hurts.") == 1
    assert "Try again in a moment." in terminal.err
    assert Drafts(ID).get(question("pain")) == Reply("It hurts.")
    (file,) = Path("config").rglob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    # It is there the next time, and goes as it is.
    api.sessions.views = [session(question("pain")), session(), session(status="cancelled")]
    assert go_on(terminal) == 1
    assert posted(api)[-1] == ("stages/1/answers", {"answers": {"pain": "It hurts."}})


def test_a_refusal_is_told_and_the_session_read_again(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    api.sessions.views = [session(question("pain")), session(question("gain"))]
    api.sessions.refusals = ["invalid_state"]
    assert go_on(terminal, "It hurts.", ":quit") == 0
    assert "It is invalid state." in terminal.out
    assert "What about gain?" in terminal.out
    assert len(Drafts(ID)) == 0, "an answer to what is not asked any more is dropped"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "paused"}, "atelier resume 0000000a"),
        ({"status": "waiting_for_budget"}, "atelier budget 0000000a --add USD"),
        ({"status": "cancelled"}, "atelier scope begins another one"),
    ],
)
def test_what_else_a_session_waits_for(
    api: FakeApi, terminal: Terminal, job: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    api.sessions.views = [session(), session(**changes)]
    assert go_on(terminal) == 1
    assert said in terminal.err
    assert "atelier show 0000000a" in drawn(session_text(session(**changes), 90))


def test_an_expired_session_goes_on(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    job["status"] = "failed"
    expired = session(status="failed", error={"code": "review_expired", "message": "Nobody answered."})
    api.sessions.views = [expired, session(), session(question("pain"))]
    assert go_on(terminal, ":quit") == 0
    assert "The session expired, as nobody went on with it." in terminal.out
    assert api.asked[2][:2] == ("POST", f"/v1/jobs/{ID}/retry")
    assert "atelier scope --continue 0000000a" in drawn(session_text(expired, 90))
    failed = session(status="failed", error={"code": "internal", "message": "A fault."})
    api.sessions.views = [failed, session(question("pain"))]
    assert go_on(terminal) == 0, "nothing is typed: it is revived, and left"
    assert "The session failed: A fault." in terminal.out


def test_answers_that_are_none(api: FakeApi, terminal: Terminal, job: dict[str, Any], home: Path) -> None:
    api.sessions.views = [session(question("pain"), question("gain", said=["Much."], stale=True))]
    typed = (
        "",
        "x" * (ANSWER_CHARACTERS + 1),
        ":edit",
        ":send",
        "It hurts.",
        "",
        "9",
        "x",
        ":back",
        "",
        ":finish",
        "n",
    )
    assert go_on(terminal, *typed, ":quit") == 0
    for said in (
        "An answer, :skip if nobody can say",
        "at most 8,000 characters; this has 8,001",
        "No editor is set.",
        "There is nothing to send yet.",
        "Asked again, as what it rests on is. You said before: Much.",
        "Enter, :back, :quit, or a number from 1 to 2.",
        "Ask no more? [y/N]",
    ):
        assert said in terminal.out, said
    assert posted(api) == []
    assert (ANSWER_CHARACTERS, BECAUSE_CHARACTERS) == (MOST, 1_000)


def test_what_is_too_long_in_the_editor_is_not_lost(
    api: FakeApi, terminal: Terminal, job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nhead -c 9000 /dev/zero | tr "\\0" y > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    api.sessions.views = [session(question("pain"))]
    assert go_on(terminal, ":edit", ":quit") == 0
    (kept,) = tmp_path.glob("atelier-answer-*.md")
    assert str(kept) in terminal.out
    assert kept.read_text() == "y" * 9_000


def test_the_other_acts(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    api.sessions.views = [session(question("pain"), question("gain")), session(), session(status="cancelled")]
    assert go_on(terminal, "It hurts.", ":finish", "y") == 1
    assert [path for path, _ in posted(api)] == ["stages/1/answers"], "it ended before it could be finished"
    api.sessions.views = [session(question("pain")), session(), session(status="cancelled")]
    assert go_on(terminal, " :) it works  ") == 1
    assert posted(api)[-1] == ("stages/1/answers", {"answers": {"pain": ":) it works"}})
    api.sessions.views = [session(question("pain")), session(), session(status="cancelled")]
    assert go_on(terminal, ":skip nobody knows") == 1
    assert posted(api)[-1] == ("stages/1/skips", {"question": "pain", "because": "nobody knows"})
    asked = question("pain", status="follow_up", follow_up="How much?", said=["It hurts."])
    api.sessions.views = [session(asked), session(), session(status="cancelled")]
    assert go_on(terminal, "", "Three times a day.") == 1
    assert posted(api)[-1] == ("stages/1/follow-ups", {"answers": {"pain": "Three times a day."}})


def test_a_draft_that_cannot_be_kept_stops_nobody(api: FakeApi, terminal: Terminal, job: dict[str, Any]) -> None:
    Path("config").mkdir()
    Path("config", "atelier").write_text("in the way")
    api.sessions.views = [session(question("pain")), session(), session(status="cancelled")]
    assert go_on(terminal, "It hurts.") == 1
    assert posted(api)[-1][1] == {"answers": {"pain": "It hurts."}}


@pytest.mark.parametrize("noted", ["", "no json", "[]", '{"pain: ": 3}', '{"pain: ": {"said": "x", "more": 1}}'])
def test_a_damaged_draft_is_none(home: Path, noted: str) -> None:
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "atelier" / "drafts"
    folder.mkdir(parents=True)
    (folder / f"{ID}.json").write_text(noted)
    drafts = Drafts(ID)
    assert len(drafts) == 0
    drafts.keep(question("pain"), Reply(None, "why"))
    assert Drafts(ID).get(question("pain")) == Reply(None, "why")
    assert Drafts(ID).get(question("pain", follow_up="How much?")) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1", ("first", "")),
        ("2. it was counted", ("second", "it was counted")),
        ("1: so", ("first", "so")),
        ("12 of them", ("neither", "12 of them")),
        ("2 weeks are right", None),
        ("Both are wrong.", ("neither", "Both are wrong.")),
    ],
)
def test_a_word_about_a_contradiction(line: str, expected: tuple[str, str] | None) -> None:
    assert verdict(line) == expected


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("", "A moment  0:05"),
        ("judge stage 1", "Your answers are being read, stage 1  0:05"),
        ("close stage 4", "A moment  0:05"),
        ("check", "The answers of all stages are being compared  0:05"),
        ("section risk", "The charter is being written  0:05"),
        ("export pdf", "The files of the charter are being made  0:05"),
    ],
)
def test_what_a_model_is_at(step: str, said: str) -> None:
    assert working_text(session(), step, 5) == said
    assert working_text(session(status="pending"), "", 5) == "The session waits for a worker  0:05"


def test_what_others_wrote_does_not_steer_a_terminal() -> None:
    bad = "a\x1b[2Jb [bold]c[/bold]"
    asked = question("pain", text=bad, help=bad, said=[bad], follow_up=bad, status="follow_up")
    side = {"stage": 1, "asked": bad, "said": [bad], "question": "pain"}
    pair = {"why": bad, "question": bad, "first": side, "second": side}
    for shown in (
        question_text(asked, 1, 1, 90),
        question_text(asked | {"status": "open"}, 1, 1, 90),
        contradiction_text(pair, 1, 90),
        session_text(session(name=bad, description=bad), 90),
        charter_diff_text(_diff(bad), 1, 2, 90, full=True),
    ):
        text = drawn(shown)
        assert "a[2Jb [bold]c[/bold]" in text
        assert "\x1b[2J" not in text


def _diff(text: str) -> dict[str, Any]:
    """A comparison in which a title is this text."""
    old, new = charter(), charter()
    parts = (new.sections[0].model_copy(update={"title": text}), *new.sections[1:])
    found: dict[str, Any] = diff_charters(old, new.model_copy(update={"sections": parts})).model_dump(mode="json")
    return found


def test_a_file_of_answers(tmp_path: Path) -> None:
    script = read_script(None)
    assert script.answer("unfair_treatment").said is None
    assert script.verdict("time_allowed", "problem_size") == ("second", script.contradictions[0].text)
    assert script.verdict("a", "b")[0] == "first"
    neither = Script.model_validate(
        {
            "project": {"name": "n", "description": "d"},
            "answers": [],
            "contradictions": [{"between": ["a", "b"], "text": "Nine."}],
        }
    )
    assert neither.verdict("b", "a") == ("neither", "Nine.")
    file = tmp_path / "mine.toml"
    for text, said in (
        ("[project", "is not TOML"),
        ("[project]\nname = 'n'", "project.description: Field required"),
        ("[project]\nname = 'n'\ndescription = 'd'\nanswers = [{question = 'q', text = 'x'}]", "Extra inputs"),
    ):
        file.write_text(text)
        with pytest.raises(CliError, match=said):
            read_script(file)
    with pytest.raises(CliError, match="cannot be read"):
        read_script(tmp_path / "gone.toml")


def test_demos_that_there_are(terminal: Terminal) -> None:
    assert terminal.run("demo", "film") == 1
    assert "There is no demo of 'film'." in terminal.err
    assert terminal.run("demo", "scoping", "--answers", "gone.toml") == 1
    assert "gone.toml cannot be read" in terminal.err
