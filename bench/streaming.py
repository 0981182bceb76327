"""How soon a reader of a job's event stream sees the first words of a text that a model has begun to write."""

import asyncio
import json
import re
import time

from bench.figures import Figure, Target, median, percentile
from bench.machine import machine
from tests.support.stack import User
from tests.support.wire import WireProvider
from tests.support.wire_composers import longform_composer
from tests.support.wire_messages import WireRequest, drip

SECTIONS = 12
JOBS = 3
"""The first warms up."""
WORDS = 300
PIECES, DRIP_SECONDS = 20, 0.05
"""A section takes a second to write."""
MOST_MS = 250.0
_SECTION = re.compile(r"Write section (\d+) of")


async def run() -> list[Figure]:
    """One job at a time: its sections are written side by side, by one worker, and read at the API."""
    times: list[float] = []
    with WireProvider(composer=longform_composer) as wire:
        async with machine(env=wire.environment("anthropic")) as here:
            here.worker()
            async with User(here.api(), here.token) as user:
                for number in range(JOBS):
                    seen = await _job(user, wire)
                    if number:
                        times += seen
        wire.assert_clean()
    return [
        Figure(
            "First streamed words at the API after the model's first token, p95",
            percentile(times, 0.95),
            "ms",
            Target("under", MOST_MS),
            f"{len(times)} sections, of each job one and then eleven side by side; p50 {median(times):.0f}, at most "
            f"{max(times):.0f} ms",
        )
    ]


async def _job(user: User, wire: WireProvider) -> list[float]:
    """Milliseconds from each section's first token on the wire to its first words in the stream."""
    known = len(wire.requests)
    wire.script(*[drip(DRIP_SECONDS, pieces=PIECES)] * SECTIONS, where=lambda request: _number(request) is not None)
    job = await user.submit(input={"topic": "Tidal mills", "target_words": SECTIONS * WORDS, "cache": "bypass"})
    async with asyncio.timeout(60):
        heard = await _heard(user, job["id"])
    begun = {number: r.first_token for r in wire.requests[known:] if (number := _number(r)) is not None}
    assert len(begun) == SECTIONS == len(heard), f"{len(begun)} sections asked for, words of {len(heard)} heard"
    return [(at - (begun[number] or at)) * 1000 for number, at in heard.items()]


def _number(request: WireRequest) -> int | None:
    found = _SECTION.search(request.asked)
    return int(found.group(1)) if found else None


async def _heard(user: User, job_id: str) -> dict[int, float]:
    """When the first words of each section came, by its number. Returns when the job has ended."""
    heard: dict[int, float] = {}
    async with user.http.stream("GET", f"/v1/jobs/{job_id}/events", timeout=60) as stream:
        async for line in stream.aiter_lines():
            if not line.startswith("data:"):
                continue
            now = time.monotonic()
            event = json.loads(line.removeprefix("data:"))
            if event["type"] == "step.text" and (found := re.fullmatch(r"section s(\d+)", event["step"])):
                heard.setdefault(int(found.group(1)), now)
            if event["type"] in {"job.completed", "job.failed", "job.cancelled"}:
                assert event["type"] == "job.completed", event
                break
    return heard
