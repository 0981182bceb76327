"""Faults of all kinds for requests that nobody scripted, drawn by a seed and a counter: the same in every run."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.support import wire_messages as far
from tests.support.wire_messages import Answer

FAULTS: dict[str, Callable[[], Answer]] = {
    "malformed": far.malformed,
    "misses_schema": far.misses_schema,
    "text": far.text,
    "refusal": far.refusal,
    "blocked": lambda: far.refusal(blocked=True),
    "too_long": far.too_long,
    "prompt_too_long": far.prompt_too_long,
    "bad_request": lambda: far.status(400),
    "unauthorised": lambda: far.status(401),
    "rate_limited": lambda: far.rate_limited("1"),
    "rate_limited_by_date": lambda: far.rate_limited_by_date(1),
    "server_error": lambda: far.status(500),
    "unavailable": lambda: far.status(503),
    "overloaded": far.overloaded,
    "reset": far.reset,
    "cut_at_once": lambda: far.cut(0),
    "cut": lambda: far.cut(3),
    "cut_by_reset": lambda: far.cut(3, by="reset"),
    "ended": lambda: far.cut(3, by="end"),
    "stream_error": lambda: far.stream_error(500),
    "stream_overloaded": lambda: far.stream_error(529),
    "garbage": far.garbage,
    "slow": lambda: far.slow(1),
    "stalled": lambda: far.stalled(1),
}
"""Every kind of fault. `slow` and `stalled` are silent for the seconds of the mix, then go on."""


@dataclass
class FaultMix:
    """A share of all requests, each with a fault of any of the kinds."""

    share: float
    seed: int
    kinds: Sequence[str]
    silence_s: float
    count: int = 0

    def draw(self) -> tuple[str, Answer] | None:
        """The fault of the next request, or None when it is to go well."""
        self.count += 1
        chance = random.Random(f"{self.seed}:{self.count}")
        if chance.random() >= self.share:
            return None
        kind = chance.choice(self.kinds)
        answer = FAULTS[kind]()
        if kind == "slow":
            answer = replace(answer, delay_s=self.silence_s)
        elif kind == "stalled":
            answer = replace(answer, pause_s=self.silence_s)
        return kind, answer
