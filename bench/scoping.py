"""`scoping` at ten requests a second: how long its users wait, also beside 500 sessions that wait for theirs."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import httpx

from api.paging import id_cursor
from bench import memory
from bench.figures import Figure, Target, median, percentile
from bench.load import Measured, Plan, Sent
from bench.machine import Machine, machine
from bench.memory import Memory
from cli.demo_scoping import read_script
from core.contracts.base import Json
from core.contracts.scoping_questions import QUESTIONNAIRE
from core.db.repositories.owners import OwnerRepository
from tests.support.rows import rows
from tests.support.stack import Api, eventually

RATE = 10
SECONDS, READ_SECONDS, WARM_UP_SECONDS = 6.0, 4.0, 1.0
ROUND = round((SECONDS + WARM_UP_SECONDS) * RATE)
"""Requests of one load. An owner has one model at work at a time, so each is another owner's."""
WAITING = 500
ROUNDS, ROUND_SECONDS, ROUND_WARM_UP_SECONDS = 3, 3.0, 0.5
FEW = round((ROUND_SECONDS + ROUND_WARM_UP_SECONDS) * RATE)
"""Sessions that are answered in each round, another question each time."""
CREATIONS_AT_ONCE = 6
SETTLE_SECONDS = 60.0
REST_SECONDS = 5.0
"""After sessions were created in haste: what servers still do for that is not what is asked."""
PAGED, PAGE = 1_000, 50
IDLE_SECONDS = 3.0
CREATE_MS, PAGE_MS, ANSWER_MS = Target("under", 100), Target("under", 50), Target("under", 150)
TIMES = Target("at most", 1.5)

_SCRIPT = read_script(None)
_PROJECT = _SCRIPT.project.model_dump()
_ANSWERS: list[Json] = [
    {"answers": {question.id: _SCRIPT.answer(question.id).said}} for question in QUESTIONNAIRE.stage(1).questions
]
"""Each to one question. A model judges it, and the session waits for the next one."""

_SETTLED = """
SELECT count(*) AS waiting FROM jobs j JOIN scoping_sessions s ON s.job_id = j.id
WHERE j.status = 'waiting_for_input' AND NOT s.at_work
"""
_OLDEST = "SELECT job_id, owner_id FROM scoping_sessions ORDER BY job_id"
_ANSWERED = "SELECT job_id, owner_id FROM scoping_sessions WHERE seq > 0 AND owner_id <> $1"
# Sessions that have ended, so that nobody looks for their workflows, each with all that a real one holds.
_SEED_JOBS = """
INSERT INTO jobs (id, owner_id, pipeline, title, input, models, body_sha256, status, stage, simulated, event_seq,
                  workflow_run_id, claimed_at, dispatched_at, created_at, updated_at, started_at, finished_at)
SELECT uuidv7(-make_interval(secs => n)), $1, 'scoping', 'Project ' || n, one.input, one.models, repeat('0', 64),
       CASE WHEN n % 2 = 0 THEN 'failed' ELSE 'cancelled' END, 'stage 2', true, 20, gen_random_uuid()::text, at, at, at,
       at, at, at
FROM (SELECT n, now() - make_interval(secs => n) AS at FROM generate_series(1, $3) n) made, jobs one WHERE one.id = $2
"""
_SEED_SESSIONS = """
INSERT INTO scoping_sessions (job_id, owner_id, document_id, seq, state, brief, questionnaire, at_work, stage, phase)
SELECT j.id, j.owner_id, j.id, s.seq, s.state, s.brief, s.questionnaire, false, s.stage, s.phase
FROM jobs j, scoping_sessions s WHERE j.owner_id = $1 AND s.job_id = $2
"""


class Sponsor(NamedTuple):
    """Somebody with a session."""

    id: str
    token: str


async def run() -> list[Figure]:
    """Create, answer, read."""
    async with machine() as here:
        here.worker()
        api = here.api()
        sponsors = await _sponsors(here, ROUND)
        created = await here.load(api, _plan([_creation(sponsor) for sponsor in sponsors]))
        await _settled(here, ROUND)
        answered = await here.load(api, _plan(await _answers(here, sponsors)))
        await _settled(here, ROUND)
        return [
            _latency("Session created", created, 202, CREATE_MS, "its workflow is started and asks meanwhile"),
            _latency("Answer accepted", answered, 202, ANSWER_MS, "stored and taken; the simulator judges meanwhile"),
            *await _reads(here, api, sponsors),
        ]


async def waiting() -> list[Figure]:
    """Two machines side by side, and answers to each in turn: whatever else happens meets both alike."""
    async with machine() as here, machine() as there:
        few, many = await _room(here, FEW), await _room(there, WAITING)
        idle, full = few.idle, many.seen.look()
        alone: list[float] = []
        beside: list[float] = []
        for number in range(ROUNDS):
            for room, latencies in ((few, alone), (many, beside)):
                answers = (await _answers(room.here, room.sponsors, number))[:FEW]
                plan = Plan(answers, ROUND_SECONDS, RATE, warm_up=ROUND_WARM_UP_SECONDS)
                latencies += (await room.here.load(room.api, plan)).check(202).latencies
                await _settled(room.here, len(room.sponsors))
    found = [_times("median", 0.5, alone, beside), _times("p95", 0.95, alone, beside)]
    return found + memory.figures(idle, "idle") + memory.figures(full, f"{WAITING} sessions waiting")


class Room(NamedTuple):
    """A machine with sessions that wait."""

    here: Machine
    api: Api
    sponsors: list[Sponsor]
    seen: Memory
    idle: dict[str, float]


async def _room(here: Machine, count: int) -> Room:
    """A worker, an API, and so many sessions that wait for an answer, each of an owner of its own."""
    worker, api = here.worker(), here.api()
    seen = Memory(here, api=api.process, worker=worker)
    await asyncio.sleep(IDLE_SECONDS)
    idle = seen.look()
    sponsors = await _sponsors(here, count)
    await _fill(api, sponsors)
    await _settled(here, count)
    await asyncio.sleep(REST_SECONDS)
    return Room(here, api, sponsors, seen, idle)


async def _sponsors(here: Machine, count: int) -> list[Sponsor]:
    """Owners with a key each."""
    async with here.database.transaction() as connection:
        owners = OwnerRepository(connection)
        made = [await owners.create(f"Sponsor {number}") for number in range(count)]
        return [Sponsor(owner.id, await owners.create_key(owner.id, "bench")) for owner in made]


def _plan(requests: Sequence[Sent], seconds: float = SECONDS) -> Plan:
    return Plan(requests, seconds, RATE, warm_up=WARM_UP_SECONDS)


def _creation(sponsor: Sponsor) -> Sent:
    return Sent("POST", "/v1/sessions", _PROJECT, sponsor.token)


async def _answers(here: Machine, sponsors: Sequence[Sponsor], number: int = 0) -> list[Sent]:
    """Answers to one question of the first stage, the oldest sessions first."""
    tokens, body = dict(sponsors), _ANSWERS[number]
    return [
        Sent("POST", f"/v1/sessions/{one['job_id']}/stages/1/answers", body, tokens[str(one["owner_id"])])
        for one in await rows(here.database, _OLDEST)
    ]


async def _reads(here: Machine, api: Api, sponsors: Sequence[Sponsor]) -> list[Figure]:
    """Pages of one owner's many sessions, in turn the first and those far behind; and sessions that were answered."""
    connection = await here.connection()
    try:
        model = (await connection.fetch(_ANSWERED, here.owner_id))[0]["job_id"]
        await connection.execute(_SEED_JOBS, here.owner_id, model, PAGED)
        await connection.execute(_SEED_SESSIONS, here.owner_id, model)
        await connection.execute("VACUUM (ANALYZE)")
        listed = await connection.fetch("SELECT id FROM jobs WHERE owner_id = $1 ORDER BY id DESC", here.owner_id)
        answered = await connection.fetch(_ANSWERED, here.owner_id)
    finally:
        await connection.close()
    cursors = [id_cursor(str(one["id"])) for one in listed[PAGE - 1 : -PAGE : PAGE]]
    paths = [f"/v1/sessions?limit={PAGE}"] + [f"/v1/sessions?limit={PAGE}&cursor={cursor}" for cursor in cursors]
    pages = await here.load(api, _plan([Sent("GET", path) for path in paths], READ_SECONDS))
    tokens = dict(sponsors)
    singles = [Sent("GET", f"/v1/sessions/{one['job_id']}", token=tokens[str(one["owner_id"])]) for one in answered]
    single = await here.load(api, _plan(singles, READ_SECONDS))
    return [
        _latency(f"Page of {PAGE} sessions", pages, 200, PAGE_MS, f"of an owner with {PAGED:,}"),
        _latency("Session read", single, 200, None, "with what was said in it"),
    ]


async def _fill(api: Api, sponsors: Sequence[Sponsor]) -> None:
    """A session each."""
    left = iter(sponsors)
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:

        async def create() -> None:
            for sponsor in left:
                headers = {"Authorization": f"Bearer {sponsor.token}"}
                (await client.post("/v1/sessions", json=_PROJECT, headers=headers)).raise_for_status()

        await asyncio.gather(*(create() for _ in range(CREATIONS_AT_ONCE)))


async def _settled(here: Machine, count: int) -> None:
    """Wait until so many sessions wait for a person, and no model works."""

    async def waiting() -> int:
        return int((await rows(here.database, _SETTLED))[0]["waiting"])

    await eventually(waiting, lambda found: found == count, SETTLE_SECONDS, every=0.5)


def _latency(name: str, measured: Measured, status: int, target: Target | None, note: str) -> Figure:
    latencies = measured.check(status).latencies
    return Figure(
        f"{name} at {RATE}/s, p95",
        percentile(latencies, 0.95),
        "ms",
        target,
        f"open loop, {len(latencies)}; median {median(latencies):.1f}, most {max(latencies):.1f}; {note}",
    )


def _times(name: str, share: float, alone: Sequence[float], beside: Sequence[float]) -> Figure:
    before, after = percentile(alone, share), percentile(beside, share)
    return Figure(
        f"Answers accepted with {WAITING} sessions waiting over those with {FEW}, {name}",
        after / before,
        "times",
        TIMES,
        f"at {RATE}/s, {after:.1f} ms over {before:.1f}; {ROUNDS} rounds in turn on two machines",
    )
