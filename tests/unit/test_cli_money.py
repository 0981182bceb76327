"""The commands for costs against a small API in memory, and how money looks while a job is watched."""

import json
from inspect import signature
from typing import Any

import pytest

from cli.commands import submit
from cli.money_commands import estimate
from cli.timeline import Timeline
from cli.view import job_details, job_panel
from tests.support.fake_api import FakeApi, completed, job_id, make_job
from tests.support.fake_money import a_call
from tests.support.terminal import Terminal, drawn

ESTIMATE = {
    "model": "anthropic:claude-haiku-4-5",
    "calls": 10,
    "usd": 0.0395,
    "input_tokens": 18_982,
    "output_tokens": 4_100,
    "minutes": 0.4,
}


def budgeted(number: int, **changes: Any) -> dict[str, Any]:
    """A job with a budget, an estimate, and something held."""
    job = make_job(number, **changes)
    job["cost"] |= {"budget_usd": 0.25, "reserved_usd": 0.0488, "estimate": ESTIMATE}
    return job


# ---------------------------------------------------------------------------------------------- calls


def test_calls_are_listed_with_what_they_cost(api: FakeApi, terminal: Terminal) -> None:
    api.add(budgeted(1))
    assert terminal.run("calls", "last") == 0
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[0] == "step model outcome in cached out cost took"
    assert lines[2:] == [
        "decompose claude-haiku-4-5 failed 0 0 0 $0 4.1 s",
        "decompose claude-haiku-4-5 ok simulated 1,894 1,210 431 $0 4.1 s",
        "section s1 (2), run 2 claude-haiku-4-5 ok reused 1,894 1,210 431 $0 4.1 s",
        "section s1 claude-haiku-4-5 open 1,894 1,210 431 ≤ $0.0200",
        "section s1 claude-haiku-4-5 unknown settled 1,894 1,210 431 $0.0200 4.1 s",
        "section s1 gemini-9-nano ok 1,894 1,210 431 unknown 4.1 s",
        "decompose, attempt 2, claude-haiku-4-5: overloaded. Busy[31m now.",
        "00000001: $0.0123 of $0.2500 spent, $0.0488 held for calls that are not done, $0.1889 left",
    ]
    assert "\x1b[31m" not in terminal.out


def test_calls_over_many_pages(api: FakeApi, terminal: Terminal) -> None:
    api.add(make_job(1))
    api.calls = [a_call(number) for number in range(450)]
    assert terminal.run("calls", "last", "--json") == 0
    assert [call["id"] for call in json.loads(terminal.out)] == [call["id"] for call in api.calls]
    assert terminal.run("calls", "last", "--limit", "3", "--json") == 0
    assert len(json.loads(terminal.out)) == 3
    api.calls = []
    assert terminal.run("calls", "last") == 0
    assert terminal.out.strip() == "No model has been asked for this job."


# ---------------------------------------------------------------------------------------------- budgets


def test_a_job_gets_more_money(api: FakeApi, terminal: Terminal) -> None:
    api.add(budgeted(1))
    assert terminal.run("budget", "last") == 0
    assert "$0.0123 of $0.2500 spent" in terminal.out
    assert terminal.run("budget", "last", "--add", "0.5", "--idempotency-key", "k") == 0
    assert api.asked[-1] == ("POST", f"/v1/jobs/{job_id(1)}/budget", {"add_usd": 0.5})
    assert api.headers[-1]["idempotency-key"] == "k"
    assert "$0.0123 of $0.7500 spent" in terminal.out
    assert terminal.run("budget", "last", "--add", "0.5", "--json") == 0
    assert json.loads(terminal.out)["budget_usd"] == 1.25
    assert terminal.run("budget", "last", "--add", "0.5") == 0
    keys = [headers["idempotency-key"] for headers in api.headers if "idempotency-key" in headers]
    assert len(set(keys)) == 3


def test_the_month(api: FakeApi, terminal: Terminal) -> None:
    assert terminal.run("budget") == 0
    assert terminal.out == (
        "2026-11: $3.4187 spent, $0.0488 held for calls that are not done, no limit; "
        "the next month begins on 2026-12-01 (UTC)\n"
    )
    assert terminal.run("budget", "--monthly", "20") == 0
    assert ("PUT", "/v1/me/budget", {"monthly_usd": 20.0}) in api.asked
    assert "$3.4187 of $20.0000 spent, $0.0488 held for calls that are not done, $16.5325 left" in terminal.out
    assert terminal.run("budget", "--monthly", "1") == 0
    assert "$3.4187 of $3.4675 spent, $0.0488 held for calls that are not done" in terminal.out
    assert terminal.run("budget", "--none", "--json") == 0
    assert ("PUT", "/v1/me/budget", {"monthly_usd": None}) in api.asked
    assert json.loads(terminal.out)["monthly_usd"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["budget", "--add", "1"], "Which job is it for?"),
        (["budget", "last", "--monthly", "1"], "The month's budget is not a job's."),
        (["budget", "last", "--none"], "The month's budget is not a job's."),
        (["budget", "--monthly", "1", "--none"], "Either --monthly or --none."),
        (["budget", "last", "--add", "1"], "The job has no budget."),
        (["calls", job_id(9)], "There is no such job."),
    ],
)
def test_what_cannot_be_done_is_said(api: FakeApi, terminal: Terminal, arguments: list[str], said: str) -> None:
    api.add(make_job(1))
    assert terminal.run(*arguments) == 1
    assert said in terminal.err
    assert len(terminal.err.strip().splitlines()) <= 2


def test_a_budget_goes_with_the_submission(api: FakeApi, terminal: Terminal) -> None:
    assert terminal.run("submit", "longform", "--topic", "Tides", "--budget", "2.5") == 0
    assert api.asked[0][2] == {"pipeline": "longform", "input": {"topic": "Tides"}, "budget_usd": 2.5}


# ---------------------------------------------------------------------------------------------- estimates, usage


def test_an_estimate_takes_the_flags_of_submit(api: FakeApi, terminal: Terminal) -> None:
    flags = ["--topic", "Tides", "--words", "900", "--model", "google:gemini-2.5-flash", "--budget", "0.02"]
    assert terminal.run("estimate", "longform", *flags) == 0
    assert api.asked[0] == (
        "POST",
        "/v1/estimates",
        {
            "pipeline": "longform",
            "input": {"topic": "Tides", "target_words": 900},
            "models": ["google:gemini-2.5-flash"],
            "budget_usd": 0.02,
        },
    )
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[2] == "anthropic:claude-haiku-4-5 10 18,982 4,100 $0.0395 over budget 0:23"
    assert lines[3] == "google:gemini-2.5-flash 10 18,982 4,100 $0.0159 0:23"
    assert "1 × decompose_topic, 5 × draft_section, 2 × adjust_section" in terminal.out
    api.purse.estimates["models"][0]["usd"] = None
    assert terminal.run("estimate", "longform", "--topic", "Tides") == 0
    assert "unknown" in terminal.out
    assert terminal.run("estimate", "longform", "--topic", "Tides", "--json") == 0
    assert json.loads(terminal.out) == api.purse.estimates
    api.purse.estimates["models"] = []
    assert terminal.run("estimate", "film", "--input", "-", typed='{"premise": "Rain"}') == 0
    assert "Nobody can say" in terminal.out


def test_the_flags_of_submit_and_estimate_do_not_drift() -> None:
    submitting = {"title", "tag", "webhook", "idempotency_key", "watch"}
    assert set(signature(submit).parameters) - set(signature(estimate).parameters) == submitting
    assert set(signature(estimate).parameters) <= set(signature(submit).parameters)


def test_usage_is_a_table_with_its_total(api: FakeApi, terminal: Terminal) -> None:
    assert terminal.run("usage", "--from", "2026-11-01", "--to", "2026-11-30") == 0
    assert [path for _, path, _ in api.asked] == [
        "/v1/usage?by=day&from=2026-11-01&to=2026-11-30&limit=50",
        "/v1/usage?by=day&from=2026-11-01&to=2026-11-30&limit=48&cursor=2",
    ]
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[0] == "day calls failed in out cost"
    assert lines[2] == "2026-11-21 41 2 70,511 15,876 $0.1274 + $0.0488 held + 1 unknown"
    assert [line.split()[0] for line in lines[2:]] == ["2026-11-21", "2026-11-20", "2026-11-19", "total"]
    assert terminal.run("usage", "--limit", "2") == 0
    assert [line.split()[0] for line in terminal.out.splitlines()[2:]] == ["2026-11-21", "2026-11-20", "…", "total"]
    api.purse.usage = [one | {"key": job_id(n), "title": title} for n, (one, title) in enumerate(
        zip(api.purse.usage, ("Tide mills", None, "x"), strict=True)
    )]  # fmt: skip
    assert terminal.run("usage", "--by", "job") == 0
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[2].startswith("00000000 Tide mills 41")
    assert lines[3].startswith("00000001 deleted 41")
    assert terminal.run("usage", "--by", "job", "--json") == 0
    assert len(json.loads(terminal.out)["items"]) == 3
    api.purse.usage = []
    assert terminal.run("usage") == 0
    assert terminal.out.strip() == "No model was asked from 2026-11-21 to 2026-11-21."


def test_providers_tell_how_they_do(api: FakeApi, terminal: Terminal) -> None:
    assert terminal.run("providers") == 0
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[0].startswith("anthropic does not answer left alone until ")
    assert lines[1].startswith("last error, ")
    assert lines[1].endswith("overloaded. The provider is overloaded.")
    assert lines[2] == "anthropic:claude-haiku-4-5 $1 in, $5 out a million 200,000 tokens default"
    assert lines[3] == "ollama not configured"
    assert len(lines) == 4
    ollama = api.purse.providers["items"][1]
    ollama |= {"configured": True, "reachable": True}
    ollama["models"].append(ollama["models"][0] | {"model": "ollama:own", "usd_per_million": None})
    assert terminal.run("providers") == 0
    lines = [" ".join(line.split()) for line in terminal.out.splitlines()]
    assert lines[3:] == [
        "ollama answers",
        "ollama:llama3.2 free 131,072 tokens",
        "ollama:own price unknown 131,072 tokens",
    ]
    assert terminal.run("providers", "--json") == 0
    assert json.loads(terminal.out) == api.purse.providers["items"]


# ---------------------------------------------------------------------------------------------- watching


def test_a_job_shows_its_budget_and_what_was_expected() -> None:
    shown = drawn(job_details(budgeted(1)))
    assert "$0.0123 of $0.2500 · 1,500 tokens" in shown
    assert "held" in shown
    assert "$0.0488" in shown
    assert "about $0.0395 · 23,082 tokens · 0:24 for 10 calls to anthropic:claude-haiku-4-5" in " ".join(shown.split())
    assert "$0.0123 of $0.2500" in drawn(job_panel(budgeted(1), Timeline()))
    assert "estimate" not in drawn(job_details(make_job(1)))


WAITING = {
    "what": "budget",
    "which": "job",
    "budget_usd": 0.25,
    "spent_usd": 0.2,
    "reserved_usd": 0.01,
    "needed_usd": 0.06,
}


def test_a_job_that_waits_for_money_says_how_to_go_on() -> None:
    waiting = budgeted(1, status="waiting_for_budget", waiting_for=WAITING)
    said = " ".join(drawn(job_panel(waiting, Timeline())).replace("│", "").split())
    assert (
        "waits for more money: $0.2000 of its budget of $0.2500 is spent and $0.0100 held; "
        "the next call can cost $0.0600" in said
    )
    assert "atelier budget 00000001 --add USD let it cost more" in said
    assert "atelier budget 00000001 --add USD" in drawn(job_details(waiting))
    month = waiting | {"waiting_for": WAITING | {"which": "month", "reserved_usd": 0.0}}
    said = " ".join(drawn(job_panel(month, Timeline())).replace("│", "").split())
    assert "$0.2000 of the month's $0.2500 is spent; the next call can cost $0.0600" in said
    assert "atelier budget --monthly USD" in said
    assert "--add" not in drawn(job_panel(month | {"status": "running"}, Timeline()))


def test_money_is_told_in_lines(api: FakeApi, terminal: Terminal) -> None:
    figures = {"spent_usd": 0.2, "reserved_usd": 0.01, "budget_usd": 0.25}
    api.events = [
        {"type": "job.budget", "percent": 80, **figures},
        {"type": "job.budget", "percent": 100, "refused": True, **figures},
        {"type": "job.budget", "percent": 100, "refused": True, "which": "month", **figures},
        {"type": "job.status", "status": "waiting_for_budget"},
        {"type": "job.budget_raised", "add_usd": 0.5, "budget_usd": 0.75},
        {"type": "job.completed"},
    ]
    api.add(make_job(1))
    api.after_events = completed(make_job(1))
    assert terminal.run("watch", "last") == 0
    lines = [line.split("  ")[-1].strip() for line in terminal.out.splitlines()]
    assert lines[1:7] == [
        "80 % of its budget is spent: $0.2000 of $0.2500",
        "its budget allows no further call: $0.2000 of $0.2500 spent",
        "the month's budget allows no further call: $0.2000 of $0.2500 spent",
        "waiting for budget",
        "budget raised to $0.7500",
        "completed",
    ]


def text(attempt: str, offset: int, text: str, step: str = "section s1") -> dict[str, Any]:
    return {
        "type": "step.text",
        "step": step,
        "stage": "sections",
        "revision": 1,
        "attempt_id": attempt,
        "model": "m:m",
        "offset": offset,
        "text": text,
    }


def started(step: str) -> dict[str, Any]:
    return {"type": "step.started", "step": step, "stage": "sections"}


def test_text_that_is_being_written_is_shown_in_one_line() -> None:
    timeline = Timeline()

    def told(*events: dict[str, Any]) -> str:
        for event in events:
            assert timeline.apply(event) in (None, "sections begins", "section s1 done")
        return drawn(job_panel(make_job(1), timeline))

    assert "s1: Twice a day the sea" in told(started("section s1"), text("a", 0, "Twice a day\n\nthe sea"))
    assert "s1: Twice a day the sea filled the pond." in told(text("a", 20, " filled the pond."))
    # What comes twice is not shown twice; behind a gap it begins anew; another attempt does, too.
    assert "s1: Twice a day the sea filled the pond. So" in told(text("a", 20, " filled the pond. So"))
    assert "s1: went the wheel" in told(text("a", 400, "went the wheel"))
    assert "s1: Tides" in told(text("b", 0, "Tides"))
    long = told(text("b", 5, " rise and fall" * 40))
    (line,) = [line for line in long.splitlines() if "s1: " in line]
    assert "s1: …" in line
    assert line.rstrip(" │").endswith("rise and fall")
    assert len(line) <= 100
    # Of two sections that which moved last; what is done is not being written.
    both = told(started("section s2"), text("c", 0, "\x1b[31mOther ground", "section s2"))
    assert "s2: [31mOther ground" in both
    assert "s1: …" not in both
    timeline.apply({"type": "step.failed", "step": "section s2", "stage": "sections", "outcome": "unknown"})
    assert "Other ground" not in told()


def test_text_of_a_step_that_is_done_is_gone() -> None:
    timeline = Timeline()
    timeline.apply(started("section s1"))
    timeline.apply(text("a", 0, "Twice a day"))
    timeline.apply({"type": "step.completed", "step": "section s1", "stage": "sections"})
    assert "Twice" not in drawn(job_panel(make_job(1), timeline))
    timeline.apply(text("a", 0, "Twice a day"))
    timeline.apply({"type": "job.started", "run": 2})
    assert "Twice" not in drawn(job_panel(make_job(1), timeline))
