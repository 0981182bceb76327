"""The questions of `scoping`: read from a file, checked, and fixed in a session when it is created."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from core.contracts.base import Contract, Name, Prepared, attachment
from core.contracts.reading import UploadedFile
from core.contracts.scoping import (
    MOST_FOLLOW_UPS,
    STAGES,
    FindingId,
    PlannedFinding,
    PlannedQuestion,
    QuestionId,
    ScopingBrief,
    ScopingInput,
    StageNumber,
)

MOST_QUESTIONS, MOST_FINDINGS = 20, 12
"""Of one stage: as many as a model judges, or finds, in one answer."""

Sentence = Annotated[str, StringConstraints(min_length=1, max_length=600, strip_whitespace=True)]
Want = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]


class FollowUpRule(Contract):
    """When an answer is asked about again. `wants` says what a clear one has, `min_words` the least it takes."""

    at_most: int = Field(default=MOST_FOLLOW_UPS, ge=0, le=MOST_FOLLOW_UPS)
    wants: tuple[Want, ...] = Field(default=(), max_length=6)
    min_words: int = Field(default=6, ge=1, le=100)


class Question(Contract):
    """A question with its words, and the finding that its answer goes into."""

    id: QuestionId
    text: Sentence
    help: Sentence
    finding: FindingId
    follow_up: FollowUpRule = FollowUpRule()


class FindingPlan(Contract):
    """What a stage is to find, and the findings of earlier stages that it rests on."""

    id: FindingId
    title: Name
    rests_on: tuple[FindingId, ...] = ()


class Stage(Contract):
    """A stage with its questions in their order."""

    number: StageNumber
    title: Name
    purpose: Sentence
    findings: tuple[FindingPlan, ...] = Field(min_length=1, max_length=MOST_FINDINGS)
    questions: tuple[Question, ...] = Field(min_length=1, max_length=MOST_QUESTIONS)


class Questionnaire(Contract):
    """All stages. `version` counts what product people made of the file."""

    version: int = Field(ge=1)
    stages: tuple[Stage, ...] = Field(min_length=STAGES, max_length=STAGES)

    def stage(self, number: StageNumber) -> Stage:
        """The stage of a number."""
        return self.stages[number - 1]

    def question(self, id: QuestionId) -> Question:
        """The question of an id. Raises `KeyError`."""
        for stage in self.stages:
            for question in stage.questions:
                if question.id == id:
                    return question
        raise KeyError(id)


class QuestionnaireError(SystemExit):
    """A questions file that makes no questionnaire: one line that names the place and what is wrong there.

    The file is read while a process starts. Whoever edited it sees this line, and no traceback of imports.
    """

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"scoping questions: {place}: {message}" if place else f"scoping questions: {message}")


def planned(questionnaire: Questionnaire) -> tuple[tuple[PlannedQuestion, ...], tuple[PlannedFinding, ...]]:
    """The questions and findings without their words, as a workflow knows them."""
    questions = tuple(
        PlannedQuestion(
            id=question.id, stage=stage.number, finding=question.finding, follow_ups=question.follow_up.at_most
        )
        for stage in questionnaire.stages
        for question in stage.questions
    )
    findings = tuple(
        PlannedFinding(id=finding.id, stage=stage.number, rests_on=finding.rests_on)
        for stage in questionnaire.stages
        for finding in stage.findings
    )
    return questions, findings


def read_questionnaire(text: str) -> Questionnaire:
    """The questionnaire of a TOML file's text. Raises `QuestionnaireError` for the first mistake."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise QuestionnaireError("", f"the file is no TOML: {error}") from error
    _check_shape("the file", told, Questionnaire)
    for number, stage in enumerate(told["stages"], start=1):
        place = f"stage {number}"
        _check_shape(place, stage, Stage)
        if stage["number"] != number:
            raise QuestionnaireError(place, f"its number is {stage['number']!r}; stages stand in their order")
        for finding in stage["findings"]:
            _check_shape(_named(place, "finding", finding), finding, FindingPlan)
        for question in stage["questions"]:
            within = _named(place, "question", question)
            _check_shape(within, question, Question)
            _check_shape(f"{within}, follow_up", question.get("follow_up", {}), FollowUpRule)
    questionnaire = Questionnaire.model_validate(told)
    _check_ids(questionnaire)
    _check_ties(questionnaire)
    return questionnaire


_LISTS = {"stages": (STAGES, STAGES), "findings": (1, MOST_FINDINGS), "questions": (1, MOST_QUESTIONS)}
"""Fields whose entries are checked one by one, so that a mistake is told with its place, and how many there can be."""


def _named(place: str, kind: str, told: Any) -> str:
    id = told.get("id") if isinstance(told, dict) else None
    return f"{place}, {kind} {id!r}" if id else f"{place}, a {kind} without an id"


def _check_shape(place: str, told: Any, model: type[Contract]) -> None:
    """Raises `QuestionnaireError` for a field that is unknown, is missing, or holds what it may not."""
    if not isinstance(told, dict):
        raise QuestionnaireError(place, f"must be a table of {', '.join(model.model_fields)}")
    for name in told:
        if name not in model.model_fields:
            raise QuestionnaireError(place, f"no field is called {name!r}; known are {', '.join(model.model_fields)}")
    for name, field in model.model_fields.items():
        if name not in told and field.is_required():
            raise QuestionnaireError(place, f"{name!r} is missing")
        if name in _LISTS:
            _check_list(place, name, told[name])
    flat = {name: value for name, value in told.items() if name not in (*_LISTS, "follow_up")}
    try:
        model.model_validate(flat)
    except ValidationError as error:
        wrong = [one for one in error.errors() if one["loc"][0] in flat]
        if wrong:
            raise QuestionnaireError(place, _told(wrong[0]["loc"], wrong[0]["msg"])) from error


def _check_list(place: str, name: str, told: Any) -> None:
    least, most = _LISTS[name]
    if not isinstance(told, list):
        raise QuestionnaireError(place, f"{name!r} must be a list of tables")
    if not least <= len(told) <= most:
        possible = f"{least} to {most} are possible" if least < most else f"it must have {most}"
        raise QuestionnaireError(place, f"{name!r} has {len(told)} entries; {possible}")


def _told(loc: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, loc))!r}: {message[:1].lower()}{message[1:]}"


def _check_ids(questionnaire: Questionnaire) -> None:
    """Raises `QuestionnaireError` for an id that is used twice."""
    for kind, ids in (
        ("question", [(s.number, q.id) for s in questionnaire.stages for q in s.questions]),
        ("finding", [(s.number, f.id) for s in questionnaire.stages for f in s.findings]),
    ):
        seen: dict[str, int] = {}
        for stage, id in ids:
            if id in seen:
                raise QuestionnaireError(
                    f"stage {stage}, {kind} {id!r}", f"stage {seen[id]} has one of this id already"
                )
            seen[id] = stage


def _check_ties(questionnaire: Questionnaire) -> None:
    """Raises `QuestionnaireError` when questions and findings, or findings among themselves, do not fit together."""
    stage_of = {finding.id: stage.number for stage in questionnaire.stages for finding in stage.findings}
    for stage in questionnaire.stages:
        for question in stage.questions:
            if stage_of.get(question.finding) != stage.number:
                raise QuestionnaireError(
                    f"stage {stage.number}, question {question.id!r}",
                    f"the stage has no finding {question.finding!r}; it has {_listed(f.id for f in stage.findings)}",
                )
        fed = {question.finding for question in stage.questions}
        for finding in stage.findings:
            place = f"stage {stage.number}, finding {finding.id!r}"
            if finding.id not in fed:
                raise QuestionnaireError(place, "no question leads to it")
            for id in finding.rests_on:
                if id not in stage_of:
                    raise QuestionnaireError(place, f"it rests on {id!r}, which is no finding")
                if stage_of[id] >= stage.number:
                    raise QuestionnaireError(
                        place, f"it rests on {id!r} of stage {stage_of[id]}; only earlier stages can be rested on"
                    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def prepare(given: ScopingInput, owner_id: str, uploads: Mapping[str, UploadedFile] = MappingProxyType({})) -> Prepared:
    """The brief of an input, with the questions as they are now: an edited file changes later sessions only."""
    file = attachment(owner_id, "questionnaire.json", QUESTIONNAIRE.model_dump_json(), "application/json")
    questions, findings = planned(QUESTIONNAIRE)
    brief = ScopingBrief(
        name=given.name,
        description=given.description,
        language=given.language,
        formats=given.formats,
        questionnaire=file.ref,
        questions=questions,
        findings=findings,
    )
    return Prepared(brief, (file,))


QUESTIONNAIRE = read_questionnaire(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""As the file has it: a process that finds a mistake in it does not start."""
