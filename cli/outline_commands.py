"""`atelier outline`: what a person says of the plan of a document before it is written."""

import re
from typing import Annotated

import typer
from rich.console import Console

from cli.client import Api, Json
from cli.editor import edit as edit_text
from cli.errors import CliError
from cli.figures import short_id
from cli.outline_form import outline_form, read_outline
from cli.outline_view import outline_text
from cli.shared import AsJson, JobId, Round, Watch, connect, follow, print_json
from cli.submission import read_text
from cli.terminal import say
from cli.view import panel_width

outline = typer.Typer(
    name="outline",
    help="See and settle the outline that a job waits with: `submit longform --review`.",
    no_args_is_help=True,
)


@outline.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show the outline of a job, and whether it waits for your word."""
    console = Console()
    with connect() as api:
        found = _read(api, api.resolve(job_id))
    if as_json:
        print_json(found)
    else:
        console.print(outline_text(found, panel_width(console)), highlight=False)


@outline.command()
def approve(job_id: JobId, round: Round = None, watch: Watch = False) -> None:
    """Have the document written as the outline says."""
    with connect() as api:
        job = _send(api, api.resolve(job_id), "approve", _of(round))
        _done(api, job, "Approved: its sections are written now.", watch=watch)


@outline.command()
def edit(
    job_id: JobId,
    file: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The outline as YAML or JSON. \\[default: your editor]")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Do not write it yet: ask once more, about this outline.")] = False,
    watch: Watch = False,
) -> None:
    """Change the outline in your editor, or by a file; the document is then written so."""
    with connect() as api:
        full = api.resolve(job_id)
        if file is None:
            job = _edit_by_hand(api, full, ask=ask)
        else:
            name = "Standard input" if file == "-" else file
            job = _send_edit(api, full, read_outline(read_text(file), name), ask=ask)
        if job is None:
            say(Console(), "Nothing is changed, and nothing was sent. The job still waits for your word.", "dim")
        else:
            said = "the job will wait for your word once more" if ask else "its sections are written now"
            _done(api, job, f"Taken over: {said}.", watch=watch)


@outline.command()
def again(
    job_id: JobId,
    instructions: Annotated[str, typer.Argument(help="What should be otherwise.")],
    round: Round = None,
    watch: Watch = False,
) -> None:
    """Have the outline planned anew, by your instructions. The job then waits for your word on that one."""
    with connect() as api:
        job = _send(api, api.resolve(job_id), "revise", {"instructions": instructions, **_of(round)})
        _done(api, job, "It is planned anew, and will wait for your word again.", watch=watch)


def _edit_by_hand(api: Api, job_id: str, *, ask: bool) -> Json | None:
    """The job, when a changed outline was sent; None when nothing was changed. Raises CliError."""
    short = short_id(job_id)
    found = _read(api, job_id)
    if not found.get("waiting"):
        raise CliError(
            "The outline is settled: nobody is asked about it.", f"Where the job stands: atelier show {short}"
        )
    form = outline_form(found)
    draft = edit_text(form, f"outline-{short}", ".yaml")
    if not draft.text.strip():
        draft.discard()
        return None
    with draft.kept_on_error(f"atelier outline edit {short}"):
        changed = read_outline(draft.text, "What you wrote")
        return None if changed == read_outline(form, "") else _send_edit(api, job_id, changed, ask=ask)


def _send_edit(api: Api, job_id: str, changed: Json, *, ask: bool) -> Json:
    """Send an edited outline. A refusal names the section as a person knows it."""
    sections = changed.get("sections")
    titles = [str(s.get("title") or s.get("id") or "") if isinstance(s, dict) else "" for s in sections or ()]

    def named(match: re.Match[str]) -> str:
        at, field = int(match[1]), match[2]
        title = f" ({titles[at]})" if at < len(titles) and titles[at] else ""
        return f"section {at + 1}{title}{f', {field[1:]}' if field else ''}"

    try:
        return _send(api, job_id, "edit", changed | ({"approve": False} if ask else {}))
    except CliError as error:
        said = re.sub(r"\bsections\.(\d+)((?:\.\w+)*)", named, error.message)
        raise CliError(said, error.hint, kind=error.kind) from None


def _read(api: Api, job_id: str) -> Json:
    return api.json("GET", f"/v1/jobs/{job_id}/outline")


def _send(api: Api, job_id: str, act: str, body: Json) -> Json:
    return api.json("POST", f"/v1/jobs/{job_id}/outline/{act}", json=body)


def _of(round: int | None) -> Json:
    return {} if round is None else {"round": round}


def _done(api: Api, job: Json, said: str, *, watch: bool) -> None:
    console = Console()
    say(console, said)
    if watch:
        follow(console, api, job)
    else:
        say(console, f"Follow it: atelier watch {short_id(str(job['id']))}", "dim")
