"""A small REST API with a few jobs in memory, as the command line sees one: for tests of the command line alone."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.fake_documents import diff_view, document_view, refusal
from tests.support.fake_money import CALLS, Purse
from tests.support.fake_people import ME, People
from tests.support.fake_sessions import FakeSessions

Json = dict[str, Any]
KEY = "atl_a-key-for-tests"
PDF = b"%PDF-1.7 not really"


def job_id(number: int) -> str:
    """Ids as the API makes them: those of one moment share their beginning."""
    return f"019ab000-0000-7000-8000-{number:012x}"


def make_job(number: int, **changes: Any) -> Json:
    """A job's view."""
    job: Json = {
        "id": job_id(number),
        "pipeline": "longform",
        "title": f"Title {number}",
        "tags": ["demo"],
        "models": ["simulator:composer"],
        "status": "running",
        "parent_job": None,
        "progress": {
            "stage": "sections",
            "current_step": "section s1",
            "completed_steps": ["decompose"],
            "total_steps": 4,
            "percentage": 25.0,
            "eta_seconds": 12.0,
        },
        "cost": {
            "usd": 0.0123,
            "input_tokens": 1000,
            "output_tokens": 500,
            "cached_tokens": 0,
            "minutes": 0.1,
            "reserved_usd": 0.0,
            "budget_usd": None,
            "estimate": None,
        },
        "waiting_for": None,
        "error": None,
        "result": None,
        "simulated": True,
        "cancel_requested": False,
        "paused": False,
        "run": 1,
        "workflow_id": f"longform/{job_id(number)}",
        "workflow_run_id": "run",
        "created_at": "2026-11-20T10:00:00Z",
        "updated_at": "2026-11-20T10:00:05Z",
        "started_at": "2026-11-20T10:00:01Z",
        "finished_at": None,
    }
    return job | changes


def completed(job: Json) -> Json:
    """The job as it is when it has made its file."""
    output = {
        "name": "article.pdf",
        "artifact_id": "a1",
        "media_type": "application/pdf",
        "size": len(PDF),
        "sha256": hashlib.sha256(PDF).hexdigest(),
        "url": "/v1/artifacts/a1",
    }
    result = {"outputs": [output], "summary": {"title": job["title"], "words": 1200}, "simulated": True}
    progress = job["progress"] | {"completed_steps": ["decompose", "section s1", "assemble", "export pdf"]}
    progress |= {"percentage": 100.0, "current_step": ""}
    ended = {"status": "completed", "result": result, "progress": progress, "finished_at": "2026-11-20T10:00:09Z"}
    return job | ended


def failed(job: Json) -> Json:
    """The job as it is when every model failed it."""
    error = {
        "code": "all_models_failed",
        "message": "Every model failed.",
        "step": "decompose",
        "attempts": 3,
        "details": {},
    }
    return job | {"status": "failed", "error": error, "finished_at": "2026-11-20T10:00:09Z"}


EVENTS: list[Json] = [
    {"type": "job.accepted"},
    {"type": "job.started", "run": 1},
    {"type": "step.started", "step": "decompose", "stage": "decompose"},
    {"type": "step.completed", "step": "decompose", "stage": "decompose"},
    {"type": "step.started", "step": "section s1", "stage": "sections"},
    {
        "type": "step.failed",
        "step": "section s1",
        "stage": "sections",
        "error": {"code": "overloaded", "message": "Busy\u2028now."},
    },
    {"type": "step.completed", "step": "section s1", "stage": "sections"},
    {"type": "job.completed", "outputs": ["article.pdf"]},
]


class FakeApi:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.jobs: dict[str, Json] = {}
        self.outlines: dict[str, Json] = {}
        self.documents: dict[str, list[Json]] = {}
        """The versions of each, oldest first."""
        self.purse = Purse()
        self.people = People()
        self.sessions = FakeSessions()
        self.calls = CALLS
        """Of every job."""
        self.after_events: Json | None = None
        """What the followed job becomes when its last event is sent."""
        self.events = EVENTS
        self.streaming = threading.Event()
        """No stream begins before it is set; whoever reads an outline sets it."""
        self.streaming.set()
        self.cut_after = 1_000
        """Events a connection sends before it breaks off."""
        self.asked: list[tuple[str, str, Json | None]] = []
        self.headers: list[Json] = []
        self.artifact = PDF
        self.url = ""

    def add(self, *jobs: Json) -> None:
        """Jobs, oldest first."""
        self.jobs |= {job["id"]: job for job in jobs}

    @property
    def resumed_from(self) -> list[str | None]:
        """The Last-Event-ID of every stream that was opened."""
        streams = zip(self.asked, self.headers, strict=True)
        return [headers.get("last-event-id") for asked, headers in streams if asked[1].endswith("/events")]


@contextmanager
def serve() -> Iterator[FakeApi]:
    """The server while it runs."""
    api = FakeApi()

    class Handler(_Handler):
        fake = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeApi

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._answer(json.loads(self.rfile.read(length)) if length else None)

    def _answer(self, body: Json | None) -> None:
        url = urlsplit(self.path)
        self.fake.asked.append((self.command, self.path, body))
        self.fake.headers.append({name.lower(): value for name, value in self.headers.items()})
        parts = url.path.strip("/").split("/")[1:]
        if parts[0] == "auth":
            return self._told(*self.fake.people.answer(parts[1], body or {}))
        if parts[0] == "erasures":
            return self._json(200, self.fake.people.erasing())
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token != KEY and not self.fake.people.knows(token):
            return self._problem(401, "unauthenticated", "A valid API key is needed.")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if parts == ["jobs"] and self.command == "POST":
            return self._submit(body or {})
        if parts == ["jobs"]:
            return self._list(query)
        if parts[0] == "artifacts":
            return self._send(200, self.fake.artifact, "application/pdf")
        if parts[0] == "documents":
            return self._document(parts[1:], query)
        if parts[0] == "sessions":
            return self._told(*self.fake.sessions.answer(self.command, parts[1:]))
        if parts == ["me"] and self.command == "DELETE":
            return self._json(202, self.fake.people.erasing())
        if parts == ["me"]:
            return self._json(200, ME | {"via": "key" if token == KEY else "login"})
        if parts == ["me", "password"]:
            return self._told(*self.fake.people.change_password(body or {}))
        if parts[0] != "jobs":
            return self._money(parts[0], body or {}, query)
        job = self.fake.jobs.get(parts[1])
        if job is None:
            return self._problem(404, "not_found", "There is no such job.")
        if parts[2:] == ["events"]:
            return self._stream(job["id"])
        if parts[2:3] == ["outline"]:
            return self._outline(job, parts[3:], body or {})
        if parts[2:] == ["calls"]:
            return self._page(self.fake.calls, query)
        if parts[2:] == ["budget"]:
            return self._raise(job, body or {})
        if self.command == "POST":
            return self._act(job, parts[2])
        return self._json(200, job)

    def _money(self, resource: str, body: Json, query: dict[str, str]) -> None:
        purse = self.fake.purse
        if resource == "me" and self.command == "PUT":
            limit = body["monthly_usd"]
            purse.monthly = None if limit is None else max(limit, purse.spent + purse.reserved)
        answers = {"estimates": lambda: purse.estimates, "providers": lambda: purse.providers, "me": purse.month}
        return self._json(200, purse.used(query) if resource == "usage" else answers[resource]())

    def _raise(self, job: Json, body: Json) -> None:
        if job["cost"]["budget_usd"] is None:
            return self._problem(409, "invalid_state", "The job has no budget.")
        job["cost"] = job["cost"] | {"budget_usd": job["cost"]["budget_usd"] + body["add_usd"]}
        return self._json(202, job)

    def _submit(self, body: Json) -> None:
        if body["input"].get("target_words", 300) < 300:
            wrong = [{"loc": "input.target_words", "message": "Input should be 300 or more", "type": "x"}]
            return self._problem(422, "invalid_request", "Not valid: input.target_words.", errors=wrong)
        job = make_job(len(self.fake.jobs) + 1, title=body.get("title", "Tides"), status="pending")
        self.fake.add(job)
        return self._json(202, job)

    def _list(self, query: dict[str, str]) -> None:
        self._page(
            [job for job in reversed(self.fake.jobs.values()) if query.get("status") in (None, job["status"])], query
        )

    def _page(self, found: list[Json], query: dict[str, str]) -> None:
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        more = start + limit < len(found)
        self._json(200, {"items": found[start : start + limit], "next_cursor": str(start + limit) if more else None})

    def _act(self, job: Json, act: str) -> None:
        if job["status"] == "completed":
            return self._problem(409, "invalid_state", f"A completed job cannot be {act}ed.")
        changes: dict[str, Json] = {
            "cancel": {"status": "cancelled"},
            "pause": {"status": "paused", "paused": True},
            "resume": {"status": "running", "paused": False},
            "retry": {"status": "pending"},
        }
        job |= changes[act]
        return self._json(202, job)

    def _outline(self, job: Json, act: list[str], body: Json) -> None:
        outline = self.fake.outlines.get(job["id"])
        if outline is None:
            return self._problem(404, "not_found", "The job has no outline (yet).")
        if not act:
            self._json(200, outline)
            return self.fake.streaming.set()
        if not outline["waiting"]:
            return self._problem(409, "invalid_state", "The job asks nothing at the moment.")
        if act == ["edit"] and (wrong := refusal(body)):
            return self._problem(422, "invalid_request", f"Not valid: {wrong['loc']}.", errors=[wrong])
        outline["waiting"] = False
        job |= {"status": "running", "waiting_for": None}
        return self._json(202, job)

    def _document(self, parts: list[str], query: dict[str, str]) -> None:
        if not parts:
            return self._page([document_view(versions) for versions in reversed(self.fake.documents.values())], query)
        versions = self.fake.documents.get(parts[0])
        if versions is None:
            return self._problem(404, "not_found", "There is no such document.")
        if self.command == "POST":
            return self._submit({"input": {}, "title": f"{versions[-1]['title']}: {parts[-1]}"})
        numbered = {str(version["number"]): version for version in versions}
        match parts[1:]:
            case []:
                return self._json(200, document_view(versions))
            case ["versions"]:
                return self._page(versions[::-1], query)
            case ["versions", number] if number in numbered:
                return self._json(200, numbered[number])
            case ["diff"] if {query["from"], query["to"]} <= numbered.keys():
                return self._json(200, diff_view(numbered[query["from"]], numbered[query["to"]]))
        return self._problem(404, "not_found", "There is no such version.")

    def _stream(self, wanted: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": open\n\n")
        self.fake.streaming.wait(10)
        after = int(self.headers.get("Last-Event-ID") or 0)
        for seq, event in list(enumerate(self.fake.events, 1))[after : after + self.fake.cut_after]:
            if seq == len(self.fake.events) and self.fake.after_events:
                self.fake.add(self.fake.after_events)
            data = json.dumps({"seq": seq, "at": "2026-11-20T10:00:02Z", **event}, ensure_ascii=False)
            self.wfile.write(f"id: {seq}\nevent: {event['type']}\ndata: {data}\n\n".encode())
        self.close_connection = True

    def _told(self, status: int, said: Json | str) -> None:
        if isinstance(said, str):
            return self._problem(status, said, f"It is {said.replace('_', ' ')}.")
        return self._json(status, said)

    def _problem(self, status: int, code: str, detail: str, **more: Any) -> None:
        problem = {"type": code, "title": "The request is not valid", "status": status, "detail": detail, "code": code}
        self._json(status, problem | more, "application/problem+json")

    def _json(self, status: int, content: Any, media_type: str = "application/json") -> None:
        self._send(status, json.dumps(content).encode(), media_type)

    def _send(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        if status == 401 and b'"unauthenticated"' in content:
            self.send_header("WWW-Authenticate", 'Bearer realm="atelier", error="invalid_token"')
        self.end_headers()
        self.wfile.write(content)
