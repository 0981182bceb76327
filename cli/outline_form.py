"""An outline as a file that a person edits, and what is sent of it.

The file is YAML, read with every scalar as text: a title `No` or `1.5` is what it says. JSON is read as well, so that
what `atelier outline show --json` prints can be sent back.
"""

import json
from typing import Any

import yaml

from cli.client import Json
from cli.errors import CliError

_HEAD = """\
# Change what you like, save and close: that is what will be written. If you
# change nothing, nothing is sent.
# - Sections stand in their order: move, remove or add some. A new one needs a
#   title, and has no id.
# - words is a section's length. Without it a section gets a share of what the
#   others leave of the target.
# - What else is left out stays as it was.
# - Quote a text that has ": " or " #" in it.
"""
_QUOTE = 'Quote a text that has ": " or " #" in it.'
_EDITED = ("title", "thesis", "sections", "round")
_SECTION = ("id", "title", "words", "purpose", "key_points", "sources")
_VIEW_ONLY = frozenset({"job_id", "waiting", "expires_at", "words", "simulated"})
_NUMBERS = frozenset({"words", "round"})


def outline_form(outline: Json) -> str:
    """The file of an outline."""
    form: Json = {name: outline[name] for name in ("round", "title", "thesis")}
    form["sections"] = [
        {name: section[name] for name in _SECTION if section.get(name) not in (None, [])}
        for section in outline["sections"]
    ]
    return _HEAD + yaml.safe_dump(form, sort_keys=False, allow_unicode=True, width=80)


def read_outline(text: str, name: str) -> Json:
    """The edit that a file says, as the API takes it. Raises CliError, with the line that is no YAML."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = _read_yaml(text, name)
    if not isinstance(found, dict):
        raise CliError(f"{name} does not hold an outline.", "It has title, thesis and sections.")
    given = _given(found)
    sections = given.get("sections")
    if isinstance(sections, list):
        given["sections"] = [_given(section) if isinstance(section, dict) else section for section in sections]
    return {name: value for name, value in given.items() if name in _EDITED or name not in _VIEW_ONLY}


def _read_yaml(text: str, name: str) -> Any:
    try:
        return yaml.BaseLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CliError(f"{name} is not YAML{where}: {error.problem or error.context}.", _QUOTE) from None
    except yaml.YAMLError as error:
        raise CliError(f"{name} is not YAML: {' '.join(str(error).split())}.") from None


def _given(fields: Json) -> Json:
    """The fields that say something, with numbers as numbers."""
    said = {name: value for name, value in fields.items() if value not in (None, "")}
    return {
        name: int(value) if name in _NUMBERS and isinstance(value, str) and value.strip().isdecimal() else value
        for name, value in said.items()
    }
