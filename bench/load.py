"""The load generator, in a process of its own: `python -m bench.load plan.json` prints what it measured as JSON.

Open loop: requests go out on schedule, whatever the answers do, and a latency counts from the scheduled time; so a
server that stalls is charged for every request that should have been sent meanwhile. Closed loop: each connection
sends its next request when it has its answer. The client is a few lines on asyncio's protocols, as an HTTP library
would take as much of the machine as the server that is measured.
"""

import asyncio
import gc
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import uvloop

from core.contracts.base import Json

TIMEOUT_SECONDS = 30.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


@dataclass(frozen=True)
class Sent:
    """One request of a plan; plans go round theirs. `token`: of whoever asks, if not the machine's owner."""

    method: str
    path: str
    body: Json | None = None
    token: str | None = None


@dataclass(frozen=True)
class Plan:
    """A load. With a `rate` (requests a second) it is open, else closed on so many `connections`."""

    requests: Sequence[Sent]
    seconds: float
    rate: float | None = None
    connections: int = 32
    warm_up: float = 1.0
    """Seconds before it counts."""

    def for_server(self, port: int, token: str) -> Json:
        """The plan as the process reads it: each request as the text that goes over the wire."""
        return {
            "port": port,
            "requests": [_text(request, token) for request in self.requests],
            "seconds": self.seconds,
            "rate": self.rate,
            "connections": self.connections,
            "warm_up": self.warm_up,
        }


@dataclass(frozen=True)
class Measured:
    """What a load saw. Latencies in ms."""

    latencies: list[float]
    statuses: dict[str, int]
    rate: float
    """Answers a second."""

    @classmethod
    def read(cls, measured: Json) -> Self:
        """From the process's output."""
        return cls(measured["latencies"], measured["statuses"], measured["rate"])

    def check(self, status: int) -> Self:
        """Itself, when every answer had the status. AssertionError otherwise: such a figure means nothing."""
        assert set(self.statuses) == {str(status)}, f"answers other than {status}: {self.statuses}"
        return self


def _text(request: Sent, token: str) -> str:
    body = "" if request.body is None else json.dumps(request.body)
    bearer = request.token or token
    head = [f"{request.method} {request.path} HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {bearer}"]
    if body:
        head += ["content-type: application/json", f"content-length: {len(body.encode())}"]
    return "\r\n".join(head) + "\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0 or self._answer is None:
            return
        at = self._buffer.find(_LENGTH, 0, end + 2)
        length = int(self._buffer[at + len(_LENGTH) : self._buffer.index(b"\r", at + 2)]) if at >= 0 else 0
        if len(self._buffer) >= end + len(_HEAD_END) + length:
            status = int(self._buffer[9:12])
            self._buffer.clear()
            answer, self._answer = self._answer, None
            answer.set_result(status)

    async def ask(self, request: bytes) -> int:
        """Send, and the status when the whole answer is there."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._answer

    def close(self) -> None:
        """Close it."""
        self._transport.close()


@dataclass
class _Load:
    port: int
    requests: list[bytes]
    seconds: float
    warm_up: float
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def note(self, began: float, status: int | str, first: float) -> None:
        """Count an answer whose request was due at `began`, unless it was of the warm-up (due before `first`)."""
        if began >= first:
            self.latencies.append((time.perf_counter() - began) * 1000)
            self.statuses[str(status)] += 1

    async def connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self.port)
        return connection

    async def open(self, rate: float) -> None:
        """Send on schedule; an idle connection takes a request, or a new one does."""
        idle = [await self.connect() for _ in range(8)]
        tasks: set[asyncio.Task[None]] = set()
        start = time.perf_counter() + 0.1
        first = start + self.warm_up

        async def one(request: bytes, due: float) -> None:
            status: int | str
            connection = idle.pop() if idle else await self.connect()
            try:
                status = await connection.ask(request)
                idle.append(connection)
            except (OSError, TimeoutError) as error:
                status = type(error).__name__
                connection.close()
            self.note(due, status, first)

        for number, request in zip(
            range(round((self.warm_up + self.seconds) * rate)), itertools.cycle(self.requests), strict=False
        ):
            due = start + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(one(request, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def closed(self, connections: int) -> None:
        """Every connection sends its next request at once."""
        requests = itertools.cycle(self.requests)
        start = time.perf_counter()
        first, end = start + self.warm_up, start + self.warm_up + self.seconds

        async def one() -> None:
            connection = await self.connect()
            while (began := time.perf_counter()) < end:
                self.note(began, await connection.ask(next(requests)), first)
            connection.close()

        await asyncio.gather(*(one() for _ in range(connections)))


async def main(plan: Json) -> Json:
    """Put the load on, and what was seen."""
    load = _Load(plan["port"], [r.encode() for r in plan["requests"]], plan["seconds"], plan["warm_up"])
    gc.collect()
    gc.freeze()
    gc.disable()
    if plan["rate"] is None:
        await load.closed(plan["connections"])
    else:
        await load.open(plan["rate"])
    return {
        "latencies": load.latencies,
        "statuses": dict(load.statuses),
        "rate": len(load.latencies) / load.seconds,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.loads(Path(sys.argv[1]).read_text())))))
