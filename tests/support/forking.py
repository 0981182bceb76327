"""Processes of the product that begin where their imports end.

`python -m api` and `python -m worker` compute for two to four seconds before they do anything: they import. Tests that
kill and start them by the dozen would do little else. So a process of its own, one for each test process, imports all
that once and starts no thread. Each API or worker is a fork of it that gets its arguments, environment, folder and log,
and runs the same module as `__main__`: a process like any other, that can be killed and shares nothing that changes.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from core.embedded.process import die_with_parent

MODULES = ("api", "worker")
"""What can be started so."""
# Not their `__main__`, which is run and not imported.
_IMPORTED = (
    "api.app",
    "api.server",
    "core.llm.claude",
    "core.llm.gemini",
    "core.llm.ollama",
    "uvloop",
    "worker.deps",
    "worker.health",
    "worker.models",
    "worker.registry",
    "worker.run",
)
_POLL_SECONDS = 0.01


class Forked:
    """One process, with what tests use of `subprocess.Popen`."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask({"poll": self.pid})["ended"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, when it has ended. Raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                assert timeout is not None
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs. Until its end was heard of here, no other process has its id."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """The process that forks. It ends with the one that started it, and all that it forked end with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        theirs.close()
        self._link: IO[str] = ours.makefile("rw")
        ours.close()  # when `_link` is

    def start(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Forked:
        """Start `python <arguments>`, which are `-m` and one of `MODULES` first."""
        asked = {"start": list(arguments[1:]), "env": dict(env), "cwd": str(cwd), "log": str(log)}
        return Forked(self, self.ask(asked)["pid"])

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        """Ask the process that forks."""
        self._link.write(json.dumps(what) + "\n")
        self._link.flush()
        answer: dict[str, Any] = json.loads(self._link.readline())
        return answer


@cache
def fork_server() -> ForkServer:
    """That of this process."""
    return ForkServer()


def _serve(link: IO[str]) -> dict[str, Any] | None:
    """Answer until the other side is gone: None. In a process that was forked, what it is to run."""
    for line in link:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer = {"ended": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            # Made here, so that the fork is told from whom it descends.
            mortal = die_with_parent(signal.SIGKILL)
            pid = os.fork()
            if pid == 0:
                if mortal is not None:
                    mortal()
                return {**asked}
            answer = {"pid": pid}
        link.write(json.dumps(answer) + "\n")
        link.flush()
    return None


def _become(what: dict[str, Any], link: IO[str]) -> None:
    """Be the process that was asked for."""
    # Its own descriptor only: the process that forks goes on with the same socket.
    link.close()
    with open(what["log"], "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(what["cwd"])
    os.environ.clear()
    os.environ.update(what["env"])
    module, *more = what["start"]
    sys.argv = [module, *more]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then fork."""
    end = socket.socket(fileno=int(sys.argv[1]))
    link = end.makefile("rw")
    end.close()  # when `link` is
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    if (what := _serve(link)) is not None:
        _become(what, link)


if __name__ == "__main__":
    main()
