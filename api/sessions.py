"""What a person says in a scoping session, on its way to the workflow that waits for it."""

from typing import NamedTuple

from api.deps import Deps, Session
from api.requests import path_number
from api.session_views import Shown
from api.updates import Word, must_be, update, word
from core.contracts.base import Json, Submission
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ENDED, JobStatus
from core.contracts.names import JobAddress
from core.contracts.scoping import (
    PIPELINE,
    STAGES,
    Act,
    ActKind,
    ActTaken,
    AnswerFollowUp,
    AnswerStage,
    Finish,
    ReopenStage,
    ResolveContradiction,
    SkipQuestion,
)
from core.contracts.scoping_moves import Plan, take
from core.db.ids import new_id
from core.db.repositories.owned_sessions import NewEntry, ScopingRepository, SessionRecord


class Saying(NamedTuple):
    """What is said: the act without its entry, and the words that stand in that."""

    said: Word
    act: Act
    body: Json
    stage: int | None

    def of(self, entry_id: str) -> Act:
        """The act of an entry."""
        return self.act.model_copy(update={"entry_id": entry_id})


UNSAID = ""
"""The entry of an act that is not stored yet."""


def saying(act: Act, given: Submission, key: str | None, *, stage: int | None = None, **named: str) -> Saying:
    """What a request says. `named`: what its path names beside the session and the stage."""
    about = ", ".join([*([] if stage is None else [f"stage {stage}"]), *named.values()])
    kind = _KINDS[type(act)]
    return Saying(word(kind.value, given, key, about=about), act, {**given.model_dump(mode="json"), **named}, stage)


_KINDS: dict[type[Act], ActKind] = {
    AnswerStage: ActKind.ANSWER_STAGE,
    AnswerFollowUp: ActKind.ANSWER_FOLLOW_UP,
    SkipQuestion: ActKind.SKIP_QUESTION,
    ReopenStage: ActKind.REOPEN_STAGE,
    ResolveContradiction: ActKind.RESOLVE_CONTRADICTION,
    Finish: ActKind.FINISH,
}


def stage_number(value: str) -> int:
    """The number of a stage, out of a path. Raises `NOT_FOUND`."""
    number = path_number(value, "stage")
    if number > STAGES:
        raise AtelierError(
            ErrorType.NOT_FOUND, f"There is no stage {number}; a session has {STAGES}.", details={"stage": number}
        )
    return number


async def shown(session: Session, session_id: str) -> Shown:
    """A session with what was said in it. Raises `NOT_FOUND`."""
    record = await session.scoping.get(session_id)
    return Shown(record, await session.scoping.entries(session_id))


async def say(session: Session, session_id: str, words: Saying) -> None:
    """Store what a person says, tell the workflow, and return when it has taken it. The same word again changes
    nothing.

    Raises `NOT_FOUND` for a session, question or contradiction that is not there, `INVALID_STATE` when that is not
    asked, `STAGE_RUNNING`, `IDEMPOTENCY_MISMATCH`, and `TEMPORAL_UNAVAILABLE`. What is refused leaves nothing.
    """
    entry_id = await _offer(session, session_id, words)
    if entry_id is None:
        return
    deps, address = session.deps, JobAddress(PIPELINE, session_id)
    async with session.away():
        try:
            await update(deps.temporal, address, words.said, words.of(entry_id), ActTaken)
        except AtelierError as error:
            # Nobody knows whether it will be taken: it stays, and the same key asks again.
            if error.type is ErrorType.TEMPORAL_UNAVAILABLE:
                raise
            if await _withdraw(deps, session.owner.id, session_id, entry_id):
                raise


def check_deletable(record: SessionRecord) -> None:
    """See whether a session has ended. Raises `INVALID_STATE`, saying what to do about it."""
    job = record.job
    if job.status in ENDED:
        return
    how = (
        "is being cancelled: delete it when it has ended"
        if job.cancel_requested
        else (f"has not ended: cancel its job first (`POST /v1/jobs/{job.id}/cancel`), and delete it then")
    )
    raise AtelierError(ErrorType.INVALID_STATE, f"The session {how}.", details={"status": job.status.value})


def check_open(record: SessionRecord) -> None:
    """See whether a session listens at all. Raises `INVALID_STATE`."""
    job = record.job
    why = ""
    if job.status in ENDED:
        why = _ENDED[job.status]
        if job.error is not None and job.error.code is ErrorType.REVIEW_EXPIRED:
            why = f"The session has expired. Retry its job (`POST /v1/jobs/{job.id}/retry`) to go on where it stands."
    elif job.cancel_requested:
        why = "The session is being cancelled."
    elif job.status is JobStatus.PENDING or record.state is None:
        why = "The session is about to begin: read it again in a moment."
    elif job.status is JobStatus.PAUSED:
        why = "The session is paused: resume its job first."
    elif job.status is JobStatus.WAITING_FOR_BUDGET:
        why = "The session waits for its budget to be raised."
    if why:
        raise AtelierError(ErrorType.INVALID_STATE, why, details={"status": job.status.value})


_ENDED = {
    JobStatus.COMPLETED: "The charter is written. Reopen a stage to change it: that begins a session of its own.",
    JobStatus.FAILED: "The session has failed. Retry its job (`POST /v1/jobs/…/retry`) to go on where it stands.",
    JobStatus.CANCELLED: "The session was cancelled: it asks nothing any more.",
}


async def _offer(session: Session, session_id: str, words: Saying) -> str | None:
    """The entry of what is said, stored; None when it was taken before."""
    scoping, said = session.scoping, words.said
    record = await scoping.get(session_id)
    while True:
        known = await scoping.offered(session_id, said.update_id)
        if known is not None:
            must_be(known.body_sha256, said, said.act)
            if known.seq is not None:
                return None
            await scoping.take_turn(session_id)
            return known.id
        check_open(record)
        assert record.state is not None
        entry_id = new_id()
        take(record.state, Plan(record.brief.questions, record.brief.findings), words.of(entry_id))
        await scoping.take_turn(session_id)
        new = NewEntry(
            id=entry_id,
            kind=said.act,
            stage=words.stage,
            body=words.body,
            update_id=said.update_id,
            body_sha256=said.body_sha256,
        )
        if await scoping.offer(session_id, new):
            return entry_id
        # The same key came at the same moment, and its entry is there by now.


async def _withdraw(deps: Deps, owner_id: str, session_id: str, entry_id: str) -> bool:
    async with deps.database.transaction() as connection:
        return await ScopingRepository(connection, owner_id).withdraw(session_id, entry_id)
