"""The auditor: reads everything a run left behind and proves that it adds up. Every pipeline's tests end with it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import Row, text
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from core.artifacts.store import ArtifactStore
from core.contracts.jobs import ENDED, ENDING_EVENTS, JobStatus
from core.contracts.names import workflow_id
from core.db.engine import Database
from core.db.repositories.artifacts import ReferenceRepository
from core.ledger.prices import price
from tests.support.audit_scoping import SCOPING_TABLES, check_scoping
from tests.support.stack import eventually
from tests.support.wire import WireProvider
from worker.registry import WORKFLOWS
from worker.sandbox import runner

# How a workflow may have ended when its job's row says how the job ended.
FITTING = {
    JobStatus.COMPLETED: {WorkflowExecutionStatus.COMPLETED},
    JobStatus.FAILED: {
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
        # It was cancelled while it told of its failure.
        WorkflowExecutionStatus.CANCELED,
    },
    JobStatus.CANCELLED: {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.TERMINATED,
        # It found its job cancelled before it began.
        WorkflowExecutionStatus.FAILED,
    },
}
WAITING = {JobStatus.PAUSED, JobStatus.WAITING_FOR_INPUT, JobStatus.WAITING_FOR_BUDGET}


TABLES = ("jobs", "steps", "attempts", "events", "artifacts", "spending")


@dataclass
class Audit:
    """What is read, and what was found wrong."""

    database: Database
    store: ArtifactStore
    temporal: Client
    wires: Sequence[WireProvider] = ()
    workflows: Sequence[type[Any]] = tuple(WORKFLOWS)
    replays: int = 12
    """Histories that are replayed: every path that one test walks, without every job of a crowd."""
    wrong: list[str] = field(default_factory=list)

    async def check(self) -> None:
        """Read all, and fail with everything that does not add up."""
        tables = {name: await self._rows(name) for name in (*TABLES, *SCOPING_TABLES)}
        jobs = {row.id: row for row in tables["jobs"]}
        for job in jobs.values():
            self._check_state(job)
            await self._check_workflow(job)
        self._check_steps(jobs, tables["steps"], tables["attempts"])
        self._check_events(jobs, tables["events"], tables["steps"])
        self._check_costs(jobs, tables["attempts"])
        self._check_months(tables["spending"], tables["attempts"])
        self._check_refusals(jobs, tables["attempts"])
        self._check_requests(tables["attempts"])
        self._check_bills(tables["attempts"])
        await self._check_artifacts(tables["artifacts"], tables["steps"], tables["charters"])
        check_scoping(jobs, tables, self._expect)
        assert not self.wrong, "the auditor found:\n- " + "\n- ".join(self.wrong)

    async def _rows(self, table: str) -> Sequence[Row[Any]]:
        async with self.database.transaction() as connection:
            return (await connection.execute(text(f"SELECT * FROM {table}"))).all()

    def _expect(self, holds: bool, message: str) -> None:
        if not holds:
            self.wrong.append(message)

    def _check_state(self, job: Row[Any]) -> None:
        status = JobStatus(job.status)
        if status in ENDED:
            self._expect(job.finished_at is not None, f"job {job.id} is {status} and has no end")
            self._expect((job.error is not None) == (status is JobStatus.FAILED), f"job {job.id}: error and {status}")
            self._expect(
                (job.result is not None) == (status is JobStatus.COMPLETED), f"job {job.id}: result and {status}"
            )
        else:
            reason = job.paused if status is JobStatus.PAUSED else job.waiting_for
            self._expect(status in WAITING and bool(reason), f"job {job.id} is {status} and says no reason")
        if status is JobStatus.COMPLETED:
            self._expect(
                job.steps_done == job.total_steps, f"job {job.id}: {job.steps_done} of {job.total_steps} steps done"
            )

    async def _check_workflow(self, job: Row[Any]) -> None:
        status = JobStatus(job.status)
        if status not in ENDED:
            return
        handle = self.temporal.get_workflow_handle(workflow_id(job.pipeline, str(job.id)))
        try:
            # The row is closed by the workflow's last activity, an instant before the workflow itself.
            ended = await eventually(
                handle.describe, lambda seen: seen.status is not WorkflowExecutionStatus.RUNNING, 10
            )
        except RPCError as error:
            self._expect(error.status is RPCStatusCode.NOT_FOUND, f"job {job.id}: {error}")
            self._expect(job.workflow_run_id is None, f"job {job.id} ran, and Temporal does not know it")
            return
        self._expect(ended.status in FITTING[status], f"job {job.id} is {status}, its workflow {ended.status}")
        if job.workflow_run_id is not None and self.replays > 0:
            self.replays -= 1
            await self._replay(await handle.fetch_history())

    async def _replay(self, history: WorkflowHistory) -> None:
        replayer = Replayer(workflows=self.workflows, workflow_runner=runner(), data_converter=pydantic_data_converter)
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        self._expect(result.replay_failure is None, f"{history.workflow_id} does not replay: {result.replay_failure}")

    def _check_steps(self, jobs: dict[Any, Row[Any]], steps: Iterable[Row[Any]], attempts: Iterable[Row[Any]]) -> None:
        by_id = {attempt.id: attempt for attempt in attempts}
        steps_of = defaultdict(set)
        stored_by = set()
        for step in steps:
            self._expect(step.job_id in jobs, f"step {step.step} of no job")
            steps_of[step.job_id].add(step.step)
            if step.attempt_id is not None:
                stored_by.add(step.attempt_id)
                attempt = by_id.get(step.attempt_id)
                self._expect(
                    attempt is not None and attempt.outcome == "ok",
                    f"step {step.step} of {step.job_id} rests on an attempt that is {attempt and attempt.outcome}",
                )
        for job in jobs.values():
            self._expect(job.steps_done == len(steps_of[job.id]), f"job {job.id} counts {job.steps_done} steps")
        for attempt in by_id.values():
            self._expect(attempt.job_id in jobs or attempt.detached, f"attempt {attempt.id} of no job")
            self._expect(
                attempt.outcome != "ok" or attempt.id in stored_by or attempt.detached,
                f"attempt {attempt.id} at {attempt.step} is ok and stored nothing",
            )
            owner = jobs.get(attempt.job_id)
            self._expect(
                attempt.outcome != "open" or (owner is not None and JobStatus(owner.status) not in ENDED),
                f"attempt {attempt.id} at {attempt.step} is open although its job ended",
            )

    def _check_events(self, jobs: dict[Any, Row[Any]], events: Iterable[Row[Any]], steps: Iterable[Row[Any]]) -> None:
        streams = defaultdict(list)
        for event in events:
            streams[event.job_id].append(event)
        completed = Counter((step.job_id, f"step:{step.step}:{step.revision}:completed") for step in steps)
        for job in jobs.values():
            stream = sorted(streams.pop(job.id, []), key=lambda event: event.seq)
            numbers = [event.seq for event in stream]
            self._expect(
                numbers == list(range(1, job.event_seq + 1)), f"job {job.id}: events {numbers}, row {job.event_seq}"
            )
            self._expect(bool(stream) and stream[0].type == "job.accepted", f"job {job.id} was never accepted")
            keys = {event.key for event in stream}
            missing = [key for owner, key in completed if owner == job.id and key not in keys]
            self._expect(not missing, f"job {job.id}: no event tells of {missing}")
            if JobStatus(job.status) in ENDED:
                endings = [event.type for event in stream if event.key == f"run:{job.run}:ended"]
                self._expect(
                    endings == [ENDING_EVENTS[JobStatus(job.status)]], f"job {job.id} is {job.status}: {endings}"
                )
        self._expect(not streams, f"events of no job: {list(streams)}")

    def _check_costs(self, jobs: dict[Any, Row[Any]], attempts: Sequence[Row[Any]]) -> None:
        for job in jobs.values():
            own = [attempt for attempt in attempts if attempt.job_id == job.id]
            for of_job, of_attempt in (
                ("cost_usd", "usd"),
                ("input_tokens", "input_tokens"),
                ("output_tokens", "output_tokens"),
                ("cached_tokens", "cached_tokens"),
            ):
                total = sum(getattr(attempt, of_attempt) or 0 for attempt in own)
                self._expect(
                    getattr(job, of_job) == total, f"job {job.id}: {of_job} is {getattr(job, of_job)}, not {total}"
                )
            held = _held(own)
            self._expect(job.reserved_usd == held, f"job {job.id} holds {job.reserved_usd}, its attempts {held}")
            self._expect(
                job.budget_usd is None or job.cost_usd + job.reserved_usd <= job.budget_usd,
                f"job {job.id} passed its budget: {job.cost_usd} + {job.reserved_usd} of {job.budget_usd}",
            )

    def _check_months(self, months: Iterable[Row[Any]], attempts: Iterable[Row[Any]]) -> None:
        made = defaultdict(list)
        for attempt in attempts:
            # Those of deleted jobs too.
            made[attempt.owner_id, attempt.started_at.astimezone(UTC).date().replace(day=1)].append(attempt)
        for month in months:
            own = made.pop((month.owner_id, month.month), [])
            spent, held = sum((attempt.usd or 0) for attempt in own), _held(own)
            self._expect(
                (month.spent_usd, month.reserved_usd) == (spent, held),
                f"{month.month} has spent {month.spent_usd} and holds {month.reserved_usd}, not {spent} and {held}",
            )
            self._expect(
                month.budget_usd is None or month.spent_usd + month.reserved_usd <= month.budget_usd,
                f"{month.month} passed its budget: {month.spent_usd} + {month.reserved_usd} of {month.budget_usd}",
            )
        for (owner, first), own in made.items():
            free = not any(attempt.usd or attempt.reserved_usd for attempt in own)
            self._expect(free, f"{first} of {owner} has attempts that cost something, and no row")

    def _check_refusals(self, jobs: dict[Any, Row[Any]], attempts: Iterable[Row[Any]]) -> None:
        """An answer that would not do is kept to be repaired, and no longer."""
        for attempt in attempts:
            job = jobs.get(attempt.job_id)
            alive = job is not None and JobStatus(job.status) not in ENDED
            self._expect(
                alive or (attempt.refused_answer is None and attempt.refused_because is None),
                f"attempt {attempt.id} keeps an answer to be repaired although its job ended",
            )

    def _check_requests(self, attempts: Iterable[Row[Any]]) -> None:
        """closed ≤ requests the provider answered ≤ closed + unknown."""
        if not self.wires:
            return
        real = [attempt for attempt in attempts if not attempt.simulated and not attempt.reused]
        closed = sum(attempt.answered for attempt in real)
        unknown = sum(not attempt.answered for attempt in real)
        answered = sum(request.status is not None for wire in self.wires for request in wire.requests)
        self._expect(
            closed <= answered <= closed + unknown,
            f"the ledger closed {closed} answered attempts and {unknown} others; the providers answered {answered}",
        )

    def _check_bills(self, attempts: Iterable[Row[Any]]) -> None:
        """What the providers charge ≤ what is spent and held; of tokens the ledger has no more than were billed."""
        real = [attempt for attempt in attempts if not attempt.simulated and not attempt.reused]
        requests = [request for wire in self.wires for request in wire.requests]
        for model in {f"{request.provider}:{request.model}" for request in requests}:
            own = [attempt for attempt in real if attempt.model == model]
            bills = [request.billed for request in requests if f"{request.provider}:{request.model}" == model]
            prices = [price(model, bill) for bill in bills]
            if None in prices:
                continue
            billed = sum(usd for usd in prices if usd is not None)
            counted = sum(attempt.usd or 0 for attempt in own) + _held(own)
            self._expect(billed <= counted, f"{model}: billed {billed}, spent and held {counted}")
            told = [attempt for attempt in own if attempt.usd is not None and attempt.settled_at is None]
            for name in ("input_tokens", "output_tokens"):
                here, there = sum(getattr(row, name) for row in told), sum(getattr(bill, name) for bill in bills)
                self._expect(here <= there, f"{model}: the ledger has {here} {name}, the provider billed {there}")

    async def _check_artifacts(
        self, artifacts: Iterable[Row[Any]], steps: Iterable[Row[Any]], charters: Iterable[Row[Any]]
    ) -> None:
        known = {(str(row.owner_id), row.sha256): row.size for row in artifacts}
        referring = [(f"step {step.step}", step.result) for step in steps]
        referring += [(f"charter {c.number}", part) for c in charters for part in (c.charter, c.sections, c.outputs)]
        for who, refers in referring:
            for owner, sha in _refs(json.loads(refers) if isinstance(refers, str) else refers):
                self._expect((owner, sha) in known, f"{who} refers to bytes without a row: {sha}")

        async def referenced(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
            async with self.database.transaction() as connection:
                return await ReferenceRepository(connection).referenced(keys)

        # What a killed worker put and never told of is swept; then rows and bytes must be the same.
        await self.store.sweep(referenced, timedelta(0))
        stored = {(item.owner_id, item.sha256): item.size async for item in self.store.keys()}  # noqa: SIM118
        self._expect(stored == known, f"bytes and rows differ: {set(stored.items()) ^ set(known.items())}")


def _held(attempts: Iterable[Row[Any]]) -> Any:
    """What is reserved for attempts of which nobody has told what they cost: they are under way, or were lost, broken
    off or cut, and are not settled."""
    return sum(
        attempt.reserved_usd or 0
        for attempt in attempts
        if attempt.usd is None and attempt.settled_at is None and attempt.outcome != "ok"
    )


def _refs(value: Any) -> Iterable[tuple[str, str]]:
    """Every artifact reference inside a step's result."""
    if isinstance(value, dict):
        if {"owner_id", "sha256", "size"} <= value.keys():
            yield value["owner_id"], value["sha256"]
        for inner in value.values():
            yield from _refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _refs(inner)
