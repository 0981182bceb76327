"""Runs all of Atelier on one machine: Postgres, Temporal, the API and workers, started and stopped in order.

Used by `atelier up` and `atelier demo`. It blocks: start it in the main thread, then call `tick` several times a
second, there or from one other thread, until `stop`.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
from pydantic import SecretStr

from cli.children import Child, end_children
from cli.errors import CliError
from cli.home import (
    Access,
    Serving,
    clear_serving,
    read_children,
    read_credentials,
    write_children,
    write_credentials,
    write_serving,
)
from cli.logs import Echo, LogFollower
from cli.preparation import prepare_database, prepare_temporal
from core.contracts.names import Queue
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.process import is_running, port_is_free, remembered_ports, stop_process
from core.embedded.temporal import EmbeddedTemporal
from core.llm.choice import configured_providers
from core.settings import Settings, file_variables

READY_TIMEOUT = 90.0  # seconds; a machine under load imports slowly
API_STOP = 10.0  # seconds
AFTER_DRAIN = 5.0  # seconds a worker gets beyond WORKER_DRAIN_SECONDS
SERVER_LOOK = 1.0  # seconds between two looks at the embedded servers
_LEFT_BEHIND = ((signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0))
_POLL = 0.2


class Stopped(Exception):
    """The start was given up because the user asked for it."""


def nothing(_: str) -> None:
    """Says nothing."""


class Supervisor:
    """The servers and processes of one data folder. Whoever makes one holds the folder's `HomeLock`."""

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        port: int | None = None,
        by: str = "up",
        say: Callable[[str], None] = nothing,
        phase: Callable[[str], None] = nothing,
        echo: Echo | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`say` tells of what a user should know, `phase` what is being done now, `echo` shows the children's logs,
        `stopping` is asked during the start whether to give it up. `port` must be free; the settings' need not be."""
        self._home = settings.atelier_home.absolute().resolve()
        self._settings = settings.model_copy(update={"atelier_home": self._home})
        self._port, self._workers, self._by = port, workers, by
        self._say, self._phase, self._stopping = say, phase, stopping
        self._postgres: EmbeddedPostgres | None = None
        self._temporal: EmbeddedTemporal | None = None
        self._api: list[Child] = []
        self._worker: list[Child] = []
        self._looked = 0.0
        self.logs = LogFollower(echo)
        self.access = Access("", "")

    def start(self) -> Serving:
        """Start everything and wait until it is ready.

        Raises CliError or EmbeddedError when something does not come up, Stopped when the user gave it up; `stop` is
        then still to be called.
        """
        for process in read_children(self._home):  # of a killed supervisor, where the kernel does not end them
            if is_running(process):
                stop_process(process, _LEFT_BEHIND)
        port = self._choose_port()  # first: it can be refused
        self._start_database()
        self._start_temporal()
        self._start_children(port)
        self._await_ready()
        address = self._settings.temporal_address or ""
        return write_serving(self._home, self._by, self.access.url, self.temporal_ui, address)

    @property
    def temporal_ui(self) -> str:
        """The Web UI of the embedded Temporal; empty for one of the user's own."""
        return (self._temporal.ui_url or "") if self._temporal else ""

    def tick(self) -> None:
        """Look after everything. Raises CliError or EmbeddedError when something cannot be kept running."""
        started = [child.name for child in (*self._api, *self._worker) if child.tick()]
        if started:
            self._note_children()
        if time.monotonic() - self._looked < SERVER_LOOK:
            return
        for name, server in (("Postgres", self._postgres), ("Temporal", self._temporal)):
            if server and server.pid is None:
                self._say(f"{name} ended; it is started again.")
                server.start()
        self._looked = time.monotonic()

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop in order: workers finish their steps, then the API, Temporal and Postgres. `hurried` cuts waits short.

        What fails to stop is told, and the rest is stopped all the same.
        """
        clear_serving(self._home)
        if any(child.alive for child in self._worker):
            self._phase("Stopping: workers finish their steps (Ctrl-C again to hurry)")
        killed = end_children(self._worker, self._settings.worker_drain_seconds + AFTER_DRAIN, hurried)
        killed += end_children(self._api, API_STOP, hurried)
        if killed:
            self._say(
                f"Killed before the end of its work: {', '.join(killed)}. The work is taken up at the next start."
            )
        if self._temporal or self._postgres:
            self._phase("Stopping Temporal and Postgres")
        for server in (self._temporal, self._postgres):
            try:
                if server:
                    server.stop()
            except (OSError, RuntimeError) as error:
                self._say(f"Not stopped: {error}")
        with contextlib.suppress(OSError):
            (self._home / "children.json").unlink(missing_ok=True)
        self.logs.stop()

    # ------------------------------------------------------------------------------------------ the parts

    def _check_stopping(self) -> None:
        if self._stopping():
            raise Stopped

    def _start_database(self) -> None:
        self._check_stopping()
        if self._settings.database_url is None:
            self._phase("Starting Postgres")
            self._postgres = EmbeddedPostgres(self._home)
            self._settings = self._settings.model_copy(update={"database_url": SecretStr(self._postgres.start())})
        self._check_stopping()
        self._phase("Preparing the database")
        url = self._settings.database_url
        assert url is not None
        noted = read_credentials(self._home)
        key = asyncio.run(prepare_database(url.get_secret_value(), noted.api_key if noted else None))
        # Noted at once: a key that is made and lost would be an owner whose jobs nobody sees.
        self.access = Access(noted.url if noted else f"http://127.0.0.1:{self._settings.api_port}", key)
        write_credentials(self._home, self.access)

    def _start_temporal(self) -> None:
        self._check_stopping()
        settings = self._settings
        if settings.temporal_address is None:
            self._phase("Starting Temporal")
            self._temporal = EmbeddedTemporal(self._home, namespaces=[settings.temporal_namespace])
            self._settings = settings = settings.model_copy(update={"temporal_address": self._temporal.start()})
        self._check_stopping()
        assert settings.temporal_address is not None
        retention = timedelta(days=settings.temporal_retention_days)
        asyncio.run(prepare_temporal(settings.temporal_address, settings.temporal_namespace, retention))

    def _start_children(self, port: int) -> None:
        self._check_stopping()
        self._phase("Starting the API and the workers")
        self._settings = self._settings.model_copy(update={"api_port": port})
        self.access = Access(f"http://{_reached(self._settings.api_host)}:{port}", self.access.api_key)
        write_credentials(self._home, self.access)
        workers = [f"worker-{number}" for number in range(1, self._workers + 1)]
        self._api = [self._child("api", "api")]
        self._worker = [self._child(n, "worker", "--queues", "orchestration,llm,render,web") for n in workers]
        for child in (*self._api, *self._worker):
            self.logs.add(child.name, child.log)
            child.start()
        self.logs.start()
        self._note_children()

    def _child(self, name: str, module: str, *options: str) -> Child:
        # -P: a folder named `api` or `worker` where we happen to start must not be taken for ours.
        arguments = [sys.executable, "-P", "-m", module, *options]
        environment = child_environment(self._settings)
        return Child(name, arguments, environment, self._home / "logs" / f"{name}.log", self._say)

    def _note_children(self) -> None:
        write_children(self._home, [child.seen for child in (*self._api, *self._worker) if child.seen])

    def _choose_port(self) -> int:
        """The port asked for, else that of the settings if it is free, else one that this folder keeps."""
        if self._port:
            if not port_is_free(self._port):
                raise CliError(f"Port {self._port} is taken by another program.", "Choose another: --port.")
            return self._port
        wanted = self._settings.api_port
        if wanted and port_is_free(wanted):
            return wanted
        port = remembered_ports(self._home, ["api"])["api"]
        if wanted:
            self._say(f"Port {wanted} is taken by another program; the API is at {port}.")
        return port

    def _await_ready(self) -> None:
        """Wait until the API says that the database, Temporal and a worker on every queue are there.

        Where no model may be there to ask, no worker takes model calls before one is: that is told, not waited for.
        """
        lasting = configured_providers(self._settings) - {"ollama"}
        deadline = time.monotonic() + READY_TIMEOUT
        said = "nothing yet"
        with httpx.Client(base_url=self.access.url, timeout=5, trust_env=False) as http:
            while time.monotonic() < deadline:
                self._check_stopping()
                self.tick()
                with contextlib.suppress(httpx.TransportError, ValueError):
                    answer = http.get("/v1/health/ready")
                    said = answer.text[:500]
                    ready = answer.json()
                    if ready["status"] == "up":
                        return
                    missing = {queue for queue, state in ready["queues"].items() if state != "up"}
                    if not lasting and ready["temporal"] == "up" and missing == {Queue.LLM}:
                        self._say("No model can be asked yet, so jobs wait. The worker's log says what is missing.")
                        return
                time.sleep(_POLL)  # longer than it takes to ask: the children need the processors to start
        logs = self._home / "logs"
        raise CliError(f"Atelier is not ready after {READY_TIMEOUT:.0f} s; it says: {said}.", f"Look at {logs}.")


def _reached(host: str) -> str:
    """The host under which this machine reaches what listens on `host`."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104  # compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def child_environment(settings: Settings) -> dict[str, str]:
    """Our environment with the settings as we have them: a child starts in `/` and sees no `.env`."""
    names = {name.upper() for name in Settings.model_fields} | {"ATELIER_API_KEY", "ATELIER_URL"}
    names |= file_variables()  # whose secrets are among the settings
    environment = {name: value for name, value in os.environ.items() if name.upper() not in names}
    values = dict(settings)
    if "log_format" not in settings.model_fields_set:
        values["log_format"] = "console"  # a person reads them
    if "limits" not in settings.model_fields_set:
        values["limits"] = False  # of their own machine's only user
    if settings.registration is None:
        # Who else can reach the port must not get an account that spends this user's money.
        values["registration"] = "closed"
    if settings.artifacts_url and "://" not in settings.artifacts_url:
        values["artifacts_url"] = Path(settings.artifacts_url).absolute()
    for name, value in values.items():
        if value is not None:
            environment[name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return {**environment, "PYTHONUNBUFFERED": "1"}
