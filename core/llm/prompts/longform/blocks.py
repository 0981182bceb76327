"""The blocks of a section's Markdown, as far as the simulator has to tell them apart."""

import re
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"(?<=[.!?…])[ \n]+")
# No-break spaces stay: they are part of a sentence.
_LINE_BREAK = re.compile(r"[ \t]*\n[ \t]*")
_FENCED = re.compile(r"(^```.*?^```[ ]*$)", re.MULTILINE | re.DOTALL)
_LINES = re.compile(r"(?:[-*|]|\d+\.) ?")
_MARK = re.compile(r"^(?:[-*>]|\d+\.) ")
_TABLE_HEAD = 3
"""Lines of a table that are never cut: its head, the rule below it, and one row."""


@dataclass
class Block:
    """A paragraph, list, table, quote or piece of code, and its parts, of which `least` have to stay."""

    parts: list[str]
    joint: str
    least: int = 1

    @property
    def prose(self) -> bool:
        """Whether it is a paragraph, so that its parts are sentences."""
        return self.joint == " "

    @property
    def leads_on(self) -> bool:
        """Whether it only announces the block behind it."""
        return self.prose and self.text.endswith(":")

    @property
    def text(self) -> str:
        """Its Markdown."""
        return self.joint.join(self.parts)

    @property
    def said(self) -> list[str]:
        """Sentences of a paragraph or a quote and items of a list; nothing of tables and code."""
        if self.prose:
            return self.parts
        return [_MARK.sub("", part) for part in self.parts if _MARK.match(part)]


def read_blocks(markdown: str) -> list[Block]:
    """The blocks of a text. A fenced block, or a quote, is one part; of a list or a table each line is one."""
    blocks = []
    for piece in _FENCED.split(markdown):
        if piece.startswith("```"):
            blocks.append(Block([piece.strip()], "\n"))
            continue
        for text in filter(None, map(str.strip, re.split(r"\n\s*\n", piece))):
            if text.startswith(">"):
                blocks.append(Block([text], "\n"))
            elif _LINES.match(text):
                blocks.append(Block(text.splitlines(), "\n", _TABLE_HEAD if text.startswith("|") else 1))
            else:
                blocks.append(Block(_SENTENCE_END.split(_LINE_BREAK.sub(" ", text)), " "))
    return blocks
