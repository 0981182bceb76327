"""Lines of the log, as they are written: by structlog, by the libraries, and when something breaks."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from core import redaction
from core.logging import build_handler, secrets_of
from core.redaction import REDACTED
from core.settings import Settings

KEY = "Zq7hT2/mVx9+LpW4"
PASSWORD = "p@ss/w0rd é"
SETTINGS = Settings(
    _env_file=None,
    anthropic_api_key=KEY,
    database_url=f"postgresql://atelier:{quote(PASSWORD, safe='')}@127.0.0.1/atelier",
    anthropic_base_url="https://me:proxy-password@proxy.example.org",
)


class Log:
    """A logger of this test's own, and what it wrote."""

    def __init__(self, settings: Settings) -> None:
        self.stream = io.StringIO()
        self.logger = logging.Logger("test")
        self.logger.addHandler(build_handler(settings, self.stream))

    @property
    def text(self) -> str:
        """All that was written."""
        return self.stream.getvalue()

    def line(self) -> dict[str, Any]:
        """The one line."""
        (line,) = self.text.splitlines()
        fields: dict[str, Any] = json.loads(line)
        return fields


@pytest.fixture
def log() -> Iterator[Log]:
    """In a process that holds the settings' secrets."""
    redaction.conceal(secrets_of(SETTINGS))
    yield Log(SETTINGS)
    redaction.conceal(())


def test_the_secrets_of_settings() -> None:
    assert [secret for secret in secrets_of(SETTINGS) if "://" not in secret] == [KEY]
    assert any("proxy-password" in secret for secret in secrets_of(SETTINGS))
    for secret in (KEY, PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in repr(SETTINGS)


def test_structlog(log: Log) -> None:
    bound = structlog.wrap_logger(
        log.logger,
        processors=[structlog.processors.format_exc_info, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        raise ValueError(f"wrong: {KEY}") from KeyError(PASSWORD)
    except ValueError:
        bound.exception(
            "it.broke", headers=[("authorization", "x")], api_key="y", step_key="draft", nested={"a": [KEY]}
        )
    line = log.line()
    assert line["headers"] == [["authorization", REDACTED]]
    assert (line["api_key"], line["step_key"], line["nested"]) == (REDACTED, "draft", {"a": [REDACTED]})
    assert f"ValueError: wrong: {REDACTED}" in line["exception"]
    assert PASSWORD not in log.text


def test_the_records_of_libraries(log: Log) -> None:
    log.logger.warning("asked %s with %r", "there", {"x-api-key": KEY}, stack_info=True, extra={"a": KEY})
    assert log.line()["event"] == f"asked there with {{'x-api-key': '{REDACTED}'}}"
    try:
        raise OSError(f"no connection to postgresql://atelier:{PASSWORD}@127.0.0.1")
    except OSError:
        log.logger.exception("%s", KEY)
    assert KEY not in log.text
    assert PASSWORD not in log.text
    assert "no connection to postgresql://atelier:" in log.text


def test_readable_lines(log: Log) -> None:
    readable = Log(SETTINGS.model_copy(update={"log_format": "console"}))
    readable.logger.error("with %s", KEY)
    assert f"with {REDACTED}" in readable.text


def test_a_line_that_cannot_be_written_is_told_without_what_it_held(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.logger.error("%d", KEY)
    assert log.line() == {"event": "log.broken", "level": "error", "logger": "test", "error": "TypeError"}
    log.stream.close()
    log.logger.error("to nobody")
    assert capsys.readouterr() == ("", "")


PROGRAM = """
import sys, warnings
from core.logging import configure_logging
from core.settings import Settings
configure_logging(Settings(_env_file=None), "program")
warnings.warn("about " + sys.argv[1])
raise RuntimeError("the end of " + sys.argv[2])
"""


def test_the_end_of_a_process_is_a_line_of_its_log() -> None:
    """A process of its own, as all of it is the process' own: hooks, warnings, loggers."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, KEY, "store-secret"],
        env={
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "GEMINI_API_KEY": KEY,
            "AWS_SECRET_ACCESS_KEY": "store-secret",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert KEY not in done.stderr + done.stdout
    assert "store-secret" not in done.stderr + done.stdout
    warned, ended = map(json.loads, done.stderr.splitlines())
    assert f"about {REDACTED}" in warned["event"]
    assert (ended["event"], ended["process"], ended["level"]) == ("process.broke", "program", "critical")
    assert f"RuntimeError: the end of {REDACTED}" in ended["exception"]
