"""Documents: their versions, what changed between them, and jobs that make new ones."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import document_examples as examples
from api.deps import OwnerSession
from api.document_schemas import (
    DiffQuery,
    DocumentList,
    DocumentView,
    EditSection,
    RegenerateSection,
    VersionList,
    WholeVersionView,
)
from api.document_views import document_view, version_view, whole_version_view
from api.openapi import BODY_PROBLEMS, Responses, problems, request_body, success
from api.paging import id_cursor, id_of, number_cursor, number_of, page_view
from api.requests import ACT, NO_QUERY, IdempotencyKey, JsonBody, parse, path_id, path_number
from api.revisions import Change, submit
from api.schemas import JobView, PageQuery
from api.views import answer
from core.contracts.base import attachment
from core.contracts.documents import Article, Report
from core.contracts.errors import ErrorType
from core.contracts.longform_steps import RevisionAct
from core.documents.diff import ArticleDiff, diff

router = APIRouter(prefix="/v1/documents", tags=["documents"])

_BYTES_PROBLEMS = (ErrorType.STORE_UNAVAILABLE, ErrorType.ARTIFACT_MISSING)
_PAGE_PROBLEMS = (ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST)
_CHANGE_PROBLEMS = (
    ErrorType.NOT_FOUND,
    ErrorType.INVALID_STATE,
    ErrorType.IDEMPOTENCY_MISMATCH,
    ErrorType.UNKNOWN_MODEL,
    ErrorType.TOO_MANY_JOBS,
    *BODY_PROBLEMS,
    ErrorType.STORE_UNAVAILABLE,
)
_CHANGE = success(202, "Accepted; `Location` names the job that makes the new version", JobView, examples.REVISION)
_CHANGE_RESPONSES: Responses = {**_CHANGE, **problems(*_CHANGE_PROBLEMS)}
_PAID_CHANGE_RESPONSES: Responses = {**_CHANGE, **problems(*_CHANGE_PROBLEMS, ErrorType.PRICE_UNKNOWN)}


@router.get(
    "",
    summary="List documents",
    response_model=None,
    responses={**success(200, "A page of documents", DocumentList, examples.DOCUMENTS), **problems(*_PAGE_PROBLEMS)},
)
async def page(session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Your documents, the newest first, as their newest versions have them.

    Pass `next_cursor` of a page to get the next. A document goes with the last of the jobs that wrote its versions.
    """
    found = await session.documents.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, document_view, lambda document: id_cursor(document.id)))


@router.get(
    "/{document_id}",
    summary="Read about a document",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The document", DocumentView, examples.DOCUMENT), **problems(ErrorType.NOT_FOUND)},
)
async def read(document_id: str, session: OwnerSession) -> Response:
    """A document as its newest version has it. Its id is that of the job that wrote it."""
    return answer(document_view(await session.documents.get(path_id(document_id, "document"))))


@router.get(
    "/{document_id}/versions",
    summary="List a document's versions",
    response_model=None,
    responses={
        **success(200, "A page of versions", VersionList, examples.VERSIONS),
        **problems(ErrorType.NOT_FOUND, *_PAGE_PROBLEMS),
    },
)
async def versions(document_id: str, session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """The versions of a document, the newest first, without their texts."""
    found = await session.documents.versions(
        path_id(document_id, "document"), before=number_of(query.cursor), limit=query.limit + 1
    )
    return answer(page_view(found, query.limit, version_view, lambda record: number_cursor(record.version.number)))


@router.get(
    "/{document_id}/versions/{number}",
    summary="Read a version",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The version with its text", WholeVersionView, examples.WHOLE_VERSION),
        **problems(ErrorType.NOT_FOUND, *_BYTES_PROBLEMS),
    },
)
async def version(document_id: str, number: str, session: OwnerSession) -> Response:
    """A version with its sections, references and evaluation. It never changes; `sha256` is its content's hash."""
    record = await session.documents.version(path_id(document_id, "document"), path_number(number, "version"))
    await session.leave()
    get = session.deps.store.get
    article, report = await asyncio.gather(get(record.version.article), get(record.version.report))
    return answer(whole_version_view(record, Article.model_validate_json(article), Report.model_validate_json(report)))


@router.get(
    "/{document_id}/diff",
    summary="Compare two versions",
    response_model=None,
    responses={
        **success(200, "What changed", ArticleDiff, examples.DIFF),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_REQUEST, *_BYTES_PROBLEMS),
    },
)
async def compare(document_id: str, session: OwnerSession, query: Annotated[DiffQuery, Query()]) -> Response:
    """What changed between two versions, section by section."""
    document_id = path_id(document_id, "document")
    old, new = [(await session.documents.version(document_id, number)).version for number in (query.old, query.new)]
    await session.leave()
    get = session.deps.store.get
    before, after = await asyncio.gather(get(old.article), get(new.article))

    def compared() -> ArticleDiff:
        return diff(Article.model_validate_json(before), Article.model_validate_json(after))

    # Two long texts take a while to compare: beside the event loop.
    return answer((await asyncio.to_thread(compared)).model_dump(mode="json"))


@router.post(
    "/{document_id}/sections/{section_id}/regenerate",
    status_code=202,
    summary="Regenerate a section",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(RegenerateSection, examples.REGENERATION, required=False),
    responses=_PAID_CHANGE_RESPONSES,
)
async def regenerate(
    document_id: str,
    section_id: str,
    body: JsonBody,
    session: OwnerSession,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have a model write one section anew, in a child job. All other sections stay as they are, byte for byte."""
    document_id = path_id(document_id, "document")
    given = parse(RegenerateSection, body or b"{}")
    change = Change(
        RevisionAct.REGENERATE,
        document_id,
        section_id,
        base=given.base,
        instructions=given.instructions,
        models=given.models,
        budget_usd=given.budget_usd,
    )
    return await submit(session, change, idempotency_key)


@router.post(
    "/{document_id}/sections/{section_id}/edit",
    status_code=202,
    summary="Edit a section",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(EditSection, examples.SECTION_EDIT),
    responses=_CHANGE_RESPONSES,
)
async def edit(
    document_id: str,
    section_id: str,
    body: JsonBody,
    session: OwnerSession,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put your own text in the place of one section's, in a child job. All other sections stay as they are."""
    document_id = path_id(document_id, "document")
    given = parse(EditSection, body)
    change = Change(
        RevisionAct.EDIT,
        document_id,
        section_id,
        base=given.base,
        title=given.title,
        text=attachment(session.owner.id, "edited.md", given.markdown, "text/markdown; charset=utf-8"),
    )
    return await submit(session, change, idempotency_key)


@router.post(
    "/{document_id}/versions/{number}/restore",
    status_code=202,
    summary="Restore a version",
    response_model=None,
    dependencies=ACT,
    responses=_CHANGE_RESPONSES,
)
async def restore(
    document_id: str, number: str, session: OwnerSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make an earlier version the newest one again, in a child job. The versions between stay."""
    change = Change(RevisionAct.RESTORE, path_id(document_id, "document"), restore=path_number(number, "version"))
    return await submit(session, change, idempotency_key)
