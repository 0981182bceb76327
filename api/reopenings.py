"""Changes of a charter: each is a session of its own, a child job, that asks a stage again."""

from typing import NamedTuple

from api.deps import Deps, Session
from api.sessions import check_open
from api.submission import chain, counted, insert, sha256_of
from api.updates import Word
from core.contracts.base import Attachment
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobStatus
from core.contracts.scoping import PIPELINE, Base, QuestionId
from core.contracts.scoping_moves import Plan, reopened
from core.db.repositories.charters import CharterRecord
from core.db.repositories.job_records import JobRecord
from core.db.repositories.jobs import NewJob
from core.db.repositories.owned_sessions import SessionRecord
from core.llm.choice import refusal


class Reopening(NamedTuple):
    """A stage of a written charter that is to be asked again: all of it, or some questions. `key`: Idempotency-Key."""

    session_id: str
    stage: int
    questions: tuple[QuestionId, ...]
    because: str
    said: Word
    key: str | None

    @property
    def body_sha256(self) -> str:
        """What tells it from another one."""
        return sha256_of({"session_id": self.session_id, "said": self.said.body_sha256})


async def reopen_charter(session: Session, wish: Reopening) -> JobRecord:
    """Accept the session that asks again. All that does not rest on the stage stays, byte for byte.

    Raises `NOT_FOUND` for a session, stage or question that is not there, `INVALID_STATE` for a session without a
    charter, and while another change of it is under way, `IDEMPOTENCY_MISMATCH`, `TOO_MANY_REQUESTS`, `TOO_MANY_JOBS`.
    """
    asked = await _asked(session, wish)
    if isinstance(asked, JobRecord):
        return asked
    async with counted(session, asked.attachments) as give_back:
        # Again, in the transaction that inserts it: another change may have come meanwhile.
        asked = await _asked(session, wish)
        if isinstance(asked, JobRecord):
            give_back()
            return asked
        return await insert(session, asked, give_back)


async def _asked(session: Session, wish: Reopening) -> NewJob | JobRecord:
    """The job that would ask again, or the one that was accepted for it. The charter's versions stay locked."""
    record = await session.scoping.get(wish.session_id)
    charter = await session.charters.of_session(wish.session_id)
    if charter is not None:
        await session.charters.lock(charter.document_id)
    if wish.key is not None:
        # Under the lock, and before anything is looked at that the first request has changed.
        known = await session.jobs.repeated(wish.key, wish.body_sha256)
        if known is not None:
            return known
    if charter is None or record.state is None or record.job.status is not JobStatus.COMPLETED:
        check_open(record)
        raise AtelierError(ErrorType.INVALID_STATE, "The session has just changed. Read it again.")
    reopened(record.state, Plan(record.brief.questions, record.brief.findings), wish.stage, wish.questions)
    alive = await session.charters.alive_change(charter.document_id)
    if alive is not None:
        raise AtelierError(
            ErrorType.INVALID_STATE,
            f"Another change of this charter is under way: the session {alive}. Finish it, or cancel it.",
            details={"session_id": alive},
        )
    return _new_job(session.deps, record, charter, wish)


def _new_job(deps: Deps, record: SessionRecord, charter: CharterRecord, wish: Reopening) -> NewJob:
    job = record.job
    base = Base(
        job_id=job.id,
        document_id=charter.document_id,
        version=charter.number,
        stage=wish.stage,
        questions=wish.questions,
        because=wish.because,
    )
    brief = record.brief.model_copy(update={"name": job.title, "base": base})
    # What it was begun with, as far as it can still be asked.
    models = tuple(model for model in job.models if not refusal(model, deps.settings))
    return NewJob(
        pipeline=PIPELINE,
        title=job.title,
        tags=job.tags,
        input=brief.model_dump(mode="json"),
        models=models or chain(deps, None),
        body_sha256=wish.body_sha256,
        idempotency_key=wish.key,
        parent_job=job.id,
        attachments=(Attachment("questionnaire.json", brief.questionnaire, None),),
        budget_usd=job.budget_usd,
        webhook_url=job.webhook_url,
    )
