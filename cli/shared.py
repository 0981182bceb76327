"""What the commands have in common: the connection, their usual arguments, following a job, printing."""

import json
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.client import Api, Json
from cli.errors import CliError
from cli.figures import dollars, short_id
from cli.home import find_access, load_settings
from cli.submission import job_failure
from cli.terminal import INTERRUPTED, say
from cli.view import status_text
from cli.watching import watch_job

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, four characters of its end or more, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow the job until it has ended.")]
Round = Annotated[
    int | None, typer.Option(min=1, help="The outline meant; another one refuses. \\[default: the newest]")
]


def connect() -> Api:
    """The API of the environment or of the data folder."""
    return Api(find_access(load_settings()))


def print_json(value: object) -> None:
    """JSON as it is, without colours or line breaks of a terminal's width."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_list(
    console: Console, found: list[Json], table: Callable[[list[Json], int], Table], nothing: str, *, as_json: bool
) -> None:
    """What a command found, as a table or as JSON; `nothing` is said when it found none."""
    if as_json:
        print_json(found)
    elif found:
        console.print(table(found, console.width))
    else:
        say(console, nothing, "dim")


def say_status(job: Json) -> None:
    """One line: where the job stands."""
    Console().print(f"{short_id(str(job['id']))}  ", status_text(job), sep="", highlight=False)


def accepted(api: Api, job: Json, *, watch: bool, as_json: bool = False) -> None:
    """A new job: follow it, or print its id and say how to follow it."""
    console = Console()
    if watch:
        follow(console, api, job, as_json=as_json)
    elif as_json:
        print_json(job)
    else:
        say(console, str(job["id"]))
        say(Console(stderr=True), f"Follow it: atelier watch {short_id(str(job['id']))}", "dim")


def follow(console: Console, api: Api, job: Json, *, as_json: bool = False) -> None:
    """Watch to the end, and say what can be done with the result; a job that did not complete is an error."""
    shown = Console(stderr=True) if as_json else console
    short = short_id(str(job["id"]))
    try:
        job = watch_job(shown, api.access, job)
    except KeyboardInterrupt:
        raise CliError("No longer watched.", f"The job goes on: atelier watch {short}", code=INTERRUPTED) from None
    if as_json:
        print_json(job)
    if job["status"] != "completed":
        raise job_failure(job)
    if not as_json:
        for line in _next_steps(job):
            say(console, line, "dim")


def _next_steps(job: Json) -> list[str]:
    """What a person may want to do with a completed job."""
    result = job.get("result") or {}
    summary = result.get("summary") or {}
    lines: list[str] = []
    if job.get("pipeline") == "scoping":
        short = short_id(str(job["id"]))
        return [f"Download its charter: atelier sessions charter {short}"]
    if summary.get("cached"):
        usd = float((job.get("cost") or {}).get("usd") or 0)
        lines.append(
            f"The same request was answered before: this is its document, for {dollars(usd)}. "
            "--no-cache has it written anew."
        )
    if document := str(summary.get("document_id") or ""):
        number, short = int(summary.get("version") or 1), short_id(document)
        lines.append(f"Read it: atelier read {short}")
        if number > 1 and not summary.get("cached"):
            lines.append(f"What changed: atelier diff {short}")
    if result.get("outputs"):
        lines.append(f"Download its files: atelier download {short_id(str(job['id']))}")
    return lines
