"""A charter to export: an invented project."""

from typing import Any

from core.contracts.scoping_charter import (
    CHARTER,
    Basis,
    Charter,
    CharterFinding,
    CharterSection,
    Decision,
    OpenRisk,
    SaidAnswer,
    SectionId,
    StageFindings,
    Statement,
)

TITLES = ("Business problem", "Value and measures of success", "Data readiness", "Users and workflow", "Risk")


def statement(text: str, *rests_on: str, assumed: tuple[str, ...] = ()) -> Statement:
    """A statement that rests on answers, and on assumptions."""
    bases = [Basis(question=id) for id in rests_on] + [Basis(question=id, assumption=True) for id in assumed]
    return Statement(text=text, rests_on=tuple(bases))


def section(id: SectionId, *statements: Statement, **changes: Any) -> CharterSection:
    """A section under its own title."""
    return CharterSection(id=id, title=CHARTER[id].title, statements=statements, **changes)


SECTIONS = (
    section(
        SectionId.SUMMARY,
        statement("Clerks of the Brackwater harbour office read 340 cargo notes a day by hand.", "pain", "volume"),
        statement("A model that sorts them first could save 22 hours a week.", "saving", assumed=("baseline",)),
    ),
    section(SectionId.PROBLEM, statement("Each note takes four minutes, and one in nine is filed wrongly.", "pain")),
    section(SectionId.VALUE, statement("Success is fewer than 2 % of notes in the wrong file by March.", "saving")),
    section(SectionId.DATA, statement("Six years of scanned notes exist; two are labelled.", "sources")),
    section(SectionId.USERS, statement("Nine clerks correct the sorting in the program they use.", "people")),
    section(SectionId.RISK, statement("Crew lists hold names, so the notes stay in the office.", "privacy")),
    section(SectionId.PLAN, statement("First 500 notes are sorted beside the clerks.", "sources", "people")),
    section(
        SectionId.DECISION,
        statement("The saving is measured in hours that are counted today.", "saving"),
        statement("Labelled notes exist for two years.", "sources"),
        decision=Decision.GO_WITH_CONDITIONS,
        conditions=(
            statement("The harbour master names an owner of the labels.", assumed=("owner",)),
            statement("Crew lists are blacked out before anybody trains on them.", "privacy"),
        ),
    ),
)
RISKS = (
    OpenRisk(kind="assumption", text="Nobody knows who owns the labels.", rests_on=("owner",)),
    OpenRisk(kind="vague", text="How many notes come in winter stayed vague.", rests_on=("volume",)),
    OpenRisk(kind="contradiction", text="340 notes a day, or 500 a week.", rests_on=("volume", "saving")),
)
ANSWERS = (
    ("pain", 1, "What goes wrong today, and how often?", ("Clerks read each note. One in nine is filed wrongly.",)),
    ("volume", 1, "How much of it is there?", ("Many.", "About 340 a day, more in winter.")),
    ("saving", 2, "What is it worth?", ("22 hours a week.\n\nThat is half a clerk.",)),
    ("baseline", 2, "How is it measured today?", ()),
    ("sources", 3, "Which data exist?", ("Scans since 2019; 2023 and 2024 have labels.",)),
    ("owner", 3, "Who owns them?", ()),
    ("people", 4, "Who works with it?", ("Nine clerks in two shifts.",)),
    ("privacy", 5, "Which personal data are in it?", ("Names of crews.",)),
)


def said(question: str, stage: int, asked: str, said: tuple[str, ...]) -> SaidAnswer:
    """A question with what was said; nothing said is skipped."""
    return SaidAnswer(question=question, stage=stage, asked=asked, said=said, skipped=not said)


def findings() -> tuple[StageFindings, ...]:
    """One finding a question."""
    return tuple(
        StageFindings(
            stage=stage,
            title=title,
            findings=tuple(
                CharterFinding(
                    id=f"found_{id}",
                    title=f"About {id}",
                    statement=" ".join(words) or f"It is assumed that the {id} is known.",
                    rests_on=(id,),
                    assumption=not words,
                )
                for id, of_stage, _, words in ANSWERS
                if of_stage == stage
            ),
        )
        for stage, title in enumerate(TITLES, 1)
    )


def charter(**changes: Any) -> Charter:
    """The charter of a project with answers, assumptions, risks and a view."""
    fields: dict[str, Any] = {
        "name": "Sorting cargo notes",
        "description": "The harbour office of Brackwater wants its cargo notes sorted before a clerk reads them.",
        "sections": SECTIONS,
        "findings": findings(),
        "open_risks": RISKS,
        "answers": tuple(said(*answer) for answer in ANSWERS),
    }
    return Charter(**(fields | changes))
