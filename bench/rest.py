"""The REST API: its latencies at a given rate over 100,000 jobs, where it saturates, and how soon jobs start."""

import base64
import json
import uuid
from collections.abc import Sequence

from bench import memory
from bench.figures import Figure, Target, median, percentile
from bench.floor_api import TABLE
from bench.load import Measured, Plan, Sent
from bench.machine import Machine, machine
from bench.memory import Memory
from tests.support.rows import rows
from tests.support.stack import Api

ROWS = 100_000
READ = 2_000
"""Jobs whose steps are there too, and that are read one by one."""
POST_RATE, GET_RATE = 100, 200
SECONDS = 6.0
SATURATION_SECONDS = 3.0
CONNECTIONS = 32
P95_MS = Target("under", 25)
START_RATE, START_SECONDS = 5, 10.0
STARTED_MS = Target("under", 300)
PRESSURE_SECONDS = 5.0
STARTING = "the starter starts them meanwhile, in the same process"

# A small real job: an outline, three sections, the article, one file.
SUBMISSION = {
    "pipeline": "longform",
    "input": {"topic": "How tidal mills worked, and why they vanished", "target_words": 300, "formats": ["markdown"]},
}
SUBMIT = [Sent("POST", "/v1/jobs", SUBMISSION)]

_REF = {"owner_id": "o", "sha256": "0" * 64, "size": 9_000, "media_type": "text/markdown; charset=utf-8"}
_RESULT = {
    "outputs": [
        {"name": name, "artifact_id": "0198f3a0-0000-7000-8000-000000000001", "ref": _REF}
        for name in ("article.md", "article.pdf")
    ],
    "summary": {"title": "The tidal mill", "words": 1_204},
    "simulated": True,
}
_SEED = """
INSERT INTO jobs (id, owner_id, pipeline, title, tags, input, models, body_sha256, status, stage, steps_done,
                  total_steps, cost_usd, input_tokens, output_tokens, simulated, result, error, event_seq,
                  workflow_run_id, claimed_at, dispatched_at, created_at, updated_at, started_at, finished_at)
SELECT uuidv7(-make_interval(secs => n)), $1, 'longform', 'Tidal mills, part ' || n,
       ARRAY['history', 'part-' || n % 50],
       '{"topic": "How tidal mills worked, and why they vanished", "target_words": 1200}', ARRAY['simulator:composer'],
       repeat('0', 64), CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 20 = 1 THEN 'cancelled' ELSE 'completed' END,
       'export', 8, 8, 0.0123, 12000, 6000, true, CASE WHEN n % 20 > 1 THEN $2::jsonb END,
       CASE WHEN n % 20 = 0 THEN '{"code": "overloaded", "message": "The provider is overloaded", "attempts": 3}'::jsonb
       END, 20, gen_random_uuid()::text, at, at, at, at, at, at
FROM (SELECT n, now() - make_interval(secs => n) AS at FROM generate_series(1, $3) n) made
"""
_SEED_STEPS = """
INSERT INTO steps (job_id, step, revision, run, result)
SELECT id, 'section s' || n, 1, 1, '{}' FROM (SELECT id FROM jobs ORDER BY random() LIMIT $1) j, generate_series(1, 8) n
"""


async def run() -> list[Figure]:
    """Reads first, then what leaves thousands of jobs behind."""
    async with machine() as here:
        some = await _seed(here)
        worker = here.worker()
        api = here.api()
        found = await _starts(here, api)
        worker.stop()
        seen = Memory(here, api=api.process, worker=None)
        reads = {"GET /jobs": (_pages(some), _floor_pages(some)), "GET /jobs/{id}": (_singles(some), _singles(some))}
        for name, (requests, _) in reads.items():
            found.append(_latency(name, GET_RATE, await here.load(api, Plan(requests, SECONDS, GET_RATE)), 200))
        floor = here.api("bench.floor_api", FLOOR_OWNER=here.owner_id)
        for name, (requests, bare) in reads.items():
            rates = await _most(here, api, requests, 200), await _most(here, floor, bare, 200)
            found.append(_saturation(name, *rates))
        async with seen.watched():
            submitted = await here.load(api, Plan(SUBMIT, SECONDS, POST_RATE))
        note = "its starter on, Temporal alive and starting them all, no worker; the dev server shares the cores"
        found.append(_latency("POST /jobs", POST_RATE, submitted, 202, note))
        # The starter would go on with what is left over while others are measured.
        api.process.stop()
        bare_inserts = await _most(here, floor, SUBMIT, 202)
        floor.process.stop()
        away = here.api(TEMPORAL_ADDRESS="127.0.0.1:9")
        found.append(_saturation("POST /jobs, Temporal away", await _most(here, away, SUBMIT, 202), bare_inserts))
        away.process.stop()
        found.append(_saturation("POST /jobs", await _most(here, here.api(), SUBMIT, 202), bare_inserts, STARTING))
    return found + memory.figures(seen.most, f"most at POST {POST_RATE}/s")


async def pressure() -> list[Figure]:
    """POST at its full rate with a worker that runs the jobs, on two cores more than these can carry. Informs."""
    async with machine() as here:
        here.worker()
        measured = await here.load(here.api(), Plan(SUBMIT, PRESSURE_SECONDS, POST_RATE))
        waits = await _waits(here)
    note = f"with a worker running the jobs as well: more than the machine can carry; {measured.statuses}"
    return [
        Figure(
            f"POST /jobs at {POST_RATE}/s beside a worker, p95", percentile(measured.latencies, 0.95), "ms", note=note
        ),
        Figure(
            "Accepted to started in it, median",
            median(waits),
            "ms",
            note=f"of the {len(waits)} that had started when the load ended",
        ),
    ]


async def _seed(here: Machine) -> list[str]:
    """Insert the jobs, and say which are to be read."""
    connection = await here.connection()
    try:
        await connection.execute(_SEED, here.owner_id, json.dumps(_RESULT), ROWS)
        await connection.execute(_SEED_STEPS, READ)
        await connection.execute(f"CREATE TABLE {TABLE} (LIKE jobs INCLUDING ALL)")
        await connection.execute(f"INSERT INTO {TABLE} SELECT * FROM jobs")
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
        return [str(row["job_id"]) for row in await connection.fetch("SELECT DISTINCT job_id FROM steps")]
    finally:
        await connection.close()


async def _starts(here: Machine, api: Api) -> list[Figure]:
    """How soon a job starts when the machine is not busy."""
    await here.load(api, Plan(SUBMIT, START_SECONDS, START_RATE))
    waits = await _waits(here)
    note = (
        f"{START_RATE} a second, {len(waits)} jobs, a worker running them; from the row's created_at to its "
        f"job.started; median {median(waits):.0f}"
    )
    return [Figure("Accepted to started, p95", percentile(waits, 0.95), "ms", STARTED_MS, note)]


async def _waits(here: Machine) -> list[float]:
    """Milliseconds from accepted to started, of all jobs that have started."""
    found = await rows(
        here.database,
        "SELECT extract(epoch FROM e.created_at - j.created_at)::float8 * 1000 AS ms FROM jobs j "
        "JOIN events e ON e.job_id = j.id AND e.type = 'job.started'",
    )
    return [row["ms"] for row in found]


def _latency(name: str, rate: int, measured: Measured, status: int, note: str = "") -> Figure:
    latencies = measured.check(status).latencies
    return Figure(
        f"{name} at {rate}/s, p95",
        percentile(latencies, 0.95),
        "ms",
        P95_MS,
        f"open loop; median {median(latencies):.1f}, p99 {percentile(latencies, 0.99):.1f}"
        + (f"; {note}" if note else f"; over {ROWS:,} rows"),
    )


async def _most(here: Machine, api: Api, requests: Sequence[Sent], status: int) -> float:
    """Answers a second when every connection asks again at once."""
    plan = Plan(requests, SATURATION_SECONDS, connections=CONNECTIONS)
    return (await here.load(api, plan)).check(status).rate


def _saturation(name: str, most: float, bare: float, note: str = "") -> Figure:
    share = f"{most / bare:.0%} of the bare endpoint's {bare:.0f}/s; {CONNECTIONS} connections, one process"
    return Figure(f"{name}, at most", most, "1/s", note=share + (f"; {note}" if note else ""))


def _pages(ids: Sequence[str]) -> list[Sent]:
    """First pages and pages far behind, in turn."""
    cursors = [base64.urlsafe_b64encode(uuid.UUID(job).bytes).rstrip(b"=").decode() for job in ids[:500]]
    return [Sent("GET", path) for cursor in cursors for path in ("/v1/jobs", f"/v1/jobs?cursor={cursor}")]


def _floor_pages(ids: Sequence[str]) -> list[Sent]:
    return [Sent("GET", path) for job in ids[:500] for path in ("/v1/jobs", f"/v1/jobs?before={job}")]


def _singles(ids: Sequence[str]) -> list[Sent]:
    return [Sent("GET", f"/v1/jobs/{job}") for job in ids]
