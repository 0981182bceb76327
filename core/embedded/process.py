"""Starting, recognising and stopping the programs that run beside us.

Every time is in seconds. A failure that the user can act on is an `EmbeddedError`; the operating system's own
`OSError` (no space, no permission) passes through. POSIX only.

Process ids are reused, so a number read from a file proves nothing: it is looked up (`/proc` on Linux, `ps`
elsewhere) and only acted on when its command line is the one we would have started, and before each signal its
start time must still be the one that was seen.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

POLL = 0.01  # between two looks at a condition
LOCK_TIMEOUT = 120.0  # the holder may be waiting for a crash recovery
LOG_LIMIT = 16 * 2**20  # bytes; a longer log is moved aside at the next start
# Below the ports the kernel hands to outgoing connections (from 32768 on Linux, 49152 on macOS): a remembered port
# in that range could be lost to any client while its server restarts.
PORTS = range(20000, 30000)
# Nothing of ours is inherited: our environment holds API keys, and another process of the same user could read them.
BARE_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HAS_PROC = Path("/proc/self/stat").exists()


class EmbeddedError(RuntimeError):
    """An embedded server cannot be started, found or stopped; the message says why and where the log is."""


@dataclass(frozen=True)
class User:
    """Whom a server runs as when we are root (PostgreSQL refuses to run as root)."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Running:
    """A live process as it was seen once.

    `started` tells it from a later process with the same id; `command` is its arguments joined by single spaces.
    """

    pid: int
    started: str
    command: str


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look at `condition` until it is true or `timeout` seconds are over, and return what it was last."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


# ---------------------------------------------------------------------------------------------- files of ours


def own_like_folder(path: Path | int, folder: Path) -> None:
    """Give a file that we made as root to the owner of its folder: a root-owned file would shut that user out."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(path, int))


def make_folder(folder: Path) -> Path:
    """Make the folder and its missing parents, each with the owner of the one above, and return it resolved."""
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        own_like_folder(path, path.parent)
    return folder.resolve()


def open_owned(path: Path, flags: int) -> int:
    """Open or make a file of ours with mode 0600; a link planted in its place is refused (OSError)."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(descriptor).st_uid == 0:
        own_like_folder(descriptor, path.parent)
    return descriptor


def write_owned(path: Path, text: str) -> None:
    """Replace a file of ours as a whole: a reader sees the old text or the new, whenever we are killed."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(open_owned(new, os.O_WRONLY | os.O_EXCL), "w") as file:
        file.write(text)
    new.replace(path)


def open_log(path: Path) -> int:
    """Open a log for appending, after moving one that has grown past LOG_LIMIT to `<name>.1`."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return open_owned(path, os.O_WRONLY | os.O_APPEND)


def log_tail(path: Path, size: int = 2000) -> str:
    """The last `size` bytes of a log, for an error message."""
    with contextlib.suppress(OSError):
        return path.read_bytes()[-size:].decode(errors="replace").strip()
    return ""


@contextlib.contextmanager
def locked(path: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock file against other processes and threads; the kernel frees it when we die.

    Raises EmbeddedError when another holds it for longer than `timeout` seconds.
    """
    descriptor = open_owned(path, os.O_RDWR)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if not wait_until(taken, timeout):
            raise EmbeddedError(f"another process has held {path} for {timeout:.0f} s")
        yield
    finally:
        # Unlocked by name, not by closing alone: a child being forked just now holds a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------- ports


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the servers do: connections of the last run that are still in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_answers(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def remembered_ports(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """A free loopback port for each name: the one in the folder's `ports.json` when it is free, else a new one.

    Clients reconnect by themselves when a server returns on its old port, so a port is only given up when another
    program has taken it. Raises EmbeddedError when no port in PORTS is free.
    """
    file = folder / "ports.json"
    with locked(folder / "ports.lock"):
        known: dict[str, int] = {}
        # A file that is missing or that someone has edited badly costs new ports, nothing else.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            known = {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
        before = dict(known)
        for name in names:
            if name not in known or not port_is_free(known[name]):
                taken = set(known.values())
                found = (p for p in random.sample(PORTS, len(PORTS)) if p not in taken and port_is_free(p))
                known[name] = next(found, 0)
            if not known[name]:
                raise EmbeddedError(f"no loopback port between {PORTS.start} and {PORTS.stop} is free")
        if known != before:
            write_owned(file, json.dumps(known, indent=2) + "\n")
    return {name: known[name] for name in names}


# ---------------------------------------------------------------------------------------------- starting


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel sends the child `death_signal` when its parent dies. Linux; else None.

    CPython calls preexec_fn after setuid, as it must be: a change of user clears the setting. It is tied to the
    *thread* that forks, not to the process (prctl(2), PR_SET_PDEATHSIG), so a child that is to live as long as the
    process must be forked by a lasting thread: see `spawn`.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: after fork only async-safe work is allowed
    parent, number = os.getpid(), int(death_signal)

    def before_exec() -> None:
        if prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it died before the setting, so no signal will ever come
            os.kill(os.getpid(), signal.SIGKILL)

    return before_exec


_Job = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]
_jobs: "queue.SimpleQueue[_Job]" = queue.SimpleQueue()
_spawner_guard = threading.Lock()
_spawner: threading.Thread | None = None


def _serve_jobs() -> None:
    while True:
        job, future = _jobs.get()
        try:
            future.set_result(job())
        except BaseException as error:  # handed to the thread that asked
            future.set_exception(error)


def _in_lasting_thread(job: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
    """Run the job in a thread that ends with the process: the main one, or one daemon thread kept for this."""
    global _spawner
    if threading.current_thread() is threading.main_thread():
        return job()
    with _spawner_guard:
        if _spawner is None or not _spawner.is_alive():  # not alive: we are a fork of the process that had it
            _spawner = threading.Thread(target=_serve_jobs, name="embedded-spawner", daemon=True)
            _spawner.start()
    future: Future[subprocess.Popen[bytes]] = Future()
    _jobs.put((job, future))
    return future.result()


def spawn(
    arguments: Sequence[str],
    *,
    log: Path,
    death_signal: signal.Signals | None,
    user: User | None = None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] = BARE_ENVIRONMENT,
) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own (a terminal's Ctrl-C is ours to turn into an orderly stop).

    Its output is appended to `log`. With `death_signal` it gets that signal when this process dies (Linux), also
    when the calling thread ends before. Raises OSError when the program cannot be started.
    """
    before_exec = die_with_parent(death_signal) if death_signal is not None else None
    output = open_log(log)

    def job() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            umask=0o077,  # what a server writes (workflow inputs, say) is for its own user
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=before_exec,
        )

    try:
        return _in_lasting_thread(job)
    finally:
        os.close(output)


# ---------------------------------------------------------------------------------------------- recognising


def inspect(pid: int) -> Running | None:
    """What runs under this id; None when nothing does, or only a zombie that waits for its parent."""
    return _inspect_proc(pid) if _HAS_PROC else _inspect_ps(pid)


def _inspect_proc(pid: int) -> Running | None:
    try:
        # Fields as in proc_pid_stat(5), counted after the name, which may itself hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or hidden: another user's (hidepid)
        return None
    state, started = fields[0], fields[19]
    if state in "ZX":
        return None
    return Running(pid, started, command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace"))


def _ps(*options: str) -> list[str]:
    return subprocess.run(
        ["ps", "-ww", *options], env=dict(BARE_ENVIRONMENT), capture_output=True, text=True, check=False
    ).stdout.splitlines()


def _inspect_ps(pid: int) -> Running | None:
    for line in _ps("-o", "stat=,lstart=,command=", "-p", str(pid)):
        # S Sat Nov 21 01:02:26 2026 /usr/bin/program --flag
        fields = line.split(maxsplit=6)
        if len(fields) == 7 and not fields[0].startswith("Z"):
            return Running(pid, " ".join(fields[1:6]), fields[6])
    return None


def find_processes(wanted: Callable[[str], bool]) -> list[Running]:
    """Every live process whose command line is wanted."""
    if _HAS_PROC:
        ids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    else:
        ids = [int(line.split()[0]) for line in _ps("-ax", "-o", "pid=,command=") if wanted(line.split(maxsplit=1)[1])]
    return [found for pid in ids if (found := inspect(pid)) is not None and wanted(found.command)]


# ---------------------------------------------------------------------------------------------- who dies with whom


def write_record(file: Path, server: int, *, dies_with_us: bool) -> None:
    """Note a server's process id, and this process if the server is to end with it."""
    us = inspect(os.getpid()) if dies_with_us and sys.platform == "linux" else None
    write_owned(file, json.dumps({"pid": server, "dies_with": [us.pid, us.started] if us else None}) + "\n")


def read_record(file: Path) -> tuple[int, bool]:
    """The noted process id (0: none), and whether it was to end with a process that has ended.

    Such a server may still answer while it shuts down: adopting it would be taking over a dying one.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads(file.read_text())
        if record["dies_with"] is None:
            return int(record["pid"]), False
        pid, started = record["dies_with"]
        return int(record["pid"]), not is_running(Running(int(pid), str(started), ""))
    return 0, False


# ---------------------------------------------------------------------------------------------- stopping


def is_running(seen: Running) -> bool:
    """Whether the very process that was seen still runs."""
    now = inspect(seen.pid)
    return now is not None and now.started == seen.started


def stop_process(seen: Running, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal in turn until the process is gone, waiting the given seconds after each.

    Raises EmbeddedError when it outlives the last one, and PermissionError when it is not ours to stop.
    """
    for number, patience in steps:
        if not is_running(seen):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(seen.pid, number)
        if wait_until(lambda: not is_running(seen), patience):
            return
    raise EmbeddedError(f"process {seen.pid} did not end: {seen.command[:200]}")
