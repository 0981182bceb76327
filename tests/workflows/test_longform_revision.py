"""Child jobs: a section written anew, a section edited, a version restored."""

import pytest
from temporalio.client import WorkflowFailureError

from core.contracts.documents import Reason
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobResult
from tests.support.scripted import REF, revision, start
from tests.workflows.conftest import Bench

HAIKU = "anthropic:claude-haiku-4-5"


async def test_a_section_is_written_anew_with_the_sentence_that_leads_into_it(bench: Bench) -> None:
    handle = await start(bench.client, revision(instructions="Shorter."))
    result = JobResult.model_validate(await handle.result())
    assert (result.summary["document_id"], result.summary["version"]) == ("job", 2)
    assert bench.longform.asked[f"section s2 {HAIKU}"] == 1
    assert bench.longform.asked[f"transitions {HAIKU}"] == 1
    assert not any(step in ("section s1", "section s3") for step, _ in bench.longform.revisions)
    kept = bench.longform.kept[0]
    assert (kept.parent, kept.reason, kept.section_id, kept.instructions) == (1, Reason.REGENERATED, "s2", "Shorter.")
    progress = await handle.query("progress")
    assert (progress["percentage"], progress["total_steps"]) == (100.0, 9)


async def test_the_first_section_has_no_sentence_that_leads_into_it(bench: Bench) -> None:
    handle = await start(bench.client, revision(section_id="s1"))
    await handle.result()
    assert f"transitions {HAIKU}" not in bench.longform.asked
    assert (await handle.query("progress"))["total_steps"] == 8


async def test_an_edit_asks_no_model(bench: Bench) -> None:
    handle = await start(bench.client, revision(act="edit_section", text=REF))
    await handle.result()
    assert not any(HAIKU in asked for asked in bench.longform.asked)
    assert bench.longform.kept[0].reason is Reason.EDITED
    assert (await handle.query("progress"))["total_steps"] == 7


async def test_a_version_is_restored_as_a_new_one(bench: Bench) -> None:
    handle = await start(bench.client, revision(act="restore_version", section_id=None, base=3, restore=1))
    result = JobResult.model_validate(await handle.result())
    kept = bench.longform.kept[0]
    assert (kept.parent, kept.restored_from, kept.reason) == (3, 1, Reason.RESTORED)
    assert result.summary["version"] == 4
    assert not {"assemble", f"section s2 {HAIKU}"} & set(bench.longform.asked)


async def test_a_version_that_is_gone_fails_the_job(bench: Bench) -> None:
    bench.longform.failures["open version"] = AtelierError(ErrorType.NOT_FOUND, "Version 1 is gone.")
    with pytest.raises(WorkflowFailureError):
        await (await start(bench.client, revision())).result()
    assert bench.jobs.last is not None
    assert bench.jobs.last.error is not None
    assert bench.jobs.last.error.code is ErrorType.NOT_FOUND
