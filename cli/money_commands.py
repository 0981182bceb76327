"""The commands for what is asked of models and what it costs: calls, budgets, estimates, usage, providers."""

import uuid
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from cli import flags
from cli.client import Json
from cli.errors import CliError
from cli.money_view import (
    budget_text,
    calls_view,
    estimate_view,
    month_text,
    provider_lines,
    usage_table,
)
from cli.shared import AsJson, JobId, connect, print_json
from cli.submission import with_uploads
from cli.terminal import say

_CALLS = 1_000
"""More are shown by --json only: nobody reads them."""


class By(StrEnum):
    """What usage is added up by."""

    DAY = "day"
    MODEL = "model"
    PIPELINE = "pipeline"
    JOB = "job"


def calls(
    job_id: JobId,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = _CALLS,
    as_json: AsJson = False,
) -> None:
    """List what was asked of models for a job, the oldest first, and what it cost."""
    console = Console()
    with connect() as api:
        full = api.resolve(job_id)
        found = list(api.calls(full, limit))
        job = api.job(full)
    if as_json:
        print_json(found)
    elif found:
        console.print(calls_view(found, console.width))
        say(console, budget_text(job), "dim")
    else:
        say(console, "No model has been asked for this job.", "dim")


def budget(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A job's id or `last`. Without it: the month's budget.")
    ] = None,
    add: Annotated[float | None, typer.Option(metavar="USD", help="Add so much to what the job may cost.")] = None,
    monthly: Annotated[
        float | None, typer.Option(metavar="USD", help="What a calendar month (UTC) may cost, from this one on.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Let the month cost whatever it takes.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again adds nothing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a job or the month may cost, or change it: what waits for it goes on."""
    _check_budget(job_id, add, monthly, none)
    console = Console()
    with connect() as api:
        if job_id is not None:
            full = api.resolve(job_id)
            # A key of its own: a request that is sent again on the way adds once.
            job = api.job(full) if add is None else api.add_budget(full, add, idempotency_key or str(uuid.uuid4()))
            if as_json:
                print_json(job["cost"])
            else:
                say(console, budget_text(job))
            return
        month = api.set_month(None if none else monthly) if none or monthly is not None else api.month()
    if as_json:
        print_json(month)
    else:
        say(console, month_text(month))


def _check_budget(job_id: str | None, add: float | None, monthly: float | None, none: bool) -> None:
    """Raises CliError for what cannot be meant."""
    if job_id is None and add is not None:
        raise CliError("Which job is it for?", "atelier budget last --add 0.50")
    if job_id is not None and (monthly is not None or none):
        raise CliError("The month's budget is not a job's.", "atelier budget --monthly 20, without an id")
    if monthly is not None and none:
        raise CliError("Either --monthly or --none.", "--none takes the month's limit away.")


def estimate(
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
    model: flags.Model = None,
    budget: flags.Budget = None,
    input: flags.Input = None,
    as_json: AsJson = False,
) -> None:
    """Say what a job would take, with the flags of submit. Nothing is stored, no model is asked."""
    given = flags.LongformFlags(
        topic, words, pages, minutes, audience, tone, language, style, source, review, threshold, max_revisions,
        no_cache, format,
    )  # fmt: skip
    body = flags.submission(pipeline, given, input, models=model, budget_usd=budget)
    # A file is not sent to be estimated: what it is called does not matter.
    body = with_uploads(body, lambda file: file.name)
    with connect() as api:
        found = api.json("POST", "/v1/estimates", json=body)
    if as_json:
        print_json(found)
    else:
        console = Console()
        console.print(estimate_view(found, console.width, budget))


def usage(
    by: Annotated[By, typer.Option(help="What is added up.")] = By.DAY,
    first: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first day, UTC. \\[default: 30 days]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The last day. \\[default: today]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many lines.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Add up what was used: calls, tokens, dollars."""
    console = Console()
    asked = {name: value for name, value in (("by", by.value), ("from", first), ("to", last)) if value}
    with connect() as api:
        found: Json = api.usage(limit, asked)
    if as_json:
        print_json(found)
    elif found["total"]["calls"]:
        console.print(usage_table(found, console.width))
    else:
        say(console, f"No model was asked from {found['from']} to {found['to']}.", "dim")


def providers(as_json: AsJson = False) -> None:
    """List who can be asked, for which models at what price, and whether they answer."""
    with connect() as api:
        found = api.json("GET", "/v1/providers")["items"]
    if as_json:
        print_json(found)
    else:
        Console().print(provider_lines(found), highlight=False)


COMMANDS = (estimate, budget, calls, usage, providers)
"""In the order of the help page."""
