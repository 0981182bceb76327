"""From a submitted body to a job that can be inserted: which pipeline, is its input valid, which models."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence

from api.deps import Deps
from api.errors import ProblemError
from api.requests import check, invalid
from api.schemas import JobSubmission
from core.contracts.base import Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.llm import SIMULATOR
from core.db.repositories.jobs import NewJob
from workflows.registry import PIPELINES, Pipeline

_NO_MODEL = (
    "No model is configured, so no job can run. Set ANTHROPIC_API_KEY or GEMINI_API_KEY in the environment of the API "
    "and the workers, or SIMULATOR=true to try it without a provider, and start them again."
)


def new_job(deps: Deps, owner_id: str, submission: JobSubmission, idempotency_key: str | None) -> NewJob:
    """The job of a submission. Raises `UNKNOWN_PIPELINE`, `INVALID_REQUEST`, `UNKNOWN_MODEL`."""
    pipeline = known_pipeline(submission.pipeline)
    checked = check(pipeline.input, submission.input, prefix=("input",))
    models = _chain(deps, submission.models)
    content: Json = checked.model_dump(mode="json")
    # The models as they were given: a deployment that changes its default must not break a repeated submission.
    body = {
        "pipeline": pipeline.name,
        # As given, without defaults: a version that adds a field with one must not break a repeated submission.
        "input": checked.model_dump(mode="json", exclude_defaults=True),
        "title": submission.title,
        "tags": submission.tags,
        "models": submission.models,
    }
    return NewJob(
        owner_id=owner_id,
        pipeline=pipeline.name,
        title=submission.title or _made_up_title(pipeline, checked),
        tags=submission.tags,
        input=content,
        models=models,
        body_sha256=_sha256(body),
        idempotency_key=idempotency_key,
    )


def known_pipeline(name: str) -> Pipeline:
    """The pipeline of a name. Raises `UNKNOWN_PIPELINE`, naming those that are known."""
    pipeline = PIPELINES.get(name)
    if pipeline is None:
        known = sorted(PIPELINES)
        raise AtelierError(
            ErrorType.UNKNOWN_PIPELINE,
            f"There is no pipeline {name!r}. Known: {', '.join(known)}.",
            details={"pipelines": known},
        )
    return pipeline


def _chain(deps: Deps, asked: Sequence[str] | None) -> tuple[str, ...]:
    if not deps.providers:
        raise ProblemError(ErrorType.UNKNOWN_MODEL, _NO_MODEL, status=503)
    if asked is None:
        return deps.chain
    for model in asked:
        provider = model.partition(":")[0]
        if provider not in deps.providers or (provider == "simulator" and model != SIMULATOR):
            raise AtelierError(
                ErrorType.UNKNOWN_MODEL,
                f"The model {model!r} cannot be asked here. Configured: {', '.join(sorted(deps.providers))}.",
                details={"model": model, "providers": sorted(deps.providers), "default_models": list(deps.chain)},
            )
    return tuple(asked)


def _made_up_title(pipeline: Pipeline, checked: object) -> str:
    title = pipeline.title(checked)
    shown = "".join(" " if unicodedata.category(character) == "Cc" else character for character in title).strip()
    return shown or pipeline.name


def _sha256(body: Json) -> str:
    try:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        # 1e999 is JSON, but infinite; a pipeline that takes it as a number could not store it.
        raise invalid("input", "A number is too large") from None
    return hashlib.sha256(canonical.encode()).hexdigest()
