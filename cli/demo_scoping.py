"""`atelier demo scoping`: a whole session, played from a file of answers."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.text import Text

from cli.client import Api, Json
from cli.errors import CliError
from cli.scope_commands import show_end
from cli.scope_talk import watched
from cli.scope_view import stage_head
from cli.session_api import Sessions, open_questions
from cli.submission import read_text
from cli.terminal import say, visible
from cli.view import panel_width

ANSWERS = Path(__file__).with_suffix(".toml")
NOT_KNOWN = "The file of answers does not say."


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Project(_Table):
    """What the session is about."""

    name: str
    description: str
    language: str = "en"


class Answer(_Table):
    """What is said to one question. Without an answer it is skipped."""

    question: str
    said: str | None = None
    because: str = ""
    follow_ups: tuple[str, ...] = ()


class Settled(_Table):
    """What is said of two answers that do not fit together."""

    between: tuple[str, str]
    holds: str | None = None
    text: str = ""


class Script(_Table):
    """A file of answers."""

    project: Project
    answers: tuple[Answer, ...]
    contradictions: tuple[Settled, ...] = ()

    def answer(self, question: str) -> Answer:
        """What is said to a question."""
        found = (answer for answer in self.answers if answer.question == question)
        return next(found, Answer(question=question, because=NOT_KNOWN))

    def verdict(self, first: str, second: str) -> tuple[str, str]:
        """Which of two answers holds, and a word about it."""
        pair = {first, second}
        found = next((one for one in self.contradictions if set(one.between) == pair), None)
        if found is None:
            return "first", NOT_KNOWN
        return {first: "first", second: "second"}.get(found.holds or "", "neither"), found.text


def read_script(file: Path | None) -> Script:
    """The answers of a file; of the demo's own without one. Raises CliError."""
    file = file or ANSWERS
    try:
        return Script.model_validate(tomllib.loads(read_text(str(file))))
    except tomllib.TOMLDecodeError as error:
        raise CliError(f"{file} is not TOML: {error}.") from None
    except ValidationError as error:
        wrong: Any = error.errors()[0]
        raise CliError(f"{file}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from None


def play(console: Console, api: Api, script: Script, out: Path | None, aborted: Callable[[], CliError | None]) -> None:
    """Begin a session, answer what it asks, download its charter. Raises CliError, also when it did not end well."""
    sessions = Sessions(api, lambda text: say(console, text, "yellow"))
    session = sessions.create(script.project.model_dump() | {"tags": ["demo"]})
    _Player(console, sessions, script, aborted).run(session, lambda ended: show_end(console, api, ended, out))


class _Player:
    """Answers a session and shows what is asked and said."""

    def __init__(
        self, console: Console, sessions: Sessions, script: Script, aborted: Callable[[], CliError | None]
    ) -> None:
        self._console, self._sessions, self._script, self._aborted = console, sessions, script, aborted
        self._used: dict[str, int] = {}
        self._stage = 0

    def run(self, session: Json, end: Callable[[Json], None]) -> None:
        """The whole session; `end` is told how it ended."""
        while True:
            session = watched(self._console, self._sessions, session, self._aborted)
            if session["contradictions"]:
                session = self._settle(session)
            elif questions := open_questions(session):
                session = self._answer(session, questions)
            else:
                return end(session)

    def _answer(self, session: Json, questions: list[Json]) -> Json:
        """One act: follow-ups come first, then what is skipped, then the answers of the stage."""
        if session["asked"]["stage"] != self._stage:
            self._stage = session["asked"]["stage"]
            self._console.print(stage_head(session, panel_width(self._console)), highlight=False)
        back = [question for question in questions if question["status"] == "follow_up"]
        said = {str(q["id"]): self._words(q) for q in back or questions}
        for question in back or questions:
            if said[str(question["id"])] is None:
                because = self._script.answer(str(question["id"])).because or NOT_KNOWN
                self._show(question, f"Skipped. {because}", "yellow")
                return self._sessions.skip(session, str(question["id"]), because)
        for question in back or questions:
            self._show(question, str(said[str(question["id"])]), "")
        for id in said:
            self._used[id] = self._used.get(id, 0) + 1
        send = self._sessions.follow_ups if back else self._sessions.answers
        return send(session, {id: text for id, text in said.items() if text is not None})

    def _words(self, question: Json) -> str | None:
        """What the file says to a question now; None: it is to be skipped."""
        answer = self._script.answer(str(question["id"]))
        if question["status"] != "follow_up":
            return answer.said
        place = self._used.get(str(question["id"]), 0) - 1
        return answer.follow_ups[place] if 0 <= place < len(answer.follow_ups) else None

    def _show(self, question: Json, words: str, style: str) -> None:
        back = question["follow_up"] if question["status"] == "follow_up" else ""
        asked = Text(visible(back or question["text"]), "dim" if not back else "yellow")
        if back:
            asked = Text("Asked back: ", "yellow").append_text(asked)
        self._console.print(Text(), asked, Text(visible(words).strip(), style), sep="\n", highlight=False)

    def _settle(self, session: Json) -> Json:
        contradiction = session["contradictions"][0]
        holds, text = self._script.verdict(str(contradiction["first"]), str(contradiction["second"]))
        say(self._console, "")
        say(self._console, f"Two answers do not fit together: {contradiction['why']}", "yellow")
        say(self._console, str(contradiction["question"]), "dim")
        say(self._console, f"{holds.capitalize()} holds. {text}".strip())
        return self._sessions.resolve(session, str(contradiction["id"]), holds, text)
