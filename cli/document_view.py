"""How documents and their versions look in a terminal, and as Markdown where there is none."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.figures import ago, short_id
from cli.terminal import visible
from cli.view import fitted_table

_REASONS = {"written": "written", "section_regenerated": "regenerated", "section_edited": "edited"}


def documents_table(documents: Iterable[Json], width: int) -> Table:
    """The list of documents, in at most `width` columns."""
    rows = [
        [
            Text(short_id(str(document["id"]))),
            Text(visible(document["title"])),
            Text(str(document["versions"])),
            Text(f"{int(document['words']):,}"),
            _score(document),
            Text(ago(document.get("updated_at")), "dim"),
        ]
        for document in documents
    ]
    names = ("id", "title", "versions", "words", "score", "changed")
    return fitted_table(names, rows, width, gives_way="title", right={"versions", "words", "score"}, spare=("changed",))


def versions_table(versions: Iterable[Json], width: int) -> Table:
    """The versions of a document, in at most `width` columns."""
    names = ("version", "from", "why", "words", "score", "job", "made")
    rows = [
        [
            Text(str(version["number"]), "bold"),
            Text(str(version.get("parent") or "")),
            _why(version),
            Text(f"{int(version['words']):,}"),
            _score(version),
            Text(short_id(str(version["job_id"])), "dim"),
            Text(ago(version.get("created_at")), "dim"),
        ]
        for version in versions
    ]
    return fitted_table(
        names, rows, width, gives_way="why", right={"version", "from", "words", "score"}, spare=("made",)
    )


def _score(row: Json) -> Text:
    score = row.get("score")
    text = Text("" if score is None else f"{float(score):.2f}")
    return text.append(" simulated", "yellow") if row.get("simulated") else text


def _why(version: Json) -> Text:
    """`s2 regenerated: shorter, please`."""
    reason = str(version["reason"])
    if reason == "restored":
        return Text(f"version {version.get('restored_from')} restored")
    said = _REASONS.get(reason, reason.replace("_", " "))
    text = Text(f"{version['section_id']} {said}" if version.get("section_id") else said)
    return (
        text.append(f": {' '.join(visible(version['instructions']).split())}") if version.get("instructions") else text
    )


def section_markdown(section: Json) -> str:
    """The text of a section as it is edited."""
    return str(section["markdown"]).strip() + "\n"


def version_markdown(version: Json) -> str:
    """A whole version: its sections with their ids, citations as the text has them, and what they cite."""
    parts = [f"# {version['title']}"]
    if version.get("simulated"):
        parts.append("*Simulated: no model was asked.*")
    parts.append(f"*{version['thesis']}*")
    for section in version["sections"]:
        parts.append(f"## {section['title']} [{section['id']}]")
        parts += [text for text in (section.get("transition"), section["markdown"]) if text]
    if version.get("references"):
        parts.append("## References")
        parts.append("\n".join(_reference(reference) for reference in version["references"]))
    return "\n\n".join(str(part).strip() for part in parts) + "\n"


def version_text(version: Json, width: int) -> RenderableType:
    """The same in at most `width` columns, with headings that stand out."""
    lines: list[RenderableType] = [
        Text(visible(version["title"]), "bold"),
        _facts(version),
        Text(),
        Text(visible(version["thesis"]), "italic"),
    ]
    for section in version["sections"]:
        heading = Text().append(visible(section["title"]), "bold cyan").append(f"  {section['id']}", "dim")
        lines += [Text(), heading, Text()]
        if section.get("transition"):
            lines += [Text(visible(section["transition"]), "italic"), Text()]
        lines.append(Text(visible(section["markdown"]).strip()))
    if version.get("references"):
        lines += [Text(), Text("References", "bold cyan"), Text()]
        lines += [Text(visible(_reference(reference))) for reference in version["references"]]
    return Constrain(Group(*lines), width)


def _facts(version: Json) -> Text:
    facts = [f"version {version['number']}", f"{int(version['words']):,} words"]
    facts += [f"score {float(version['score']):.2f}"] if version.get("score") is not None else []
    text = Text().append(" · ".join(facts), "dim")
    return text.append(" · simulated: no model was asked", "yellow") if version.get("simulated") else text


def _reference(reference: Json) -> str:
    return f"{reference['number']}. {reference['title']} [@{reference['source_id']}]"
