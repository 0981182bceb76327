"""Names that more than one process must spell alike: task queues, workflow ids, search attributes, channels."""

from enum import StrEnum
from typing import NamedTuple

from temporalio.common import SearchAttributeKey


class Queue(StrEnum):
    """Task queues, by the resource that a task needs and not by pipeline."""

    ORCHESTRATION = "orchestration"
    LLM = "llm"
    RENDER = "render"
    WEB = "web"


class JobAddress(NamedTuple):
    """What a workflow id tells: which pipeline, which job."""

    pipeline: str
    job_id: str


def workflow_id(pipeline: str, job_id: str) -> str:
    """The id of a job's workflow: one job has one workflow id for all its runs."""
    return f"{pipeline}/{job_id}"


def parse_workflow_id(value: str) -> JobAddress:
    """The job behind a workflow id, also behind a child's (`film/<job_id>/render/3`). ValueError if it is not ours."""
    parts = value.split("/")
    if len(parts) < 2 or not all(parts):
        raise ValueError(f"not a workflow id of a job: {value!r}")
    return JobAddress(parts[0], parts[1])


PIPELINE_ATTRIBUTE = SearchAttributeKey.for_keyword("AtelierPipeline")
STATUS_ATTRIBUTE = SearchAttributeKey.for_keyword("AtelierStatus")
OWNER_ATTRIBUTE = SearchAttributeKey.for_keyword("AtelierOwner")
SEARCH_ATTRIBUTES = (PIPELINE_ATTRIBUTE, STATUS_ATTRIBUTE, OWNER_ATTRIBUTE)
"""Every search attribute the product uses; `core.temporal.prepare_namespace` registers them."""

EVENTS_CHANNEL = "atelier_events"
"""Postgres NOTIFY channel; the payload is `<job_id>:<seq>`."""
JOBS_CHANNEL = "atelier_jobs"
"""Postgres NOTIFY channel that wakes the starters; the payload is a job id."""
