"""Record the histories that `test_replay.py` replays: `python -m tests.replay.record`.

A history is recorded once and never again: a change that breaks one is gated by `workflow.patched`, and new
behaviour adds a scenario with a file of its own. So a file that exists is left as it is.
"""

import asyncio
import contextlib
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import Control, JobResult
from core.contracts.longform_steps import OutlineAgain, OutlineApproved, OutlineEdited
from core.contracts.names import Queue, workflow_id
from core.contracts.webhooks import DELIVERY, DeliveryRequest, Schedule
from core.embedded.temporal import EmbeddedTemporal
from core.temporal import connect, prepare_namespace
from tests.replay.sessions import SESSIONS
from tests.support.scripted import (
    REF,
    ScriptedLongform,
    plan,
    request,
    revision,
    scripted_workers,
    start,
)
from tests.support.scripted_scoping import ScriptedScoping
from tests.support.scripted_steps import ScriptedJobs
from workflows.webhooks import DeliveryWorkflow

HISTORIES = Path(__file__).parent / "histories"
HAIKU = "anthropic:claude-haiku-4-5"
Handle = WorkflowHandle[Any, Any]
Scenario = Callable[[Client, ScriptedJobs, ScriptedLongform], Awaitable[Handle]]


async def happy(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Every step at the first attempt."""
    return await start(client, request())


async def paused(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Paused while the first step runs, and let go on."""
    reached, gate = longform.hold("decompose")
    handle = await start(client, request())
    await reached.wait()
    await handle.signal("control_changed", Control(seq=1, paused=True))
    gate.set()
    await jobs.until_said("paused")
    await handle.signal("control_changed", Control(seq=2, paused=False))
    return handle


async def cancelled(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Cancelled in the fan-out."""
    reached, _ = longform.hold("section s2")
    handle = await start(client, request())
    await reached.wait()
    await handle.cancel()
    return handle


async def failed(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Failed in assembly."""
    longform.failures["assemble"] = AtelierError(ErrorType.ARTIFACT_MISSING, "The outline is gone.")
    return await start(client, request())


async def retried(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The second run of a job that failed in assembly."""
    with contextlib.suppress(WorkflowFailureError):
        await (await failed(client, jobs, longform)).result()
    longform.failures.clear()
    return await start(client, request(run=2))


async def fallback(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The first model is overloaded for one section; the second writes it."""
    longform.failures[f"section s2 {HAIKU}"] = AtelierError(
        ErrorType.OVERLOADED, "The provider is overloaded.", details={"attempts": 3}, final=True
    )
    return await start(client, request())


async def reviewed(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Asked for another outline, edited that one to look at it once more, approved."""
    handle = await start(client, request(input={"review_outline": True}))
    await jobs.until_said("waiting_for_input")
    await handle.execute_update("revise_outline", OutlineAgain(round=1, instructions="More history."))
    await jobs.until_said("waiting_for_input", 2)
    await handle.execute_update("edit_outline", OutlineEdited(round=2, plan=plan(4, "Mills"), approve=False))
    await jobs.until_said("waiting_for_input", 3)
    await handle.execute_update("approve_outline", OutlineApproved(round=3))
    return handle


async def answered_before(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The second run of a job whose outline was edited in the first, which failed in assembly."""
    longform.failures["assemble"] = AtelierError(ErrorType.ARTIFACT_MISSING, "The outline is gone.")
    handle = await start(client, request(input={"review_outline": True}))
    await jobs.until_said("waiting_for_input")
    await handle.execute_update("edit_outline", OutlineEdited(plan=plan(4, "Mills")))
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    longform.failures.clear()
    return await start(client, request(input={"review_outline": True}, run=2))


async def expired(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Nobody answers in time."""
    return await start(client, request(input={"review_outline": True}, review_seconds=1))


async def cancelled_in_review(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Cancelled while it waits for a person."""
    handle = await start(client, request(input={"review_outline": True}))
    await jobs.until_said("waiting_for_input")
    await handle.cancel()
    return handle


async def improved(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A section missed its length; one revision helped and the next did not."""
    longform.words["s2"] = 500
    longform.scores = [0.4, 0.6, 0.5]
    return await start(client, request(input={"quality_threshold": 0.9, "max_revisions": 5}))


async def cached(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """An identical request had completed."""
    longform.hit = JobResult(summary={"cached": True})
    return await start(client, request())


SOURCES = {
    "sources": [{"id": "r2", "title": "Wheels", "text": REF.model_dump(), "characters": 900}],
    "unread": [
        {"id": "r1", "url": "https://mills.example/"},
        {"id": "r3", "file": {"ref": REF.model_dump(), "name": "survey.pdf", "kind": "pdf"}},
        {"id": "r4", "url": "https://tides.example/", "required": False},
    ],
}
"""A text, two URLs and an upload."""


async def sources(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """URLs and an upload are read before the outline."""
    return await start(client, request(input=SOURCES))


async def source_left_out(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A source that is not required cannot be fetched."""
    longform.unreadable["r4"] = "It answered with status 404."
    return await start(client, request(input=SOURCES))


async def source_failed(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A required source cannot be read, and the job fails when the others are."""
    longform.failures["read source r3"] = AtelierError(ErrorType.FILE_REFUSED, "It has no text.")
    return await start(client, request(input=SOURCES))


async def over_budget(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """Two sections are refused for want of budget; raised too little at first, then enough."""
    refused = {"which": "job", "budget_usd": 0.01, "spent_usd": 0.009, "reserved_usd": 0.0, "needed_usd": 0.002}
    error = AtelierError(ErrorType.BUDGET_EXCEEDED, "The budget does not allow it.", details=refused)
    longform.failures |= {"section s2": error, "section s3": error}
    handle = await start(client, request())
    await jobs.until_said("waiting_for_budget")
    await handle.signal("control_changed", Control(seq=1, budget=1))
    await jobs.until_said("waiting_for_budget", 2)
    longform.failures.clear()
    await handle.signal("control_changed", Control(seq=2, budget=2))
    return handle


async def too_long(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The prompt of a section is too long for the first model; the second has a larger window."""
    longform.failures[f"section s2 {HAIKU}"] = AtelierError(
        ErrorType.PROMPT_TOO_LONG, "The prompt is too long.", details={"context_window": 200_000, "attempts": 1}
    )
    return await start(client, request())


async def prefix_first(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The first section is drafted before the other four, which find its beginning in the model's cache."""
    longform.sections, longform.shares_prefix = 5, True
    return await start(client, request())


async def regenerated(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A child job writes a section anew."""
    return await start(client, revision())


async def edited(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A child job takes a person's section."""
    return await start(client, revision(act="edit_section", text=REF))


async def restored(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """A child job restores a version."""
    return await start(client, revision(act="restore_version", section_id=None, base=2, restore=1))


async def delivered(
    client: Client, jobs: ScriptedJobs, longform: ScriptedLongform, *, tried: int = 0, total: float = 60
) -> Handle:
    """A webhook's receiver fails twice and then takes what it is told."""
    schedule = Schedule(first=0.05, longest=0.08, total=total)
    return await client.start_workflow(
        DeliveryWorkflow.run,
        DeliveryRequest(delivery_id="delivery", tried=tried, schedule=schedule),
        id=workflow_id(DELIVERY, "delivery"),
        task_queue=Queue.ORCHESTRATION,
    )


async def delivered_on(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The workflow of a delivery was lost behind its first try; another goes on."""
    return await delivered(client, jobs, longform, tried=1)


async def delivery_given_up(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> Handle:
    """The receiver fails until no pause fits any more."""
    return await delivered(client, jobs, longform, total=0.06)


# The recorded `longform-happy`, `-paused`, `-cancelled`, `-failed`, `-retried` and `-fallback` are of the first form of
# the workflow, which runs that began then still follow: no scenario makes them any more.
SCENARIOS: dict[str, Scenario] = {
    "longform-whole": happy,
    "longform-whole-paused": paused,
    "longform-whole-cancelled": cancelled,
    "longform-whole-failed": failed,
    "longform-whole-retried": retried,
    "longform-whole-fallback": fallback,
    "longform-reviewed": reviewed,
    "longform-answered-before": answered_before,
    "longform-expired": expired,
    "longform-cancelled-in-review": cancelled_in_review,
    "longform-improved": improved,
    "longform-cached": cached,
    "longform-over-budget": over_budget,
    "longform-too-long": too_long,
    "longform-prefix-first": prefix_first,
    "longform-sources": sources,
    "longform-source-left-out": source_left_out,
    "longform-source-failed": source_failed,
    "longform-revision-regenerated": regenerated,
    "longform-revision-edited": edited,
    "longform-revision-restored": restored,
    "webhook-delivered": delivered,
    "webhook-delivered-on": delivered_on,
    "webhook-given-up": delivery_given_up,
}


async def record(client: Client, name: str) -> str:
    """Run one scenario to its end. Its history as JSON."""
    jobs, longform, scoping = ScriptedJobs(), ScriptedLongform(), ScriptedScoping()
    async with scripted_workers(client, jobs, longform, scoping):
        if name in SESSIONS:
            handle = await SESSIONS[name](client, jobs, scoping)
        else:
            handle = await SCENARIOS[name](client, jobs, longform)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        return json.dumps(scrub(json.loads((await handle.fetch_history()).to_json())), indent=1)


def scrub(value: Any) -> Any:
    """Without what tells of the machine and means nothing to a replay: stack traces, and who polled."""
    if isinstance(value, str):
        return re.sub(r"\d+@[\w.-]+", "recorder", value)
    if isinstance(value, dict):
        return {name: scrub(inner) for name, inner in value.items() if name != "stackTrace"}
    return [scrub(inner) for inner in value] if isinstance(value, list) else value


@asynccontextmanager
async def recording_client(namespaces: list[str]) -> AsyncIterator[Callable[[str], Awaitable[Client]]]:
    """A server of its own, with a namespace a scenario."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedTemporal(Path(folder), namespaces=namespaces, ui=False)
        address = await asyncio.to_thread(server.start)

        async def client(namespace: str) -> Client:
            await prepare_namespace(address, namespace, timedelta(days=1))
            return await connect(address, namespace)

        try:
            yield client
        finally:
            await asyncio.to_thread(server.stop)


async def main() -> None:
    """Record what is missing."""
    HISTORIES.mkdir(exist_ok=True)
    missing = [name for name in (*SCENARIOS, *SESSIONS) if not (HISTORIES / f"{name}.json").exists()]
    async with recording_client(missing) as client:
        for name in missing:
            (HISTORIES / f"{name}.json").write_text(await record(await client(name), name) + "\n")
            print(f"recorded {name}")


if __name__ == "__main__":
    asyncio.run(main())
