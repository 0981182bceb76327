"""The `atelier` command. Only what every command needs is imported here; `up` and `demo` load the rest themselves."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import commands, document_commands, money_commands, people_commands
from cli.admin_commands import admin
from cli.errors import CliError
from cli.hook_commands import hooks
from cli.outline_commands import outline
from cli.scope_commands import COMMANDS as SCOPE_COMMANDS
from cli.scope_commands import sessions
from cli.upload_commands import COMMANDS as UPLOAD_COMMANDS
from cli.upload_commands import uploads

app = typer.Typer(
    name="atelier",
    help="Runs long AI work that is not lost and not paid for twice.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_START, _WORK, _DOCUMENTS, _COSTS, _PEOPLE = "Start", "Jobs", "Documents", "Costs", "People"
_SCOPING = "Scoping"


@app.command(rich_help_panel=_START)
def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the API. \\[default: 8000, or a free one]")
    ] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, Temporal, the API and workers."""
    from cli.up import run_up

    run_up(workers, port)


@app.command(rich_help_panel=_START)
def demo(
    pipeline: Annotated[str, typer.Argument(help="What to show: longform or scoping.")] = "longform",
    topic: Annotated[str | None, typer.Option(help="longform: what to write about. \\[default: lighthouses]")] = None,
    words: Annotated[int | None, typer.Option(help="longform: how long. \\[default: 1200]")] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="scoping: what is said in the session. \\[default: its own]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the files. \\[default: atelier-output/TITLE]")] = None,
) -> None:
    """Make one article, or one charter, from nothing to its files: starts everything, runs one job, stops it all."""
    from cli.demo import WORDS, longform_demo, scoping_demo

    if pipeline == "longform":
        longform_demo(topic, words or WORDS, out)
    elif pipeline == "scoping":
        scoping_demo(answers, out)
    else:
        raise CliError(f"There is no demo of {pipeline!r}.", "atelier demo longform, or: atelier demo scoping")


for command in commands.COMMANDS:
    app.command(rich_help_panel=_WORK)(command)
app.add_typer(outline, rich_help_panel=_WORK)
app.add_typer(hooks, rich_help_panel=_WORK)
for upload_command in UPLOAD_COMMANDS:
    app.command(rich_help_panel=_DOCUMENTS)(upload_command)
app.add_typer(uploads, rich_help_panel=_DOCUMENTS)
for scope_command in SCOPE_COMMANDS:
    app.command(rich_help_panel=_SCOPING)(scope_command)
app.add_typer(sessions, rich_help_panel=_SCOPING)
for document_command in document_commands.COMMANDS:
    app.command(rich_help_panel=_DOCUMENTS)(document_command)
for money_command in money_commands.COMMANDS:
    app.command(rich_help_panel=_COSTS)(money_command)
for people_command in people_commands.COMMANDS:
    app.command(rich_help_panel=_PEOPLE)(people_command)
app.add_typer(people_commands.keys, rich_help_panel=_PEOPLE)
app.add_typer(people_commands.account, rich_help_panel=_PEOPLE)
app.add_typer(admin, rich_help_panel=_PEOPLE)


def main() -> None:
    """Run the command line. A user's error is a sentence and an exit code, never a traceback."""
    try:
        app()
    except CliError as error:
        from cli.terminal import show_error

        show_error(error)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
