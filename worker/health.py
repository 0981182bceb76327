"""Whether a worker works: it touches a file as long as it polls, and `python -m worker.health FILE` looks at it.

The file is empty, or holds what is amiss while the worker does a part of its work: it can ask no model, and polls the
other queues. That is degraded and not dead, so the check passes: another process would fare no better.

A worker has no port. What the file says is that the process is inside its polling, neither connecting nor draining,
and that its event loop turns. It does not say that Temporal answers: a worker outlives an outage, and starting it
anew would help nobody (`GET /v1/health/ready` tells about Temporal and the queues).
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

BEAT_SECONDS = 2.0
STALE_SECONDS = 15.0
"""A beat that is late by more than this means a blocked event loop: nothing in a worker blocks it for a second."""


@asynccontextmanager
async def beating(file: Path | None, amiss: Callable[[], str | None] = lambda: None) -> AsyncIterator[None]:
    """Touch the file every two seconds inside, remove it at the end; nothing without a file.

    `amiss` says what part of its work the worker cannot do, if any. Raises OSError at once when the file cannot be
    written.
    """
    if file is None:
        yield
        return
    written = _say(file, amiss(), None)
    beat = asyncio.create_task(_beat(file, amiss, written))
    try:
        yield
    finally:
        beat.cancel()
        # A full disk may have ended it: that left a stale file, which is what it has to say.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await beat
        file.unlink(missing_ok=True)  # noqa: ASYNC240


async def _beat(file: Path, amiss: Callable[[], str | None], written: str) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        written = _say(file, amiss(), written)


def _say(file: Path, amiss: str | None, written: str | None) -> str:
    """Touch the file, or replace it when there is something else to say. What it says now."""
    # On the event loop, whose turning it is to prove; a local file takes microseconds.
    says = amiss or ""
    if says == written:
        file.touch()
    else:
        # As a whole: whoever looks must not find half a sentence, or none.
        new = file.with_name(f"{file.name}.new")
        new.write_text(says)
        new.replace(file)
    return says


def degraded(file: Path) -> str | None:
    """What part of its work the worker of this file cannot do; None when it does all of it, or is not there."""
    try:
        return file.read_text() or None
    except FileNotFoundError:
        return None


def ailment(file: Path) -> str | None:
    """What is wrong with the worker of this file; None when nothing is."""
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return "not polling: it is starting, waiting for Temporal, draining, or gone"
    return f"no sign of life for {age:.0f} s" if age > STALE_SECONDS else None


def main() -> int:
    """0 when the worker works, be it in part; 1 when it does not, 2 for a wrong call."""
    if len(sys.argv) != 2:
        print("usage: python -m worker.health FILE (the worker's --health-file)", file=sys.stderr)
        return 2
    file = Path(sys.argv[1])
    found = ailment(file)
    if found is None:
        amiss = degraded(file)
        print("polling" if amiss is None else f"degraded: {amiss}")
        return 0
    print(found)
    return 1


if __name__ == "__main__":
    sys.exit(main())
