"""Activities for workflow tests: they subclass the contracts, do no I/O, and do what a test tells them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pydantic
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from core.contracts.base import ArtifactRef, implements
from core.contracts.errors import AtelierError, as_failure
from core.contracts.jobs import BeginJob, Begun, FinishJob, JobActivities, JobRequest, Output, SetStatus, StepRequest
from core.contracts.longform import (
    AssembleArticle,
    Assembled,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    ExportArticle,
    LongformActivities,
    PlannedSection,
    Section,
)
from core.contracts.names import Queue, workflow_id
from worker.registry import WORKFLOWS
from worker.run import STICKY_TIMEOUT
from worker.sandbox import runner

REF = ArtifactRef(owner_id="owner", sha256="0" * 64, size=1, media_type="text/plain")


class ScriptedJobs(JobActivities):
    """Remembers what a workflow says of its job."""

    def __init__(self, begun: Begun | None = None) -> None:
        self.begun = begun or Begun(proceed=True)
        self.said: list[str] = []
        self.last: FinishJob | None = None
        self.changed = asyncio.Condition()

    @implements(JobActivities.begin)
    async def begin(self, request: BeginJob) -> Begun:
        await self._say("running")
        return self.begun

    @implements(JobActivities.set_status)
    async def set_status(self, request: SetStatus) -> None:
        await self._say(request.status.value)

    @implements(JobActivities.finish)
    async def finish(self, request: FinishJob) -> None:
        self.last = request
        await self._say(request.status.value)

    async def _say(self, status: str) -> None:
        async with self.changed:
            self.said.append(status)
            self.changed.notify_all()

    async def until_said(self, status: str) -> None:
        """Wait until the job has had a status."""
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: status in self.said)


class ScriptedLongform(LongformActivities):
    """Answers at once, unless a gate is set for the step; fails where a failure is set for (step, model)."""

    def __init__(self, sections: int = 3) -> None:
        self.sections = sections
        self.asked: Counter[str] = Counter()
        self.gates: dict[str, asyncio.Event] = {}
        self.failures: dict[str, AtelierError] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []
        self.deaf: set[str] = set()
        """Steps that end before their worker hears of a cancel."""

    def hold(self, step: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Make a step wait. The events: it was reached; it may go on."""
        self.gates[step], self.reached[step] = asyncio.Event(), asyncio.Event()
        return self.reached[step], self.gates[step]

    async def _take(self, request: StepRequest, model: str = "") -> None:
        step = request.key.step
        self.asked[f"{step} {model}".strip()] += 1
        if step in self.gates:
            self.reached[step].set()
            try:
                while not self.gates[step].is_set():
                    if step not in self.deaf:
                        activity.heartbeat()
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                self.cancelled.append(step)
                raise
        failure = self.failures.get(f"{step} {model}".strip()) or self.failures.get(step)
        if failure is not None:
            raise as_failure(failure)

    @implements(LongformActivities.decompose_topic)
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        await self._take(request, request.model)
        sections = tuple(PlannedSection(id=f"s{n + 1}", title=f"Part {n + 1}") for n in range(self.sections))
        return Decomposed(title="Tidal mills", outline=REF, sections=sections)

    @implements(LongformActivities.draft_section)
    async def draft_section(self, request: DraftSection) -> Section:
        await self._take(request, request.model)
        return Section(id=request.section_id, text=REF, words=300)

    @implements(LongformActivities.assemble_article)
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        await self._take(request)
        return Assembled(title="Tidal mills", article=REF, words=300 * len(request.sections))

    @implements(LongformActivities.export_article)
    async def export_article(self, request: ExportArticle) -> Output:
        await self._take(request)
        return Output(name=f"article.{request.format.value}", artifact_id="artifact", ref=REF)


@asynccontextmanager
async def scripted_workers(client: Client, jobs: ScriptedJobs, longform: ScriptedLongform) -> AsyncIterator[None]:
    """Workers on every queue, with the product's own sandbox and failure types."""
    queues: dict[Queue, list[Callable[..., Any]]] = {
        Queue.ORCHESTRATION: [jobs.begin, jobs.set_status, jobs.finish],
        Queue.LLM: [longform.decompose_topic, longform.draft_section],
        Queue.RENDER: [longform.assemble_article, longform.export_article],
    }
    workers = [
        Worker(
            client,
            task_queue=queue,
            activities=activities,
            workflows=WORKFLOWS if queue is Queue.ORCHESTRATION else (),
            workflow_runner=runner(),
            workflow_failure_exception_types=[pydantic.ValidationError],
            max_heartbeat_throttle_interval=timedelta(milliseconds=100),
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        )
        for queue, activities in queues.items()
    ]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))


def request(job_id: str = "job", **changes: Any) -> JobRequest:
    """The input of a long-form workflow of three sections."""
    fields: dict[str, Any] = {
        "job_id": job_id,
        "owner_id": "owner",
        "pipeline": "longform",
        "input": {"topic": "Tidal mills", "target_words": 900},
        "models": ("anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"),
    }
    return JobRequest(**{**fields, **changes})


async def start(client: Client, job: JobRequest) -> WorkflowHandle[Any, Any]:
    """Start the workflow of a job."""
    return await client.start_workflow(
        "Longform", job, id=workflow_id(job.pipeline, job.job_id), task_queue=Queue.ORCHESTRATION
    )
