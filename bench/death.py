"""A worker is killed in a model call, with another one alive: how long until the step runs again."""

import asyncio
import threading
import time

import psutil

from bench.figures import Figure, Target, median
from bench.machine import machine
from tests.support.stack import Process, User
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer
from tests.support.wire_messages import WireRequest, hang

KILLS = 3
PATIENCE = 60.0


async def run() -> list[Figure]:
    """Three times: the provider has the request and is silent, its sender is killed, the same request comes again."""
    times: list[float] = []
    with WireProvider(composer=longform_composer) as wire:
        async with machine(env=wire.environment()) as here:
            workers = [here.worker()]
            async with User(here.api(), here.token) as user:
                for number in range(1, KILLS + 1):
                    workers.append(here.worker())
                    times.append(await _kill_one(f"A silent model, {number}", user, wire, workers))
        wire.assert_clean()
    return [
        Figure(
            "A killed worker's step runs again, median",
            median(times),
            "s",
            Target("at most", 15),
            f"{KILLS} kills ({', '.join(f'{t:.1f}' for t in sorted(times))} s); from SIGKILL to the provider's second "
            "request, another worker alive",
        )
    ]


async def _kill_one(topic: str, user: User, wire: WireProvider, workers: list[Process]) -> float:
    """Seconds from the kill to the second request. The dead worker is taken out of the list."""

    def of_step(request: WireRequest) -> bool:
        return topic in request.prompt and "Write section 2 of 3" in request.prompt

    gate = threading.Event()
    wire.script(hang(gate), where=of_step)
    job = await user.submit(input={"topic": topic, "target_words": 900})
    first = await wire.received(of_step, PATIENCE)
    victim = next(worker for worker in workers if _holds(worker, first.port))
    # Let the other sections be stored: what dies is this one call.
    await asyncio.sleep(1)
    killed = time.monotonic()
    victim.kill()
    workers.remove(victim)
    second = await wire.received(lambda request: of_step(request) and request is not first, PATIENCE)
    gate.set()
    await user.until(job["id"], "completed")
    return second.started - killed


def _holds(worker: Process, port: int) -> bool:
    """Whether the process has the client's end of a connection."""
    connections = psutil.Process(worker.pid).net_connections("tcp")
    return any(connection.laddr and connection.laddr.port == port for connection in connections)
