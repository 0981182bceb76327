"""The command line in this process, on a small API in memory."""

import io
import sys

import pytest
from rich.console import Console, RenderableType

from cli import main


class Terminal:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.out = self.err = ""

    def run(self, *arguments: str, typed: str = "") -> int:
        """The exit code; what was printed is in `out` and `err`."""
        self._monkeypatch.setattr(sys, "argv", ["atelier", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return int(ended.value.code or 0)


def drawn(shown: RenderableType, *, colours: bool = False) -> str:
    """As a terminal of 100 columns shows it."""
    file = io.StringIO()
    Console(file=file, width=100, force_terminal=True, color_system="standard" if colours else None).print(shown)
    return file.getvalue()
