"""What it costs to know who asks: the same routes with and without it, and beside somebody who guesses passwords."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx

from bench.figures import Figure, Target, median, percentile
from bench.load import Measured, Plan, Sent
from bench.machine import Machine, machine
from bench.rest import SUBMIT
from tests.support.rows import rows
from tests.support.stack import Api

MANY = "1000000"
RAISED = {
    "LIMITS": "true",
    "LIMIT_SUBMISSIONS_PER_HOUR": MANY,
    "LIMIT_ALL_SUBMISSIONS_PER_HOUR": MANY,
    "LIMIT_JOBS_AT_ONCE": MANY,
    "LIMIT_ANONYMOUS_PER_MINUTE": MANY,
    "LIMIT_LOGINS_PER_MINUTE": MANY,
    "LIMIT_ACCOUNT_LOGINS_PER_HOUR": MANY,
}
"""All limits are kept, and none is reached: as if the guesses came from everywhere."""
# Jobs that nobody starts: what the starter and Temporal take of the machine is not asked here.
AWAY = {"TEMPORAL_ADDRESS": "127.0.0.1:9"}
LIST = [Sent("GET", "/v1/jobs")]
# Well below what one process carries, and its disk, for which the submissions of one owner wait one after the other: a
# median of queueing would say nothing of the work.
POST_RATE, GET_RATE = 20, 100
ROUNDS, ROUND_SECONDS, WARM_UP_SECONDS = 3, 2.0, 0.5
MORE_MS = Target("at most", 3)
GUESS_RATE, READ_RATE, READ_SECONDS, READ_ROUNDS = 50, 50, 3.0, 2
TIMES = Target("at most", 1.5)
ACCOUNT = {"email": "bench@example.com", "name": "Bench Example", "password": "a mill turns by the moon"}


async def run() -> list[Figure]:
    """With and without, in short rounds in turn: whatever else the machine does meets both alike."""
    async with machine() as here:
        api = here.api(**RAISED, **AWAY)
        bare = here.api("bench.open_api", BENCH_OWNER=here.owner_id, **AWAY)
        return [
            _more("POST /jobs", POST_RATE, *await _in_turn(here, api, bare, SUBMIT, POST_RATE, 202)),
            _more("GET /jobs", GET_RATE, *await _in_turn(here, api, bare, LIST, GET_RATE, 200)),
        ]


async def _in_turn(
    here: Machine, api: Api, bare: Api, requests: Sequence[Sent], rate: float, status: int
) -> tuple[list[float], list[float]]:
    """Latencies with and without, in ms."""
    with_people: list[float] = []
    without: list[float] = []
    plan = Plan(requests, ROUND_SECONDS, rate, warm_up=WARM_UP_SECONDS)
    for _ in range(ROUNDS):
        for server, latencies in ((api, with_people), (bare, without)):
            latencies += (await here.load(server, plan)).check(status).latencies
            # An owner has a few jobs at once, not thousands.
            await rows(here.database, "UPDATE jobs SET status = 'completed' WHERE status = 'pending' RETURNING id")
    return with_people, without


def _more(name: str, rate: float, with_people: list[float], without: list[float]) -> Figure:
    seen, bare = median(with_people), median(without)
    return Figure(
        f"{name} with authentication and limits over without, median",
        seen - bare,
        "ms",
        MORE_MS,
        f"at {rate:g}/s: {seen:.2f} over {bare:.2f}, with the audit line; p95 {percentile(with_people, 0.95):.1f} "
        f"over {percentile(without, 0.95):.1f}",
    )


async def guesses() -> list[Figure]:
    """How much longer another user waits while passwords are guessed."""
    quiet: list[float] = []
    beside: list[float] = []
    answers: Counter[str] = Counter()
    reads = Plan(LIST, READ_SECONDS, READ_RATE)
    async with machine() as here:
        api = here.api(**RAISED, **AWAY)
        await here.load(api, Plan(SUBMIT, ROUND_SECONDS, POST_RATE))
        async with httpx.AsyncClient(base_url=api.url) as client:
            (await client.post("/v1/auth/register", json=ACCOUNT)).raise_for_status()
        for _ in range(READ_ROUNDS):
            quiet += (await here.load(api, reads)).check(200).latencies
            guessed, read = await asyncio.gather(here.load(api, _guessing()), here.load(api, reads))
            beside += read.check(200).latencies
            answers.update(_refused(guessed).statuses)
    note = f"{READ_RATE} reads a second; answers to the guesses: {dict(answers)}"
    return [
        Figure(
            f"GET /jobs beside {GUESS_RATE} login guesses a second over without, {name}",
            percentile(beside, share) / percentile(quiet, share),
            "times",
            TIMES,
            f"{percentile(beside, share):.2f} ms over {percentile(quiet, share):.2f}; {note}",
        )
        for name, share in (("median", 0.5), ("p95", 0.95))
    ]


def _guessing() -> Plan:
    """Of an account that there is and one that there is not, in turn, from before the reads until after them."""
    emails = (ACCOUNT["email"], "nobody@example.com")
    guesses = [
        Sent("POST", "/v1/auth/login", {"email": emails[number % 2], "password": f"a mill turns by {number} moons"})
        for number in range(100)
    ]
    return Plan(guesses, READ_SECONDS + 1, GUESS_RATE, warm_up=0.5)


def _refused(guessed: Measured) -> Measured:
    """Itself, when every guess was refused, most of them by their hash. AssertionError otherwise."""
    assert set(guessed.statuses) <= {"401", "429"}, f"answers to guesses: {guessed.statuses}"
    assert guessed.statuses.get("401"), "no guess was hashed"
    return guessed
