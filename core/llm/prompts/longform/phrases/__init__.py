"""The phrase banks of the simulator: one YAML file a language, read when the language is first asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("en", "de", "fr", "es", "it", "pt")
"""Any other language is answered in English."""

_FOLDER = Path(__file__).parent
# The C parser is ten times as fast; not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Angle:
    """One way to look at a subject: a section. `named` is its title with the subject in it, or empty."""

    title: str
    named: str
    points: tuple[str, ...]

    @property
    def core(self) -> bool:
        """Whether a short document may use it: those have three points."""
        return len(self.points) > 2


@dataclass(frozen=True)
class Family:
    """Sentences of one kind: every beginning fits every ending. Without endings, the beginnings are whole."""

    beginnings: tuple[str, ...]
    endings: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.beginnings) * len(self.endings)


@dataclass(frozen=True)
class Bank:
    """Everything the simulator can say in one language. `en.yaml` explains the slots."""

    language: str
    quotes: tuple[str, str]
    lead: re.Pattern[str]
    questions: frozenset[str]
    wrap: str
    code_labels: tuple[str, ...]
    connectors: tuple[str, ...]
    asides: tuple[str, ...]
    angles: tuple[Angle, ...]
    lines: Mapping[str, tuple[str, ...]]
    families: Mapping[str, Family]
    judge: Mapping[str, str]

    def quoted(self, text: str) -> str:
        """The text in this language's quotation marks."""
        return f"{self.quotes[0]}{text}{self.quotes[1]}"


def bank_for(language: str) -> Bank:
    """The bank of a BCP 47 tag's primary language; English for one that has none."""
    primary = language.split("-", 1)[0].lower()
    return _load(primary if primary in LANGUAGES else "en")


def typeset(line: str, language: str) -> str:
    """A phrase with the apostrophes and spaces of its language."""
    # French sets a no-break space at its high punctuation marks and inside its quotation marks.
    line = line.replace("'", "’")
    return re.sub(r" (?=[?;:!»])|(?<=«) |^(?=;)", "\u00a0", line) if language == "fr" else line


@lru_cache(maxsize=len(LANGUAGES))
def _load(language: str) -> Bank:
    text = (_FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
    raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader

    def typed(line: str) -> str:
        return typeset(line, language)

    def lines(block: str) -> tuple[str, ...]:
        return tuple(typed(line) for line in block.splitlines() if line)

    names = ("titles", "theses", "purposes", "hooks", "closers", "keyword_points")
    return Bank(
        language=language,
        quotes=(typed(raw["quotes"][0]), typed(raw["quotes"][1])),
        lead=re.compile("|".join(raw["lead"].splitlines()), re.IGNORECASE),
        questions=frozenset(typed(raw["questions"]).split()),
        wrap=typed(raw["wrap"]),
        code_labels=tuple(raw["code_labels"].split()),
        connectors=lines(raw["connectors"]),
        asides=lines(raw["asides"]),
        angles=tuple(_angle(line) for line in lines(raw["angles"])),
        lines={name: lines(raw[name]) for name in names},
        families={name: Family(*(lines(part) for part in parts.values())) for name, parts in raw["families"].items()},
        judge={name: typed(line) for name, line in raw["judge"].items()},
    )


def _angle(line: str) -> Angle:
    title, named, *points = (cell.strip() for cell in line.split("|"))
    return Angle(title, "" if named == "-" else named, tuple(points))
