"""Sources by URL and upload: fetched by the one fetcher, read in a process of their own, and kept."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from temporalio import activity

from activities.longform.base import LongformBase
from core.contracts.base import ArtifactRef, implements
from core.contracts.errors import AtelierError
from core.contracts.files import FileKind
from core.contracts.jobs import StepKey
from core.contracts.longform import MAX_SOURCE_CHARACTERS, LeftOut, Source, UnreadSource, name_of
from core.contracts.longform_sources import (
    UNREADABLE,
    FetchedFile,
    FetchSource,
    ReadSource,
    SourceFetched,
    SourceRead,
)
from core.contracts.longform_steps import LongformActivities
from core.contracts.reading import ReadDocument
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.extraction import as_markdown, extract
from core.documents.kinds import declared_kind, detect
from core.documents.passages import tidy

TRIES = 4
"""A URL is asked so often in one run of a job; with the waits between that takes at most about two minutes."""
LONGEST_WAIT = timedelta(seconds=30)
"""A server that asks us to come back later than this is not waited for."""
_REASON_CHARACTERS = 500


class Sourcing(LongformBase):
    """The steps that read sources. What is stored is neither fetched nor read again."""

    @implements(LongformActivities.fetch_source)
    async def fetch_source(self, request: FetchSource) -> SourceFetched:
        """Idempotent by the step's key: a URL whose bytes are stored is not asked again."""
        key, source = request.key, request.source

        async def work() -> Kept[SourceFetched]:
            try:
                async with self._fetches:
                    fetched = await self._web.get(source.url)
                    ref = await self._store.put(key.owner_id, fetched.body, fetched.media_type)
            except AtelierError as error:
                return Kept(SourceFetched(left_out=await self._without(key, source, error)))
            file = FetchedFile(
                ref=ref, url=fetched.final_url, charset=fetched.charset, read_on=datetime.now(UTC).date()
            )
            kind = declared_kind(fetched.media_type) or FileKind.TEXT
            return Kept(SourceFetched(file=file), (StepArtifact(f"source-{source.id}.{kind.value}", ref),))

        return await self._steps.once(key, SourceFetched, work, attempt=activity.info().attempt)

    @implements(LongformActivities.read_source)
    async def read_source(self, request: ReadSource) -> SourceRead:
        """Idempotent by the step's key; done again it makes the same text of the same bytes."""
        key, source = request.key, request.source

        async def work() -> Kept[SourceRead]:
            try:
                document = await self._document(source, request.fetched)
            except AtelierError as error:
                return Kept(SourceRead(left_out=await self._without(key, source, error)))
            text, whole = await asyncio.to_thread(_text, document)
            ref = await self._store.put(key.owner_id, text.encode(), "text/markdown; charset=utf-8")
            read = _source(source, request.fetched, document, ref)
            cut = {"characters": len(text), "cut_from": whole if whole > len(text) else 0}
            return Kept(
                SourceRead(source=read.model_copy(update=cut)), (StepArtifact(f"source-{source.id}-text.md", ref),)
            )

        return await self._steps.once(key, SourceRead, work, attempt=activity.info().attempt)

    async def _document(self, source: UnreadSource, fetched: FetchedFile | None) -> ReadDocument:
        async with self._readers:
            if fetched is not None:
                data, charset = await self._store.get(fetched.ref), fetched.charset
                data, kind = await asyncio.to_thread(_fetched_kind, data, fetched.ref.media_type, charset)
            else:
                assert source.file is not None
                data, charset, kind = await self._store.get(source.file.ref), None, source.file.kind
            readable = FileKind.TEXT if kind is FileKind.JSON else kind
            return await extract(data, readable, self._reading, charset=charset, main_text=readable is FileKind.HTML)

    async def _without(self, key: StepKey, source: UnreadSource, error: AtelierError) -> LeftOut:
        """That the document does without the source. Raises the error, which names the source, if it is required, if
        another try may help, or if it is no fault of the source."""
        if error.type not in UNREADABLE:
            raise error
        passing = error.kind.transient and not error.final
        if passing and (error.retry_after is None or error.retry_after <= LONGEST_WAIT):
            passing = 1 + await self._steps.failures(key, UNREADABLE) < TRIES
        else:
            passing = False
        if source.required or passing:
            message = f"The source {source.id} ({source.name}) cannot be read. {error.message}"
            details = {**error.details, "source": source.id}
            raise AtelierError(
                error.type, message, details=details, retry_after=error.retry_after, final=not passing
            ) from error
        return LeftOut(id=source.id, title=source.name, code=error.type, reason=error.message[:_REASON_CHARACTERS])


def _fetched_kind(data: bytes, media_type: str, charset: str | None) -> tuple[bytes, FileKind]:
    """What was fetched, by its content where that says it, and texts in UTF-8. Raises `FileRefusedError`. It blocks."""
    if data.startswith((b"%PDF-", b"PK\x03\x04")):
        return data, detect(data)
    kind = declared_kind(media_type)
    if kind is FileKind.HTML and data.strip():
        return data, kind  # the reader looks for its charset inside, too
    if charset is not None:
        with contextlib.suppress(LookupError, ValueError):  # a wrong one: it may be UTF-8 all the same
            data = data.decode(charset).encode()
    return data, detect(data, media_type)


def _text(document: ReadDocument) -> tuple[str, int]:
    """The text of a document, cut at the end of a paragraph if it is too long, and how long it was."""
    text = as_markdown(document).rstrip()
    if len(text) <= MAX_SOURCE_CHARACTERS:
        return text, len(text)
    end = text.rfind("\n\n", MAX_SOURCE_CHARACTERS // 2, MAX_SOURCE_CHARACTERS)
    return text[: end if end > 0 else MAX_SOURCE_CHARACTERS].rstrip(), len(text)


def _source(source: UnreadSource, fetched: FetchedFile | None, document: ReadDocument, text: ArtifactRef) -> Source:
    own = tidy(document.title or "")
    other = fetched.url if fetched is not None else source.file.name if source.file is not None else ""
    stem = other if fetched is not None else PurePosixPath(tidy(other)).stem
    return Source(
        id=source.id,
        title=name_of(source.title, own, stem),
        priority=source.priority,
        text=text,
        characters=0,
        url="" if fetched is None else fetched.url,
        read_on=None if fetched is None else fetched.read_on,
        pages=document.pages,
        pages_without_text=len(document.pages_without_text),
        placed=any(block.page is not None for block in document.blocks),
    )
