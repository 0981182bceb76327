"""The commands for people against the API itself: the first admin, a user, keys, limits, the end of an account."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from cli import people_commands
from cli.home import load_settings
from tests.api.conftest import Api, StartApi
from tests.support.terminal import Terminal

GRACE, ADA = "grace@example.com", "ada@example.com"
MILL, POND = "planted tide mill", "planted mill pond"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The API logs nothing: it is in this process, and what the commands print is looked at."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def api(start_api: StartApi) -> Api:
    """With limits, and without background tasks."""
    return start_api(background=False, limits=True)


@pytest.fixture
def terminal(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A terminal of whoever runs the deployment; who has logged in is in the folder that XDG_CONFIG_HOME names."""
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    monkeypatch.setenv("ATELIER_URL", api.url)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, capsys)


Speaker = Callable[[str], None]


@pytest.fixture
def speak_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Speaker:
    """Lets the commands speak for somebody who has logged in."""
    return lambda who: monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / who))


def lines(said: str) -> list[str]:
    return [" ".join(line.split()) for line in said.splitlines() if line.strip("─━ ")]


def run(terminal: Terminal, *arguments: str, typed: str = "") -> str:
    """What a command that goes well prints."""
    assert terminal.run(*arguments, typed=typed) == 0, terminal.err
    return terminal.out


def test_an_admin_and_a_user(terminal: Terminal, speak_for: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    speak_for("grace")
    made = run(terminal, "admin", "create", GRACE, "--name", "Grace Example", "--password-stdin", typed=f"{MILL}\n")
    assert terminal.err.strip() == f"Made {GRACE}, admin. Log in: atelier login --email {GRACE}"
    run(terminal, "login", "--email", GRACE, "--password-stdin", typed=MILL)
    speak_for("ada")
    run(terminal, "register", "--email", ADA, "--name", "Ada Example", "--password-stdin", typed=POND)

    # A key for reading, on its own.
    key = run(terminal, "keys", "create", "for the press", "--scope", "read", "--expires-in-days", "30").strip()
    assert key.startswith("atl_")
    assert "for read. It is shown only now:" in terminal.err
    (listed,) = lines(run(terminal, "keys"))[1:]
    assert "for the press read 20" in listed
    with monkeypatch.context() as patch:
        patch.setenv("ATELIER_API_KEY", key)
        assert "by the key in ATELIER_API_KEY, which may read" in lines(run(terminal, "whoami"))
        assert terminal.run("submit", "longform", "--topic", "Tide mills") == 1
        assert lines(terminal.err)[1] == "`atelier keys create NAME` makes a key that may do more."
        assert terminal.run("keys", "create", "more") == 1
        assert terminal.run("account", "delete", "--confirm", ADA, "--password-stdin", typed=POND) == 1
    run(terminal, "submit", "longform", "--topic", "Tide mills")
    run(terminal, "keys", "revoke", "last")
    with monkeypatch.context() as patch:
        patch.setenv("ATELIER_API_KEY", key)
        assert terminal.run("whoami") == 1
    assert terminal.run("admin", "accounts") == 1
    assert "makes one, where the database is at hand" in terminal.err

    # What the admin sees and sets.
    speak_for("grace")
    accounts = json.loads(run(terminal, "admin", "accounts", "--json"))
    assert [(one["email"], one["role"], one["jobs"]) for one in accounts] == [(ADA, "user", 1), (GRACE, "admin", 0)]
    assert accounts[1]["id"] == made.strip()
    flags = ["--submissions", "500", "--jobs", "2", "--monthly", "20"]
    assert "Ada Example: 500/h, 2 at once, $20/month" in run(terminal, "admin", "limits", ADA, *flags)
    assert "Ada Example: 500/h, 2 at once" in run(terminal, "admin", "limits", "last", "--monthly", "none")
    shown = lines(run(terminal, "admin", "limits"))
    assert shown[0] == "submissions 100 an hour 1 account, the most is 1"
    assert shown[1].endswith("1 of 500 Ada Example")
    assert f" Ada Example {ADA} user 1 $0 500/h, 2 at once" in lines(run(terminal, "admin", "accounts"))[1]
    assert lines(run(terminal, "admin", "providers"))[3].startswith("simulator answers")
    run(terminal, "admin", "providers", "--resume", "anthropic")
    assert run(terminal, "admin", "usage").startswith("No model was asked from")
    assert "jobs.submit" in run(terminal, "admin", "audit", ADA)
    for arguments, said in (
        (["admin", "limits", "--jobs", "1"], "Whose limits?"),
        (["admin", "limits", ADA, "--jobs", "many"], "'many' is not a number."),
        (["admin", "limits", ADA, "--monthly", "inf"], "'inf' is not a number."),
        (["admin", "limits", "nobody@example.com"], "There is no account with nobody@example.com."),
        (["admin", "grant", GRACE, "--role", "user"], "This is the last admin"),
        (["admin", "reset-password", "nobody@example.com", "--password-stdin"], "There is no account with nobody@"),
        (["admin", "create", ADA, "--name", "A", "--password-stdin"], "There is an account with ada@example.com."),
        (["admin", "create", "ada", "--name", "A", "--password-stdin"], "The email does not do."),
    ):
        assert terminal.run(*arguments, typed=MILL) == 1
        assert said in terminal.err

    # Whoever has the database gives a new password, and the login has ended.
    run(terminal, "admin", "reset-password", ADA, "--password-stdin", typed="planted new pond")
    run(terminal, "admin", "grant", accounts[0]["id"])
    assert terminal.err.strip() == f"{ADA} is an admin now."
    speak_for("ada")
    assert terminal.run("whoami") == 1
    assert "Log in again" in terminal.err
    run(terminal, "login", "--email", ADA, "--password-stdin", typed="planted new pond")
    told = run(terminal, "audit")
    for line in ("account.password_reset", "account.changed_by_admin", "role: admin", "command", "another, "):
        assert line in told


def test_an_account_is_deleted_by_who_types_its_email(
    terminal: Terminal, speak_for: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing erases here.
    monkeypatch.setattr(people_commands, "ERASING_TIMEOUT", 0)
    speak_for("ada")
    run(terminal, "register", "--email", ADA, "--name", "Ada Example", "--password-stdin", typed=POND)
    assert terminal.run("account", "delete", "--password-stdin", "--confirm", GRACE, typed=POND) == 1
    assert "nothing is deleted" in terminal.err
    assert terminal.run("account", "delete", "--password-stdin", "--confirm", ADA, typed="wrong") == 1
    assert "The current password is wrong." in terminal.err
    run(terminal, "keys", "create", "k")
    told = run(terminal, "account", "delete", "--password-stdin", "--confirm", ADA.upper(), typed=POND)
    assert told.startswith("The account is closed, and its data are being erased: GET /v1/erasures/")
    assert terminal.run("whoami") == 1
    assert "no login" in terminal.err


def test_without_a_database_the_commands_say_which(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert load_settings().database_url is None
    assert terminal.run("admin", "grant", ADA) == 1
    assert "DATABASE_URL is not set, and no `atelier up` runs on" in terminal.err
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    assert terminal.run("admin", "grant", ADA) == 1
    assert "is not a URL of a PostgreSQL database" in terminal.err
