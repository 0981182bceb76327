"""The commands of a deployment: keys, the health of a worker, Temporal's namespace."""

import asyncio
import io
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from api import keys
from core.contracts.people import Role, Scope
from core.db.engine import Database
from core.db.repositories.identities import Caller, IdentityRepository
from tests.conftest import Namespace
from tests.support.rows import one
from worker import health, prepare


@pytest.fixture
def commanded(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """This test's database, as the environment names it."""
    monkeypatch.chdir(tmp_path)  # no .env
    monkeypatch.setenv("DATABASE_URL", database.url)
    return database


async def caller_of(database: Database, token: str) -> Caller | None:
    async with database.transaction() as connection:
        return await IdentityRepository(connection).by_key(token)


async def owner_of(database: Database, token: str) -> str | None:
    caller = await caller_of(database, token)
    return caller.name if caller else None


async def test_a_key_works_until_it_is_revoked(commanded: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert await keys.main(keys.arguments(["create", "--owner", " Ada Example "])) == 0
    first = capsys.readouterr()
    token = first.out.strip()
    assert await owner_of(commanded, token) == "Ada Example"
    assert token not in first.err

    owner_id = first.err.split()[4].rstrip(",")
    assert await keys.main(keys.arguments(["create", "--owner-id", owner_id, "--name", "second"])) == 0
    second = capsys.readouterr().out.strip()
    assert await owner_of(commanded, second) == "Ada Example"

    assert await keys.main(keys.arguments(["revoke", token])) == 0
    assert await owner_of(commanded, token) is None
    assert await owner_of(commanded, second) == "Ada Example"
    assert await keys.main(keys.arguments(["revoke", token])) == 1
    assert "no such key" in capsys.readouterr().err


async def test_a_key_may_be_narrow_and_expire(commanded: Database, capsys: pytest.CaptureFixture[str]) -> None:
    create = ["create", "--owner", "Ada Example"]
    assert await keys.main(keys.arguments([*create, "--scope", "read", "--expires-in-days", "0.5"])) == 0
    token = capsys.readouterr().out.strip()
    caller = await caller_of(commanded, token)
    assert caller is not None
    assert (caller.scopes, caller.role, caller.has_password) == (frozenset({Scope.READ}), Role.USER, False)
    stored = await one(commanded, "SELECT expires_at - now() AS left FROM api_keys")
    assert timedelta(hours=11) < stored["left"] < timedelta(hours=13)
    async with commanded.transaction() as connection:
        await connection.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 second'"))
    assert await caller_of(commanded, token) is None
    for wrong in (["--scope", "admin"], *(["--expires-in-days", days] for days in ("0", "-1", "nan", "9999", "soon"))):
        with pytest.raises(SystemExit):
            keys.arguments([*create, *wrong])
    assert "should be a number of days" in capsys.readouterr().err


async def test_a_key_to_revoke_is_read_from_standard_input(
    commanded: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await keys.main(keys.arguments(["create", "--owner", "Ada"])) == 0
    token = capsys.readouterr().out.strip()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    assert await keys.main(keys.arguments(["revoke", "-"])) == 0
    assert await owner_of(commanded, token) is None


async def test_what_cannot_be_done_is_said(
    commanded: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "01890000-0000-7000-8000-000000000000"
    assert await keys.main(keys.arguments(["create", "--owner-id", nobody])) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"no owner {nobody}" in said.err
    for wrong in (["create", "--owner", "  "], ["create", "--owner-id", "1"], ["create"], []):
        with pytest.raises(SystemExit):
            keys.arguments(wrong)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:1/nowhere")
    assert await keys.main(keys.arguments(["revoke", "atl_nothing"])) == 1
    assert "database cannot be reached" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "mysql://nobody@nowhere")
    assert await keys.main(keys.arguments(["revoke", "atl_nothing"])) == 2


async def test_a_worker_beats_while_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "BEAT_SECONDS", 0.01)
    file = tmp_path / "alive"
    assert health.ailment(file) is not None
    async with health.beating(file):
        long_ago = time.time() - health.STALE_SECONDS - 60
        os.utime(file, (long_ago, long_ago))
        assert "no sign of life" in (health.ailment(file) or "")
        await asyncio.sleep(0.1)
        assert health.ailment(file) is None
    assert "not polling" in (health.ailment(file) or "")
    async with health.beating(None):
        pass
    with pytest.raises(FileNotFoundError):
        async with health.beating(tmp_path / "nowhere" / "alive"):
            pass


def test_the_health_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alive"
    monkeypatch.setattr("sys.argv", ["health", str(file)])
    assert health.main() == 1
    file.touch()
    assert health.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "polling"
    monkeypatch.setattr("sys.argv", ["health"])
    assert health.main() == 2


async def test_preparing_twice_does_no_harm(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL_ADDRESS", namespace.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", namespace.name)
    assert await prepare.main(30) == 0
    assert await prepare.main(30) == 0
    assert f"{namespace.name!r} is ready" in capsys.readouterr().out
    # A refusal is not waited for.
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "x" * 2_000)
    assert await prepare.main(30) == 1
    assert "refused" in capsys.readouterr().err
