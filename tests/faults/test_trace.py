"""One trace from the HTTP request to the provider's call, in the logs of the processes that it passes through.

What passes it on within a workflow is tried in `tests/workflows/test_trace.py`.
"""

import json
from typing import Any

import pytest

from core.contracts.names import workflow_id
from core.temporal import connect
from tests.conftest import Account, Namespace
from tests.support.stack import Process, Stack, User
from tests.support.wire import WireProvider
from tests.support.wire_messages import Answer

FIRST, SECOND = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
ONE_SECTION = {"topic": "Tidal mills", "target_words": 300, "cache": "bypass"}


@pytest.mark.faults
async def test_a_trace_goes_from_the_request_to_the_provider(
    stack: Stack, account: Account, namespace: Namespace, wire: WireProvider
) -> None:
    wire.script(Answer(status=500, message="try again"))
    api, worker = stack.api(), stack.worker()
    jobs = {}
    async with User(api, account.token) as user:
        for trace in (FIRST, SECOND):
            user.http.headers["traceparent"] = f"00-{trace}-00f067aa0ba902b7-01"
            jobs[trace] = (await user.submit(input=ONE_SECTION))["id"]
        for job in jobs.values():
            await user.until(job, "completed")
    assert worker.stop() == 0
    assert api.process.stop() == 0

    requests = [line for line in _lines(api.process) if line["event"] == "request" and line["path"] == "/v1/jobs"]
    assert [line["trace_id"] for line in requests] == [FIRST, SECOND]
    of_jobs = [line for line in _lines(worker) if "activity" in line]
    assert {line["event"] for line in of_jobs} >= {"llm.call", "activity.failed"}
    assert {(line["job_id"], line["trace_id"]) for line in of_jobs} == {(job, trace) for trace, job in jobs.items()}
    # Where an operator looks at a workflow.
    client = await connect(namespace.address, namespace.name)
    described = await client.get_workflow_handle(workflow_id("longform", jobs[FIRST])).describe()
    assert await described.memo_value("trace_id") == FIRST


def _lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.log.read_text().splitlines()]
