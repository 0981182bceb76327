"""Figures: what was measured, what it was to be, the table and the file they end in."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from core.contracts.base import Json

_SIGNS = {"at most": "≤", "at least": "≥", "under": "<"}


@dataclass(frozen=True)
class Target:
    """What a figure is to be."""

    sign: Literal["at most", "at least", "under"]
    value: float

    def holds(self, value: float) -> bool:
        """Whether a value is what it is to be."""
        if self.sign == "at least":
            return value >= self.value
        return value <= self.value if self.sign == "at most" else value < self.value

    def __str__(self) -> str:
        return f"{_SIGNS[self.sign]} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table. Without a target it only informs; a value of None could not be measured."""

    name: str
    value: float | None
    unit: str
    target: Target | None = None
    note: str = ""

    @property
    def held(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value is not None and self.target.holds(self.value)

    def as_json(self) -> Json:
        """As it stands in the file."""
        return {
            "name": self.name,
            "value": None if self.value is None else rounded(self.value),
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "held": self.held,
        }


def rounded(value: float) -> float:
    """Three significant digits, and all before the point."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(0, 2 - math.floor(math.log10(abs(value)))))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of the values do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value; of two in the middle the lower."""
    return percentile(values, 0.5)


def show(figures: Iterable[Figure], title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, justify in (("figure", "left"), ("value", "right"), ("unit", "left"), ("target", "left")):
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    table.add_column("held")
    table.add_column("notes", overflow="fold", style="dim")
    for figure in figures:
        value = "-" if figure.value is None else f"{rounded(figure.value):g}"
        held = {None: "", True: "[green]yes[/]", False: "[bold red]NO[/]"}[figure.held]
        table.add_row(figure.name, value, figure.unit, str(figure.target or ""), held, figure.note)
    console = Console()
    Console(width=max(console.width, 150)).print(table)


def save(figures: Iterable[Figure], path: Path) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([figure.as_json() for figure in figures], indent=2, ensure_ascii=False) + "\n")
