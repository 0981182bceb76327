"""A charter as a PDF that a sponsor can sign."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.contracts.scoping_charter import Charter, CharterSection, Statement
from core.documents.blocks import LONGEST_WORD, breakable
from core.documents.charter import (
    FINGERPRINT,
    Mark,
    References,
    answers_by_stage,
    figures,
    fingerprint,
    paragraphs,
    stage_title,
    view_of,
)
from core.documents.charter_labels import CharterLabels, charter_labels
from core.documents.labels import language, running_head
from core.documents.text import one_line
from core.documents.typesetting import heading, line, readable_labels, typeset, unreadable

TEMPLATE = Path(__file__).with_name("charter.typ")
LONGEST_MARK = 10
"""Characters of a reference: a longer one, which is an id, may break anywhere."""


def charter_pdf(charter: Charter) -> bytes:
    """Typeset a charter: A4, a cover with the view, numbered sections whose statements refer to answers, open risks,
    a place to sign, and findings and answers as appendices.

    It blocks, 0.1 to 3 s: call it in a thread (`asyncio.to_thread`). The same charter gives the same bytes. Raises
    EXPORT_FAILED.
    """
    return typeset(TEMPLATE, charter=_data(charter))


def _data(charter: Charter) -> dict[str, Any]:
    """What `charter.typ` reads."""
    own, words, notes = language(charter.language), charter_labels(charter.language), readable_labels(charter.language)
    numbers, name, view, sha256 = (
        References(charter.answers),
        one_line(charter.name),
        view_of(charter),
        fingerprint(charter),
    )
    return {
        "lang": own.code,
        "region": own.region,
        "dir": own.direction,
        "labels": {
            **{key: value for key, value in words._asdict().items() if isinstance(value, str)},
            "lang": words.language.code,
            "signed": words.signed.format(_grouped(sha256)),
        },
        # Longer lists of languages have these: they may be in another one than the words of charters.
        "notes": {
            "lang": notes.language.code,
            "dir": notes.language.direction,
            "contents": notes.contents,
            "simulated": notes.note,
            "unreadable": notes.unreadable,
        },
        "name": name,
        "title": heading(name),
        "head": breakable(running_head(name), LONGEST_WORD),
        "description": _paragraphs(charter.description),
        "simulated": charter.simulated,
        "unreadable": unreadable(_all_text(charter)),
        "fingerprint": _grouped(sha256[:FINGERPRINT]),
        "view": None if view is None else {"id": view.value, "text": words.decision(view)},
        "figures": [{"name": label, "count": count} for label, count in figures(charter, words)],
        "sections": [_section(section, words, numbers) for section in charter.sections],
        "risks": [
            {"kind": words.risk_kind(risk.kind), "text": line(risk.text), "refs": _refs(numbers.to(risk.rests_on))}
            for risk in charter.open_risks
        ],
        "findings": [
            {
                "title": heading(stage_title(words, stage.stage, stage.title)),
                "items": [
                    {
                        "title": line(found.title),
                        "text": line(found.statement),
                        "refs": _refs(numbers.to(found.rests_on)),
                        "assumption": found.assumption,
                    }
                    for found in stage.findings
                ],
            }
            for stage in charter.findings
        ],
        "answers": _answers(charter, words, numbers),
    }


def _section(section: CharterSection, words: CharterLabels, numbers: References) -> dict[str, Any]:
    decision = section.decision
    return {
        "title": heading(section.title),
        "statements": _statements(section.statements, numbers),
        "conditions": _statements(section.conditions, numbers),
        "view": None if decision is None else {"id": decision.value, "text": words.decision(decision)},
    }


def _statements(statements: Iterable[Statement], numbers: References) -> list[dict[str, Any]]:
    return [{"text": line(statement.text), "refs": _refs(numbers.of(statement))} for statement in statements]


def _refs(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    return [
        {
            "shown": breakable(str(mark), LONGEST_MARK),
            "to": mark.shown if mark.known else None,
            "guess": mark.assumption,
        }
        for mark in marks
    ]


def _answers(charter: Charter, words: CharterLabels, numbers: References) -> list[dict[str, Any]]:
    return [
        {
            "title": heading(stage.title),
            "items": [
                {
                    "number": numbers.number(answer.question),
                    "asked": line(answer.asked),
                    "said": [_paragraphs(said) for said in answer.said],
                    "settled": [
                        {"note": words.settled(word, f"[{numbers.number(word.other)}]"), "text": _paragraphs(word.text)}
                        for word in answer.settled
                    ],
                    "skipped": answer.skipped,
                }
                for answer in stage.answers
            ],
        }
        for stage in answers_by_stage(charter, words)
    ]


def _paragraphs(text: str) -> list[str]:
    return [breakable(part, LONGEST_WORD) for part in paragraphs(text)]


def _grouped(digits: str) -> str:
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _all_text(charter: Charter) -> str:
    """What stands in the PDF of others' words."""
    sections = (
        text
        for section in charter.sections
        for text in (section.title, *(one.text for one in (*section.statements, *section.conditions)))
    )
    findings = (
        text for stage in charter.findings for found in stage.findings for text in (found.title, found.statement)
    )
    answers = (
        text
        for answer in charter.answers
        for text in (answer.asked, *answer.said, *(word.text for word in answer.settled))
    )
    titles = (stage.title for stage in charter.findings)
    risks = (risk.text for risk in charter.open_risks)
    return "\n".join((charter.name, charter.description, *sections, *titles, *findings, *risks, *answers))
