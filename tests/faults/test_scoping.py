"""Scoping sessions over REST: models that fail at every kind of step, two at once, expiry, a cancel, and the end."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from core.contracts.scoping_moves import asked_again
from core.db.engine import Database
from core.temporal import connect
from tests.faults.conftest import Holding, until_held
from tests.faults.test_outline_review import token_of
from tests.support.audit import Audit
from tests.support.rows import rows
from tests.support.scoping_walk import PLAN
from tests.support.session_talk import SECTIONS, Talk, answers_to, begin, is_step, said_of, step_of, times_asked
from tests.support.stack import Stack, User, eventually
from tests.support.traces import files_with, mentions
from tests.support.wire import WireProvider
from tests.support.wire_messages import Answer, hang, malformed, misses_schema, refusal, stalled
from tests.support.wire_scoping import scoping_composer

FAILURES: dict[str, Answer] = {
    "garbage": malformed(),
    "another form": misses_schema(),
    "refusals": refusal(),
    "timeouts": stalled(30, after=0),
}
FAILING = {"MODEL_FIRST_TOKEN_SECONDS": "0.4", "COOLDOWN_FAILURES": "1000"}
"""Of a worker whose models fail: it waits for none of them, and leaves none alone."""
IN_STAGE_1, LATER = ("judge stage 1", "close stage 1"), ("check", "section plan")
WORD = "zeugloxon"
"""Stands in all that was said, and nowhere else."""


@pytest.fixture
def wire(wire: WireProvider) -> WireProvider:
    """Its models answer the prompts of a session."""
    wire.composer = scoping_composer
    return wire


@pytest.mark.parametrize("providers", [("anthropic", "gemini")])
@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("refusals", (IN_STAGE_1[0], LATER[1])),
        *(pytest.param(kind, (*IN_STAGE_1, *LATER), marks=pytest.mark.faults) for kind in FAILURES),
    ],
)
async def test_every_model_fails_and_the_session_goes_on_when_they_are_back(
    stack: Stack,
    user: User,
    database: Database,
    wire: WireProvider,
    holding: Holding,
    audit: Audit,
    kind: str,
    steps: tuple[str, ...],
) -> None:
    failing = set(steps)
    wire.script(*[FAILURES[kind]] * 300, where=lambda request: step_of(request) in failing)
    stack.env |= FAILING
    stack.worker()
    talk = await begin(user)
    await talk.asks(1)
    await talk.answer(1)
    for step in [step for step in steps if step in IN_STAGE_1]:
        view = await _says_why(talk, step)
        assert (view["stage"], view["stages"][0]["status"], view["stages"][0]["closed"]) == (1, "open", 0)
        failing.remove(step)
    view = await talk.asks(2)
    assert view["trouble"] is None
    await talk.say("finish")
    for step in [step for step in steps if step in LATER]:
        await _says_why(talk, step)
        async with holding((talk.id, "assemble")):
            failing.remove(step)
            if not failing:
                await until_held(database, 1)
                assert (await talk.view())["trouble"] is None, "the sections are written, and nothing is wrong any more"
    done = await talk.completed()
    assert (done["trouble"], done["phase"], done["charter"]["version"]) == (None, "done", 1)
    failed = [request for request in wire.requests if step_of(request) in steps]
    assert {request.provider for request in failed} == {"anthropic", "google"}
    assert [kind for _, kind, _ in await talk.entries()] == ["answer_stage", "finish"]
    stored = await rows(database, "SELECT step FROM steps")
    assert len(stored) == len({row["step"] for row in stored}), "each step is stored once, however often it was tried"
    await _has_all_answers(talk, 1)
    await audit.check()


async def _says_why(talk: Talk, step: str) -> dict[str, Any]:
    """The session, while every model fails at a step: it stays, and takes nothing that it cannot have judged."""
    view = await talk.troubled(step)
    assert view["trouble"]["code"] == "all_models_failed"
    assert "claude" in view["trouble"]["message"]
    assert "gemini" in view["trouble"]["message"]
    assert (view["status"], view["asked"]) == ("running", None)
    before = await talk.transcript()
    refused = await talk.send("finish")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert "tries again at" in refused.json()["detail"]
    assert await talk.transcript() == before
    stage = await talk.user.get(f"sessions/{talk.id}/stages/1")
    assert {question["id"]: question["said"] for question in stage["questions"]} == {
        id: [text] for id, text in answers_to(1).items()
    }
    return view


async def _has_all_answers(talk: Talk, *stages: int) -> None:
    charter = (await talk.charter())["charter"]
    said = {one["question"]: one["said"] for one in charter["answers"]}
    assert {id: [text] for stage in stages for id, text in answers_to(stage).items()}.items() <= said.items()


async def test_two_sessions_of_one_user_in_two_processes(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    gate = threading.Event()
    async with User(stack.api(), token_of(user)) as other:
        talks = [await begin(user, name="Mail"), await begin(other, name="Calls")]
        for talk in talks:
            await talk.asks(1)
        wire.script(hang(gate), where=is_step("judge stage 1"))
        body = {"answers": answers_to(1)}
        answers = await asyncio.gather(*(talk.send("stages/1/answers", body) for talk in talks))
        assert sorted(answer.status_code for answer in answers) == [202, 429]
        first, second = sorted(talks, key=lambda talk: answers[talks.index(talk)].status_code)
        await wire.received()
        for refused in (answers[talks.index(second)], await second.send("stages/1/answers", body)):
            told = refused.json()
            assert (told["code"], told["details"]) == ("stage_running", {"session_id": first.id})
            assert int(refused.headers["retry-after"]) >= 1
        assert await second.entries() == []
        assert (await second.view())["asked"] is not None
        busy = await Talk(second.user, first.id).send("stages/1/answers", body)
        assert (busy.status_code, busy.json()["code"]) == (409, "invalid_state")
        gate.set()
        await first.asks(2)
        await second.answer(1)
        await second.asks(2)
        # Two answers to one stage at once, through both processes.
        body = {"answers": answers_to(2)}
        same = [Talk(who, first.id) for who in (user, other)]
        answers = await asyncio.gather(*(talk.send("stages/2/answers", body) for talk in same))
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        assert next(a for a in answers if a.status_code == 409).json()["code"] == "invalid_state"
        await first.asks(3)
        assert await first.entries() == [(1, "answer_stage", 1), (2, "answer_stage", 2)]
        for talk in talks:
            await talk.say("finish")
            await talk.completed()
    assert times_asked(wire.requests)["judge stage 1"] == 2
    await audit.check()


async def test_expired_and_revived_it_goes_on_where_it_stood(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    stack.processes[0].kill()
    async with User(stack.api(REVIEW_EXPIRY_DAYS="0.00006"), token_of(user)) as hasty:
        stack.worker()
        talk = await begin(hasty)
        await talk.asks(1)
        await talk.answer(1)
        asked = await talk.asks(2)
        job = await hasty.until(talk.id, "failed")
        assert job["error"]["code"] == "review_expired"
        late = await talk.send("stages/2/answers", {"answers": answers_to(2)})
        assert (late.status_code, late.json()["code"]) == (409, "invalid_state")
        assert "expired" in late.json()["detail"]
        kept = await talk.transcript()
    told = [row["type"] for row in await rows(database, "SELECT type FROM events ORDER BY seq")]
    assert told.count("job.reminder") >= 1
    assert told[-2:] == ["job.reminder", "job.failed"]
    stack.processes[-2].kill()
    async with User(stack.api(), token_of(user)) as later:
        talk.user = later
        assert await talk.transcript() == kept
        await later.act(talk.id, "retry")
        revived = await talk.asks(2)
        assert revived["asked"] == asked["asked"]
        await talk.say("finish")
        done = await talk.completed()
        assert done["charter"]["version"] == 1
        await _has_all_answers(talk, 1)
    asked_for = times_asked(wire.requests)
    assert set(asked_for.values()) == {1}, asked_for
    await audit.check()


async def test_cancelled_while_its_answers_are_judged(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    wire.script(hang(threading.Event()), where=is_step("judge stage 1"))
    talk, other = await begin(user), await begin(user, name="Calls")
    await talk.asks(1)
    await other.asks(1)
    await talk.answer(1)
    request = await wire.received()
    await user.act(talk.id, "cancel")
    await user.until(talk.id, "cancelled", seconds=10)
    await wire.disconnected(request)
    entries = (await talk.transcript())["entries"]
    assert [one["body"] for one in entries] == [{"answers": answers_to(1)}], "what was said stays"
    refused = await talk.send("stages/1/answers", {"answers": answers_to(1)})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    # Its turn is over with it.
    await other.answer(1)
    await other.asks(2)
    await user.act(other.id, "cancel")
    await user.until(other.id, "cancelled", seconds=10)
    await audit.check()


async def test_a_stage_reopened_after_the_charter_and_all_of_it_deleted(
    stack: Stack, user: User, database: Database, wire: WireProvider, audit: Audit
) -> None:
    stack.worker()
    talk = await begin(user, name=f"The {WORD} desk")
    await talk.asks(1)
    answers = {id: f"{text} It is the {WORD}'s." for id, text in answers_to(1).items()}
    await talk.say("stages/1/answers", {"answers": answers})
    await talk.asks(2)
    await talk.answer(2)
    await talk.asks(3)
    await talk.say("finish")
    await talk.completed()
    first = (await talk.charter())["charter"]
    begun = await talk.say("stages/2/reopen", {"questions": ["success_target"], "because": "There is a new target."})
    child = Talk(user, begun["id"])
    assert child.id != talk.id
    view = await child.asks(2)
    assert [question["id"] for question in view["asked"]["questions"]] == ["success_target"]
    again = await talk.send("stages/3/reopen")
    assert (again.status_code, again.json()["details"]) == (409, {"session_id": child.id})
    await child.say("stages/2/answers", {"answers": {"success_target": f"By May {said_of('another target')}"}})
    await child.until(lambda view: view["asked"] is not None and view["asked"]["stage"] > 2)
    await child.say("finish")
    assert (await child.completed())["charter"]["version"] == 2
    second = (await child.charter())["charter"]
    _check_unchanged(first, second, *asked_again(PLAN, 2, ("success_target",)))
    written = times_asked(wire.requests)
    # It rests on stages 2, 4 and 5: what was written of stages 1 and 3 alone stays byte for byte.
    assert {name for name in SECTIONS if written[f"section {name}"] == 1} == {"problem", "data"}
    await audit.check()
    client = await connect(stack.temporal_address, stack.namespace)
    assert (await user.http.delete(f"/v1/sessions/{talk.id}")).status_code == 204
    assert (await child.charter())["charter"] == second, "it rests on nothing of the first session's"
    assert (await user.http.delete(f"/v1/sessions/{child.id}")).status_code == 204
    assert await mentions(database, WORD, "night shift") == {}
    assert set(await mentions(database, talk.id, child.id)) <= {"audit", "attempts"}
    for id in (talk.id, child.id):
        await eventually(lambda id=id: _is_forgotten(client, id), bool)  # type: ignore[misc]
    await audit.check()
    assert files_with(Path(stack.settings().artifacts), WORD, "night shift") == []


def _check_unchanged(first: dict[str, Any], second: dict[str, Any], own: frozenset[str], stale: frozenset[str]) -> None:
    """What does not rest on what was asked again is as it was."""
    before, after = ({one["id"]: one for one in charter["sections"]} for charter in (first, second))
    assert list(after) == list(SECTIONS)
    assert all(after[id] == before[id] for id in ("problem", "data"))
    of_first, of_second = (
        {one["id"]: one for stage in charter["findings"] for one in stage["findings"]} for charter in (first, second)
    )
    touched = {question.finding for question in PLAN.questions if question.id in own | stale}
    changed = {id for id, finding in of_second.items() if finding != of_first[id]}
    assert changed <= touched
    assert "target" in changed


async def _is_forgotten(client: Client, id: str) -> bool:
    try:
        await client.get_workflow_handle(f"scoping/{id}").describe()
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return False
