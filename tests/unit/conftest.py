"""The command line beside a small API in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_api import KEY, FakeApi, serve
from tests.support.terminal import Terminal


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API with no jobs."""
    with serve() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that the environment names, in an empty current folder."""
    for name in ("ATELIER_URL", "ATELIER_API_KEY", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def terminal(api: FakeApi, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal whose environment names the API."""
    monkeypatch.setenv("ATELIER_URL", api.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    return Terminal(monkeypatch, capsys)
