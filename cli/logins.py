"""Logins at deployments: where their tokens lie, and how they are refreshed.

`login.json` in `~/.config/atelier` (XDG_CONFIG_HOME), mode 0600, has one entry a URL and says which was used last. It
is apart from ATELIER_HOME: a login at a remote deployment has nothing to do with the data of a local one.

A refresh token is good for one use, and one that is used twice ends the whole login. So whoever refreshes holds
`login.lock`, and looks first whether somebody else has done it.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.errors import CliError
from cli.http import ServerTroubleError, http_options, problem
from core.embedded.process import EmbeddedError, locked, make_folder, write_owned

EARLY = 10.0  # seconds before its end from which on an access token is not used any more
LOCK_TIMEOUT = 60.0  # seconds; another command refreshes, which takes one request


@dataclass(frozen=True)
class Login:
    """A login at a URL. `expires_at` is the access token's end, in seconds of this machine's clock."""

    url: str
    email: str
    access_token: str
    refresh_token: str
    expires_at: float


def config_folder() -> Path:
    """Where the logins lie."""
    given = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (given if given.is_absolute() else Path("~/.config").expanduser()) / "atelier"


def read_login(url: str = "") -> Login | None:
    """The login at a URL, or without one that which was used last; None when there is nothing readable."""
    noted = _read()
    found = noted["logins"].get(url or noted["last"])
    with contextlib.suppress(TypeError):
        return Login(**found) if found else None
    return None


def new_login(url: str, email: str, tokens: dict[str, Any]) -> Login:
    """A login from what the API answered (`TokenView`)."""
    expires_at = time.time() + float(tokens["expires_in"])
    return Login(url, email, str(tokens["access_token"]), str(tokens["refresh_token"]), expires_at)


def keep_login(login: Login) -> None:
    """Note a login, as the last one that was used. Raises CliError."""
    with _alone():
        _write(login)


def end_login(url: str) -> Login | None:
    """Forget a login after telling the API, and return it; None when there is none at the URL.

    Raises httpx.HTTPError when the API cannot be told; the login is forgotten all the same.
    """
    with _alone():
        login = read_login(url)
        if login is not None:
            _forget(url)
            with httpx.Client(**http_options(url)) as http:
                http.post("/v1/auth/logout", json={"refresh_token": login.refresh_token})
        return login


def forget_login(url: str) -> None:
    """Forget a login that has ended."""
    with _alone():
        _forget(url)


def access_token(url: str) -> str:
    """A token that is good for a moment yet. Raises CliError when the login has ended, httpx.HTTPError when the API
    cannot be asked for another."""
    login = read_login(url)
    if login is None:
        raise _ended(url)
    return login.access_token if _is_good(login) else refreshed(url, login.access_token)


def refreshed(url: str, stale: str) -> str:
    """Another token than the `stale` one. Raises like `access_token`."""
    with _alone():
        login = read_login(url)
        if login is None:
            raise _ended(url)
        if login.access_token != stale and _is_good(login):
            return login.access_token  # by another command, or another request of this one
        with httpx.Client(**http_options(url)) as http:
            response = http.post("/v1/auth/refresh", json={"refresh_token": login.refresh_token})
        if response.status_code == 401:
            _forget(url)
            raise _ended(url, problem(response).message)
        if response.is_server_error:
            raise ServerTroubleError(response)
        if response.is_error:
            raise problem(response)
        login = new_login(url, login.email, response.json())
        _write(login, last=_read()["last"])
        return login.access_token


class LoginAuth(httpx.Auth):
    """Sends the access token of a login, and another one when that is refused."""

    def __init__(self, url: str) -> None:
        self._url = url

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """For blocking clients."""
        token = access_token(self._url)
        response = yield _with(request, token)
        if _is_refused(response):
            yield _with(request, refreshed(self._url, token))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """For the others: the lock is waited for in a thread."""
        token = await asyncio.to_thread(access_token, self._url)
        response = yield _with(request, token)
        if _is_refused(response):
            yield _with(request, await asyncio.to_thread(refreshed, self._url, token))


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _is_refused(response: httpx.Response) -> bool:
    """Whether it is the token that was refused, and not a password in the body."""
    return response.status_code == 401 and "invalid_token" in response.headers.get("WWW-Authenticate", "")


def _is_good(login: Login) -> bool:
    return time.time() < login.expires_at - EARLY


def _ended(url: str, why: str = "") -> CliError:
    return CliError(why or f"There is no login at {url} any more.", f"Log in again: atelier login --url {url}")


# ---------------------------------------------------------------------------------------------- the file


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    folder = config_folder()
    try:
        with locked(make_folder(folder) / "login.lock", LOCK_TIMEOUT):
            yield
    except EmbeddedError as error:
        raise CliError(f"The login cannot be used: {error}.", "Is another command stuck?") from None
    except OSError as error:
        raise CliError(
            f"{folder} cannot be written: {error.strerror}.", "Set XDG_CONFIG_HOME to another folder."
        ) from None


def _read() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        noted = json.loads((config_folder() / "login.json").read_text())
        if isinstance(noted, dict) and isinstance(noted.get("logins"), dict):
            return {"last": str(noted.get("last", "")), "logins": noted["logins"]}
    return {"last": "", "logins": {}}


def _write(login: Login, *, last: str = "") -> None:
    logins = _read()["logins"] | {login.url: asdict(login)}
    _store({"last": last or login.url, "logins": logins})


def _forget(url: str) -> None:
    noted = _read()
    noted["logins"].pop(url, None)
    if noted["last"] == url:
        noted["last"] = next(reversed(noted["logins"]), "")
    _store(noted)


def _store(noted: dict[str, Any]) -> None:
    write_owned(config_folder() / "login.json", json.dumps(noted, indent=2) + "\n")
