"""Where a session stands, and what may happen to it: a pure state machine that the workflow runs and Postgres holds.

It holds ids and counts, and of texts only what is asked at the moment; what people said stands in the entries.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from core.contracts.base import Contract
from core.contracts.scoping import FindingId, QuestionId, StageNumber


class QuestionStatus(StrEnum):
    """Where a question stands. `given`: answered and not judged yet; `settled`: clear, or asked about often enough."""

    OPEN = "open"
    GIVEN = "given"
    FOLLOW_UP = "follow_up"
    SETTLED = "settled"
    SKIPPED = "skipped"


class StageStatus(StrEnum):
    """Where a stage stands. `reopened`: it was closed, and some of its questions are asked again."""

    UPCOMING = "upcoming"
    OPEN = "open"
    REOPENED = "reopened"
    CLOSED = "closed"


class Phase(StrEnum):
    """What the session is at."""

    ASKING = "asking"
    RESOLVING = "resolving"
    """All stages are closed, and contradictions wait for a word."""
    WRITING = "writing"
    DONE = "done"


class QuestionState(Contract):
    """One question."""

    status: QuestionStatus = QuestionStatus.OPEN
    follow_ups: int = 0
    """Asked since it was last opened."""
    follow_up: str = ""
    """What is asked now, while `follow_up` is its status."""
    vague: bool = False
    """It stayed vague after the last follow-up: what rests on it alone is an assumption."""
    stale: bool = False
    """It was answered before, and is asked again because what it rests on was reopened."""


class StageState(Contract):
    """One stage."""

    status: StageStatus = StageStatus.UPCOMING
    closed: int = 0
    """Times that it was closed: the number of its newest checkpoint."""


class ContradictionState(Contract):
    """A contradiction that was found. `settled` by a person's word, or `accepted` as an open risk."""

    id: str
    first: QuestionId
    second: QuestionId
    why: str
    question: str
    settled: bool = False
    accepted: bool = False


class Trouble(Contract):
    """Every model failed: the session goes on by itself."""

    step: str
    code: str
    message: str
    tries: int
    again_at: str
    """ISO 8601, UTC."""


class SessionState(Contract):
    """All of it. `seq` counts the acts that made it."""

    seq: int = 0
    phase: Phase = Phase.ASKING
    stages: tuple[StageState, ...]
    questions: Mapping[QuestionId, QuestionState]
    touched: tuple[FindingId, ...] = ()
    """Findings to be made anew when their stage closes, because a question of theirs was answered (again)."""
    changed: tuple[FindingId, ...] = ()
    """Findings that this session has made, or made anew: charter sections that rest on none of them stay."""
    contradictions: tuple[ContradictionState, ...] = ()
    checked: bool = False
    """The answers as they are now were compared across stages."""
    finishing: bool = False
    """A person wants no more questions."""
    tries: Mapping[str, int] = Field(default_factory=dict)
    """How often each paid step has been tried to an end, good or bad: the next revision is one more."""
    trouble: Trouble | None = None


class Judge(NamedTuple):
    """Have the answers that were given judged."""

    stage: StageNumber
    questions: tuple[QuestionId, ...]


class Close(NamedTuple):
    """Nothing is open in the stage: have its findings made."""

    stage: StageNumber
    findings: tuple[FindingId, ...]


class Check(NamedTuple):
    """All stages are closed: look for contradictions."""


class Wait(NamedTuple):
    """A person's turn: answers of a stage, or contradictions (stage None)."""

    stage: StageNumber | None


class Write(NamedTuple):
    """Nothing is left to ask: write the charter."""


Work = Judge | Close | Check | Wait | Write
