"""The pipelines: what a submission can name. A new pipeline adds a line here and one in `worker/registry.py`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.contracts.base import Contract, Prepared, Referred, as_given
from core.contracts.estimates import EstimatedCall
from core.contracts.longform import PIPELINE, LongformInput, prepare, refers
from core.contracts.longform_estimate import NOTES as LONGFORM_NOTES
from core.contracts.longform_estimate import estimate
from core.contracts.longform_steps import REVISION_PIPELINE, RevisionInput
from core.contracts.reading import UploadedFile
from core.contracts.scoping import PIPELINE as SCOPING
from core.contracts.scoping import ScopingInput
from core.contracts.scoping_estimate import NOTES as SCOPING_NOTES
from core.contracts.scoping_estimate import estimate as scoping_estimate
from core.contracts.scoping_questions import prepare as prepare_session
from workflows.longform import LongformWorkflow
from workflows.longform_revision import LongformRevisionWorkflow
from workflows.scoping import ScopingWorkflow

TITLE_LIMIT = 120
"""Characters of a title that the pipeline makes up."""


def refers_to_nothing(_given: Any) -> Iterable[Referred]:
    """What a pipeline refers to whose input names no URL and no upload."""
    return ()


def nothing_known(_given: Any) -> tuple[EstimatedCall, ...]:
    """The estimate of a pipeline whose input does not tell what it will ask."""
    return ()


@dataclass(frozen=True)
class Pipeline:
    """What the generic job routes need to know of a pipeline. `title` names a job whose owner did not.

    `refers` finds the URLs and uploads that a checked input names. `prepare` makes the workflow's input of it, its
    owner's id and the files of those uploads by id: what is long becomes an attachment.
    `estimate` says which calls of models a checked input is expected to take, and `estimate_notes` what it is guessed
    from. A pipeline that is not `submittable` runs
    child jobs, which routes of its own submit.
    """

    name: str
    workflow: type[Any]
    input: type[Contract]
    title: Callable[[Any], str]
    prepare: Callable[[Any, str, Mapping[str, UploadedFile]], Prepared] = as_given
    refers: Callable[[Any], Iterable[Referred]] = refers_to_nothing
    estimate: Callable[[Any], tuple[EstimatedCall, ...]] = nothing_known
    estimate_notes: tuple[str, ...] = ()
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
            refers,
            estimate,
            LONGFORM_NOTES,
        ),
        Pipeline(
            REVISION_PIPELINE,
            LongformRevisionWorkflow,
            RevisionInput,
            lambda revision: revision.act.value,
            submittable=False,
        ),
        Pipeline(
            SCOPING,
            ScopingWorkflow,
            ScopingInput,
            lambda session: session.name,
            prepare=prepare_session,
            estimate=scoping_estimate,
            estimate_notes=SCOPING_NOTES,
        ),
    )
}
