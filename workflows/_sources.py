"""Sources that a brief names by URL or upload: they are read before anything else is done with it."""

import asyncio

from temporalio.exceptions import ActivityError, ApplicationError

from core.contracts.base import Json
from core.contracts.errors import ErrorType
from core.contracts.jobs import JobResult
from core.contracts.longform import PARALLEL_READS, Brief, LeftOut, UnreadSource
from core.contracts.longform_sources import FetchSource, ReadSource, SourceFetched, SourceRead
from core.contracts.longform_steps import LongformActivities
from core.contracts.options import FETCH, RENDER
from workflows._chain import together
from workflows._job import JobWorkflow

STAGE = "sources"


def reading_steps(brief: Brief) -> int:
    """How many steps the reading of its sources takes: a URL two, an upload one."""
    return sum(2 if source.url else 1 for source in brief.unread)


async def with_sources(job: JobWorkflow, brief: Brief) -> Brief:
    """The brief with the texts of all its sources, some at once, and those that it does without.

    A brief whose sources are texts takes no step: what it asks for is recorded, so a replay decides the same. Raises
    what a `required` source fails with, when the others are read.
    """
    if not brief.unread:
        return brief
    room = asyncio.Semaphore(PARALLEL_READS)

    async def read(source: UnreadSource) -> SourceRead:
        async with room:
            try:
                return await _read(job, source)
            except ActivityError as failure:
                return SourceRead(left_out=_without(source, failure))

    found = await together(read(source) for source in brief.unread)
    sources = (*brief.sources, *(read.source for read in found if read.source is not None))
    return brief.model_copy(
        update={
            "sources": tuple(sorted(sources, key=lambda source: int(source.id[1:]))),
            "unread": (),
            "left_out": tuple(read.left_out for read in found if read.left_out is not None),
        }
    )


async def _read(job: JobWorkflow, source: UnreadSource) -> SourceRead:
    fetched = SourceFetched()
    if source.url:
        fetch = FetchSource(key=job.key(STAGE, f"fetch source {source.id}"), source=source)
        fetched = await job.step(LongformActivities.fetch_source, fetch, FETCH)
        if fetched.left_out is not None:
            return SourceRead(left_out=fetched.left_out)
    request = ReadSource(key=job.key(STAGE, f"read source {source.id}"), source=source, fetched=fetched.file)
    return await job.step(LongformActivities.read_source, request, RENDER)


def _without(source: UnreadSource, failure: ActivityError) -> LeftOut:
    """That a source which ended one worker after the other is done without. Raises what is no such failure."""
    cause = failure.cause
    if source.required or not isinstance(cause, ApplicationError) or cause.type != ErrorType.ATTEMPTS_EXHAUSTED:
        raise failure
    return LeftOut(id=source.id, title=source.name, code=ErrorType.ATTEMPTS_EXHAUSTED, reason=cause.message)


def sources_summary(brief: Brief) -> Json:
    """What a job's result says of its sources; nothing of a job without any."""
    read = [
        {
            "id": source.id,
            "title": source.title,
            "characters": source.characters,
            **({"url": source.url} if source.url else {}),
            **({} if source.pages is None else {"pages": source.pages}),
            **({"cut_from": source.cut_from} if source.cut_from else {}),
        }
        for source in brief.sources
    ]
    summary: Json = {"sources": read} if read else {}
    if brief.left_out:
        summary["left_out"] = [left.model_dump(mode="json") for left in brief.left_out]
    return summary


def own_hit(brief: Brief, hit: JobResult) -> JobResult:
    """Another job's result as this one's: with what this one read."""
    return hit.model_copy(update={"summary": {**hit.summary, **sources_summary(brief)}})
