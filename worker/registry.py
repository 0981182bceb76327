"""Which activities run on which queue. A new pipeline adds its line to `activities`."""

from collections.abc import Callable
from typing import Any

from activities.jobs import Jobs
from activities.longform import Longform
from core.contracts.names import Queue
from worker.deps import Deps
from workflows.registry import PIPELINES

WORKFLOWS = [pipeline.workflow for pipeline in PIPELINES.values()]


def activities(deps: Deps) -> dict[Queue, list[Callable[..., Any]]]:
    """Every activity, by queue: models on `llm`, what holds a core on `render`, short statements beside workflows."""
    jobs = Jobs(deps.database)
    longform = Longform(deps.gateway, deps.steps, deps.store)
    return {
        Queue.ORCHESTRATION: [jobs.begin, jobs.set_status, jobs.finish],
        Queue.LLM: [longform.decompose_topic, longform.draft_section],
        Queue.RENDER: [longform.assemble_article, longform.export_article],
    }
