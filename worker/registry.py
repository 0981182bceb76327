"""Which activities run on which queue. A new pipeline adds its line to `activities`."""

from collections.abc import Callable
from typing import Any

from activities.jobs import Jobs
from activities.longform import Longform
from activities.scoping import Scoping
from activities.webhooks import Webhooks
from core.contracts.jobs import JobActivities
from core.contracts.longform_steps import LongformActivities
from core.contracts.names import Queue
from core.contracts.scoping_steps import ScopingActivities
from worker.deps import Deps
from workflows.registry import PIPELINES
from workflows.webhooks import DeliveryWorkflow

WORKFLOWS = [*(pipeline.workflow for pipeline in PIPELINES.values()), DeliveryWorkflow]


def activities(deps: Deps) -> dict[Queue, list[Callable[..., Any]]]:
    """Every activity with its dependencies, by queue."""
    longform = Longform(deps.gateway, deps.steps, deps.store, deps.database, deps.web, deps.reading)
    scoping = Scoping(deps.gateway, deps.steps, deps.store, deps.database)
    webhooks = Webhooks(deps.database, deps.receivers, disable_after=deps.disable_after)
    queues = by_queue(Jobs(deps.database), longform, scoping)
    queues[Queue.WEB].append(webhooks.deliver)
    return queues


def by_queue(
    jobs: JobActivities, longform: LongformActivities, scoping: ScopingActivities
) -> dict[Queue, list[Callable[..., Any]]]:
    """Models on `llm`, users' URLs on `web`, what holds a core on `render`, short statements beside the workflows."""
    return {
        Queue.ORCHESTRATION: [
            jobs.begin,
            jobs.set_status,
            jobs.remind,
            jobs.read_answer,
            jobs.store_answer,
            jobs.finish,
            longform.check_cache,
            longform.keep_version,
            longform.open_version,
            scoping.open_session,
            scoping.keep_act,
            scoping.keep_state,
            scoping.keep_charter,
        ],
        Queue.LLM: [
            longform.decompose_topic,
            longform.draft_section,
            longform.adjust_section,
            longform.revise_section,
            longform.write_transitions,
            longform.evaluate_article,
            scoping.judge_answers,
            scoping.close_stage,
            scoping.check_consistency,
            scoping.draft_section,
        ],
        Queue.WEB: [longform.fetch_source],
        Queue.RENDER: [
            longform.read_source,
            longform.assemble_article,
            longform.replace_section,
            longform.measure_article,
            longform.export_article,
            longform.export_report,
            scoping.assemble_charter,
            scoping.export_charter,
        ],
    }
