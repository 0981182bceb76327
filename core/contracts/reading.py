"""A document as it was read: its text in reading order, with the places of every piece."""

from typing import Annotated

from pydantic import Field, StringConstraints

from core.contracts.base import ArtifactRef, Contract
from core.contracts.files import BlockKind, FileKind

WITH_TEXT = frozenset((FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML, FileKind.JSON, FileKind.PDF, FileKind.DOCX))
"""The kinds of files that a text can be had from. JSON is read as the text that it is."""
ReadTitle = Annotated[str, StringConstraints(max_length=300)]


class ReadBlock(Contract):
    """A heading, a paragraph, an item of a list, a table, a block of code or a note."""

    kind: BlockKind
    text: str = ""
    level: int = Field(default=0, description="Of a heading 1 to 6; of an item how deep it lies, from 0.")
    ordered: bool = False
    number: int | None = Field(default=None, description="Of an item of a numbered list, as the document shows it.")
    rows: tuple[tuple[str, ...], ...] = Field(default=(), description="Of a table, its head first if it has one.")
    page: int | None = Field(default=None, description="The page it begins on, from 1; None without pages.")
    last_page: int | None = Field(default=None, description="The page it ends on, if that is another.")


class ReadDocument(Contract):
    """What could be read of a file. There is at least one block with text."""

    kind: FileKind
    title: ReadTitle | None = Field(default=None, description="As the file says, else its first heading of level 1.")
    byline: str | None = Field(default=None, description="Who wrote it, as a web page says.")
    site: str | None = Field(default=None, description="The name of the web page's site, as it says.")
    pages: int | None = Field(default=None, description="None for kinds without pages.")
    pages_without_text: tuple[int, ...] = Field(
        default=(), description="Pages that show something, but no text that can be read: scans, drawings."
    )
    blocks: tuple[ReadBlock, ...]


class UploadedFile(Contract):
    """A file that was uploaded and checked, as a job refers to it. `name` is what its owner called it."""

    ref: ArtifactRef
    name: str
    kind: FileKind
