"""A scripted far end: a real HTTP server that speaks Anthropic's Messages and Gemini's generateContent.

It runs in a thread with an event loop of its own, so it serves the test's loop, other threads and, by `url`,
other processes. What nobody scripted fails the test: `assert_clean()`.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from tests.support.wire_messages import Answer, WireRequest, error_body, events, parse, whole

Composer = Callable[[WireRequest], Mapping[str, Any]]
Match = Callable[[WireRequest], bool]

_GATE_POLL_S = 0.005
_END = b"0\r\n\r\n"
"""The end of a chunked body."""


@dataclass(eq=False)
class _Scripted:
    """An answer that waits for its request."""

    answer: Answer
    matches: Match


class WireProvider:
    """The fake of both providers. `with WireProvider() as wire: wire.script(ok({...}))`.

    A request takes the first scripted answer that matches it; without one, the composer's; without that, a 500 that
    `assert_clean` reports. `latency_s` delays each composed answer, for benchmarks.
    """

    def __init__(self, *, composer: Composer | None = None, latency_s: float = 0.0) -> None:
        self.composer = composer
        self.latency_s = latency_s
        self.requests: list[WireRequest] = []
        self.unscripted: list[WireRequest] = []
        self.broken: list[Exception] = []
        """Errors of composers and scripts."""
        self._script: list[_Scripted] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._port = 0
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake provider did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """The base URL of both protocols."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self, *providers: Literal["anthropic", "gemini"]) -> dict[str, str]:
        """What makes another process use this server for the providers; for both when none is named."""
        return {
            name: value
            for provider in providers or ("anthropic", "gemini")
            for name, value in (
                (f"{provider.upper()}_API_KEY", f"wire-{provider}-key"),
                (f"{provider.upper()}_BASE_URL", self.url),
            )
        }

    def script(
        self,
        *answers: Answer,
        provider: str | None = None,
        model: str | None = None,
        prompt: str | None = None,
        output: str | None = None,
        where: Match | None = None,
    ) -> None:
        """Queue answers, each for one request: of that provider or model, with that text in its prompt, or whose
        output tool (Gemini: response schema) has that name."""

        def matches(request: WireRequest) -> bool:
            return (
                provider in (None, request.provider)
                and model in (None, request.model)
                and (prompt is None or prompt in request.prompt)
                and output in (None, request.output)
                and (where is None or where(request))
            )

        with self._changed:
            self._script.extend(_Scripted(answer, matches) for answer in answers)

    @property
    def pending(self) -> int:
        """Scripted answers that no request has taken."""
        with self._changed:
            return len(self._script)

    def assert_clean(self) -> None:
        """Raise AssertionError when a request came that nobody scripted, or that a composer failed at."""
        if self.broken:
            raise AssertionError(f"the fake provider failed: {self.broken}") from self.broken[0]
        if self.unscripted:
            asked = [f"{r.provider}:{r.model} {r.output}: {r.prompt[:200]!r}" for r in self.unscripted]
            raise AssertionError(f"{len(asked)} unscripted requests:\n" + "\n".join(asked))

    def wait_until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Block until something holds that requests bring about. Seconds. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(holds, timeout):
                raise TimeoutError(f"not within {timeout} s; {len(self.requests)} requests came")

    def wait_for_request(self, wanted: int | Match = 1, timeout: float = 10.0) -> WireRequest:
        """Block until the n-th request, or one that matches, has come; return it. Seconds. Raises TimeoutError."""

        def found() -> WireRequest | None:
            if isinstance(wanted, int):
                return self.requests[wanted - 1] if len(self.requests) >= wanted else None
            return next((request for request in self.requests if wanted(request)), None)

        self.wait_until(lambda: found() is not None, timeout)
        request = found()
        assert request is not None
        return request

    def wait_for_disconnect(self, request: WireRequest, timeout: float = 10.0) -> None:
        """Block until the client has closed the connection before the answer was finished. Raises TimeoutError."""
        self.wait_until(lambda: request.disconnected is not None, timeout)

    async def received(self, wanted: int | Match = 1, timeout: float = 10.0) -> WireRequest:
        """`wait_for_request` for a test that runs in an event loop."""
        return await asyncio.to_thread(self.wait_for_request, wanted, timeout)

    async def disconnected(self, request: WireRequest, timeout: float = 10.0) -> None:
        """`wait_for_disconnect` for a test that runs in an event loop."""
        await asyncio.to_thread(self.wait_for_disconnect, request, timeout)

    # What follows runs in the server's own thread.

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.abort()
        while self._connections:  # noqa: ASYNC110 - a few turns of the loop, at the end
            await asyncio.sleep(0)

    def _admit(self, path: str, headers: dict[str, str], body: bytes) -> tuple[WireRequest, Answer] | None:
        """Record a request and choose its answer; None for a path that is not ours."""
        with self._changed:
            request = parse(len(self.requests), path, headers, body, time.monotonic())
            if request is None:
                return None
            self.requests.append(request)
            chosen = next((scripted for scripted in self._script if scripted.matches(request)), None)
            if chosen is not None:
                self._script.remove(chosen)
                answer = chosen.answer
            elif self.composer is not None:
                answer = Answer(delay_s=self.latency_s)
            else:
                self.unscripted.append(request)
                answer = Answer(status=500, message="nobody scripted this request")
            self._changed.notify_all()
            return request, answer

    def _count(self, request: WireRequest) -> None:
        with self._changed:
            request.events += 1
            self._changed.notify_all()

    def _close(self, request: WireRequest, *, by_client: bool = False, whole: bool = False) -> None:
        """Record how a request ended, once."""
        with self._changed:
            if request.finished is None:
                request.finished = time.monotonic()
                request.answered = whole
                request.disconnected = request.finished if by_client else None
                self._changed.notify_all()

    def _said(self, request: WireRequest, answer: Answer) -> str:
        """The text of an answer: JSON of the arguments, unless something else is scripted."""
        if answer.text is not None:
            return answer.text
        if answer.raw is not None:
            return answer.raw
        if answer.arguments is not None:
            return json.dumps(answer.arguments)
        if self.composer is None:
            raise RuntimeError("an answer without arguments needs a composer")
        return json.dumps(self.composer(request))


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request at a time, as no client of ours pipelines."""

    def __init__(self, wire: WireProvider) -> None:
        self._wire = wire
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._request: WireRequest | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wire._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire._connections.discard(self)
        if self._request is not None:
            self._wire._close(self._request, by_client=True)
        if self._task is not None:
            self._task.cancel()

    def abort(self, *, reset: bool = False) -> None:
        """Drop the connection; `reset` sends a TCP RST, as a machine that dies would."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def _pump(self) -> None:
        """Start on the next request when it is whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if self._task is not None or end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = end + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < size:
            return
        body = bytes(self._buffer[end + 4 : size])
        del self._buffer[:size]
        self._task = asyncio.get_running_loop().create_task(self._serve(first.split(" ")[1], headers, body))

    async def _serve(self, path: str, headers: dict[str, str], body: bytes) -> None:
        admitted = self._wire._admit(path, headers, body)
        if admitted is None:
            self._transport.write(_head(404, "text/plain", {}, "content-length: 0"))
        else:
            self._request, answer = admitted
            self._request.port = self._transport.get_extra_info("peername")[1]
            try:
                await self._answer(self._request, answer)
            except Exception as error:
                # The script or the composer failed: the test is to blame, and the client must not wait.
                self._wire.broken.append(error)
                self._wire._close(self._request)
                self.abort()
            self._request = None
        self._task = None
        self._pump()

    async def _answer(self, request: WireRequest, answer: Answer) -> None:
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.gate_after == 0:
            await _passed(answer.gate)
        if answer.reset:
            self._wire._close(request)
            self.abort(reset=True)
            return
        request.status = answer.status
        if answer.status != 200:
            self._finish(request, answer, "application/json", error_body(request.provider, answer.status, answer))
        elif request.stream:
            await self._stream(request, answer)
        else:
            self._finish(request, answer, "application/json", whole(request, answer, self._wire._said(request, answer)))

    async def _stream(self, request: WireRequest, answer: Answer) -> None:
        parts = events(request, answer, self._wire._said(request, answer))
        head = _head(200, "text/event-stream", answer.headers, "transfer-encoding: chunked")
        if not answer.drip_s and answer.cut_after is None and answer.gate is None:
            # One write for all: a benchmark's hundred answers at once should cost the fake little.
            self._last(request, head + _chunk(b"".join(parts)) + _END)
            return
        self._transport.write(head)
        for number, part in enumerate(parts):
            if answer.cut_after == number:
                self._cut(request, answer)
                return
            if number and number == answer.gate_after:
                await _passed(answer.gate)
            if number == len(parts) - 1:
                self._last(request, _chunk(part) + _END)
                return
            self._transport.write(_chunk(part))
            self._wire._count(request)
            await asyncio.sleep(answer.drip_s)

    def _last(self, request: WireRequest, data: bytes) -> None:
        """Record the answer as given, then give it: whoever has read it must find it recorded."""
        self._wire._close(request, whole=True)
        self._transport.write(data)

    def _cut(self, request: WireRequest, answer: Answer) -> None:
        self._wire._close(request)
        if answer.cut == "end":
            self._transport.write(_END)
        elif answer.cut == "close":
            self._transport.close()
        else:
            self.abort(reset=True)

    def _finish(self, request: WireRequest, answer: Answer, media_type: str, body: bytes) -> None:
        head = _head(answer.status, media_type, answer.headers, f"content-length: {len(body)}")
        self._last(request, head + body)


async def _passed(gate: threading.Event | None) -> None:
    while gate is not None and not gate.is_set():  # noqa: ASYNC110 - the gate belongs to other threads
        await asyncio.sleep(_GATE_POLL_S)


def _head(code: int, media_type: str, headers: Mapping[str, str], framing: str) -> bytes:
    all_headers = {"content-type": media_type} | dict(headers)
    lines = [f"HTTP/1.1 {code} Scripted", framing, *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
