"""Forgetting the histories of a deleted job: they hold what it was about."""

import asyncio
from datetime import timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

log = structlog.get_logger()

FORGET_SECONDS = 15.0
CALL_TIMEOUT = timedelta(seconds=5)


async def forget(temporal: Client, workflow: str) -> None:
    """Delete the histories of all runs of a workflow, also of those that it continued as. Best effort: retention ends
    them anyway."""
    try:
        async with asyncio.timeout(FORGET_SECONDS):
            runs = [run.run_id async for run in temporal.list_workflows(f"WorkflowId = '{workflow}'")]
            # The list lags behind: the latest run, which has no id here, may not be in it.
            deleted = [await delete_history(temporal, workflow, run_id) for run_id in (*runs, "")]
    except Exception as error:
        log.info("job.history_stays", workflow_id=workflow, reason=repr(error)[:200])
        return
    # The server takes its time: it waits until its own queues are done with the run.
    log.info("job.history_to_be_deleted", workflow_id=workflow, runs=sum(deleted))


async def delete_history(temporal: Client, workflow: str, run_id: str) -> bool:
    """Have Temporal delete the history of a run, in its own time; without a run id that of the latest. False: it knows
    of none."""
    execution = WorkflowExecution(workflow_id=workflow, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
    try:
        await temporal.workflow_service.delete_workflow_execution(request, timeout=CALL_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
