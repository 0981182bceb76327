"""What is asked again in a scoping session: reopened stages, and contradictions."""

import pytest

from core.contracts.errors import ErrorType
from core.contracts.scoping import Finish, PlannedFinding, PlannedQuestion
from core.contracts.scoping_moves import Refusal, asked_again, judged, next_work, reopened, take, tried, written
from core.contracts.scoping_state import Close, Phase, QuestionStatus, StageStatus, Wait, Write
from tests.support.scoping_small import (
    PLAN,
    START,
    after,
    answer,
    answered,
    contradicting,
    contradiction,
    follow,
    refused,
    reopen_of,
    resolve,
    settled,
    stage_answers,
    statuses,
    vague,
)
from tests.support.scoping_walk import PLAN as SHIPPED

# --- Asked again.


def test_reopening_a_stage_asks_again_what_rests_on_it_and_nothing_else() -> None:
    state = answered(1, 2, 3)
    again = take(state, PLAN, reopen_of(2))
    assert (again.seq, again.checked) == (state.seq + 1, False)
    assert statuses(again, "b1", "b2", "b3") == ["open"] * 3
    assert not any(again.questions[id].stale for id in ("b1", "b2", "b3"))
    # c1 rests on b1, and c2 on b2; c3 rests on nothing.
    assert statuses(again, "c1", "c2", "c3") == ["open", "open", "settled"]
    assert again.questions["c1"].stale
    assert again.questions["c2"].stale
    assert [stage.status.value for stage in again.stages] == ["closed", "reopened", "reopened", "open", "upcoming"]
    # d3 rests on c1, but was never answered.
    assert not again.questions["d3"].stale
    assert all(again.questions[f"a{n}"] == state.questions[f"a{n}"] for n in (1, 2, 3))
    assert next_work(again, PLAN) == Wait(2)


def test_reopening_a_question_reaches_what_rests_on_it_indirectly() -> None:
    state = contradicting()
    again = reopened(state, PLAN, 1, ("a1",))
    assert {id for id, question in again.questions.items() if question.status is QuestionStatus.OPEN} == {
        *("a1", "b1", "c1", "d3")
    }
    assert {id for id, question in again.questions.items() if question.stale} == {"b1", "c1", "d3"}
    assert [stage.status.value for stage in again.stages] == ["reopened"] * 4 + ["closed"]
    assert asked_again(PLAN, 1, ("a1",)) == (frozenset({"a1"}), frozenset({"b1", "c1", "d3"}))


def test_what_is_asked_again_is_found_again_and_nothing_else() -> None:
    state = after(take(contradicting(("d1", "e2")), PLAN, reopen_of(2, "b3")), answer(2, "b3"))
    assert next_work(state, PLAN) == Wait(5)
    assert not state.questions["b3"].stale
    assert state.questions["e1"].stale
    given = take(state, PLAN, answer(5, "e1"))
    assert not given.questions["e1"].stale
    assert next_work(judged(given, PLAN, ()), PLAN) == Close(5, ("fe1",))
    assert [stage.closed for stage in settled(given).stages] == [1, 2, 1, 1, 2]


def test_a_stage_that_is_asked_at_the_moment_loses_what_rests_on_the_reopened_one() -> None:
    state = answered(1, 2)
    state = vague(take(state, PLAN, answer(3, "c1", "c3")), "c1")
    again = take(state, PLAN, reopen_of(2, "b1"))
    assert statuses(again, "b1", "c1", "c2", "c3") == ["open", "open", "open", "settled"]
    assert (again.questions["c1"].stale, again.questions["c1"].follow_ups) == (True, 0)
    assert not again.questions["c2"].stale
    assert again.stages[2].status is StageStatus.OPEN
    assert next_work(after(again, answer(2, "b1")), PLAN) == Wait(3)


def test_follow_ups_are_counted_anew_for_a_question_that_is_asked_again() -> None:
    state = START
    for act in (stage_answers(1), follow(1, "a1"), follow(1, "a1")):
        state = vague(take(state, PLAN, act), "a1")
    state = take(settled(state), PLAN, reopen_of(1, "a1"))
    assert (state.questions["a1"].follow_ups, state.questions["a1"].vague) == (0, False)


def test_questions_of_the_open_stage_can_be_asked_again_by_name() -> None:
    state = judged(take(START, PLAN, answer(1, "a1")), PLAN, ())
    again = take(state, PLAN, reopen_of(1, "a1"))
    assert statuses(again, "a1") == ["open"]
    assert again.stages[0].status is StageStatus.OPEN
    refused(state, reopen_of(1), ErrorType.INVALID_STATE, "Stage 1 is open. Name the questions")
    refused(state, reopen_of(1, "a2"), ErrorType.INVALID_STATE, "answer what it asks")


def test_what_is_asked_already_cannot_be_reopened() -> None:
    state = take(answered(1, 2), PLAN, reopen_of(1))
    refused(state, reopen_of(1), ErrorType.INVALID_STATE, "Stage 1 is reopened: answer what it asks")
    refused(state, reopen_of(1, "a2"), ErrorType.INVALID_STATE, "Stage 1 is reopened: answer what it asks")
    refused(state, reopen_of(4), ErrorType.INVALID_STATE, "Stage 4 is not open yet")
    more = take(take(answered(1, 2), PLAN, reopen_of(1, "a1")), PLAN, reopen_of(1, "a1", "a2"))
    assert statuses(more, "a1", "a2", "a3") == ["open", "open", "settled"]


def test_a_session_goes_on_from_one_whose_charter_is_written() -> None:
    done = written(tried(contradicting(), "check"))
    again = reopened(done, PLAN, 5, ("e1",))
    assert (again.phase, again.changed, again.tries, again.seq) == (Phase.ASKING, (), {}, done.seq)
    assert not again.checked
    assert next_work(again, PLAN) == Wait(5)
    ended = after(again, answer(5, "e1"))
    assert next_work(ended, PLAN) == Write()
    assert ended.changed == ("fe1",)
    with pytest.raises(Refusal, match="no question zz"):
        reopened(done, PLAN, 5, ("zz",))


@pytest.mark.parametrize("question", SHIPPED.questions, ids=lambda question: question.id)
def test_of_the_shipped_questions_each_reaches_what_its_finding_carries(question: PlannedQuestion) -> None:
    def rests(finding: PlannedFinding) -> bool:
        return any(id == question.finding or rests(by_id[id]) for id in finding.rests_on)

    by_id = {finding.id: finding for finding in SHIPPED.findings}
    expected = frozenset(one.id for one in SHIPPED.questions if rests(by_id[one.finding]))
    assert asked_again(SHIPPED, question.stage, (question.id,)) == (frozenset({question.id}), expected)


# --- Contradictions.


def test_a_contradiction_becomes_a_question_and_is_settled_by_a_word() -> None:
    state = contradicting(("a1", "b2"), ("c1", "e3"))
    assert state.phase is Phase.RESOLVING
    assert next_work(state, PLAN) == Wait(None)
    first, second = (one.id for one in state.contradictions)
    assert first == f"a1-b2-{state.seq}"
    refused(state, answer(1, "a1"), ErrorType.INVALID_STATE, "Stage 1 is closed")
    state = take(state, PLAN, resolve(first))
    # The other one first: models work once, when all is said.
    assert next_work(state, PLAN) == Wait(None)
    refused(state, resolve(first), ErrorType.INVALID_STATE, f"The contradiction {first} is settled")
    state = take(state, PLAN, resolve(second))
    assert next_work(state, PLAN) == Close(1, ("fa1",))
    assert state.phase is Phase.RESOLVING
    refused(state, Finish(entry_id="e"), ErrorType.INVALID_STATE, "A model is summing up")
    state = settled(state, contradiction("b2", "a1"), contradiction("c1", "e3"))
    # Both are known; nothing new was found.
    assert next_work(state, PLAN) == Write()
    assert [stage.closed for stage in state.stages] == [2, 2, 2, 1, 2]


def test_while_models_work_a_contradiction_cannot_be_settled() -> None:
    state = contradicting(("a1", "b2"))
    (found,) = state.contradictions
    reopened_state = take(take(state, PLAN, reopen_of(3, "c3")), PLAN, answer(3, "c3"))
    refused(reopened_state, resolve(found.id), ErrorType.INVALID_STATE, "A model is reading your answers")


def test_answers_that_changed_can_contradict_each_other_again() -> None:
    state = contradicting(("a3", "b2"))
    state = settled(take(state, PLAN, resolve(state.contradictions[0].id)))
    assert next_work(state, PLAN) == Write()
    again = reopened(state, PLAN, 2, ("b2",))
    assert again.contradictions == ()
    again = take(again.model_copy(update={"seq": 20}), PLAN, answer(2, "b2"))
    again = take(settled(again), PLAN, answer(3, "c2"))
    again = settled(again, contradiction("a3", "b2"))
    assert [one.id for one in again.contradictions] == ["a3-b2-22"]
    assert next_work(again, PLAN) == Wait(None)


def test_a_contradiction_between_answers_that_stand_is_not_forgotten_by_a_reopening() -> None:
    state = contradicting(("a3", "b2"), ("d1", "e2"))
    again = take(state, PLAN, reopen_of(4, "d1"))
    assert [(one.first, one.second) for one in again.contradictions] == [("a3", "b2")]
    assert again.phase is Phase.ASKING
    # It can be settled in the meantime.
    again = take(again, PLAN, resolve(again.contradictions[0].id))
    assert next_work(again, PLAN) == Wait(4)
    assert next_work(after(again, answer(4, "d1")), PLAN) == Write()


def test_a_check_ignores_what_is_no_pair_of_known_questions() -> None:
    state = contradicting(("a1", "a1"), ("a1", "zz"))
    assert state.contradictions == ()
    assert next_work(state, PLAN) == Write()
