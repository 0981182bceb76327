"""Changes of a document: each is a child job that makes a new version."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fastapi import Response

from api.deps import Session
from api.estimates import check_budget
from api.requests import NAME_LIMIT
from api.submission import accepted, chain, counted, insert, sha256_of, visible
from core.contracts.base import Attachment
from core.contracts.documents import Version
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.longform_steps import REVISION_PIPELINE, RevisionAct, RevisionInput
from core.db.repositories.job_records import JobRecord
from core.db.repositories.jobs import NewJob

TITLE_LIMIT = 200


@dataclass(frozen=True)
class Change:
    """What is asked of a document. `base` None: its newest version. `models` None: the configured ones."""

    act: RevisionAct
    document_id: str
    section_id: str | None = None
    restore: int | None = None
    base: int | None = None
    instructions: str = ""
    title: str | None = None
    text: Attachment | None = None
    models: Sequence[str] | None = None
    budget_usd: Decimal | None = None

    @property
    def body_sha256(self) -> str:
        """What tells it from another change, for the Idempotency-Key."""
        said = {**self.__dict__, "act": self.act.value, "text": self.text and self.text.ref.sha256}
        said["budget_usd"] = self.budget_usd and str(self.budget_usd.normalize())
        # Without what was left out: a version that adds a field must not break a repeated submission.
        return sha256_of({name: value for name, value in said.items() if value})


async def submit(session: Session, change: Change, idempotency_key: str | None) -> Response:
    """Accept the job that makes the change.

    Raises `NOT_FOUND` for a document, version or section that is not there, `INVALID_STATE` while another change of
    the document is under way, `IDEMPOTENCY_MISMATCH`, `UNKNOWN_MODEL`, `PRICE_UNKNOWN`, `TOO_MANY_REQUESTS`,
    `TOO_MANY_JOBS`, `STORE_UNAVAILABLE`.
    """
    models = chain(session.deps, change.models)
    check_budget(change.budget_usd, models)
    asked = await _asked(session, change, models, idempotency_key)
    if isinstance(asked, JobRecord):
        return accepted(asked)
    async with counted(session, asked.attachments) as give_back:
        # Again, in the transaction that inserts it: another change may have come meanwhile.
        asked = await _asked(session, change, models, idempotency_key)
        if isinstance(asked, JobRecord):
            give_back()
            return accepted(asked)
        return accepted(await insert(session, asked, give_back))


async def _asked(
    session: Session, change: Change, models: tuple[str, ...], idempotency_key: str | None
) -> NewJob | JobRecord:
    """The job that would make the change, or the one that was accepted for it. The document stays locked."""
    document_id = change.document_id
    body_sha256 = change.body_sha256
    await session.documents.lock(document_id)
    if idempotency_key is not None:
        # Under the lock, and before anything is looked at that the first request has changed.
        known = await session.jobs.repeated(idempotency_key, body_sha256)
        if known is not None:
            return known
    number = change.base or await session.documents.latest(document_id)
    base = (await session.documents.version(document_id, number)).version
    title = await _title(session, change, base)
    alive = await session.documents.alive_revision(document_id)
    if alive is not None:
        raise AtelierError(
            ErrorType.INVALID_STATE,
            f"Another change of this document is under way: the job {alive}. Wait until it has ended, or cancel it.",
            details={"job_id": alive},
        )
    wish = RevisionInput(
        act=change.act,
        document_id=document_id,
        base=base.number,
        section_id=change.section_id,
        instructions=change.instructions,
        title=change.title,
        text=None if change.text is None else change.text.ref,
        restore=change.restore,
    )
    return NewJob(
        pipeline=REVISION_PIPELINE,
        title=title,
        tags=(),
        input=wish.model_dump(mode="json"),
        models=models,
        body_sha256=body_sha256,
        idempotency_key=idempotency_key,
        parent_job=base.job_id,
        attachments=() if change.text is None else (change.text,),
        budget_usd=change.budget_usd,
    )


async def _title(session: Session, change: Change, base: Version) -> str:
    """The job's title, once what it is about is found. Raises `NOT_FOUND`, `INVALID_STATE`."""
    if change.restore is not None:
        if change.restore == base.number:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                f"Version {base.number} is the newest already: there is nothing to restore.",
                details={"latest": base.number},
            )
        await session.documents.version(change.document_id, change.restore)
        title = f"Version {change.restore} of {base.title} restored"
    else:
        section = next((section for section in base.sections if section.id == change.section_id), None)
        if section is None:
            raise AtelierError(
                ErrorType.NOT_FOUND,
                f"Version {base.number} has no section {str(change.section_id)[:NAME_LIMIT]!r}.",
                details={"sections": [section.id for section in base.sections]},
            )
        title = f'Section "{section.title}" of {base.title}'
    return visible(title)[:TITLE_LIMIT]
