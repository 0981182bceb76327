"""Text that a model is still writing, told piece by piece while its answer streams in."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog
from pydantic_core import from_json

LAST_PIECE_SECONDS = 2.0
"""How long the end of an answer waits for a piece that is on its way."""

Tell = Callable[[int, str], Awaitable[None]]
"""Tells what was written since an offset, in characters."""

log = structlog.get_logger()


class PartialText:
    """Tells a field of an answer as it grows: at once when it begins, then once in `every`, one piece at a time.

    Telling never holds up the reading: while one piece is on its way, what comes next is gathered. A piece that could
    not be told comes again with the next one. What is written last may not be told: the finished step has it.
    """

    def __init__(self, field: str, tell: Tell, every: timedelta) -> None:
        self._field = field
        self._tell = tell
        self._every = every.total_seconds()
        self._next = 0.0
        self._told = 0
        self._telling: asyncio.Task[None] | None = None
        self._warned = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        # Told before the step's end is, so that nothing of it comes afterwards.
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=LAST_PIECE_SECONDS)
            self._telling.cancel()

    def heard(self, answer: Callable[[], str | None]) -> None:
        """More of the answer has come; `answer` makes its JSON so far."""
        now = time.monotonic()
        if now < self._next or (self._telling is not None and not self._telling.done()):
            return
        words = written(answer() or "", self._field)
        if len(words) <= self._told:
            return
        self._next = now + self._every
        self._telling = asyncio.create_task(self._send(self._told, words))

    async def _send(self, offset: int, words: str) -> None:
        try:
            await self._tell(offset, words[offset:])
        except Exception as error:
            # Whatever it is: nobody awaits this task, and the answer itself is not harmed.
            if not self._warned:
                log.warning("partial_text.not_told", error=repr(error))
            self._warned = True
        else:
            # Only what is told; what is not told comes again with the next piece.
            self._told = len(words)


def written(answer: str, field: str) -> str:
    """The text of a field of a JSON object that is broken off anywhere; empty while it has none."""
    try:
        value = from_json(answer, allow_partial="trailing-strings")
    except ValueError:
        return ""
    found = value.get(field) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
