"""Logging in and out by the command line: whose credentials a command uses, and tokens that end meanwhile."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.admin_views import allowances
from cli import people_commands, people_view
from cli.client import Api
from cli.errors import CliError
from cli.home import Access, HomeLock, Source, find_access, load_settings, write_credentials
from cli.logins import Login, config_folder, keep_login, read_login
from core.settings import Settings
from tests.support.fake_api import KEY, FakeApi, completed, make_job
from tests.support.fake_people import EMAIL, ME, PASSWORD
from tests.support.terminal import Terminal


@pytest.fixture
def person(api: FakeApi, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of somebody who has no key, and has logged in."""
    monkeypatch.delenv("ATELIER_API_KEY")
    monkeypatch.delenv("ATELIER_URL")
    assert terminal.run("login", "--url", api.url, "--email", EMAIL, "--password-stdin", typed=f"{PASSWORD}\n") == 0
    api.asked.clear()
    return terminal


def kept(api: FakeApi) -> Login:
    found = read_login(api.url)
    assert found is not None
    return found


def expire(api: FakeApi) -> None:
    """The access token that is kept has ended by our clock."""
    keep_login(Login(**{**kept(api).__dict__, "expires_at": time.time()}))


# ---------------------------------------------------------------------------------------------- in and out


def test_a_login_is_kept_for_its_user_alone_and_used(api: FakeApi, person: Terminal, tmp_path: Path) -> None:
    file = config_folder() / "login.json"
    assert file == tmp_path / "config/atelier/login.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept(api).refresh_token == "refresh-1"
    assert PASSWORD not in file.read_text()
    assert person.run("whoami") == 0
    assert api.headers[-1]["authorization"] == "Bearer access-1"
    lines = [" ".join(line.split()) for line in person.out.splitlines()]
    assert lines == [
        f"account Ada Example <{EMAIL}>",
        f"id {ME['id']}",
        "role user",
        f"at {api.url}",
        "by a login",
        "limits 100 jobs an hour, 20 at once",
    ]
    assert person.run("whoami", "--json") == 0
    assert json.loads(person.out)["credentials"] == "atelier login"

    assert person.run("logout") == 0
    assert person.err.strip() == f"Logged out at {api.url}."
    assert api.asked[-1] == ("POST", "/v1/auth/logout", {"refresh_token": "refresh-1"})
    assert read_login(api.url) is None
    assert person.run("logout") == 0
    assert "There is no login." in person.err
    assert person.run("whoami") == 1
    assert "and there is no login" in person.err


def test_registering_logs_in(api: FakeApi, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATELIER_API_KEY")
    flags = ["--email", EMAIL, "--name", "Ada Example", "--password-stdin"]
    assert terminal.run("register", *flags, typed=f"{PASSWORD}\n") == 0
    given = {"email": EMAIL, "name": "Ada Example", "password": PASSWORD}
    assert api.asked[0] == ("POST", "/v1/auth/register", given)
    assert f"Logged in at {api.url} as {EMAIL}." in terminal.err
    assert kept(api).access_token == "access-1"


def test_a_password_is_never_an_argument_and_asks_for_a_terminal(api: FakeApi, terminal: Terminal) -> None:
    assert terminal.run("login", "--email", EMAIL) == 1
    assert "Pipe it in: --password-stdin" in terminal.err
    assert terminal.run("login", "--email", EMAIL, "--password", PASSWORD) == 2
    assert terminal.run("login", "--password-stdin", typed=PASSWORD) == 1
    assert "Nobody is here to be asked: Email." in terminal.err
    assert terminal.run("login", "--email", EMAIL, "--password-stdin", typed="wrong\n") == 1
    assert "It is wrong credentials." in terminal.err
    assert api.people.refreshed == 0, "what is refused is the password, and not a token"
    assert read_login() is None


def test_whose_credentials_a_command_uses(
    api: FakeApi, person: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[Source, str]:
        access = find_access(load_settings())
        return access.source, access.url

    assert found() == (Source.LOGIN, api.url)
    keep_login(Login("https://else.example.com", EMAIL, "a", "r", 0))
    assert found() == (Source.LOGIN, "https://else.example.com"), "the last one"
    local = "http://127.0.0.1:9"
    HomeLock(home)
    write_credentials(home, Access(local, KEY))
    assert found() == (Source.UP, local)
    monkeypatch.setenv("ATELIER_URL", local)
    assert found() == (Source.UP, local)
    keep_login(Login(local, EMAIL, "a", "r", 0))
    assert found() == (Source.LOGIN, local)
    monkeypatch.setenv("ATELIER_URL", api.url)
    assert found() == (Source.LOGIN, api.url)
    monkeypatch.setenv("ATELIER_URL", "https://third.example.com")
    with pytest.raises(CliError, match=r"There is no API key for https://third\.example\.com, and no login"):
        find_access(load_settings())
    monkeypatch.delenv("ATELIER_URL")
    # Who logs in where another key is nearer is told.
    assert person.run("login", "--url", api.url, "--email", EMAIL, "--password-stdin", typed=PASSWORD) == 0
    assert (
        f"Here the commands go on using what `atelier up` noted, for {local}. Set ATELIER_URL={api.url}" in person.err
    )
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    assert found() == (Source.ENVIRONMENT, local)
    monkeypatch.setenv("ATELIER_URL", api.url)
    assert found() == (Source.ENVIRONMENT, api.url)


# ---------------------------------------------------------------------------------------------- tokens that end


def test_a_token_that_ended_by_our_clock_is_not_sent(api: FakeApi, person: Terminal) -> None:
    expire(api)
    assert person.run("jobs") == 0
    assert [path for _, path, _ in api.asked] == ["/v1/auth/refresh", "/v1/jobs?limit=20"]
    assert api.headers[-1]["authorization"] == "Bearer access-2"
    assert kept(api).refresh_token == "refresh-2"


def test_a_token_that_is_refused_is_replaced_once(api: FakeApi, person: Terminal) -> None:
    api.people.expire()
    assert person.run("submit", "longform", "--topic", "Tides") == 0
    asked = [(path, body) for _, path, body in api.asked]
    sent = {"pipeline": "longform", "input": {"topic": "Tides"}}
    assert asked == [("/v1/jobs", sent), ("/v1/auth/refresh", {"refresh_token": "refresh-1"}), ("/v1/jobs", sent)]
    # Following a job asks twice at once, and refreshes once.
    api.add(completed(make_job(1)))
    api.people.expire()
    assert person.run("watch", "last") == 0
    assert api.people.refreshed == 2
    # A login that has ended is not tried over and over.
    api.people.answer("logout", {})
    assert person.run("jobs") == 1
    assert "It is unauthenticated." in person.err
    assert f"Log in again: atelier login --url {api.url}" in person.err
    assert read_login(api.url) is None


def test_two_commands_at_once_refresh_once(api: FakeApi, person: Terminal) -> None:
    api.people.expire()
    api.people.refused = threading.Barrier(2)
    access = find_access(load_settings())

    def ask(_: int) -> str:
        with Api(access) as connection:
            return str(connection.json("GET", "/v1/me")["via"])

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, range(2))) == ["login", "login"]
    assert api.people.refreshed == 1
    assert kept(api).access_token == "access-2"


def test_an_api_that_is_away_ends_no_login(api: FakeApi, person: Terminal) -> None:
    expire(api)
    api.people.refresh_status = 503
    assert person.run("jobs") == 1
    assert person.err.splitlines() == ["It is database unavailable.", "Try again in a moment."]
    api.people.refresh_status = 200
    assert person.run("jobs") == 0
    keep_login(Login("http://127.0.0.1:9", EMAIL, "a", "r", 0))
    assert person.run("logout", "--url", "http://127.0.0.1:9") == 0
    assert "could not be told" in person.err
    assert read_login("http://127.0.0.1:9") is None
    assert read_login() == kept(api)


def test_a_new_password_comes_with_a_new_login(api: FakeApi, person: Terminal) -> None:
    assert person.run("account", "password", "--password-stdin", typed="wrong\nplanted new mill\n") == 1
    assert "It is wrong credentials." in person.err
    assert person.run("account", "password", "--password-stdin", typed=f"{PASSWORD}\nplanted new mill\n") == 0
    assert kept(api).access_token == "access-2"
    assert person.run("whoami") == 0
    assert api.people.refreshed == 0


def test_a_deletion_tells_what_it_erased(api: FakeApi, person: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_commands, "POLL", 0.001)
    assert person.run("account", "delete", "--confirm", EMAIL.upper(), "--password-stdin", typed=PASSWORD) == 0
    assert ("DELETE", "/v1/me", {"password": PASSWORD}) in api.asked
    assert api.asked[-1][1].startswith("/v1/erasures/")
    assert person.out.strip() == (
        "Erased: 12 jobs, 9 documents, 214 artifacts, 13 workflow histories, 4 uploads, 1 webhook, "
        "171 files of 3.4 MB, 2 keys and 3 logins. "
        "What stays: that 148 calls cost $0.4187."
    )
    assert "with all jobs, documents and files. Nothing brings them back." in person.err
    assert read_login(api.url) is None


@pytest.mark.parametrize("content", ["", "[]", '{"logins": []}', '{"last": "x", "logins": {"x": {"url": 1}}}'])
def test_a_file_that_is_no_list_of_logins_is_none(home: Path, content: str) -> None:
    config_folder().mkdir(parents=True)
    (config_folder() / "login.json").write_text(content)
    assert read_login() is None
    with pytest.raises(CliError, match="There are no credentials"):
        find_access(load_settings())


def test_every_limit_has_a_name_for_what_it_is_of() -> None:
    counted = {one.name for one in allowances(Settings(_env_file=None))}
    assert set(people_view.COUNTED) == counted | {"jobs_at_once"}
