"""Jobs: submit, list, read, describe, steer, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import examples
from api.deps import CountedSession, OwnerSession, Session
from api.histories import forget
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.requests import ACT, NO_QUERY, IdempotencyKey, JsonBody, parse, path_id
from api.schemas import JobList, JobPatch, JobQuery, JobSubmission, JobView
from api.submission import accepted, counted, known_pipeline
from api.submission import submit as submit_job
from api.views import answer, job_view
from core.contracts.errors import ErrorType
from core.contracts.names import workflow_id
from core.db.repositories.jobs import JobFilter

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(JobSubmission, examples.SUBMISSION),
    responses={
        **success(202, "Accepted; `Location` names the job", JobView, examples.PENDING),
        **problems(
            *BODY_PROBLEMS,
            ErrorType.UNKNOWN_PIPELINE,
            ErrorType.UNKNOWN_MODEL,
            ErrorType.PRICE_UNKNOWN,
            ErrorType.IDEMPOTENCY_MISMATCH,
            ErrorType.TOO_MANY_JOBS,
            ErrorType.STORE_UNAVAILABLE,
        ),
    },
)
async def submit(body: JsonBody, session: CountedSession, idempotency_key: IdempotencyKey = None) -> Response:
    """Accept a job. It is stored when this answers, and will run, whatever is down at the moment.

    With an `Idempotency-Key` that was used before, the job of then is answered, as it is now; another body is refused.
    """
    return accepted(await submit_job(session, parse(JobSubmission, body), idempotency_key))


@router.get(
    "",
    summary="List jobs",
    response_model=None,
    responses={
        **success(200, "A page of jobs", JobList, examples.JOBS),
        **problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST, ErrorType.UNKNOWN_PIPELINE),
    },
)
async def page(session: OwnerSession, query: Annotated[JobQuery, Query()]) -> Response:
    """Your jobs, newest first. `progress.completed_steps` is left empty here; a single job has it.

    Pass `next_cursor` of a page to get the next. Jobs that come while you page are on no later page.
    """
    wanted = JobFilter(
        pipeline=None if query.pipeline is None else known_pipeline(query.pipeline).name,
        status=query.status,
        tag=query.tag,
        created_from=query.created_from,
        created_to=query.created_to,
        before=id_of(query.cursor),
    )
    records = await session.jobs.page(wanted, query.limit + 1)
    return answer(page_view(records, query.limit, job_view, lambda job: id_cursor(job.id)))


@router.get(
    "/{job_id}",
    summary="Read a job",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The job", JobView, examples.COMPLETED), **problems(ErrorType.NOT_FOUND)},
)
async def read(job_id: str, session: OwnerSession) -> Response:
    """A job: its status, progress, cost, result or error, and what it waits for."""
    return await _show(session, path_id(job_id, "job"))


@router.patch(
    "/{job_id}",
    summary="Change title and tags",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(JobPatch, examples.PATCH),
    responses={
        **success(200, "The job as it is now", JobView, {**examples.COMPLETED, **examples.PATCH}),
        **problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS),
    },
)
async def describe(job_id: str, body: JsonBody, session: OwnerSession) -> Response:
    """Change a job's title or tags, whatever its state. What is left out stays."""
    job_id = path_id(job_id, "job")
    patch = parse(JobPatch, body)
    given = patch.model_fields_set
    await session.jobs.describe(
        job_id,
        title=patch.title if "title" in given else None,
        tags=patch.tags if "tags" in given else None,
    )
    return await _show(session, job_id)


_ACT = (ErrorType.NOT_FOUND, ErrorType.INVALID_STATE, *BODY_PROBLEMS)
_ACT_PROBLEMS = problems(*_ACT)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=None,
    dependencies=ACT,
    responses={**success(202, "It will be cancelled", JobView, examples.CANCELLING), **_ACT_PROBLEMS},
)
async def cancel(job_id: str, session: OwnerSession) -> Response:
    """End a job. A model's answer or a render under way is broken off within seconds. Asking again is fine."""
    job_id = path_id(job_id, "job")
    await session.jobs.request_cancel(job_id)
    return await _acted(session, job_id)


@router.post(
    "/{job_id}/pause",
    status_code=202,
    summary="Pause a job",
    response_model=None,
    dependencies=ACT,
    responses={**success(202, "It will pause", JobView, examples.PAUSING), **_ACT_PROBLEMS},
)
async def pause(job_id: str, session: OwnerSession) -> Response:
    """Begin no further step. Steps under way are finished; then the job's status is `paused`."""
    job_id = path_id(job_id, "job")
    await session.jobs.request_pause(job_id, paused=True)
    return await _acted(session, job_id)


@router.post(
    "/{job_id}/resume",
    status_code=202,
    summary="Resume a paused job",
    response_model=None,
    dependencies=ACT,
    responses={**success(202, "It will go on", JobView, examples.RUNNING), **_ACT_PROBLEMS},
)
async def resume(job_id: str, session: OwnerSession) -> Response:
    """Go on where the pause began."""
    job_id = path_id(job_id, "job")
    await session.jobs.request_pause(job_id, paused=False)
    return await _acted(session, job_id)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Retry a failed job",
    response_model=None,
    dependencies=ACT,
    responses={
        **success(202, "It will run again", JobView, examples.RETRIED),
        **problems(*_ACT, ErrorType.TOO_MANY_JOBS),
    },
)
async def retry(job_id: str, session: CountedSession) -> Response:
    """Run a failed job again from the step that failed. What is finished is neither run nor paid for again."""
    job_id = path_id(job_id, "job")
    await session.jobs.check_retry(job_id)
    async with counted(session):
        await session.jobs.retry(job_id, at_once=session.deps.limiter.jobs_at_once(session.owner))
    return await _acted(session, job_id)


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    response_model=None,
    dependencies=ACT,
    responses={204: {"description": "It is gone"}, **_ACT_PROBLEMS},
)
async def delete(job_id: str, session: OwnerSession) -> Response:
    """Delete an ended job with its records and files. What it cost stays in the usage figures, without content."""
    job_id = path_id(job_id, "job")
    pipeline = await session.jobs.delete(job_id)
    deps = session.deps
    session.then.append(lambda: deps.errands.run(forget(deps.temporal, workflow_id(pipeline, job_id))))
    return Response(status_code=204)


async def _show(session: Session, job_id: str, status: int = 200) -> Response:
    return answer(job_view(await session.jobs.get(job_id)), status)


async def _acted(session: Session, job_id: str) -> Response:
    session.then.append(session.deps.wake)
    return await _show(session, job_id, 202)
