"""structlog: one JSON object a line or readable lines, secrets blotted out, ids of job and step bound."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from core.settings import Settings

_SECRET_NAME = re.compile(r"key|token|secret|password|authorization|cookie|dsn|database_url", re.IGNORECASE)
_NOT_SECRET = re.compile(r"_tokens$|^tokens$|idempotency_key|step_key|first_token")
_SECRET_VALUE = re.compile(r"(atl_|sk-|Bearer )[A-Za-z0-9_\-.]{8,}|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out values under telling names, and what looks like a key or a password in any text."""
    for name, value in event.items():
        if isinstance(value, str):
            secret = _SECRET_NAME.search(name) and not _NOT_SECRET.search(name)
            event[name] = "[redacted]" if secret else _SECRET_VALUE.sub("[redacted]", value)
    return event


def configure_logging(settings: Settings, process: str) -> None:
    """Set up the logs of this process, also those of the libraries it uses. `process` names it in every line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # These speak of every request; what matters of it we log ourselves.
    for noisy in ("httpx", "httpcore", "httpx2", "google_genai", "anthropic", "alembic", "asyncio", "temporalio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(process=process)
