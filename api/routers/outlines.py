"""The outline of a long-form job: read it, and say what becomes of it."""

from fastapi import APIRouter, Response

from api import document_examples, examples
from api.deps import OwnerSession, Session
from api.document_schemas import OutlineApproval, OutlineRevision, OutlineView
from api.document_views import outline_view
from api.openapi import BODY_PROBLEMS, Responses, problems, request_body, success
from api.requests import NO_QUERY, IdempotencyKey, JsonBody, parse, path_id
from api.reviews import edited_plan, hear, outline_file, tell
from api.schemas import JobView
from api.submission import counting
from api.updates import word
from api.views import answer, job_view
from core.contracts.errors import ErrorType
from core.contracts.longform import Brief, Outline
from core.contracts.longform_steps import OutlineAgain, OutlineApproved, OutlineEdited
from core.contracts.outlines import OutlineEdit
from workflows.longform import AGAIN, APPROVE, EDIT

router = APIRouter(prefix="/v1/jobs/{job_id}/outline", tags=["outline"], dependencies=NO_QUERY)

_ACT_RESPONSES: Responses = {
    **success(202, "It is stored, and the job goes on with it", JobView, examples.RUNNING),
    **problems(
        ErrorType.NOT_FOUND,
        ErrorType.INVALID_STATE,
        ErrorType.IDEMPOTENCY_MISMATCH,
        *BODY_PROBLEMS,
        ErrorType.TEMPORAL_UNAVAILABLE,
    ),
}


@router.get(
    "",
    summary="Read the outline",
    response_model=None,
    responses={
        **success(200, "The newest outline", OutlineView, document_examples.OUTLINE),
        **problems(ErrorType.NOT_FOUND, ErrorType.STORE_UNAVAILABLE),
    },
)
async def read(job_id: str, session: OwnerSession) -> Response:
    """The job's newest outline, and whether the job waits for your word on it. 404 as long as there is none."""
    # The job first: an outline that comes between the two is then told under a round that nobody can approve any more.
    job = await session.jobs.get(path_id(job_id, "job"))
    file = await outline_file(session, job.id)
    await session.leave()
    outline = Outline.model_validate_json(await session.deps.store.get(file.ref))
    return answer(outline_view(job, file, outline))


@router.post(
    "/approve",
    status_code=202,
    summary="Approve the outline",
    response_model=None,
    openapi_extra=request_body(OutlineApproval, document_examples.APPROVAL, required=False),
    responses=_ACT_RESPONSES,
)
async def approve(
    job_id: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Have the document written by this outline. Of two answers to one question the first counts."""
    job_id = path_id(job_id, "job")
    given = parse(OutlineApproval, body or b"{}")
    said = word(APPROVE, given, idempotency_key)
    if heard := await hear(session, job_id, said, given.round):
        job, asked = heard
        async with session.away():
            verdict = OutlineApproved(round=asked, body_sha256=said.body_sha256)
            await tell(session.deps.temporal, job, said, verdict)
    return await _show(session, job_id)


@router.post(
    "/edit",
    status_code=202,
    summary="Edit the outline",
    response_model=None,
    openapi_extra=request_body(OutlineEdit, document_examples.OUTLINE_EDIT),
    responses=_ACT_RESPONSES,
)
async def edit(job_id: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None) -> Response:
    """Have the document written by your outline: sections changed, moved, added, left out.

    Sections without a budget share what the others leave of the length that was asked for; if all have one, their sum
    is the new length. With `approve: false` you are asked once more, about the edited outline.
    """
    job_id = path_id(job_id, "job")
    given = parse(OutlineEdit, body)
    said = word(EDIT, given, idempotency_key)
    if heard := await hear(session, job_id, said, given.round):
        job, asked = heard
        current = await outline_file(session, job_id)
        brief = Brief.model_validate(await session.jobs.input(job_id))
        async with session.away():
            plan = await edited_plan(session.deps.store, current.ref, given, brief)
            verdict = OutlineEdited(round=asked, body_sha256=said.body_sha256, plan=plan, approve=given.approve)
            await tell(session.deps.temporal, job, said, verdict)
    return await _show(session, job_id)


@router.post(
    "/revise",
    status_code=202,
    summary="Ask for another outline",
    response_model=None,
    openapi_extra=request_body(OutlineRevision, document_examples.OUTLINE_REVISION),
    responses=_ACT_RESPONSES,
)
async def revise(
    job_id: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Have a model plan the document again, with your instructions. You are asked about the new outline, too."""
    job_id = path_id(job_id, "job")
    given = parse(OutlineRevision, body)
    said = word(AGAIN, given, idempotency_key)
    if heard := await hear(session, job_id, said, given.round):
        job, asked = heard
        async with counting(session), session.away():
            verdict = OutlineAgain(round=asked, body_sha256=said.body_sha256, instructions=given.instructions)
            await tell(session.deps.temporal, job, said, verdict)
    return await _show(session, job_id)


async def _show(session: Session, job_id: str) -> Response:
    return answer(job_view(await session.jobs.get(job_id)), 202)
