"""The starter: starts the workflow of every accepted job, once, and tells Temporal what people want of it."""

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobRequest, JobStatus
from core.contracts.names import (
    OWNER_ATTRIBUTE,
    PIPELINE_ATTRIBUTE,
    STATUS_ATTRIBUTE,
    Queue,
    workflow_id,
)
from core.db.engine import Database
from core.db.repositories.runs import RunRepository, Wish
from core.temporal import is_away
from workflows.registry import PIPELINES

BATCH = 20
CLAIM_STALE = timedelta(seconds=10)
"""A claim that came to nothing by then is another's to take: its process was killed, or Temporal was away."""
CALL_TIMEOUT = timedelta(seconds=5)
NORMAL_PRIORITY = 3
REVIEW_SECONDS = 30 * 86_400
RUN_MEMO = "run"
"""Where a workflow says which run of its job it is."""
TRACE_MEMO = "trace_id"
"""Where it says which trace it belongs to, for whoever looks at it in Temporal's Web UI and has the logs beside it."""

log = structlog.get_logger()


class Starter:
    """One path from an accepted row to a running workflow. Several may run side by side: rows are claimed."""

    def __init__(
        self, database: Database, temporal: Client, *, review_seconds: int = REVIEW_SECONDS, remind_seconds: int = 0
    ) -> None:
        """`review_seconds`: how long the jobs that it starts wait for a person, who is reminded `remind_seconds`
        before."""
        self._database = database
        self._temporal = temporal
        self._review_seconds = review_seconds
        self._remind_seconds = remind_seconds

    async def sweep(self) -> None:
        """Start what is to be started, until nothing is left; then deliver what people asked for."""
        while True:
            async with self._database.transaction() as connection:
                requests = await RunRepository(connection).claim(
                    BATCH, CLAIM_STALE, self._review_seconds, self._remind_seconds
                )
            results = await asyncio.gather(*(self._start(request) for request in requests))
            if not all(results):
                raise AtelierError(ErrorType.TEMPORAL_UNAVAILABLE, "Temporal is away; accepted jobs wait for it.")
            if len(requests) < BATCH:
                break
        await self._deliver()

    async def _start(self, request: JobRequest) -> bool:
        """Start one workflow. False when Temporal is away. A job that runs already is only noted as started."""
        pipeline = PIPELINES.get(request.pipeline)
        if pipeline is None:
            # Another version of us accepted it; a starter that knows the pipeline takes it when the claim is stale.
            log.error("starter.unknown_pipeline", job_id=request.job_id, pipeline=request.pipeline)
            return True
        try:
            handle = await self._temporal.start_workflow(
                pipeline.workflow.run,
                request,
                id=workflow_id(request.pipeline, request.job_id),
                task_queue=Queue.ORCHESTRATION,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                # A finished job is not started again; a retry is let through only behind a run that failed.
                id_reuse_policy=(
                    WorkflowIDReusePolicy.REJECT_DUPLICATE
                    if request.run == 1
                    else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
                ),
                memo={RUN_MEMO: request.run, TRACE_MEMO: request.trace_id},
                priority=Priority(priority_key=NORMAL_PRIORITY, fairness_key=request.owner_id),
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(PIPELINE_ATTRIBUTE, request.pipeline),
                        SearchAttributePair(STATUS_ATTRIBUTE, JobStatus.PENDING.value),
                        SearchAttributePair(OWNER_ATTRIBUTE, request.owner_id),
                    ]
                ),
                rpc_timeout=CALL_TIMEOUT,
            )
            run_id = handle.first_execution_run_id or handle.result_run_id or ""
            if request.run > 1 and not await self._is_of(handle, request.run):
                # The run before has told of its end and is about to end: this one starts at a later turn.
                await self._release(request)
                return True
        except WorkflowAlreadyStartedError as error:
            # It ran and ended, and we did not hear of it: the reconciler looks at that run.
            run_id = error.run_id or ""
        except Exception as error:
            if not is_away(error):
                log.exception("starter.failed", job_id=request.job_id)
                return True
            await self._release(request)
            return False
        async with self._database.transaction() as connection:
            await RunRepository(connection).dispatched(request.job_id, request.run, run_id)
        return True

    async def _is_of(self, handle: WorkflowHandle[Any, Any], run: int) -> bool:
        """Whether the workflow that runs is that of this run of the job."""
        running = await handle.describe(rpc_timeout=CALL_TIMEOUT)
        return bool(await running.memo_value(RUN_MEMO, default=None) == run)

    async def _release(self, request: JobRequest) -> None:
        async with self._database.transaction() as connection:
            await RunRepository(connection).release(request.job_id, request.run)

    async def _deliver(self) -> None:
        async with self._database.transaction() as connection:
            wishes = await RunRepository(connection).wishes()
        for wish in wishes:
            if await self._tell(wish):
                async with self._database.transaction() as connection:
                    await RunRepository(connection).told(wish)

    async def _tell(self, wish: Wish) -> bool:
        """Tell a workflow to stop, or to stand still or go on. False: tell it later."""
        handle = self._temporal.get_workflow_handle(workflow_id(*wish.address), run_id=wish.workflow_run_id or None)
        try:
            if wish.control is not None:
                await handle.signal("control_changed", wish.control, rpc_timeout=CALL_TIMEOUT)
            if wish.cancel:
                await handle.cancel(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            # It ended meanwhile, or is gone: nobody is left to be told, and the reconciler closes the row. Or it
            # continued as new: the workflow that goes on with it reads the wish when it begins.
            return error.status is RPCStatusCode.NOT_FOUND
        except RuntimeError:
            return False
        return True
