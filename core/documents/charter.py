"""A charter as JSON and as Markdown, and what all its documents share: names of files, references to answers."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from core.contracts.scoping import CharterFormat, QuestionId
from core.contracts.scoping_charter import Charter, CharterSection, Decision, SaidAnswer, SectionId, Statement
from core.documents.charter_labels import CharterLabels, charter_labels
from core.documents.labels import labels
from core.documents.markdown import literal, literal_paragraph
from core.documents.text import clean, one_line

LONGEST_NAME = 60
"""Characters of a project's name in the names of its files."""
FINGERPRINT = 12
"""Hexadecimal digits at the foot of a page; where it is signed all 64 stand."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


def charter_json(charter: Charter) -> bytes:
    """The charter as people and programs read it: `Charter.model_validate_json` gives the same one back."""
    return (json.dumps(charter.model_dump(mode="json"), ensure_ascii=False, indent=2) + "\n").encode()


def fingerprint(charter: Charter) -> str:
    """The SHA-256 of its JSON, so that a printed charter can be told from another version."""
    return hashlib.sha256(charter_json(charter)).hexdigest()


def charter_file_name(name: str, format: CharterFormat) -> str:
    """What the file of a project's charter is called: lower-case ASCII letters, digits and dashes, on any system."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    slug = _NOT_IN_NAMES.sub("-", plain)[:LONGEST_NAME].strip("-")
    return f"{slug or 'project'}-charter.{format.value}"


class Mark(NamedTuple):
    """A reference to an answer as it is shown: stage and number, `2.3`."""

    shown: str
    assumption: bool
    known: bool
    """Whether the charter has the question, so that a reference can lead there."""

    def __str__(self) -> str:
        return f"{self.shown}*" if self.assumption else self.shown


class References:
    """The numbers of a charter's questions: their stage, and their place in it."""

    def __init__(self, answers: Iterable[SaidAnswer]) -> None:
        self._numbers: dict[QuestionId, str] = {}
        self._skipped: set[QuestionId] = set()
        count: dict[int, int] = {}
        for answer in answers:
            count[answer.stage] = count.get(answer.stage, 0) + 1
            self._numbers[answer.question] = f"{answer.stage}.{count[answer.stage]}"
            self._skipped |= {answer.question} if answer.skipped else set()

    def number(self, question: QuestionId) -> str:
        """`2.3`, or the question's id when the charter has no such question."""
        return self._numbers.get(question, question)

    def of(self, statement: Statement) -> list[Mark]:
        """The references of a statement."""
        return [
            Mark(self.number(basis.question), basis.assumption, basis.question in self._numbers)
            for basis in statement.rests_on
        ]

    def to(self, questions: Iterable[QuestionId]) -> list[Mark]:
        """References to questions; those that were skipped are assumptions."""
        return [Mark(self.number(id), id in self._skipped, id in self._numbers) for id in questions]


class StageAnswers(NamedTuple):
    """The questions of one stage."""

    title: str
    answers: list[SaidAnswer]


def answers_by_stage(charter: Charter, words: CharterLabels) -> list[StageAnswers]:
    """All answers in the order of their stages, under their titles."""
    titles = {found.stage: found.title for found in charter.findings}
    ordered = sorted(charter.answers, key=lambda answer: answer.stage)
    return [
        StageAnswers(stage_title(words, stage, titles.get(stage, "")), list(answers))
        for stage, answers in groupby(ordered, key=lambda answer: answer.stage)
    ]


def stage_title(words: CharterLabels, stage: int, title: str) -> str:
    """`Stage 2: Value and measures of success`."""
    return f"{words.stage} {stage}: {one_line(title)}" if title else f"{words.stage} {stage}"


def view_of(charter: Charter) -> Decision | None:
    """Whether to go on, if the charter says so."""
    return next((section.decision for section in charter.sections if section.id is SectionId.DECISION), None)


def figures(charter: Charter, words: CharterLabels) -> list[tuple[str, int]]:
    """What stands below the view: how much it hangs on."""
    assumed = {
        basis.question
        for section in charter.sections
        for statement in (*section.statements, *section.conditions)
        for basis in statement.rests_on
        if basis.assumption
    }
    assumed |= {answer.question for answer in charter.answers if answer.skipped}
    conditions = sum(len(section.conditions) for section in charter.sections)
    return [
        (words.conditions, conditions),
        (words.open_risks, len(charter.open_risks)),
        (words.assumptions, len(assumed)),
    ]


def paragraphs(text: str) -> list[str]:
    """The lines of a text that say something."""
    return [line for line in (" ".join(line.split()) for line in clean(text).split("\n")) if line]


def charter_markdown(charter: Charter) -> str:
    """The charter as one Markdown file, with front matter. What users and models wrote is text, whatever markup it
    looks like. Ends with one newline."""
    words, numbers = charter_labels(charter.language), References(charter.answers)
    notes = labels(charter.language)
    parts = [
        _front_matter(charter),
        f"# {words.charter}: {literal(charter.name)}",
        f"> **{notes.simulated}** {notes.simulator}" if charter.simulated else "",
        *map(literal_paragraph, paragraphs(charter.description)),
        *_view(charter, words),
        f"*{literal(words.legend)}*",
        *(
            part
            for place, section in enumerate(charter.sections, 1)
            for part in _section(place, section, words, numbers)
        ),
        *_risks(charter, words, numbers),
        *_findings(charter, words, numbers),
        *_answers(charter, words, numbers),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(charter: Charter) -> str:
    view = view_of(charter)
    front: dict[str, object] = {"project": one_line(charter.name), "language": one_line(charter.language)}
    front |= {"decision": view.value} if view else {}
    front |= {
        "open_risks": len(charter.open_risks),
        "simulated": charter.simulated,
        "sha256_of_json": fingerprint(charter),
    }
    # JSON strings and numbers are YAML too.
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---"]
    )


def _view(charter: Charter, words: CharterLabels) -> Iterator[str]:
    view = view_of(charter)
    if view is not None:
        counted = " · ".join(f"{name}: {count}" for name, count in figures(charter, words))
        yield f"**{words.view}: {words.decision(view)}**\\\n{counted}"


def _marks(marks: Sequence[Mark]) -> str:
    return literal(f" [{', '.join(map(str, marks))}]").join((" ", "")) if marks else ""


def _statement(statement: Statement, numbers: References) -> str:
    return literal_paragraph(statement.text) + _marks(numbers.of(statement))


def _section(place: int, section: CharterSection, words: CharterLabels, numbers: References) -> Iterator[str]:
    yield f"## {place}. {literal(section.title)}"
    said = [_statement(statement, numbers) for statement in section.statements]
    if section.decision is None:
        yield from said
    else:
        yield f"**{words.decision(section.decision)}**"
        yield f"### {words.reasons}"
        yield _list(said)
    if section.conditions:
        yield f"### {words.conditions}"
        yield "\n".join(f"{n}. {_statement(one, numbers)}" for n, one in enumerate(section.conditions, 1))


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _risks(charter: Charter, words: CharterLabels, numbers: References) -> Iterator[str]:
    yield f"## {words.open_risks}"
    risks = [
        f"**{words.risk_kind(risk.kind)}:** {literal(risk.text)}{_marks(numbers.to(risk.rests_on))}"
        for risk in charter.open_risks
    ]
    yield _list(risks) or words.no_risks


def _findings(charter: Charter, words: CharterLabels, numbers: References) -> Iterator[str]:
    if charter.findings:
        yield f"## {words.appendix} A: {words.findings}"
    for stage in charter.findings:
        yield f"### {literal(stage_title(words, stage.stage, stage.title))}"
        yield _list(
            f"**{literal(found.title)}:** {literal(found.statement)}{_marks(numbers.to(found.rests_on))}"
            + (f" *({words.assumption})*" if found.assumption else "")
            for found in stage.findings
        )


def _answers(charter: Charter, words: CharterLabels, numbers: References) -> Iterator[str]:
    if charter.answers:
        yield f"## {words.appendix} B: {words.answers}"
    for stage in answers_by_stage(charter, words):
        yield f"### {literal(stage.title)}"
        for answer in stage.answers:
            yield f"**{numbers.number(answer.question)} {literal(answer.asked)}**"
            for place, said in enumerate(answer.said):
                lines = [literal_paragraph(line) for line in paragraphs(said)]
                if place and lines:
                    lines[0] = f"*{words.added}:* {literal(paragraphs(said)[0])}"
                yield "\n>\n".join(f"> {line}" for line in lines)
            for word in answer.settled:
                note = literal(words.settled(word, f"[{numbers.number(word.other)}]"))
                said_of_it = [literal_paragraph(line) for line in paragraphs(word.text)]
                yield "\n>\n".join(f"> {line}" for line in (f"*{note}*", *said_of_it))
            if answer.skipped:
                yield f"> *{words.skipped}*"
