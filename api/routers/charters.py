"""The charters that scoping sessions end in: versions, and what changed between them."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import session_examples as examples
from api.deps import OwnerSession, Session
from api.openapi import problems, success
from api.paging import number_cursor, number_of, page_view
from api.requests import NO_QUERY, path_id, path_number
from api.schemas import PageQuery
from api.session_schemas import CharterDiffQuery, CharterVersionList, WholeCharter
from api.session_views import version_view, whole_charter_view
from api.views import answer
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping_charter import Charter
from core.db.repositories.charters import CharterRecord
from core.documents.charter_diff import CharterDiff, diff_charters

router = APIRouter(prefix="/v1/sessions/{session_id}/charter", tags=["sessions"])

_BYTES_PROBLEMS = (ErrorType.STORE_UNAVAILABLE, ErrorType.ARTIFACT_MISSING)


@router.get(
    "",
    summary="Read the charter",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The version that the session has made", WholeCharter, examples.WHOLE_CHARTER),
        **problems(ErrorType.NOT_FOUND, *_BYTES_PROBLEMS),
    },
)
async def read(session_id: str, session: OwnerSession) -> Response:
    """The charter that this session has made, every statement with the answers it rests on. 404 until there is one."""
    record = await session.scoping.get(path_id(session_id, "session"))
    found = await session.charters.of_session(record.job.id)
    if found is None:
        raise AtelierError(
            ErrorType.NOT_FOUND,
            f"The session {record.job.id} has no charter (yet).",
            details={"session_id": record.job.id, "status": record.job.status.value},
        )
    return await _whole(session, found)


@router.get(
    "/versions",
    summary="List a charter's versions",
    response_model=None,
    responses={
        **success(200, "A page of versions", CharterVersionList, examples.VERSIONS),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def versions(session_id: str, session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """The versions of the charter that this session has made or is at, the newest first: each was made by a session of
    its own, and goes with it."""
    found = await session.charters.versions(
        await _document(session, session_id), before=number_of(query.cursor), limit=query.limit + 1
    )
    return answer(page_view(found, query.limit, version_view, lambda one: number_cursor(one.number)))


@router.get(
    "/versions/{number}",
    summary="Read a charter's version",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The version with its text", WholeCharter, examples.WHOLE_CHARTER),
        **problems(ErrorType.NOT_FOUND, *_BYTES_PROBLEMS),
    },
)
async def version(session_id: str, number: str, session: OwnerSession) -> Response:
    """A version of the charter. It never changes; `sha256` is its content's hash."""
    document_id = await _document(session, session_id)
    return await _whole(session, await session.charters.version(document_id, path_number(number, "version")))


@router.get(
    "/diff",
    summary="Compare two versions of a charter",
    response_model=None,
    responses={
        **success(200, "What changed", CharterDiff, examples.CHARTER_DIFF),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_REQUEST, *_BYTES_PROBLEMS),
    },
)
async def compare(session_id: str, session: OwnerSession, query: Annotated[CharterDiffQuery, Query()]) -> Response:
    """What changed between two versions, section by section and statement by statement."""
    document_id = await _document(session, session_id)
    old, new = [await session.charters.version(document_id, number) for number in (query.old, query.new)]
    await session.leave()
    get = session.deps.store.get
    before, after = await asyncio.gather(get(old.charter), get(new.charter))

    def compared() -> CharterDiff:
        return diff_charters(Charter.model_validate_json(before), Charter.model_validate_json(after))

    # Two long texts take a while to compare: beside the event loop.
    return answer((await asyncio.to_thread(compared)).model_dump(mode="json"))


async def _document(session: Session, session_id: str) -> str:
    """The document of a session's charter. Raises `NOT_FOUND`."""
    return (await session.scoping.get(path_id(session_id, "session"))).summary.document_id


async def _whole(session: Session, found: CharterRecord) -> Response:
    await session.leave()
    charter = Charter.model_validate_json(await session.deps.store.get(found.charter))
    return answer(whole_charter_view(found, charter))
