"""The pipelines: what a submission can name. A new pipeline adds a line here and one in `worker/registry.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.contracts.base import Submission
from core.contracts.longform import LongformInput
from workflows.longform import LongformWorkflow

TITLE_LIMIT = 120
"""Characters of a title that the pipeline makes up."""


@dataclass(frozen=True)
class Pipeline:
    """What the generic job routes need to know of a pipeline. `title` names a job whose owner did not."""

    name: str
    workflow: type[Any]
    input: type[Submission]
    title: Callable[[Any], str]


PIPELINES = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline("longform", LongformWorkflow, LongformInput, lambda brief: brief.topic.splitlines()[0][:TITLE_LIMIT]),
    )
}
