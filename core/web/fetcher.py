"""The one way to a URL that a user gave: to read what it leads to, or to tell it something."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from core.contracts.errors import AtelierError, ErrorType
from core.web.addresses import Place, place_after, place_of, refused
from core.web.bodies import decoder_of, media_type_of, seen_in
from core.web.connection import Answer, Connector, Resolver, SystemResolver
from core.web.robots import MAX_BYTES, Robots, RobotsFile
from core.web.rules import FetchRules

POSTED_HEAD_BYTES = 2_048
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TRY_AGAIN = frozenset((408, 425, 429))
"""Statuses below 500 that another try can change."""
_LONGEST_RETRY_AFTER = 3_600
_RETRY_AFTER_DIGITS = 9
"""Python refuses to read a number of thousands of digits, with an error of its own."""


@dataclass(frozen=True)
class Fetched:
    """What a URL led to. `charset` is what the server said; `media_type` too, unless it said none."""

    url: str
    final_url: str
    status: int
    media_type: str
    charset: str | None
    body: bytes
    redirects: int


@dataclass(frozen=True)
class Posted:
    """How a server took what was posted to it."""

    status: int
    head: bytes
    """The first of the answer's body, for a log; at most `POSTED_HEAD_BYTES`."""
    ms: float
    """From the look-up of the name to the head of the answer."""
    retry_after: timedelta | None = None
    """How long it asks to be left alone."""


class Fetcher:
    """Fetches and posts within rules. It keeps no connection and no cookie; robots.txt files for ten minutes."""

    def __init__(
        self,
        rules: FetchRules,
        user_agent: str,
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`user_agent` is `Atelier/<version>`. Raises ValueError if `rules.allowed` is not understood."""
        self._rules = rules
        self._connector = Connector(rules, resolver or SystemResolver(), tls or ssl.create_default_context())
        self._robots = Robots(user_agent, self._robots_file)
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._reading = {**self._headers, "Accept": ", ".join((*sorted(rules.media_types), "*/*;q=0.1"))}

    async def get(self, url: str) -> Fetched:
        """What a URL leads to, after at most `max_redirects`, each checked like the URL itself.

        Raises `url_refused`, `url_unreachable`, `url_timeout`, `url_status` (final for most below 500), `url_cut`,
        `url_too_large`, `url_unsupported`, `robots_disallowed`, `robots_unreachable`.
        """
        start = place_of(url)
        async with self._in_time(start), self._follow(start, self._rules.robots) as (answer, place, redirects):
            if not 200 <= answer.status < 300:
                raise _bad_status(answer, place)
            media_type, charset = media_type_of(answer.headers.get("content-type", ""))
            if media_type:
                self._check_type(media_type, place)
            body = await self._body(answer, place)
            if not media_type:
                self._check_type(media_type := seen_in(body), place)
            return Fetched(url, place.url, answer.status, media_type, charset, body, redirects)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Post bytes. A redirect is not followed, and an answer is a success of posting whatever its status.

        Raises `url_refused`, `url_unreachable`, `url_timeout`, `url_too_large` (headers).
        """
        place = place_of(url)
        begun = time.perf_counter()
        async with self._in_time(place) as timer, self._connector.open(place) as connection:
            answer = await connection.ask("POST", {**headers, **self._headers}, body)
            ms = (time.perf_counter() - begun) * 1_000
            timer.reschedule(None)  # it was taken: to fail now would have it sent again
            return Posted(answer.status, await self._head(answer), ms, _retry_after(answer))

    @asynccontextmanager
    async def _follow(self, place: Place, robots: bool) -> AsyncIterator[tuple[Answer, Place, int]]:
        """The first answer that leads no further, where it is from, and after how many redirects."""
        for redirects in range(self._rules.max_redirects + 1):
            if robots:
                await self._robots.check(place)
            async with self._connector.open(place) as connection:
                answer = await connection.ask("GET", self._reading, None)
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    yield answer, place, redirects
                    return
            place = place_after(place, location)
        raise refused(f"It leads on more than {self._rules.max_redirects} times.")

    async def _body(self, answer: Answer, place: Place) -> bytes:
        most = self._rules.max_body_bytes
        decoder = decoder_of(answer.headers.get("content-encoding", ""), place.authority)
        length = answer.headers.get("content-length", "")
        body = bytearray()
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        while piece := await answer.piece():
            try:
                body += decoder.decode(piece, most + 1 - len(body))
            except ValueError:
                raise AtelierError(
                    ErrorType.URL_UNSUPPORTED, f"What {place.authority} sent is damaged: it cannot be decompressed."
                ) from None
            if len(body) > most:
                raise _too_large(most)
        if not decoder.complete() and body:
            raise AtelierError(ErrorType.URL_CUT, f"{place.authority} broke off before its answer was whole.")
        return bytes(body)

    async def _head(self, answer: Answer) -> bytes:
        """The first bytes of an answer that nobody depends on: whatever goes wrong with the rest."""
        head = bytearray()
        try:
            async with asyncio.timeout(self._rules.silence_seconds):
                while len(head) < POSTED_HEAD_BYTES and (piece := await answer.piece()):
                    head += piece
        except (AtelierError, TimeoutError):
            pass
        return bytes(head[:POSTED_HEAD_BYTES])

    async def _robots_file(self, place: Place) -> RobotsFile:
        async with self._follow(place, robots=False) as (answer, at, _):
            if answer.status >= 400:
                return RobotsFile(answer.status, b"")
            decoder = decoder_of(answer.headers.get("content-encoding", ""), at.authority)
            body = bytearray()
            with suppress(ValueError):  # what came before the damage counts
                while len(body) < MAX_BYTES and (piece := await answer.piece()):
                    body += decoder.decode(piece, MAX_BYTES - len(body))
            return RobotsFile(answer.status, bytes(body))

    def _check_type(self, media_type: str, place: Place) -> None:
        if media_type not in self._rules.media_types:
            raise AtelierError(
                ErrorType.URL_UNSUPPORTED,
                f"{place.authority} sends {media_type[:100]}, which cannot be read. Web pages, plain text, Markdown, "
                "JSON, PDF and DOCX can.",
            )

    @asynccontextmanager
    async def _in_time(self, place: Place) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._rules.total_seconds) as timer:
                yield timer
        except TimeoutError:
            seconds = f"{self._rules.total_seconds:g}"
            raise AtelierError(
                ErrorType.URL_TIMEOUT, f"{place.authority} had not sent all after {seconds} seconds."
            ) from None


def _retry_after(answer: Answer) -> timedelta | None:
    """In seconds; a date is not read, and what is longer than an hour is not believed."""
    after = answer.headers.get("retry-after", "")
    if len(after) > _RETRY_AFTER_DIGITS or not after.isdecimal() or int(after) > _LONGEST_RETRY_AFTER:
        return None
    return timedelta(seconds=int(after))


def _bad_status(answer: Answer, place: Place) -> AtelierError:
    return AtelierError(
        ErrorType.URL_STATUS,
        f"{place.authority} answered with status {answer.status} instead of a page.",
        details={"status": answer.status},
        retry_after=_retry_after(answer),
        final=answer.status < 500 and answer.status not in _TRY_AGAIN,
    )


def _too_large(most: int) -> AtelierError:
    return AtelierError(ErrorType.URL_TOO_LARGE, f"What the URL leads to is larger than {most:,} bytes.")
