"""A program of ours that is started again when it ends."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import CliError
from core.embedded.process import Running, inspect, log_tail, make_folder, spawn

QUICK = 10.0  # seconds; a child that ends sooner ended at once
GIVE_UP = 5  # ends at once, one after the other, until we stop trying
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a new start
HURRY = 0.5  # seconds to end by itself for a child that a user has no more time for
_STEP = 0.05


@dataclass
class Child:
    """One program, its log, and how often it has ended."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    say: Callable[[str], None]
    process: "subprocess.Popen[bytes] | None" = None
    seen: Running | None = None
    _started: float = field(default=0.0, repr=False)
    _start_at: float = field(default=0.0, repr=False)
    _quick_ends: int = field(default=0, repr=False)

    def start(self) -> None:
        """Start it. It dies with us (Linux), and a terminal's Ctrl-C does not reach it."""
        make_folder(self.log.parent)
        # SIGKILL, not SIGTERM: when we are killed the servers go too, so there is nothing to drain into.
        self.process = spawn(self.arguments, log=self.log, death_signal=signal.SIGKILL, environment=self.environment)
        self.seen = inspect(self.process.pid)
        self._started = time.monotonic()

    def tick(self) -> bool:
        """Look after it; True when it was started again. Raises CliError when it keeps ending at once."""
        now = time.monotonic()
        if self.process is None:
            if now < self._start_at:
                return False
            self.start()
            return True
        code = self.process.poll()
        if code is None:
            return False
        self.process = self.seen = None
        self._quick_ends = self._quick_ends + 1 if now - self._started < QUICK else 1
        if self._quick_ends >= GIVE_UP:
            raise CliError(
                f"{self.name} ended {GIVE_UP} times right after its start ({_ended(code)}); the last it said:\n"
                f"{log_tail(self.log, 1500)}",
                f"Its whole log is {self.log}.",
            )
        pause = min(FIRST_PAUSE * 2 ** (self._quick_ends - 1), LONGEST_PAUSE)
        self._start_at = now + pause
        self.say(f"{self.name} ended ({_ended(code)}); it is started again in {pause:g} s. Its log: {self.log}")
        return False

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL goes to all that it has started, too."""
        if self.process is None or self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self.process.pid, number)  # it leads a session of its own: see spawn
            else:
                os.kill(self.process.pid, number)


def end_children(children: Sequence[Child], patience: float, hurried: Callable[[], bool]) -> list[str]:
    """SIGTERM, and SIGKILL after `patience` seconds or when hurried. Returns the names of those that were killed."""
    for child in children:
        child.signal(signal.SIGTERM)
    began = time.monotonic()
    while any(child.alive for child in children):
        if time.monotonic() - began > (min(patience, HURRY) if hurried() else patience):
            break
        time.sleep(_STEP)
    killed = [child for child in children if child.alive]
    for child in killed:
        child.signal(signal.SIGKILL)
    for child in children:
        if child.process:
            child.process.wait()
            child.process = child.seen = None
    return [child.name for child in killed]


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
