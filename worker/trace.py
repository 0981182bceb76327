"""The trace id of a job, on its way from the workflow's input to the log of every activity.

It travels in the headers of activities, not in their requests: it is no part of what they do, and histories that were
recorded without it replay.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from core.contracts.jobs import JobRequest

HEADER = "atelier-trace-id"


def trace_of(input: ExecuteActivityInput) -> str:
    """The trace that an activity belongs to; empty when its workflow knows of none."""
    payload = input.headers.get(HEADER)
    return "" if payload is None else str(activity.payload_converter().from_payload(payload, str))


class TracedWorkflow(WorkflowInboundInterceptor):
    """Reads the trace of a workflow that begins. Runs in the sandbox, and looks at nothing but its input."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Stand between the workflow and what it asks for, too."""
        self._outbound = _Outbound(outbound)
        super().init(self._outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Take the trace from a job's request, else from the headers that the parent workflow gave."""
        request = input.args[0] if input.args else None
        if isinstance(request, JobRequest) and request.trace_id:
            self._outbound.trace = {HEADER: workflow.payload_converter().to_payload(request.trace_id)}
        elif HEADER in input.headers:
            self._outbound.trace = {HEADER: input.headers[HEADER]}
        return await super().execute_workflow(input)


class _Outbound(WorkflowOutboundInterceptor):
    """Gives the trace to all that the workflow starts."""

    trace: Mapping[str, Payload] = {}

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, **self.trace}
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, **self.trace}
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.headers = {**input.headers, **self.trace}
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = {**input.headers, **self.trace}
        super().continue_as_new(input)
