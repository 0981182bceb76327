"""The commands for jobs. They speak to the REST API, and to nothing else."""

import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.client import ENDED, Json
from cli.errors import CliError
from cli.outputs import download_outputs
from cli.shared import AsJson, JobId, accepted, connect, follow, print_json, say_status
from cli.submission import build_input, read_input, read_source, read_style
from cli.terminal import INTERRUPTED, say
from cli.view import job_details, jobs_table, size

_POLL = 0.3  # seconds

Wait = Annotated[bool, typer.Option("--wait", help="Return when it has taken effect.")]


class Status(StrEnum):
    """Where a job can stand: core.contracts.jobs.JobStatus, which would bring Temporal's library with it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING_FOR_INPUT = "waiting_for_input"
    WAITING_FOR_BUDGET = "waiting_for_budget"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def submit(
    pipeline: Annotated[str, typer.Argument(help="longform, ...")],
    topic: Annotated[str | None, typer.Option(help="The topic in a line, or a brief of some paragraphs.")] = None,
    words: Annotated[int | None, typer.Option(help="Length in words.")] = None,
    pages: Annotated[float | None, typer.Option(help="Length in pages of 500 words.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes when read aloud.")] = None,
    audience: Annotated[str | None, typer.Option(help="Who will read it.")] = None,
    tone: Annotated[str | None, typer.Option(help="How it sounds.")] = None,
    language: Annotated[str | None, typer.Option(help="A language tag: en, de, pt-BR.")] = None,
    style: Annotated[str | None, typer.Option(metavar="FILE|TEXT", help="A style guide.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PRIORITY:]FILE",
            help="Text or Markdown to write from and to cite; may be given again. high: or low: before it says how "
            "much it matters.",
        ),
    ] = None,
    review: Annotated[bool, typer.Option("--review", help="Wait for your word on the outline.")] = False,
    threshold: Annotated[float | None, typer.Option(help="Revise what scores less, of 0 to 1.")] = None,
    max_revisions: Annotated[int | None, typer.Option(help="Rounds of revision at most.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Write it anew, even if it was asked before.")] = False,
    format: Annotated[str | None, typer.Option(help="Files, separated by commas: md,html,pdf,docx.")] = None,
    title: Annotated[str | None, typer.Option(help="A name for the list of jobs.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to find it by; may be given again.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="provider:model; more are tried in this order.")] = None,
    input: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The pipeline's input as JSON; the flags go over it.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key and job again is one job.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job: the flags are those of longform; --input takes any pipeline's."""
    flags: Json = {
        "topic": topic,
        "target_words": words,
        "target_pages": pages,
        "target_duration": minutes,
        "audience": audience,
        "tone": tone,
        "language": language,
        "style_guide": None if style is None else read_style(style),
        "sources": [read_source(one) for one in source] if source else None,
        "review_outline": review or None,
        "quality_threshold": threshold,
        "max_revisions": max_revisions,
        "cache": "bypass" if no_cache else None,
        "formats": format,
    }
    body: Json = {"pipeline": pipeline, "input": build_input(pipeline, read_input(input), flags)}
    body |= {name: value for name, value in (("title", title), ("tags", tag), ("models", model)) if value}
    with connect() as api:
        accepted(api, api.submit(body, idempotency_key), watch=watch, as_json=as_json)


def jobs(
    status: Annotated[Status | None, typer.Option(help="Only jobs that stand so.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only jobs of one pipeline.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only jobs with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    console = Console()
    with connect() as api:
        found = list(api.jobs(limit, status=status.value if status else None, pipeline=pipeline, tag=tag))
    if as_json:
        print_json(found)
    elif found:
        console.print(jobs_table(found, console.width))
    else:
        say(console, "No job fits." if status or pipeline or tag else "No jobs yet: atelier submit --help", "dim")


def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job: where it stands, what it cost, what it made, why it failed."""
    with connect() as api:
        job = api.job(api.resolve(job_id))
    if as_json:
        print_json(job)
    else:
        Console().print(job_details(job))


def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has ended. The exit code tells whether it completed."""
    with connect() as api:
        follow(Console(), api, api.job(api.resolve(job_id)), as_json=as_json)


def cancel(job_id: JobId, wait: Wait = False) -> None:
    """Cancel a job, also in the middle of a model's answer."""
    _act(job_id, "cancel", wait, ENDED)


def pause(job_id: JobId, wait: Wait = False) -> None:
    """Let a job stand still: what is under way finishes, nothing new begins."""
    _act(job_id, "pause", wait, ENDED | {"paused"})


def resume(job_id: JobId, wait: Wait = False) -> None:
    """Let a paused job go on."""
    _act(job_id, "resume", wait, frozenset(Status) - {"paused"})


def retry(
    job_id: JobId, wait: Annotated[bool, typer.Option("--wait", help="Follow it until it has ended.")] = False
) -> None:
    """Go on with a failed job from the step that failed; what is done is not paid for again."""
    with connect() as api:
        job = api.act(api.resolve(job_id), "retry")
        if wait:
            follow(Console(), api, job)
        else:
            say_status(job)


def download(
    job_id: JobId,
    out: Annotated[Path | None, typer.Option(help="Folder. [default: atelier-output/TITLE]")] = None,
) -> None:
    """Download the files that a job made."""
    console = Console()
    with connect() as api:
        for file in download_outputs(api, api.job(api.resolve(job_id)), out):
            say(console, f"{file}  {size(file.stat().st_size)}")


COMMANDS = (submit, jobs, show, watch, cancel, pause, resume, retry, download)
"""In the order of the help page."""


def _act(given: str, act: str, wait: bool, until: Iterable[str]) -> None:
    """cancel, pause or resume, and wait until the job stands as `until` says."""
    with connect() as api:
        job = api.act(api.resolve(given), act)
        try:
            while wait and job["status"] not in until:
                time.sleep(_POLL)
                job = api.job(str(job["id"]))
        except KeyboardInterrupt:
            raise CliError("No longer waiting; what you asked for stands.", code=INTERRUPTED) from None
    say_status(job)
