"""What may happen to a session: each function takes a state and gives the next one, or refuses and changes nothing."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping import (
    Act,
    AnswerFollowUp,
    AnswerStage,
    Contradiction,
    Finish,
    PlannedFinding,
    PlannedQuestion,
    QuestionId,
    ReopenStage,
    ResolveContradiction,
    SkipQuestion,
    StageNumber,
    Verdict,
)
from core.contracts.scoping_state import (
    Check,
    Close,
    ContradictionState,
    Judge,
    Phase,
    QuestionState,
    QuestionStatus,
    SessionState,
    StageState,
    StageStatus,
    Trouble,
    Wait,
    Work,
    Write,
)

_UNSAID = (QuestionStatus.OPEN, QuestionStatus.FOLLOW_UP)
"""A person's word is wanted."""
_DOING: dict[type[Work], str] = {
    Judge: "is reading your answers",
    Close: "is summing up a stage",
    Check: "is comparing the stages",
    Write: "is writing the charter",
}


class Refusal(AtelierError):
    """What somebody wants is not possible: `not_found` for a thing that is unknown, else `invalid_state`."""

    def __init__(self, type: ErrorType, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(type, message, details=details)


class Plan(NamedTuple):
    """The questions and findings of a session, in their order."""

    questions: tuple[PlannedQuestion, ...]
    findings: tuple[PlannedFinding, ...]

    def of_stage(self, stage: StageNumber) -> tuple[PlannedQuestion, ...]:
        """The questions of a stage."""
        return tuple(question for question in self.questions if question.stage == stage)


# --- What is next.


def new_state(questions: tuple[PlannedQuestion, ...], findings: tuple[PlannedFinding, ...]) -> SessionState:
    """A session in which nobody has said anything: stage 1 is asked."""
    stages = max(finding.stage for finding in findings)
    return SessionState(
        stages=(StageState(status=StageStatus.OPEN), *(StageState() for _ in range(stages - 1))),
        questions={question.id: QuestionState() for question in questions},
    )


def current_stage(state: SessionState) -> StageNumber | None:
    """The lowest stage that is not closed; None: all are."""
    return next((n for n, stage in enumerate(state.stages, start=1) if stage.status is not StageStatus.CLOSED), None)


def next_work(state: SessionState, plan: Plan) -> Work:
    """What is to be done now. What was said is judged first; a person is asked before models are asked for more."""
    given = [question for question in plan.questions if state.questions[question.id].status is QuestionStatus.GIVEN]
    if given:
        stage = given[0].stage
        return Judge(stage, tuple(question.id for question in given if question.stage == stage))
    current = current_stage(state)
    if current is not None:
        if any(state.questions[question.id].status in _UNSAID for question in plan.of_stage(current)):
            return Wait(current)
        return _close(state, plan, current)
    if any(map(_is_undecided, state.contradictions)):
        return Wait(None)
    if state.touched:
        # A contradiction was settled: the findings that rest on its answers say something else now.
        return _close(state, plan, next(finding.stage for finding in plan.findings if finding.id in state.touched))
    return Write() if state.checked else Check()


def _close(state: SessionState, plan: Plan, stage: StageNumber) -> Close:
    return Close(stage, tuple(f.id for f in plan.findings if f.stage == stage and f.id in state.touched))


def _is_undecided(contradiction: ContradictionState) -> bool:
    return not (contradiction.settled or contradiction.accepted)


# --- What a person does.


def take(state: SessionState, plan: Plan, act: Act) -> SessionState:
    """The state after an act. Raises `Refusal`: `not_found` for an unknown stage, question or contradiction,
    `invalid_state` for what is not asked, is closed, or comes while a model works."""
    match act:
        case AnswerStage():
            asked = _asked(state, plan, act.stage, act.questions, QuestionStatus.OPEN)
            moved = _said(state, plan, asked, QuestionStatus.GIVEN)
        case AnswerFollowUp():
            asked = _asked(state, plan, act.stage, act.questions, QuestionStatus.FOLLOW_UP)
            moved = _said(state, plan, asked, QuestionStatus.GIVEN)
        case SkipQuestion():
            asked = _asked(state, plan, act.stage, (act.question,), *_UNSAID)
            moved = _said(state, plan, asked, QuestionStatus.SKIPPED)
        case ReopenStage():
            _check_reopening(state, plan, act.stage, act.questions)
            _expect_wait(state, plan)
            moved = reopened(state, plan, act.stage, act.questions)
        case ResolveContradiction():
            moved = _resolved(state, plan, act.contradiction)
        case Finish():
            _expect_wait(state, plan)
            moved = _finished(state, plan)
        case _:
            raise TypeError(f"{type(act).__name__} is no act of a session")
    return _phased(moved.model_copy(update={"seq": state.seq + 1}), plan)


def _asked(
    state: SessionState, plan: Plan, stage: StageNumber, ids: tuple[QuestionId, ...], *statuses: QuestionStatus
) -> list[PlannedQuestion]:
    """The questions of these ids, if it is their turn. Raises `Refusal`."""
    questions = _known(state, plan, stage, ids)
    _expect_wait(state, plan)
    current = current_stage(state)
    if stage != current:
        if state.stages[stage - 1].status is StageStatus.CLOSED:
            message = f"Stage {stage} is closed; reopen it to answer it again."
        else:
            message = f"Stage {stage} is not asked yet; stage {current} comes first."
        raise _not_now(message, stage=stage, current=current)
    for question in questions:
        status = state.questions[question.id].status
        if status not in statuses:
            raise _not_now(_why_not(question.id, status), question=question.id, status=status.value)
    return questions


def _why_not(id: QuestionId, status: QuestionStatus) -> str:
    if status is QuestionStatus.OPEN:
        return f"No follow-up is asked about {id}: answer the question itself."
    if status is QuestionStatus.FOLLOW_UP:
        return f"A follow-up is asked about {id}: answer that, or skip the question."
    return f"The question {id} is {'skipped' if status is QuestionStatus.SKIPPED else 'answered'} already."


def _known(state: SessionState, plan: Plan, stage: StageNumber, ids: tuple[QuestionId, ...]) -> list[PlannedQuestion]:
    """The questions of these ids. Raises `Refusal` when the stage has none of that name."""
    if not 1 <= stage <= len(state.stages):
        raise Refusal(
            ErrorType.NOT_FOUND, f"There is no stage {stage}; a session has {len(state.stages)}.", {"stage": stage}
        )
    of_stage = {question.id: question for question in plan.of_stage(stage)}
    for id in ids:
        if id not in of_stage:
            raise Refusal(ErrorType.NOT_FOUND, f"Stage {stage} has no question {id}.", {"stage": stage, "question": id})
    return [of_stage[id] for id in ids]


def _expect_wait(state: SessionState, plan: Plan) -> None:
    """Raises `Refusal` when it is not a person's turn."""
    work = next_work(state, plan)
    if isinstance(work, Wait):
        return
    if state.phase is Phase.DONE:
        raise _not_now("The charter is written; a change to it is a new session that reopens a stage of this one.")
    if state.trouble is not None:
        raise _not_now(
            f"No model answers at the moment; the session goes on by itself and tries again at "
            f"{state.trouble.again_at}. What you said is kept.",
            again_at=state.trouble.again_at,
            code=state.trouble.code,
        )
    doing = _DOING[type(work)]
    raise _not_now(f"A model {doing}. Read the session again in a moment.")


def _not_now(message: str, **details: Any) -> Refusal:
    return Refusal(ErrorType.INVALID_STATE, message, details)


def _said(state: SessionState, plan: Plan, questions: list[PlannedQuestion], status: QuestionStatus) -> SessionState:
    """The questions have a person's word: what rests on it is to be made anew, and compared again."""
    changes = {
        question.id: QuestionState(status=status, follow_ups=state.questions[question.id].follow_ups)
        for question in questions
    }
    return _touch(state, plan, questions).model_copy(update={"questions": {**state.questions, **changes}})


def _touch(state: SessionState, plan: Plan, questions: Iterable[PlannedQuestion]) -> SessionState:
    touched = {*state.touched, *(question.finding for question in questions)}
    return state.model_copy(update={"touched": tuple(f.id for f in plan.findings if f.id in touched), "checked": False})


def _resolved(state: SessionState, plan: Plan, id: str) -> SessionState:
    found = next((contradiction for contradiction in state.contradictions if contradiction.id == id), None)
    if found is None:
        raise Refusal(ErrorType.NOT_FOUND, f"There is no contradiction {id}.", {"contradiction": id})
    if not _is_undecided(found):
        raise _not_now(f"The contradiction {id} is settled.", contradiction=id)
    _expect_wait(state, plan)
    both = [question for question in plan.questions if question.id in (found.first, found.second)]
    contradictions = tuple(
        one.model_copy(update={"settled": True}) if one is found else one for one in state.contradictions
    )
    return _touch(state, plan, both).model_copy(update={"contradictions": contradictions})


def _finished(state: SessionState, plan: Plan) -> SessionState:
    unsaid = [question for question in plan.questions if state.questions[question.id].status in _UNSAID]
    moved = _said(state, plan, unsaid, QuestionStatus.SKIPPED) if unsaid else state
    contradictions = tuple(
        one.model_copy(update={"accepted": True}) if _is_undecided(one) else one for one in state.contradictions
    )
    return moved.model_copy(update={"contradictions": contradictions, "finishing": True})


# --- What is asked again.


def asked_again(
    plan: Plan, stage: StageNumber, questions: tuple[QuestionId, ...] = ()
) -> tuple[frozenset[QuestionId], frozenset[QuestionId]]:
    """The questions that reopening a stage asks again, and those of later stages that rest on them."""
    own = frozenset(question.id for question in plan.of_stage(stage) if not questions or question.id in questions)
    changed = {question.finding for question in plan.questions if question.id in own}
    stale = set[str]()
    for finding in sorted(plan.findings, key=lambda finding: finding.stage):
        # A finding rests on earlier stages only, so one pass in this order finds what rests on it indirectly.
        if (changed | stale).intersection(finding.rests_on):
            stale.add(finding.id)
    return own, frozenset(question.id for question in plan.questions if question.finding in stale)


def reopened(
    state: SessionState, plan: Plan, stage: StageNumber, questions: tuple[QuestionId, ...] = ()
) -> SessionState:
    """The state in which a stage, or some of its questions, is asked again, and with it what rests on it.

    Of a session whose charter is written it is the beginning of the next one. Raises `Refusal`.
    """
    _check_reopening(state, plan, stage, questions)
    own, stale = asked_again(plan, stage, questions)
    changes = {id: QuestionState() for id in own if state.questions[id].status is not QuestionStatus.OPEN}
    changes |= {id: QuestionState(stale=True) for id in stale if state.questions[id].status is not QuestionStatus.OPEN}
    hit = {question.stage for question in plan.questions if question.id in changes}
    stages = tuple(
        one.model_copy(update={"status": StageStatus.REOPENED})
        if number in hit and one.status is StageStatus.CLOSED
        else one
        for number, one in enumerate(state.stages, start=1)
    )
    # They will have other answers; the next check says whether these fit.
    contradictions = tuple(one for one in state.contradictions if not {one.first, one.second} & set(changes))
    moved = state.model_copy(
        update={
            "stages": stages,
            "questions": {id: changes.get(id, question) for id, question in state.questions.items()},
            "contradictions": contradictions,
            "checked": False,
        }
    )
    if state.phase in (Phase.WRITING, Phase.DONE):
        moved = moved.model_copy(update={"changed": (), "finishing": False, "tries": {}, "trouble": None})
    return _phased(moved, plan)


def _check_reopening(state: SessionState, plan: Plan, stage: StageNumber, questions: tuple[QuestionId, ...]) -> None:
    named = _known(state, plan, stage, questions)
    status = state.stages[stage - 1].status
    if status is StageStatus.UPCOMING:
        raise _not_now(f"Stage {stage} is not open yet: there is nothing to reopen.", stage=stage)
    if status is StageStatus.OPEN and not named:
        raise _not_now(f"Stage {stage} is open. Name the questions that you want to answer again.", stage=stage)
    again = named or plan.of_stage(stage)
    if all(state.questions[question.id].status is QuestionStatus.OPEN for question in again):
        raise _not_now(f"Stage {stage} is reopened: answer what it asks.", stage=stage)


# --- What models answer.


def judged(state: SessionState, plan: Plan, verdicts: Iterable[Verdict]) -> SessionState:
    """The state after verdicts on all answers that were given. An answer that no verdict speaks of counts as clear."""
    said = {verdict.question: verdict for verdict in verdicts}
    changes = {
        question.id: _judged(state.questions[question.id], question, said.get(question.id))
        for question in plan.questions
        if state.questions[question.id].status is QuestionStatus.GIVEN
    }
    return _phased(state.model_copy(update={"questions": {**state.questions, **changes}}), plan)


def _judged(state: QuestionState, question: PlannedQuestion, verdict: Verdict | None) -> QuestionState:
    if verdict is None or not verdict.vague:
        return state.model_copy(update={"status": QuestionStatus.SETTLED})
    if state.follow_ups >= question.follow_ups or not verdict.follow_up.strip():
        return state.model_copy(update={"status": QuestionStatus.SETTLED, "vague": True})
    return state.model_copy(
        update={
            "status": QuestionStatus.FOLLOW_UP,
            "follow_ups": state.follow_ups + 1,
            "follow_up": verdict.follow_up.strip(),
        }
    )


def closed(state: SessionState, plan: Plan, stage: StageNumber) -> SessionState:
    """The state once the findings of a stage are made: the next stage opens."""
    of_stage = {finding.id for finding in plan.findings if finding.stage == stage}
    made = {*state.changed, *of_stage.intersection(state.touched)}
    stages = list(state.stages)
    stages[stage - 1] = StageState(status=StageStatus.CLOSED, closed=stages[stage - 1].closed + 1)
    moved = state.model_copy(
        update={
            "touched": tuple(id for id in state.touched if id not in of_stage),
            "changed": tuple(finding.id for finding in plan.findings if finding.id in made),
            "stages": tuple(stages),
        }
    )
    current = current_stage(moved)
    if current is not None and stages[current - 1].status is StageStatus.UPCOMING:
        stages[current - 1] = stages[current - 1].model_copy(update={"status": StageStatus.OPEN})
        moved = moved.model_copy(update={"stages": tuple(stages)})
    return _phased(moved, plan)


def checked(state: SessionState, contradictions: Iterable[Contradiction]) -> SessionState:
    """The state after a check across stages. Two answers that were found before, and are still the same, are not found
    again; of a session that is finished nothing is asked, and what does not fit is an open risk."""
    found = {frozenset((one.first, one.second)): one for one in state.contradictions}
    for new in contradictions:
        pair = frozenset((new.first, new.second))
        if len(pair) == 2 and pair <= state.questions.keys() and pair not in found:
            found[pair] = ContradictionState(
                id=f"{new.first}-{new.second}-{state.seq}",
                first=new.first,
                second=new.second,
                why=new.why,
                question=new.question,
                accepted=state.finishing,
            )
    phase = Phase.RESOLVING if any(map(_is_undecided, found.values())) else Phase.WRITING
    return state.model_copy(update={"contradictions": tuple(found.values()), "checked": True, "phase": phase})


def written(state: SessionState) -> SessionState:
    """The state once the charter is stored."""
    return state.model_copy(update={"phase": Phase.DONE, "trouble": None})


def failed(state: SessionState, step: str, code: str, message: str, again_at: str) -> SessionState:
    """The state after every model failed at a step. `trouble.tries` counts these in a row, from 1."""
    before = state.trouble.tries if state.trouble is not None and state.trouble.step == step else 0
    trouble = Trouble(step=step, code=code, message=message, tries=before + 1, again_at=again_at)
    return tried(state, step).model_copy(update={"trouble": trouble})


def tried(state: SessionState, step: str) -> SessionState:
    """The state after a step was done: its next try has another revision."""
    return state.model_copy(update={"tries": {**state.tries, step: state.tries.get(step, 0) + 1}, "trouble": None})


def _phased(state: SessionState, plan: Plan) -> SessionState:
    """The state with the phase that follows from it."""
    if current_stage(state) is not None:
        phase = Phase.ASKING
    elif isinstance(next_work(state, plan), Write):
        phase = Phase.WRITING
    elif any(map(_is_undecided, state.contradictions)):
        phase = Phase.RESOLVING
    else:
        # Between the last word and the charter it stays what it was, while models work.
        phase = state.phase
    return state.model_copy(update={"phase": phase})
