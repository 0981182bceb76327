"""Documents on the command line: lists, reading, comparing, and jobs that make new versions."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.diff_view import diff_lines, diff_text
from cli.document_view import version_text
from tests.support.fake_api import FakeApi, completed, job_id, make_job
from tests.support.fake_documents import TEXTS, diff_view, make_version
from tests.support.terminal import Terminal, drawn

DOCUMENT = job_id(0xD0C1)
LATER = {
    "s1": TEXTS["s1"].replace("by itself", "without a hand"),
    "s3": "A new end.",
}


@pytest.fixture
def versions(api: FakeApi) -> list[dict[str, Any]]:
    """The versions of the API's newest document: as it was written, and with other sections."""
    api.documents[job_id(0xD0C0)] = [make_version(job_id(0xD0C0))]
    api.documents[DOCUMENT] = [make_version(DOCUMENT), make_version(DOCUMENT, 2, LATER)]
    return api.documents[DOCUMENT]


def sent(api: FakeApi) -> list[tuple[str, Any]]:
    """What was posted, by the path behind the document."""
    return [(path.partition(f"{DOCUMENT}/")[2], body) for method, path, body in api.asked if method == "POST"]


# ---------------------------------------------------------------------------------------------- looking


@pytest.mark.parametrize("columns", [80, 120])
def test_documents_and_versions_fit_the_terminal(
    versions: list[dict[str, Any]], terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert terminal.run("documents") == 0
    newest = terminal.out.splitlines()[2].split()
    assert newest[:3] == ["0000d0c1", "Mills", "of"]
    assert {"2", "0.70"} <= set(newest)
    assert terminal.run("versions", "d0c1") == 0
    header, _, second, first = (line.split() for line in terminal.out.splitlines())
    assert ("made" in header) == (columns == 120)
    assert second[:5] == ["2", "1", "s2", "regenerated:", "Say"]
    assert first[:4] == ["1", "written", "21", "0.60"]
    assert "simulated" in first
    assert "00000001" in first
    assert max(map(len, terminal.out.splitlines())) <= columns


def test_lists_as_json_and_over_pages(api: FakeApi, versions: list[dict[str, Any]], terminal: Terminal) -> None:
    assert terminal.run("versions", "last", "--json", "--limit", "1") == 0
    assert [version["number"] for version in json.loads(terminal.out)] == [2]
    assert terminal.run("documents", "--json") == 0
    assert [document["id"] for document in json.loads(terminal.out)] == [DOCUMENT, job_id(0xD0C0)]
    api.documents.clear()
    assert terminal.run("documents") == 0
    assert "No documents yet" in terminal.out


def test_a_document_is_read_as_markdown(versions: list[dict[str, Any]], terminal: Terminal) -> None:
    assert terminal.run("read", "last", "--version", "1") == 0
    assert terminal.out == (
        "# Mills of the moon\n\n*Simulated: no model was asked.*\n\n*They ended with the clock.*\n\n"
        f"## Water behind a gate [s1]\n\n{TEXTS['s1']}\n\n"
        f"## What came after s2 [s2]\n\nIt could not last.\n\n{TEXTS['s2']}\n\n"
        "## References\n\n1. A miller's book [@r1]\n"
    )
    assert terminal.run("read", "last") == 0
    assert "A new end." in terminal.out
    assert terminal.run("read", "last", "--version", "1", "--section", "s1") == 0
    assert terminal.out == TEXTS["s1"] + "\n"


def test_a_document_is_read_in_a_terminal(versions: list[dict[str, Any]]) -> None:
    evil = make_version(DOCUMENT, 1, {"s1": "Title\x1b]0;mine\x07 and [bold]text[/bold]. " * 5})
    shown = drawn(version_text(evil, 60))
    assert "\x1b" not in shown
    assert "[bold]text[/bold]" in shown
    assert "version 1 · 15 words · score 0.60 · simulated: no model was asked" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["read", "last", "--version", "9"], "There is no such version."),
        (["read", "last", "--section", "s9"], "Version 2 has no section 's9'."),
        (["read", "beef"], "No document's id begins or ends with beef."),
        (["read", job_id(7)], "There is no such document."),
        (["versions", "?"], "'?' is not a document's id."),
        (["diff", "last", "1", "7"], "There is no such version."),
        (["diff", job_id(0xD0C0)], "Version 1 was made from no other one."),
        (["regenerate", "last", "e"], "2 sections fit 'e'."),
        (["edit", "last", "s1", "--file", "missing.md"], "missing.md cannot be read"),
    ],
)
def test_a_user_error_is_a_sentence(
    versions: list[dict[str, Any]], terminal: Terminal, arguments: list[str], said: str
) -> None:
    assert terminal.run(*arguments) == 1
    assert said in terminal.err
    assert len(terminal.err.strip().splitlines()) <= 2


# ---------------------------------------------------------------------------------------------- comparing


def test_a_comparison_goes_by_sections(versions: list[dict[str, Any]], terminal: Terminal) -> None:
    assert terminal.run("diff", "last") == 0
    lines = terminal.out.splitlines()
    assert lines[0].startswith("version 1 -> 2: 1 changed, 1 added, 1 removed; ")
    assert lines[1] == "~ s1 Water behind a gate (changed, 16 → 17 words)"
    assert "The gate closes [-by itself-]{+without a hand+}." in terminal.out
    assert (
        "- s2 What came after s2 (removed, 8 words)\n\n[-It could not last.-]\n\n[-Steam did not wait.-]"
        in terminal.out
    )
    assert "+ s3 What came after s3 (added, 7 words)\n\n{+It could not last.+}\n\n{+A new end.+}" in terminal.out
    assert terminal.run("diff", "last", "2", "1") == 0
    assert "[-without a hand-]{+by itself+}" in terminal.out
    assert terminal.run("diff", "last", "1", "--json") == 0
    assert json.loads(terminal.out) == diff_view(*versions)


def test_a_comparison_leaves_out_what_is_far_from_a_change() -> None:
    before = " ".join(f"w{n}." for n in range(200))
    after = before.replace("w100.", "other.")
    diff = diff_view(make_version(DOCUMENT, 1, {"s1": before}), make_version(DOCUMENT, 2, {"s1": after}))
    short = diff_lines(diff, 1, 2, full=False)
    assert "\n[… 88 words …] w88. w89." in short
    assert "w99. [-w100-]{+other+}. w101." in short
    assert "w110. w111. [… 88 words …]\n" in short
    assert "w150." not in short
    assert before.replace("w100", "[-w100-]{+other+}") in diff_lines(diff, 1, 2, full=True)


def test_a_comparison_in_a_terminal_is_coloured() -> None:
    other = {"s2": TEXTS["s2"], "s1": TEXTS["s1"].replace("tide", "\x1bmoon")}
    diff = diff_view(make_version(DOCUMENT), make_version(DOCUMENT, 2, other))
    shown = drawn(diff_text(diff, 1, 2, 60, full=False), colours=True)
    assert "\x1b[9;31mtide\x1b[0m\x1b[32mmoon\x1b[0m" in shown
    plain = drawn(diff_text(diff, 1, 2, 60, full=False))
    assert "1 same, 1 changed, 1 moved; words: 1 in, 1 out" in " ".join(plain.split())
    assert max(map(len, plain.splitlines())) <= 60


# ---------------------------------------------------------------------------------------------- new versions


def test_a_section_is_regenerated(api: FakeApi, versions: list[dict[str, Any]], terminal: Terminal) -> None:
    more = ["--base", "1", "--model", "simulator:composer", "--budget", "0.5"]
    assert terminal.run("regenerate", "last", "2", "Shorter, please", *more) == 0
    assert terminal.out.strip() == job_id(1)
    assert terminal.err.strip() == "Follow it: atelier watch 00000001"
    assert terminal.run("regenerate", DOCUMENT, "behind a GATE") == 0
    body = {"instructions": "Shorter, please", "base": 1, "models": ["simulator:composer"], "budget_usd": 0.5}
    assert sent(api) == [("sections/s2/regenerate", body), ("sections/s1/regenerate", {})]


def test_a_new_version_can_be_followed(api: FakeApi, versions: list[dict[str, Any]], terminal: Terminal) -> None:
    done = completed(make_job(1))
    done["result"]["summary"] |= {"document_id": DOCUMENT, "version": 3}
    api.after_events = done
    assert terminal.run("restore", "last", "1", "--watch") == 0
    assert sent(api) == [("versions/1/restore", None)]
    assert terminal.out.splitlines()[-3:] == [
        "Read it: atelier read 0000d0c1",
        "What changed: atelier diff 0000d0c1",
        "Download its files: atelier download 00000001",
    ]


def test_a_section_is_edited_by_a_file(
    api: FakeApi, versions: list[dict[str, Any]], terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "mine.md").write_text("My own words.")
    assert terminal.run("edit", "last", "s3", "--file", "mine.md", "--title", "The end") == 0
    assert terminal.run("edit", "last", "s1", "--file", "-", "--base", "1", typed="Typed.") == 0
    assert sent(api) == [
        ("sections/s3/edit", {"base": 2, "title": "The end", "markdown": "My own words."}),
        ("sections/s1/edit", {"base": 1, "markdown": "Typed."}),
    ]


def test_a_section_is_edited_by_hand(
    api: FakeApi,
    versions: list[dict[str, Any]],
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("VISUAL", "sed -i s/new/better/")
    monkeypatch.setenv("EDITOR", "false")
    assert terminal.run("edit", "last", "s3") == 0
    assert sent(api) == [("sections/s3/edit", {"base": 2, "markdown": "A better end.\n"})]
    monkeypatch.setenv("VISUAL", "true")
    assert terminal.run("edit", "last", "s3") == 0
    assert "Nothing is changed, and nothing was sent." in terminal.out
    assert terminal.run("edit", "last", "s3", "--title", "The end") == 0
    assert sent(api)[1:] == [("sections/s3/edit", {"base": 2, "title": "The end", "markdown": "A new end.\n"})]
    assert list(tmp_path.glob("atelier-*")) == []
