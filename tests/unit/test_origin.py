"""Where a request comes from, whatever its headers claim."""

import pytest
from starlette.requests import Request

from api.origin import AGENT_LIMIT, Origin, networks, origin_of, subject_of


def origin(peer: str | None, *forwarded: str, trusted: str = "", agent: str = "") -> Origin:
    """The origin of a request from a peer, with so many X-Forwarded-For headers."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {
        "type": "http",
        "headers": [*headers, (b"user-agent", agent.encode())],
        "client": None if peer is None else (peer, 40_000),
        "state": {"request_id": "r-1"},
    }
    return origin_of(Request(scope), networks(trusted))


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        # Nobody is trusted, or somebody else.
        ("203.0.113.7", ("198.51.100.1",), "", "203.0.113.7"),
        ("127.0.0.1", ("198.51.100.1",), "", "127.0.0.1"),
        ("203.0.113.7", ("198.51.100.1",), "10.0.0.0/8", "203.0.113.7"),
        # One proxy, and what its client made up.
        ("10.0.0.1", (), "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 10.9.9.9, 198.51.100.1",), "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1"), "10.0.0.0/8", "198.51.100.1"),
        # Two in a row, and a request from one of our own.
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1, 192.0.2.9",), "10.0.0.1, 192.0.2.0/24", "198.51.100.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.0/8", "10.0.0.3"),
        # Rubbish is believed by nobody, nor what stands before it.
        ("10.0.0.1", ("198.51.100.1, unknown",), "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", ("1.1.1.1,,",), "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", ("1.2.3.4.5\xff",), "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", ("127.1",), "10.0.0.0/8", "10.0.0.1"),
        # Ports, brackets, zones, mapped addresses.
        ("10.0.0.1", ("198.51.100.1:50123",), "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8::1]:443",), "10.0.0.0/8", "2001:db8::1"),
        ("10.0.0.1", ("[2001:db8::1]",), "10.0.0.0/8", "2001:db8::1"),
        ("10.0.0.1", ("2001:DB8:0:0::1",), "10.0.0.0/8", "2001:db8::1"),
        ("fe80::1%eth0", ("198.51.100.1",), "fe80::/10", "198.51.100.1"),
        ("::ffff:10.0.0.1", ("::ffff:198.51.100.1",), "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1",), "::ffff:10.0.0.0/104", "198.51.100.1"),
        ("::1", ("198.51.100.1",), "::1", "198.51.100.1"),
        (None, ("198.51.100.1",), "0.0.0.0/0, ::/0", "unknown"),
    ],
)
def test_the_nearest_that_is_no_trusted_proxy(
    peer: str | None, forwarded: tuple[str, ...], trusted: str, expected: str
) -> None:
    assert origin(peer, *forwarded, trusted=trusted).ip == expected


def test_what_else_is_kept_of_a_request() -> None:
    found = origin("203.0.113.7", agent="x" * 1_000)
    assert found == Origin("203.0.113.7", "x" * AGENT_LIMIT, "r-1")


def test_a_setting_that_names_no_network_says_which() -> None:
    assert networks("") == networks(" , ") == ()
    with pytest.raises(ValueError, match=r"TRUSTED_PROXIES: .*'load-balancer'"):
        networks("10.0.0.0/8, load-balancer")


def test_ipv6_counts_by_its_network() -> None:
    assert subject_of("203.0.113.7") == "203.0.113.7"
    assert subject_of("2001:db8:1:2:3:4:5:6") == subject_of("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert subject_of("2001:db8:1:3::") != subject_of("2001:db8:1:2::")
    assert subject_of("unknown") == "unknown"
