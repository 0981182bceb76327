"""What lies in ATELIER_HOME for the command line: credentials, who runs on this data, and the lock that says so.

    credentials.json   {"url", "api_key"} of the local API, mode 0600
    up.lock            held (flock) by the one `atelier up` or `atelier demo` that serves this data
    up.json            what that one serves, while it does
    children.json      its processes, so that the next one can end what a crash left behind

Imports no database, Temporal or model library: every command starts with this.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.errors import CliError
from cli.logins import read_login
from core.embedded.process import Running, inspect, is_running, make_folder, open_owned, write_owned
from core.settings import Settings

CREDENTIALS = "credentials.json"


def load_settings() -> Settings:
    """The settings of environment and `.env`. Raises CliError that names the variables that are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        # Never the value: it may be a key.
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise CliError(f"A setting is not valid: {wrong}.", "Correct it in the environment or in .env.") from None


class Source(StrEnum):
    """Where the credentials of a command come from."""

    ENVIRONMENT = "ATELIER_API_KEY"
    UP = "atelier up"
    LOGIN = "atelier login"


@dataclass(frozen=True)
class Access:
    """Where the API is, and the key to it. A login has none: its tokens come and go (`logins.py`)."""

    url: str
    api_key: str
    source: Source = Source.UP


def read_credentials(home: Path) -> Access | None:
    """What the last `atelier up` on this data noted; None when there is nothing readable."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads((home / CREDENTIALS).read_text())
        return Access(str(noted["url"]).rstrip("/"), str(noted["api_key"]))
    return None


def write_credentials(home: Path, access: Access) -> None:
    """Note where the API is and its key, readable by this user alone."""
    write_owned(home / CREDENTIALS, json.dumps({"url": access.url, "api_key": access.api_key}, indent=2) + "\n")


def find_access(settings: Settings) -> Access:
    """ATELIER_API_KEY, else the login at ATELIER_URL where that is set, else what `atelier up` noted in ATELIER_HOME,
    else the last login. Raises CliError when there is nothing.

    The noted key and a login belong to their URLs: they are not sent to another one.
    """
    url, key = os.environ.get("ATELIER_URL", "").rstrip("/"), os.environ.get("ATELIER_API_KEY", "")
    home = settings.atelier_home.absolute()
    noted = read_credentials(home)
    if key:
        local = noted.url if noted else f"http://127.0.0.1:{settings.api_port}"
        return Access(url or local, key, Source.ENVIRONMENT)
    if url and read_login(url):
        return Access(url, "", Source.LOGIN)
    if noted and url in ("", noted.url):
        return noted
    if not url and (login := read_login()):
        return Access(login.url, "", Source.LOGIN)
    if url:
        raise CliError(
            f"There is no API key for {url}, and no login.", f"Set ATELIER_API_KEY, or: atelier login --url {url}"
        )
    raise CliError(
        f"There are no credentials in {home}, and there is no login.",
        "`atelier up` there makes some, `atelier login --url URL` logs in elsewhere; or set ATELIER_URL and "
        "ATELIER_API_KEY.",
    )


@dataclass(frozen=True)
class Serving:
    """What serves a data folder now. `by` is the command: `up` or `demo`."""

    pid: int
    started: str
    by: str
    url: str
    temporal_ui: str
    temporal_address: str

    @property
    def docs_url(self) -> str:
        """The API's documentation."""
        return f"{self.url}/docs"


def read_serving(home: Path) -> Serving | None:
    """Who serves this data and is ready, if that process lives."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        serving = Serving(**json.loads((home / "up.json").read_text()))
        if is_running(Running(serving.pid, serving.started, "")):
            return serving
    return None


def write_serving(home: Path, by: str, url: str, temporal_ui: str, temporal_address: str) -> Serving:
    """Say that this process serves the data and is ready."""
    us = inspect(os.getpid())
    serving = Serving(os.getpid(), us.started if us else "", by, url, temporal_ui, temporal_address)
    write_owned(home / "up.json", json.dumps(asdict(serving), indent=2) + "\n")
    return serving


def clear_serving(home: Path) -> None:
    """Take back what `write_serving` said."""
    (home / "up.json").unlink(missing_ok=True)


class HomeLock:
    """The right to serve a data folder: one process at a time. The kernel frees it when the process dies."""

    def __init__(self, home: Path) -> None:
        try:
            self.home = make_folder(home)
            os.close(open_owned(self.home / "up.lock", os.O_RDWR))
        except OSError as error:
            raise CliError(f"{home} cannot be used: {error.strerror}.", "Set ATELIER_HOME to another folder.") from None
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock if it is free."""
        descriptor = open_owned(self.home / "up.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        clear_serving(self.home)  # of one that was killed
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            # By name, not by closing alone: a child being forked just now holds a copy of the descriptor.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


def read_children(home: Path) -> list[Running]:
    """The processes that the last supervisor noted."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        noted: list[dict[str, Any]] = json.loads((home / "children.json").read_text())
        return [Running(**one) for one in noted]
    return []


def write_children(home: Path, children: Iterable[Running]) -> None:
    """Note the processes of this supervisor."""
    write_owned(home / "children.json", json.dumps([asdict(child) for child in children], indent=2) + "\n")
