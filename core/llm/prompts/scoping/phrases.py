"""What the simulator says in a scoping session, in the languages that it knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from core.llm.prompts.longform.phrases import Bank, bank_for, typeset

_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Phrases:
    """The phrases of one language. `hedges` finds words that leave a matter open; those of English count everywhere."""

    bank: Bank
    hedges: re.Pattern[str]
    lines: Mapping[str, str]

    def say(self, name: str, **slots: object) -> str:
        """A phrase with its slots filled. What is filled in is never read as a slot."""
        return re.sub(r"\{([a-z])\}", lambda slot: str(slots[slot[1]]), self.lines[name])


def phrases_for(language: str) -> Phrases:
    """The phrases of a BCP 47 tag's primary language; English for one that has none."""
    return _load(bank_for(language).language)


@lru_cache
def _read() -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return told


@lru_cache
def _load(language: str) -> Phrases:
    told = _read()
    lines = {name: typeset(line, language) for name, line in told[language].items() if name != "hedges"}
    patterns = [pattern for known in dict.fromkeys((language, "en")) for pattern in told[known]["hedges"].splitlines()]
    return Phrases(bank_for(language), re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE), lines)
