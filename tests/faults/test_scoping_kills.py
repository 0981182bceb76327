"""A whole session over REST while everything it runs on is killed: nothing asked twice, nothing lost, one charter."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
import pytest_asyncio

from core.db.engine import Database
from tests.faults.conftest import drop, hold_rows, hold_steps, until_held
from tests.support.ground import Ground
from tests.support.rows import rows
from tests.support.session_talk import ONCE, STAGES, Talk, answers_to, begin, is_step, times_asked
from tests.support.stack import User, eventually
from tests.support.traces import mentions
from tests.support.wire import WireProvider
from tests.support.wire_messages import hang
from tests.support.wire_scoping import scoping_composer

SESSION_ROW = "SELECT 1 FROM scoping_sessions FOR NO KEY UPDATE"
WANTS_SESSION_ROW = "FOR NO KEY UPDATE OF s"
"""What a worker waits with that stores what was said, or a state."""

Blows = Mapping[str, tuple[str, ...]]
"""Who is killed, by the moment: as the answer is `kept`; as its words are `judge`d, or that is `stored`; as the stage
is `close`d, or its `checkpoint` is stored."""

FEW: dict[int, Blows] = {
    1: {"judge": ("temporal",)},
    2: {"close": ("postgres",)},
    3: {"judge": ("worker",)},
    4: {"kept": ("api",)},
    5: {},
}
ALL: dict[int, Blows] = {
    1: {"kept": ("api", "worker"), "judge": ("temporal",), "close": ("postgres",)},
    2: {"kept": ("temporal", "api", "worker"), "judge": ("worker",), "close": ("postgres",)},
    3: {"kept": ("api",), "stored": ("worker",), "close": ("temporal", "postgres")},
    4: {"kept": ("api",), "judge": ("postgres", "temporal"), "checkpoint": ("worker",)},
    5: {"kept": ("api",), "judge": ("postgres",), "close": ("temporal", "worker")},
}


@pytest.fixture
def wire(wire: WireProvider) -> WireProvider:
    """Its models answer the prompts of a session."""
    wire.composer = scoping_composer
    return wire


class Scene:
    """A session, and all that runs for it."""

    def __init__(self, ground: Ground, wire: WireProvider, database: Database) -> None:
        self.ground = ground
        self.wire = wire
        self.database = database
        self.worker = ground.stack.worker()
        self.api = ground.stack.api()
        self.talk: Talk
        self.gates: dict[str, threading.Event] = {}
        self.again: Counter[str] = Counter()
        """What is asked again, as whoever had asked was killed before the answer was stored."""

    def user(self) -> User:
        """The user, of the API process that runs now."""
        return User(self.api, self.ground.account.token)

    async def kill(self, victim: str) -> None:
        """SIGKILL."""
        if victim in ("temporal", "postgres"):
            await asyncio.to_thread(getattr(self.ground, victim).kill)
        else:
            (self.worker if victim == "worker" else self.api.process).kill()

    async def start(self, victim: str) -> None:
        """Start it again, or another in its place."""
        if victim in ("temporal", "postgres"):
            await asyncio.to_thread(getattr(self.ground, victim).start)
        elif victim == "worker":
            self.worker = await asyncio.to_thread(self.ground.stack.worker, wait=False)
        else:
            self.api = await asyncio.to_thread(self.ground.stack.api)
            await self.talk.user.__aexit__()
            self.talk.user = self.user()

    async def strike(self, step: str, victims: tuple[str, ...]) -> None:
        """Kill them while a model is asked; it answers while they are away."""
        gate = self.gates.pop(step)
        await self.wire.received(is_step(step), 60)
        for victim in victims:
            await self.kill(victim)
        gate.set()
        if "worker" in victims:
            self.again[step] += 1
        else:
            await asyncio.to_thread(
                self.wire.wait_until, lambda: all(one.finished is not None for one in self.wire.requests)
            )
        for victim in victims:
            await self.start(victim)

    def hold(self, *steps: str) -> None:
        """Have models be silent at these steps, once, until something happens."""
        self.gates = {step: threading.Event() for step in steps}
        for step, gate in self.gates.items():
            self.wire.script(hang(gate), where=is_step(step))

    async def worker_dies(self, waiting: list[int]) -> None:
        """Kill it, with what Postgres would still do for it."""
        await self.kill("worker")
        await drop(self.database, waiting)

    async def die_storing_what_comes_of(self, step: str) -> None:
        """Kill the worker when a model has answered, and that is stored, and the state after it is not."""
        await self.wire.received(is_step(step), 60)
        async with hold_rows(self.database, SESSION_ROW):
            self.gates[step].set()
            await self.worker_dies(await until_held(self.database, 1, WANTS_SESSION_ROW))
        await self.start("worker")

    async def answer(self, stage: int, blows: tuple[str, ...]) -> None:
        """Answer a stage. Who is not told that it was taken says it again, with the same key."""
        body, key = {"answers": answers_to(stage)}, f"stage-{stage}"
        if blows:
            async with hold_rows(self.database, SESSION_ROW):
                sending = asyncio.create_task(self.talk.send(f"stages/{stage}/answers", body, key))
                waiting = await until_held(self.database, 1, WANTS_SESSION_ROW)
                await self.kill("api")
                with pytest.raises(httpx.HTTPError):
                    await sending
                if "temporal" in blows:
                    await self.kill("temporal")
                elif "worker" in blows:
                    await self.worker_dies(waiting)
            if "temporal" in blows:
                # It has stored what was said, and can tell nobody.
                taken = "SELECT 1 FROM scoping_entries WHERE seq IS NOT NULL"
                await eventually(lambda: rows(self.database, taken), lambda found: len(found) == stage)
                await self.kill("worker")
            for victim in blows:
                await self.start(victim)
        answer = await eventually(
            lambda: self.talk.send(f"stages/{stage}/answers", body, key), lambda answer: answer.status_code != 503, 40
        )
        assert answer.status_code == 202, answer.text

    async def stage(self, stage: int, blows: Blows) -> None:
        """Answer a stage, and have it closed."""
        judge, close = f"judge stage {stage}", f"close stage {stage}"
        self.hold(
            *([judge] if blows.keys() & {"judge", "stored"} else []),
            *([close] if blows.keys() & {"close", "checkpoint"} else []),
            *(["check", "section plan"] if stage == STAGES[-1] and "close" in blows else []),
        )
        await self.talk.asks(stage)
        await self.answer(stage, blows.get("kept", ()))
        if "judge" in blows:
            await self.strike(judge, blows["judge"])
        if "stored" in blows:
            await self.wire.received(is_step(judge), 60)
            async with hold_steps(self.database, (self.talk.id, judge)):
                self.gates[judge].set()
                await self.worker_dies(await until_held(self.database, 1))
            self.again[judge] += 1
            await self.start("worker")
        if "close" in blows:
            await self.strike(close, blows["close"])
        if "checkpoint" in blows:
            await self.die_storing_what_comes_of(close)


@pytest_asyncio.fixture
async def scene(ground: Ground, wire: WireProvider) -> AsyncIterator[Scene]:
    """A session that has begun."""
    database = ground.database()
    scene = Scene(ground, wire, database)
    scene.talk = await begin(scene.user())
    try:
        yield scene
    finally:
        await scene.talk.user.__aexit__()
        await database.close()


@pytest.mark.parametrize("blows", [FEW, pytest.param(ALL, marks=pytest.mark.faults)], ids=["few", "all"])
async def test_a_whole_session_while_everything_is_killed(
    scene: Scene, ground: Ground, wire: WireProvider, blows: dict[int, Blows]
) -> None:
    talk, database = scene.talk, scene.database
    for stage in STAGES:
        await scene.stage(stage, blows[stage])
        if blows is ALL and stage == STAGES[-1]:
            await scene.strike("check", ("postgres", "worker"))
            await scene.strike("section plan", ("temporal", "api", "worker"))
    done = await talk.completed()
    await _nothing_was_asked_twice(scene)
    assert await talk.entries() == [(stage, "answer_stage", stage) for stage in STAGES]
    told = await talk.transcript()
    assert [one["body"]["answers"] for one in told["entries"]] == [answers_to(stage) for stage in STAGES]
    assert [(one["stage"], one["number"]) for one in told["checkpoints"]] == [(stage, 1) for stage in STAGES]
    charter = (await talk.charter())["charter"]
    said = {id: [text] for stage in STAGES for id, text in answers_to(stage).items()}
    assert {one["question"]: one["said"] for one in charter["answers"]} == said
    assert len((await talk.user.get(f"sessions/{talk.id}/charter/versions"))["items"]) == 1
    assert len(done["charter"]["outputs"]) == 3
    await ground.audit(database, wire)
    assert (await talk.user.http.delete(f"/v1/sessions/{talk.id}")).status_code == 204
    assert await mentions(database, "night shift") == {}
    assert set(await mentions(database, talk.id)) <= {"audit", "attempts"}


async def _nothing_was_asked_twice(scene: Scene) -> None:
    """But for what was under way when its worker died: of the sections, as many as that."""
    lost = await rows(
        scene.database, "SELECT step, count(*) AS n FROM attempts WHERE outcome = 'unknown' GROUP BY step"
    )
    unknown = Counter({row["step"]: row["n"] for row in lost})
    asked = times_asked(scene.wire.requests)
    sections = {step for step in ONCE if step.startswith("section")}
    assert all(1 <= asked[step] <= 1 + unknown[step] for step in sections), (asked, unknown)
    for step in sections:
        del asked[step], unknown[step], scene.again[step]
    assert unknown == scene.again
    assert asked == Counter(step for step in ONCE if step not in sections) + scene.again


@pytest.mark.faults
async def test_follow_ups_and_contradictions_are_asked_once_whoever_dies(
    scene: Scene, ground: Ground, wire: WireProvider
) -> None:
    talk, database = scene.talk, scene.database
    scene.hold("judge stage 1", "check")
    await talk.asks(1)
    vague = {**answers_to(1), "problem_now": "The mail is a disputed matter, somehow", "why_now": "It is late, somehow"}
    await talk.say("stages/1/answers", {"answers": vague})
    await scene.die_storing_what_comes_of("judge stage 1")
    view = await talk.asks(1)
    asked = {one["id"]: one["follow_up"] for one in view["asked"]["questions"]}
    assert asked == dict.fromkeys(("problem_now", "why_now"), "What exactly do you mean, asked for the 1. time?")
    assert await talk.entries() == [(1, "answer_stage", 1), (1, "follow_ups", 1)]
    clear = "By that we mean the letters that wait for more than a day in the hall."
    await talk.say("stages/1/follow-ups", {"answers": dict.fromkeys(asked, clear)})
    for stage in STAGES[1:]:
        await talk.asks(stage)
        answers = answers_to(stage)
        if stage == 2:
            answers["who_gains"] += " That is a disputed matter too."
        await talk.say(f"stages/{stage}/answers", {"answers": answers})
    await scene.strike("check", ("temporal", "worker"))
    view = await talk.until(lambda view: bool(view["contradictions"]))
    (contradiction,) = view["contradictions"]
    assert (contradiction["first"], contradiction["second"]) == ("problem_now", "who_gains")
    # It is settled while nobody works; who is not told of it says it again.
    await scene.kill("worker")
    word = {"holds": "second", "text": "The other one was a guess."}
    sending = asyncio.create_task(talk.send(f"contradictions/{contradiction['id']}", word, "mine"))
    offered = "SELECT 1 FROM scoping_entries WHERE seq IS NULL"
    await eventually(lambda: rows(database, offered), lambda found: len(found) == 1)
    await scene.kill("api")
    with pytest.raises(httpx.HTTPError):
        await sending
    await scene.start("api")
    await scene.start("worker")
    answer = await eventually(
        lambda: talk.send(f"contradictions/{contradiction['id']}", word, "mine"), lambda told: told.status_code != 503
    )
    assert answer.status_code == 202, answer.text
    await talk.completed()
    told = [(kind, stage) for _, kind, stage in await talk.entries()]
    assert told == [
        ("answer_stage", 1), ("follow_ups", 1), ("answer_follow_up", 1), *(("answer_stage", n) for n in STAGES[1:]),
        ("resolve_contradiction", None),
    ]  # fmt: skip
    asked_for = times_asked(wire.requests)
    twice = {"judge stage 1", "close stage 1", "close stage 2"}
    assert asked_for == ONCE + Counter(twice) + Counter({"check": 2})
    checkpoints = (await talk.transcript())["checkpoints"]
    assert Counter(one["stage"] for one in checkpoints) == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1}
    await ground.audit(database, wire)


async def test_what_is_said_while_a_server_is_away(scene: Scene, ground: Ground, wire: WireProvider) -> None:
    """It is refused with its reason and leaves nothing half; the same word again is taken once."""
    talk, database = scene.talk, scene.database
    before = await talk.asks(1)
    body = {"answers": answers_to(1)}
    await scene.kill("postgres")
    away = await talk.send("stages/1/answers", body, "mine")
    assert (away.status_code, away.json()["code"]) == (503, "database_unavailable")
    await scene.start("postgres")
    assert await rows(database, "SELECT 1 FROM scoping_entries") == []
    await scene.kill("temporal")
    away = await talk.send("stages/1/answers", body, "mine")
    assert (away.status_code, away.json()["code"]) == (503, "temporal_unavailable")
    assert "Idempotency-Key" in away.json()["detail"]
    now = await talk.view()
    assert {name: now[name] for name in ("asked", "stages", "phase")} == {
        name: before[name] for name in ("asked", "stages", "phase")
    }
    assert await talk.entries() == [], "nobody has taken it"
    other = {"answers": {**answers_to(1), "why_now": "Because the contract ends in May, and nobody renews it."}}
    mismatch = await talk.send("stages/1/answers", other, "mine")
    assert (mismatch.status_code, mismatch.json()["code"]) == (409, "idempotency_mismatch")
    await scene.start("temporal")
    for _ in range(2):
        taken = await eventually(
            lambda: talk.send("stages/1/answers", body, "mine"), lambda answer: answer.status_code != 503
        )
        assert taken.status_code == 202
    await talk.asks(2)
    assert await talk.entries() == [(1, "answer_stage", 1)]
    assert len(await rows(database, "SELECT 1 FROM scoping_entries")) == 1
    await talk.user.act(talk.id, "cancel")
    await talk.user.until(talk.id, "cancelled")
    await ground.audit(database, wire)
