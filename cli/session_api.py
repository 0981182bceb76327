"""Scoping sessions over the REST API: what the commands ask of it, sent so that nothing is said twice or lost."""

import time
import uuid
from collections.abc import Callable, Mapping

from cli.client import ENDED, Api, Json
from cli.errors import CliError

TRIES = 4
"""Times that an act is sent while no answer comes. They have one Idempotency-Key: it is one act."""
PATIENCE = 300.0
"""Seconds to wait for another session of the same owner whose stage runs."""
LOST_FOR = 120.0
"""Seconds without an answer after which a session that is waited for is given up."""
_FIRST_GAP, _LONGEST_GAP = 0.15, 2.0  # seconds between two reads of a session that is waited for

Tell = Callable[[Json], None]
"""Told of the session each time it was read while a model works."""


class Sessions:
    """The sessions of whoever the connection is for. Every method raises CliError with a sentence for the user."""

    def __init__(self, api: Api, note: Callable[[str], None] | None = None) -> None:
        """`note` is told why an act has to wait."""
        self.api, self._note = api, note or (lambda _: None)

    def create(self, body: Json) -> Json:
        """A new session's view."""
        return self._sent("/v1/sessions", body)

    def get(self, session_id: str) -> Json:
        """A session's view."""
        return self.api.json("GET", _path(session_id))

    def answers(self, session: Json, answers: Mapping[str, str]) -> Json:
        """Answer questions of the stage that is asked, by their ids."""
        return self._sent(f"{_asked(session)}/answers", {"answers": dict(answers)})

    def follow_ups(self, session: Json, answers: Mapping[str, str]) -> Json:
        """Answer follow-ups of the stage that is asked, by their questions' ids."""
        return self._sent(f"{_asked(session)}/follow-ups", {"answers": dict(answers)})

    def skip(self, session: Json, question: str, because: str) -> Json:
        """Leave a question of the stage that is asked open: it becomes an assumption."""
        body = {"question": question} | ({"because": because} if because else {})
        return self._sent(f"{_asked(session)}/skips", body)

    def resolve(self, session: Json, contradiction: str, holds: str, text: str) -> Json:
        """Say which of two answers holds: `first`, `second` or `neither`."""
        body = {"holds": holds} | ({"text": text} if text else {})
        return self._sent(f"{_path(str(session['id']))}/contradictions/{contradiction}", body)

    def finish(self, session: Json) -> Json:
        """Ask no more: what is open becomes an assumption or an open risk."""
        return self._sent(f"{_path(str(session['id']))}/finish", None)

    def reopen(self, session_id: str, stage: int, questions: list[str], because: str) -> Json:
        """Ask a stage again. Once the charter is written that is a session of its own, and its view comes back."""
        body: Json = {"questions": questions} if questions else {}
        body |= {"because": because} if because else {}
        return self._sent(f"{_path(session_id)}/stages/{stage}/reopen", body)

    def contradictions(self, session: Json) -> list[Json]:
        """The contradictions that nobody has settled, with both answers."""
        found = self.api.json("GET", f"{_path(str(session['id']))}/contradictions")["items"]
        return [one for one in found if one["status"] == "open"]

    def revive(self, session_id: str) -> Json:
        """Go on with a session that expired or failed."""
        self.api.act(session_id, "retry")
        return self.get(session_id)

    def waiting(self) -> Json | None:
        """The newest session that is neither completed nor cancelled."""
        found = self.api.sessions(50)
        return next((one for one in found if one["status"] not in ("completed", "cancelled")), None)

    def until_turn(self, session: Json, tell: Tell, aborted: Callable[[], CliError | None] | None = None) -> Json:
        """The session once it is a person's turn, or nobody's: it asks something, has ended, is paused, or waits for
        money. `aborted` is asked between reads whether to give up, and with which error."""
        gap, heard, lost = _FIRST_GAP, time.monotonic(), False
        while not is_turn(session):
            if aborted is not None and (stop := aborted()):
                raise stop
            tell(session)
            time.sleep(gap)
            gap = min(gap * 1.3, _LONGEST_GAP)
            try:
                session, heard, lost = self.get(str(session["id"])), time.monotonic(), False
            except CliError as error:
                if error.kind not in _LOST or time.monotonic() - heard > LOST_FOR:
                    raise
                if not lost:
                    self._note("The connection is lost; trying again. The session goes on without us.")
                lost = True
        return session

    def _sent(self, path: str, body: Json | None) -> Json:
        """Send an act until an answer comes: while the connection breaks off, and while another session is at work."""
        key, until = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic() + PATIENCE
        lost, waits = 0, False
        while True:
            try:
                return self.api.json("POST", path, headers=key, **({} if body is None else {"json": body}))
            except CliError as error:
                if error.kind == "stage_running" and time.monotonic() < until:
                    if not waits:
                        self._note(f"{error.message} This waits for it.")
                    waits = True
                    time.sleep(_LONGEST_GAP)
                elif error.kind in _LOST and lost < TRIES - 1:
                    lost += 1
                    time.sleep(_LONGEST_GAP)
                else:
                    raise


_LOST = frozenset({"", "database_unavailable", "store_unavailable", "temporal_unavailable"})
"""No answer of the API's, or one that says that the same request may go well in a moment."""


def is_turn(session: Json) -> bool:
    """Whether nothing happens by itself."""
    if session["status"] in ENDED or session["status"] in ("paused", "waiting_for_budget"):
        return True
    return not session["working"] and bool(open_questions(session) or session["contradictions"])


def open_questions(session: Json) -> list[Json]:
    """The questions that wait for a person's word, in their order."""
    asked = session.get("asked") or {}
    return [question for question in asked.get("questions") or () if question["status"] in ("open", "follow_up")]


def _path(session_id: str) -> str:
    return f"/v1/sessions/{session_id}"


def _asked(session: Json) -> str:
    return f"{_path(str(session['id']))}/stages/{session['asked']['stage']}"
