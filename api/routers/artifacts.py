"""The files that jobs make: listed, and their bytes with ETag and Range."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from starlette.types import Receive, Scope, Send

from api import examples
from api.deps import OwnerSession
from api.errors import ProblemError
from api.openapi import problems, success
from api.ranges import Span, UnsatisfiableRangeError, disposition, matches, wanted_span
from api.requests import NO_QUERY, path_id
from api.schemas import ArtifactList
from api.views import answer, artifact_view
from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef
from core.contracts.errors import AtelierError, ErrorType

router = APIRouter(prefix="/v1", tags=["artifacts"], dependencies=NO_QUERY)

_BYTES: dict[str, Any] = {
    "*/*": {"schema": {"type": "string", "format": "binary"}, "example": "# Tide mills\n\nTwice a day the sea …"}
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": _BYTES},
    206: {"description": "A part of the bytes; `Content-Range` says which", "content": _BYTES},
    304: {"description": "The copy you have is right"},
    **problems(ErrorType.NOT_FOUND, ErrorType.RANGE_NOT_SATISFIABLE, ErrorType.ARTIFACT_MISSING),
}

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="The ETag of the copy you have.")]
IfRange = Annotated[str | None, Header(alias="If-Range", description="Send the range only of the file of this ETag.")]
Range = Annotated[str | None, Header(alias="Range", description="One range of bytes.", examples=["bytes=0-1023"])]


@router.get(
    "/jobs/{job_id}/artifacts",
    summary="List a job's files",
    response_model=None,
    responses={**success(200, "Its files", ArtifactList, examples.ARTIFACTS), **problems(ErrorType.NOT_FOUND)},
)
async def of_job(job_id: str, session: OwnerSession) -> Response:
    """What the job has made so far: first what was asked for, then what its steps pass on."""
    artifacts = await session.artifacts.of_job(path_id(job_id, "job"))
    return answer({"items": [artifact_view(artifact) for artifact in artifacts]})


@router.get(
    "/artifacts/{artifact_id}",
    summary="Read a file",
    response_model=None,
    response_class=Response,
    responses=_RESPONSES,
)
async def read(
    artifact_id: str,
    session: OwnerSession,
    range: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The bytes of a file. Its ETag is its SHA-256. Of several ranges none is served: you get the whole file."""
    artifact = await session.artifacts.get(path_id(artifact_id, "artifact"))
    ref = artifact.ref
    headers = _headers(artifact.name, ref)
    etag = headers["ETag"]
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    try:
        # A weak tag or a date in If-Range does not prove that it is the same file, and ours are strong.
        span = wanted_span(range, ref.size) if if_range in (None, etag) else None
    except UnsatisfiableRangeError:
        raise ProblemError(
            ErrorType.RANGE_NOT_SATISFIABLE,
            f"The artifact has {ref.size} bytes.",
            headers={"Content-Range": f"bytes */{ref.size}"},
            details={"size": ref.size},
        ) from None
    return ArtifactResponse(session.deps.store, ref, headers, span)


@router.head(
    "/artifacts/{artifact_id}",
    summary="Ask about a file",
    response_model=None,
    response_class=Response,
    responses={
        200: {"description": "The headers that GET would have"},
        304: {"description": "The copy you have is right"},
        **problems(ErrorType.NOT_FOUND, ErrorType.ARTIFACT_MISSING),
    },
)
async def head(artifact_id: str, session: OwnerSession, if_none_match: IfNoneMatch = None) -> Response:
    """Size, type and ETag of a file."""
    artifact = await session.artifacts.get(path_id(artifact_id, "artifact"))
    headers = _headers(artifact.name, artifact.ref)
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return ArtifactResponse(session.deps.store, artifact.ref, headers, None)


def _headers(name: str, ref: ArtifactRef) -> dict[str, str]:
    return {
        "ETag": f'"{ref.sha256}"',
        "Accept-Ranges": "bytes",
        # Kept by its reader only, and asked about each time: a key may have been revoked, a job deleted.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(name),
        # What a model wrote must never run as a page of this server.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


class ArtifactResponse(Response):
    """Streams an artifact. The first bytes are there before the headers are sent, so a file that is gone is a problem
    document and not an answer that breaks off. Runs when the route's transaction is over."""

    def __init__(self, store: ArtifactStore, ref: ArtifactRef, headers: dict[str, str], span: Span | None) -> None:
        self.status_code = 200 if span is None else 206
        self.background = None
        self._store = store
        self._ref = ref
        self._span = span or Span(0, ref.size)
        sent = {**headers, "Content-Length": str(self._span.end - self._span.start), "Content-Type": _typed(ref)}
        if span is not None:
            sent["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{ref.size}"
        self.init_headers(sent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            if not await self._store.exists(self._ref):
                raise AtelierError(ErrorType.ARTIFACT_MISSING, "the bytes of an artifact are gone")
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        chunks: AsyncIterator[bytes] = self._store.stream(self._ref, self._span.start, self._span.end)
        async with aclosing(chunks):  # type: ignore[type-var]
            chunk = await anext(chunks, b"")
            await send(start)
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await anext(chunks, b"")
        await send({"type": "http.response.body", "body": b""})


def _typed(ref: ArtifactRef) -> str:
    text = ref.media_type.startswith("text/") and "charset" not in ref.media_type
    return f"{ref.media_type}; charset=utf-8" if text else ref.media_type
