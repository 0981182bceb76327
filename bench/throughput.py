"""200 jobs of ten steps at 50 in flight, over as many bare workflows; and the memory that takes."""

import asyncio

from bench import memory
from bench.figures import Figure, Target
from bench.jobs import Floor, Jobs, rate
from bench.machine import machine
from bench.memory import Memory

JOBS = 200
IN_FLIGHT = 50
STEPS = 10
WARM_UP = 30
IDLE_SECONDS = 3.0


async def run() -> list[Figure]:
    """The floor before and after ours; its mean counts."""
    async with machine() as here:
        worker = here.worker("bench.worker")
        api = here.api("bench.api")
        seen = Memory(here, api=api.process, worker=worker)
        await asyncio.sleep(IDLE_SECONDS)
        idle = seen.look()
        here.worker("bench.floor_worker")
        floor = Floor(here.client, apart=True)
        async with Jobs.on(here, api) as jobs:
            await rate(floor.run, count=WARM_UP, in_flight=WARM_UP, steps=STEPS)
            await rate(jobs.run, count=WARM_UP, in_flight=WARM_UP, steps=STEPS)
            before = await rate(floor.run, count=JOBS // 2, in_flight=IN_FLIGHT, steps=STEPS)
            async with seen.watched():
                ours = await rate(jobs.run, count=JOBS, in_flight=IN_FLIGHT, steps=STEPS)
            after = await rate(floor.run, count=JOBS // 2, in_flight=IN_FLIGHT, steps=STEPS)
            eager = await rate(Floor(here.client, apart=False).run, count=JOBS // 4, in_flight=IN_FLIGHT, steps=STEPS)
    bare = (before + after) / 2
    load = f"{JOBS} jobs of {STEPS} steps, {IN_FLIGHT} in flight"
    return [
        Figure("Jobs a second", ours, "1/s", note=f"{load}; from POST to job.completed, one API, one worker"),
        Figure(
            "Bare workflows a second",
            bare,
            "1/s",
            note=f"{JOBS // 2} before ({before:.1f}/s) and {JOBS // 2} after ({after:.1f}/s), mean",
        ),
        Figure(
            "Jobs over bare workflows",
            ours / bare,
            "",
            Target("at least", 0.45),
            f"{STEPS} activities that do nothing, on a queue of their own; over eager ones ({eager:.1f}/s) "
            f"{ours / eager:.2f}",
        ),
        *memory.figures(idle, "idle"),
        *memory.figures(seen.most, "most at 50 jobs in flight"),
    ]
