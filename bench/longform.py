"""Twelve sections with every model call at 500 ms: how much longer than its longest path a job takes."""

import asyncio
import time

from bench.figures import Figure, Target, median
from bench.machine import Machine, machine
from core.contracts.names import workflow_id
from tests.support.stack import User
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer

LATENCY_SECONDS = 0.5
SECTIONS = 12
WORDS = SECTIONS * 300
CALLS_IN_A_ROW = 4
"""Outline, a section, the sentences between sections, the judge. With a model that keeps shorter prompts than the
default one does, the first section would precede the others, and be one more."""
LONGEST_PATH = CALLS_IN_A_ROW * LATENCY_SECONDS
ROUNDS = 5


async def run() -> list[Figure]:
    """One job at a time, a real API and worker, the provider's protocol over HTTP."""
    with WireProvider(composer=longform_composer, latency_s=LATENCY_SECONDS) as wire:
        async with machine(env=wire.environment()) as here:
            here.worker()
            async with User(here.api(), here.token) as user:
                times = [await _job(here, user, wire) for _ in range(ROUNDS + 1)][1:]
        wire.assert_clean()
    return [
        Figure(
            "Twelve sections over the longest path",
            median(times) / LONGEST_PATH,
            "",
            Target("at most", 1.25),
            f"median of {ROUNDS} after one to warm up ({', '.join(f'{t:.2f}' for t in sorted(times))} s); from the "
            "execution's start in Temporal to the provider's last answer; the path is "
            f"{CALLS_IN_A_ROW} × {LATENCY_SECONDS} s",
        )
    ]


async def _job(here: Machine, user: User, wire: WireProvider) -> float:
    """Seconds from the workflow's start to the last answer."""
    known = len(wire.requests)
    job = await user.submit(input={"topic": "Tidal mills", "target_words": WORDS, "cache": "bypass"})
    async with asyncio.timeout(60):
        while not _all_answered(wire, known):  # noqa: ASYNC110 - the wire lives in a thread; asking the API costs more
            await asyncio.sleep(0.05)
    await user.until(job["id"], "completed")
    execution = await here.client.get_workflow_handle(workflow_id("longform", job["id"])).describe()
    offset = time.time() - time.monotonic()
    last = max(request.finished or 0.0 for request in wire.requests[known:])
    return last + offset - execution.start_time.timestamp()


def _all_answered(wire: WireProvider, known: int) -> bool:
    new = wire.requests[known:]
    return len(new) == CALLS_IN_A_ROW - 1 + SECTIONS and all(request.answered for request in new)
