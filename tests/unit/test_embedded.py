"""The embedded servers, for real: each test has data folders of its own, and every wait is for a condition."""

import contextlib
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus

from core.embedded import installation, process
from core.embedded.installation import bundled_postgres, can_use
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.process import EmbeddedError, User, find_processes, inspect, locked, remembered_ports, wait_until
from core.embedded.temporal import EmbeddedTemporal

REPOSITORY = Path(__file__).parents[2]
FAST = {"fsync": "off"}
PATIENCE = 20.0  # seconds, for conditions that take well under one

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root can")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG and /proc are Linux's")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="embedded-") as place:
        Path(place).chmod(0o755)
        yield Path(place) / "data"


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A folder that only its owner can enter, as /root is."""
    with tempfile.TemporaryDirectory(prefix="embedded-closed-") as place:
        yield Path(place)


@dataclass
class Parent:
    """A process of tests.support.embedded_parent, and what it said."""

    process: "subprocess.Popen[str]"
    address: str = ""
    pid: int = 0
    adopted: bool = False

    def said(self) -> "Parent":
        assert self.process.stdout
        line = json.loads(self.process.stdout.readline())
        self.address, self.pid, self.adopted = line["address"], line["pid"], line["adopted"]
        return self

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def finish(self) -> None:
        self.process.communicate("")
        assert self.process.returncode == 0


class Servers:
    """Makes servers and parents, and ends them all."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def postgres(
        self, folder: Path, settings: Mapping[str, str] = FAST, installation: Path | None = None
    ) -> EmbeddedPostgres:
        server = EmbeddedPostgres(folder, settings=settings, installation=installation)
        self._stack.callback(server.stop)
        return server

    def temporal(self, folder: Path, namespaces: Sequence[str] = (), *, ui: bool = False) -> EmbeddedTemporal:
        server = EmbeddedTemporal(folder, namespaces=namespaces, ui=ui)
        self._stack.callback(server.kill)  # in a tenth of an orderly stop's time
        return server

    def parent(self, kind: str, folder: Path, *options: str) -> Parent:
        self._stack.callback(self.postgres(folder).stop if kind == "postgres" else self.temporal(folder).kill)
        command = [sys.executable, "-m", "tests.support.embedded_parent", kind, str(folder), *options]
        pipe = subprocess.PIPE
        parent = Parent(subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True))
        self._stack.callback(parent.kill)
        return parent


@pytest.fixture
def servers(folder: Path, closed_home: Path) -> Iterator[Servers]:
    """Servers and parents that end with the test (before the folders that are its fixtures too)."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@contextlib.contextmanager
def sleeper(user: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A live process that is none of the servers'."""
    with subprocess.Popen(["sleep", "60"], user=user if os.geteuid() == 0 else None) as child:
        try:
            # Just after the exec the kernel does not show the command line yet.
            assert wait_until(lambda: (seen := inspect(child.pid)) is not None and seen.command == "sleep 60", PATIENCE)
            yield child
        finally:
            child.kill()


async def _fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _execute(dsn: str, statement: str) -> None:
    await _fetch(dsn, statement)


def _postmasters(folder: Path) -> list[int]:
    mark = f" cluster_name={EmbeddedPostgres(folder.resolve())._name} "
    return [found.pid for found in find_processes(lambda command: mark in f"{command} ")]


def _pid(server: EmbeddedPostgres | EmbeddedTemporal) -> int:
    assert server.pid is not None
    return server.pid


def _user_of(pid: int) -> int:
    return int(psutil.Process(pid).uids().effective)


def _owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in (folder, *folder.rglob("*"))}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------------------------------------- PostgreSQL


async def test_a_fresh_start_serves_queries(servers: Servers, folder: Path) -> None:
    server = servers.postgres(folder, {})
    with server as dsn:
        assert not server.adopted
        assert urlsplit(dsn).path == "/atelier"
        assert await _fetch(dsn, "SHOW server_encoding") == "UTF8"
        assert await _fetch(dsn, "SELECT upper('é') || ('a' > 'B')::text") == "Étrue"
        settings = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name = ANY('{%s}')"
        names = "fsync,max_connections,shared_buffers,synchronous_commit"
        assert await _fetch(dsn, settings % names) == "on 200 16384 on"
        await _execute(dsn, "CREATE EXTENSION vector")
        assert _mode(folder / "postgres.password") == 0o600
        assert _user_of(_pid(server)) != 0
        listening = [c.laddr.ip for c in psutil.Process(_pid(server)).net_connections("all") if c.status == "LISTEN"]
        assert listening == ["127.0.0.1"]
        secret = urlsplit(dsn).password
        assert secret
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _fetch(dsn.replace(secret, "wrong"), "SELECT 1")
    assert server.pid is None
    assert not _postmasters(folder)


async def test_the_port_is_remembered_until_another_takes_it(servers: Servers, folder: Path) -> None:
    server = servers.postgres(folder)
    first = server.start()
    server.stop()
    assert server.start() == first
    assert not server.adopted
    server.stop()
    port = urlsplit(first).port
    with socket.create_server(("127.0.0.1", port or 0)):
        second = server.start()
    assert urlsplit(second).port != port
    server.stop()
    assert server.start() == second
    assert await _fetch(second, "SELECT 1") == 1


async def test_databases_are_made_from_templates_and_dropped_in_use(servers: Servers, folder: Path) -> None:
    with servers.postgres(folder) as dsn:
        server = servers.postgres(folder, {})
        assert server.start() == dsn
        await _execute(server.create_database("template_a"), "CREATE TABLE t AS SELECT 7 AS n")
        copy = server.create_database("copy-1", template="template_a")
        session = await asyncpg.connect(copy)
        assert await session.fetchval("SELECT n FROM t") == 7
        server.drop_database("copy-1")
        server.drop_database("copy-1")
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
            await session.fetchval("SELECT 1")
        session.terminate()
        with pytest.raises(EmbeddedError, match="already exists"):
            server.create_database("template_a")
        with pytest.raises(ValueError, match="database name"):
            server.create_database('x"; DROP')


async def test_a_killed_parents_server_is_adopted_with_its_data(servers: Servers, folder: Path) -> None:
    parent = servers.parent("postgres", folder).said()
    await _execute(parent.address, "CREATE TABLE t AS SELECT 1 AS n")
    parent.kill()
    server = servers.postgres(folder, {})
    assert server.start() == parent.address
    assert server.adopted
    assert server.pid == parent.pid
    assert await _fetch(parent.address, "SELECT n FROM t") == 1
    server.stop()
    assert inspect(parent.pid) is None


@linux_only
async def test_a_server_dies_with_its_killed_parent_and_is_not_adopted_while_it_does(
    servers: Servers, folder: Path
) -> None:
    parent = servers.parent("postgres", folder, "--die").said()
    session = await asyncpg.connect(parent.address)
    parent.kill()
    server = servers.postgres(folder)
    assert server.start() == parent.address
    assert not server.adopted
    assert inspect(parent.pid) is None
    assert _postmasters(folder) == [server.pid]
    session.terminate()


@linux_only
async def test_nothing_survives_the_parent(servers: Servers, folder: Path) -> None:
    parent = servers.parent("postgres", folder, "--die").said()
    children = {parent.pid, *(child.pid for child in psutil.Process(parent.pid).children(recursive=True))}
    assert len(children) > 4
    parent.kill()
    assert wait_until(lambda: not any(map(inspect, children)), PATIENCE)


async def test_committed_rows_survive_the_servers_kill(servers: Servers, folder: Path) -> None:
    server = servers.postgres(folder)
    dsn = server.start()
    await _execute(dsn, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    # A session that does not look at its postmaster for a while would keep the next one out.
    busy = await asyncpg.connect(dsn)
    backend = busy.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    os.kill(_pid(server), signal.SIGKILL)
    assert wait_until(lambda: server.pid is None, PATIENCE)
    assert (folder / "postgres/cluster/postmaster.pid").exists()
    assert server.start() == dsn
    assert not server.adopted
    assert inspect(backend) is None
    assert await _fetch(dsn, "SELECT count(*) FROM t") == 1000
    server.kill()
    assert server.start() == dsn
    assert await _fetch(dsn, "SELECT count(*) FROM t") == 1000
    busy.terminate()


async def test_a_stale_pid_file_with_another_process_id_is_seen_through(servers: Servers, folder: Path) -> None:
    server = servers.postgres(folder)
    dsn = server.start()
    pid_file = folder / "postgres/cluster/postmaster.pid"
    lines = pid_file.read_text()
    user = _user_of(_pid(server))
    server.kill()
    # As the server's own user: PostgreSQL itself would take this process for its own.
    with sleeper(user) as other:
        pid_file.write_text(lines.replace(lines.split()[0], str(other.pid), 1))
        assert server.start() == dsn
        assert not server.adopted
        server.stop()
        assert other.poll() is None


@pytest.mark.parametrize("kind", ["postgres", "temporal"])
def test_two_starts_at_once_give_one_server(servers: Servers, folder: Path, kind: str) -> None:
    pair = [servers.parent(kind, folder), servers.parent(kind, folder)]
    for parent in pair:
        parent.said()
    assert pair[0].pid == pair[1].pid
    assert pair[0].address == pair[1].address
    assert [parent.adopted for parent in pair].count(True) == 1
    for parent in pair:
        parent.finish()


def test_settings_of_the_launcher_are_not_for_callers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="port"):
        EmbeddedPostgres(tmp_path, settings={"port": "5432"})
    with pytest.raises(EmbeddedError, match="not been started"):
        EmbeddedPostgres(tmp_path).dsn()


def test_a_start_that_fails_says_what_the_log_says(servers: Servers, folder: Path) -> None:
    server = servers.postgres(folder, {"fsync": "off", "no_such_setting": "1"})
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        server.start()
    assert not _postmasters(folder)
    servers.postgres(folder).start()


@pytest.fixture
def closed_wheel(closed_home: Path) -> Path:
    """The wheel's PostgreSQL, laid out as in site-packages, where only root can read it."""
    source = bundled_postgres()
    wheel = closed_home / "site" / source.parent.name / source.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(source / part, wheel / part)
    libraries = f"{source.parent.name}.libs"
    shutil.copytree(source.parent.parent / libraries, closed_home / "site" / libraries)
    return wheel


@pytest.fixture
def copies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where binaries may be copied, after a place where nothing can be."""
    place = folder.parent / "copies"
    monkeypatch.setattr(installation, "COPY_FOLDERS", (Path("/proc"), place))
    return place


@root_only
@linux_only
async def test_below_a_closed_home_nothing_is_opened_up(
    servers: Servers, closed_home: Path, closed_wheel: Path, copies: Path
) -> None:
    server = servers.postgres(closed_home / "data", installation=closed_wheel)
    with server as dsn:
        await _execute(dsn, "CREATE EXTENSION vector")
        await _execute(dsn, "CREATE TABLE t AS SELECT 1 AS n")
        assert _user_of(_pid(server)) == pwd.getpwnam("nobody").pw_uid
        assert servers.postgres(closed_home / "data").start() == dsn
        os.kill(_pid(server), signal.SIGKILL)
        assert wait_until(lambda: server.pid is None, PATIENCE)
        assert server.start() == dsn
        assert await _fetch(dsn, "SELECT n FROM t") == 1
    assert [name.rpartition("-")[0] for name in os.listdir(copies)] == ["pginstall18"]
    assert _owners(copies) == {0}
    assert _mode(closed_home) == 0o700


@root_only
def test_a_copy_is_not_made_where_others_can_write(servers: Servers, closed_home: Path, copies: Path) -> None:
    copies.mkdir()
    copies.chmod(0o777)
    wheel = closed_home / "site/package/pginstall18"
    (wheel / "bin").mkdir(parents=True)
    (wheel / "bin/postgres").touch()
    with pytest.raises(EmbeddedError, match="cannot be run by user"):
        servers.postgres(closed_home / "data", installation=wheel).start()
    assert os.listdir(copies) == []


@pytest.fixture
def users_folder(folder: Path) -> Path:
    """A data folder that belongs to an ordinary user."""
    user = pwd.getpwnam("daemon")
    folder.mkdir()
    os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


@root_only
async def test_root_does_not_shut_the_folders_owner_out(servers: Servers, users_folder: Path) -> None:
    with servers.postgres(users_folder) as dsn:
        await _execute(dsn, "CREATE TABLE t AS SELECT 1 AS n")
    temporal = servers.temporal(users_folder)
    temporal.start()
    temporal.kill()
    (user,) = _owners(users_folder)
    assert user == pwd.getpwnam("daemon").pw_uid
    # Below a closed folder the user cannot run Temporal's program; Postgres' is copied out.
    program = Path(sys.prefix) / "bin" / "temporal"
    kinds = ["postgres", *(["temporal"] if can_use(User(user, pwd.getpwuid(user).pw_gid), program) else [])]
    for kind in kinds:
        parent = servers.parent(kind, users_folder, "--uid", str(user)).said()
        assert not parent.adopted
        assert _user_of(parent.pid) == user
        if kind == "postgres":
            assert await _fetch(parent.address, "SELECT n FROM t") == 1
        parent.finish()


@root_only
async def test_an_ordinary_user_needs_no_root(servers: Servers, users_folder: Path) -> None:
    user = pwd.getpwnam("daemon").pw_uid
    parent = servers.parent("postgres", users_folder, "--die", "--uid", str(user)).said()
    assert _user_of(parent.pid) == user
    assert await _fetch(parent.address, "SELECT current_user::text") == "atelier"
    parent.kill()
    assert wait_until(lambda: inspect(parent.pid) is None, PATIENCE)


# ---------------------------------------------------------------------------------------------- Temporal


async def test_a_running_workflow_survives_the_servers_kill(servers: Servers, folder: Path) -> None:
    server = servers.temporal(folder, namespaces=["atelier"], ui=True)
    address = server.start()
    ui = server.ui_url
    assert ui
    client = await Client.connect(address, namespace="atelier")
    await client.start_workflow("Nobody", id="film/1", task_queue="without-workers")
    server.kill()
    assert server.pid is None
    assert server.start() == address
    assert not server.adopted
    assert server.ui_url == ui
    # The same client: the port is the old one, so it has reconnected.
    described = await client.get_workflow_handle("film/1").describe()
    assert described.status == WorkflowExecutionStatus.RUNNING
    page = http.client.HTTPConnection(urlsplit(ui).netloc)
    page.request("GET", "/")
    assert page.getresponse().status < 400
    page.close()
    assert _mode(folder / "temporal.db") == 0o600
    server.stop()


async def test_a_killed_parents_temporal_is_adopted_and_given_namespaces(servers: Servers, folder: Path) -> None:
    parent = servers.parent("temporal", folder).said()
    parent.kill()
    (folder / "temporal.pid").unlink()  # as if it had been killed before it wrote one
    server = servers.temporal(folder, namespaces=["late"])
    assert server.start() == parent.address
    assert server.adopted
    assert server.ui_url is not None  # as it was started, not as it was asked for
    client = await Client.connect(server.address)
    found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="late"))
    assert found.namespace_info.name == "late"
    server.stop()
    assert inspect(parent.pid) is None


@linux_only
def test_temporal_dies_with_its_killed_parent_and_is_not_adopted_while_it_does(servers: Servers, folder: Path) -> None:
    parent = servers.parent("temporal", folder, "--die").said()
    parent.kill()
    server = servers.temporal(folder)
    assert server.start() == parent.address
    assert not server.adopted
    assert inspect(parent.pid) is None
    assert server.ui_url is None
    assert set(json.loads((folder / "ports.json").read_text())) == {"temporal", "temporal-http", "temporal-ui"}


# ---------------------------------------------------------------------------------------------- processes


def test_a_reused_process_id_is_neither_adopted_nor_signalled() -> None:
    with sleeper() as other:
        seen = inspect(other.pid)
        assert seen
        process.stop_process(replace(seen, started="before"), [(signal.SIGKILL, PATIENCE)])
        assert other.poll() is None
        process.stop_process(seen, [(signal.SIGCONT, 0.05), (signal.SIGTERM, PATIENCE)])
        assert other.wait() == -signal.SIGTERM
        assert inspect(other.pid) is None


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps on this machine")
def test_ps_tells_what_proc_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    with sleeper() as other:
        by_proc = inspect(other.pid)
        monkeypatch.setattr(process, "_HAS_PROC", False)
        by_ps = inspect(other.pid)
        assert by_proc
        assert by_ps
        assert by_ps.command == by_proc.command
        assert process.is_running(by_ps)
        assert other.pid in [found.pid for found in find_processes(lambda command: command == "sleep 60")]
        other.kill()
        assert wait_until(lambda: inspect(other.pid) is None, PATIENCE)  # a zombie until `wait`


@linux_only
def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        child = process.spawn(["sleep", "60"], log=tmp_path / "log", death_signal=signal.SIGKILL)
        started.append(child)

    for _ in range(2):
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    gone = wait_until(lambda: any(child.poll() is not None for child in started), 0.1)
    for child in started:
        with child:
            child.kill()
    assert not gone


@linux_only
def test_a_child_whose_parent_has_gone_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    before_exec = process.die_with_parent(signal.SIGTERM)
    monkeypatch.undo()
    with subprocess.Popen(["sleep", "60"], preexec_fn=before_exec) as child:
        assert child.wait() == -signal.SIGKILL


def test_a_lock_that_is_held_is_waited_for_and_then_named(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(EmbeddedError, match="lock"), locked(tmp_path / "lock", timeout=0.05):
        pass
    with locked(tmp_path / "lock", timeout=0):
        pass


def test_ports_survive_a_spoilt_file_and_a_planted_link(tmp_path: Path) -> None:
    first = remembered_ports(tmp_path, ["a", "b"])
    assert remembered_ports(tmp_path, ["b", "a"]) == first
    assert first["a"] != first["b"]
    (tmp_path / "ports.json").write_text("[1]")
    assert set(remembered_ports(tmp_path, ["a"])) == {"a"}
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        process.open_log(tmp_path / "log")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert not process.port_is_free(taken.getsockname()[1])


def test_a_long_log_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 10)
    for _ in range(2):
        descriptor = process.open_log(tmp_path / "log")
        os.write(descriptor, b"more than ten bytes")
        os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert process.log_tail(tmp_path / "log", 5) == "bytes"
