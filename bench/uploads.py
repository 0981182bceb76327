"""A file of 500 MB by REST: how much the API's memory grows, and how fast it comes beside a plain copy.

`python -m bench.uploads` is that plain copy: the same uvicorn, a route that writes to a file what comes, and nothing
else: no limits, no hash, no flush to the disk.
"""

import asyncio
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.figures import Figure, Target, median
from bench.machine import Machine, machine
from tests.support.stack import Api

SIZE = 500_000_000
MB, MIB = 1_000_000, 2**20
ROUNDS = 7
GROWTH = Target("under", 50)
SHARE = Target("at least", 0.5)
LOOK_SECONDS = 0.02


async def run() -> list[Figure]:
    """In turn, so that whatever else the machine does meets both alike."""
    async with machine({"TEMPORAL_ADDRESS": "127.0.0.1:9"}) as here:
        file = here.stack.folder / "film.wav"
        await asyncio.to_thread(_make, file)
        api, bare = here.api(), here.api("bench.uploads")
        ours, plain, grown, completed = list[float](), list[float](), list[float](), list[float]()
        for _ in range(ROUNDS):
            plain.append(await asyncio.to_thread(_put, bare.url, "/copy", file))
            seconds, growth, judged = await _upload(here, api, file)
            ours.append(seconds)
            grown.append(growth)
            completed.append(judged)
        rate, floor = SIZE / MB / median(ours), SIZE / MB / median(plain)
        note = f"{SIZE // MB} MB, {ROUNDS} rounds"
        return [
            Figure("Upload: memory that the API grows by", max(grown), "MiB", GROWTH, f"RSS, the most of {note}"),
            Figure("Upload: throughput", rate, "MB/s", note=f"hashed and on the disk; {note}"),
            Figure("Plain copy through the same HTTP server", floor, "MB/s", note=f"written, not flushed; {note}"),
            Figure("Upload: throughput, share of the plain copy", rate / floor, "", SHARE),
            Figure("Upload: complete", 1000 * median(completed), "ms", note=note),
        ]


async def _upload(here: Machine, api: Api, file: Path) -> tuple[float, float, float]:
    """Seconds that the bytes took, MiB by which the API grew at most, seconds to complete."""
    headers = {"Authorization": f"Bearer {here.token}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        asked = {"name": file.name, "size": SIZE, "media_type": "audio/wav"}
        upload = (await client.post("/v1/uploads", json=asked)).raise_for_status().json()
        process = psutil.Process(api.process.pid)
        before = most = process.memory_info().rss
        sending = asyncio.create_task(asyncio.to_thread(_put, api.url, upload["upload"]["url"], file))
        while not sending.done():
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)
        seconds = await sending
        began = time.perf_counter()
        (await client.post(f"/v1/uploads/{upload['id']}/complete")).raise_for_status()
        judged = time.perf_counter() - began
        most = max(most, process.memory_info().rss)
        (await client.delete(f"/v1/uploads/{upload['id']}")).raise_for_status()
    return seconds, (most - before) / MIB, judged


def _put(url: str, path: str, file: Path) -> float:
    """Send a file as cheaply as can be. Seconds until the answer."""
    at = urlsplit(url)
    head = f"PUT {path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: audio/wav\r\nContent-Length: {SIZE}\r\n\r\n"
    with socket.create_connection((at.hostname, at.port)) as connection, file.open("rb") as source:
        began = time.perf_counter()
        connection.sendall(head.encode())
        connection.sendfile(source)
        answer = connection.recv(65_536)
        seconds = time.perf_counter() - began
    assert answer.startswith(b"HTTP/1.1 204"), answer
    return seconds


def _make(file: Path) -> None:
    """A WAV file whose bytes differ."""
    piece = os.urandom(1 << 20)
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as made:
        made.write(b"RIFF" + struct.pack("<I", SIZE - 8) + b"WAVEfmt ")
        made.write(struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16))
        made.write(b"data" + struct.pack("<I", SIZE - 44))
        while (left := SIZE - made.tell()) > 0:
            made.write(piece[:left])


async def _copy(request: Request) -> Response:
    with tempfile.TemporaryFile(dir=os.environ["ATELIER_HOME"]) as file:
        write: Callable[[bytes], int] = file.write
        async for chunk in request.stream():
            write(chunk)
    return Response(status_code=204)


async def _live(_: Request) -> Response:
    return Response()


def serve() -> None:
    """The plain copy."""
    app = Starlette(routes=[Route("/copy", _copy, methods=["PUT"]), Route("/v1/health/live", _live)])
    port = int(os.environ["API_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False)


if __name__ == "__main__":
    serve()
