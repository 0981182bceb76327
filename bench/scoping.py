"""`scoping` at ten requests a second: how long its users wait, alone and beside 500 sessions that wait for theirs."""

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
SECONDS, WARM_UP_SECONDS = 8.0, 1.0
ROUND = round((SECONDS + WARM_UP_SECONDS) * RATE)
"""Requests of one load. An owner has one model at work at a time, so each is another owner's."""
WAITING = 500
CREATIONS_AT_ONCE = 4
SETTLE_SECONDS = 60.0
PAGED, PAGE = 1_000, 50
IDLE_SECONDS = 3.0
CREATE_MS, PAGE_MS, ANSWER_MS = Target("under", 100), Target("under", 50), Target("under", 150)
TIMES = Target("at most", 1.5)

_SCRIPT = read_script(None)
_PROJECT = _SCRIPT.project.model_dump()
_FIRST = QUESTIONNAIRE.stage(1).questions[0].id
_ANSWER: Json = {"answers": {_FIRST: _SCRIPT.answer(_FIRST).said}}
"""To one question. A model judges it, and the session waits for the next one."""

_SETTLED = """
SELECT count(*) AS waiting FROM jobs j JOIN scoping_sessions s ON s.job_id = j.id
WHERE j.status = 'waiting_for_input' AND NOT s.at_work
"""
_FRESH = "SELECT job_id, owner_id FROM scoping_sessions WHERE seq = 0 ORDER BY job_id"
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
    """Create, answer, read; then fill up with sessions that wait, and answer again."""
    async with machine() as here:
        worker, api = here.worker(), here.api()
        seen = Memory(here, api=api.process, worker=worker)
        sponsors = await _sponsors(here, WAITING)
        await asyncio.sleep(IDLE_SECONDS)
        idle = seen.look()
        created = await here.load(api, _plan([_creation(sponsor) for sponsor in sponsors[:ROUND]]))
        await _settled(here, ROUND)
        alone = await _answers(here, api, sponsors)
        await _settled(here, ROUND)
        found = [
            _latency("Session created", created, 202, CREATE_MS, "its workflow is started and asks meanwhile"),
            _latency("Answer accepted", alone, 202, ANSWER_MS, "stored and taken; the simulator judges it meanwhile"),
            *await _reads(here, api, sponsors),
        ]
        await _fill(api, sponsors[ROUND:])
        await _settled(here, WAITING)
        waiting = seen.look()
        beside = await _answers(here, api, sponsors)
    found += [_times("median", 0.5, alone, beside), _times("p95", 0.95, alone, beside)]
    return found + memory.figures(idle, "idle") + memory.figures(waiting, f"{WAITING} sessions waiting")


async def _sponsors(here: Machine, count: int) -> list[Sponsor]:
    """Owners with a key each."""
    async with here.database.transaction() as connection:
        owners = OwnerRepository(connection)
        made = [await owners.create(f"Sponsor {number}") for number in range(count)]
        return [Sponsor(owner.id, await owners.create_key(owner.id, "bench")) for owner in made]


def _plan(requests: Sequence[Sent]) -> Plan:
    return Plan(requests, SECONDS, RATE, warm_up=WARM_UP_SECONDS)


def _creation(sponsor: Sponsor) -> Sent:
    return Sent("POST", "/v1/sessions", _PROJECT, sponsor.token)


async def _answers(here: Machine, api: Api, sponsors: Sequence[Sponsor]) -> Measured:
    """The first word in sessions that were not answered yet."""
    tokens = dict(sponsors)
    fresh = (await rows(here.database, _FRESH))[:ROUND]
    answers = [
        Sent("POST", f"/v1/sessions/{one['job_id']}/stages/1/answers", _ANSWER, tokens[str(one["owner_id"])])
        for one in fresh
    ]
    return await here.load(api, _plan(answers))


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
    pages = await here.load(api, _plan([Sent("GET", path) for path in paths]))
    tokens = dict(sponsors)
    singles = [Sent("GET", f"/v1/sessions/{one['job_id']}", token=tokens[str(one["owner_id"])]) for one in answered]
    single = await here.load(api, _plan(singles))
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


def _times(name: str, share: float, alone: Measured, beside: Measured) -> Figure:
    before, after = percentile(alone.latencies, share), percentile(beside.check(202).latencies, share)
    return Figure(
        f"Answers accepted beside {WAITING} waiting sessions over those without, {name}",
        after / before,
        "times",
        TIMES,
        f"{after:.1f} ms over {before:.1f}",
    )
