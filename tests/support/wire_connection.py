"""One connection to the fake far end: HTTP/1.1 with keep-alive, and all the ways in which an answer can go wrong."""

import asyncio
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping

from core.contracts.llm import Usage
from tests.support.wire_messages import Answer, Event, WireRequest
from tests.support.wire_protocols import error_body, events, used, whole

_GATE_POLL_S = 0.005
_END = b"0\r\n\r\n"
"""The end of a chunked body."""


class FarEnd(ABC):
    """What a connection needs of the server. All of it runs in the server's thread."""

    connections: set["Connection"]

    @abstractmethod
    def admit(self, path: str, headers: dict[str, str], body: bytes) -> tuple[WireRequest, Answer] | None:
        """Record a request and choose its answer; None for a path that no provider has for its models."""

    @abstractmethod
    def other(self, path: str) -> tuple[int, bytes]:
        """Status and JSON for such a path."""

    @abstractmethod
    def words(self, request: WireRequest, answer: Answer) -> str:
        """The text of an answer."""

    @abstractmethod
    def begins(self, request: WireRequest) -> None:
        """A good answer begins to be sent."""

    @abstractmethod
    def wrote(self, request: WireRequest, event: Event, usage: Usage, of: int) -> None:
        """An event is written; the whole answer has so many characters and uses so much."""

    @abstractmethod
    def close(self, request: WireRequest, *, by_client: bool = False, whole: bool = False) -> None:
        """Record how a request ended, once."""

    @abstractmethod
    def failed(self, error: Exception) -> None:
        """The script or a composer raised."""


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request at a time, as no client of ours pipelines."""

    def __init__(self, far_end: FarEnd) -> None:
        self._far_end = far_end
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._request: WireRequest | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._far_end.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._far_end.connections.discard(self)
        if self._request is not None:
            self._far_end.close(self._request, by_client=True)
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
        admitted = self._far_end.admit(path, headers, body)
        if admitted is None:
            status, said = self._far_end.other(path)
            self._transport.write(_head(status, "application/json", {}, f"content-length: {len(said)}") + said)
        else:
            self._request, answer = admitted
            self._request.port = self._transport.get_extra_info("peername")[1]
            try:
                await self._answer(self._request, answer)
            except Exception as error:
                # The script or the composer failed: the test is to blame, and the client must not wait.
                self._far_end.failed(error)
                self._far_end.close(self._request)
                self.abort()
            self._request = None
        self._task = None
        self._pump()

    async def _answer(self, request: WireRequest, answer: Answer) -> None:
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.gate_after == 0:
            await _silence(answer)
        if answer.reset:
            self._far_end.close(request)
            self.abort(reset=True)
            return
        request.status = answer.status
        if answer.status != 200:
            self._finish(request, answer, error_body(request, answer.status, answer))
            return
        said = self._far_end.words(request, answer)
        usage = used(request, answer, said)
        self._far_end.begins(request)
        if request.stream:
            await self._stream(request, answer, said, usage)
        else:
            self._far_end.wrote(request, Event(b"", len(said), usage), usage, len(said))
            self._finish(request, answer, whole(request, answer, said, usage))

    async def _stream(self, request: WireRequest, answer: Answer, said: str, usage: Usage) -> None:
        parts, of = events(request, answer, said, usage), len(said)
        head = _head(200, "text/event-stream", answer.headers, "transfer-encoding: chunked")
        if not answer.drip_s and answer.cut_after is None and answer.gate is None and not answer.pause_s:
            # One write for all: a benchmark's hundred answers at once should cost the fake little.
            for part in parts:
                self._far_end.wrote(request, part, usage, of)
            request.events = 0
            self._last(request, head + _chunk(b"".join(part.data for part in parts)) + _END)
            return
        self._transport.write(head)
        for number, part in enumerate(parts):
            if answer.cut_after == number:
                self._cut(request, answer)
                return
            if number and number == answer.gate_after:
                await _silence(answer)
            if number == len(parts) - 1:
                self._far_end.wrote(request, part, usage, of)
                self._last(request, _chunk(part.data) + _END)
                return
            self._transport.write(_chunk(part.data))
            self._far_end.wrote(request, part, usage, of)
            await asyncio.sleep(answer.drip_s)

    def _last(self, request: WireRequest, data: bytes) -> None:
        """Record the answer as given, then give it: whoever has read it must find it recorded."""
        self._far_end.close(request, whole=True)
        self._transport.write(data)

    def _cut(self, request: WireRequest, answer: Answer) -> None:
        self._far_end.close(request)
        if answer.cut == "end":
            self._transport.write(_END)
        elif answer.cut == "close":
            self._transport.close()
        else:
            self.abort(reset=True)

    def _finish(self, request: WireRequest, answer: Answer, body: bytes) -> None:
        head = _head(answer.status, "application/json", answer.headers, f"content-length: {len(body)}")
        self._last(request, head + body)


async def _silence(answer: Answer) -> None:
    await asyncio.sleep(answer.pause_s)
    gate: threading.Event | None = answer.gate
    while gate is not None and not gate.is_set():  # noqa: ASYNC110 - the gate belongs to other threads
        await asyncio.sleep(_GATE_POLL_S)


def _head(code: int, media_type: str, headers: Mapping[str, str], framing: str) -> bytes:
    all_headers = {"content-type": media_type} | dict(headers)
    lines = [f"HTTP/1.1 {code} Scripted", framing, *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
