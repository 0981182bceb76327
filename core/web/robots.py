"""robots.txt (RFC 9309): asked once in a while for each origin, by the rules that hold for everything else."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from weakref import WeakValueDictionary

from protego import Protego

from core.contracts.errors import AtelierError, ErrorType
from core.web.addresses import Place

MAX_BYTES = 500 * 1024
"""That much is read; what follows is ignored (RFC 9309, 2.5)."""
KEPT_SECONDS = 600.0
KEPT_ORIGINS = 500
KEPT_BYTES = 1_000_000
"""Of their text, all together: the rules made of it take a hundred times as much memory, and who likes to can give
every name of a domain the longest file that is read."""

_AGENT = re.compile(r"\s*user[-\s]*agent\b[:\s]*(.*)", re.IGNORECASE)


class RobotsFile(NamedTuple):
    """What a server answered when it was asked for its robots.txt."""

    status: int
    body: bytes


class _Kept(NamedTuple):
    """What an origin's robots.txt says, and until when it is believed."""

    until: float
    rules: Protego | None
    size: int


class Robots:
    """Asks whether a place may be read by us."""

    def __init__(
        self,
        agent: str,
        fetch: Callable[[Place], Awaitable[RobotsFile]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent.split("/", 1)[0]
        self._fetch, self._clock = fetch, clock
        self._known: OrderedDict[str, _Kept] = OrderedDict()
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def check(self, place: Place) -> None:
        """Raises `robots_disallowed`, or `robots_unreachable` if the server cannot say (RFC 9309, 2.3.1.4)."""
        rules = await self._rules(place)
        if rules is not None and not rules.can_fetch(place.url, self._agent):
            raise AtelierError(
                ErrorType.ROBOTS_DISALLOWED,
                f"The robots.txt of {place.authority} does not let {self._agent} read this page. "
                "Upload it as a file instead, if you may.",
            )

    async def _rules(self, place: Place) -> Protego | None:
        # Who comes while an origin is asked waits for what it says.
        async with self._asking.setdefault(place.origin, asyncio.Lock()):
            known = self._known.get(place.origin)
            if known is not None and self._clock() < known.until:
                return known.rules
            rules, size = await self._ask(place)
            self._known[place.origin] = _Kept(self._clock() + KEPT_SECONDS, rules, size)
            self._known.move_to_end(place.origin)
            while len(self._known) > KEPT_ORIGINS or sum(kept.size for kept in self._known.values()) > KEPT_BYTES:
                self._known.popitem(last=False)
            return rules

    async def _ask(self, place: Place) -> tuple[Protego | None, int]:
        """The rules of an origin, and the length of the text they are made of."""
        try:
            status, body = await self._fetch(place._replace(target="/robots.txt"))
        except AtelierError as error:
            if not error.kind.transient:
                raise
            raise self._unreachable(place, error.message) from None
        if status >= 500:
            raise self._unreachable(place, f"It answered with status {status}.")
        if status >= 400:
            return None, 0
        text = body[:MAX_BYTES].decode("utf-8-sig", "replace")
        # In a thread: half a megabyte takes a fifth of a second.
        return await asyncio.to_thread(lambda: Protego.parse(self._ours(text))), len(text)

    def _ours(self, text: str) -> str:
        """The file with all agents that are not us as one: the parser's time grows with agents times rules."""
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if named := _AGENT.match(line):
                agent = named[1].partition("#")[0].strip().lower()
                lines[number] = f"User-agent: {agent if agent in ('*', self._agent.lower()) else 'another'}"
        return "\n".join(lines)

    @staticmethod
    def _unreachable(place: Place, why: str) -> AtelierError:
        return AtelierError(
            ErrorType.ROBOTS_UNREACHABLE,
            f"The robots.txt of {place.authority} could not be read, so the page was not asked for. {why}",
        )
