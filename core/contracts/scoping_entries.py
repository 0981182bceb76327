"""What was said in a session, entry by entry, and what of it holds now."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.contracts.base import Contract, Json
from core.contracts.scoping import ActKind, QuestionId, Resolution
from core.contracts.scoping_moves import Plan, asked_again
from core.contracts.scoping_questions import Question, Questionnaire, planned

FOLLOW_UPS = "follow_ups"
"""The kind of an entry that a model made: what it asks about vague answers."""


class Entry(Contract):
    """What a person did, or a model asked. `kind` is an `ActKind` or `FOLLOW_UPS`, and says what `body` holds.

    `seq` is the number of the act that it is, or that it followed; None: offered, and not taken yet.
    """

    id: str
    seq: int | None = None
    kind: str
    stage: int | None = None
    body: Json
    at: datetime
    """When it was offered; with an offset."""


class Turn(Contract):
    """A question or a follow-up, and what was said to it."""

    asked: str
    said: str


class Said(Contract):
    """What holds of what was said to one question: its newest answer, with the follow-ups about it."""

    asked: str
    turns: tuple[Turn, ...] = ()
    """The answer first. Empty: nobody answered."""
    skipped: bool = False
    because: str = ""
    """Why it was skipped, if somebody said so."""
    resolutions: tuple[Resolution, ...] = ()
    """What a person said where the answer contradicted another one."""


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The transcript: the entries that were taken, acts before the follow-ups that they led to."""
    taken = [(entry.seq, entry.kind == FOLLOW_UPS, entry) for entry in entries if entry.seq is not None]
    return [entry for _, _, entry in sorted(taken, key=lambda one: one[:2])]


def said(entries: Iterable[Entry], questionnaire: Questionnaire) -> dict[QuestionId, Said]:
    """What holds of every question, in the questionnaire's order."""
    reading = _Reading(questionnaire)
    for entry in in_order(entries):
        reading.take(entry)
    return {id: record.said() for id, record in reading.records.items()}


def pair_of(contradiction: str) -> tuple[QuestionId, QuestionId]:
    """The two questions of a contradiction, by its id: `<first>-<second>-<seq of the check>`."""
    first, second, _ = contradiction.split("-")
    return first, second


@dataclass
class _Record:
    """One question, while the transcript is read."""

    question: Question
    turns: list[Turn] = field(default_factory=list)
    asking: str = ""
    """The follow-up that is open."""
    unsaid: bool = True
    """A person's word is wanted: nobody answered, or it was reopened, or a follow-up is open."""
    skipped: bool = False
    because: str = ""
    resolutions: dict[str, Resolution] = field(default_factory=dict)
    """By the contradiction's id."""

    def said(self) -> Said:
        return Said(
            asked=self.question.text,
            turns=tuple(self.turns),
            skipped=self.skipped,
            because=self.because,
            resolutions=tuple(self.resolutions.values()),
        )

    def answer(self, text: str) -> None:
        self.turns = [Turn(asked=self.question.text, said=text)]
        self.asking, self.unsaid, self.skipped, self.because = "", False, False, ""

    def ask(self, text: str) -> None:
        self.asking, self.unsaid = text, True

    def answer_follow_up(self, text: str) -> None:
        self.turns.append(Turn(asked=self.asking, said=text))
        self.asking, self.unsaid = "", False

    def skip(self, because: str = "") -> None:
        self.asking, self.unsaid, self.skipped, self.because = "", False, True, because


class _Reading:
    """The transcript up to an entry."""

    def __init__(self, questionnaire: Questionnaire) -> None:
        self.records = {
            question.id: _Record(question) for stage in questionnaire.stages for question in stage.questions
        }
        self._plan = Plan(*planned(questionnaire))

    def take(self, entry: Entry) -> None:
        body = entry.body
        match entry.kind:
            case ActKind.ANSWER_STAGE:
                for id, text in body["answers"].items():
                    self.records[id].answer(text)
                    self._forget_resolutions(id)
            case ActKind.ANSWER_FOLLOW_UP:
                for id, text in body["answers"].items():
                    self.records[id].answer_follow_up(text)
            case ActKind.SKIP_QUESTION:
                self.records[body["question"]].skip(body.get("because") or "")
            case ActKind.REOPEN_STAGE:
                self._ask_again(entry.stage or 0, tuple(body.get("questions") or ()))
            case ActKind.RESOLVE_CONTRADICTION:
                self._resolve(body["contradiction"], body["holds"], body.get("text") or "")
            case ActKind.FINISH:
                for record in self.records.values():
                    if record.unsaid:
                        record.skip()
            case _:
                for id, text in body[FOLLOW_UPS].items():
                    self.records[id].ask(text)

    def _ask_again(self, stage: int, questions: tuple[QuestionId, ...]) -> None:
        own, stale = asked_again(self._plan, stage, questions)
        for id in own | stale:
            # What was said stays readable until there is another answer.
            self.records[id].ask("")

    def _resolve(self, contradiction: str, holds: str, text: str) -> None:
        first, second = pair_of(contradiction)
        for id, other, name in ((first, second, "first"), (second, first, "second")):
            seen: Literal["this", "other", "neither"]
            seen = "neither" if holds == "neither" else "this" if holds == name else "other"
            self.records[id].resolutions[contradiction] = Resolution(other=other, holds=seen, text=text)

    def _forget_resolutions(self, answered: QuestionId) -> None:
        """A new answer may not contradict the other one any more, so a word about the two is void."""
        for record in self.records.values():
            for contradiction in [id for id in record.resolutions if answered in pair_of(id)]:
                del record.resolutions[contradiction]
