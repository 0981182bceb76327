"""Whether the process lives, and whether the parts it needs answer."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import APIRouter, Request, Response
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from api import examples
from api.deps import Deps, deps_of
from api.openapi import success
from api.requests import OPEN_NO_QUERY
from api.schemas import Live, Ready
from api.views import answer
from core.contracts.base import Json
from core.contracts.errors import AtelierError
from core.contracts.names import Queue
from core.db.engine import Database

router = APIRouter(prefix="/v1/health", tags=["health"], dependencies=OPEN_NO_QUERY)

TIMEOUT_SECONDS = 2.0
KEPT_SECONDS = 1.0
"""How old an answer of `ready` may be."""
SEEN_WITHIN = timedelta(seconds=65)
"""A worker asks anew at least every minute, when its long poll ends, and a moment later if it is busy."""

_KINDS = {
    Queue.ORCHESTRATION: (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    Queue.LLM: (TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,),
    Queue.RENDER: (TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,),
    Queue.WEB: (TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,),
}


@router.get(
    "/live",
    summary="Is the process alive?",
    response_model=None,
    responses=success(200, "It is", Live, examples.LIVE),
)
async def live() -> Response:
    """Answers as long as the process does; asks nobody else."""
    return answer({"status": "up"})


@router.get(
    "/ready",
    summary="Can it accept jobs, and will they run?",
    response_model=None,
    responses={
        **success(200, "It accepts jobs", Ready, examples.READY),
        **success(503, "The database is away", Ready, examples.NOT_READY),
    },
)
async def ready(request: Request) -> Response:
    """200 as long as the database answers: jobs are accepted even while Temporal or the workers are away."""
    readiness = await _readiness(request).read()
    return answer(readiness, 503 if readiness["database"] == "down" else 200)


class Readiness:
    """What the parts of one process answered last. It is kept for a moment, as anybody may ask, as often as they like:
    however many do, the parts are asked once a second."""

    def __init__(self, look: Callable[[], Awaitable[Json]], kept_seconds: float = KEPT_SECONDS) -> None:
        self._look = look
        self._kept_seconds = kept_seconds
        self._asking = asyncio.Lock()
        self._found: Json = {}
        self._until = -math.inf

    async def read(self) -> Json:
        """The body of the answer."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._found = await self._look()
                self._until = time.monotonic() + self._kept_seconds
            return self._found


def _readiness(request: Request) -> Readiness:
    """The application's own: several may run in one process."""
    state = request.app.state
    if not hasattr(state, "readiness"):
        state.readiness = Readiness(partial(_look, deps_of(request)))
    kept: Readiness = state.readiness
    return kept


async def _look(deps: Deps) -> Json:
    database, (temporal, queues) = await asyncio.gather(_database(deps.database), _temporal(deps.temporal))
    working = temporal and all(queues.values())
    return {
        "status": "down" if not database else "up" if working else "degraded",
        "database": "up" if database else "down",
        "temporal": "up" if temporal else "down",
        "queues": {queue.value: "up" if queues[queue] else "degraded" for queue in Queue},
    }


async def _database(database: Database) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await database.ping()
    except (AtelierError, TimeoutError):
        return False
    return True


async def _temporal(client: Client) -> tuple[bool, dict[Queue, bool]]:
    """Whether Temporal answers, and whether every kind of task of a queue has had a worker lately."""
    queues = dict.fromkeys(Queue, False)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await client.workflow_service.get_system_info(GetSystemInfoRequest())
    except (RPCError, RuntimeError, OSError, TimeoutError):
        return False, queues
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            kinds = [(queue, kind) for queue in Queue for kind in _KINDS[queue]]
            polled = await asyncio.gather(*(_polled(client, queue, kind) for queue, kind in kinds))
    except (RPCError, RuntimeError, OSError, TimeoutError):
        return True, queues
    for queue in Queue:
        queues[queue] = all(seen for (named, _), seen in zip(kinds, polled, strict=True) if named is queue)
    return True, queues


async def _polled(client: Client, queue: Queue, kind: TaskQueueType.ValueType) -> bool:
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue.value), task_queue_type=kind
        )
    )
    oldest = datetime.now(UTC) - SEEN_WITHIN
    return any(poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest for poller in described.pollers)
