"""Whether a worker works: it touches a file as long as it polls, and `python -m worker.health FILE` looks at it.

A worker has no port. What the file says is that the process is inside its polling, neither connecting nor draining,
and that its event loop turns. It does not say that Temporal answers: a worker outlives an outage, and starting it
anew would help nobody (`GET /v1/health/ready` tells about Temporal and the queues).
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

BEAT_SECONDS = 2.0
STALE_SECONDS = 15.0
"""A beat that is late by more than this means a blocked event loop: nothing in a worker blocks it for a second."""


@asynccontextmanager
async def beating(file: Path | None) -> AsyncIterator[None]:
    """Touch the file every two seconds inside, remove it at the end; nothing without a file.

    Raises OSError at once when the file cannot be written.
    """
    if file is None:
        yield
        return
    _touch(file)
    beat = asyncio.create_task(_beat(file))
    try:
        yield
    finally:
        beat.cancel()
        # A full disk may have ended it: that left a stale file, which is what it has to say.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await beat
        file.unlink(missing_ok=True)  # noqa: ASYNC240


async def _beat(file: Path) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        _touch(file)


def _touch(file: Path) -> None:
    # On the event loop, whose turning it is to prove; a local file takes microseconds.
    file.touch()


def ailment(file: Path) -> str | None:
    """What is wrong with the worker of this file; None when nothing is."""
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return "not polling: it is starting, waiting for Temporal, draining, or gone"
    return f"no sign of life for {age:.0f} s" if age > STALE_SECONDS else None


def main() -> int:
    """0 when the worker works, 1 when it does not, 2 for a wrong call."""
    if len(sys.argv) != 2:
        print("usage: python -m worker.health FILE (the worker's --health-file)", file=sys.stderr)
        return 2
    found = ailment(Path(sys.argv[1]))
    print("polling" if found is None else found)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
