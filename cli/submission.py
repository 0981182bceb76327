"""What is sent to submit a job: the input from a file, the flags of `longform`, and why a job failed."""

import json
import sys
from pathlib import Path
from typing import Any

from cli.client import Json
from cli.errors import CliError

_FORMATS = {"md": "markdown"}
"""Short names of formats; the API knows the long ones."""


def read_input(source: str | None) -> Json:
    """The JSON object in a file, or on standard input for `-`; empty without a source. Raises CliError."""
    if source is None:
        return {}
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        value: Any = json.loads(text)
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CliError(f"{name} is not UTF-8 text.") from None
    except ValueError as error:
        raise CliError(f"{name} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CliError(f"{name} does not hold a JSON object.", 'For example: {"topic": "Tides", "target_words": 900}')
    return value


def build_input(pipeline: str, given: Json, flags: Json) -> Json:
    """The input of a job: the file's, with the flags that were given laid over it. Raises CliError."""
    flags = {name: value for name, value in flags.items() if value is not None}
    if pipeline != "longform" and flags:
        raise CliError(
            f"--topic, --words and the like are for longform, not for {pipeline}.",
            "Give its input as a file: --input FILE.json",
        )
    if "formats" in flags:
        names = [name.strip().lower() for name in str(flags["formats"]).split(",") if name.strip()]
        flags["formats"] = [_FORMATS.get(name, name) for name in names]
    lengths = {"target_words", "target_pages", "target_duration"}
    if lengths & flags.keys():  # a length on the command line replaces the file's, whichever way that is given
        given = {name: value for name, value in given.items() if name not in lengths}
    merged = {**given, **flags}
    if pipeline == "longform" and not merged.get("topic"):
        raise CliError("A topic is needed.", 'atelier submit longform --topic "How tides work" --words 1200')
    if not merged:
        raise CliError(f"{pipeline} needs an input.", f"atelier submit {pipeline} --input FILE.json")
    return merged


def job_failure(job: Json) -> CliError:
    """The error of a job that did not complete."""
    short = str(job["id"])[-8:]
    if job["status"] == "cancelled":
        return CliError("The job was cancelled.", code=1)
    error = job.get("error") or {}
    step = f" at {error['step']}" if error.get("step") else ""
    said = str(error.get("message") or error.get("code") or "no reason given").rstrip(".")
    return CliError(
        f"The job failed{step}: {said}.",
        f"`atelier retry {short}` goes on from there; what is done is not paid for again.",
        kind=str(error.get("code") or ""),
    )
