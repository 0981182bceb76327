"""The pipelines: what a submission can name. A new pipeline adds a line here and one in `worker/registry.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.contracts.base import Contract, Prepared, as_given
from core.contracts.estimates import EstimatedCall
from core.contracts.longform import PIPELINE, LongformInput, prepare
from core.contracts.longform_estimate import estimate
from core.contracts.longform_steps import REVISION_PIPELINE, RevisionInput
from workflows.longform import LongformWorkflow
from workflows.longform_revision import LongformRevisionWorkflow

TITLE_LIMIT = 120
"""Characters of a title that the pipeline makes up."""


def nothing_known(_given: Any) -> tuple[EstimatedCall, ...]:
    """The estimate of a pipeline whose input does not tell what it will ask."""
    return ()


@dataclass(frozen=True)
class Pipeline:
    """What the generic job routes need to know of a pipeline. `title` names a job whose owner did not.

    `prepare` makes the workflow's input of a checked one and its owner's id: what is long becomes an attachment.
    `estimate` says which calls of models a checked input is expected to take. A pipeline that is not `submittable` runs
    child jobs, which routes of its own submit.
    """

    name: str
    workflow: type[Any]
    input: type[Contract]
    title: Callable[[Any], str]
    prepare: Callable[[Any, str], Prepared] = as_given
    estimate: Callable[[Any], tuple[EstimatedCall, ...]] = nothing_known
    submittable: bool = True


PIPELINES = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline(
            PIPELINE,
            LongformWorkflow,
            LongformInput,
            lambda brief: brief.topic.splitlines()[0][:TITLE_LIMIT],
            prepare,
            estimate,
        ),
        Pipeline(
            REVISION_PIPELINE,
            LongformRevisionWorkflow,
            RevisionInput,
            lambda revision: revision.act.value,
            submittable=False,
        ),
    )
}
