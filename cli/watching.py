"""Following a job: its event stream with resume and reconnects, and the two ways of showing it.

The stream says that something changed, and what its steps are; the job itself is read from GET /v1/jobs/{id}, at
most five times a second, and every few seconds even when nothing is heard.
"""

import asyncio
import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from cli.client import ENDED, Json, client_options
from cli.errors import CliError
from cli.home import Access
from cli.http import problem, unreachable
from cli.outline_view import outline_text
from cli.timeline import Timeline
from cli.view import job_panel, panel_width, plain_line
from cli.waiting import outline_asked

READ_GAP = 0.2  # seconds between two reads of the job
READ_ANYWAY = 3.0  # seconds after which the job is read although no event came
LOST_FOR = 120.0  # seconds without an answer after which the watch is given up
STREAM_SILENCE = 60.0  # seconds; the server sends keep-alives far more often
TAIL_TIMEOUT = 3.0  # seconds for the last events, once the job is known to have ended


class Observer(ABC):
    """Whoever shows a followed job."""

    @abstractmethod
    def event(self, event: Json) -> None:
        """An event, each once and in order."""

    @abstractmethod
    def job(self, job: Json) -> None:
        """The job as it stands now."""

    @abstractmethod
    def outline(self, outline: Json) -> None:
        """The outline that the job waits for a word on; each round once."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Something about the connection; empty: it is well again."""


class LiveView(Observer):
    """A panel that is redrawn in place."""

    def __init__(self, console: Console, job: Json) -> None:
        self._job, self._note, self._frame = job, "", 0
        self._timeline = Timeline()
        self._width = panel_width(console)
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=False)

    def event(self, event: Json) -> None:
        self._timeline.apply(event)

    def job(self, job: Json) -> None:
        self._job = job

    def outline(self, outline: Json) -> None:
        self.live.console.print(outline_text(outline, self._width), Text(), sep="\n")

    def note(self, text: str) -> None:
        self._note = text

    def _render(self) -> RenderableType:
        self._frame += 1
        panel = job_panel(self._job, self._timeline, self._frame, self._note, self._width)
        panel.width = self._width
        return panel


class PlainView(Observer):
    """A line a change, for CI and files."""

    def __init__(self, console: Console, job: Json) -> None:
        self._console, self._timeline = console, Timeline()
        self._job = job
        self._note = ""
        self._say(f"{job.get('title') or job.get('pipeline')}  ({job['id']})")

    def event(self, event: Json) -> None:
        if line := self._timeline.apply(event):
            self._say(plain_line(self._job, event, self._timeline, line))

    def job(self, job: Json) -> None:
        self._job = job

    def outline(self, outline: Json) -> None:
        self._console.print(outline_text(outline, panel_width(self._console)), highlight=False)

    def note(self, text: str) -> None:
        if text and text != self._note:
            self._say(text)
        self._note = text

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def watch_job(
    console: Console, access: Access, job: Json, aborted: Callable[[], CliError | None] | None = None
) -> Json:
    """Show the job until it has ended, and return it as it ended.

    `aborted` is asked five times a second whether to give up, and with which error. Raises CliError for that, and
    when the API cannot be reached for LOST_FOR seconds; KeyboardInterrupt passes through.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        view = LiveView(console, job)
        with view.live:
            return asyncio.run(Follower(access, str(job["id"]), view, aborted).run())
    return asyncio.run(Follower(access, str(job["id"]), PlainView(console, job), aborted).run())


class Follower:
    """Reads a job's events and the job itself until it has ended."""

    def __init__(
        self, access: Access, job_id: str, observer: Observer, aborted: Callable[[], CliError | None] | None = None
    ) -> None:
        self._access = access
        self._job_id = job_id
        self._observer = observer
        self._aborted = aborted or (lambda: None)
        self._last_id = 0
        self._heard = time.monotonic()
        self._changed = asyncio.Event()
        self._outlined = 0

    async def run(self) -> Json:
        """The job as it ended."""
        async with httpx.AsyncClient(**client_options(self._access)) as http:
            reader = asyncio.create_task(self._read_events(http))
            try:
                job = await self._until_ended(http, reader)
                with contextlib.suppress(TimeoutError):  # the last events, for whoever shows each
                    await asyncio.wait_for(asyncio.shield(reader), TAIL_TIMEOUT)
                self._observer.job(job)
                return job
            finally:
                reader.cancel()
                with contextlib.suppress(asyncio.CancelledError, CliError):
                    await reader

    async def _until_ended(self, http: httpx.AsyncClient, reader: "asyncio.Task[None]") -> Json:
        read = float("-inf")
        while True:
            if error := self._aborted():
                raise error
            if reader.done():
                reader.result()  # its error ends the watch
            if self._changed.is_set() or time.monotonic() - read > READ_ANYWAY:
                self._changed.clear()
                read = time.monotonic()
                job = await self._read_job(http)
                if job and job.get("status") in ENDED:
                    return job
                if job:
                    self._observer.job(job)
                    await self._show_outline(http, job)
            await asyncio.sleep(READ_GAP)

    async def _show_outline(self, http: httpx.AsyncClient, job: Json) -> None:
        """Show the outline that the job waits for a word on, unless it has been shown."""
        asked = outline_asked(job)
        if asked is None or asked <= self._outlined:
            return
        outline = None
        with contextlib.suppress(CliError):  # answered in this moment; what is asked next shows in the job
            outline = await self._read(http, f"/v1/jobs/{self._job_id}/outline")
        if outline and outline.get("waiting"):
            self._outlined = max(asked, int(outline.get("round") or 1))
            self._observer.outline(outline)

    async def _read_job(self, http: httpx.AsyncClient) -> Json | None:
        """The job, or None when it could not be read this time."""
        return await self._read(http, f"/v1/jobs/{self._job_id}")

    async def _read(self, http: httpx.AsyncClient, path: str) -> Json | None:
        try:
            response = await http.get(path)
        except httpx.TransportError as error:
            self._lost(error)
            return None
        if response.is_server_error:
            self._lost(None)
            return None
        if response.is_error:
            raise problem(response)
        self._found()
        found: Json = response.json()
        return found

    async def _read_events(self, http: httpx.AsyncClient) -> None:
        """Read the stream, from behind the last event after every loss, until the job's end is in it."""
        pause = READ_GAP
        while True:
            before = self._last_id
            try:
                async for event in self._stream(http):
                    self._observer.event(event)
                    if event["type"] != "step.text":  # it changes nothing of the job
                        self._changed.set()
                ended = await self._read_job(http)
                if ended and ended.get("status") in ENDED:
                    self._changed.set()
                    return
            except httpx.TransportError as error:
                self._lost(error)
            pause = READ_GAP if self._last_id > before else min(pause * 2, 3.0)
            await asyncio.sleep(pause)

    async def _stream(self, http: httpx.AsyncClient) -> AsyncIterator[Json]:
        """The events of one connection."""
        headers = {"Accept": "text/event-stream"}
        if self._last_id:
            headers["Last-Event-ID"] = str(self._last_id)
        timeout = httpx.Timeout(STREAM_SILENCE, connect=5)
        async with http.stream("GET", f"/v1/jobs/{self._job_id}/events", headers=headers, timeout=timeout) as response:
            if response.is_server_error:
                raise httpx.RemoteProtocolError(f"status {response.status_code}", request=response.request)
            if response.is_error:
                await response.aread()
                raise problem(response)
            self._found()
            async for fields in sse_messages(response.aiter_bytes()):
                event = json.loads(fields["data"])
                event.setdefault("type", fields.get("event", ""))
                number = int(fields.get("id") or event.get("seq") or 0)
                if number and number <= self._last_id:
                    continue
                self._last_id = number or self._last_id
                yield event

    def _found(self) -> None:
        self._heard = time.monotonic()
        self._observer.note("")

    def _lost(self, error: httpx.TransportError | None) -> None:
        """Say that the connection is lost; after LOST_FOR seconds raise it."""
        away = time.monotonic() - self._heard
        if away > LOST_FOR:
            raise unreachable(self._access.url, error or httpx.TransportError("no answer"))
        self._observer.note("connection lost, trying again; the job goes on without us")


async def sse_messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """The messages of a stream that have data, as fields.

    On bytes, because the line iterators of HTTP clients also split at U+2028, which may stand in JSON.
    """
    rest, fields = b"", dict[str, Any]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode(errors="replace")
            if not line:
                if "data" in fields:
                    yield fields
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
