"""`atelier outline`: seeing, approving, editing by hand or by a file, and asking again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.outline_form import outline_form, read_outline
from tests.support.fake_api import FakeApi, completed, job_id, make_job
from tests.support.fake_documents import make_outline, waiting
from tests.support.terminal import Terminal


@pytest.fixture
def outline(api: FakeApi) -> dict[str, Any]:
    """The outline that the one job of the API waits with."""
    found = make_outline(job_id(1))
    api.outlines[job_id(1)] = found
    api.add(waiting(make_job(1), found))
    return found


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that runs this program of `sed`; drafts lie in the current folder."""
    program = tmp_path / "by-hand.sed"
    program.write_text("")
    monkeypatch.setenv("EDITOR", f"sed -i -f {program}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return program


def sent(api: FakeApi) -> list[tuple[str, Any]]:
    """The last part of each path that was posted to, and what."""
    return [(path.rpartition("/")[2], body) for method, path, body in api.asked if method == "POST"]


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob("atelier-*"))


def test_an_outline_is_shown_with_how_to_go_on(outline: dict[str, Any], terminal: Terminal) -> None:
    assert terminal.run("outline", "show", "last") == 0
    lines = [line.rstrip() for line in terminal.out.splitlines()]
    assert lines[0] == "Outline, round 1: 3 sections, 900 words  ·  simulated"
    assert "s3  Part 3: No  200 words, r1, r2" in lines
    assert "    The reader knows what part 3 is for." in lines
    assert "      · Point 3b" in lines
    assert lines[-3].startswith("atelier outline approve 00000001 ")
    assert terminal.run("outline", "show", "last", "--json") == 0
    assert json.loads(terminal.out) == outline
    outline["waiting"] = False
    assert terminal.run("outline", "show", "last") == 0
    assert terminal.out.splitlines()[-1] == "It is settled: nobody is asked about it."


def test_what_a_job_waits_for_is_said_in_words(outline: dict[str, Any], terminal: Terminal) -> None:
    assert terminal.run("show", "last") == 0
    assert "your word on its outline (3 sections, 900 words) until 2026-12-2" in terminal.out
    assert 'atelier outline again 00000001 "…"' in terminal.out


def test_approving_and_asking_again(api: FakeApi, outline: dict[str, Any], terminal: Terminal) -> None:
    assert terminal.run("outline", "again", "last", "Begin with the miller", "--round", "1") == 0
    assert "planned anew" in terminal.out
    assert terminal.run("outline", "approve", "last") == 1
    assert "The job asks nothing at the moment." in terminal.err
    outline["waiting"] = True
    assert terminal.run("outline", "approve", "last") == 0
    assert terminal.out.splitlines()[-1] == "Follow it: atelier watch 00000001"
    assert sent(api)[0] == ("revise", {"instructions": "Begin with the miller", "round": 1})
    assert sent(api)[-1] == ("approve", {})


def test_approving_can_watch_to_the_end(api: FakeApi, outline: dict[str, Any], terminal: Terminal) -> None:
    api.after_events = completed(make_job(1))
    assert terminal.run("outline", "approve", "last", "--watch") == 0
    assert "completed" in terminal.out


def test_an_outline_edited_by_hand_is_sent(
    api: FakeApi, outline: dict[str, Any], terminal: Terminal, by_hand: Path, tmp_path: Path
) -> None:
    # Drops the second section, renames the third, and leaves its length to the rest.
    by_hand.write_text("/id: s2/,/Point 2b/d\ns/title: 'Part 3: No'/title: No # more/\n/words: 200/d\n")
    assert terminal.run("outline", "edit", "last", "--ask") == 0
    assert terminal.out.splitlines()[0] == "Taken over: the job will wait for your word once more."
    first, _, third = outline["sections"]
    third = {name: value for name, value in third.items() if name != "words"} | {"title": "No"}
    edit = {"round": 1, "title": outline["title"], "thesis": outline["thesis"], "sections": [first, third]}
    assert sent(api) == [("edit", edit | {"approve": False})]
    assert drafts(tmp_path) == []


def test_an_unchanged_outline_is_not_sent(
    api: FakeApi, outline: dict[str, Any], terminal: Terminal, by_hand: Path, tmp_path: Path
) -> None:
    for program in ("", "s/^# -.*/# mine/", "d"):
        by_hand.write_text(program)
        assert terminal.run("outline", "edit", "last") == 0
        assert "Nothing is changed, and nothing was sent." in terminal.out
    assert sent(api) == []
    assert drafts(tmp_path) == []


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("s/words: 300/words: 3/", "section 2 (Part 2: No), words: A section has at least 40 words"),
        ("s/round: 1/round: 1: 2/", "What you wrote is not YAML at line 9, column 9"),
    ],
)
def test_a_refused_outline_is_kept_and_can_be_sent_again(
    api: FakeApi, outline: dict[str, Any], terminal: Terminal, by_hand: Path, tmp_path: Path, program: str, said: str
) -> None:
    by_hand.write_text(program)
    assert terminal.run("outline", "edit", "last") == 1
    assert said in terminal.err
    [draft] = drafts(tmp_path)
    assert terminal.err.splitlines()[-1] == f"atelier outline edit 00000001 --file {draft}"
    kept = draft.read_text()
    draft.write_text(kept.replace("words: 3\n", "words: 350\n").replace("round: 1: 2", "round: 1"))
    assert terminal.run("outline", "edit", "last", "--file", str(draft)) == 0
    assert sent(api)[-1][1]["sections"][1]["title"] == "Part 2: No"


def test_what_is_shown_as_json_can_be_sent_back(
    api: FakeApi, outline: dict[str, Any], terminal: Terminal, tmp_path: Path
) -> None:
    assert terminal.run("outline", "show", "last", "--json") == 0
    changed = json.loads(terminal.out) | {"title": "Another"}
    assert terminal.run("outline", "edit", "last", "--file", "-", typed=json.dumps(changed)) == 0
    names = ("thesis", "sections", "round")
    assert sent(api) == [("edit", {"title": "Another", **{name: outline[name] for name in names}})]
    assert terminal.run("outline", "edit", "last", "--file", "-", typed="just words") == 1
    assert "Standard input does not hold an outline." in terminal.err


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        ("false", "The editor false ended with code 1."),
        ("no-such-editor", "The editor no-such-editor cannot be started: No such file or directory."),
        ("'vi", "EDITOR is no command: 'vi."),
        ("", "No editor is set."),
    ],
)
def test_an_editor_that_fails_sends_nothing(
    api: FakeApi,
    outline: dict[str, Any],
    terminal: Terminal,
    by_hand: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    editor: str,
    said: str,
) -> None:
    monkeypatch.setenv("EDITOR", editor)
    assert terminal.run("outline", "edit", "last") == 1
    assert said in terminal.err
    assert sent(api) == []
    assert drafts(tmp_path) == []


def test_an_editor_that_fails_after_saving_keeps_the_text(
    api: FakeApi, outline: dict[str, Any], terminal: Terminal, by_hand: Path, tmp_path: Path
) -> None:
    by_hand.write_text("s/Part 2/Mine/\n$q 3\n")
    assert terminal.run("outline", "edit", "last") == 1
    [draft] = drafts(tmp_path)
    assert f"Nothing was sent. What you wrote is in {draft}." in terminal.err
    assert "Mine: No" in draft.read_text()


def test_a_settled_outline_opens_no_editor(outline: dict[str, Any], terminal: Terminal, by_hand: Path) -> None:
    outline["waiting"] = False
    assert terminal.run("outline", "edit", "last") == 1
    assert "The outline is settled" in terminal.err


@pytest.mark.parametrize(
    "text",
    ["No", "1.5", "a: b # c", "- dash", "'", '"', "%x", "\t|", "🦭 ü", "x " * 200, "two\nlines", "\u2028", "@r1"],
)
def test_any_text_survives_the_form(text: str) -> None:
    outline = make_outline(job_id(1), title=text, thesis=text)
    outline["sections"][0]["key_points"] = [text, text]
    said = read_outline(outline_form(outline), "form")
    assert said == {name: outline[name] for name in ("round", "title", "thesis")} | {
        "sections": [{name: value for name, value in section.items() if value != []} for section in outline["sections"]]
    }


def test_a_form_is_readable() -> None:
    form = outline_form(make_outline(job_id(1)))
    assert max(map(len, form.splitlines())) <= 100
    assert re.search(r"^- id: s2\n  title: 'Part 2: No'\n  words: 300\n  purpose: The reader", form, re.MULTILINE)
