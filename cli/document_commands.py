"""The commands for documents and their versions. They speak to the REST API, and to nothing else."""

import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console

from cli.client import Api, Json
from cli.diff_view import diff_lines, diff_text
from cli.document_view import documents_table, section_markdown, version_markdown, version_text, versions_table
from cli.editor import edit as edit_text
from cli.errors import CliError
from cli.figures import short_id
from cli.flags import Budget
from cli.shared import AsJson, Watch, accepted, connect, print_json, show_list
from cli.submission import read_text
from cli.terminal import say
from cli.view import panel_width

DocumentId = Annotated[
    str, typer.Argument(metavar="DOC", help="A document's id, four characters of its end or more, or `last`.")
]
SectionName = Annotated[
    str, typer.Argument(metavar="SECTION", help="A section's id (s2), its number, or a part of its title.")
]
Base = Annotated[int | None, typer.Option(min=1, help="The version to make the new one from. \\[default: the newest]")]


def documents(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List documents, newest first."""
    console = Console()
    with connect() as api:
        found = list(api.documents(limit))
    show_list(console, found, documents_table, "No documents yet: atelier submit longform --help", as_json=as_json)


def versions(
    document: DocumentId,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a document's versions, newest first: what each was made from, and why."""
    console = Console()
    with connect() as api:
        found = list(api.versions(api.resolve_document(document), limit))
    if as_json:
        print_json(found)
    else:
        console.print(versions_table(found, console.width))


def read(
    document: DocumentId,
    version: Annotated[int | None, typer.Option(min=1, help="Which. \\[default: the newest]")] = None,
    section: Annotated[str | None, typer.Option(help="Only this one's Markdown.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a document as Markdown, with the ids of its sections."""
    console = Console()
    with connect() as api:
        found = _version(api, api.resolve_document(document), version)
    if as_json:
        print_json(found)
    elif section is not None:
        sys.stdout.write(section_markdown(_section(found, section)))
    elif console.is_terminal:
        console.print(version_text(found, panel_width(console)), highlight=False)
    else:
        sys.stdout.write(version_markdown(found))


def diff(
    document: DocumentId,
    before: Annotated[int | None, typer.Argument(metavar="[FROM", min=1, help="A version.")] = None,
    after: Annotated[int | None, typer.Argument(metavar="TO]", min=1, help="Another one.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show long unchanged passages too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show by section what changed. Without numbers: the newest version, against the one it was made from."""
    console = Console()
    with connect() as api:
        full_id = api.resolve_document(document)
        after = after or int(_document(api, full_id)["latest"])
        if before is None:
            before = _version(api, full_id, after).get("parent")
        if before is None:
            raise CliError(
                f"Version {after} was made from no other one.", f"`atelier versions {short_id(full_id)}` lists them."
            )
        found = api.json("GET", f"/v1/documents/{full_id}/diff", params={"from": before, "to": after})
    if as_json:
        print_json(found)
    elif console.is_terminal:
        console.print(diff_text(found, before, after, panel_width(console), full=full), highlight=False)
    else:
        sys.stdout.write(diff_lines(found, before, after, full=full))


def regenerate(
    document: DocumentId,
    section: SectionName,
    instructions: Annotated[str | None, typer.Argument(help="What should be otherwise.")] = None,
    base: Base = None,
    model: Annotated[list[str] | None, typer.Option(help="provider:model; more are tried in this order.")] = None,
    budget: Budget = None,
    watch: Watch = False,
) -> None:
    """Have one section written anew. A job makes the new version; all other sections stay as they are."""
    given = {"instructions": instructions, "base": base, "models": model, "budget_usd": budget}
    with connect() as api:
        full, found = _opened(api, document, base)
        path = f"/v1/documents/{full}/sections/{_section(found, section)['id']}/regenerate"
        body = {name: value for name, value in given.items() if value not in (None, [], "")}
        accepted(api, api.json("POST", path, json=body), watch=watch)


def edit(
    document: DocumentId,
    section: SectionName,
    file: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The section's Markdown. \\[default: your editor]")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Another heading.")] = None,
    base: Base = None,
    watch: Watch = False,
) -> None:
    """Change one section yourself, in your editor or by a file. A job makes the new version; no model is asked."""
    with connect() as api:
        full, found = _opened(api, document, base)
        here = _section(found, section)
        # What was shown is what was edited: a version that came meanwhile is not mixed into it.
        body: Json = {"base": found["number"]} | ({"title": title} if title else {})
        path = f"/v1/documents/{full}/sections/{here['id']}/edit"
        if file is not None:
            job = api.json("POST", path, json=body | {"markdown": read_text(file)})
        else:
            again = f"atelier edit {short_id(full)} {here['id']} --base {found['number']}"
            draft = edit_text(section_markdown(here), f"section-{here['id']}", ".md")
            with draft.kept_on_error(again + (f" --title {shlex.quote(title)}" if title else "")):
                changed = draft.text.strip() != str(here["markdown"]).strip()
                job = {}
                if draft.text.strip() and (changed or (title and title != here["title"])):
                    job = api.json("POST", path, json=body | {"markdown": draft.text})
        if job:
            accepted(api, job, watch=watch)
        else:
            say(Console(), "Nothing is changed, and nothing was sent.", "dim")


def restore(
    document: DocumentId,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Its number.")],
    watch: Watch = False,
) -> None:
    """Make an old version the newest again, as a version of its own; nothing is lost."""
    with connect() as api:
        full = api.resolve_document(document)
        accepted(api, api.json("POST", f"/v1/documents/{full}/versions/{version}/restore"), watch=watch)


COMMANDS = (documents, versions, read, diff, regenerate, edit, restore)
"""In the order of the help page."""


def _document(api: Api, full_id: str) -> Json:
    return api.json("GET", f"/v1/documents/{full_id}")


def _version(api: Api, full_id: str, number: int | None) -> Json:
    """A version with its text; the newest without a number."""
    wanted = number or int(_document(api, full_id)["latest"])
    return api.json("GET", f"/v1/documents/{full_id}/versions/{wanted}")


def _opened(api: Api, given: str, number: int | None) -> tuple[str, Json]:
    full = api.resolve_document(given)
    return full, _version(api, full, number)


def _section(version: Json, given: str) -> Json:
    """The section that is meant: by id, by number, or by a part of its title that no other one has. Raises CliError."""
    wanted = given.strip().casefold()
    sections: list[Json] = version["sections"]
    exact = [s for s in sections if str(s["id"]) in (wanted, f"s{wanted}") or str(s["title"]).casefold() == wanted]
    found = exact or [s for s in sections if wanted and wanted in str(s["title"]).casefold()]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{s['id']} {s['title']}" for s in (found or sections))
    said = (
        f"{len(found)} sections fit {given!r}." if found else f"Version {version['number']} has no section {given!r}."
    )
    raise CliError(said, f"It has: {there}")
