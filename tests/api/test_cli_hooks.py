"""The commands for webhooks against the API itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cli import hook_commands
from core.contracts.webhooks import CHOSEN
from core.db.engine import Database
from tests.api.conftest import Api
from tests.api.test_cli import lines, quiet, run
from tests.conftest import Account
from tests.support.rows import execute, one
from tests.support.terminal import Terminal

__all__ = ["quiet"]
URL = "https://museum.example.com/hooks"


@pytest.fixture
def terminal(
    api: Api, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    """A terminal of somebody with a key."""
    monkeypatch.setenv("ATELIER_URL", api.url)
    monkeypatch.setenv("ATELIER_API_KEY", account.token)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    yield Terminal(monkeypatch, capsys)
    structlog.reset_defaults()


def test_the_events_are_those_of_the_contract() -> None:
    assert {event.value for event in hook_commands.HookEvent} == {event.value for event in CHOSEN}


async def test_webhooks_by_the_command_line(terminal: Terminal, database: Database) -> None:
    assert run(terminal, "hooks") == "There are no webhooks: atelier hooks add URL\n"
    secret = run(terminal, "hooks", "add", URL, "--event", "job.failed", "--description", "the website").strip()
    assert secret.startswith("whsec_")
    assert "for job.failed. Its secret is shown only now:" in terminal.err
    (listed,) = lines(run(terminal, "hooks"))[1:]
    assert listed.endswith(f"{URL} failed on the website")
    assert secret not in terminal.out
    run(terminal, "hooks", "test", "last")
    found = json.loads(run(terminal, "hooks", "deliveries", "last", "--json"))
    assert [delivery["type"] for delivery in found] == ["webhook.test"]
    assert terminal.run("hooks", "redeliver", found[0]["id"]) != 0
    assert "is being tried already" in terminal.err
    await execute(
        database,
        'UPDATE deliveries SET state = \'failed\', tries = \'[{"status": 500, "error": "It broke.", "ms": 2}]\'',
    )
    (shown,) = lines(run(terminal, "hooks", "deliveries", "last"))[1:]
    assert "webhook.test failed 1 It broke." in shown
    assert terminal.run("hooks", "redeliver", "0000") != 0
    assert "atelier hooks deliveries" in terminal.err
    run(terminal, "hooks", "redeliver", found[0]["id"][-8:])
    assert (await one(database, "SELECT round FROM deliveries"))["round"] == 2
    await execute(database, "UPDATE webhooks SET disabled_at = now(), disabled_because = 'Nothing got through.'")
    assert "disabled" in run(terminal, "hooks")
    assert "Nothing got through." in terminal.err
    run(terminal, "hooks", "enable", "last")
    assert "disabled" not in run(terminal, "hooks")
    other = run(terminal, "hooks", "rotate", "last").strip()
    assert other.startswith("whsec_")
    assert other != secret
    run(terminal, "hooks", "remove", "last")
    assert json.loads(run(terminal, "hooks", "--json")) == []
    assert terminal.run("hooks", "remove", "last") != 0
    mine = run(terminal, "hooks", "secret")
    assert run(terminal, "hooks", "secret") == mine
    assert run(terminal, "hooks", "secret", "--rotate") != mine


async def test_a_job_is_submitted_with_a_webhook(terminal: Terminal, database: Database) -> None:
    said = run(terminal, "submit", "longform", "--topic", "Tide mills", "--webhook", URL, "--json")
    assert json.loads(said)["webhook_url"] == URL
    assert run(terminal, "hooks", "job", "last") == "Nobody has been told of it yet.\n"
    run(terminal, "cancel", "last")
    (shown,) = lines(run(terminal, "hooks", "job", "last"))[1:]
    assert f"job.cancelled {URL} pending 0" in shown
    (told,) = json.loads(run(terminal, "hooks", "job", "last", "--json"))
    assert (told["hook_id"], told["job_id"]) == (None, json.loads(said)["id"])
    assert terminal.run("submit", "longform", "--topic", "Tide mills", "--webhook", "http://10.0.0.1/") != 0
    assert "webhook_url" in terminal.err
