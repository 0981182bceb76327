"""What the simulator reads out of answers: their sentences, and parts of them that fit into its own."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.llm.prompts.longform.blocks import read_blocks
from core.llm.prompts.longform.phrases import Bank
from core.llm.prompts.longform.subject import capitalised, clean, quotable

Given = Mapping[str, Any]
"""A question, a finding or a stage as a prompt is told of it."""


def answers(question: Given) -> list[str]:
    """What was said to a question, the answers to follow-ups last."""
    said = [str(question["answer"]), *(str(turn["said"]) for turn in question["follow_ups"])]
    return [text for text in said if text]


def sentences(text: str) -> list[str]:
    """The sentences of an answer, each on one line, with a capital letter and an end; items of a list are some, too.
    What has no letter and no digit is none."""
    found = [said for block in read_blocks(text) for said in block.said] or text.splitlines()
    return [_ended(capitalised(line)) for said in found if any(map(str.isalnum, line := clean(said)))]


def quoted(bank: Bank, text: str, most: int) -> str:
    """Somebody's words inside one of our sentences: at most so many, in quotation marks."""
    return bank.quoted(quotable(text, most) or "…")


def joined(parts: Iterable[str], most: int) -> str:
    """As many of the sentences as have room in so many characters, and at least a part of the first."""
    text = ""
    for part in parts:
        longer = f"{text} {part}".strip()
        if len(longer) > most:
            return text or f"{part[: most - 1].rstrip()}…"
        text = longer
    return text


def _ended(line: str) -> str:
    return line if line.endswith((".", "!", "?", "…", "。", "！", "？")) else f"{line.rstrip(' ,;:')}."
