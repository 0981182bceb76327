"""`atelier scope` and `atelier sessions`: scoping sessions in the terminal. They speak to the REST API only."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli import flags
from cli.client import Api, Json
from cli.commands import Status
from cli.errors import CliError
from cli.figures import short_id, size
from cli.outputs import download_outputs
from cli.scope_diff import charter_diff_text
from cli.scope_talk import Ask, LeftError, Talk
from cli.scope_view import (
    ending,
    session_text,
    sessions_table,
    stages_text,
    transcript_markdown,
    versions_table,
    view_text,
)
from cli.session_api import Sessions
from cli.shared import AsJson, connect, print_json
from cli.terminal import INTERRUPTED, say, visible
from cli.view import panel_width
from cli.waiting import waiting_text

STAGES = 5
# core.contracts.scoping has this figure too, and would bring Temporal's library with it.
SessionId = Annotated[
    str, typer.Argument(metavar="SESSION", help="A session's id, four characters of its end or more, or `last`.")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the charter. \\[default: atelier-output/NAME]")]
Version = Annotated[int | None, typer.Option(min=1, help="Which. \\[default: the newest]")]


def scope(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|SESSION]", help="The project's name; with --continue a session, by its id."),
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with a session. \\[default: the newest that is not done]")
    ] = False,
    description: Annotated[str | None, typer.Option(help="What the project is about, in a few sentences.")] = None,
    language: flags.Language = None,
    model: flags.Model = None,
    budget: flags.Budget = None,
    webhook: flags.Webhook = None,
    tag: flags.Tag = None,
    out: Out = None,
) -> None:
    """Scope an AI project: five stages of questions, one at a time, end in a charter. Leave and come back freely."""
    console = Console()
    ask = _asker()
    try:
        with connect() as api:
            sessions = Sessions(api, lambda text: say(console, text, "yellow"))
            if go_on:
                session = _found(console, sessions, what)
            else:
                body = _new(ask, what, description)
                given = {
                    "language": language,
                    "models": model,
                    "budget_usd": budget,
                    "webhook_url": webhook,
                    "tags": tag,
                }
                session = sessions.create(body | {name: value for name, value in given.items() if value})
                say(
                    console,
                    f"Session {short_id(str(session['id']))}. Leave with :quit and come back whenever you like.",
                )
            show_end(console, api, Talk(console, sessions, ask).run(session), out)
    except LeftError as gone:
        say(console, gone.message)
        say(console, gone.hint, "dim")
    except KeyboardInterrupt:
        kept = "What you wrote and did not send is kept on this machine: atelier scope --continue"
        raise CliError("Left.", kept, code=INTERRUPTED) from None


sessions = typer.Typer(
    name="sessions",
    help="List scoping sessions; show, rename, delete or reopen one; read its charter.",
    invoke_without_command=True,
)


@sessions.callback()
def list_sessions(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only sessions that stand so.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List scoping sessions, newest first; show, rename, delete or reopen one; read its charter."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    with connect() as api:
        found = list(api.sessions(limit, status.value if status else None))
    if as_json:
        print_json(found)
    elif found:
        console.print(sessions_table(found, console.width))
    else:
        say(console, "No session fits." if status else "No sessions yet: atelier scope", "dim")


@sessions.command()
def show(session: SessionId, as_json: AsJson = False) -> None:
    """Show one session: its stages, whose turn it is, its charter."""
    console = Console()
    with connect() as api:
        found = Sessions(api).get(api.resolve_session(session))
    if as_json:
        print_json(found)
    else:
        console.print(session_text(found, panel_width(console)), highlight=False)


@sessions.command()
def rename(session: SessionId, name: Annotated[str, typer.Argument(help="The project's new name.")]) -> None:
    """Give a session's project another name; a charter that is written after it has it, too."""
    with connect() as api:
        found = api.json("PATCH", f"/v1/sessions/{api.resolve_session(session)}", json={"name": name})
    say(Console(), f"{short_id(str(found['id']))}  {found['name']}")


@sessions.command()
def rm(session: SessionId, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a session: what was said in it, its charter, its history."""
    with connect() as api:
        found = Sessions(api).get(api.resolve_session(session))
        short = short_id(str(found["id"]))
        if not yes and not typer.confirm(f"Delete “{found['name']}” ({short}) with all that was said in it?"):
            raise CliError("Nothing is deleted.")
        api.request("DELETE", f"/v1/sessions/{found['id']}")
    say(Console(stderr=True), f"Session {short} is deleted.")


@sessions.command()
def transcript(session: SessionId, as_json: AsJson = False) -> None:
    """Print all that was said and asked back, in order, as Markdown."""
    with connect() as api:
        place = f"/v1/sessions/{api.resolve_session(session)}"
        found = api.json("GET", f"{place}/transcript")
        if as_json:
            print_json(found)
            return
        stages = [api.json("GET", f"{place}/stages/{number}") for number in range(1, STAGES + 1)]
    sys.stdout.write(visible(transcript_markdown(found, stages)))


@sessions.command()
def reopen(
    session: SessionId,
    stage: Annotated[int, typer.Argument(metavar="STAGE", min=1, max=STAGES, help="Its number.")],
    question: Annotated[
        list[str] | None, typer.Option(help="Ask only this one again, by its id; may be given again.")
    ] = None,
    because: Annotated[str, typer.Option(help="Why; it stands in the transcript.")] = "",
) -> None:
    """Have a stage asked again, and what rests on it. Once the charter is written, a session of its own does that."""
    console = Console()
    with connect() as api:
        old = api.resolve_session(session)
        found = Sessions(api).reopen(old, stage, question or [], because)
    short = short_id(str(found["id"]))
    if found["id"] != old:
        say(console, f"Session {short} makes a new version of the charter.")
    else:
        console.print(stages_text(found))
    say(console, f"Answer it: atelier scope --continue {short}", "dim")


@sessions.command()
def charter(
    session: SessionId,
    version: Version = None,
    out: Out = None,
    read: Annotated[bool, typer.Option("--read", help="Print its Markdown instead of downloading its files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download the files of a session's charter, or read it."""
    with connect() as api:
        full = api.resolve_session(session)
        place = f"/v1/sessions/{full}/charter"
        found = api.json("GET", place if version is None else f"{place}/versions/{version}")
        if as_json:
            print_json(found)
        elif read:
            sys.stdout.write(_markdown(found["charter"]))
        else:
            _download(Console(), api, api.job(str(found["session_id"])), out)


@sessions.command()
def versions(
    session: SessionId,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the versions of a session's charter, newest first."""
    console = Console()
    with connect() as api:
        full = api.resolve_session(session)
        found = list(api.pages(f"/v1/sessions/{full}/charter/versions", limit))
    if as_json:
        print_json(found)
    elif found:
        console.print(versions_table(found, console.width))
    else:
        say(console, f"No charter yet: atelier sessions show {short_id(full)}", "dim")


@sessions.command()
def diff(
    session: SessionId,
    before: Annotated[int | None, typer.Argument(metavar="[FROM", min=1, help="A version.")] = None,
    after: Annotated[int | None, typer.Argument(metavar="TO]", min=1, help="Another one.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show unchanged statements too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what changed, statement by statement. Without numbers: the newest version, against the one it was made
    from."""
    console = Console()
    with connect() as api:
        place = f"/v1/sessions/{api.resolve_session(session)}/charter"
        if before is None or after is None:
            before, after = _compared(api, place, before)
        found = api.json("GET", f"{place}/diff", params={"from": before, "to": after})
    if as_json:
        print_json(found)
    else:
        console.print(charter_diff_text(found, before, after, panel_width(console), full=full), highlight=False)


COMMANDS = (scope,)
"""`sessions` is beside it."""


def _compared(api: Api, place: str, before: int | None) -> tuple[int, int]:
    """The newest version, and the one it was made from if no other is named. Raises CliError if there is none."""
    newest = next(iter(api.pages(f"{place}/versions", 1)), None)
    if newest is None:
        raise CliError("There is no charter yet.", "`atelier sessions show ID` says where the session stands.")
    if before is None and newest["parent"] is None:
        raise CliError(
            f"There is nothing to compare version {newest['number']} with.",
            "`atelier sessions reopen ID STAGE` begins the next one.",
        )
    return before or int(newest["parent"]), int(newest["number"])


def show_end(console: Console, api: Api, session: Json, out: Path | None) -> None:
    """Download the charter and say where it is, or why there is none. Raises CliError."""
    job, short = api.job(str(session["id"])), short_id(str(session["id"]))
    if session["status"] == "completed":
        line = Text("The charter is written: ", "bold").append_text(view_text(session["charter"]["decision"]))
        console.print(Text(), line, sep="\n", highlight=False)
        _download(console, api, job, out)
        say(console, f"Change an answer: atelier sessions reopen {short} STAGE", "dim")
    elif session["status"] == "failed":
        raise CliError(ending(session), f"Go on with it: atelier scope --continue {short}")
    elif session["status"] == "paused":
        raise CliError("The session is paused.", f"atelier resume {short}")
    elif session["status"] == "waiting_for_budget":
        raise CliError(f"The session waits for {waiting_text(job)}.", f"atelier budget {short} --add USD")
    else:
        raise CliError("The session was cancelled.", "atelier scope begins another one.")


def _download(console: Console, api: Api, job: Json, out: Path | None) -> None:
    for file in download_outputs(api, job, out):
        style = "bold" if file.suffix == ".pdf" else ""
        line = Text(str(file), style).append(f"  {size(file.stat().st_size)}", "dim")
        console.print(line, soft_wrap=True, highlight=False)


def _markdown(charter: Json) -> str:
    # What it brings along is not needed by other commands.
    from core.contracts.scoping_charter import Charter
    from core.documents.charter import charter_markdown

    return visible(charter_markdown(Charter.model_validate(charter)))


def _new(ask: Ask, name: str | None, description: str | None) -> Json:
    """The project, asked for where it was not given. Raises CliError at the end of the input."""
    try:
        name = name or _something(ask, "What is the project called? ")
        description = description or _something(ask, "What is it about, in a few sentences? ")
    except (EOFError, KeyboardInterrupt):
        raise CliError("Nothing was begun.", 'atelier scope "NAME" --description "…"') from None
    return {"name": name, "description": description}


def _something(ask: Ask, prompt: str) -> str:
    while not (said := ask(prompt).strip()):
        pass
    return said


def _found(console: Console, sessions: Sessions, given: str | None) -> Json:
    """The session to go on with; one that expired or failed goes on from where it was. Raises CliError."""
    if given is not None:
        session = sessions.get(sessions.api.resolve_session(given))
    else:
        newest = sessions.waiting()
        if newest is None:
            raise CliError("No session waits for anybody.", "atelier scope begins one; atelier sessions lists all.")
        session = sessions.get(str(newest["id"]))
    if session["status"] == "failed":
        say(console, f"{ending(session)} It goes on from there.", "yellow")
        session = sessions.revive(str(session["id"]))
    say(console, f"{short_id(str(session['id']))}  {session['name']}", "bold")
    console.print(stages_text(session))
    return session


def _asker() -> Ask:
    """`input`, with a line editor where there is one: what is pasted stays one answer, however many lines it has."""
    with contextlib.suppress(ImportError):
        import readline

        readline.set_auto_history(False)
        readline.parse_and_bind("set enable-bracketed-paste on")
    return input
