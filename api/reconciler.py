"""The reconciler: closes the rows of jobs whose workflow ended without saying so."""

import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import FinishJob, JobError, JobStatus
from core.contracts.names import parse_workflow_id, workflow_id
from core.contracts.webhooks import DELIVERY_TYPE
from core.db.engine import Database
from core.db.repositories.runs import LiveRun, RunRepository
from core.temporal import is_away
from workflows.registry import PIPELINES

LOOK_BACK = timedelta(seconds=60)
"""Ended workflows are listed from this far back, as the list lags behind and sweeps may be missed."""
QUIET = timedelta(seconds=60)
"""A live job of which nothing was heard for this long is compared with its workflow."""
CALL_TIMEOUT = timedelta(seconds=5)

log = structlog.get_logger()

_ENDINGS: dict[WorkflowExecutionStatus, tuple[ErrorType, str]] = {
    WorkflowExecutionStatus.TERMINATED: (
        ErrorType.TERMINATED,
        "The workflow was terminated from outside. Retry the job to go on from its last stored step.",
    ),
    WorkflowExecutionStatus.TIMED_OUT: (
        ErrorType.TIMED_OUT,
        "The workflow ran out of time. Retry the job to go on from its last stored step.",
    ),
}
_ENDED_UNSAID = (
    ErrorType.INTERNAL,
    "The workflow ended without closing the job. Retry the job; the workflow's history tells the reason.",
)
_GONE = (
    ErrorType.WORKFLOW_GONE,
    "Temporal no longer knows the workflow. Retry the job to go on from its last stored step.",
)


class Reconciler:
    """Compares live rows with their workflows: those that ended just now, and those that have been quiet."""

    def __init__(self, database: Database, temporal: Client, *, cancel_grace: timedelta) -> None:
        self._database = database
        self._temporal = temporal
        self._cancel_grace = cancel_grace

    async def sweep(self) -> None:
        """One comparison. Several processes may do it at once: a row is closed once."""
        try:
            ended = await self._lately_ended()
            async with self._database.transaction() as connection:
                runs = RunRepository(connection)
                live = await runs.live(job_ids=ended, cancel_grace=self._cancel_grace, quiet=QUIET) if ended else []
                live += await runs.live(job_ids=None, cancel_grace=self._cancel_grace, quiet=QUIET)
            for run in live:
                await self._compare(run)
        except Exception as error:
            if not is_away(error):
                raise
            raise AtelierError(ErrorType.TEMPORAL_UNAVAILABLE, "Temporal is away; jobs are compared later.") from error
        if live:
            async with self._database.transaction() as connection:
                await RunRepository(connection).seen([run.address.job_id for run in live])

    async def _lately_ended(self) -> list[str]:
        since = (datetime.now(UTC) - LOOK_BACK).isoformat()
        # Of deliveries there are more than of jobs.
        query = f"ExecutionStatus != 'Running' AND CloseTime > '{since}' AND WorkflowType != '{DELIVERY_TYPE}'"
        jobs: list[str] = []
        async for execution in self._temporal.list_workflows(query, rpc_timeout=CALL_TIMEOUT):
            # The namespace may hold workflows of others.
            with contextlib.suppress(ValueError):
                address = parse_workflow_id(execution.id)
                if address.pipeline in PIPELINES:
                    jobs.append(str(uuid.UUID(address.job_id)))
        return jobs

    async def _compare(self, run: LiveRun) -> None:
        handle = self._temporal.get_workflow_handle(workflow_id(*run.address))
        try:
            execution = await handle.describe(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await self._gone(run)
            return
        if execution.status is WorkflowExecutionStatus.RUNNING:
            if run.cancel_overdue:
                # No worker takes the workflow's tasks, or it does not end: the owner's wish goes before.
                log.warning("reconciler.terminates", job_id=run.address.job_id)
                await handle.terminate("cancelled by its owner, and not ended in time", rpc_timeout=CALL_TIMEOUT)
                await self._close(run, JobStatus.CANCELLED, None)
            return
        await self._ended(run, execution)

    async def _ended(self, run: LiveRun, execution: WorkflowExecutionDescription) -> None:
        if execution.status is WorkflowExecutionStatus.CANCELED or run.cancel_overdue:
            await self._close(run, JobStatus.CANCELLED, None)
            return
        ending = _ENDINGS.get(execution.status, _ENDED_UNSAID) if execution.status else _ENDED_UNSAID
        await self._close(run, JobStatus.FAILED, ending)

    async def _gone(self, run: LiveRun) -> None:
        if run.workflow_run_id is None:
            # It was started and lost before it began: nothing was done, so it is simply started again.
            async with self._database.transaction() as connection:
                await RunRepository(connection).release(run.address.job_id, run.run)
            return
        await self._close(run, JobStatus.FAILED, _GONE)

    async def _close(self, run: LiveRun, status: JobStatus, ending: tuple[ErrorType, str] | None) -> None:
        error = None if ending is None else JobError(code=ending[0], message=ending[1])
        async with self._database.transaction() as connection:
            closed = await RunRepository(connection).finish(
                FinishJob(job_id=run.address.job_id, run=run.run, status=status, error=error)
            )
        if closed:
            log.warning("reconciler.closed", job_id=run.address.job_id, status=status.value)
