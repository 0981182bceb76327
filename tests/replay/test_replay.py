"""Recorded histories replay with the workers' own runner and interceptor, so that no deploy strands a job."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.replay.record import HISTORIES, SCENARIOS
from tests.replay.sessions import SESSIONS
from worker.interceptors import AtelierInterceptor
from worker.registry import WORKFLOWS
from worker.sandbox import runner

RECORDED = sorted(HISTORIES.glob("*.json"))


def replayer() -> Replayer:
    return Replayer(
        workflows=WORKFLOWS,
        workflow_runner=runner(),
        data_converter=pydantic_data_converter,
        interceptors=[AtelierInterceptor()],
    )


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"{path.stem.split('-')[0]}/job", path.read_text())


def test_every_scenario_is_recorded() -> None:
    assert {path.stem for path in RECORDED} >= {*SCENARIOS, *SESSIONS}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replayer().replay_workflow(history(path))


async def test_a_history_that_our_code_would_not_make_is_found_out() -> None:
    """The check itself can fail: another activity in the place of the first section's."""
    events = json.loads((HISTORIES / "longform-happy.json").read_text())
    drafts = [
        event["activityTaskScheduledEventAttributes"]
        for event in events["events"]
        if event.get("activityTaskScheduledEventAttributes", {}).get("activityType", {}).get("name")
        == "longform.draft_section"
    ]
    drafts[0]["activityType"]["name"] = "longform.another"
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("longform/job", events))
