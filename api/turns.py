"""Who may use how many of a process's connections to the database at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class _Turn:
    semaphore: asyncio.Semaphore
    users: int = 0


class Turns:
    """Lets everybody have some of the connections, and nobody all.

    Who sends a thousand requests at once waits in a line of their own, in which no time is up, and not in the pool's,
    where all others would wait behind them.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._turns: dict[str, _Turn] = {}

    @property
    def held(self) -> int:
        """How many are taken or waited for."""
        return sum(turn.users for turn in self._turns.values())

    @asynccontextmanager
    async def of(self, name: str, *, places: int | None = None) -> AsyncIterator[None]:
        """Within, one of the turns that this name has is taken. `places`: how many it has, if not as many as others."""
        turn = self._turns.setdefault(name, _Turn(asyncio.Semaphore(self._each if places is None else places)))
        turn.users += 1
        try:
            async with turn.semaphore:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]
