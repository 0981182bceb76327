"""The children's logs: written by the children themselves to files, followed here for the terminal.

Files and not pipes: a terminal that stands still (Ctrl-S, a full pipe behind `atelier up | less`) must not stop the
API or a worker at their next log line, and what they say before they die must not be lost with us.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core.embedded.process import LOG_LIMIT

POLL = 0.1  # seconds
_CHUNK = 1 << 20

Echo = Callable[[str, str], None]
"""Shows one line of the named process."""


@dataclass
class _Followed:
    name: str
    path: Path
    file: BinaryIO | None = None
    rest: bytes = field(default=b"")


class LogFollower:
    """Shows what is added to the logs once `show` was called, and keeps each from growing past LOG_LIMIT."""

    def __init__(self, echo: Echo | None) -> None:
        """Without `echo` nothing is ever shown."""
        self._echo = echo
        self._followed: list[_Followed] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._shown = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def add(self, name: str, path: Path) -> None:
        """Follow another log."""
        with self._guard:
            self._followed.append(_Followed(name, path))

    def show(self) -> None:
        """Show what comes from now on: how the start went is told by whoever called it."""
        with self._guard:
            for one in self._followed:
                if one.file is None and one.path.exists():
                    one.file = one.path.open("rb")
                if one.file:
                    one.file.seek(0, os.SEEK_END)
        self._shown.set()

    def stop(self) -> None:
        """Show the last lines and end."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5)
        for followed in self._followed:
            if followed.file:
                followed.file.close()

    def _run(self) -> None:
        while not self._over.wait(POLL):
            self._look()
        self._look()

    def _look(self) -> None:
        if not self._shown.is_set() and self._echo:
            return
        with self._guard:
            followed = list(self._followed)
        for one in followed:
            with contextlib.suppress(OSError):  # a full disk or a closed terminal: nothing that should end a job
                self._read(one)

    def _read(self, one: _Followed) -> None:
        if one.file is None:
            if not one.path.exists():
                return
            one.file = one.path.open("rb")
        while chunk := one.file.read(_CHUNK):
            *lines, one.rest = (one.rest + chunk).split(b"\n")
            for line in lines:
                if self._echo:
                    self._echo(one.name, line.decode(errors="replace"))
        facts = one.path.stat()
        if facts.st_ino != os.fstat(one.file.fileno()).st_ino:  # moved aside at a start
            one.file.close()
            one.file = None
        elif facts.st_size > LOG_LIMIT:
            # The writer holds the file open for appending, so it is emptied in place; a line that is written in
            # this instant is lost.
            shutil.copyfile(one.path, one.path.with_name(one.path.name + ".1"))
            os.truncate(one.path, 0)
            one.file.seek(0)
