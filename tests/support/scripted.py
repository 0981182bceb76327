"""Activities for workflow tests: they subclass the contracts, do no I/O, and do what a test tells them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import pydantic
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.scoping import Scoping
from core.contracts.base import ArtifactRef, implements
from core.contracts.errors import ErrorType
from core.contracts.jobs import (
    JobActivities,
    JobRequest,
    JobResult,
    Output,
)
from core.contracts.longform import Brief, LeftOut, Source, UnreadSource
from core.contracts.longform_sources import FetchedFile, FetchSource, ReadSource, SourceFetched, SourceRead
from core.contracts.longform_steps import (
    AdjustSection,
    AssembleArticle,
    Assembled,
    CacheChecked,
    CheckCache,
    Decomposed,
    DecomposeTopic,
    DraftSection,
    EvaluateArticle,
    Evaluated,
    ExportArticle,
    ExportReport,
    KeepVersion,
    KeptVersion,
    LongformActivities,
    MeasureArticle,
    OpenedVersion,
    OpenVersion,
    PlannedSection,
    ReplaceSection,
    ReportExported,
    ReviseSection,
    Section,
    Transitions,
    WeakSection,
    WriteTransitions,
)
from core.contracts.names import Queue, workflow_id
from core.contracts.scoping_steps import ScopingActivities
from core.contracts.webhooks import Tried, TryDelivery, WebhookActivities
from tests.support.scripted_steps import ScriptedSteps
from worker.registry import WORKFLOWS, by_queue
from worker.run import STICKY_TIMEOUT
from worker.sandbox import runner
from workflows.registry import PIPELINES

REF = ArtifactRef(owner_id="owner", sha256="0" * 64, size=1, media_type="text/plain")


class ScriptedLongform(ScriptedSteps, LongformActivities):
    """Writes documents."""

    def __init__(self, sections: int = 3) -> None:
        super().__init__()
        self.sections = sections
        self.shares_prefix = False
        self.hit: JobResult | None = None
        """What the cache has."""
        self.words: dict[str, int] = {}
        """The length of drafts that miss their budget of 300 words."""
        self.scores = [0.9]
        """What the judge gives to one state of the document after the other."""
        self.instructions: list[str] = []
        self.unreadable: dict[str, str] = {}
        """Why sources that are not required cannot be read, by id."""
        self.kept: list[KeepVersion] = []
        self.report: ExportReport | None = None

    @implements(LongformActivities.fetch_source)
    async def fetch_source(self, request: FetchSource) -> SourceFetched:
        await self._take(request)
        if left_out := self._left_out(request.source):
            return SourceFetched(left_out=left_out)
        file = FetchedFile(ref=REF, url=request.source.url, read_on=date(2026, 11, 21))
        return SourceFetched(file=file)

    @implements(LongformActivities.read_source)
    async def read_source(self, request: ReadSource) -> SourceRead:
        await self._take(request)
        if left_out := self._left_out(request.source):
            return SourceRead(left_out=left_out)
        return SourceRead(source=Source(id=request.source.id, title=request.source.name, text=REF, characters=900))

    def _left_out(self, source: UnreadSource) -> LeftOut | None:
        reason = self.unreadable.get(source.id)
        if reason is None:
            return None
        return LeftOut(id=source.id, title=source.name, code=ErrorType.URL_STATUS, reason=reason)

    @implements(LongformActivities.check_cache)
    async def check_cache(self, request: CheckCache) -> CacheChecked:
        await self._take(request)
        return CacheChecked(cache_key="key", hit=self.hit)

    @implements(LongformActivities.decompose_topic)
    async def decompose_topic(self, request: DecomposeTopic) -> Decomposed:
        await self._take(request, request.model)
        self.instructions.append(request.instructions)
        made = plan(self.sections, f"Tidal mills {request.key.revision}")
        return made.model_copy(update={"shares_prefix": self.shares_prefix})

    @implements(LongformActivities.draft_section)
    async def draft_section(self, request: DraftSection) -> Section:
        await self._take(request, request.model)
        return Section(id=request.section_id, text=REF, words=self.words.get(request.section_id, 300))

    @implements(LongformActivities.adjust_section)
    async def adjust_section(self, request: AdjustSection) -> Section:
        await self._take(request, request.model)
        return Section(id=request.draft.id, text=REF, words=300)

    @implements(LongformActivities.revise_section)
    async def revise_section(self, request: ReviseSection) -> Section:
        await self._take(request, request.model)
        return Section(id=request.section_id, text=REF, words=300)

    @implements(LongformActivities.write_transitions)
    async def write_transitions(self, request: WriteTransitions) -> Transitions:
        await self._take(request, request.model)
        return Transitions(sentences=REF)

    @implements(LongformActivities.assemble_article)
    async def assemble_article(self, request: AssembleArticle) -> Assembled:
        await self._take(request)
        words = sum(section.words for section in request.sections)
        return Assembled(title=f"Tidal mills {request.key.revision}", article=REF, words=words)

    @implements(LongformActivities.replace_section)
    async def replace_section(self, request: ReplaceSection) -> Assembled:
        await self._take(request)
        return Assembled(title="Tidal mills", article=REF, words=900)

    @implements(LongformActivities.evaluate_article)
    async def evaluate_article(self, request: EvaluateArticle) -> Evaluated:
        await self._take(request, request.model)
        score = self.scores[min(request.key.revision, len(self.scores)) - 1]
        return Evaluated(evaluation=REF, score=score, weakest=(WeakSection(section_id="s2", advice="Say more."),))

    @implements(LongformActivities.measure_article)
    async def measure_article(self, request: MeasureArticle) -> Evaluated:
        await self._take(request)
        return Evaluated(evaluation=REF, score=0.9)

    @implements(LongformActivities.export_article)
    async def export_article(self, request: ExportArticle) -> Output:
        await self._take(request)
        return Output(name=f"article.{request.format.value}", artifact_id="artifact", ref=REF)

    @implements(LongformActivities.export_report)
    async def export_report(self, request: ExportReport) -> ReportExported:
        await self._take(request)
        self.report = request
        return ReportExported(report=REF, output=Output(name="report.md", artifact_id="artifact", ref=REF))

    @implements(LongformActivities.keep_version)
    async def keep_version(self, request: KeepVersion) -> KeptVersion:
        await self._take(request)
        self.kept.append(request)
        return KeptVersion(document_id=request.document_id, number=(request.parent or 0) + 1)

    @implements(LongformActivities.open_version)
    async def open_version(self, request: OpenVersion) -> OpenedVersion:
        await self._take(request)
        return OpenedVersion(
            brief=Brief(topic="Tidal mills", target_words=900),
            outline=REF,
            article=REF,
            title="Tidal mills",
            words=900,
            sections=plan(self.sections, "Tidal mills").sections,
        )


def plan(sections: int, title: str) -> Decomposed:
    """An outline of sections of 300 words, each but the first led into by a sentence."""
    return Decomposed(
        title=title,
        outline=REF,
        sections=tuple(
            PlannedSection(id=f"s{n + 1}", title=f"Part {n + 1}", words=300, lead_in=18 if n else 0)
            for n in range(sections)
        ),
    )


def third_time_lucky(request: TryDelivery) -> Tried:
    """What comes of a try when the receiver fails twice."""
    return Tried(again=request.pause if request.number < 3 else None)


class ScriptedWebhooks(WebhookActivities):
    """Remembers what was tried, and answers as a test says."""

    def __init__(self, answer: Callable[[TryDelivery], Tried] = third_time_lucky) -> None:
        self.answer, self.asked = answer, list[TryDelivery]()

    @implements(WebhookActivities.deliver)
    async def deliver(self, request: TryDelivery) -> Tried:
        self.asked.append(request)
        return self.answer(request)


@asynccontextmanager
async def scripted_workers(
    client: Client,
    jobs: JobActivities,
    longform: LongformActivities | None = None,
    scoping: ScopingActivities | None = None,
) -> AsyncIterator[None]:
    """Workers on every queue, with the product's own sandbox and failure types. A pipeline that is not given is not
    run. Receivers of webhooks fail twice."""
    nothing: Any = None
    unused = Scoping(nothing, nothing, nothing, nothing)
    queues = by_queue(jobs, longform or ScriptedLongform(), scoping or unused)
    queues[Queue.WEB].append(ScriptedWebhooks().deliver)
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
    """The input of a long-form workflow of three sections; `input` adds to the brief."""
    fields: dict[str, Any] = {
        "job_id": job_id,
        "owner_id": "owner",
        "pipeline": "longform",
        "input": {"topic": "Tidal mills", "target_words": 900},
        "models": ("anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"),
    }
    if changes.get("pipeline", "longform") == "longform":
        changes["input"] = {**fields["input"], **changes.get("input", {})}
    return JobRequest(**{**fields, **changes})


def revision(**changes: Any) -> JobRequest:
    """The input of a child job that writes section s2 anew."""
    wish = {"act": "regenerate_section", "document_id": "job", "base": 1, "section_id": "s2", **changes}
    return request("child", pipeline="longform_revision", input=wish)


async def start(client: Client, job: JobRequest) -> WorkflowHandle[Any, Any]:
    """Start the workflow of a job."""
    return await client.start_workflow(
        PIPELINES[job.pipeline].workflow.run,
        job,
        id=workflow_id(job.pipeline, job.job_id),
        task_queue=Queue.ORCHESTRATION,
        # A workflow that would wait for ever fails its test, and does not hold up the run.
        execution_timeout=timedelta(seconds=60),
    )
