"""A session in the terminal: one question at a time, with back, skip, quit and go on later."""

import contextlib
import time
from collections.abc import Callable, Sequence
from enum import Enum

from rich.console import Console

from cli.client import Json
from cli.editor import edit as edit_text
from cli.errors import CliError
from cli.figures import counted, short_id
from cli.scope_drafts import Drafts, Reply
from cli.scope_view import (
    contradiction_text,
    question_text,
    reply_text,
    stage_head,
    stages_text,
    summary_text,
    working_text,
)
from cli.session_api import Sessions, open_questions
from cli.terminal import INTERRUPTED, is_live, say
from cli.view import panel_width

# core.contracts.scoping has these figures too, and would bring Temporal's library with it.
ANSWER_CHARACTERS, BECAUSE_CHARACTERS = 8_000, 1_000
STEP_GAP = 1.0  # seconds between two looks at what a model is at
HELP = """\
:edit     write in your editor, for more than a line
:back     to the question before; what you said stays, and Enter keeps it
:skip …   nobody can say; a reason may follow. It becomes a marked assumption
:send     send what you have answered of this stage so far
:stages   where the session stands
:finish   ask no more: what is open becomes an assumption
:quit     leave; what you have said is kept, and you can go on at any time"""


class Move(Enum):
    """What a person does instead of answering."""

    BACK = "back"
    SEND = "send"
    QUIT = "quit"
    FINISH = "finish"


Ask = Callable[[str], str]
"""Shows a prompt and reads a line; raises EOFError at the end of the input."""


class Talk:
    """Leads through a session until its charter is written."""

    def __init__(self, console: Console, sessions: Sessions, ask: Ask) -> None:
        self._console, self._sessions, self._ask = console, sessions, ask
        self._width = panel_width(console)
        self._headed: object = None

    def run(self, session: Json) -> Json:
        """The session once nobody is asked any more: it has ended, is paused, or waits for money.

        Raises CliError when the person leaves, with how to go on, and for what the API refuses for good.
        """
        while True:
            session = watched(self._console, self._sessions, session)
            if not (open_questions(session) or session["contradictions"]):
                return session
            try:
                session = self._settle(session) if session["contradictions"] else self._stage(session)
            except CliError as error:
                # Somebody was quicker, in another terminal or by the API: what is asked now is read again.
                if error.kind != "invalid_state":
                    raise
                say(self._console, error.message, "yellow")
                session = self._sessions.get(str(session["id"]))

    # --- A stage.

    def _stage(self, session: Json) -> Json:
        """Ask what the stage asks now, and send what was said."""
        questions, drafts = open_questions(session), Drafts(str(session["id"]))
        drafts.only(questions)
        if self._headed != session["asked"]["stage"]:
            self._headed = session["asked"]["stage"]
            self._console.print(stage_head(session, self._width), highlight=False)
            say(self._console, "Type your answer and press Enter. :edit :back :skip :quit :help", "dim")
        if len(drafts):
            say(self._console, f"{counted(len(drafts), 'answer')} you wrote before, and not sent yet.", "yellow")
        move = self._ask_all(session, questions, drafts)
        if move is Move.QUIT:
            raise LeftError(session, len(drafts))
        if move is Move.FINISH and not self._sure():
            return session
        session = self._send(session, questions, drafts)
        return self._finished(session) if move is Move.FINISH else session

    def _ask_all(self, session: Json, questions: Sequence[Json], drafts: Drafts) -> Move:
        """Ask one after the other, and then whether that is all right."""
        at = _first_open(questions, drafts)
        while True:
            if at == len(questions):
                said = self._confirmed(questions, drafts)
                if isinstance(said, Move):
                    return said
                at = said
                continue
            reply = self._one(session, questions[at], at, len(questions), drafts.get(questions[at]))
            if isinstance(reply, Reply):
                drafts.keep(questions[at], reply)
                at = _first_open(questions, drafts)
            elif reply is Move.BACK:
                at = max(0, at - 1)
            elif reply is not Move.SEND or len(drafts):
                return reply
            else:
                say(self._console, "There is nothing to send yet.", "yellow")

    def _one(self, session: Json, question: Json, at: int, total: int, held: Reply | None) -> Reply | Move:
        """What a person says to one question."""
        self._console.print(question_text(question, at + 1, total, self._width), highlight=False)
        kept = held
        if held is None and question["said"] and question["status"] != "follow_up":
            kept = Reply(str(question["said"][-1])) if len(question["said"]) == 1 else None
        if held is not None:
            say(self._console, f"So far: {reply_text(held)}", "yellow")
        if kept is not None:
            say(self._console, "Enter keeps it.", "dim")
        while True:
            line = self._line("> ")
            if line is None:
                return Move.QUIT
            if not line:
                if kept is not None:
                    return kept
                say(self._console, "An answer, :skip if nobody can say, or :help.", "dim")
                continue
            found = self._meant(line, session, held or kept)
            if found is not None:
                return found

    def _meant(self, line: str, session: Json, kept: Reply | None) -> Reply | Move | None:
        """What a line means; None when it has been dealt with, or means nothing."""
        if not line.startswith(":"):
            return self._answer(line.strip())
        word, _, rest = line.partition(" ")
        if word == ":skip":
            return Reply(None, rest.strip()[:BECAUSE_CHARACTERS])
        if word in (":edit", ":e"):
            return self._edited(kept)
        if word in (":stages", ":help", ":h", ":?"):
            self._console.print(stages_text(session) if word == ":stages" else HELP, markup=False, highlight=False)
            return None
        with contextlib.suppress(ValueError):
            return Move({":q": "quit", ":b": "back"}.get(word, word[1:]))
        say(self._console, f"{word} is no command; :help lists them. A text may begin with a space before its colon.")
        return None

    def _answer(self, text: str) -> Reply | None:
        if len(text) <= ANSWER_CHARACTERS:
            return Reply(text)
        say(self._console, f"An answer has at most {ANSWER_CHARACTERS:,} characters; this has {len(text):,}.", "red")
        return None

    def _edited(self, kept: Reply | None) -> Reply | None:
        """An answer from the editor; None when nothing was written."""
        try:
            draft = edit_text(kept.said or "" if kept else "", "answer", ".md")
        except CliError as error:
            say(self._console, f"{error.message} {error.hint}".strip(), "red")
            return None
        text = draft.text.strip()
        found = self._answer(text) if text else None
        if found is not None or not text:
            draft.discard()
        else:
            say(self._console, f"What you wrote is in {draft.file}.")
        return found

    def _confirmed(self, questions: Sequence[Json], drafts: Drafts) -> Move | int:
        """SEND or another move, or the place of a question to go back to."""
        if len(questions) == 1:
            return Move.SEND
        replies = [drafts.get(question) for question in questions]
        self._console.print(summary_text(questions, replies, self._width), highlight=False)
        say(self._console, "Enter sends this; a number goes back to that answer, :back to the last.", "dim")
        while True:
            line = self._line("> ")
            if line is None or line in (":quit", ":q"):
                return Move.QUIT
            if line in ("", ":send"):
                return Move.SEND
            if line in (":back", ":b"):
                return len(questions) - 1
            if line == ":finish":
                return Move.FINISH
            if line.isdecimal() and 1 <= int(line) <= len(questions):
                return int(line) - 1
            say(self._console, f"Enter, :back, :quit, or a number from 1 to {len(questions)}.", "dim")

    def _send(self, session: Json, questions: Sequence[Json], drafts: Drafts) -> Json:
        """Send what is held: what is skipped, then follow-ups or answers; the others after a model has read these."""
        held = [(question, reply) for question in questions if (reply := drafts.get(question)) is not None]
        for question, reply in held:
            if reply.said is None:
                session = self._sessions.skip(session, str(question["id"]), reply.because)
                drafts.forget([question])
                session = watched(self._console, self._sessions, session)
                if session["asked"] is None:
                    return session
        for status, send in (("follow_up", self._sessions.follow_ups), ("open", self._sessions.answers)):
            said = [(q, reply.said) for q, reply in held if q["status"] == status and reply.said is not None]
            if said:
                session = send(session, {str(question["id"]): text for question, text in said})
                drafts.forget([question for question, _ in said])
                session = watched(self._console, self._sessions, session)
                if session["asked"] is None:
                    return session
        return session

    # --- Beside the stages.

    def _settle(self, session: Json) -> Json:
        """Ask about one contradiction."""
        found = self._sessions.contradictions(session)
        if not found:  # settled elsewhere in this moment
            return self._sessions.get(str(session["id"]))
        contradiction = found[0]
        self._console.print(contradiction_text(contradiction, len(found), self._width), highlight=False)
        say(
            self._console,
            "1 or 2, for the answer that holds; a reason may follow, as in `1: it was counted`. Or what holds instead.",
            "dim",
        )
        while True:
            line = self._line("> ")
            if line is None or line in (":quit", ":q"):
                raise LeftError(session, 0)
            if line == ":finish" and self._sure():
                return self._finished(session)
            if line == ":edit" and (edited := self._edited(None)) is not None:
                line = edited.said or ""
            if line and not line.startswith(":"):
                said = verdict(line.strip())
                if said is not None:
                    return self._sessions.resolve(session, str(contradiction["id"]), *said)
                number = line.split()[0]
                say(self._console, f"For answer {number} write `{number}: …`; if that is not meant, begin otherwise.")
                continue
            say(self._console, "1, 2, or what holds instead; :edit, :finish or :quit.", "dim")

    def _sure(self) -> bool:
        say(self._console, "All that is open becomes an assumption or an open risk, and the charter is written.")
        return (self._line("Ask no more? [y/N] ") or "").strip().lower() in ("y", "yes")

    def _finished(self, session: Json) -> Json:
        """Ask no more, unless what was sent just now was the last anyway."""
        if open_questions(session) or session["contradictions"]:
            return self._sessions.finish(session)
        return session

    def _line(self, prompt: str) -> str | None:
        """A line of input, with what it begins with; None at its end and at Ctrl-C, which leave."""
        try:
            return self._ask(prompt).rstrip()
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return None


def _first_open(questions: Sequence[Json], drafts: Drafts) -> int:
    """The place of the first question without a reply; behind the last when all have one."""
    return next((n for n, question in enumerate(questions) if drafts.get(question) is None), len(questions))


def verdict(line: str) -> tuple[str, str] | None:
    """What a line says of a contradiction: which answer holds, and in what sense.

    None if that cannot be told: `2 weeks` may be about the second answer, or be what holds instead.
    """
    first, _, rest = line.partition(" ")
    holds = {"1": "first", "2": "second"}.get(first.rstrip(".,:"))
    if holds and rest and first in "12":
        return None
    return (holds, rest.strip()) if holds else ("neither", line)


class LeftError(CliError):
    """A person leaves, and can come back: what to say to them, and how."""

    def __init__(self, session: Json, held: int) -> None:
        unsent = f" {counted(held, 'answer')} not sent yet: kept on this machine." if held else ""
        short = short_id(str(session["id"]))
        super().__init__(f"Until later.{unsent}", f"Go on at any time: atelier scope --continue {short}", code=0)


def watched(
    console: Console, sessions: Sessions, session: Json, aborted: Callable[[], CliError | None] | None = None
) -> Json:
    """Wait until it is a person's turn, and show meanwhile what a model is at. Raises CliError at Ctrl-C."""
    began, looked, step, told = time.monotonic(), 0.0, "", ""
    status = console.status("") if is_live(console) else None

    def tell(now: Json) -> None:
        nonlocal looked, step, told
        if time.monotonic() - looked > STEP_GAP:
            looked = time.monotonic()
            with contextlib.suppress(CliError):  # it is only for show
                step = str((sessions.api.job(str(now["id"])).get("progress") or {}).get("current_step") or "")
        line = working_text(now, step, time.monotonic() - began)
        if status is not None:
            status.update(line)
            status.start()
        elif now["trouble"] and told != line:
            say(console, line, "yellow")
        told = line

    try:
        return sessions.until_turn(session, tell, aborted)
    except KeyboardInterrupt:
        short = short_id(str(session["id"]))
        raise CliError(
            "No longer watched; the session goes on by itself.",
            f"Come back to it: atelier scope --continue {short}",
            code=INTERRUPTED,
        ) from None
    finally:
        if status is not None:
            status.stop()
