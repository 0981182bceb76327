"""What is not taken of a model in a scoping session although it fits the schema, and what models are told of it."""

from dataclasses import replace
from typing import Any

import pytest

from activities.scoping.assembling import charter_of
from activities.scoping.checking import wrong_contradictions, wrong_findings, wrong_section, wrong_verdicts
from activities.scoping.material import SESSION_CHARACTERS, Material, feeding, longest
from core.contracts.scoping import Finding, Verdict
from core.contracts.scoping_charter import (
    ConsistencyAnswer,
    Decision,
    DraftedStatement,
    FindingsAnswer,
    FoundContradiction,
    FoundStatement,
    JudgeAnswer,
    SectionAnswer,
    SectionId,
)
from core.contracts.scoping_entries import Said, Turn
from core.contracts.scoping_moves import new_state
from core.contracts.scoping_questions import QUESTIONNAIRE, planned
from core.contracts.scoping_state import ContradictionState, QuestionState, QuestionStatus

LEFT = {"size": 2, "people": 0}


def judged(*verdicts: tuple[str, bool, str]) -> JudgeAnswer:
    return JudgeAnswer(verdicts=tuple(Verdict(question=id, vague=vague, follow_up=ask) for id, vague, ask in verdicts))


@pytest.mark.parametrize(
    ("verdicts", "wrong"),
    [
        ([("size", False, ""), ("people", False, "")], None),
        ([("people", True, ""), ("size", True, "How many?")], None),
        ([("size", False, "And how many?"), ("people", False, "")], None),
        ([("size", False, "")], "no verdict for people"),
        ([("size", False, ""), ("people", False, ""), ("aim", False, "")], "a verdict for aim, which was not"),
        ([("size", False, ""), ("size", True, "How?"), ("people", False, "")], "more than one verdict for size"),
        ([("size", True, "…"), ("people", False, "")], "size is called vague, and no follow-up"),
        ([("size", True, "how MANY  people?"), ("people", False, "")], "about size was asked before"),
    ],
)
def test_there_is_one_verdict_a_question_and_a_new_follow_up_about_each_vague_answer(
    verdicts: list[tuple[str, bool, str]], wrong: str | None
) -> None:
    said = wrong_verdicts(judged(*verdicts), LEFT, {"size": ["How many people?"]})
    assert (said is None) if wrong is None else (said is not None and wrong in said)


def found(*statements: tuple[str, str, tuple[str, ...]]) -> FindingsAnswer:
    return FindingsAnswer(
        findings=tuple(FoundStatement(finding=id, statement=text, rests_on=on) for id, text, on in statements)
    )


@pytest.mark.parametrize(
    ("statements", "wrong"),
    [
        ([("scale", "400 a week.", ("size",))], None),
        ([("scale", "400 a week.", ("size", "cost"))], None),
        ([("scale", "400 a week.", ("size", "people"))], "scale rests on people; it can rest on size, cost only"),
        ([("scale", "—", ("size",))], "the statement of scale says nothing"),
        ([("aim", "Less.", ("size",))], "no statement for scale"),
        ([("scale", "400.", ("size",)), ("scale", "500.", ("size",))], "more than one statement for scale"),
    ],
)
def test_each_finding_is_stated_once_from_its_own_questions(
    statements: list[tuple[str, str, tuple[str, ...]]], wrong: str | None
) -> None:
    said = wrong_findings(found(*statements), {"scale": ("size", "cost")})
    assert (said is None) if wrong is None else (said is not None and wrong in said)


@pytest.mark.parametrize(
    ("first", "second", "why", "wrong"),
    [
        ("size", "amount", "Two figures.", None),
        ("amount", "size", "Two figures.", None),
        ("size", "people", "Two figures.", "questions of one stage"),
        ("size", "size", "Two figures.", "questions of one stage"),
        ("size", "unknown", "Two figures.", "names unknown"),
        ("size", "amount", "!", "says or asks nothing"),
    ],
)
def test_a_contradiction_is_between_answers_of_two_stages(first: str, second: str, why: str, wrong: str | None) -> None:
    answer = ConsistencyAnswer(
        contradictions=(FoundContradiction(first=first, second=second, why=why, question="Which?"),)
    )
    said = wrong_contradictions(answer, {"size": 1, "people": 1, "amount": 3})
    assert (said is None) if wrong is None else (said is not None and wrong in said)
    assert wrong_contradictions(ConsistencyAnswer(contradictions=()), {}) is None


def section(*texts: str, on: str = "size", decision: Decision | None = None, conditions: int = 0) -> SectionAnswer:
    return SectionAnswer(
        statements=tuple(DraftedStatement(text=text, rests_on=(on,)) for text in texts),
        decision=decision,
        conditions=tuple(DraftedStatement(text=f"Settle {n}.", rests_on=(on,)) for n in range(conditions)),
    )


@pytest.mark.parametrize(
    ("id", "answer", "wrong"),
    [
        (SectionId.DATA, section("It is so.", "It is not."), None),
        (SectionId.DATA, section("It is so.", decision=Decision.GO, conditions=1), None),
        (SectionId.DATA, section("It is so.", on="people"), "rests on people; this section can rest on size only"),
        (SectionId.DATA, section("It is so.", "***"), "a statement says nothing"),
        (SectionId.DATA, section("It is so.", "it  is SO."), "stands twice: it  is SO."),
        (SectionId.DECISION, section("It is so."), "no decision"),
        (SectionId.DECISION, section("It is so.", decision=Decision.GO), None),
        (SectionId.DECISION, section("It is so.", decision=Decision.GO, conditions=1), "go_with_conditions"),
        (SectionId.DECISION, section("It is so.", decision=Decision.GO_WITH_CONDITIONS), "names no condition"),
        (SectionId.DECISION, section("It is so.", decision=Decision.GO_WITH_CONDITIONS, conditions=2), None),
        (SectionId.DECISION, section("It is so.", decision=Decision.NO_GO), None),
        (SectionId.DECISION, section("Settle 0.", decision=Decision.NO_GO, conditions=1), "stands twice"),
    ],
)
def test_a_section_rests_on_its_own_stages_and_a_decision_decides(
    id: SectionId, answer: SectionAnswer, wrong: str | None
) -> None:
    said = wrong_section(answer, id, ["size"])
    assert (said is None) if wrong is None else (said is not None and wrong in said)


# What models are told.

SETTLED = QuestionState(status=QuestionStatus.SETTLED)
VAGUE = QuestionState(status=QuestionStatus.SETTLED, vague=True, follow_ups=2)
SKIPPED = QuestionState(status=QuestionStatus.SKIPPED)


def material(said: dict[str, Said] | None = None, **more: Any) -> Material:
    """A session in which everything was answered clearly; questions, findings and contradictions may differ."""
    state = new_state(*planned(QUESTIONNAIRE))
    questions = {id: more.pop(id, SETTLED) for id in state.questions}
    state = state.model_copy(update={"questions": questions, "contradictions": tuple(more.pop("contradictions", ()))})
    answered = {
        question.id: Said(asked=question.text, turns=(Turn(asked=question.text, said=f"It is {question.id}."),))
        for stage in QUESTIONNAIRE.stages
        for question in stage.questions
    }
    fields: dict[str, Any] = {
        "name": "Ticket triage",
        "description": "Sort what comes in.",
        "language": "en",
        "questionnaire": QUESTIONNAIRE,
        "state": state,
        "said": {**answered, **(said or {})},
        "findings": {
            finding.id: Finding(id=finding.id, statement=f"So is {finding.id}.", rests_on=feeding(stage, finding.id))
            for stage in QUESTIONNAIRE.stages
            for finding in stage.findings
        },
    }
    return Material(**{**fields, **more})


def test_what_an_answer_is_worth_is_not_for_a_model_to_say() -> None:
    given = material(problem_size=VAGUE, why_now=SKIPPED)
    assert given.standing("problem_now") == "answered"
    assert given.standing("problem_size") == "left vague"
    assert given.standing("why_now") == "skipped"
    assert given.assumed(("problem_size", "why_now"))
    assert not given.assumed(("problem_size", "problem_now"))
    assert set(given.answered()) == set(given.said) - {"why_now"}
    assert material({"problem_now": Said(asked="?")}).standing("problem_now") == "skipped"


def test_the_judge_is_told_the_rule_and_all_that_was_said_so_far() -> None:
    turns = (Turn(asked="How often?", said="Often."), Turn(asked="How many?", said="Many."))
    given = material(
        {"problem_size": Said(asked="How often?", turns=turns)},
        problem_size=QuestionState(status=QuestionStatus.GIVEN, follow_ups=1),
        why_now=QuestionState(stale=True),
    )
    told = given.judged_inputs(1, ("problem_size",))
    (asked,) = told["questions"]
    assert (asked["answer"], asked["follow_ups"]) == ("Often.", [{"asked": "How many?", "said": "Many."}])
    assert (asked["follow_ups_left"], asked["wants"][0]) == (1, "a figure with a unit")
    others = {other["id"] for other in told["others"]}
    assert "problem_now" in others
    # What is asked again does not hold, and later stages are not asked yet.
    assert not others & {"problem_size", "why_now", "who_gains"}
    assert given.asked_before(("problem_size",)) == {"problem_size": ["How many?"]}


def test_findings_are_made_from_their_questions_and_what_they_rest_on() -> None:
    told = material().closing_inputs(2, ("value", "target"))
    assert [finding["id"] for finding in told["findings"]] == ["value", "target"]
    assert [finding["made_from"] for finding in told["findings"]] == [["yearly_value"], ["success_target", "stop_sign"]]
    assert {question["id"] for question in told["questions"]} == {"yearly_value", "success_target", "stop_sign"}
    assert [finding["statement"] for finding in told["earlier"]] == ["So is scale.", "So is aim."]


def test_a_section_is_told_of_its_stages_and_of_nothing_else() -> None:
    (told,) = material().stage_inputs((3,))
    stage = QUESTIONNAIRE.stage(3)
    assert [question["id"] for question in told["questions"]] == [question.id for question in stage.questions]
    assert [finding["statement"] for finding in told["findings"]] == [f"So is {f.id}." for f in stage.findings]


def test_the_comparison_is_told_of_what_was_settled() -> None:
    def pair(id: str, **more: Any) -> ContradictionState:
        return ContradictionState(
            id=id, first="problem_size", second="data_amount", why=f"Why {id}", question="?", **more
        )

    given = material(contradictions=[pair("a"), pair("b", settled=True), pair("c", accepted=True)])
    told = given.checking_inputs()
    assert [settled["why"] for settled in told["settled"]] == ["Why b", "Why c"]
    assert [len(stage["questions"]) for stage in told["stages"]] == [len(s.questions) for s in QUESTIONNAIRE.stages]


def test_what_is_open_is_told_once() -> None:
    pair = ContradictionState(
        id="a", first="problem_size", second="data_amount", why="Two figures.", question="?", accepted=True
    )
    assumed = Finding(id="scale", statement="It is assumed.", rests_on=("problem_size",), assumption=True)
    given = material(
        {"why_now": Said(asked="Why now?", skipped=True, because="Nobody knows.")},
        problem_size=VAGUE,
        why_now=SKIPPED,
        handled_today=VAGUE,
        contradictions=[pair],
    )
    given = replace(given, findings={**given.findings, "scale": assumed})
    risks = given.open_risks(range(1, 6))
    assert [(risk.kind, risk.rests_on) for risk in risks] == [
        ("assumption", ("problem_size",)),
        ("vague", ("handled_today",)),
        ("assumption", ("why_now",)),
        ("contradiction", ("problem_size", "data_amount")),
    ]
    assert risks[0].text == "It is assumed."
    assert risks[2].text.endswith("Nobody knows.")
    # One that is not of these stages alone is told where both are.
    assert [risk.kind for risk in given.open_risks((3,))] == []
    assert [risk.rests_on for risk in charter_of(given, []).open_risks] == [risk.rests_on for risk in risks]


@pytest.mark.parametrize(
    ("lengths", "limit", "most"),
    [([], 9, 0), ([3, 4], 9, 4), ([3, 7], 9, 6), ([10, 10, 10], 9, 3), ([1, 10, 10], 9, 4), ([9], 9, 9), ([5], 0, 0)],
)
def test_how_long_texts_may_be_that_share_a_room(lengths: list[int], limit: int, most: int) -> None:
    assert longest(lengths, limit) == most
    assert sum(min(length, most) for length in lengths) <= limit


def test_a_prompt_holds_all_answers_and_of_very_long_ones_the_beginnings() -> None:
    long = {
        question.id: Said(
            asked="?", turns=tuple(Turn(asked="?", said=f"{question.id} " + "x" * 7_900) for _ in range(3))
        )
        for stage in QUESTIONNAIRE.stages
        for question in stage.questions
    }
    short = Said(asked="?", turns=(Turn(asked="?", said="It is short."),))
    told = material({**long, "why_now": short}).checking_inputs()
    questions = {question["id"]: question for stage in told["stages"] for question in stage["questions"]}
    said = [text for q in questions.values() for text in (q["answer"], *(turn["said"] for turn in q["follow_ups"]))]
    assert questions["why_now"]["answer"] == "It is short."
    assert questions["data_amount"]["answer"].startswith("data_amount x")
    assert questions["data_amount"]["answer"].endswith(" […]")
    assert SESSION_CHARACTERS * 0.95 < sum(map(len, said)) < SESSION_CHARACTERS + 10 * len(said)
