"""The commands that speak to the REST API, and to nothing else."""

import json
import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.client import ENDED, Api, Json
from cli.errors import CliError
from cli.home import find_access, load_settings
from cli.outputs import download_outputs
from cli.submission import build_input, job_failure, read_input
from cli.terminal import INTERRUPTED, say
from cli.view import job_details, jobs_table, short_id, size, status_text
from cli.watching import watch_job

_POLL = 0.3  # seconds

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, four characters of its end or more, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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


def connect() -> Api:
    """The API of the environment or of the data folder."""
    return Api(find_access(load_settings()))


def submit(
    pipeline: Annotated[str, typer.Argument(help="longform, ...")],
    topic: Annotated[str | None, typer.Option(help="The topic in a line, or a brief of some paragraphs.")] = None,
    words: Annotated[int | None, typer.Option(help="Length in words.")] = None,
    pages: Annotated[float | None, typer.Option(help="Length in pages of 500 words.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes when read aloud.")] = None,
    audience: Annotated[str | None, typer.Option(help="Who will read it.")] = None,
    tone: Annotated[str | None, typer.Option(help="How it sounds.")] = None,
    language: Annotated[str | None, typer.Option(help="A language tag: en, de, pt-BR.")] = None,
    format: Annotated[str | None, typer.Option(help="Files, separated by commas: md,pdf.")] = None,
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
        "formats": format,
    }
    body: Json = {"pipeline": pipeline, "input": build_input(pipeline, read_input(input), flags)}
    body |= {name: value for name, value in (("title", title), ("tags", tag), ("models", model)) if value}
    console = Console()
    with connect() as api:
        job = api.submit(body, idempotency_key)
        if watch:
            _follow(console, api, job, as_json=as_json)
        elif as_json:
            _print_json(job)
        else:
            say(console, str(job["id"]))
            say(Console(stderr=True), f"Follow it: atelier watch {short_id(str(job['id']))}", "dim")


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
        _print_json(found)
    elif found:
        console.print(jobs_table(found, console.width))
    else:
        say(console, "No job fits." if status or pipeline or tag else "No jobs yet: atelier submit --help", "dim")


def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job: where it stands, what it cost, what it made, why it failed."""
    with connect() as api:
        job = api.job(api.resolve(job_id))
    if as_json:
        _print_json(job)
    else:
        Console().print(job_details(job))


def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has ended. The exit code tells whether it completed."""
    with connect() as api:
        _follow(Console(), api, api.job(api.resolve(job_id)), as_json=as_json)


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
            _follow(Console(), api, job)
        else:
            _say_status(job)


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


def _follow(console: Console, api: Api, job: Json, *, as_json: bool = False) -> None:
    """Watch to the end; a job that did not complete is an error."""
    shown = Console(stderr=True) if as_json else console
    short = short_id(str(job["id"]))
    try:
        job = watch_job(shown, api.access, job)
    except KeyboardInterrupt:
        raise CliError("No longer watched.", f"The job goes on: atelier watch {short}", code=INTERRUPTED) from None
    if as_json:
        _print_json(job)
    if job["status"] != "completed":
        raise job_failure(job)
    if not as_json and (job.get("result") or {}).get("outputs"):
        say(console, f"Download its files: atelier download {short}", "dim")


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
    _say_status(job)


def _say_status(job: Json) -> None:
    Console().print(f"{short_id(str(job['id']))}  ", status_text(job), sep="", highlight=False)


def _print_json(value: object) -> None:
    """JSON as it is, without colours or line breaks of a terminal's width."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
