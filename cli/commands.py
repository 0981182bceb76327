"""The commands for jobs. They speak to the REST API, and to nothing else."""

import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import flags
from cli.client import ENDED
from cli.errors import CliError
from cli.figures import size
from cli.outputs import download_outputs
from cli.shared import AsJson, JobId, accepted, connect, follow, print_json, say_status
from cli.submission import with_uploads
from cli.terminal import INTERRUPTED, say
from cli.uploading import upload_file, upload_once
from cli.view import job_details, jobs_table

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
    pipeline: flags.Pipeline,
    topic: flags.Topic = None,
    words: flags.Words = None,
    pages: flags.Pages = None,
    minutes: flags.Minutes = None,
    audience: flags.Audience = None,
    tone: flags.Tone = None,
    language: flags.Language = None,
    style: flags.Style = None,
    source: flags.Source = None,
    review: flags.Review = False,
    threshold: flags.Threshold = None,
    max_revisions: flags.MaxRevisions = None,
    no_cache: flags.NoCache = False,
    format: flags.Formats = None,
    title: flags.Title = None,
    tag: flags.Tag = None,
    model: flags.Model = None,
    budget: flags.Budget = None,
    webhook: flags.Webhook = None,
    input: flags.Input = None,
    idempotency_key: flags.Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job: the flags are those of longform; --input takes any pipeline's."""
    given = flags.LongformFlags(
        topic, words, pages, minutes, audience, tone, language, style, source, review, threshold, max_revisions,
        no_cache, format,
    )  # fmt: skip
    body = flags.submission(
        pipeline, given, input, title=title, tags=tag, models=model, budget_usd=budget, webhook_url=webhook
    )
    with connect() as api:
        upload = upload_file if idempotency_key is None else upload_once
        body = with_uploads(body, lambda file: str(upload(api, file)["id"]))
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
    out: Annotated[Path | None, typer.Option(help="Folder. \\[default: atelier-output/TITLE]")] = None,
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
