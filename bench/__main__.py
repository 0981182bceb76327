"""`python -m bench [names...]`: run benchmarks, print a table, write `.atelier/bench.json`. 1: a target is missed."""

import argparse
import asyncio
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

import psutil

from bench import (
    caching,
    death,
    documents_in,
    exports,
    gateway,
    longform,
    people,
    rest,
    scoping,
    steps,
    streaming,
    throughput,
    uploads,
)
from bench.figures import Figure, Target, save, show

BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "longform": longform.run,
    "exports": exports.run,
    "documents_in": documents_in.run,
    "gateway": gateway.run,
    "streaming": streaming.run,
    "caching": caching.run,
    "steps": steps.run,
    "jobs": throughput.run,
    "rest": rest.run,
    "pressure": rest.pressure,
    "people": people.run,
    "guesses": people.guesses,
    "scoping": scoping.run,
    "waiting": scoping.waiting,
    "uploads": uploads.run,
    "death": death.run,
}
LIMIT_SECONDS = 120.0
"""How long one benchmark may take, and what is left of the next for all."""
ALL_SECONDS = 540.0
FILE = Path(".atelier/bench.json")


def main() -> int:
    """Run what was asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Atelier on servers of its own.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, _end)
    began = time.monotonic()
    figures: list[Figure] = []
    others: list[str] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        before = _Used.now()
        figures += _run(name, min(LIMIT_SECONDS, began + ALL_SECONDS - time.monotonic()))
        others.append(f"{name} {_Used.now().others(before):.1f}")
    busy = f"of which others took meanwhile: {', '.join(others)}"
    show(figures, f"{os.cpu_count()} cores, {busy}; {time.monotonic() - began:.0f} s")
    save(figures, FILE)
    missed = [figure for figure in figures if figure.held is False]
    for figure in missed:
        value = "not measured" if figure.value is None else f"{figure.value:.4g} {figure.unit}".strip()
        print(f"MISSED: {figure.name}: {value}, target {figure.target}", file=sys.stderr)
    return 1 if missed else 0


@dataclass(frozen=True)
class _Used:
    """Seconds of processor time so far: of the whole machine, and of us with all that we started and saw end."""

    at: float
    machine: float
    ours: float

    @classmethod
    def now(cls) -> Self:
        """As it is."""
        times = psutil.cpu_times()
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        busy = sum(times[:8]) - times.idle - getattr(times, "iowait", 0.0)  # guests are counted as users already
        return cls(time.monotonic(), busy, sum(one.ru_utime + one.ru_stime for one in usage))

    def others(self, before: Self) -> float:
        """Cores that other programs took since: figures are only worth something where it is near zero."""
        taken = (self.machine - before.machine) - (self.ours - before.ours)
        return max(0.0, taken) / (self.at - before.at)


def _run(name: str, seconds: float) -> list[Figure]:
    """The figures of one benchmark. One that fails is a figure that is missed, and the others go on."""

    async def limited() -> list[Figure]:
        async with asyncio.timeout(seconds):
            return await BENCHMARKS[name]()

    try:
        return asyncio.run(limited())
    except Exception as error:
        traceback.print_exc()
        return [Figure(f"benchmark {name!r}", None, "", Target("at least", 1), f"failed: {error!r}"[:300])]


def _end(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends us as Ctrl-C does: with everything that was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
