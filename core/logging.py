"""structlog: one JSON object a line or readable lines, secrets blotted out, ids of job and step bound."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

import structlog
from pydantic import SecretStr

from core import redaction
from core.settings import Settings

# What the object stores' client reads of the environment, beside our settings (core/artifacts/store.py).
_STORE_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)

_NOISY = ("httpx", "httpcore", "httpx2", "google_genai", "anthropic", "openai", "alembic", "asyncio", "temporalio")


def redact(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blot out values under telling names, what looks like a secret, and this process' own secrets, at any depth.

    The last step before a line is written, so that nothing passes it by: whatever other processors and the libraries'
    records brought is text by then, or will be shown as its `repr`.
    """
    return dict(redaction.redactor().event(event))


def secrets_of(settings: Settings) -> Iterator[str]:
    """The keys and passwords that a process with these settings holds."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str) and "://" in value:
            yield value  # of which a password is taken, if it has one
    yield from (os.environ[name] for name in _STORE_SECRETS if name in os.environ)


def build_handler(settings: Settings, stream: TextIO) -> logging.Handler:
    """Writes the lines of structlog and of the standard library's loggers to a stream."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    return handler


def configure_logging(settings: Settings, process: str) -> None:
    """Set up the logs of this process, also those of the libraries it uses. `process` names it in every line."""
    redaction.conceal(secrets_of(settings))
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [build_handler(settings, sys.stderr)]
    root.setLevel(settings.log_level.upper())
    # These speak of every request; what matters of it we log ourselves.
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    # What would be written past the log: warnings, and the error that ends the process.
    logging.captureWarnings(True)
    sys.excepthook = _log_end
    structlog.contextvars.bind_contextvars(process=process)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


class _Handler(logging.StreamHandler[TextIO]):
    """Says that a line could not be written. The standard library's own shows what was to be written, as it was."""

    def handleError(self, record: logging.LogRecord) -> None:
        """One line of plain JSON, and the program goes on."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "unknown"
        line = {"event": "log.broken", "level": "error", "logger": record.name, "error": name}
        with contextlib.suppress(OSError, ValueError):  # a full disk, a stream that is closed
            self.stream.write(json.dumps(line) + "\n")
            self.stream.flush()


def _log_end(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, at)
    else:
        exc_info: Any = (kind, error, at)
        structlog.get_logger("core.logging").critical("process.broke", exc_info=exc_info)
