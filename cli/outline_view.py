"""How an outline looks in a terminal."""

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from cli.client import Json
from cli.figures import short_id, until
from cli.terminal import visible
from cli.waiting import outline_lines


def outline_text(outline: Json, width: int) -> RenderableType:
    """The outline in at most `width` columns, and how to go on with its job if that waits."""
    head = Text().append(f"Outline, round {outline.get('round') or 1}: ", "dim")
    head.append(f"{len(outline['sections'])} sections, {int(outline['words']):,} words", "dim")
    if outline.get("simulated"):
        head.append("  ·  simulated", "yellow")
    lines: list[RenderableType] = [
        head,
        Text(visible(outline["title"]), "bold"),
        Text(visible(outline["thesis"])),
        Text(),
    ]
    for section in outline["sections"]:
        lines += _section_lines(section)
    lines.append(Text())
    if outline.get("waiting"):
        lines.append(Text(f"The job waits for your word on it{until(outline.get('expires_at'))}:", "yellow"))
        lines.append(outline_lines(short_id(str(outline["job_id"]))))
    else:
        lines.append(Text("It is settled: nobody is asked about it.", "dim"))
    return Constrain(Group(*lines), width)


def _section_lines(section: Json) -> list[RenderableType]:
    facts = ", ".join((f"{int(section['words']):,} words", *section.get("sources", ())))
    title = (
        Text()
        .append(f"{section['id']:<4}", "cyan")
        .append(visible(section["title"]), "bold")
        .append(f"  {facts}", "dim")
    )
    points = [Padding(Text(f"· {visible(point)}", "dim"), (0, 0, 0, 6)) for point in section.get("key_points") or ()]
    return [title, Padding(Text(visible(section["purpose"])), (0, 0, 0, 4)), *points]
