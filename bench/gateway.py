"""What the gateway adds to a call by the bare client of a provider that answers at once, over loopback."""

import json

from bench.far_end import READY
from bench.figures import Figure, Target, median, percentile
from bench.machine import Machine, ended, machine
from tests.support.stack import READY_SECONDS, until

ROUNDS = {1: 300, 8: 60}
"""By the number of calls side by side."""
WAYS = ("bare", "without", "with")
"""The bare client; the gateway without its database; the gateway with it."""
MOST_MS = {"without": 8.0, "with": 20.0}
NAMES = {"without": "without the database", "with": "with the database"}


async def run() -> list[Figure]:
    """One call at a time, then eight side by side in one job, which share its row in the database."""
    figures: list[Figure] = []
    async with machine() as here:
        far_end = here.stack.start("far_end", "-m", "bench.far_end")
        until(lambda: far_end.said(READY), READY_SECONDS, far_end)
        url = far_end.log.read_text().partition(READY)[2].split()[0]
        for concurrency, rounds in ROUNDS.items():
            figures += _figures(concurrency, await _measured(here, url, concurrency, rounds))
        assert far_end.stop() == 0, far_end.tail()
    return figures


async def _measured(here: Machine, url: str, concurrency: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, by its way."""
    process = here.stack.start(
        "gateway",
        "-m",
        "bench.gateway_calls",
        str(concurrency),
        str(rounds),
        BENCH_OWNER=here.owner_id,
        ANTHROPIC_API_KEY="bench-key",
        ANTHROPIC_BASE_URL=url,
    )
    await ended(process, 100)
    times: dict[str, list[float]] = json.loads(process.log.read_text().splitlines()[-1])
    return times


def _figures(concurrency: int, times: dict[str, list[float]]) -> list[Figure]:
    p50 = {way: median(times[way]) for way in WAYS}
    p95 = {way: percentile(times[way], 0.95) for way in WAYS}
    side = f"{concurrency} at a time"
    made = [
        Figure(
            f"Bare client, {side}, p95",
            p95["bare"],
            "ms",
            note=f"{len(times['bare'])} calls; p50 {p50['bare']:.1f}",
        )
    ]
    for way, most in MOST_MS.items():
        added = p50[way] - p50["bare"]
        note = f"p50 +{added:.1f} ms; p95 {p95[way]:.1f} ms, {p95[way] / p95['bare']:.2f} times the bare client's"
        if concurrency > 1:
            note += f"; all begin at once and share one processor: of p50, {added / concurrency:.1f} ms is a call's own"
        made.append(
            Figure(
                f"Gateway {NAMES[way]} over the bare client, {side}, p95",
                p95[way] - p95["bare"],
                "ms",
                Target("at most", most) if concurrency == 1 else None,
                note,
            )
        )
    return made
