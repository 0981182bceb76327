"""What is sent to submit a job: the input from a file, the flags and sources of `longform`, and why a job failed."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.client import Json
from cli.errors import CliError

_FORMATS = {"md": "markdown"}
"""Short names of formats; the API knows the long ones."""
_PRIORITIES = frozenset({"high", "normal", "low"})
_OPTIONAL = "optional"
_DOCUMENTS = (b"%PDF", b"PK\x03\x04")
# core.contracts.longform has these figures too, and would bring Temporal's library with it.
SOURCE_CHARACTERS, STYLE_CHARACTERS, TITLE_CHARACTERS = 400_000, 4_000, 200


def read_text(source: str, most: int | None = None) -> str:
    """The text of a file, or of standard input for `-`. Raises CliError; also for more than `most` characters."""
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror}.") from None
    except ValueError:  # what it holds is no UTF-8, or its name no name
        raise CliError(f"{name} is not UTF-8 text.") from None
    if most is not None and len(text) > most:
        raise CliError(f"{name} has {len(text):,} characters; the most is {most:,}.")
    return text


def read_source(given: str) -> Json:
    """A source out of `notes.md`, `high:survey.pdf`, `optional:https://…` or both before it.

    A text's first line names it if that is a heading, else the file. What is no text is a `file` that is to be
    uploaded, see `with_uploads`.
    """
    said: Json = {"priority": "normal"}
    word, colon, rest = given.partition(":")
    while colon and word in _PRIORITIES | {_OPTIONAL}:
        said |= {"required": False} if word == _OPTIONAL else {"priority": word}
        given = rest
        word, colon, rest = given.partition(":")
    if re.match("https?://", given, re.IGNORECASE):
        return {**said, "url": given}
    return {**said, **_read_file(given)}


def _read_file(file: str) -> Json:
    if file != "-" and _is_document(file):
        return {"file": Path(file)}
    try:
        text = read_text(file, SOURCE_CHARACTERS)
    except CliError as error:
        raise CliError(error.message, error.hint or "A source is text or Markdown, in UTF-8.") from None
    if not any(map(str.isalnum, text)):
        raise CliError(f"{file} has no text.")
    heading = re.match(r"\s*#{1,6}[ \t]+(\S.*?)[ \t#]*(?:\n|$)", text)
    title = heading[1] if heading else Path(file).stem
    return {"title": title[:TITLE_CHARACTERS].rstrip(), "text": text}


def _is_document(file: str) -> bool:
    """Whether it begins as a PDF or a DOCX document does. What cannot be opened is told by whoever reads it."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(4) in _DOCUMENTS
    except (OSError, ValueError):
        return False


def with_uploads(body: Json, upload: Callable[[Path], str]) -> Json:
    """The submission with its files uploaded. `upload` returns an upload's id; a file that stands twice goes once."""
    ids: dict[Path, str] = {}

    def sent(source: Json) -> Json:
        file = source.get("file")
        if not isinstance(file, Path):  # nothing, or what an input from a file says
            return source
        if file not in ids:
            ids[file] = upload(file)
        return {**{name: value for name, value in source.items() if name != "file"}, "upload_id": ids[file]}

    sources = body["input"].get("sources")
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        return body  # nothing, or what the API has to refuse
    return {**body, "input": {**body["input"], "sources": [sent(source) for source in sources]}}


def read_style(given: str) -> str:
    """A style guide: what is in the file of that name, or the words themselves."""
    if given.endswith((".md", ".txt")) and len(given.split()) == 1:
        return read_text(given, STYLE_CHARACTERS)
    try:
        is_file = Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or not one
        is_file = False
    return read_text(given, STYLE_CHARACTERS) if is_file else given


def read_input(source: str | None) -> Json:
    """The JSON object in a file, or on standard input for `-`; empty without a source. Raises CliError."""
    if source is None:
        return {}
    name = "standard input" if source == "-" else source
    try:
        value: Any = json.loads(read_text(source))
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
