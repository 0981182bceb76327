"""The commands for people: logging in and out, the account, its keys, and what was done with them."""

import getpass
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console

from cli.client import Api, Json
from cli.errors import CliError
from cli.figures import short_id
from cli.home import Source, find_access, load_settings, read_credentials
from cli.http import http_options, is_local, problem, unreachable
from cli.logins import end_login, forget_login, keep_login, new_login, read_login
from cli.people_view import audit_table, erased_text, keys_table, me_lines
from cli.shared import AsJson, connect, print_json, show_list
from cli.terminal import say
from core.contracts.people import Scope

ERASING_TIMEOUT = 60.0  # seconds that a deletion is waited for; it goes on without us
POLL = 0.5  # seconds

Url = Annotated[
    str | None,
    typer.Option(envvar="ATELIER_URL", help="Where the API is. \\[default: of the last login, or of `atelier up`]"),
]
Email = Annotated[str | None, typer.Option(help="The account's email; asked for, if not given.")]
PasswordStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input, where no process list shows it."),
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="A key's id, four characters of its end or more, or `last`.")]


def login(url: Url = None, email: Email = None, password_stdin: PasswordStdin = False) -> None:
    """Log in at a deployment, and have the commands use that login.

    The first of these is used: ATELIER_API_KEY, the login at ATELIER_URL, the key of `atelier up`, the last login.
    """
    url = _url(url)
    email = email or ask("Email")
    password = read_password(password_stdin, "Password")
    _log_in(url, email, password)


def register(
    url: Url = None,
    email: Email = None,
    name: Annotated[str | None, typer.Option(help="Your name; asked for, if not given.")] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Make an account at a deployment, and log in."""
    url = _url(url)
    email, name = email or ask("Email"), name or ask("Name")
    password = read_password(password_stdin, "Password (10 characters or more)", twice=True)
    _post(url, "/v1/auth/register", {"email": email, "name": name, "password": password})
    _log_in(url, email, password)


def logout(url: Url = None) -> None:
    """End the login, here and at the deployment."""
    console = Console(stderr=True)
    given = (url or "").rstrip("/")
    found = read_login(given)
    if found is None:
        say(console, f"There is no login at {given}." if given else "There is no login.", "dim")
        return
    try:
        end_login(found.url)
    except (httpx.HTTPError, httpx.InvalidURL):
        say(
            console,
            f"{found.url} could not be told: its tokens are deleted here, and end there by themselves.",
            "yellow",
        )
        return
    say(console, f"Logged out at {found.url}.")


def whoami(as_json: AsJson = False) -> None:
    """Say who the commands speak for here, where, and by which credentials."""
    with connect() as api:
        me = api.json("GET", "/v1/me")
    if as_json:
        print_json({**me, "url": api.access.url, "credentials": api.access.source.value})
    else:
        Console().print(me_lines(me, api.access, load_settings().atelier_home.absolute()), highlight=False)


def audit(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was done with your account and your things, by whom and from where, newest first."""
    console = Console()
    with connect() as api:
        lines = list(api.pages("/v1/me/audit", limit))
    if as_json:
        print_json(lines)
    elif lines:
        console.print(audit_table(lines, console.width))
    else:
        say(console, "Nothing has been done yet.", "dim")


# ---------------------------------------------------------------------------------------------- keys

keys = typer.Typer(
    name="keys",
    help="List your API keys, make and revoke them.",
    invoke_without_command=True,
)


@keys.callback()
def list_keys(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List your API keys, newest first; make and revoke them."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    with connect() as api:
        found = list(api.keys(limit))
    show_list(console, found, keys_table, "There are no keys: atelier keys create NAME", as_json=as_json)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; may be given twice. \\[default: read and write]")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="When it ends. \\[default: when it is revoked]")
    ] = None,
) -> None:
    """Make a key and print it: it is shown only now. Nothing else goes to standard output."""
    body: Json = {"name": name}
    if scope:
        body["scopes"] = sorted({one.value for one in scope})
    if expires_in_days:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=expires_in_days)).isoformat()
    with connect() as api:
        made = api.json("POST", "/v1/me/keys", json=body)
    said = f"Key {short_id(str(made['id']))}, for {' and '.join(made['scopes'])}. It is shown only now:"
    say(Console(stderr=True), said, "dim")
    say(Console(), str(made["key"]))


@keys.command()
def revoke(key_id: KeyId) -> None:
    """End a key: the next request with it fails, everywhere."""
    with connect() as api:
        full = api.resolve_key(key_id)
        api.request("DELETE", f"/v1/me/keys/{full}")
    say(Console(stderr=True), f"Key {short_id(full)} is revoked.")


# ---------------------------------------------------------------------------------------------- the account

account = typer.Typer(name="account", help="Change your password, or delete your account.", no_args_is_help=True)


@account.command()
def password(
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read two lines from standard input: the current one, the new one.")
    ] = False,
) -> None:
    """Change your password. All your other logins end."""
    with connect() as api:
        me = api.json("GET", "/v1/me")
        current = read_password(password_stdin, "Current password")
        new = read_password(password_stdin, "New password (10 characters or more)", twice=True)
        tokens = api.json("POST", "/v1/me/password", json={"current_password": current, "new_password": new})
        if api.access.source is Source.LOGIN:
            keep_login(new_login(api.access.url, str(me["email"]), tokens))
    say(Console(stderr=True), "The password is changed; all other logins have ended. Keys go on: `atelier keys`.")


@account.command()
def delete(
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
    confirm: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="The account's email, instead of being asked to type it.")
    ] = None,
) -> None:
    """Delete your account with all its jobs, documents and files, for good. Asks you to type its email."""
    with connect() as api:
        me = api.json("GET", "/v1/me")
        meant = str(me["email"] or me["name"])
        notes = Console(stderr=True)
        say(
            notes,
            f"This deletes {meant} at {api.access.url}, with all jobs, documents and files. Nothing brings them back.",
            "red",
        )
        typed = confirm if confirm is not None else ask(f"Type {meant} to go on")
        if typed.strip().casefold() != meant.casefold():
            raise CliError("That is another one: nothing is deleted.")
        body = {"password": read_password(password_stdin, "Password")} if me["has_password"] else {}
        erasure = api.json("DELETE", "/v1/me", json=body)
        if api.access.source is Source.LOGIN:
            forget_login(api.access.url)
        erasure = _erased(api.access.url, erasure)
    if as_json:
        print_json(erasure)
    else:
        say(Console(), erased_text(erasure))


def _erased(url: str, erasure: Json) -> Json:
    """How far it is when it has finished, or when it takes too long. It can be read without credentials."""
    deadline = time.monotonic() + ERASING_TIMEOUT
    with httpx.Client(**http_options(url)) as http:
        while not erasure["finished_at"] and time.monotonic() < deadline:
            time.sleep(POLL)
            with suppress(httpx.HTTPError, ValueError):
                response = http.get(f"/v1/erasures/{erasure['id']}")
                erasure = response.json() if response.is_success else erasure
    return erasure


# ---------------------------------------------------------------------------------------------- asking


def ask(what: str) -> str:
    """A line that is typed. Raises CliError where nobody types."""
    if not sys.stdin.isatty():
        raise CliError(f"Nobody is here to be asked: {what}.", "Give it as an option; --help names them.")
    return str(typer.prompt(what, err=True)).strip()


def read_password(from_stdin: bool, what: str, *, twice: bool = False) -> str:
    """A password, from standard input or typed unseen; never an argument, which others could see."""
    if from_stdin:
        found = sys.stdin.readline().rstrip("\r\n")
        if not found:
            raise CliError("There is no password on standard input.")
        return found
    if not sys.stdin.isatty():
        raise CliError("A password is needed, and nobody is here to type it.", "Pipe it in: --password-stdin")
    found = getpass.getpass(f"{what}: ")
    if twice and getpass.getpass("Once more: ") != found:
        raise CliError("The two are not the same.", "Try again.")
    return found


def _url(given: str | None) -> str:
    """Where to log in: what is given, else where it was last, else what runs here."""
    if given:
        return given.rstrip("/")
    settings = load_settings()
    last, noted = read_login(), read_credentials(settings.atelier_home.absolute())
    return last.url if last else noted.url if noted else f"http://127.0.0.1:{settings.api_port}"


def _log_in(url: str, email: str, password: str) -> None:
    tokens = _post(url, "/v1/auth/login", {"email": email, "password": password})
    keep_login(new_login(url, email, tokens))
    console = Console(stderr=True)
    say(console, f"Logged in at {url} as {email}.")
    used = find_access(load_settings())
    if used.source is not Source.LOGIN or used.url != url:
        why = "ATELIER_API_KEY" if os.environ.get("ATELIER_API_KEY") else "what `atelier up` noted"
        how = (
            "Unset it to use the login."
            if os.environ.get("ATELIER_API_KEY")
            else f"Set ATELIER_URL={url} for the login."
        )
        say(console, f"Here the commands go on using {why}, for {used.url}. {how}", "yellow")


def _post(url: str, path: str, body: Json) -> Json:
    """A request without credentials, but with a password."""
    if urlsplit(url).scheme == "http" and not is_local(url):
        say(Console(stderr=True), f"The password goes to {url} unencrypted: use https:// if you can.", "yellow")
    try:
        with httpx.Client(**http_options(url)) as http:
            response = http.post(path, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unreachable(url, error) from None
    if response.is_error:
        raise problem(response)
    return Api.json_of(response)


COMMANDS = (login, register, logout, whoami, audit)
"""In the order of the help page; `keys` and `account` are beside them."""
