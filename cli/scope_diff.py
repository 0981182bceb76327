"""What changed between two versions of a charter, in a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from cli.client import Json
from cli.diff_view import MARKS, STYLES
from cli.scope_view import view_text
from cli.terminal import visible

_RUNS = {"insert": "green", "delete": "red strike"}


def charter_diff_text(diff: Json, before: int, after: int, width: int, *, full: bool) -> RenderableType:
    """The comparison in at most `width` columns. A statement without colour is unchanged; `full` shows these too."""
    lines: list[RenderableType] = [Text(f"version {before} → {after}{_whole(diff)}", "dim")]
    for section in diff["sections"]:
        status = str(section["status"])
        head = Text(f"{MARKS.get(status, '?')} ", STYLES.get(status, ""))
        head.append(visible(section["title_after"] or section["title_before"]), "dim" if status == "same" else "bold")
        lines.append(head)
        if section["decision_before"] != section["decision_after"]:
            lines.append(Padding(_decided(section), (0, 0, 0, 2)))
        statements = (*section["statements"], *section["conditions"])
        lines += [Padding(_statement(one), (0, 0, 0, 2)) for one in statements if full or one["status"] != "same"]
    lines += _risks(diff["risks_removed"], "removed") + _risks(diff["risks_added"], "added")
    return Constrain(Group(*lines), width)


def _whole(diff: Json) -> str:
    """`: 1 section changed; statements: 2 changed, 1 added, 9 same; answers: volume`."""
    summary = diff["summary"]
    counts = [
        f"{summary[f'statements_{name}']} {name}"
        for name in ("changed", "added", "removed", "same")
        if summary[f"statements_{name}"]
    ]
    parts = [f"{summary['sections_changed']} sections changed", f"statements: {', '.join(counts) or 'none'}"]
    parts += [f"{name} changed" for name in ("name", "description") if diff[f"{name}_changed"]]
    parts += [f"answers: {', '.join(diff['answers_changed'])}"] if diff["answers_changed"] else []
    return f": {'; '.join(parts)}"


def _decided(section: Json) -> Text:
    sides = [view_text(side) if side else Text("no view") for side in _sides(section)]
    return sides[0].append(" → ", "dim").append_text(sides[1])


def _sides(section: Json) -> tuple[object, object]:
    return section["decision_before"], section["decision_after"]


def _statement(one: Json) -> Text:
    status = str(one["status"])
    text = Text(f"{MARKS.get(status, '?')} ", STYLES.get(status, ""))
    if status == "changed":
        for run in one["runs"]:
            text.append(visible(run["text"]), _RUNS.get(run["op"], ""))
        rests = [_refs(one[side]) for side in ("before", "after")]
        return text.append(f"  [{rests[0]}] → [{rests[1]}]", "dim") if rests[0] != rests[1] else text
    side = one["after"] or one["before"]
    return text.append(visible(side["text"]), {"added": "green", "removed": "red"}.get(status, "dim"))


def _refs(statement: Json) -> str:
    return ", ".join(f"{basis['question']}{'*' if basis['assumption'] else ''}" for basis in statement["rests_on"])


def _risks(risks: Sequence[Json], status: str) -> list[RenderableType]:
    return [Text(f"{MARKS[status]} open risk: ", STYLES[status]).append(visible(risk["text"])) for risk in risks]
