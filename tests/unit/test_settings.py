"""Settings from files, and what production does not start with."""

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.production import Use, read_settings, refusals
from core.settings import Settings, complaints, file_variables

SECRET = secrets.token_hex(16)
URL = f"postgresql://atelier:{secrets.token_hex(12)}@127.0.0.1/atelier"
ALL = Use.DATABASE | Use.MODELS | Use.HTTP


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no `.env` lies, in an environment that sets nothing of ours."""
    monkeypatch.chdir(tmp_path)
    ours = {name.upper() for name in Settings.model_fields} | file_variables()
    for name in ours & {name.upper() for name in os.environ}:
        monkeypatch.delenv(name)
    return tmp_path


# ---------------------------------------------------------------------------------------------- files


def test_every_secret_can_come_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"DATABASE_URL", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
    assert file_variables() == {f"{name}_FILE" for name in names}
    for name in names:
        (folder / name).write_text(f"of {name} é\r\n\n")
        monkeypatch.setenv(f"{name}_FILE", str(folder / name))
    # As it can from `.env`; and where code says it, or nothing is said, no file is read.
    monkeypatch.delenv("JWT_SECRET_FILE")
    (folder / ".env").write_text("JWT_SECRET_FILE=JWT_SECRET\n")
    monkeypatch.setenv("GEMINI_API_KEY_FILE", "")
    monkeypatch.setenv("API_HOST_FILE", "nowhere")
    settings = Settings(anthropic_api_key="given")
    found = {name: getattr(settings, name.lower()) for name in names}
    said = {name: secret and secret.get_secret_value() for name, secret in found.items()}
    assert said == {name: f"of {name} é" for name in names} | {"ANTHROPIC_API_KEY": "given", "GEMINI_API_KEY": None}
    assert settings.api_host == "127.0.0.1"


def test_files_that_will_not_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").write_text("\n")
    (folder / "bytes").write_bytes(b"\xff\xfe")
    (folder / "both").write_text(SECRET)
    monkeypatch.setenv("JWT_SECRET_FILE", "missing")
    monkeypatch.setenv("JWT_SECRET_PREVIOUS_FILE", "empty")
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", "bytes")
    monkeypatch.setenv("DATABASE_URL_FILE", "both")
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("API_PORT", SECRET)
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert sorted(complaints(raised.value)) == [
        "ANTHROPIC_API_KEY: ANTHROPIC_API_KEY_FILE names bytes, which is no text in UTF-8",
        "API_PORT: Input should be a valid integer, unable to parse string as an integer",
        "DATABASE_URL: DATABASE_URL and DATABASE_URL_FILE are both set; leave one of them out",
        "JWT_SECRET: JWT_SECRET_FILE names missing, which cannot be read: No such file or directory",
        "JWT_SECRET_PREVIOUS: JWT_SECRET_PREVIOUS_FILE names empty, which is empty",
    ]
    for secret in (SECRET, URL):
        assert secret not in str(raised.value)


# ---------------------------------------------------------------------------------------------- production


def production(**given: object) -> Settings:
    """Settings of a production that starts, but for what is given."""
    right: dict[str, Any] = {"jwt_secret": SECRET, "database_url": URL, "ollama_url": "http://127.0.0.1:11434"}
    return Settings(atelier_mode="production", **{**right, **given})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"jwt_secret": None}, "JWT_SECRET is not set; make one with `openssl rand -hex 32`"),
        ({"jwt_secret": SECRET[:31]}, "JWT_SECRET has 31 characters, fewer than 32;"),
        ({"jwt_secret": "abcabc7" * 6}, "JWT_SECRET has only 4 different characters;"),
        ({"jwt_secret": "0123456789abcdef" * 2}, "JWT_SECRET repeats itself;"),
        ({"jwt_secret": "Change-Me-to-a-long-random-string"}, "JWT_SECRET is a default or an example"),
        ({"jwt_secret_previous": "secret"}, "JWT_SECRET_PREVIOUS is a default or an example"),
        ({"database_url": None}, "DATABASE_URL is not set; name the PostgreSQL server"),
        ({"database_url": "postgresql://ada@db/x"}, "DATABASE_URL has no password;"),
        ({"database_url": "postgresql://ada:Ada@db/x"}, "DATABASE_URL has a password that is its user's name;"),
        ({"database_url": "postgresql://ada:postgres@db/x"}, "DATABASE_URL has a password that is a default"),
        ({"database_url": "postgresql://ada:Ch4rl3s%2B1@db/x"}, "DATABASE_URL has a password that has 9 characters"),
        ({"database_url": "postgresql://ada:abababababababab@db/x"}, "DATABASE_URL has a password that has only 2"),
        ({"database_url": "postgresql://db/x?user=ada&password=ada"}, "DATABASE_URL has a password that is its user"),
        ({"database_url": "postgresql://ada:[@db/x"}, "DATABASE_URL is no URL;"),
        ({"ollama_url": None}, "SIMULATOR answers with made-up text where no model is configured;"),
        ({"gemini_api_key": "your-api-key"}, "GEMINI_API_KEY holds an example and no key;"),
        ({"cors_origins": "https://app.example.com, *"}, "CORS_ORIGINS lets every page call the API;"),
    ],
)
def test_what_production_does_not_start_with(given: dict[str, object], line: str) -> None:
    settings = production(**given)
    (said,) = refusals(settings, ALL)
    assert said.startswith(line)
    for value in given.values():
        assert str(value) not in said or value is None or str(value) == "secret"
    assert refusals(settings.model_copy(update={"atelier_mode": "development"}), ALL) == []


def test_what_production_starts_with() -> None:
    assert refusals(production(), ALL) == []
    assert refusals(production(ollama_url=None, simulator=True, jwt_secret_previous=SECRET[::-1]), ALL) == []
    assert refusals(production(ollama_url=None, simulator=False), ALL) == []
    assert refusals(production(database_url="postgresql:///x?user=ada&password=xK3-vB9_qL2w"), ALL) == []
    # Each process wants what it uses.
    bare = Settings(atelier_mode="production")
    assert [line.split()[0] for line in refusals(bare, ALL)] == ["DATABASE_URL", "JWT_SECRET", "SIMULATOR"]
    assert [line.split()[0] for line in refusals(bare, Use.DATABASE | Use.MODELS)] == ["DATABASE_URL", "SIMULATOR"]
    assert [line.split()[0] for line in refusals(bare, Use.DATABASE)] == ["DATABASE_URL"]
    assert refusals(bare, Use.NOTHING) == []


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("API_PORT", "many")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as raised:
        read_settings("atelier test", Use.NOTHING)
    assert raised.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[:2] for line in lines] == [["atelier test", " LOG_LEVEL"], ["atelier test", " API_PORT"]]


async def test_no_process_starts_in_production_without_its_secrets(folder: Path) -> None:
    """The processes themselves; what they may say is tried above."""

    async def said(*module: str) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, cwd=folder, stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "ATELIER_MODE": "production",
                "TEMPORAL_ADDRESS": "127.0.0.1:1",
                "DATABASE_URL": "postgresql://atelier:atelier@127.0.0.1:1/atelier",
            },
        )  # fmt: skip
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 2, errors
        return [line.split(": ")[1].split()[0] for line in errors.decode().splitlines()]

    api, worker, migrations = await asyncio.gather(said("api"), said("worker"), said("migrations"))
    assert api == ["DATABASE_URL", "JWT_SECRET", "SIMULATOR"]
    assert worker == ["DATABASE_URL", "SIMULATOR"]
    assert migrations == ["DATABASE_URL"]


@pytest.mark.parametrize(
    ("days", "seconds"),
    [
        ({}, (30 * 86_400, 3 * 86_400)),
        ({"review_expiry_days": 1}, (86_400, 43_200)),
        ({"review_reminder_days": 0}, (30 * 86_400, 0)),
        ({"review_expiry_days": 0.00001}, (1, 0)),
    ],
)
def test_a_reminder_comes_before_the_end_and_in_the_second_half(days: dict[str, Any], seconds: tuple[int, int]) -> None:
    settings = Settings(_env_file=None, **days)
    assert (settings.review_seconds, settings.remind_seconds) == seconds


def test_allowed_hosts_are_understood_or_nothing_starts() -> None:
    given = Settings(_env_file=None, fetch_allowed_hosts=" wiki.lan:8080, 10.1.0.0/16,")
    assert given.allowed_hosts == ("wiki.lan:8080", "10.1.0.0/16")
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, fetch_allowed_hosts="wiki.lan")
    (line,) = complaints(refused.value)
    assert line.startswith("FETCH_ALLOWED_HOSTS: ")
    assert "host:port" in line
