"""Scoping sessions of the small API in memory: what is read next is a queue, and so is what is refused."""

from typing import Any

Json = dict[str, Any]
ID = "019ab000-0000-7000-8000-00000000000a"
TITLES = ("Business problem", "Value and measures of success", "Data readiness", "Users and workflow", "Risk")


def question(id: str, **changes: Any) -> Json:
    """A question that is asked."""
    asked = {"id": id, "text": f"What about {id}?", "help": "Say it.", "status": "open", "follow_up": ""}
    return asked | {"stale": False, "said": []} | changes


def session(*questions: Json, **changes: Any) -> Json:
    """A session that asks these questions of stage 1; without any a model is at work."""
    stages = [
        {
            "number": n,
            "title": title,
            "status": "upcoming" if n > 1 else "open",
            "closed": 0,
            "questions": 6,
            "settled": 0,
        }
        for n, title in enumerate(TITLES, 1)
    ]
    asked = {"stage": 1, "title": TITLES[0], "purpose": "What it is.", "questions": list(questions)}
    view: Json = {
        "id": ID,
        "name": "Mill pond",
        "description": "Levels of a pond.",
        "language": "en",
        "status": "waiting_for_input" if questions else "running",
        "phase": "asking",
        "stage": 1,
        "stages": stages,
        "asked": asked if questions else None,
        "contradictions": [],
        "working": not questions,
        "trouble": None,
        "error": None,
        "expires_at": "2026-12-20T10:00:00Z",
        "document_id": ID,
        "charter": None,
        "reopened_from": None,
        "version": None,
        "decision": None,
        "simulated": False,
        "created_at": "2026-11-20T10:00:00Z",
        "updated_at": "2026-11-20T10:00:00Z",
    }
    return view | changes


class FakeSessions:
    """One session, as it is read again and again."""

    def __init__(self) -> None:
        self.views: list[Json | str] = []
        """Each reading takes one away, but for the last. One that is a code is no answer."""
        self.refusals: list[str] = []
        """Codes: each act takes one away, and is refused with it."""

    def answer(self, method: str, parts: list[str]) -> tuple[int, Json | str]:
        """A status, and a body or the code of a refusal."""
        if method == "POST" and self.refusals:
            code = self.refusals.pop(0)
            return {"stage_running": 429, "temporal_unavailable": 503}.get(code, 409), code
        if not parts and method == "GET":
            return 200, {"items": self.views[:1], "next_cursor": None}
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        if isinstance(view, str):
            return 503, view
        return 202 if method == "POST" else 200, view
