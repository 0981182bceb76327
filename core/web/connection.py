"""One connection for one request: the name is looked up, every address checked, and exactly that address connected.

Between the check and the connection nothing is looked up again, so a name that changes its address gains nothing. TLS
still asks for, and checks, the name. HTTP is h11's, without a pool, a proxy, cookies or decompression: what an HTTP
client would add is what would have to be taken away again here.
"""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address

import h11

from core.contracts.errors import AtelierError, ErrorType
from core.web.addresses import Address, Allowed, Place
from core.web.rules import FetchRules

READ_BYTES = 64 * 1024
MAX_ADDRESSES = 4
"""Of one name that are tried in turn, each with its part of the time."""
LOOKUPS_AT_ONCE = 64
"""More than a worker fetches at once: a look-up that hangs goes on for half a minute after its fetch was given up, and
whoever names servers that never answer must not take them all."""


class Resolver(ABC):
    """Looks up names."""

    @abstractmethod
    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """All addresses of a name, the best first. Raises OSError if there are none."""


class SystemResolver(Resolver):
    """What the machine says, hosts file included."""

    def __init__(self) -> None:
        # Threads of its own: look-ups that hang for half a minute, and cannot be stopped, would hold up other work.
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="resolver")

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
        return tuple(dict.fromkeys(ip_address(entry[4][0]) for entry in found))

    @staticmethod
    def _look_up(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]


class Answer:
    """The head of a server's answer; its body is read from it once, in pieces."""

    def __init__(self, connection: "Connection", head: h11.Response) -> None:
        self._connection = connection
        self.status = head.status_code
        self.headers: Mapping[str, str] = {
            # Of a header that is repeated the first one counts; h11 refuses an answer with two lengths.
            name.decode("latin-1"): value.decode("utf-8", "replace")
            for name, value in reversed(list(head.headers))
        }

    async def piece(self) -> bytes:
        """The next of the body as it was sent, b"" at its end. Raises `url_cut` if that is too early, `url_timeout`."""
        while isinstance(event := await self._connection.event(), h11.Data):
            if event.data:
                return bytes(event.data)
        return b""


class Connection:
    """A connection and the state of HTTP on it."""

    def __init__(self, place: Place, rules: FetchRules, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self._place, self._rules = place, rules
        self._reader, self._writer = streams
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=rules.max_header_bytes)
        self._received = 0
        self._data = 0
        self._in_body = False

    async def ask(self, method: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send a request and wait for the head of the answer."""
        own = {"Host": self._place.authority, "Connection": "close"}
        if body is not None:
            own["Content-Length"] = str(len(body))
        request = h11.Request(method=method, target=self._place.target, headers=[*own.items(), *headers.items()])
        data = self._http.send(request) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            self._writer.write(data)
            async with asyncio.timeout(self._rules.silence_seconds):
                await self._writer.drain()
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            pass  # A server may answer and close before it has read all; what it said is worth reading.
        while not isinstance(head := await self.event(), h11.Response):
            if not isinstance(head, h11.InformationalResponse):
                raise self._broken()
        self._in_body = True
        return Answer(self, head)

    async def event(self) -> object:
        """What comes next from the server."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if error.error_status_hint == 431:
                    raise self._too_large() from None
                raise self._broken() from None
            if isinstance(event, h11.Data):
                self._data += len(event.data)
            if event is not h11.NEED_DATA:
                return event
            if self._received > self._most():
                raise self._too_large()
            self._http.receive_data(await self._read())

    def _most(self) -> int:
        """Bytes that may have come by now. It also bounds what is no body: notes before the head, and the wrapping of
        pieces. A body in pieces of a byte would take our time, and that of all who share it, a hundred times as long as
        one in large pieces."""
        head = 2 * self._rules.max_header_bytes
        if not self._in_body:
            return head
        return min(2 * self._rules.max_body_bytes + READ_BYTES, 2 * self._data + head + READ_BYTES)

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(self._rules.silence_seconds):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            raise self._broken() from None
        self._received += len(data)
        return data

    def _silent(self) -> AtelierError:
        seconds = f"{self._rules.silence_seconds:g}"
        return AtelierError(ErrorType.URL_TIMEOUT, f"{self._place.authority} sent nothing for {seconds} seconds.")

    def _broken(self) -> AtelierError:
        if self._in_body:
            return AtelierError(ErrorType.URL_CUT, f"{self._place.authority} broke off before its answer was whole.")
        return AtelierError(ErrorType.URL_UNREACHABLE, f"{self._place.authority} gave no valid answer of HTTP.")

    def _too_large(self) -> AtelierError:
        what = "more than the answer is allowed to have" if self._in_body else "headers that are too long"
        return AtelierError(ErrorType.URL_TOO_LARGE, f"{self._place.authority} sent {what}.")


class Connector:
    """Opens connections to places that may be asked."""

    def __init__(self, rules: FetchRules, resolver: Resolver, tls: ssl.SSLContext) -> None:
        self._rules, self._resolver, self._tls = rules, resolver, tls
        self._allowed = Allowed(rules.allowed)

    @asynccontextmanager
    async def open(self, place: Place) -> AsyncIterator[Connection]:
        """A connection, closed at the end whatever came of it. Raises `url_refused`, `_unreachable`, `_timeout`."""
        try:
            async with asyncio.timeout(self._rules.connect_seconds):
                reader, writer = await self._connect(place, await self._checked(place))
        except TimeoutError:
            raise self._late(place) from None
        try:
            yield Connection(place, self._rules, (reader, writer))
        finally:
            # Not a polite end: a server that still sends would keep it open.
            writer.transport.abort()

    async def _checked(self, place: Place) -> Sequence[Address]:
        self._allowed.check_name(place)
        if place.address is not None:
            addresses: Sequence[Address] = (place.address,)
        else:
            try:
                addresses = await self._resolver.addresses(place.host, place.port)
            except (OSError, UnicodeError):
                addresses = ()
        if not addresses:
            raise AtelierError(ErrorType.URL_UNREACHABLE, f"The name {place.host} has no address.")
        self._allowed.check_addresses(place, addresses)
        return addresses[:MAX_ADDRESSES]

    async def _connect(
        self, place: Place, addresses: Sequence[Address]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure, late = place.scheme == "https", False
        for address in addresses:
            try:
                async with asyncio.timeout(self._rules.connect_seconds / len(addresses)):
                    return await asyncio.open_connection(
                        str(address),
                        place.port,
                        ssl=self._tls if secure else None,
                        server_hostname=place.host if secure else None,
                    )
            except ssl.SSLCertVerificationError as error:
                raise AtelierError(
                    ErrorType.URL_UNREACHABLE,
                    f"The certificate of {place.authority} is not valid: {error.verify_message.rstrip('.')}.",
                    final=True,
                ) from None
            except TimeoutError:
                late = True
            except OSError:
                continue
        if late:
            raise self._late(place)
        raise AtelierError(ErrorType.URL_UNREACHABLE, f"{place.authority} cannot be reached.")

    def _late(self, place: Place) -> AtelierError:
        seconds = f"{self._rules.connect_seconds:g}"
        return AtelierError(ErrorType.URL_TIMEOUT, f"No connection to {place.authority} in {seconds} seconds.")
