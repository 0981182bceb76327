"""The scenarios of `scoping` that `record.py` records."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateStage

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping import ActKind, AnswerStage
from tests.support.scripted import start
from tests.support.scripted_scoping import ScriptedScoping, Sponsor, session
from tests.support.scripted_steps import ScriptedJobs

Handle = WorkflowHandle[Any, Any]
SessionScenario = Callable[[Client, ScriptedJobs, ScriptedScoping], Awaitable[Handle]]
ALL = (1, 2, 3, 4, 5)


async def unhurried(jobs: ScriptedJobs, sponsor: Sponsor, *stages: int) -> None:
    """Answer each stage when the job's row says that it waits, as people do."""
    for stage in stages:
        await jobs.until_waiting("scoping_stage", stage=stage)
        await sponsor.answer(stage)


async def straight(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Five clear stages, and the charter."""
    handle = await start(client, session())
    await unhurried(jobs, Sponsor(client, scoping), *ALL)
    return handle


async def hurried(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Each answer comes before the job's row says that it waits; the first before the session is open."""
    reached, gate = scoping.hold("open session")
    handle = await start(client, session())
    await reached.wait()
    early = await handle.start_update(
        ActKind.ANSWER_STAGE.value,
        AnswerStage(entry_id="early", stage=1, questions=("q1a", "q1b")),
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
    )
    gate.set()
    await early.result()
    await Sponsor(client, scoping).through(2, 3, 4, 5)
    return handle


async def follow_ups(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """One answer of stage 1 stays vague after two follow-ups; one of stage 2 is clear after the first."""
    scoping.vague |= {"q1a": 3, "q2b": 1}
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await unhurried(jobs, sponsor, 1)
    for stage, question in ((1, "q1a"), (1, "q1a"), (2, "q2b")):
        if stage == 2:
            await unhurried(jobs, sponsor, 2)
        await scoping.until_following_up(question)
        await sponsor.follow_up(stage, question)
    await unhurried(jobs, sponsor, 3, 4, 5)
    return handle


async def skip(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """A question is skipped, then a whole stage, then a follow-up."""
    scoping.vague["q3a"] = 1
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await jobs.until_waiting("scoping_stage", stage=1)
    await sponsor.skip(1, "q1a")
    await sponsor.answer(1, "q1b")
    await jobs.until_waiting("scoping_stage", stage=2)
    await sponsor.skip(2, "q2a")
    await sponsor.skip(2, "q2b")
    await unhurried(jobs, sponsor, 3)
    await jobs.until_waiting("scoping_stage", follow_ups=["q3a"])
    await sponsor.skip(3, "q3a")
    await unhurried(jobs, sponsor, 4, 5)
    return handle


async def reopen(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Stage 2 is reopened while stage 4 is asked, one question of it; then all of stage 1."""
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await unhurried(jobs, sponsor, 1, 2, 3)
    await jobs.until_waiting("scoping_stage", stage=4)
    await sponsor.reopen(2, "q2a")
    await jobs.until_waiting("scoping_stage", stage=2)
    await sponsor.answer(2, "q2a")
    await jobs.until_waiting("scoping_stage", stage=3)
    await sponsor.reopen(1)
    await unhurried(jobs, sponsor, 1)
    for stage in (2, 3):
        await jobs.until_waiting("scoping_stage", stage=stage)
        await sponsor.answer(stage, f"q{stage}a")
    await unhurried(jobs, sponsor, 4, 5)
    return handle


async def contradiction(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Two pairs of answers do not fit; one is resolved, then the other."""
    scoping.found = [("q1a", "q3b"), ("q2b", "q5a")]
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await unhurried(jobs, sponsor, *ALL)
    asked = await jobs.until_waiting("scoping_contradictions")
    for one in asked["contradictions"]:
        await sponsor.resolve(one)
    return handle


async def finished(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Nothing more is to be asked after stage 2; what does not fit is an open risk."""
    scoping.found = [("q1a", "q2b")]
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await unhurried(jobs, sponsor, 1, 2)
    await jobs.until_waiting("scoping_stage", stage=3)
    await sponsor.finish()
    return handle


async def expired(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Nobody answers stage 2, not after the reminder either."""
    request = session(review_seconds=3).model_copy(update={"remind_seconds": 2})
    handle = await start(client, request)
    await unhurried(jobs, Sponsor(client, scoping), 1)
    return handle


async def revived(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """The second run of a session that expired."""
    with contextlib.suppress(WorkflowFailureError):
        await (await expired(client, jobs, scoping)).result()
    jobs.waiting_for.clear()
    handle = await start(client, session(run=2))
    await unhurried(jobs, Sponsor(client, scoping), 2, 3, 4, 5)
    return handle


async def continued_after(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """The last workflow of a session that continued as new after stages 2 and 4."""
    handle = await start(client, session(acts_a_run=2))
    await unhurried(jobs, Sponsor(client, scoping), *ALL)
    return handle


async def continued(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """The first workflow of such a session."""
    handle = await continued_after(client, jobs, scoping)
    await handle.result()
    return client.get_workflow_handle(handle.id, run_id=jobs.begun_by[0].workflow_run_id)


async def models_away(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Every model fails at stage 1, twice; later at two sections that are written side by side."""
    away = AtelierError(ErrorType.MODEL_REFUSED, "It declines.", details={"attempts": 1})
    scoping.failures["judge stage 1"] = away
    handle = await start(client, session())
    sponsor = Sponsor(client, scoping)
    await unhurried(jobs, sponsor, 1)
    await scoping.until_trouble(2)
    scoping.failures = {"section value": away, "section plan": away}
    await unhurried(jobs, sponsor, 2, 3, 4, 5)
    await scoping.until_trouble()
    scoping.failures.clear()
    return handle


async def cancelled(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """Cancelled while answers are judged."""
    reached, _ = scoping.hold("judge stage 2")
    handle = await start(client, session())
    await unhurried(jobs, Sponsor(client, scoping), 1, 2)
    await reached.wait()
    await handle.cancel()
    return handle


async def next_version(client: Client, jobs: ScriptedJobs, scoping: ScriptedScoping) -> Handle:
    """A session that goes on from another's charter: stage 2 is asked again, and what rests on it."""
    await (await straight(client, jobs, scoping)).result()
    base = {"job_id": "job", "document_id": "job", "version": 1, "stage": 2, "questions": ["q2b"]}
    scoping.base = dict(scoping.kept[0].sections)
    jobs.waiting_for.clear()
    handle = await start(client, session("child", base=base))
    await jobs.until_waiting("scoping_stage", stage=2)
    await Sponsor(client, scoping, "child").answer(2, "q2b")
    return handle


SESSIONS: dict[str, SessionScenario] = {
    "scoping-straight": straight,
    "scoping-hurried": hurried,
    "scoping-follow-ups": follow_ups,
    "scoping-skip": skip,
    "scoping-reopen": reopen,
    "scoping-contradiction": contradiction,
    "scoping-finished": finished,
    "scoping-expired": expired,
    "scoping-revived": revived,
    "scoping-continued": continued,
    "scoping-continued-after": continued_after,
    "scoping-models-away": models_away,
    "scoping-cancelled": cancelled,
    "scoping-next-version": next_version,
}
