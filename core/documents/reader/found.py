"""What readers find in a file, and how they refuse it. Plain dataclasses: contracts take half a second to import."""

from dataclasses import dataclass, field
from typing import Any

from core.contracts.files import BlockKind, FileReason


class Unreadable(Exception):
    """The file is refused: the reason, and a sentence that says what to do."""

    def __init__(self, reason: FileReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Bounds:
    """How much a reader takes before it refuses as too complex."""

    pages: int = 3_000
    characters: int = 4_000_000
    blocks: int = 50_000
    unpacked: int = 150_000_000
    """Bytes of what a file unpacks to."""


@dataclass(slots=True)
class Block:
    """A `ReadBlock` in the making."""

    kind: BlockKind
    text: str = ""
    level: int = 0
    ordered: bool = False
    number: int | None = None
    rows: list[list[str]] = field(default_factory=list)
    page: int | None = None
    last_page: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Its fields, without those that are as always."""
        fields: dict[str, Any] = {"kind": self.kind}
        for name in ("text", "level", "ordered", "number", "rows", "page", "last_page"):
            if value := getattr(self, name):
                fields[name] = value
        return fields


@dataclass
class Found:
    """A `ReadDocument` in the making."""

    blocks: list[Block] = field(default_factory=list)
    title: str | None = None
    pages: int | None = None
    pages_without_text: list[int] = field(default_factory=list)


class Collected:
    """Blocks within bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.blocks: list[Block] = []
        self._bounds = bounds
        self._characters = 0

    def add(self, block: Block) -> None:
        """Take a block, unless it is empty. Raises `Unreadable` when it is too much."""
        if not block.text and not any(map(any, block.rows)):
            return
        self._characters += len(block.text) + sum(len(cell) + 1 for row in block.rows for cell in row)
        if self._characters > self._bounds.characters or len(self.blocks) >= self._bounds.blocks:
            raise too_long()
        self.blocks.append(block)


def too_long() -> Unreadable:
    """A document with more text than is taken."""
    return Unreadable(FileReason.TOO_COMPLEX, "The file holds too much text. Send the parts that matter.")
