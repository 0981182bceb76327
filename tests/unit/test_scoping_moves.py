"""What may happen to a scoping session, and that a refusal changes nothing."""

import pytest

from core.contracts.errors import ErrorType
from core.contracts.scoping import Act, AnswerStage, Finish, ReopenStage, Verdict
from core.contracts.scoping_moves import (
    checked,
    closed,
    current_stage,
    failed,
    judged,
    next_work,
    reopened,
    take,
    tried,
    written,
)
from core.contracts.scoping_state import (
    Check,
    Close,
    Judge,
    Phase,
    QuestionStatus,
    SessionState,
    StageStatus,
    Wait,
    Write,
)
from tests.support.scoping_small import (
    FINDINGS,
    PLAN,
    START,
    answer,
    answered,
    contradicting,
    contradiction,
    follow,
    refused,
    reopen_of,
    resolve,
    settled,
    skip,
    stage_answers,
    statuses,
    vague,
)
from tests.support.scoping_walk import PLAN as SHIPPED
from tests.support.scoping_walk import Walk

# --- From the first question to the charter.


def test_a_new_session_asks_the_first_stage() -> None:
    assert [stage.status for stage in START.stages] == [StageStatus.OPEN, *[StageStatus.UPCOMING] * 4]
    assert set(statuses(START, *START.questions)) == {"open"}
    assert next_work(START, PLAN) == Wait(1)
    assert (START.seq, START.phase) == (0, Phase.ASKING)


def test_stages_open_one_after_the_other_and_lead_to_the_charter() -> None:
    state = START
    for number in range(1, 6):
        assert next_work(state, PLAN) == Wait(number)
        questions = tuple(question.id for question in PLAN.of_stage(number))
        state = take(state, PLAN, stage_answers(number))
        assert state.seq == number
        assert next_work(state, PLAN) == Judge(number, questions)
        state = judged(state, PLAN, ())
        assert next_work(state, PLAN) == Close(number, tuple(f"f{id}" for id in questions))
        state = closed(state, PLAN, number)
        assert state.stages[number - 1].status is StageStatus.CLOSED
        assert state.stages[number - 1].closed == 1
        assert state.phase is Phase.ASKING
    assert current_stage(state) is None
    assert next_work(state, PLAN) == Check()
    state = checked(state, ())
    assert next_work(state, PLAN) == Write()
    assert state.phase is Phase.WRITING
    assert state.touched == ()
    assert state.changed == tuple(finding.id for finding in FINDINGS)
    assert written(state).phase is Phase.DONE


def test_a_stage_can_be_answered_in_parts_and_in_any_order() -> None:
    state = take(START, PLAN, answer(1, "a3", "a1"))
    assert statuses(state, "a1", "a2", "a3") == ["given", "open", "given"]
    assert next_work(state, PLAN) == Judge(1, ("a1", "a3"))
    state = judged(state, PLAN, ())
    assert next_work(state, PLAN) == Wait(1)
    assert next_work(judged(take(state, PLAN, answer(1, "a2")), PLAN, ()), PLAN) == Close(1, ("fa1", "fa2", "fa3"))


def test_a_question_that_is_named_twice_counts_once() -> None:
    assert take(START, PLAN, answer(1, "a1", "a1")) == take(START, PLAN, answer(1, "a1"))


def test_a_vague_answer_gets_as_many_follow_ups_as_its_rule_allows() -> None:
    state = vague(take(START, PLAN, stage_answers(1)), "a1", "a2", "a3")
    assert statuses(state, "a1", "a2", "a3") == ["follow_up", "follow_up", "settled"]
    assert state.questions["a1"].follow_up == "How many?"
    assert state.questions["a3"].vague
    state = vague(take(state, PLAN, follow(1, "a1", "a2")), "a1", "a2", follow_up=" And when? ")
    assert statuses(state, "a1", "a2") == ["follow_up", "settled"]
    assert state.questions["a1"].follow_up == "And when?"
    state = vague(take(state, PLAN, follow(1, "a1")), "a1")
    assert statuses(state, "a1") == ["settled"]
    assert [state.questions[id].follow_ups for id in ("a1", "a2", "a3")] == [2, 1, 0]
    assert all(state.questions[id].vague for id in ("a1", "a2", "a3"))


def test_a_clear_answer_gets_none_and_one_that_became_clear_is_not_vague() -> None:
    state = judged(
        take(START, PLAN, answer(1, "a1", "a2")),
        PLAN,
        [
            Verdict(question="a1", vague=False, follow_up="Never asked?"),
            Verdict(question="a2", vague=True, follow_up="X?"),
        ],
    )
    assert statuses(state, "a1", "a2") == ["settled", "follow_up"]
    assert state.questions["a1"].follow_up == ""
    state = judged(take(state, PLAN, follow(1, "a2")), PLAN, [Verdict(question="a2", vague=False)])
    assert statuses(state, "a2") == ["settled"]
    assert not state.questions["a2"].vague


def test_a_vague_answer_without_a_follow_up_stays_vague() -> None:
    state = vague(take(START, PLAN, answer(1, "a1")), "a1", follow_up="  ")
    assert statuses(state, "a1") == ["settled"]
    assert state.questions["a1"].vague


def test_a_verdict_on_what_was_not_given_changes_nothing() -> None:
    assert vague(START, "a1") == START


def test_what_nobody_can_answer_is_skipped() -> None:
    asked = vague(take(START, PLAN, answer(1, "a1")), "a1")
    state = take(take(take(asked, PLAN, skip(1, "a1")), PLAN, skip(1, "a2")), PLAN, skip(1, "a3"))
    assert statuses(state, "a1", "a2", "a3") == ["skipped"] * 3
    assert state.questions["a1"].follow_up == ""
    # Skipped questions make findings too: assumptions.
    assert next_work(state, PLAN) == Close(1, ("fa1", "fa2", "fa3"))


# --- What is refused.


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (answer(5, "a1"), "Stage 5 has no question a1"),
        (answer(1, "b1"), "Stage 1 has no question b1"),
        (answer(1, "a1", "nonsense"), "Stage 1 has no question nonsense"),
        (follow(1, "nonsense"), "Stage 1 has no question nonsense"),
        (skip(1, "nonsense"), "Stage 1 has no question nonsense"),
        (reopen_of(1, "b1"), "Stage 1 has no question b1"),
        (resolve("a1-b1-5"), "There is no contradiction a1-b1-5"),
        (AnswerStage.model_construct(entry_id="e", stage=99, questions=("a1",)), "There is no stage 99"),
        (ReopenStage.model_construct(entry_id="e", stage=0, questions=()), "There is no stage 0"),
    ],
)
def test_what_does_not_exist_is_not_found(act: Act, words: str) -> None:
    refused(START, act, ErrorType.NOT_FOUND, words)


def test_only_the_stage_that_is_asked_takes_answers() -> None:
    state = answered(1)
    found = refused(state, answer(1, "a1"), ErrorType.INVALID_STATE, "Stage 1 is closed")
    assert found.details == {"stage": 1, "current": 2}
    refused(state, follow(1, "a1"), ErrorType.INVALID_STATE, "Stage 1 is closed")
    refused(state, skip(1, "a1"), ErrorType.INVALID_STATE, "Stage 1 is closed")
    refused(state, answer(3, "c1"), ErrorType.INVALID_STATE, "Stage 3 is not asked yet; stage 2 comes first")
    again = take(answered(1, 2), PLAN, reopen_of(1, "a3"))
    refused(again, answer(3, "c1"), ErrorType.INVALID_STATE, "stage 1 comes first")
    refused(again, answer(2, "b1"), ErrorType.INVALID_STATE, "Stage 2 is closed")


def test_each_question_takes_what_is_asked_of_it() -> None:
    state = vague(take(START, PLAN, answer(1, "a1", "a2")), "a1")
    found = refused(state, answer(1, "a1"), ErrorType.INVALID_STATE, "A follow-up is asked about a1")
    assert found.details == {"question": "a1", "status": "follow_up"}
    refused(state, answer(1, "a2"), ErrorType.INVALID_STATE, "The question a2 is answered already")
    refused(state, skip(1, "a2"), ErrorType.INVALID_STATE, "The question a2 is answered already")
    refused(state, follow(1, "a2"), ErrorType.INVALID_STATE, "The question a2 is answered already")
    refused(state, follow(1, "a3"), ErrorType.INVALID_STATE, "No follow-up is asked about a3")
    refused(state, answer(1, "a3", "a2"), ErrorType.INVALID_STATE, "The question a2 is answered already")
    refused(take(state, PLAN, skip(1, "a3")), skip(1, "a3"), ErrorType.INVALID_STATE, "a3 is skipped already")


ACTS: tuple[Act, ...] = (answer(1, "a2"), follow(1, "a1"), skip(1, "a2"), reopen_of(1, "a1"), Finish(entry_id="e"))


@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_taken_while_a_model_works(act: Act) -> None:
    given = take(START, PLAN, answer(1, "a1"))
    refused(given, act, ErrorType.INVALID_STATE, "A model is reading your answers")
    closing = judged(take(START, PLAN, stage_answers(1)), PLAN, ())
    refused(closing, act, ErrorType.INVALID_STATE, "A model is summing up a stage")
    last = judged(take(answered(1, 2, 3, 4), PLAN, stage_answers(5)), PLAN, ())
    refused(closed(last, PLAN, 5), act, ErrorType.INVALID_STATE, "A model is comparing the stages")
    writing = settled(last)
    refused(writing, act, ErrorType.INVALID_STATE, "A model is writing the charter")
    refused(written(writing), act, ErrorType.INVALID_STATE, "The charter is written; a change to it is a new session")


@pytest.mark.parametrize("act", ACTS)
def test_while_all_models_are_away_a_refusal_says_when_they_are_tried_again(act: Act) -> None:
    given = take(START, PLAN, answer(1, "a1"))
    away = failed(given, "judge stage 1", "all_models_failed", "All failed.", "2031-05-04T10:00:05Z")
    found = refused(away, act, ErrorType.INVALID_STATE, "tries again at 2031-05-04T10:00:05Z. What you said is kept")
    assert found.details == {"again_at": "2031-05-04T10:00:05Z", "code": "all_models_failed"}


def test_an_act_of_another_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="Act is no act of a session"):
        take(START, PLAN, Act(entry_id="e"))


# --- Finishing.


def test_who_finishes_is_asked_nothing_more() -> None:
    state = vague(take(answered(1), PLAN, answer(2, "b1", "b2")), "b1")
    state = take(state, PLAN, Finish(entry_id="e"))
    assert statuses(state, "b1", "b2", "b3", "c1", "e3") == ["skipped", "settled", "skipped", "skipped", "skipped"]
    closing = []
    while isinstance(work := next_work(state, PLAN), Close):
        closing.append(work.stage)
        state = closed(state, PLAN, work.stage)
    assert closing == [2, 3, 4, 5]
    assert next_work(state, PLAN) == Check()
    state = checked(state, [contradiction("a1", "b2")])
    assert [(one.accepted, one.settled) for one in state.contradictions] == [(True, False)]
    assert next_work(state, PLAN) == Write()


def test_who_finishes_accepts_what_does_not_fit() -> None:
    state = take(contradicting(("a1", "b2"), ("a1", "b3")), PLAN, Finish(entry_id="e"))
    assert next_work(state, PLAN) == Write()
    assert all(one.accepted for one in state.contradictions)
    found = refused(state, resolve(state.contradictions[0].id), ErrorType.INVALID_STATE, "is settled")
    assert found.details == {"contradiction": state.contradictions[0].id}
    assert not reopened(written(state), PLAN, 5).finishing


# --- Tries.


def test_tries_are_counted_and_trouble_ends_with_the_first_that_is_good() -> None:
    away = ("all_models_failed", "All failed.", "2031-05-04T10:00:05Z")
    state = failed(failed(START, "check", *away), "check", *away)
    assert state.trouble is not None
    assert (state.trouble.tries, state.tries) == (2, {"check": 2})
    other = failed(state, "close stage 1", *away)
    assert other.trouble is not None
    assert (other.trouble.tries, other.tries) == (1, {"check": 2, "close stage 1": 1})
    good = tried(state, "check")
    assert (good.trouble, good.tries) == (None, {"check": 3})


# --- Whatever people do.


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_done_a_session_ends_with_a_charter(seed: int) -> None:
    walk = Walk(seed, finishes=seed % 3 == 0)
    for state in walk.to_the_end():
        _check(state)
    _check_end(walk.state)
    assert walk.state.changed == tuple(finding.id for finding in SHIPPED.findings)
    again = Walk(seed, reopened(written(walk.state), SHIPPED, 1 + seed % 5))
    for state in again.to_the_end():
        _check(state)
    _check_end(again.state)


def _check(state: SessionState) -> None:
    assert SessionState.model_validate_json(state.model_dump_json()) == state
    assert (state.phase is Phase.WRITING) == isinstance(next_work(state, SHIPPED), Write)
    assert (state.phase is Phase.ASKING) or current_stage(state) is None
    for question in SHIPPED.questions:
        at = state.questions[question.id]
        assert at.follow_ups <= question.follow_ups
        assert bool(at.follow_up) == (at.status is QuestionStatus.FOLLOW_UP)
        if state.stages[question.stage - 1].status is StageStatus.CLOSED:
            assert at.status in (QuestionStatus.SETTLED, QuestionStatus.SKIPPED)


def _check_end(state: SessionState) -> None:
    assert {stage.status for stage in state.stages} == {StageStatus.CLOSED}
    assert all(stage.closed for stage in state.stages)
    assert all(one.settled or one.accepted for one in state.contradictions)
    assert (state.touched, state.checked, state.trouble) == ((), True, None)
