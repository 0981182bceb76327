"""Where a request comes from."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AGENT_LIMIT = 200
UNKNOWN = "unknown"
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::\d*)?")


@dataclass(frozen=True)
class Origin:
    """A request's client. `ip` is that of the nearest host that is no trusted proxy."""

    ip: str
    user_agent: str
    request_id: str


def networks(setting: str) -> tuple[Network, ...]:
    """The networks of the setting TRUSTED_PROXIES. Raises ValueError for what is none."""
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    try:
        return tuple(_unmapped(ipaddress.ip_network(part, strict=False)) for part in parts)
    except ValueError as error:
        raise ValueError(f"TRUSTED_PROXIES: {error}") from None


def origin_of(request: Request, trusted: Sequence[Network]) -> Origin:
    """Where a request comes from. Of X-Forwarded-For only what trusted proxies added is believed, from the right."""
    peer = _address(request.client.host if request.client else "")
    hops = [part for value in request.headers.getlist("x-forwarded-for") for part in value.split(",")]
    client = peer
    while hops and client is not None and any(client in network for network in trusted):
        nearer = _address(hops.pop())
        if nearer is None:
            break
        client = nearer
    return Origin(
        ip=UNKNOWN if client is None else str(client),
        user_agent=request.headers.get("user-agent", "")[:AGENT_LIMIT],
        request_id=request.scope.get("state", {}).get("request_id", ""),
    )


def subject_of(ip: str) -> str:
    """What an address is counted as: of IPv6 the network of 64 bits, which one customer has all to himself."""
    address = _address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return ip


def _address(text: str) -> Address | None:
    """An address, as its own or mapped, with or without a port: some proxies add the port they were called from."""
    text = text.strip()
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        text = bracketed[1]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _unmapped(network: Network) -> Network:
    """A network of mapped IPv4 addresses as one of IPv4, which is what such addresses are compared as."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))
