"""What a durable step costs when nothing else runs: a paid step by the gateway, over a bare activity."""

from bench.figures import Figure, Target, median, percentile
from bench.jobs import Floor, Jobs, step_times
from bench.machine import machine

STEPS = 20
ROUNDS = 10


async def run() -> list[Figure]:
    """Both kinds by turns, so that what else the machine does falls on both alike."""
    ours: list[float] = []
    apart: list[float] = []
    eager: list[float] = []
    async with machine() as here:
        here.worker("bench.worker")
        here.worker("bench.floor_worker")
        api = here.api("bench.api")
        async with Jobs.on(here, api) as jobs:
            kinds = (
                (jobs.run, "bench.take_step", ours),
                (Floor(here.client, apart=True).run, "floor.do_nothing", apart),
                (Floor(here.client, apart=False).run, "floor.do_nothing", eager),
            )
            for number in range(ROUNDS + 1):
                for take, activity, times in kinds:
                    seen = await step_times(await take(STEPS), activity)
                    if number:  # the first round warms up
                        times.extend(seen)
    note = f"{STEPS} in a row, {ROUNDS} times, one workflow at a time; from the workflow's history"
    return [
        Figure("Durable step, median", median(ours), "ms", note=f"{note}; p95 {percentile(ours, 0.95):.1f}"),
        Figure("Bare activity, median", median(apart), "ms", note="on a queue of its own, as steps are"),
        Figure(
            "Durable step over a bare activity",
            median(ours) - median(apart),
            "ms",
            Target("at most", 10),
            f"over an eager one, on the workflow's own queue ({median(eager):.1f} ms): "
            f"{median(ours) - median(eager):.1f} ms",
        ),
    ]
