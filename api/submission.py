"""From a submitted body to a job that is accepted: which pipeline, is its input valid, which models, which bytes."""

import asyncio
import hashlib
import json
import unicodedata
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from fastapi import Response

from api.deps import Deps, Session
from api.errors import ProblemError
from api.estimates import check_budget, estimate_view
from api.hook_schemas import check_receiver
from api.limits import GiveBack
from api.requests import MESSAGE_LIMIT, InvalidRequestError, Problem, check, invalid, path_id
from api.schemas import JobSubmission
from api.views import answer, job_view
from core.contracts.base import Attachment, Contract, Json, Referred
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.estimates import EstimatedCall
from core.contracts.reading import WITH_TEXT, UploadedFile
from core.db.repositories.job_records import JobRecord
from core.db.repositories.jobs import NewJob
from core.llm.choice import refusal
from core.web.addresses import place_of
from workflows.registry import PIPELINES, Pipeline

_NO_MODEL = (
    "No model is configured, so no job can run. Set ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL in the environment "
    "of the API and the workers, or SIMULATOR=true to try it without a provider, and start them again."
)


@dataclass(frozen=True)
class Checked:
    """A submission that was found valid, and the calls that it is expected to take."""

    pipeline: Pipeline
    input: Contract
    models: tuple[str, ...]
    calls: tuple[EstimatedCall, ...]


def checked_submission(deps: Deps, submission: JobSubmission) -> Checked:
    """What a submission asks for. Raises `UNKNOWN_PIPELINE`, `INVALID_REQUEST`, `UNKNOWN_MODEL`, `PRICE_UNKNOWN`."""
    pipeline = known_pipeline(submission.pipeline, to_submit=True)
    checked = check(pipeline.input, submission.input, prefix=("input",))
    _check_urls(pipeline.refers(checked))
    if submission.webhook_url is not None:
        check_receiver(deps.settings, submission.webhook_url, "webhook_url")
    models = chain(deps, submission.models)
    check_budget(submission.budget_usd, models)
    return Checked(pipeline, checked, models, pipeline.estimate(checked))


async def submit(session: Session, submission: JobSubmission, idempotency_key: str | None) -> JobRecord:
    """Accept a job.

    Raises what `checked_submission` and `accept` do, and `INVALID_REQUEST` for an upload that cannot be used.
    """
    asked = checked_submission(session.deps, submission)
    body_sha256 = _body_sha256(asked, submission)
    referred = list(asked.pipeline.refers(asked.input))
    uploads: dict[str, UploadedFile] = {}
    if any(named.upload_id is not None for named in referred):
        if idempotency_key is not None:
            # Before the uploads are looked at: one may have been deleted since the job was accepted.
            known = await session.jobs.repeated(idempotency_key, body_sha256)
            if known is not None:
                return known
        uploads = await _uploads(session, referred)
    prepared = asked.pipeline.prepare(asked.input, session.owner.id, uploads)
    job = NewJob(
        pipeline=asked.pipeline.name,
        title=submission.title or visible(asked.pipeline.title(asked.input)) or asked.pipeline.name,
        tags=submission.tags,
        input=prepared.input.model_dump(mode="json"),
        models=asked.models,
        body_sha256=body_sha256,
        idempotency_key=idempotency_key,
        attachments=prepared.attachments,
        budget_usd=submission.budget_usd,
        webhook_url=submission.webhook_url,
        estimate=estimate_view(asked.calls, asked.models[0], session.deps.settings) if asked.calls else None,
    )
    return await accept(session, job)


def _body_sha256(asked: Checked, submission: JobSubmission) -> str:
    # The models as they were given: a deployment that changes its default must not break a repeated submission.
    body = {
        "pipeline": asked.pipeline.name,
        # As given, without defaults: a version that adds a field with one must not break a repeated submission.
        "input": asked.input.model_dump(mode="json", exclude_defaults=True),
        "title": submission.title,
        "tags": submission.tags,
        "models": submission.models,
    }
    if submission.budget_usd is not None:
        # Only then: what was submitted before there were budgets stays the same request.
        body["budget_usd"] = str(submission.budget_usd.normalize())
    if submission.webhook_url is not None:
        body["webhook_url"] = submission.webhook_url
    return sha256_of(body)


def _check_urls(referred: Iterable[Referred]) -> None:
    """Refuse URLs that nobody may ask for as they are spelled. Where the others lead shows when they are read."""
    wrong: list[Problem] = []
    for named in referred:
        try:
            if named.url is not None:
                place_of(named.url)
        except AtelierError as error:
            wrong.append(_problem(named, error.message, error.type))
    if wrong:
        raise InvalidRequestError(wrong)


async def _uploads(session: Session, referred: Iterable[Referred]) -> dict[str, UploadedFile]:
    """The files of the uploads that an input names. Raises `INVALID_REQUEST`, with all that cannot be used."""
    found: dict[str, UploadedFile] = {}
    wrong: list[Problem] = []
    for named in referred:
        if named.upload_id is None:
            continue
        try:
            upload = await session.uploads.ready(path_id(named.upload_id, "upload"))
        except AtelierError as error:
            wrong.append(_problem(named, error.message, error.type))
            continue
        if upload.kind in WITH_TEXT:
            found[named.upload_id] = UploadedFile(ref=upload.ref, name=upload.name, kind=upload.kind)
        else:
            message = "There is no text to read in it. Text, Markdown, JSON, PDF and DOCX can be read."
            wrong.append(_problem(named, message, ErrorType.FILE_REFUSED))
    if wrong:
        raise InvalidRequestError(wrong)
    return found


def _problem(named: Referred, message: str, type: ErrorType) -> Problem:
    return {"loc": ".".join(("input", *named.place)), "message": message[:MESSAGE_LIMIT], "type": type.value}


def known_pipeline(name: str, *, to_submit: bool = False) -> Pipeline:
    """The pipeline of a name. Raises `UNKNOWN_PIPELINE`, naming those that are known.

    To submit to, those that run child jobs are unknown: routes of their own submit them.
    """
    known = {known: pipeline for known, pipeline in PIPELINES.items() if pipeline.submittable or not to_submit}
    if name not in known:
        raise AtelierError(
            ErrorType.UNKNOWN_PIPELINE,
            f"There is no pipeline {name!r}. Known: {', '.join(sorted(known))}.",
            details={"pipelines": sorted(known)},
        )
    return known[name]


async def accept(session: Session, job: NewJob) -> JobRecord:
    """Count a job, put its attachments into the store, and insert it.

    Raises `TOO_MANY_REQUESTS`, `TOO_MANY_JOBS`, `STORE_UNAVAILABLE`, `IDEMPOTENCY_MISMATCH`.
    """
    if job.idempotency_key is not None and session.deps.limiter.on:
        # What was accepted is answered again, and not counted, even to a user who has used up everything.
        known = await session.jobs.repeated(job.idempotency_key, job.body_sha256)
        if known is not None:
            return known
    async with counted(session, job.attachments) as give_back:
        return await insert(session, job, give_back)


@asynccontextmanager
async def counting(session: Session) -> AsyncIterator[GiveBack]:
    """Within, the request is counted as one that starts model calls (`Limiter.submission`), and where there are limits
    its session is `alone`. Raises `TOO_MANY_REQUESTS`."""
    deps = session.deps
    if deps.limiter.on:
        await session.alone()
    async with deps.limiter.submission(
        session.request, session.owner, session.connection, deps.errands.run
    ) as give_back:
        yield give_back


@asynccontextmanager
async def counted(session: Session, attachments: Sequence[Attachment] = ()) -> AsyncIterator[GiveBack]:
    """Within, what starts model calls is submitted: it is counted, and its attachments are in the store.

    Neither is done in a transaction, so another has begun by then, and what was read before may have changed. What
    fails within is not counted in the end. Bytes that no job comes to refer to are swept.
    Raises `TOO_MANY_REQUESTS`, `STORE_UNAVAILABLE`.
    """
    new = [file for file in attachments if file.data is not None]
    async with AsyncExitStack() as stack:
        give_back = await stack.enter_async_context(counting(session))
        if new:
            await session.leave()
            put = session.deps.store.put
            await asyncio.gather(
                *(put(session.owner.id, file.data, file.ref.media_type) for file in new if file.data is not None)
            )
        await session.begin()
        yield give_back


async def insert(session: Session, job: NewJob, give_back: GiveBack) -> JobRecord:
    """Insert a job that is `counted`. Raises `TOO_MANY_JOBS`, `IDEMPOTENCY_MISMATCH`."""
    job = replace(job, trace_id=session.request.scope["state"]["trace_id"])
    record, new = await session.jobs.submit(job, at_once=session.deps.limiter.jobs_at_once(session.owner))
    if job.parent_job is None:  # a child's path names what it is about
        session.resource = f"jobs/{record.id}"
    if not new:
        give_back()
    elif not session.deps.events.listening:
        # Else Postgres tells this process too, and being woken twice would cost the starter a second look.
        session.then.append(session.deps.wake)
    return record


def accepted(job: JobRecord) -> Response:
    """The answer to a submission, also to a repeated one."""
    return answer(job_view(job), 202, {"Location": f"/v1/jobs/{job.id}"})


def chain(deps: Deps, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The models of a job: those that were asked for, or the configured ones. Raises `UNKNOWN_MODEL`."""
    if not deps.providers:
        raise ProblemError(ErrorType.UNKNOWN_MODEL, _NO_MODEL, status=503)
    if asked is None:
        return deps.chain
    for model in asked:
        if why := refusal(model, deps.settings):
            raise AtelierError(
                ErrorType.UNKNOWN_MODEL,
                why,
                details={"model": model, "providers": sorted(deps.providers), "default_models": list(deps.chain)},
            )
    return tuple(asked)


def visible(title: str) -> str:
    """A title without control characters."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in title).strip()


def sha256_of(body: Json) -> str:
    """What tells one request from another. Raises `INVALID_REQUEST` for a number that cannot be stored."""
    try:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        # 1e999 is JSON, but infinite; a pipeline that takes it as a number could not store it.
        raise invalid("input", "A number is too large") from None
    return hashlib.sha256(canonical.encode()).hexdigest()
