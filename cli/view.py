"""How jobs look in a terminal: the live panel, the table, the details, and the lines for where there is no terminal."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.client import ENDED, Json
from cli.figures import ago, dollars, duration, plain, score_text, short_id, size, when
from cli.terminal import visible
from cli.timeline import Stage, Timeline
from cli.waiting import go_on_lines, waiting_text

_STYLES = {
    "pending": "dim",
    "running": "cyan",
    "waiting_for_input": "yellow",
    "waiting_for_budget": "yellow",
    "paused": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
_WIDTH = 100  # columns of a panel at most: a bar across a wide screen tells no more
_PADDING = 2
_SHOWN_STEPS = 4
_LEAST_ROOM = 16  # columns for the text of a table
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def elapsed(job: Json) -> float:
    """Seconds since the job began, or that it took."""
    started = when(job.get("started_at")) or when(job.get("created_at"))
    ended = when(job.get("finished_at")) or datetime.now(UTC)
    return (ended - started).total_seconds() if started else 0.0


def status_text(job: Json) -> Text:
    """The status in its colour, with what a person has asked for meanwhile."""
    status = str(job.get("status", ""))
    text = Text(status.replace("_", " "), style=_STYLES.get(status, ""))
    if status not in ENDED and job.get("cancel_requested"):
        text.append(" · cancelling", "magenta")
    elif status == "running" and job.get("paused"):
        text.append(" · pausing", "yellow")
    elif status == "paused" and not job.get("paused", True):
        text.append(" · resuming", "cyan")
    return text


def cost_text(job: Json) -> str:
    """Dollars, of how many, and tokens."""
    cost = job.get("cost") or {}
    usd = dollars(float(cost.get("usd") or 0))
    if cost.get("budget_usd") is not None:
        usd += f" of {dollars(float(cost['budget_usd']))}"
    tokens = int(cost.get("input_tokens") or 0) + int(cost.get("output_tokens") or 0)
    return f"{usd} · {tokens:,} tokens" if tokens else usd


def estimate_text(estimate: Json) -> str:
    """`about $0.0395 · 23,082 tokens · 0:24 of 10 calls to anthropic:claude-haiku-4-5`."""
    known = estimate.get("usd")
    usd = "price unknown" if known is None else f"about {dollars(float(known))}" if known else "free"
    tokens = int(estimate.get("input_tokens") or 0) + int(estimate.get("output_tokens") or 0)
    took = duration(60 * float(estimate.get("minutes") or 0))
    return f"{usd} · {tokens:,} tokens · {took} for {estimate.get('calls')} calls to {estimate.get('model')}"


def is_simulated(job: Json) -> bool:
    """Whether any of it was made by the simulator, or all of it will be."""
    models = job.get("models") or ["?"]
    return bool(
        job.get("simulated")
        or (job.get("result") or {}).get("simulated")
        or all(str(model).startswith("simulator:") for model in models)
    )


def job_panel(job: Json, timeline: Timeline, frame: int = 0, note: str = "", width: int = _WIDTH) -> Panel:
    """The live view of one job. `frame` counts the redraws and turns the spinner; `width` is in columns."""
    progress = job.get("progress") or {}
    head = status_text(job)
    head.append(f"  {job.get('pipeline', '')} {short_id(str(job.get('id', '')))}", "dim")
    lines: list[RenderableType] = [head, Text()]
    current = str(progress.get("stage") or "")
    ended = job.get("status") in ENDED
    for stage in timeline.stages.values():
        lines.append(_stage_line(stage, current=stage.name == current, ended=ended, frame=frame))
        if not ended:
            lines += _writing_lines(stage, timeline, width - 2 * _PADDING - 2)
    if not timeline.stages:
        lines.append(Text("waiting for a worker", "dim") if not ended else Text("no step was taken", "dim"))
    lines += [Text(), _bar(job, progress)]
    foot = Text(cost_text(job), "dim")
    if is_simulated(job):
        foot.append("  ·  simulated: no model was asked", "yellow")
    lines.append(foot)
    if job.get("waiting_for") and not ended:
        lines.append(Text(f"waits for {waiting_text(job)}", "yellow"))
        if job.get("status") == "waiting_for_budget" and (acts := go_on_lines(job)):
            lines.append(acts)
    if error := job.get("error"):
        lines += [Text(), error_text(error)]
    if note:
        lines.append(Text(note, "yellow"))
    title = Text(
        f" {visible(job.get('title') or job.get('pipeline') or 'job')} ", "bold", no_wrap=True, overflow="ellipsis"
    )
    style = _STYLES.get(str(job.get("status")), "") if ended else "dim"
    return Panel(
        Group(*lines),
        title=title,
        title_align="left",
        width=None,
        border_style=style,
        padding=(0, _PADDING),
        box=box.ROUNDED,
    )


def _stage_line(stage: Stage, *, current: bool, ended: bool, frame: int) -> Text:
    running = [] if ended else stage.running
    if running:
        line = Text(f"{SPINNER[frame % len(SPINNER)]} ", "cyan")
    elif stage.running:  # the job ended without it
        line = Text("✗ ", "red")
    else:
        line = Text("✓ ", "green")
    line.append(f"{stage.name:<12}", "bold" if current and not ended else "")
    if list(stage.steps) != [stage.name]:
        line.append(f" {len(stage.done)} of {len(stage.steps)}")
        names = [_short_name(stage, name) for name in running]
        if names:
            more = f" and {len(names) - _SHOWN_STEPS} more" if len(names) > _SHOWN_STEPS else ""
            line.append(f"  {', '.join(names[:_SHOWN_STEPS])}{more}", "dim")
    for step, why in () if ended else list(stage.troubled.items())[:1]:
        line.append(f"  {step}: {why}, again soon", "yellow")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _writing_lines(stage: Stage, timeline: Timeline, width: int) -> list[Text]:
    """The end of the text that was written last in this stage, in one line: what moves stays in sight."""
    found = [(step, writing) for step, writing in timeline.writing.items() if writing.stage == stage.name]
    if not found:
        return []
    step, writing = found[-1]
    head = f"    {_short_name(stage, step)}: "
    words = " ".join(visible(writing.tail).split())
    room = max(_LEAST_ROOM, width - len(head))
    line = Text(head, "dim", no_wrap=True, overflow="ellipsis")
    return [line.append(words if len(words) <= room else f"…{words[1 - room :]}", "italic")]


def _short_name(stage: Stage, step: str) -> str:
    """`s3` for `section s3` of the stage `sections`, `s3 again` when it is revised."""
    name = step.removeprefix(f"{stage.name} ").removeprefix(f"{stage.name.rstrip('s')} ")
    return f"{name} again" if stage.revisions.get(step, 1) > 1 else name


def _bar(job: Json, progress: Mapping[str, Any]) -> RenderableType:
    done, total = len(progress.get("completed_steps") or ()), int(progress.get("total_steps") or 0)
    percentage = float(progress.get("percentage") or 0)
    words = f"{percentage:3.0f} %  {done}/{total} steps  {duration(elapsed(job))}"
    eta = progress.get("eta_seconds")
    if eta is not None and job.get("status") == "running" and percentage < 100:
        words += f"  about {duration(float(eta))} left"
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    style = _STYLES.get(str(job.get("status")), "cyan")
    grid.add_row(ProgressBar(100, percentage, complete_style=style, finished_style=style), Text(words))
    return grid


def error_text(error: Mapping[str, Any]) -> Text:
    """Why a job failed, and where."""
    text = Text(str(error.get("message") or error.get("code")), "red")
    where = f"at {error['step']}" if error.get("step") else ""
    tries = f"after {error['attempts']} attempts" if error.get("attempts") else ""
    facts = ", ".join(part for part in (str(error.get("code") or ""), where, tries) if part)
    return text.append(f"  ({facts})", "dim") if facts else text


def plain_line(job: Json, event: Json, timeline: Timeline, said: str) -> str:
    """One line of a log: time since the job was accepted, how far it was then, what happened."""
    at, began = when(event.get("at")), when(job.get("created_at"))
    passed = duration((at - began).total_seconds() if at and began else elapsed(job))
    steps = f"{timeline.steps_done}/{timeline.total_steps}" if timeline.total_steps else ""
    return f"{passed:>7}  {steps:>5}  {said}"


def jobs_table(jobs: Iterable[Json], width: int) -> Table:
    """The list of jobs, in at most `width` columns: the title gives way, the rest is shown whole."""
    rows = [_job_row(job) for job in jobs]
    names = ("id", "status", "pipeline", "title", "done", "cost", "created")
    return fitted_table(names, rows, width, gives_way="title", right={"done", "cost"}, spare=("pipeline", "created"))


def fitted_table(
    names: Sequence[str],
    rows: Sequence[Sequence[Text]],
    width: int,
    *,
    gives_way: str,
    right: Collection[str],
    spare: Sequence[str] = (),
) -> Table:
    """A table in at most `width` columns: one column gives way, and where that leaves it too little, the `spare` ones
    are left out, the first first. The rest is shown whole. `right` ones are numbers."""
    widths = {name: max([len(name), *(row[i].cell_len for row in rows)]) + 3 for i, name in enumerate(names)}
    shown = list(names)
    left_over = list(spare)

    def room() -> int:
        return width - sum(widths[name] for name in shown if name != gives_way) - 2

    while room() < min(_LEAST_ROOM, widths[gives_way]) and left_over:
        shown.remove(left_over.pop(0))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in shown:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        most = max(12, room()) if name == gives_way else None
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", max_width=most)
    for row in rows:
        table.add_row(*(cell for name, cell in zip(names, row, strict=True) if name in shown))
    return table


def _job_row(job: Json) -> list[Text]:
    usd = float((job.get("cost") or {}).get("usd") or 0)
    percentage = float((job.get("progress") or {}).get("percentage") or 0)
    return [
        Text(short_id(str(job["id"]))),
        status_text(job),
        Text(str(job.get("pipeline", ""))),
        Text(visible(job.get("title") or "")),
        Text(f"{percentage:.0f} %"),
        Text("simulated", "yellow") if is_simulated(job) and not usd else Text(dollars(usd)),
        Text(ago(job.get("created_at")), "dim"),
    ]


def job_details(job: Json) -> RenderableType:
    """All that a person wants to know of one job."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        if value not in (None, "", [], {}):
            table.add_row(name, value if isinstance(value, Text) else Text(visible(value)))

    progress = job.get("progress") or {}
    done = progress.get("completed_steps") or []
    row("id", job["id"])
    row("status", status_text(job))
    row("pipeline", job.get("pipeline"))
    row("tags", ", ".join(job.get("tags") or ()))
    row("models", ", ".join(job.get("models") or ()))
    row("parent job", job.get("parent_job"))
    row("waits for", waiting_text(job) if job.get("waiting_for") else None)
    row("go on", go_on_lines(job))
    row(
        "progress",
        f"{float(progress.get('percentage') or 0):.0f} %, {len(done)} of {progress.get('total_steps')} steps",
    )
    row("now", " · ".join(p for p in (progress.get("stage"), progress.get("current_step")) if p))
    row("done", ", ".join(done))
    row("cost", cost_text(job) + (" (simulated)" if is_simulated(job) else ""))
    cost = job.get("cost") or {}
    row("held", dollars(float(cost["reserved_usd"])) if cost.get("reserved_usd") else None)
    row("estimate", estimate_text(cost["estimate"]) if cost.get("estimate") else None)
    row("took" if job.get("finished_at") else "runs for", duration(elapsed(job)) if job.get("started_at") else None)
    row("run", job.get("run") if int(job.get("run") or 1) > 1 else None)
    row("workflow", job.get("workflow_id"))
    row("created", job.get("created_at"))
    row("finished", job.get("finished_at"))
    result = job.get("result") or {}
    summary = dict(result.get("summary") or {})
    for source in summary.pop("sources", None) or ():
        row("source", _source_text(source))
    for source in summary.pop("left_out", None) or ():
        row("left out", Text(visible(f"{source['id']} {source['title']}: {source['reason']}"), "yellow"))
    if summary.get("document_id"):
        row("document", _document_text(job, summary))
        summary = {name: value for name, value in summary.items() if name not in _DOCUMENT_FIELDS}
    row("result", plain(summary))
    for output in result.get("outputs") or ():
        row("output", f"{output['name']}  {size(output['size'])}")
    if job.get("error"):
        row("error", error_text(job["error"]))
    title = Text(visible(job.get("title") or job.get("pipeline") or "job"), "bold")
    return Group(title, Text(), table)


_DOCUMENT_FIELDS = frozenset({"document_id", "version", "title", "words", "score", "cached"})


def _document_text(job: Json, summary: Mapping[str, Any]) -> str:
    """The document that a job made or found: `00000001 version 2, 1,187 words, score 0.81`."""
    facts = [f"{short_id(str(summary['document_id']))} version {summary.get('version') or 1}"]
    facts += [f"{int(summary['words']):,} words"] if summary.get("words") else []
    facts += [score_text(summary["score"])] if summary.get("score") is not None else []
    facts += ["of the same request before"] if summary.get("cached") else []
    title = str(summary.get("title") or "")
    return ", ".join(facts) + (f"\n{title}" if title and title != job.get("title") else "")


def _source_text(source: Mapping[str, Any]) -> str:
    """What was read of a source: `r1 The survey, 2,502 characters, 2 pages`."""
    facts = [f"{source['id']} {source['title']}", f"{int(source['characters']):,} characters"]
    facts += [f"cut from {int(source['cut_from']):,}"] if source.get("cut_from") else []
    facts += [f"{int(source['pages']):,} page{'' if source['pages'] == 1 else 's'}"] if source.get("pages") else []
    facts += [f"from {source['url']}"] if source.get("url") else []
    return ", ".join(facts)


def panel_width(console: Console) -> int:
    """Columns for a panel on this console."""
    return min(console.width, _WIDTH)
