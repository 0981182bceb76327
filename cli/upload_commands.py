"""The commands for files that are brought to the API."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.errors import CliError
from cli.figures import ago, short_id, size
from cli.shared import AsJson, connect, print_json, show_list
from cli.terminal import is_live, say, visible
from cli.uploading import Advance, upload_file
from cli.view import fitted_table

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to send.")]
UploadIds = Annotated[
    list[str], typer.Argument(metavar="ID", help="Uploads' ids, four characters of their end or more, or `last`.")
]
_COLOURS = {"ready": "green", "refused": "red", "expired": "dim"}


def upload(files: Files, as_json: AsJson = False) -> None:
    """Send files, for jobs to read. Prints the ids of those that are ready, and nothing else, on standard output.

    Taken are text, Markdown, JSON, PDF, DOCX, images, audio and video. One that is refused is told with the reason.
    """
    notes, console = Console(stderr=True), Console()
    ready: list[Json] = []
    refused: list[CliError] = []
    total = sum(_size(file) for file in files)
    with connect() as api, _progress(notes, total) as advance:
        for file in files:
            try:
                found = upload_file(api, file, advance)
            except CliError as error:
                if error.kind != "file_refused":
                    raise
                refused.append(error)
                continue
            ready.append(found)
            if not as_json:
                say(console, str(found["id"]))
                said = f"{found['name']}: {found['kind']}, {size(found['size'])}, {short_id(str(found['id']))}"
                say(notes, said, "dim")
    if as_json:
        print_json(ready)
    for one in refused[:-1]:
        say(notes, one.message, "red")
    if refused:
        raise refused[-1]


def _size(file: Path) -> int:
    try:
        if file.is_dir():
            raise CliError(f"{file} is a folder.", "Give the files in it.")
        return file.stat().st_size
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}.") from None


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Advance | None]:
    """A bar on a terminal; elsewhere nothing."""
    if not is_live(console):
        yield None
        return
    columns = TextColumn("sending"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True) as shown:
        # Every byte is told twice: when it is hashed, and when it is sent.
        task = shown.add_task("", total=total)
        yield lambda count: shown.advance(task, count / 2)


uploads = typer.Typer(
    name="uploads", help="List the files that you brought, and delete them.", invoke_without_command=True
)


@uploads.callback()
def list_uploads(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the files that you brought, newest first; delete them."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    with connect() as api:
        found = list(api.uploads(limit))
    show_list(console, found, uploads_table, "There are no uploads: atelier upload FILE", as_json=as_json)


@uploads.command()
def delete(ids: UploadIds) -> None:
    """Delete uploads. What jobs read of them stays."""
    with connect() as api:
        for full in [api.resolve_upload(given) for given in ids]:
            api.request("DELETE", f"/v1/uploads/{full}")
            say(Console(stderr=True), f"Upload {short_id(full)} is deleted.")


def uploads_table(found: Sequence[Json], width: int) -> Table:
    """Uploads in at most `width` columns."""
    rows = [
        [
            Text(short_id(str(one["id"]))),
            Text(visible(one["name"])),
            Text(str(one["kind"] or "")),
            Text(size(one["size"])),
            _state(one),
            Text(ago(one["created_at"]), "dim"),
        ]
        for one in found
    ]
    names = ("id", "name", "kind", "size", "status", "made")
    return fitted_table(names, rows, width, gives_way="name", right=("size",), spare=("made", "kind"))


def _state(one: Json) -> Text:
    status = str(one["status"])
    said = f"{status}: {one['refused']['reason']}" if one["refused"] else status
    return Text(visible(said), _COLOURS.get(status, ""))


COMMANDS = (upload,)
"""`uploads` is beside it."""
