"""Which URLs may be asked: spellings of hosts, ports, addresses."""

from ipaddress import ip_address

import pytest

from core.contracts.errors import AtelierError, ErrorType
from core.web.addresses import PUBLIC_ONLY, Allowed, is_public, place_after, place_of


def words(text: str) -> list[str]:
    return text.split()


def refusal(url: str, allowed: Allowed | None = None) -> str | None:
    """Why a URL is refused before anything is looked up; None if it is not."""
    allowed = allowed or Allowed()
    try:
        place = place_of(url)
        allowed.check_name(place)
        if place.address is not None:
            allowed.check_addresses(place, [place.address])
    except AtelierError as error:
        return error.message if error.type is ErrorType.URL_REFUSED else None
    return None


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://site.example", "http://site.example/"),
        (" HTTPS://Site.EXAMPLE:443/a?b=c#d ", "https://site.example/a?b=c"),
        ("https://site.example.:8443/", "https://site.example:8443/"),
        ("http://bücher.example/ä b?q=ü", "http://xn--bcher-kva.example/%C3%A4%20b?q=%C3%BC"),
        ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://ｓｉｔｅ．example/", "http://site.example/"),
        ("http://my_site.example/%2e%41", "http://my_site.example/%2e%41"),
        ("http://9.9.9.9:8080/", "http://9.9.9.9:8080/"),
        ("http://[2620:fe:0::9]/", "http://[2620:fe::9]/"),
        ("http://site.example/?", "http://site.example/"),
    ],
)
def test_a_url_has_one_spelling(url: str, read: str) -> None:
    assert place_of(url).url == read
    assert place_of(read).url == read
    assert refusal(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "site.example",
        "//site.example/",
        "file:///etc/passwd",
        "ftp://site.example/",
        "gopher://site.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http:site.example",
        "http:///etc/passwd",
        "http://",
        "http://.",
        "http://a..example/",
        "http://-a.example/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 130}example/",
        f"http://site.example/{'a' * 4_000}",
        "http://user@site.example/",
        "http://user:secret@site.example/",
        "http://site.example@127.0.0.1/",
        "http://site.example\\@127.0.0.1/",
        "http://site.example/\r\nHost: inside",
        "http://127.0.0.1\t.site.example/",
        "http://site.example/\x00",
        "http://si te.example/",
        "http://%31%32%37.0.0.1/",
        "http://site.example%00.other.example/",
        "http://evil.example\u2100.other.example/",
        "http://\ud800.example/",
        "http://xn--zz--.exam ple/",
        "http://site.example:0/",
        "http://site.example:22/",
        "http://site.example:25/",
        "http://site.example:6667/",
        "http://site.example:65536/",
        "http://site.example:٣/",
        "http://site.example:-1/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://[2620:fe::9%eth0]/",
        "http://[127.0.0.1]/",
        "http://[v1.a]/",
    ],
)
def test_a_url_that_is_none_is_refused_with_the_reason(url: str) -> None:
    said = refusal(url)
    assert said is not None
    assert said.startswith("The URL is refused. ")
    assert "secret" not in said


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "017700000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0x0.0x0.0x1"),
        *("127.0.0.01", "1.2.3.4.5", "256.1.1.1", "1.2.3", "site.1", "0x", "４２９４９６７２９５", "127。1"),
    ],
)
def test_an_address_in_another_spelling_is_refused_wherever_it_leads(host: str) -> None:
    assert "four decimal numbers" in (refusal(f"http://{host}/") or "")


REFUSED = words(
    """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
    168.63.129.16 169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1
    192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8
    ::ffff:0:10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b::10.1.2.3 64:ff9b:1::8.8.8.8 100::1
    2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::
    2002:808:808::1 2620:fe::5efe:10.0.0.1 2620:fe::200:5efe:10.0.0.1 3fff::1 4000::1 5f00::1 fc00::1
    fd00:ec2::254 fd12:3456::1 fe80::1 fec0::1 ff02::1
    """
)
PUBLIC = words(
    """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 168.63.129.17
    169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    223.255.255.255 64:ff9b::8.8.8.8 2001:200::1 2001:4860:4860::8888 2003::1 2606:4700::1111 2620:fe::9
    2a00:1450::1
    """
)


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    assert refusal(f"https://{host}/") == refusal(f"https://{host}.:8080/".replace("].", "]"))
    assert refusal(f"http://{host}/") == f"The URL is refused. {PUBLIC_ONLY}"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address: str) -> None:
    assert is_public(ip_address(address))
    assert refusal(f"http://[{address}]/" if ":" in address else f"http://{address}/") is None


def test_an_address_with_a_zone_is_not_public() -> None:
    assert not is_public(ip_address("fe80::1%eth0"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "ⓛocalhost",
        "a.localhost",
        "postgres",
        "wiki.local",
        "metadata.google.internal",
        "x.lan",
    ],
)
def test_a_name_of_a_private_network_is_not_even_looked_up(host: str) -> None:
    assert refusal(f"http://{host}/") == f"The URL is refused. {PUBLIC_ONLY}"


def test_what_is_allowed_lifts_the_check_of_the_address_only() -> None:
    allowed = Allowed(("Wiki.lan:8080", "127.0.0.1:9000", "[::1]:9000", "10.1.0.0/16", "fd12::/32"))
    may = ["http://wiki.lan:8080/x", "https://wiki.lan:8080/", "http://127.0.0.1:9000/", "http://[::1]:9000/"]
    may += ["http://10.1.2.3/", "http://[fd12::5]:81/".replace(":81", ":8081")]
    assert [refusal(url, allowed) for url in may] == [None] * len(may)
    for url in ("http://127.0.0.1:9001/", "http://10.2.0.1/", "http://[::ffff:10.1.2.3]/", "http://10.1.2.3:22/"):
        assert refusal(url, allowed), url
    for url in ("http://u@wiki.lan:8080/", "ftp://wiki.lan:8080/", "http://0x7f000001:9000/"):
        assert refusal(url, allowed), url
    allowed.check_addresses(place_of("http://wiki.lan:8080/"), [ip_address("192.168.1.5")])
    for addresses in (["8.8.8.8", "10.2.0.1"], ["10.1.0.1", "127.0.0.1"]):
        with pytest.raises(AtelierError, match="not at a public address"):
            allowed.check_addresses(place_of("http://site.example/"), list(map(ip_address, addresses)))


@pytest.mark.parametrize("entry", ["wiki.lan", "wiki.lan:", "10.1.2.3/16", "a/b", "wiki.lan:22", "u@wiki.lan:80", ""])
def test_a_setting_that_allows_nothing_clear_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Allowed((entry,))


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("/b?c#d", "https://site.example/b?c"),
        ("c", "https://site.example/a/c"),
        ("//other.example/x", "https://other.example/x"),
        (" https://other.example:8443 ", "https://other.example:8443/"),
        ("/ü b", "https://site.example/%C3%BC%20b"),
        ("", "https://site.example/a/"),
    ],
)
def test_a_redirect_is_read_from_where_it_stands(location: str, to: str) -> None:
    assert place_after(place_of("https://site.example/a/"), location).url == to


@pytest.mark.parametrize(
    "location",
    [
        "http://site.example/",
        "file:///etc/passwd",
        "//u:p@other.example/",
        "//[::1",
        "//0x7f.1/",
        "https://a:25/",
        "\x00",
    ],
)
def test_a_redirect_to_what_may_not_be_asked_is_refused(location: str) -> None:
    with pytest.raises(AtelierError) as error:
        place_after(place_of("https://site.example/a/"), location)
    assert error.value.type is ErrorType.URL_REFUSED
