"""What of a session's transcript holds."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.contracts.base import Json
from core.contracts.scoping import ActKind, Resolution
from core.contracts.scoping_entries import FOLLOW_UPS, Entry, Said, Turn, in_order, pair_of, said
from core.contracts.scoping_questions import QUESTIONNAIRE
from core.contracts.scoping_state import QuestionStatus
from tests.support.scoping_walk import PLAN, Walk

SIZE, NOW, TARGET = "problem_size", "problem_now", "success_target"
AT = datetime(2031, 5, 4, tzinfo=UTC)


def entry(seq: int | None, kind: str, body: Json, stage: int | None = 1) -> Entry:
    return Entry(id=f"{seq}-{kind}", seq=seq, kind=kind, stage=stage, body=body, at=AT)


def answer(seq: int | None, **answers: str) -> Entry:
    return entry(seq, ActKind.ANSWER_STAGE, {"answers": answers})


def asked(seq: int, **follow_ups: str) -> Entry:
    return entry(seq, FOLLOW_UPS, {FOLLOW_UPS: follow_ups})


def followed(seq: int, **answers: str) -> Entry:
    return entry(seq, ActKind.ANSWER_FOLLOW_UP, {"answers": answers})


def skipped(seq: int, question: str, **because: str | None) -> Entry:
    return entry(seq, ActKind.SKIP_QUESTION, {"question": question, **because})


def reopened(seq: int, stage: int, *questions: str) -> Entry:
    return entry(seq, ActKind.REOPEN_STAGE, {"questions": list(questions), "because": "New figures."}, stage)


def resolved(seq: int, holds: str, **text: str) -> Entry:
    body = {"contradiction": f"{SIZE}-{TARGET}-3", "holds": holds, **text}
    return entry(seq, ActKind.RESOLVE_CONTRADICTION, body, None)


def finished(seq: int) -> Entry:
    return entry(seq, ActKind.FINISH, {}, None)


def of(question: str, *entries: Entry) -> Said:
    return said(entries, QUESTIONNAIRE)[question]


def said_to(question: str, *entries: Entry) -> list[str]:
    return [turn.said for turn in of(question, *entries).turns]


def test_of_a_silent_session_every_question_is_there_with_its_words() -> None:
    found = said([], QUESTIONNAIRE)
    assert list(found) == [question.id for question in PLAN.questions]
    assert found[SIZE] == Said(asked=QUESTIONNAIRE.question(SIZE).text)


def test_an_answer_stands_with_its_follow_ups_in_the_transcripts_order() -> None:
    entries = [
        followed(2, problem_size="90 a week"),
        asked(1, problem_size="How many?"),
        answer(1, problem_size="Many"),
    ]
    assert of(SIZE, *entries).turns == (
        Turn(asked=QUESTIONNAIRE.question(SIZE).text, said="Many"),
        Turn(asked="How many?", said="90 a week"),
    )
    assert [one.kind for one in in_order(entries)] == ["answer_stage", "follow_ups", "answer_follow_up"]


def test_what_was_offered_and_not_taken_is_not_said() -> None:
    assert said_to(SIZE, answer(None, problem_size="Never taken")) == []
    assert in_order([answer(None, problem_size="Never taken")]) == []


def test_only_the_newest_answer_holds() -> None:
    entries = [
        answer(1, problem_size="Many", problem_now="A mess"),
        asked(1, problem_size="How many?"),
        followed(2, problem_size="90"),
        reopened(3, 1),
    ]
    assert said_to(SIZE, *entries) == ["Many", "90"]
    entries.append(answer(4, problem_size="100 a week"))
    assert said_to(SIZE, *entries) == ["100 a week"]
    assert said_to(NOW, *entries) == ["A mess"]


def test_a_skip_marks_what_was_said_before_and_ends_with_another_answer() -> None:
    entries = [answer(1, problem_size="Many"), skipped(2, SIZE, because="Nobody counts.")]
    found = of(SIZE, *entries)
    assert (found.skipped, found.because, len(found.turns)) == (True, "Nobody counts.", 1)
    assert of(NOW, skipped(1, NOW, because=None)) == Said(asked=QUESTIONNAIRE.question(NOW).text, skipped=True)
    again = of(SIZE, *entries, reopened(3, 1), answer(4, problem_size="90 a week"))
    assert (again.skipped, again.because, [turn.said for turn in again.turns]) == (False, "", ["90 a week"])


@pytest.mark.parametrize(
    ("holds", "text", "first", "second"),
    [
        ("first", {}, "this", "other"),
        ("second", {}, "other", "this"),
        ("neither", {"text": "It is 95."}, "neither", "neither"),
    ],
)
def test_a_word_on_a_contradiction_stands_with_both_answers(
    holds: str, text: dict[str, str], first: Any, second: Any
) -> None:
    found = said(
        [answer(1, problem_size="90"), answer(2, success_target="95"), resolved(3, holds, **text)], QUESTIONNAIRE
    )
    assert found[SIZE].resolutions == (Resolution(other=TARGET, holds=first, **text),)
    assert found[TARGET].resolutions == (Resolution(other=SIZE, holds=second, **text),)
    assert found[NOW].resolutions == ()


def test_a_word_on_a_contradiction_ends_with_another_answer_to_either() -> None:
    entries = [answer(1, problem_size="90"), answer(2, success_target="95"), resolved(3, "first"), reopened(4, 1)]
    assert of(SIZE, *entries).resolutions
    later = [*entries, answer(5, success_target="90")]
    assert of(SIZE, *later).resolutions == of(TARGET, *later).resolutions == ()


def test_the_questions_of_a_contradiction_stand_in_its_id() -> None:
    assert pair_of("problem_size-success_target-12") == ("problem_size", "success_target")


def test_who_finishes_skips_what_waits_for_a_word() -> None:
    entries = [
        answer(1, problem_now="A mess", problem_size="Many"),
        asked(1, problem_size="How many?"),
        finished(2),
    ]
    found = said(entries, QUESTIONNAIRE)
    assert (found[NOW].skipped, found[SIZE].skipped, found[TARGET].skipped) == (False, True, True)
    assert [turn.said for turn in found[SIZE].turns] == ["Many"]


def test_who_finishes_after_a_reopening_skips_what_it_asked_again() -> None:
    # who_gains rests on problem_now, and wrong_result does not.
    entries = [
        answer(1, problem_now="A mess", problem_size="Many", who_gains="All", wrong_result="A call"),
        reopened(2, 1, NOW),
        finished(3),
    ]
    found = said(entries, QUESTIONNAIRE)
    assert [found[id].skipped for id in (NOW, SIZE, "who_gains", "wrong_result")] == [True, False, True, False]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_done_transcript_and_state_agree(seed: int) -> None:
    walk = Walk(seed, finishes=seed % 2 == 0)
    for _ in walk.to_the_end():
        pass
    found = said(walk.entries, QUESTIONNAIRE)
    for id, state in walk.state.questions.items():
        assert found[id].skipped == (state.status is QuestionStatus.SKIPPED), id
        assert [turn.said for turn in found[id].turns] == walk.answers.get(id, []), id
        if state.status is QuestionStatus.SETTLED:
            assert len(found[id].turns) == 1 + state.follow_ups
            assert all(turn.asked for turn in found[id].turns)
    settled = {one.id for one in walk.state.contradictions if one.settled}
    for one in settled:
        assert all(found[id].resolutions for id in pair_of(one))
