"""The questions of a session: those that are shipped, and every kind of mistake in the file."""

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.contracts.scoping import CharterFormat, ScopingBrief, ScopingInput
from core.contracts.scoping_charter import CHARTER
from core.contracts.scoping_estimate import estimate
from core.contracts.scoping_questions import (
    QUESTIONNAIRE,
    Questionnaire,
    QuestionnaireError,
    planned,
    prepare,
    read_questionnaire,
)

FILE = files("core.contracts").joinpath("scoping_questions.toml").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[2]
STAGE = """
[[stages]]
number = {number}
title = "Stage {number}"
purpose = "To know {number}."
findings = [
    {{ id = "finding_{number}", title = "Finding {number}", rests_on = {rests_on} }},
]
"""
QUESTION = """
[[stages.questions]]
id = "question_{number}"
text = "What about {number}?"
help = "Say it."
finding = "finding_{number}"
"""


def text(**changes: str) -> str:
    """A small file of five stages, in which each of these is replaced."""
    made = "version = 1\n" + "".join(
        (STAGE + QUESTION).format(number=number, rests_on=json.dumps([f"finding_{number - 1}"] if number > 1 else []))
        for number in range(1, 6)
    )
    for old, new in changes.items():
        assert made.count(old) == 1, old
        made = made.replace(old, new)
    return made


# --- The shipped file.


def test_the_shipped_questions_are_those_of_the_file() -> None:
    assert read_questionnaire(FILE) == QUESTIONNAIRE
    assert [stage.title for stage in QUESTIONNAIRE.stages] == [
        "Business problem",
        "Value and measures of success",
        "Data readiness",
        "Users and workflow",
        "Risk, ethics and governance",
    ]
    for stage in QUESTIONNAIRE.stages:
        assert 5 <= len(stage.questions) <= 6
        assert 4 <= len(stage.findings) <= 5
        for question in stage.questions:
            assert question.text.endswith("?")
            assert question.help.endswith(".")
            assert question.follow_up.wants
    texts = [question.text for stage in QUESTIONNAIRE.stages for question in stage.questions]
    assert len(set(texts)) == len(texts)


def test_every_stage_of_the_shipped_questions_goes_into_the_charter() -> None:
    alone = {section.stages[0] for section in CHARTER.values() if len(section.stages) == 1}
    assert alone == {stage.number for stage in QUESTIONNAIRE.stages}


def test_reopening_a_stage_of_the_shipped_questions_never_reaches_all_that_is_later() -> None:
    for stage in QUESTIONNAIRE.stages[1:]:
        assert any(not finding.rests_on for finding in stage.findings) or stage.number >= 4


def test_questions_and_stages_are_found_by_their_names() -> None:
    assert QUESTIONNAIRE.stage(3).title == "Data readiness"
    assert QUESTIONNAIRE.question("data_kept").finding == "data_sources"
    with pytest.raises(KeyError, match="nonsense"):
        QUESTIONNAIRE.question("nonsense")


def test_a_small_file_takes_what_is_left_out_from_the_defaults() -> None:
    made = read_questionnaire(text())
    rule = made.question("question_1").follow_up
    assert (rule.at_most, rule.wants, rule.min_words) == (2, (), 6)
    questions, findings = planned(made)
    assert [(q.id, q.stage, q.finding, q.follow_ups) for q in questions[:1]] == [("question_1", 1, "finding_1", 2)]
    assert [(f.id, f.stage, f.rests_on) for f in findings[1:2]] == [("finding_2", 2, ("finding_1",))]


# --- What is fixed when a session is created.


def test_a_session_gets_the_questions_as_an_attachment_and_their_plan_in_its_brief() -> None:
    given = ScopingInput(
        name="  Late parcels ", description="Parcels come late.", language="de", formats=(CharterFormat.PDF,)
    )
    made, attachments = prepare(given, "owner", {})
    assert isinstance(made, ScopingBrief)
    assert (made.name, made.description, made.language) == ("Late parcels", "Parcels come late.", "de")
    assert made.formats == (CharterFormat.PDF,)
    assert (made.questions, made.findings) == planned(QUESTIONNAIRE)
    (file,) = attachments
    assert (file.name, file.ref.owner_id, file.ref.media_type) == ("questionnaire.json", "owner", "application/json")
    assert file.data is not None
    assert file.ref == made.questionnaire
    assert Questionnaire.model_validate_json(file.data) == QUESTIONNAIRE
    # It travels through the workflow.
    assert len(made.model_dump_json()) < 16_384


def test_a_format_is_named_once() -> None:
    with pytest.raises(ValidationError, match="a format is named twice"):
        ScopingInput(name="Parcels", description="Late.", formats=(CharterFormat.PDF, CharterFormat.PDF))


def test_what_a_session_is_expected_to_ask() -> None:
    calls = estimate(ScopingInput(name="Parcels", description="Parcels come late. " * 20))
    prompts = [call.prompt for call in calls]
    assert prompts == [
        *["scoping/judge_answers", "scoping/judge_answers", "scoping/close_stage"] * 5,
        "scoping/check_consistency",
        *["scoping/draft_section"] * len(CHARTER),
    ]
    paths = [call.path for call in calls]
    assert paths[:16] == list(range(16))
    assert set(paths[16:]) == {16}
    short = estimate(ScopingInput(name="Parcels", description="Late."))
    assert sum(call.input_tokens for call in short) < sum(call.input_tokens for call in calls)


# --- Mistakes.

RULE = 'finding = "finding_2"\nfollow_up = '
END = 'finding = "finding_2"\n'


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version = 1", "version =", r"the file is no TOML: Invalid value \(at line 1, column 10\)"),
        ("version = 1", "", "the file: 'version' is missing"),
        ("version = 1", "version = 0", "the file: 'version': input should be greater than or equal to 1"),
        ("version = 1", "version = 1\nlanguage = 'en'", "the file: no field is called 'language'; known are version"),
        ("number = 2", "number = 3", "stage 2: its number is 3; stages stand in their order"),
        ("number = 2", "number = 'two'", "stage 2: 'number': input should be a valid integer"),
        ("number = 2", "number = 6", "stage 2: 'number': input should be less than or equal to 5"),
        ('title = "Stage 2"', "", "stage 2: 'title' is missing"),
        ('title = "Stage 2"', 'titel = "Stage 2"', "stage 2: no field is called 'titel'; known are number, title"),
        ('purpose = "To know 2."', "purpose = ' '", "stage 2: 'purpose': string should have at least 1 character"),
        ('id = "question_2"', "", "stage 2, a question without an id: 'id' is missing"),
        ('id = "question_2"', 'id = "Question 2"', "stage 2, question 'Question 2': 'id': string should match pattern"),
        (
            'id = "question_2"',
            'id = "question_1"',
            "stage 2, question 'question_1': stage 1 has one of this id already",
        ),
        (
            'text = "What about 2?"',
            "text = 2",
            "stage 2, question 'question_2': 'text': input should be a valid string",
        ),
        (
            'text = "What about 2?"',
            f'text = "{"x" * 601}"',
            "stage 2, question 'question_2': 'text': string should have at most 600",
        ),
        (END, "", "stage 2, question 'question_2': 'finding' is missing"),
        (
            END,
            'finding = "finding_1"\n',
            "stage 2, question 'question_2': the stage has no finding 'finding_1'; it has 'finding_2'",
        ),
        (
            END,
            END + "followup = {}\n",
            "stage 2, question 'question_2': no field is called 'followup'; known are id, text",
        ),
        (END, RULE + "3", "stage 2, question 'question_2', follow_up: must be a table of at_most, wants, min_words"),
        (
            END,
            RULE + "{ at_most = 3 }",
            "question 'question_2', follow_up: 'at_most': input should be less than or equal",
        ),
        (END, RULE + "{ most = 1 }", "question 'question_2', follow_up: no field is called 'most'; known are at_most"),
        (
            END,
            RULE + "{ min_words = 0 }",
            "question 'question_2', follow_up: 'min_words': input should be greater than",
        ),
        (
            END,
            RULE + "{ wants = 'a figure' }",
            "question 'question_2', follow_up: 'wants': input should be a valid tuple",
        ),
        (END, RULE + "{ wants = [''] }", "question 'question_2', follow_up: 'wants.0': string should have at least"),
        ('id = "finding_2", ', "", "stage 2, a finding without an id: 'id' is missing"),
        ('title = "Finding 2"', "title = ''", "stage 2, finding 'finding_2': 'title': string should have at least"),
        (
            'rests_on = ["finding_2"]',
            'rests_on = ["nonsense"]',
            "stage 3, finding 'finding_3': it rests on 'nonsense', which is no finding",
        ),
        (
            'rests_on = ["finding_2"]',
            'rests_on = ["finding_4"]',
            "stage 3, finding 'finding_3': it rests on 'finding_4' of stage 4; only earlier stages can be rested on",
        ),
        ('rests_on = ["finding_2"]', 'rests_on = ["finding_3"]', "'finding_3' of stage 3; only earlier stages"),
        (
            '{ id = "finding_2", title',
            '{ id = "lonely", title = "Lonely" }, { id = "finding_2", title',
            "stage 2, finding 'lonely': no question leads to it",
        ),
        (
            '{ id = "finding_2", title',
            '{ id = "finding_1", title = "Again" }, { id = "finding_2", title',
            "stage 2, finding 'finding_1': stage 1 has one of this id already",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(old: str, new: str, told: str) -> None:
    with pytest.raises(QuestionnaireError, match=told) as error:
        read_questionnaire(text(**{old: new}))
    assert str(error.value).startswith("scoping questions: ")
    assert len(str(error.value).splitlines()) == 1


MORE = "".join(QUESTION.format(number=5).replace("question_5", f"more_{number}") for number in range(20))
QUESTION_1 = QUESTION.format(number=1)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("version = 1", "the file: 'stages' is missing"),
        ("version = 1\nstages = 5", "the file: 'stages' must be a list of tables"),
        ("version = 1\nstages = [1, 2, 3, 4, 5]", "stage 1: must be a table of number, title, purpose, findings"),
        (text().partition("[[stages]]\nnumber = 5")[0], "the file: 'stages' has 4 entries; it must have 5"),
        (text() + STAGE.format(number=6, rests_on="[]"), "the file: 'stages' has 6 entries; it must have 5"),
        (text().replace(QUESTION_1, ""), "stage 1: 'questions' is missing"),
        (text().replace(QUESTION_1, "questions = []"), "stage 1: 'questions' has 0 entries; 1 to 20 are possible"),
        (text().replace(QUESTION_1, "questions = [7]"), "stage 1, a question without an id: must be a table of id"),
        (text() + MORE, "stage 5: 'questions' has 21 entries; 1 to 20 are possible"),
    ],
)
def test_a_file_of_another_shape_is_told_so(written: str, told: str) -> None:
    with pytest.raises(QuestionnaireError, match=told) as error:
        read_questionnaire(written)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("process", ["api", "worker"])
def test_no_process_starts_with_a_mistake_in_the_file(tmp_path: Path, process: str) -> None:
    for package in ("activities", "api", "core", "worker", "workflows"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "core" / "contracts" / "scoping_questions.toml"
    file.write_text(FILE.replace('finding = "measure"', 'finding = "mesure"'), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", process], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "scoping questions: stage 2, question 'measured_by': the stage has no finding 'mesure'; "
        "it has 'benefit', 'value', 'measure', 'target', 'investment'\n"
    )
