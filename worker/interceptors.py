"""Around every activity: a heartbeat by timer, errors turned into typed failures, ids bound to the log."""

import asyncio
import contextlib
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from core.contracts.errors import MESSAGE_LIMIT, AtelierError, ErrorType, as_failure
from core.contracts.names import parse_workflow_id
from core.contracts.webhooks import DELIVERY
from core.redaction import redact_error, redact_text
from worker.trace import TracedWorkflow, trace_of

HEARTBEAT_SECONDS = 1.0
INTERNAL_ATTEMPTS = 5
"""An error that nobody foresaw is tried this often; then the job fails, and can be retried when it is mended."""

log = structlog.get_logger()


class AtelierInterceptor(Interceptor):
    """The interceptor of every worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap each activity."""
        return _Activity(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """Have each workflow pass its trace on."""
        return TracedWorkflow


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Run the activity. Its heartbeat does not depend on what it does: a slow first byte is not death."""
        info = activity.info()
        bound = {"activity": info.activity_type, "trace_id": trace_of(input), **_ids(info.workflow_id)}
        with structlog.contextvars.bound_contextvars(**{name: value for name, value in bound.items() if value}):
            heartbeat = asyncio.create_task(_beat()) if info.heartbeat_timeout else None
            try:
                return await super().execute_activity(input)
            except AtelierError as error:
                # A provider's message may hold the key that it was asked with.
                redact_error(error)
                log.warning("activity.failed", attempt=info.attempt, error_type=error.type.value, error=error.message)
                # Without its causes: they are in the log, and a provider's page of HTML has no place in a history.
                raise as_failure(error) from None
            except ApplicationError:
                raise
            except Exception as error:
                log.exception("activity.broke", attempt=info.attempt)
                raise ApplicationError(
                    # First what is secret, then the length: half a key would be no key to whoever looks for one.
                    redact_text(f"{type(error).__name__}: {error}")[:MESSAGE_LIMIT],
                    {"attempts": info.attempt},
                    type=ErrorType.INTERNAL.value,
                    non_retryable=info.attempt >= INTERNAL_ATTEMPTS,
                ) from None
            finally:
                if heartbeat is not None:
                    heartbeat.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await heartbeat


def _ids(workflow_id: str | None) -> dict[str, str]:
    if workflow_id is None:
        return {}
    try:
        address = parse_workflow_id(workflow_id)
    except ValueError:
        return {"workflow_id": workflow_id}
    if address.pipeline == DELIVERY:
        return {"delivery_id": address.job_id}
    return {"pipeline": address.pipeline, "job_id": address.job_id}


async def _beat() -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        activity.heartbeat()
