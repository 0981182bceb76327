"""Resident memory of the four kinds of process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil

from bench.figures import Figure
from bench.machine import Machine
from tests.support.stack import Process

MIB = 2**20
EVERY_SECONDS = 2.0
NOTE = {
    "API": "RSS",
    "worker": "RSS",
    "Temporal": "RSS",
    "Postgres": "PSS summed over its processes, so shared memory counts once",
}


class Memory:
    """Looks at a machine's API, worker, Temporal and Postgres, and remembers the most it saw of each."""

    def __init__(self, machine: Machine, *, api: Process | None, worker: Process | None) -> None:
        self._machine = machine
        self._processes = {"API": api, "worker": worker}
        self.most: dict[str, float] = {}

    def look(self) -> dict[str, float]:
        """MiB now, by name."""
        temporal, postgres = self._machine.temporal.pid, self._machine.postgres.pid
        assert temporal is not None
        assert postgres is not None
        seen = {
            **{name: _resident(process.pid) for name, process in self._processes.items() if process is not None},
            "Temporal": _resident(temporal),
            "Postgres": sum(map(_share, [psutil.Process(postgres), *psutil.Process(postgres).children()])),
        }
        self.most = {name: max(value, self.most.get(name, 0.0)) for name, value in seen.items()}
        return seen

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look every two seconds inside."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.look()

    async def _watch(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(EVERY_SECONDS)


def figures(seen: dict[str, float], when: str) -> list[Figure]:
    """One line a kind of process."""
    return [Figure(f"Memory, {when}: {name}", value, "MiB", note=NOTE[name]) for name, value in seen.items()]


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / MIB)


def _share(process: psutil.Process) -> float:
    """The process's share: what it has alone, and its part of what it shares. RSS where the system cannot tell."""
    with contextlib.suppress(psutil.NoSuchProcess):
        full = process.memory_full_info()
        return float(getattr(full, "pss", full.rss) / MIB)
    return 0.0
