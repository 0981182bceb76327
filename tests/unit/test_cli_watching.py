"""Following a job: its events, its panel, and what is said at the end."""

import json
from typing import Any

from cli.figures import duration, size
from cli.timeline import Timeline
from cli.view import job_details, job_panel
from tests.support.fake_api import EVENTS, FakeApi, completed, failed, job_id, make_job
from tests.support.fake_documents import make_outline, waiting
from tests.support.terminal import Terminal, drawn


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


# ---------------------------------------------------------------------------------------------- outlines


def test_watch_shows_the_outline_and_goes_on(api: FakeApi, terminal: Terminal) -> None:
    outline = make_outline(job_id(1))
    api.outlines[job_id(1)] = outline
    api.add(waiting(make_job(1), outline))
    api.after_events = completed(make_job(1))
    api.streaming.clear()
    api.cut_after = 2  # so the job is read some times while it waits
    assert terminal.run("watch", "last") == 0
    assert api.asked.count(("GET", f"/v1/jobs/{job_id(1)}", None)) > 2
    lines = [line.strip() for line in terminal.out.splitlines()]
    assert lines.count("Outline, round 1: 3 sections, 900 words  ·  simulated") == 1
    assert any(line.startswith("atelier outline approve 00000001") for line in lines)
    assert any(line.endswith("completed") for line in lines)
    assert api.asked.count(("GET", f"/v1/jobs/{job_id(1)}/outline", None)) == 1


def test_the_panel_says_what_is_waited_for() -> None:
    job = waiting(make_job(1), make_outline(job_id(1), round=2))
    panel = drawn(job_panel(job, Timeline()))
    assert "waits for your word on its outline (round 2, 3 sections, 900 words) until 2026-12-2" in panel
    assert "waits for" not in drawn(job_panel(job | {"status": "completed"}, Timeline()))
    other = make_job(1, status="waiting_for_input", waiting_for={"what": "answer", "question_id": 3})
    assert "waits for what: answer, question id: 3" in drawn(job_panel(other, Timeline()))


# ---------------------------------------------------------------------------------------------- revisions


def step(kind: str, revision: int, stage: str = "sections", **more: Any) -> dict[str, Any]:
    return {"type": f"step.{kind}", "step": "section s1", "stage": stage, "revision": revision, **more}


def test_a_step_that_is_taken_again_is_told_so() -> None:
    timeline = Timeline()
    said = [
        timeline.apply({"seq": seq, **event})
        for seq, event in enumerate(
            [
                step("started", 1),
                step("completed", 1),
                step("started", 2),
                step("failed", 2, error={"code": "overloaded", "message": "Busy."}),
            ],
            start=1,
        )
    ]
    assert said == ["sections begins", "section s1 done", None, "section s1 failed (overloaded): Busy."]
    panel = drawn(job_panel(make_job(1), timeline))
    assert "⠋ sections     0 of 1  s1 again  section s1: overloaded, again soon" in panel
    assert timeline.apply(step("completed", 1)) is None, "what is overtaken changes nothing"
    assert timeline.apply(step("completed", 2)) == "section s1 done again"
    assert "✓ sections     1 of 1" in drawn(job_panel(make_job(1), timeline))
    assert timeline.apply(step("started", 3, "revise")) == "revise begins"
    assert timeline.apply(step("completed", 3, "revise")) == "section s1 done again"


def test_the_end_says_what_can_be_done_with_a_document(api: FakeApi, terminal: Terminal) -> None:
    found = completed(make_job(1))
    found["result"]["summary"] |= {"document_id": job_id(7), "version": 2, "score": 0.81, "cached": True}
    api.add(found)
    assert terminal.run("watch", "last") == 0
    assert terminal.out.splitlines()[-3:] == [
        "The same request was answered before: this is its document, for $0.0123. --no-cache has it written anew.",
        "Read it: atelier read 00000007",
        "Download its files: atelier download 00000001",
    ]
    assert terminal.run("show", "last") == 0
    assert "00000007 version 2, 1,200 words, score 0.81, of the same request before" in terminal.out


def test_a_job_shows_what_it_read_and_what_it_left_out() -> None:
    summary = {
        "sources": [
            {"id": "r1", "title": "The survey", "characters": 2_502, "pages": 1},
            {
                "id": "r2",
                "title": "A long page",
                "characters": 400_000,
                "cut_from": 512_000,
                "url": "https://a.example/",
            },
        ],
        "left_out": [{"id": "r3", "title": "scan\x1b.pdf", "code": "file_refused", "reason": "The PDF has no text."}],
    }
    shown = drawn(job_details(make_job(1, result={"outputs": [], "summary": summary})))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "source r1 The survey, 2,502 characters, 1 page" in lines
    assert "source r2 A long page, 400,000 characters, cut from 512,000, from https://a.example/" in " ".join(lines)
    assert any(line.startswith("left out r3 scan") and "The PDF has no text." in line for line in lines)
    assert "\x1b.pdf" not in shown
    assert "result" not in shown


def test_a_reminder_says_until_when() -> None:
    told = Timeline().apply({"seq": 1, "type": "job.reminder", "data": {"expires_at": "2026-12-21T10:00:00+00:00"}})
    assert told is not None
    assert told.startswith("still waits for you until 2026-12-2")
