"""Event streams: one listening connection a process wakes the streams, and each reads the table for itself.

A notification carries a job's id and a number, nothing else, and may be lost: what a stream sends always comes from
the table, from behind the number it sent last. So a stream holds no events, no connection, and nothing twice.
"""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

import asyncpg
import structlog
from asyncpg import Connection
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.turns import Turns
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ENDING_EVENTS, Event
from core.contracts.names import EVENTS_CHANNEL, JOBS_CHANNEL
from core.db.engine import CONNECT_TIMEOUT_SECONDS, Database, plain_url
from core.db.repositories.events import JobEventsRepository

BATCH = 500
"""Events read at a time; a stream that is far behind reads the next when the client has taken these."""
KEEP_ALIVE_SECONDS = 15.0
"""Silence after which a comment is sent, so that proxies keep the connection and a dead one is noticed. As often it is
seen whether the caller may still read."""
STREAMS_EACH = 50
"""Streams that one owner may have open at a process."""
STREAMS_RETRY_AFTER = timedelta(seconds=10)
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.05, 5.0
PING_SECONDS = 15.0
"""A connection that died without a word is found out by then."""

_ENDINGS = frozenset(ENDING_EVENTS.values())

log = structlog.get_logger()


class EventHub:
    """Listens to Postgres and wakes the streams of the job it hears of."""

    def __init__(
        self,
        url: str,
        wake_starter: Callable[[], None],
        connect: Callable[..., Awaitable["Connection[asyncpg.Record]"]] = asyncpg.connect,
    ) -> None:
        """`connect` opens the connection that listens."""
        self._connect = connect
        self._url = plain_url(url)
        self._wake_starter = wake_starter
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._open: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.closing = False
        self.listening = False

    def start(self) -> None:
        """Begin to listen. The database may be away: it is tried until it is there."""
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Let every stream end. Called before the server waits for its connections."""
        self.closing = True
        self._wake_all()

    async def stop(self) -> None:
        """Stop listening."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.contextmanager
    def subscribe(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job may have something new."""
        woken = asyncio.Event()
        self._waiting[job_id].add(woken)
        try:
            yield woken
        finally:
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    @contextlib.contextmanager
    def room(self, owner_id: str) -> Iterator[None]:
        """Within, one of the streams that an owner may have is open. Raises `TOO_MANY_REQUESTS`."""
        if self._open[owner_id] >= STREAMS_EACH:
            raise AtelierError(
                ErrorType.TOO_MANY_REQUESTS,
                f"You have {STREAMS_EACH} event streams open, and one user may have no more: close one.",
                details={"limit": "streams", "quota": STREAMS_EACH},
                retry_after=STREAMS_RETRY_AFTER,
            )
        self._open[owner_id] += 1
        try:
            yield
        finally:
            self._open[owner_id] -= 1
            if not self._open[owner_id]:
                del self._open[owner_id]

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._waiting.values()))

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                connection = await self._connect(
                    self._url,
                    timeout=CONNECT_TIMEOUT_SECONDS,
                    server_settings={"application_name": "atelier-listen"},
                )
                try:
                    await self._listen(connection)
                    backoff = FIRST_BACKOFF_SECONDS
                    self.listening = True
                    await self._until_lost(connection)
                finally:
                    self.listening = False
                    # Not `close`: it would wait for a server that may be gone.
                    connection.terminate()
            except Exception as error:
                # Whatever it is: asyncpg says a killed connection in many ways, one of them InternalClientError, and
                # without this task the streams are as slow as their poll until the process is started anew.
                log.warning("events.listening_failed", error=repr(error), again_in=backoff)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)

    async def _listen(self, connection: "Connection[asyncpg.Record]") -> None:
        await connection.add_listener(EVENTS_CHANNEL, self._heard_event)
        await connection.add_listener(JOBS_CHANNEL, self._heard_job)
        # What was said while nobody listened is read now.
        self._wake_all()
        self._wake_starter()

    async def _until_lost(self, connection: "Connection[asyncpg.Record]") -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        while not (lost.is_set() or connection.is_closed()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), PING_SECONDS)
            if not lost.is_set():
                await connection.execute("SELECT 1", timeout=CONNECT_TIMEOUT_SECONDS)
        log.warning("events.connection_lost")

    def _heard_event(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        job_id = str(payload).partition(":")[0]
        for woken in self._waiting.get(job_id, ()):
            woken.set()

    def _heard_job(self, _connection: object, _pid: int, _channel: str, _payload: object) -> None:
        self._wake_starter()

    def _wake_all(self) -> None:
        for streams in self._waiting.values():
            for woken in streams:
                woken.set()


class EventStream(Response):
    """The events of one job as server-sent events, from behind `after`, until the job has ended and all is sent."""

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: EventHub,
        database: Database,
        turns: Turns,
        *,
        owner_id: str,
        allowed: Callable[[AsyncConnection], Awaitable[bool]],
        job_id: str,
        after: int,
        poll_seconds: float,
    ) -> None:
        self.status_code = 200
        self.background = None
        # Caches must not keep it, and nginx must pass each event on at once.
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub = hub
        self._database = database
        self._turns = turns
        self._owner_id = owner_id
        self._allowed = allowed
        self._job_id = job_id
        self._sent = after
        self._poll_seconds = poll_seconds
        self._begun = False
        self._gone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.room(self._owner_id), self._hub.subscribe(self._job_id) as woken:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            watcher = asyncio.create_task(self._watch(receive, woken))
            try:
                await self._stream(send, woken)
            finally:
                watcher.cancel()

    async def _watch(self, receive: Receive, woken: asyncio.Event) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        woken.set()

    async def _stream(self, send: Send, woken: asyncio.Event) -> None:
        async def write(text: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": more})

        await write(b": open\n\n")
        spoke = checked = time.monotonic()
        while not (self._gone or self._hub.closing):
            # Before the read: what comes during it wakes us again.
            woken.clear()
            now = time.monotonic()
            due = spoke + KEEP_ALIVE_SECONDS - now
            # Also of a stream that is never silent.
            if check := now >= checked + KEEP_ALIVE_SECONDS:
                checked = now
            events, ended = await self._read(check=check)
            if events:
                self._sent = events[-1].seq
                await write(b"".join(map(_line, events)))
            elif due <= 0:
                await write(b": keep-alive\n\n")
            if events or due <= 0:
                spoke, due = time.monotonic(), KEEP_ALIVE_SECONDS
            if ended:
                break
            if len(events) < BATCH:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), max(0.0, min(due, self._poll_seconds)))
        await write(b"", more=False)

    async def _read(self, *, check: bool) -> tuple[list[Event], bool]:
        """What is new, and whether that is the end of it."""
        try:
            # In a turn of the owner's: who has many streams waits for those, and not the others.
            async with self._turns.of(self._owner_id), self._database.transaction() as connection:
                if check and not await self._allowed(connection):
                    return [], True
                repository = JobEventsRepository(connection, self._owner_id)
                events = await repository.after(self._job_id, self._sent, BATCH)
                # The row is read only when it may have ended: most of the time one statement is enough.
                if events and self._begun and not any(event.type in _ENDINGS for event in events):
                    return events, False
                # Also after the last of several batches: a job that ended long ago is not waited for.
                self._begun = len(events) < BATCH
                position = await repository.position(self._job_id)
        except AtelierError as error:
            # The database is away. The client keeps its stream, and gets the rest when it is back.
            log.warning("events.reading_failed", job_id=self._job_id, error=error.message)
            return [], False
        # Read after the events, the row may count more of them: then the job was retried, or is told of once more.
        last = events[-1].seq if events else self._sent
        return events, position is None or (position.ended and position.last_seq <= last)


def _line(event: Event) -> bytes:
    fixed = {"seq": event.seq, "type": event.type.value, "at": event.at}
    data = to_json({**fixed, **event.data, **fixed}, fallback=str)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.value.encode(), data)
