"""What changed between two versions of a document: coloured in a terminal, as `[-old-]{+new+}` where there is none."""

import re
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from cli.client import Json
from cli.terminal import visible

MARKS = {"same": "=", "changed": "~", "added": "+", "removed": "-"}
STYLES = {"same": "dim", "changed": "yellow", "added": "green", "removed": "red"}
_INSERT, _DELETE = "insert", "delete"
CONTEXT = 12
"""Words of an unchanged passage that are shown at either side of a change."""


def diff_lines(diff: Json, before: int, after: int, *, full: bool) -> str:
    """The comparison as plain text."""
    lines = [f"version {before} -> {after}{_whole(diff)}"]
    for section in diff["sections"]:
        lines.append(f"{MARKS.get(section['status'], '?')} {_id(section)} {_title(section)} ({_facts(section)})")
        if text := "".join(_plain(op, text) for op, text in _pieces(section, full)).strip():
            lines += ["", text, ""]
    return "\n".join(lines).rstrip() + "\n"


def diff_text(diff: Json, before: int, after: int, width: int, *, full: bool) -> RenderableType:
    """The comparison in at most `width` columns."""
    lines: list[RenderableType] = [Text(f"version {before} → {after}{_whole(diff)}", "dim")]
    for section in diff["sections"]:
        status = str(section["status"])
        style = STYLES.get(status, "")
        head = Text().append(f"{MARKS.get(status, '?')} {_id(section):<4}", style)
        head.append(visible(_title(section)), "dim" if status == "same" else "bold")
        lines.append(head.append(f"  {_facts(section)}", "dim"))
        text = Text()
        for op, piece in _pieces(section, full):
            text.append(visible(piece), {_INSERT: "green", _DELETE: "red strike"}.get(op, ""))
        text.rstrip()
        if text:
            lines += [Text(), Padding(text, (0, 0, 0, 2)), Text()]
    return Constrain(Group(*lines), width)


def _whole(diff: Json) -> str:
    """`: 1 changed, 4 same; words: 120 in, 98 out; references changed`."""
    summary = diff.get("summary") or {}
    counts = [f"{summary[name]} {name}" for name in (*MARKS, "moved") if summary.get(name)]
    words = f"words: {summary.get('words_inserted', 0)} in, {summary.get('words_deleted', 0)} out"
    others = [f"{name} changed" for name in ("title", "thesis", "references") if diff.get(f"{name}_changed")]
    return f": {'; '.join((', '.join(counts) or 'no sections', words, *others))}"


def _id(section: Json) -> str:
    return str(section["section_id"])


def _title(section: Json) -> str:
    before, after = section.get("title_before"), section.get("title_after")
    return f"{before} → {after}" if before and after and before != after else str(after or before or "")


def _facts(section: Json) -> str:
    """`changed, moved, 300 → 320 words`."""
    before, after = section.get("words_before"), section.get("words_after")
    count = f"{before} → {after} words" if before and after and before != after else f"{after or before or 0} words"
    status = "unchanged" if section["status"] == "same" else str(section["status"])
    return ", ".join((status, *(["moved"] if section.get("moved") else []), count))


def _plain(op: str, text: str) -> str:
    """As wdiff marks it."""
    marks = {_INSERT: "{++}", _DELETE: "[--]"}.get(op)
    return f"{marks[:2]}{text}{marks[2:]}" if marks and text.strip() else text


def _pieces(section: Json, full: bool) -> Iterator[tuple[str, str]]:
    """The runs of the section's text, its leading sentence first; nothing of a section that is the same."""
    for name in ("transition", "markdown"):
        runs: list[Json] = (section.get("parts") or {}).get(name) or []
        for number, run in enumerate(runs):
            text = str(run["text"])
            if run["op"] in (_INSERT, _DELETE) or full:
                yield run["op"], text
            else:
                yield run["op"], _shortened(text, first=number == 0, last=number == len(runs) - 1)
        if runs:
            yield "equal", "\n\n"


def _shortened(text: str, *, first: bool, last: bool) -> str:
    """An unchanged passage, without the words that are far from a change."""
    words = re.findall(r"\s*\S+", text)
    head, tail = 0 if first else CONTEXT, 0 if last else CONTEXT
    left_out = len(words) - head - tail
    if left_out <= CONTEXT:
        return text
    end = re.search(r"\s*$", text)
    after = "".join(words[len(words) - tail :]) + (end[0] if end else "") if tail else ""
    return "".join(words[:head]) + f"{' ' if head else ''}[… {left_out} words …]" + after
