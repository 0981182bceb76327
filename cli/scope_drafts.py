"""Answers that were written and are not sent yet: kept on this machine, so that leaving a stage loses nothing.

A stage's answers are sent together, so that each can be gone back to until then. They lie in `drafts` beside the
logins, mode 0600, one file a session.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.client import Json
from cli.logins import config_folder
from core.embedded.process import make_folder, write_owned


@dataclass(frozen=True)
class Reply:
    """What was said to a question. None: it is skipped."""

    said: str | None
    because: str = ""


class Drafts:
    """The replies of one session that are not sent."""

    def __init__(self, session_id: str) -> None:
        self._file = config_folder() / "drafts" / f"{session_id}.json"
        self._replies = _read(self._file)

    def get(self, question: Json) -> Reply | None:
        """The reply to what is asked now: one to the question itself is none to a follow-up."""
        return self._replies.get(_key(question))

    def keep(self, question: Json, reply: Reply) -> None:
        """Note a reply."""
        self._replies[_key(question)] = reply
        self._write()

    def forget(self, questions: list[Json]) -> None:
        """Take replies away that were sent."""
        for question in questions:
            self._replies.pop(_key(question), None)
        self._write()

    def only(self, questions: list[Json]) -> None:
        """Take all replies away but those to what is asked now: the rest was answered elsewhere."""
        keys = {_key(question) for question in questions}
        stays = {key: reply for key, reply in self._replies.items() if key in keys}
        if stays != self._replies:
            self._replies = stays
            self._write()

    def __len__(self) -> int:
        return len(self._replies)

    def _write(self) -> None:
        # A draft that cannot be kept is no reason to stop: it is sent at the end of the stage.
        with contextlib.suppress(OSError):
            if self._replies:
                make_folder(self._file.parent)
                noted = {key: asdict(reply) for key, reply in self._replies.items()}
                write_owned(self._file, json.dumps(noted, indent=2) + "\n")
            else:
                self._file.unlink(missing_ok=True)


def _key(question: Json) -> str:
    return f"{question['id']}: {question.get('follow_up') or ''}"


def _read(file: Path) -> dict[str, Reply]:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # AttributeError: no object
        return {str(key): Reply(**reply) for key, reply in json.loads(file.read_text()).items()}
    return {}
