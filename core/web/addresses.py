"""Which URLs may be asked at all: how they may be spelled, and which addresses are public.

A URL is read once, into a `Place`, and only the place is used from then on, so no two parsers can disagree on its host.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import idna

from core.contracts.errors import AtelierError, ErrorType

Address = IPv4Address | IPv6Address

LONGEST_URL = 4_000
"""Characters. Browsers and servers agree on no limit; most servers refuse more than 8 KiB of headers."""
DEFAULT_PORTS = {"http": 80, "https": 443}

# Below 1024 stand the services of the system (mail, names, files), none of which is a web server; above it those that
# browsers refuse as well: what they speak can be mistaken for HTTP, https://fetch.spec.whatwg.org/#port-blocking.
_PORTS_BELOW_1024 = frozenset(DEFAULT_PORTS.values())
_PORTS_BLOCKED = frozenset(
    (1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080)
)

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry (2025). A table of our own:
# what `ipaddress` calls global differs between Python 3.11.7, 3.12.4 and 3.13.
_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a provider's NAT (RFC 6598); 100.100.100.200 tells secrets in a cloud
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # looks public, and is the host below a machine in Azure's cloud
            "169.254.0.0/16",  # link-local; 169.254.169.254 tells secrets in most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
"""All that is given out as global unicast. Outside lie loopback, IPv4-mapped, unique-local (fd00:ec2::254), link-local,
multicast and what nobody has yet."""
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""In a network without IPv4 every IPv4 address is reached as one of these (RFC 6052): it is as public as that one."""
_ISATAP = frozenset((0x0000_5EFE, 0x0200_5EFE))
"""Second half of the second half of an address with an IPv4 address inside (RFC 5214)."""

# Names that only a private network gives out (RFC 6761, 6762, 8375, 9476; ICANN's `internal`). They are not looked up,
# so that nobody can ask us which of them exist.
_LOCAL_SUFFIXES = frozenset(
    ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "arpa", "alt")
)

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# https://url.spec.whatwg.org/#ends-in-a-number-checker: resolvers read such a name as an address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\\]")
_TARGET_SAFE = "/?%:@!$&'()*+,;=~-._"

PUBLIC_ONLY = "Its host is not at a public address, and only those are asked."
"""One sentence for every kind of address: a refusal tells nothing about the network that we stand in."""


def refused(why: str) -> AtelierError:
    """The error of a URL that may not be asked, whatever its server would say."""
    return AtelierError(ErrorType.URL_REFUSED, f"The URL is refused. {why}")


class Place(NamedTuple):
    """What a URL leads to. Every part is ASCII and in the one spelling that goes over the wire."""

    scheme: str
    host: str
    """In lower case, without a trailing dot; an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query; never a fragment."""

    @property
    def authority(self) -> str:
        """The host as a Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole."""
        return self.origin + self.target

    @property
    def address(self) -> Address | None:
        """The address, if the host is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def place_of(url: str) -> Place:
    """Read a URL, wherever it may lead. Raises `url_refused`, with what is wrong with its spelling."""
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise refused("It has to begin with http:// or https://.")
    if "@" in parts.netloc:
        raise refused("It has to be without a user name and a password.")
    try:
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        raise refused("Its port is not a number up to 65535.") from None
    if port in _PORTS_BLOCKED or (port < 1024 and port not in _PORTS_BELOW_1024):
        raise refused(f"No web server has the port {port}: it may be 80, 443, or one from 1024 on that is not blocked.")
    target = quote(parts.path or "/", safe=_TARGET_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_TARGET_SAFE)
    return Place(parts.scheme, _host(parts), port, target)


def place_after(place: Place, location: str) -> Place:
    """Where a redirect leads, read as strictly as a user's URL. Raises `url_refused`."""
    location = location.strip(" ")
    _check_characters(location)  # `urljoin` would take them away
    try:
        onward = place_of(urljoin(place.url, location))
    except ValueError:
        raise refused("It leads on to what is no URL.") from None
    if place.scheme == "https" and onward.scheme == "http":
        raise refused("It leads on from https to http, where anybody on the way could change what is read.")
    return onward


def _split(url: str) -> SplitResult:
    url = url.strip(" ")
    if len(url) > LONGEST_URL:
        raise refused(f"It is longer than {LONGEST_URL} characters.")
    _check_characters(url)
    try:
        url.encode()
        return urlsplit(url)
    except ValueError:
        raise refused("It is not a valid URL.") from None


def _check_characters(url: str) -> None:
    # `urlsplit` leaves out line breaks and tabs; browsers take a backslash for a slash.
    if _UNSPEAKABLE.search(url):
        raise refused("It has a control character or a backslash in it.")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        try:
            if "%" in host:
                raise ValueError("a zone is a matter of one machine")
            return IPv6Address(host).compressed
        except ValueError:
            raise refused("What stands in brackets is not an IPv6 address.") from None
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except ValueError:
            raise refused("Its host name is not valid.") from None
    host = host.lower().removesuffix(".")
    if not host:
        raise refused("It has no host name.")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise refused("Its host name is not valid.")
    if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise refused("An address has to be written as four decimal numbers, like 192.0.2.1.") from None
    return host


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet. What carries an IPv4 address inside is not, but for NAT64."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _PUBLIC_V6 or any(address in network for network in _NOT_PUBLIC_V6):
        return False
    return int(address) >> 32 & 0xFFFF_FFFF not in _ISATAP


class Allowed:
    """What may be asked besides the public internet: hosts with their port (`wiki.lan:8080`), networks (`10.1.0.0/16`).

    It lifts the check of the address and nothing else. Raises ValueError for an entry that is neither.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        hosts: set[tuple[str, int]] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            if "/" in entry:
                networks.append(ip_network(entry))
                continue
            if not re.search(r":\d+$", entry):
                raise ValueError(f"{entry!r} is neither host:port nor a network like 10.1.0.0/16")
            try:
                place = place_of(f"http://{entry}/")
            except AtelierError as error:
                raise ValueError(f"{entry!r} cannot be allowed: {error.message}") from None
            hosts.add((place.host, place.port))
        self._hosts, self._networks = frozenset(hosts), tuple(networks)

    def host(self, place: Place) -> bool:
        """Whether this very host and port are allowed, whatever their address."""
        return (place.host, place.port) in self._hosts

    def check_name(self, place: Place) -> None:
        """Refuse a name of private networks before it is looked up."""
        if place.address is not None or self.host(place) or self._networks:
            return
        if "." not in place.host or place.host.rsplit(".", 1)[-1] in _LOCAL_SUFFIXES:
            raise refused(PUBLIC_ONLY)

    def check_addresses(self, place: Place, addresses: Sequence[Address]) -> None:
        """Refuse a name if one of its addresses may not be asked.

        All or nothing: a name that stands for a public and a private address is a mistake or an attack.
        """
        if not self.host(place) and not all(map(self._may_be_asked, addresses)):
            raise refused(PUBLIC_ONLY)

    def _may_be_asked(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._networks)
