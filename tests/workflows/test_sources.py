"""Sources by URL and upload: read before anything else, required or done without."""

from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobResult, JobStatus
from core.contracts.longform import PARALLEL_READS
from tests.support.scripted import REF, request, start
from tests.workflows.conftest import Bench

TEXT = {"id": "r2", "title": "Wheels", "text": REF.model_dump(), "characters": 900}
URL = {"id": "r1", "url": "https://mills.example/"}
UPLOAD = {"id": "r3", "file": {"ref": REF.model_dump(), "name": "survey.pdf", "kind": "pdf"}}


def url(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "url": f"https://tides.example/{number}", **more}


async def run(bench: Bench, **input: Any) -> JobResult:
    return JobResult.model_validate(await (await start(bench.client, request(input=input))).result())


async def test_what_is_read_stands_beside_the_texts_in_the_order_of_the_request(bench: Bench) -> None:
    result = await run(bench, sources=[TEXT], unread=[URL, UPLOAD])
    (kept,) = bench.longform.kept
    assert [(source.id, source.title) for source in kept.brief.sources] == [
        ("r1", "https://mills.example/"),
        ("r2", "Wheels"),
        ("r3", "survey.pdf"),
    ]
    assert (kept.brief.unread, kept.brief.left_out) == ((), ())
    assert [source["id"] for source in result.summary["sources"]] == ["r1", "r2", "r3"]
    assert "left_out" not in result.summary
    steps = [step for step, _ in bench.longform.revisions]
    assert sorted(steps[:3]) == ["fetch source r1", "read source r1", "read source r3"]
    assert steps[3] == "cache"


async def test_texts_take_no_step(bench: Bench) -> None:
    result = await run(bench, sources=[TEXT])
    assert bench.longform.revisions[0] == ("cache", 1)
    assert [source["title"] for source in result.summary["sources"]] == ["Wheels"]


async def test_a_source_that_is_not_required_is_left_out_and_told_of(bench: Bench) -> None:
    bench.longform.unreadable = {"r1": "It answered with status 404."}
    result = await run(bench, unread=[{**URL, "required": False}, UPLOAD])
    assert [source["id"] for source in result.summary["sources"]] == ["r3"]
    (left,) = result.summary["left_out"]
    assert (left["id"], left["code"], left["reason"]) == ("r1", "url_status", "It answered with status 404.")
    assert bench.longform.asked["read source r1"] == 0
    assert bench.longform.report is not None
    assert bench.longform.report.brief.left_out[0].id == "r1"


@pytest.mark.parametrize(
    ("step", "code"), [("fetch source r1", ErrorType.URL_STATUS), ("read source r3", ErrorType.FILE_REFUSED)]
)
async def test_a_required_source_fails_the_job_when_the_others_are_read(
    bench: Bench, step: str, code: ErrorType
) -> None:
    bench.longform.failures[step] = AtelierError(code, "No.", details={"step": step, "attempts": 1}, final=True)
    with pytest.raises(WorkflowFailureError):
        await run(bench, unread=[URL, UPLOAD, url(4)])
    assert bench.jobs.last is not None
    error = bench.jobs.last.error
    assert error is not None
    assert (bench.jobs.last.status, error.code, error.step) == (JobStatus.FAILED, code, step)
    assert bench.longform.asked["read source r4"] == 1
    assert bench.longform.asked["cache"] == 0


async def test_a_source_that_ends_its_workers_is_done_without(bench: Bench) -> None:
    bench.longform.failures["read source r3"] = AtelierError(ErrorType.ATTEMPTS_EXHAUSTED, "10 attempts ended.")
    result = await run(bench, unread=[{**UPLOAD, "required": False}])
    assert result.summary["left_out"][0]["code"] == "attempts_exhausted"


async def test_another_failure_at_a_source_fails_the_job(bench: Bench) -> None:
    bench.longform.failures["read source r3"] = AtelierError(ErrorType.INTERNAL, "A fault of ours.")
    with pytest.raises(WorkflowFailureError):
        await run(bench, unread=[{**UPLOAD, "required": False}])


async def test_a_few_are_read_at_once(bench: Bench) -> None:
    gates = [bench.longform.hold(f"fetch source r{n}") for n in range(1, PARALLEL_READS + 2)]
    handle = await start(bench.client, request(input={"unread": [url(n) for n in range(1, PARALLEL_READS + 2)]}))
    for reached, _ in gates[:-1]:
        await reached.wait()
    assert bench.longform.asked[f"fetch source r{PARALLEL_READS + 1}"] == 0
    for _, gate in gates:
        gate.set()
    result = JobResult.model_validate(await handle.result())
    assert len(result.summary["sources"]) == PARALLEL_READS + 1


async def test_an_answer_of_the_cache_tells_of_this_jobs_sources(bench: Bench) -> None:
    bench.longform.hit = JobResult(summary={"cached": True, "sources": [{"id": "r1"}, {"id": "r9"}]})
    result = await run(bench, unread=[UPLOAD])
    assert (result.summary["cached"], [source["id"] for source in result.summary["sources"]]) == (True, ["r3"])


async def test_a_cancel_reaches_a_fetch(bench: Bench) -> None:
    reached, _ = bench.longform.hold("fetch source r1")
    handle = await start(bench.client, request(input={"unread": [{**URL, "required": False}]}))
    await reached.wait()
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert bench.longform.cancelled == ["fetch source r1"]
    assert bench.jobs.last is not None
    assert bench.jobs.last.status is JobStatus.CANCELLED
