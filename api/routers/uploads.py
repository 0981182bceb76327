"""Files that users bring: promised, sent, looked at, listed, deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api import upload_examples as examples
from api.deps import OwnerSession, deps_of
from api.openapi import BODY_PROBLEMS, OPEN_PROBLEMS, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.requests import ACT, NO_QUERY, JsonBody, parse, path_id
from api.routers.auth import NOT_KEPT
from api.schemas import PageQuery
from api.upload_schemas import UploadList, UploadRequest, UploadView
from api.uploads import checked, store, upload_view
from api.views import answer
from core.contracts.errors import AtelierError, ErrorType
from core.db.repositories.uploads import Upload, UploadStatus
from core.documents.refused import FileRefusedError

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

_CONTENT: dict[str, Any] = {
    # The signature is what allows it.
    "security": [],
    "requestBody": {
        "required": True,
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}, "example": "# Tide mills\n\nTwice …"}},
    },
}


@router.post(
    "",
    status_code=201,
    summary="Announce a file",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(UploadRequest, examples.UPLOAD),
    responses={
        **success(201, "Where to send its bytes", UploadView, examples.PENDING),
        **problems(ErrorType.FILE_REFUSED, ErrorType.QUOTA_EXCEEDED, ErrorType.STORE_UNAVAILABLE, *BODY_PROBLEMS),
    },
)
async def create(body: JsonBody, session: OwnerSession) -> Response:
    """Get a URL for a file's bytes: for one PUT, of exactly this size and type, and for a while. Then complete it.

    Taken are plain text, Markdown, JSON, PDF, DOCX, images, audio and video, each up to a size of its own.
    """
    uploads = session.deps.uploads
    upload = await session.uploads.create(checked(parse(UploadRequest, body)), uploads.rules)
    session.resource = f"uploads/{upload.id}"
    return answer(upload_view(upload, await uploads.target(upload)), 201, NOT_KEPT)


@router.put(
    "/{upload_id}/content",
    status_code=204,
    summary="Send a file's bytes",
    response_model=None,
    openapi_extra=_CONTENT,
    responses={
        204: {"description": "They are there; complete the upload"},
        **problems(
            ErrorType.UPLOAD_URL_INVALID,
            ErrorType.UNAUTHENTICATED,
            ErrorType.UPLOAD_EXPIRED,
            ErrorType.INVALID_STATE,
            ErrorType.NOT_FOUND,
            ErrorType.STORE_UNAVAILABLE,
            *BODY_PROBLEMS,
            always=OPEN_PROBLEMS,
        ),
    },
)
async def content(
    upload_id: str,
    request: Request,
    expires: Annotated[str, Query(description="As in the URL that was given.")] = "",
    signature: Annotated[str, Query(description="As in the URL that was given.")] = "",
) -> Response:
    """Send the bytes to the URL that was given when the upload was made; the signature in it is all that is needed.

    The body is the file as it is, with the size and the type that were announced. Sending that broke off, or came too
    slowly, leaves nothing behind, and can be done again. Credentials are not asked for; if there are some, they have to
    be those of the user whose upload it is.
    """
    deps = deps_of(request)
    sha256 = await deps.uploads.receive(deps, request, path_id(upload_id, "upload"))
    return Response(status_code=204, headers={"ETag": f'"{sha256}"'})


@router.post(
    "/{upload_id}/complete",
    summary="Complete an upload",
    response_model=None,
    dependencies=ACT,
    responses={
        **success(200, "It can be used", UploadView, examples.READY),
        **problems(
            ErrorType.NOT_FOUND,
            ErrorType.FILE_REFUSED,
            ErrorType.INVALID_STATE,
            ErrorType.UPLOAD_EXPIRED,
            ErrorType.STORE_UNAVAILABLE,
            *BODY_PROBLEMS,
        ),
    },
)
async def complete(upload_id: str, session: OwnerSession) -> Response:
    """Have a file that was sent be looked at: its size, its SHA-256 if you gave one, and what it is by its content.

    One that is not what it was announced as, is empty, cut off or damaged, needs a password, or would take too much to
    read is refused, with the reason in `details.reason`, and its bytes are deleted. Done again, it says the same.
    """
    upload_id, uploads = path_id(upload_id, "upload"), session.deps.uploads
    upload = await session.uploads.get(upload_id)
    if upload.status is UploadStatus.PENDING:
        async with session.away():
            verdict = await uploads.judge(upload)
        # Without bytes now, it may have been completed by another request meanwhile.
        upload = await (store(verdict, session.uploads, upload_id) if verdict else session.uploads.get(upload_id))
        await session.note("uploads.complete", f"uploads/{upload_id}", status=upload.status.value)
        session.is_noted = True
        await session.leave()
        if upload.status is not UploadStatus.PENDING:
            await uploads.forget(upload)
    return answer(upload_view(_ready(upload)))


def _ready(upload: Upload) -> Upload:
    """Raises what became of one that is not."""
    if upload.status is UploadStatus.REFUSED and upload.reason is not None:
        raise FileRefusedError(upload.reason, upload.message or "")
    if upload.status is UploadStatus.EXPIRED:
        raise AtelierError(ErrorType.UPLOAD_EXPIRED, "The upload was not completed in time. Make another.")
    if upload.status is UploadStatus.PENDING:
        raise AtelierError(ErrorType.INVALID_STATE, "The bytes have not come yet: send them to the upload's URL first.")
    return upload


@router.get(
    "",
    summary="List your uploads",
    response_model=None,
    responses={
        **success(200, "A page of uploads", UploadList, examples.UPLOADS),
        **problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def list_uploads(session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """All your uploads, the newest first. Those that came to nothing are listed for a week."""
    found = await session.uploads.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, upload_view, lambda upload: id_cursor(upload.id)))


@router.get(
    "/{upload_id}",
    summary="Read an upload",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The upload", UploadView, examples.READY),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_REQUEST),
    },
)
async def read(upload_id: str, session: OwnerSession) -> Response:
    """How far an upload is."""
    return answer(upload_view(await session.uploads.get(path_id(upload_id, "upload"))))


@router.delete(
    "/{upload_id}",
    status_code=204,
    summary="Delete an upload",
    response_model=None,
    dependencies=ACT,
    responses={204: {"description": "It is gone"}, **problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS)},
)
async def delete(upload_id: str, session: OwnerSession) -> Response:
    """Delete an upload, and its bytes unless a job uses them. Its URL ends."""
    upload = await session.uploads.get(path_id(upload_id, "upload"))
    await session.uploads.delete(upload.id)
    session.then.append(lambda: session.deps.errands.run(session.deps.uploads.forget(upload)))
    return Response(status_code=204)
