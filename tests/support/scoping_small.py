"""A small session: five stages of three questions, and what is done in it."""

import pytest

from core.contracts.errors import ErrorType
from core.contracts.scoping import (
    Act,
    AnswerFollowUp,
    AnswerStage,
    Contradiction,
    PlannedFinding,
    PlannedQuestion,
    ReopenStage,
    ResolveContradiction,
    SkipQuestion,
    Verdict,
)
from core.contracts.scoping_moves import Plan, Refusal, checked, closed, judged, new_state, next_work, take
from core.contracts.scoping_state import Check, Close, Judge, SessionState, Wait, Write

QUESTIONS = tuple(
    PlannedQuestion(id=f"{name}{number}", stage=stage, finding=f"f{name}{number}", follow_ups=follow_ups)
    for stage, name in enumerate("abcde", start=1)
    for number, follow_ups in ((1, 2), (2, 1), (3, 0))
)
RESTS = {"fb1": ("fa1",), "fc1": ("fb1",), "fc2": ("fa2", "fb2"), "fd3": ("fc1",), "fe1": ("fb3",)}
FINDINGS = tuple(PlannedFinding(id=q.finding, stage=q.stage, rests_on=RESTS.get(q.finding, ())) for q in QUESTIONS)
PLAN = Plan(QUESTIONS, FINDINGS)
START = new_state(QUESTIONS, FINDINGS)


def answer(stage: int, *questions: str) -> AnswerStage:
    return AnswerStage(entry_id="e", stage=stage, questions=questions)


def follow(stage: int, *questions: str) -> AnswerFollowUp:
    return AnswerFollowUp(entry_id="e", stage=stage, questions=questions)


def skip(stage: int, question: str) -> SkipQuestion:
    return SkipQuestion(entry_id="e", stage=stage, question=question)


def reopen_of(stage: int, *questions: str) -> ReopenStage:
    return ReopenStage(entry_id="e", stage=stage, questions=questions)


def resolve(contradiction: str) -> ResolveContradiction:
    return ResolveContradiction(entry_id="e", contradiction=contradiction, holds="first")


def after(state: SessionState, *acts: Act) -> SessionState:
    """The state after these acts; what is said is clear, and what models have to do is done."""
    for act in acts:
        state = settled(take(state, PLAN, act))
    return state


def settled(state: SessionState, *contradictions: Contradiction) -> SessionState:
    """The state once models have nothing to do but write. The first check finds these."""
    while not isinstance(work := next_work(state, PLAN), Wait | Write):
        match work:
            case Judge():
                state = judged(state, PLAN, ())
            case Close(stage, _):
                state = closed(state, PLAN, stage)
            case Check():
                state, contradictions = checked(state, contradictions), ()
    return state


def vague(state: SessionState, *questions: str, follow_up: str = "How many?") -> SessionState:
    return judged(state, PLAN, [Verdict(question=id, vague=True, follow_up=follow_up) for id in questions])


def stage_answers(stage: int) -> AnswerStage:
    return answer(stage, *(question.id for question in PLAN.of_stage(stage)))


def answered(*stages: int) -> SessionState:
    return after(START, *map(stage_answers, stages))


def contradiction(first: str, second: str) -> Contradiction:
    return Contradiction(first=first, second=second, why="They differ.", question="Which one holds?")


def contradicting(*pairs: tuple[str, str]) -> SessionState:
    """All is answered, and these pairs contradict each other."""
    last = take(answered(1, 2, 3, 4), PLAN, stage_answers(5))
    return settled(last, *(contradiction(*pair) for pair in pairs))


def statuses(state: SessionState, *questions: str) -> list[str]:
    return [state.questions[id].status.value for id in questions]


def refused(state: SessionState, act: Act, type: ErrorType, words: str) -> Refusal:
    """The refusal of an act, which has left the state as it was."""
    before = state.model_dump_json()
    with pytest.raises(Refusal, match=words) as error:
        take(state, PLAN, act)
    assert error.value.type is type
    assert state.model_dump_json() == before
    return error.value
