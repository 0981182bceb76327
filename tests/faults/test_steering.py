"""Cancel, pause, resume, retry, and what an operator does with the `temporal` command."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef
from core.db.engine import Database
from tests.conftest import Namespace
from tests.faults.conftest import CALLS
from tests.support.audit import Audit
from tests.support.rows import one, rows
from tests.support.stack import Api, Stack, User, eventually
from tests.support.wire import WireProvider
from tests.support.wire_messages import drip, hang, overloaded, refusal, status

BOTH = pytest.mark.parametrize("providers", [("anthropic", "gemini")])
TEMPORAL = Path(sys.prefix) / "bin" / "temporal"


def operate(namespace: Namespace, *arguments: str) -> None:
    """Run the `temporal` command as an operator would."""
    command = [str(TEMPORAL), *arguments, "--address", namespace.address, "--namespace", namespace.name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("providers", [("anthropic",)])
async def test_cancel_closes_a_slow_stream_within_five_seconds(
    stack: Stack, user: User, wire: WireProvider, database: Database, audit: Audit
) -> None:
    wire.script(drip(0.5, pieces=200), prompt="Write section 2 of 3")
    stack.worker()
    job = await user.submit()
    request = await wire.received(lambda request: "Write section 2 of 3" in request.prompt)
    asked = time.monotonic()
    await user.act(job["id"], "cancel")
    await wire.disconnected(request, 5)
    assert time.monotonic() - asked < 5
    await user.until(job["id"], "cancelled", seconds=5)
    outcomes = await rows(database, "SELECT outcome FROM attempts WHERE step = 'section s2'")
    assert [row["outcome"] for row in outcomes] == ["cancelled"]
    await audit.check()


async def test_cancel_of_a_step_that_no_worker_takes(stack: Stack, user: User, audit: Audit) -> None:
    stack.worker("orchestration")
    job = await user.submit()
    await user.until(job["id"], "running")
    await user.act(job["id"], "cancel")
    await user.until(job["id"], "cancelled", seconds=5)
    await audit.check()


async def test_cancel_when_there_is_no_worker_at_all(
    stack: Stack, user: User, database: Database, audit: Audit
) -> None:
    api = stack.api(CANCEL_GRACE_SECONDS="1")
    job = await user.submit()
    await eventually(
        lambda: one(database, "SELECT dispatched_at FROM jobs"), lambda row: row["dispatched_at"] is not None
    )
    await user.act(job["id"], "cancel")
    await user.until(job["id"], "cancelled", seconds=15)
    assert api.process.popen.poll() is None
    await audit.check()


async def test_an_operator_terminates_a_workflow_and_the_owner_retries(
    stack: Stack, user: User, wire: WireProvider, namespace: Namespace, audit: Audit
) -> None:
    gate = threading.Event()
    wire.script(hang(gate), prompt="Write section 2 of 3")
    stack.worker()
    job = await user.submit()
    await wire.received(lambda request: "Write section 2 of 3" in request.prompt)
    operate(namespace, "workflow", "terminate", "--workflow-id", f"longform/{job['id']}", "--reason", "a test")
    failed = await user.until(job["id"], "failed", seconds=10)
    assert failed["error"]["code"] == "terminated"
    gate.set()
    await user.act(job["id"], "retry")
    done = await user.until(job["id"], "completed")
    assert done["run"] == 2
    assert len([request for request in wire.requests if "Write section 1 of 3" in request.prompt]) == 1
    await audit.check()


async def test_an_operator_cancels_a_workflow(
    stack: Stack, user: User, wire: WireProvider, namespace: Namespace, audit: Audit
) -> None:
    wire.script(hang(threading.Event()), prompt="Write section 2 of 3")
    stack.worker()
    job = await user.submit()
    await wire.received(lambda request: "Write section 2 of 3" in request.prompt)
    operate(namespace, "workflow", "cancel", "--workflow-id", f"longform/{job['id']}")
    await user.until(job["id"], "cancelled", seconds=10)
    await audit.check()


async def test_pause_lets_the_running_step_end_and_outlives_the_worker(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    gate = threading.Event()
    wire.script(hang(gate), prompt="Sections: 3")
    worker = stack.worker()
    job = await user.submit()
    await wire.received()
    paused = await user.act(job["id"], "pause")
    assert paused["paused"] is True
    gate.set()
    await user.until(job["id"], "paused")
    worker.kill()
    stack.worker()
    assert (await user.job(job["id"]))["status"] == "paused"
    assert len(wire.requests) == 1
    await audit.check()
    await user.act(job["id"], "resume")
    await user.until(job["id"], "completed")
    assert len(wire.requests) == CALLS
    await audit.check()


async def test_a_retry_after_a_failed_assembly_asks_and_pays_for_nothing_again(
    stack: Stack, user: User, wire: WireProvider, database: Database, audit: Audit
) -> None:
    stack.worker("orchestration,llm")
    job = await user.submit()
    done = "SELECT result::text AS result FROM steps WHERE step LIKE 'section %' OR step = 'transitions' ORDER BY step"
    sections = await eventually(lambda: rows(database, done), lambda found: len(found) == 4)
    store = ArtifactStore.open(stack.settings().artifacts)
    lost = ArtifactRef.model_validate(json.loads(sections[0]["result"])["text"])
    data = await store.get(lost)
    _file_of(stack, lost).unlink()
    stack.worker("render")
    failed = await user.until(job["id"], "failed")
    assert failed["error"]["code"] == "artifact_missing"
    assert failed["error"]["step"] == "assemble"
    paid = "SELECT * FROM attempts WHERE step <> 'evaluate'"
    asked, ledger = len(wire.requests), await rows(database, paid)
    await store.put(lost.owner_id, data, lost.media_type)
    await user.act(job["id"], "retry")
    await user.until(job["id"], "completed")
    # What comes behind the assembly is asked for the first time: the judge.
    assert len(wire.requests) == asked + 1 == CALLS
    assert await rows(database, paid) == ledger
    await audit.check()


def _file_of(stack: Stack, ref: ArtifactRef) -> Path:
    (path,) = Path(stack.settings().artifacts).rglob(ref.sha256)
    return path


@BOTH
async def test_the_second_model_answers_when_the_first_is_overloaded_or_declines(
    stack: Stack, user: User, wire: WireProvider, database: Database, audit: Audit
) -> None:
    wire.script(overloaded(), overloaded(), overloaded(), provider="anthropic", prompt="Write section 1 of 3")
    wire.script(refusal(), provider="anthropic", prompt="Write section 2 of 3")
    wire.script(status(429, retry_after="1"), provider="anthropic", prompt="Write section 3 of 3")
    stack.worker()
    job = await user.submit()
    await user.until(job["id"], "completed")
    asked = await rows(
        database, "SELECT step, model, outcome, error_type FROM attempts WHERE step LIKE 'section %' ORDER BY step, id"
    )
    claude, gemini = "anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"
    assert [tuple(row.values()) for row in asked] == [
        *[("section s1", claude, "failed", "overloaded")] * 3,
        ("section s1", gemini, "ok", None),
        ("section s2", claude, "failed", "model_refused"),
        ("section s2", gemini, "ok", None),
        ("section s3", claude, "failed", "rate_limited"),
        ("section s3", claude, "ok", None),
    ]
    await audit.check()


@BOTH
async def test_a_job_that_every_model_fails_names_the_step_and_goes_on_when_they_are_back(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    wire.script(*[status(401)] * 2, prompt="Write section 2 of 3")
    stack.worker()
    job = await user.submit()
    failed = await user.until(job["id"], "failed")
    assert (failed["error"]["code"], failed["error"]["step"]) == ("all_models_failed", "section s2")
    assert [model["code"] for model in failed["error"]["details"]["models"]] == ["model_auth", "model_auth"]
    asked = len(wire.requests)
    await user.act(job["id"], "retry")
    await user.until(job["id"], "completed")
    written = [request.prompt for request in wire.requests[asked:] if "Write section" in request.prompt]
    assert ["Write section 2 of 3" in prompt for prompt in written] == [True]
    # With the sentences between the sections and the judge, which were not reached before.
    assert len(wire.requests) == asked + 3
    await audit.check()


async def test_a_finished_job_cannot_be_steered(stack: Stack, user: User, api: Api, audit: Audit) -> None:
    stack.worker()
    job = await user.submit()
    before = await user.until(job["id"], "completed")
    for act in ("cancel", "pause", "resume", "retry"):
        refused = await user.http.post(f"/v1/jobs/{job['id']}/{act}")
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert await user.job(job["id"]) == before
    await audit.check()
