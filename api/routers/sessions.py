"""Scoping sessions: begin one, answer what it asks, read where it stands; their charters are next door."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import session_examples as examples
from api.deps import CountedSession, OwnerSession, Session
from api.histories import forget
from api.openapi import BODY_PROBLEMS, Responses, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.reopenings import Reopening, reopen_charter
from api.requests import ACT, NO_QUERY, IdempotencyKey, JsonBody, parse, path_id, path_name
from api.schemas import JobSubmission
from api.session_schemas import (
    ContradictionList,
    ContradictionWord,
    FollowUpAnswers,
    QuestionSkip,
    SessionCreation,
    SessionList,
    SessionPatch,
    SessionQuery,
    SessionView,
    StageAnswers,
    StageReopening,
    StageView,
    TranscriptView,
)
from api.session_views import contradictions_view, session_view, stage_view, summary_view, transcript_view
from api.sessions import UNSAID, Saying, check_deletable, say, saying, shown, stage_number
from api.submission import submit
from api.views import answer
from core.contracts.base import Submission
from core.contracts.errors import ErrorType
from core.contracts.jobs import JobStatus
from core.contracts.names import workflow_id
from core.contracts.scoping import (
    PIPELINE,
    AnswerFollowUp,
    AnswerStage,
    Finish,
    ReopenStage,
    ResolveContradiction,
    ScopingInput,
    SkipQuestion,
)

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_ACT_PROBLEMS = (
    ErrorType.NOT_FOUND,
    ErrorType.INVALID_STATE,
    ErrorType.IDEMPOTENCY_MISMATCH,
    ErrorType.STAGE_RUNNING,
    *BODY_PROBLEMS,
    ErrorType.TEMPORAL_UNAVAILABLE,
)
_ACT_RESPONSES: Responses = {
    **success(202, "It is stored, and the session goes on with it", SessionView, examples.SESSION),
    **problems(*_ACT_PROBLEMS),
}
_NEW_PROBLEMS = (ErrorType.UNKNOWN_MODEL, ErrorType.TOO_MANY_JOBS, ErrorType.STORE_UNAVAILABLE)


@router.post(
    "",
    status_code=202,
    summary="Begin a session",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(SessionCreation, examples.CREATION),
    responses={
        **success(202, "Accepted; `Location` names the session", SessionView, examples.NEW_SESSION),
        **problems(*BODY_PROBLEMS, ErrorType.IDEMPOTENCY_MISMATCH, ErrorType.PRICE_UNKNOWN, *_NEW_PROBLEMS),
    },
)
async def create(body: JsonBody, session: CountedSession, idempotency_key: IdempotencyKey = None) -> Response:
    """Begin to scope a project: five stages of questions, over days or weeks, that end in a charter.

    It is a job of the pipeline `scoping` of the same id. The questions are fixed now; the first are asked in a moment.
    """
    given = parse(SessionCreation, body)
    # As it was given, without defaults: so it is the same request as one that names the pipeline.
    wanted = given.model_dump(mode="json", include=set(ScopingInput.model_fields), exclude_unset=True)
    submission = JobSubmission(
        pipeline=PIPELINE,
        input=wanted,
        tags=given.tags,
        models=given.models,
        budget_usd=given.budget_usd,
        webhook_url=given.webhook_url,
    )
    job = await submit(session, submission, idempotency_key)
    return await _begun(session, job.id)


@router.get(
    "",
    summary="List sessions",
    response_model=None,
    responses={
        **success(200, "A page of sessions", SessionList, examples.SESSIONS),
        **problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def page(session: OwnerSession, query: Annotated[SessionQuery, Query()]) -> Response:
    """Your sessions, the newest first. Pass `next_cursor` of a page to get the next."""
    found = await session.scoping.page(status=query.status, before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, summary_view, lambda one: id_cursor(one.job.id)))


@router.get(
    "/{session_id}",
    summary="Read a session",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The session", SessionView, examples.SESSION), **problems(ErrorType.NOT_FOUND)},
)
async def read(session_id: str, session: OwnerSession) -> Response:
    """A session: where it stands, and what it asks of you at the moment."""
    return await _show(session, path_id(session_id, "session"))


@router.patch(
    "/{session_id}",
    summary="Rename a session",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(SessionPatch, examples.PATCH),
    responses={
        **success(200, "The session as it is now", SessionView, examples.SESSION),
        **problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS),
    },
)
async def rename(session_id: str, body: JsonBody, session: OwnerSession) -> Response:
    """Give the project another name, whatever the session's state. A charter that is written already keeps its own."""
    session_id = path_id(session_id, "session")
    given = parse(SessionPatch, body)
    await session.scoping.get(session_id)
    await session.jobs.describe(session_id, title=given.name, tags=None)
    return await _show(session, session_id)


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="Delete a session",
    response_model=None,
    dependencies=ACT,
    responses={
        204: {"description": "It is gone"},
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_STATE, *BODY_PROBLEMS),
    },
)
async def delete(session_id: str, session: OwnerSession) -> Response:
    """Delete a session that has ended, with all that was said in it and its charter. Cancel its job first if it has
    not. Sessions that went on from it keep what they took over."""
    session_id = path_id(session_id, "session")
    check_deletable(await session.scoping.get(session_id))
    await session.jobs.delete(session_id)
    deps = session.deps
    session.then.append(lambda: deps.errands.run(forget(deps.temporal, workflow_id(PIPELINE, session_id))))
    return Response(status_code=204)


@router.get(
    "/{session_id}/stages/{number}",
    summary="Read a stage",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The stage", StageView, examples.STAGE), **problems(ErrorType.NOT_FOUND)},
)
async def stage(session_id: str, number: str, session: OwnerSession) -> Response:
    """A stage with its questions, what was said to them, and what it found when it was closed last."""
    one = await shown(session, path_id(session_id, "session"))
    wanted = stage_number(number)
    checkpoints = await session.scoping.checkpoints(one.record.job.id, wanted)
    return answer(stage_view(one, wanted, checkpoints[-1] if checkpoints else None))


@router.post(
    "/{session_id}/stages/{number}/answers",
    status_code=202,
    summary="Answer questions",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(StageAnswers, examples.ANSWERS),
    responses=_ACT_RESPONSES,
)
async def answers(
    session_id: str, number: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer some or all questions of the stage that is asked. A model reads them, and asks back about vague ones, each
    at most twice. When all are answered the stage closes."""
    at = stage_number(number)
    given = parse(StageAnswers, body)
    act = AnswerStage(entry_id=UNSAID, stage=at, questions=tuple(given.answers))
    return await _said(session, session_id, saying(act, given, idempotency_key, stage=at))


@router.post(
    "/{session_id}/stages/{number}/follow-ups",
    status_code=202,
    summary="Answer follow-ups",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(FollowUpAnswers, examples.FOLLOW_UPS),
    responses=_ACT_RESPONSES,
)
async def follow_ups(
    session_id: str, number: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer what was asked back, by the ids of the questions that it is about."""
    at = stage_number(number)
    given = parse(FollowUpAnswers, body)
    act = AnswerFollowUp(entry_id=UNSAID, stage=at, questions=tuple(given.answers))
    return await _said(session, session_id, saying(act, given, idempotency_key, stage=at))


@router.post(
    "/{session_id}/stages/{number}/skips",
    status_code=202,
    summary="Skip a question",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(QuestionSkip, examples.SKIP),
    responses=_ACT_RESPONSES,
)
async def skip(
    session_id: str, number: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Leave a question, or the follow-up about it, unanswered: what rests on it alone is marked as an assumption."""
    at = stage_number(number)
    given = parse(QuestionSkip, body)
    act = SkipQuestion(entry_id=UNSAID, stage=at, question=given.question)
    return await _said(session, session_id, saying(act, given, idempotency_key, stage=at))


@router.post(
    "/{session_id}/stages/{number}/reopen",
    status_code=202,
    summary="Reopen a stage",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(StageReopening, examples.REOPENING, required=False),
    responses={
        **success(202, "Reopened; `Location` names the session if it is a new one", SessionView, examples.SESSION),
        **problems(*_ACT_PROBLEMS, *_NEW_PROBLEMS),
    },
)
async def reopen(
    session_id: str, number: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a stage again, or some of its questions. What rests on them is asked again too; all else stays.

    Once the charter is written this begins a session of its own, which ends in the charter's next version.
    """
    session_id, at = path_id(session_id, "session"), stage_number(number)
    given = parse(StageReopening, body or b"{}")
    words = saying(ReopenStage(entry_id=UNSAID, stage=at, questions=given.questions), given, idempotency_key, stage=at)
    record = await session.scoping.get(session_id)
    is_written = record.job.status is JobStatus.COMPLETED
    if is_written and await session.scoping.offered(session_id, words.said.update_id) is None:
        wish = Reopening(session_id, at, given.questions, given.because, words.said, idempotency_key)
        return await _begun(session, (await reopen_charter(session, wish)).id)
    return await _said(session, session_id, words)


@router.get(
    "/{session_id}/contradictions",
    summary="List contradictions",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The contradictions", ContradictionList, examples.CONTRADICTIONS),
        **problems(ErrorType.NOT_FOUND),
    },
)
async def contradictions(session_id: str, session: OwnerSession) -> Response:
    """Answers of two stages that cannot both hold, with what was said to both."""
    return answer(contradictions_view(await shown(session, path_id(session_id, "session"))))


@router.post(
    "/{session_id}/contradictions/{contradiction_id}",
    status_code=202,
    summary="Resolve a contradiction",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(ContradictionWord, examples.RESOLUTION),
    responses=_ACT_RESPONSES,
)
async def resolve(
    session_id: str,
    contradiction_id: str,
    body: JsonBody,
    session: OwnerSession,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Say which of two answers holds, or what holds instead. The findings that rest on them are made anew."""
    given = parse(ContradictionWord, body)
    name = path_name(contradiction_id, "contradiction")
    act = ResolveContradiction(entry_id=UNSAID, contradiction=name, holds=given.holds)
    return await _said(session, session_id, saying(act, given, idempotency_key, contradiction=name))


@router.post(
    "/{session_id}/finish",
    status_code=202,
    summary="Finish a session",
    response_model=None,
    dependencies=ACT,
    responses=_ACT_RESPONSES,
)
async def finish(session_id: str, session: OwnerSession, idempotency_key: IdempotencyKey = None) -> Response:
    """Be asked no more. What is open becomes an assumption or an open risk, and the charter is written."""
    return await _said(session, session_id, saying(Finish(entry_id=UNSAID), Submission(), idempotency_key))


@router.get(
    "/{session_id}/transcript",
    summary="Export a session",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The transcript", TranscriptView, examples.TRANSCRIPT),
        **problems(ErrorType.NOT_FOUND),
    },
)
async def transcript(session_id: str, session: OwnerSession) -> Response:
    """All that was said and asked back, in order, and what the stages found each time that they closed."""
    record = await session.scoping.get(path_id(session_id, "session"))
    entries = await session.scoping.entries(record.job.id)
    return answer(transcript_view(record, entries, await session.scoping.checkpoints(record.job.id)))


async def _said(session: Session, session_id: str, words: Saying) -> Response:
    session_id = path_id(session_id, "session")
    await say(session, session_id, words)
    return await _show(session, session_id, 202)


async def _begun(session: Session, session_id: str) -> Response:
    session.resource = f"sessions/{session_id}"
    return await _show(session, session_id, 202, {"Location": f"/v1/sessions/{session_id}"})


async def _show(
    session: Session, session_id: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    one = await shown(session, session_id)
    return answer(session_view(one, await session.charters.of_session(session_id)), status, headers)
