"""The events of a job."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api import examples
from api.deps import OwnerSession
from api.events import EventStream
from api.openapi import problems
from api.requests import invalid, path_id
from api.schemas import EventQuery
from core.contracts.errors import AtelierError, ErrorType

router = APIRouter(prefix="/v1/jobs", tags=["events"])

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The `id` of the last event received.", examples=["17"]),
]


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_model=None,
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events: `id` is the event's number, `event` its type, `data` JSON as EventView",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string", "description": "Each `data` is an EventView."},
                    "example": examples.EVENTS,
                }
            },
        },
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_REQUEST),
    },
)
async def follow(
    job_id: str, session: OwnerSession, query: Annotated[EventQuery, Query()], last_event_id: LastEventId = None
) -> Response:
    """Every change of a job as it happens, from the first or from behind the last you have: nothing missed or twice.

    A comment is sent every 15 seconds of silence. The server ends the stream behind the event that ends the job; a
    job that is retried after that has more events, and a stream can be opened again.
    """
    job_id = path_id(job_id, "job")
    deps, owner = session.deps, session.owner
    position = await session.events.position(job_id)
    if position is None:
        raise AtelierError(ErrorType.NOT_FOUND, f"There is no job {job_id}.", details={"job_id": job_id})
    place, after = _begin(last_event_id, query.after)
    if after > position.last_seq:
        raise invalid(place, f"The last event of this job is {position.last_seq}")
    return EventStream(
        deps.events,
        deps.database,
        deps.turns,
        owner_id=owner.id,
        allowed=session.still_allowed,
        job_id=job_id,
        after=after,
        poll_seconds=deps.settings.event_poll_seconds,
    )


def _begin(header: str | None, query: int | None) -> tuple[str, int]:
    """Where the number came from, and the number. A reconnecting client repeats its URL, so the header counts more."""
    if header is None:
        return "query.after", query or 0
    if not (header.isascii() and header.isdigit() and len(header) < 19):
        raise invalid("header.Last-Event-ID", "Not the id of an event", "int_parsing")
    return "header.Last-Event-ID", int(header)
