"""Random sessions: people and models that do whatever may be done, by a seed."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from core.contracts.base import Json
from core.contracts.scoping import (
    Act,
    ActKind,
    AnswerFollowUp,
    AnswerStage,
    Contradiction,
    Finish,
    QuestionId,
    ReopenStage,
    ResolveContradiction,
    SkipQuestion,
    Verdict,
)
from core.contracts.scoping_entries import FOLLOW_UPS, Entry
from core.contracts.scoping_moves import Plan, checked, closed, failed, judged, new_state, next_work, take, tried
from core.contracts.scoping_questions import QUESTIONNAIRE, planned
from core.contracts.scoping_state import Check, Close, Judge, QuestionStatus, SessionState, StageStatus, Wait, Write

PLAN = Plan(*planned(QUESTIONNAIRE))
"""Of the questions as they are shipped."""
AT = datetime(2031, 5, 4, tzinfo=UTC)


class Walk:
    """A session that goes on by itself. `entries` are what its people said, and its models asked."""

    def __init__(self, seed: int, state: SessionState | None = None, *, finishes: bool = False) -> None:
        self.state = state or new_state(*PLAN)
        self.entries: list[Entry] = []
        self.answers: dict[QuestionId, list[str]] = {}
        """What each question's newest answer is, with those to its follow-ups."""
        self.left = {"reopen": 4, "contradict": 6, "fail": 5, "finish": int(finishes)}
        self._random = random.Random(seed)

    def to_the_end(self) -> Iterator[SessionState]:
        """Each state on the way to the charter."""
        for _ in range(2_000):
            work = next_work(self.state, PLAN)
            if isinstance(work, Write):
                return
            self._work(work)
            yield self.state
        raise AssertionError("the session does not end")

    def _work(self, work: Judge | Close | Check | Wait) -> None:
        if not isinstance(work, Wait) and self.left["fail"] and self._random.random() < 0.05:
            self.left["fail"] -= 1
            self.state = failed(self.state, "check", "all_models_failed", "All are away.", "2031-05-04T10:00:00Z")
            return
        match work:
            case Judge(stage, questions):
                self.state = tried(self.state, f"judge stage {stage}")
                self._judge(questions)
            case Close(stage, findings):
                assert findings
                self.state = closed(tried(self.state, f"close stage {stage}"), PLAN, stage)
            case Check():
                self.state = checked(tried(self.state, "check"), self._contradictions())
            case Wait(stage):
                kind, act, body = self._act(stage)
                self._note(kind.value, getattr(act, "stage", None), body, self.state.seq + 1)
                self.state = take(self.state, PLAN, act)

    def _judge(self, questions: tuple[QuestionId, ...]) -> None:
        verdicts = [
            Verdict(question=id, vague=vague, follow_up=f"What more of {id}?" if vague else "")
            for id in questions
            for vague in [self._random.random() < 0.4]
        ]
        self.state = judged(self.state, PLAN, verdicts)
        asked = {
            id: self.state.questions[id].follow_up
            for id in questions
            if self.state.questions[id].status is QuestionStatus.FOLLOW_UP
        }
        if asked:
            self._note(FOLLOW_UPS, None, {FOLLOW_UPS: asked}, self.state.seq)

    def _contradictions(self) -> list[Contradiction]:
        found = []
        while self.left["contradict"] and self._random.random() < 0.6:
            self.left["contradict"] -= 1
            first, second = self._random.sample(PLAN.questions, 2)
            if first.stage != second.stage:
                found.append(Contradiction(first=first.id, second=second.id, why="They differ.", question="Which?"))
        return found

    def _act(self, stage: int | None) -> tuple[ActKind, Act, Json]:
        entry_id = f"e{len(self.entries)}"
        if self.left["finish"] and self._random.random() < 0.05:
            self.left["finish"] -= 1
            return ActKind.FINISH, Finish(entry_id=entry_id), {}
        reopening = self._reopening(entry_id) if self.left["reopen"] and self._random.random() < 0.15 else None
        if reopening is not None:
            self.left["reopen"] -= 1
            body = {"questions": list(reopening.questions)}
            return ActKind.REOPEN_STAGE, reopening, body
        if stage is None:
            ids = [one.id for one in self.state.contradictions if not (one.settled or one.accepted)]
            act = ResolveContradiction(entry_id=entry_id, contradiction=self._random.choice(ids), holds="first")
            return ActKind.RESOLVE_CONTRADICTION, act, {"contradiction": act.contradiction, "holds": "first"}
        return self._saying(stage, entry_id)

    def _reopening(self, entry_id: str) -> ReopenStage | None:
        stages = [n for n, one in enumerate(self.state.stages, 1) if one.status is StageStatus.CLOSED]
        if not stages:
            return None
        stage = self._random.choice(stages)
        ids = [question.id for question in PLAN.of_stage(stage)]
        named = self._random.choice([(), tuple(self._random.sample(ids, 2))])
        return ReopenStage(entry_id=entry_id, stage=stage, questions=named)

    def _saying(self, stage: int, entry_id: str) -> tuple[ActKind, Act, Json]:
        by_status = {
            status: [q.id for q in PLAN.of_stage(stage) if self.state.questions[q.id].status is status]
            for status in (QuestionStatus.OPEN, QuestionStatus.FOLLOW_UP)
        }
        status = self._random.choice([status for status, ids in by_status.items() if ids])
        ids = by_status[status]
        if self._random.random() < 0.2:
            skipping = SkipQuestion(entry_id=entry_id, stage=stage, question=self._random.choice(ids))
            return ActKind.SKIP_QUESTION, skipping, {"question": skipping.question, "because": "Nobody knows."}
        some = tuple(self._random.sample(ids, self._random.randint(1, len(ids))))
        texts = {id: f"{entry_id} about {id}" for id in some}
        for id, text in texts.items():
            self.answers[id] = [text] if status is QuestionStatus.OPEN else [*self.answers[id], text]
        if status is QuestionStatus.OPEN:
            answer = AnswerStage(entry_id=entry_id, stage=stage, questions=some)
            return ActKind.ANSWER_STAGE, answer, {"answers": texts}
        return (
            ActKind.ANSWER_FOLLOW_UP,
            AnswerFollowUp(entry_id=entry_id, stage=stage, questions=some),
            {"answers": texts},
        )

    def _note(self, kind: str, stage: int | None, body: Json, seq: int) -> None:
        self.entries.append(Entry(id=f"e{len(self.entries)}", seq=seq, kind=kind, stage=stage, body=body, at=AT))
