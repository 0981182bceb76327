"""The fetcher against a real server that is honest, broken or hostile, by names that a test sets."""

import asyncio
import gzip
import ssl
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from core.contracts.errors import AtelierError, ErrorType
from core.settings import Settings
from core.web.addresses import PUBLIC_ONLY, Address, place_of
from core.web.connection import Resolver, SystemResolver
from core.web.fetcher import Fetched, Fetcher
from core.web.rules import DOCX, FetchRules
from tests.support.web_server import Names, Script, WebServer, certificate, endless, page, redirect, then_silent

NEVER_MIND: dict[str, Any] = {"robots": False, "max_body_bytes": 200_000, "allowed": ("127.0.0.1/32",)}

TLS = ssl.create_default_context()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WebServer]:
    """A server on the loopback."""
    async with WebServer() as server:
        yield server


def fetcher(names: Resolver | None = None, **rules: Any) -> Fetcher:
    """One that may ask this machine, and waits long."""
    chosen = FetchRules(**{**NEVER_MIND, **rules})
    return Fetcher(chosen, "Atelier/1.2.3", resolver=names or Names(site="127.0.0.1"), tls=TLS)


async def failure(url: str, by: Fetcher | None = None) -> AtelierError:
    """How a fetch fails."""
    with pytest.raises(AtelierError) as error:
        await (by or fetcher()).get(url)
    return error.value


async def failing(server: WebServer, answer: bytes | Script, **rules: Any) -> ErrorType:
    """The code with which a fetch of this answer fails."""
    server.pages["/"] = answer
    return (await failure(server.url(), fetcher(**rules))).type


async def test_a_page_comes_with_what_is_known_of_it(server: WebServer) -> None:
    server.pages["/a%20b?q=%C3%BC"] = page("Töpfe".encode("latin-1"), 'Text/HTML; a=b; Charset="ISO-8859-1"')
    url = server.url("/a b?q=ü#part", "Site.example.")
    found = await fetcher().get(url)
    final = f"http://site.example:{server.port}/a%20b?q=%C3%BC"
    assert found == Fetched(url, final, 200, "text/html", "iso-8859-1", "Töpfe".encode("latin-1"), 0)
    (asked,) = server.requests
    assert (asked.method, asked.body) == ("GET", b"")
    assert asked.headers == {
        "host": f"site.example:{server.port}",
        "connection": "close",
        "user-agent": "Atelier/1.2.3",
        "accept-encoding": "identity",
        "accept": asked.headers["accept"],
    }
    assert "application/pdf" in asked.headers["accept"]


async def test_nothing_is_taken_from_the_environment_or_kept(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.pages["/"] = redirect("/on", set_cookie="a=b")
    server.pages["/on"] = page(set_cookie="c=d")
    same = fetcher()
    for _ in range(2):
        assert (await same.get(server.url())).redirects == 1
    assert all("cookie" not in request.headers for request in server.requests)


async def test_redirects_are_followed_a_few_times(server: WebServer) -> None:
    for step in range(6):
        server.pages[f"/{step}"] = redirect(f"{step + 1}", (301, 302, 303, 307, 308, 301)[step])
    server.pages["/6"] = page("There")
    found = await fetcher().get(server.url("/1", "site.example"))
    assert (found.body, found.redirects, found.final_url) == (b"There", 5, server.url("/6", "site.example"))
    error = await failure(server.url("/0"))
    assert (error.type, error.message) == (ErrorType.URL_REFUSED, "The URL is refused. It leads on more than 5 times.")
    server.pages["/0"] = redirect("/1", 304)
    assert (await failure(server.url("/0"))).type is ErrorType.URL_STATUS


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://127.0.0.1:{port}/in",
            "//127.0.0.1:{port}/in",
            "http://localhost:{port}/in",
            "http://[::1]:{port}/in",
        ),
        *("http://2130706433:{port}/in", "http://0x7f.1:{port}/in", "http://[::ffff:127.0.0.1]:{port}/in"),
        *(
            "http://inside.example:{port}/in",
            "http://both.example:{port}/in",
            "http://169.254.169.254/latest/meta-data",
        ),
        *("file:///etc/passwd", "http://u:p@site.example:{port}/in", "http://site.example:22/", "\\\\site.example\\in"),
    ],
)
async def test_a_redirect_leads_nowhere_that_the_url_may_not(server: WebServer, location: str) -> None:
    server.pages |= {"/": redirect(location.format(port=server.port)), "/in": page("Secret")}
    names = Names(site="127.0.0.1", inside="127.0.0.1", both=["9.9.9.9", "127.0.0.1"])
    error = await failure(server.url(host="site.example"), fetcher(names, allowed=(f"site.example:{server.port}",)))
    assert error.type is ErrorType.URL_REFUSED
    assert error.kind.transient is False
    assert server.targets == ["/"]


async def test_names_that_lead_inside_are_refused_with_one_sentence(server: WebServer) -> None:
    names = Names(
        loop="127.0.0.1", private="10.0.0.5", metadata="169.254.169.254", mapped="::ffff:10.0.0.1", local="fe80::1"
    )
    names.set("both", ["9.9.9.9", "10.0.0.5"])
    said = {
        (await failure(server.url(host=f"{name}.example"), fetcher(names, allowed=()))).message
        for name in ("loop", "private", "metadata", "mapped", "local", "both")
    }
    assert said == {f"The URL is refused. {PUBLIC_ONLY}"}
    assert server.requests == []
    missing = await failure("http://missing.example/", fetcher(names))
    assert (missing.type, missing.kind.transient) == (ErrorType.URL_UNREACHABLE, True)
    names.set("none", [])
    assert (await failure("http://none.example/", fetcher(names))).type is ErrorType.URL_UNREACHABLE


async def test_a_name_that_changes_between_look_up_and_connection_gains_nothing(server: WebServer) -> None:
    """Whatever a second look-up would say, the address that was checked is the one that is connected."""
    server.pages["/"] = page("Secret")
    async with WebServer("127.0.0.2", server.port) as outside:
        outside.pages |= {"/": page("Outside"), "/on": redirect("/"), "/stay": redirect("/on")}
        names = Names()
        names.set("turn", "127.0.0.2", "127.0.0.1")
        careful = fetcher(names, allowed=("127.0.0.2/32",))
        assert (await careful.get(outside.url(host="turn.example"))).body == b"Outside"
        assert names.looked_up == ["turn.example"]
        # It has turned by now, and a redirect to the same name is a connection of its own.
        assert (await failure(outside.url(host="turn.example"), careful)).type is ErrorType.URL_REFUSED
        names.set("turn", "127.0.0.2", "127.0.0.2", "127.0.0.1")
        assert (await failure(outside.url("/stay", "turn.example"), careful)).type is ErrorType.URL_REFUSED
        assert outside.targets == ["/", "/stay", "/on"]
    assert server.requests == []


async def test_the_next_address_is_tried_when_one_is_away(server: WebServer) -> None:
    server.pages["/"] = page("Here")
    names = Names()
    names.set("site", ["127.0.0.3", "127.0.0.1"])
    assert (await fetcher(names, allowed=("127.0.0.0/8",)).get(server.url(host="site.example"))).body == b"Here"
    names.set("site", [f"127.0.0.{last}" for last in (3, 4, 5, 6, 1)])
    error = await failure(server.url(host="site.example"), fetcher(names, allowed=("127.0.0.0/8",)))
    assert error.message == f"site.example:{server.port} cannot be reached."


async def test_the_system_is_asked_for_names() -> None:
    assert {address.is_loopback for address in await SystemResolver().addresses("localhost", 80)} == {True}
    error = await failure("http://localhost:8080/", Fetcher(FetchRules(allowed=("10.0.0.0/8",)), "Atelier/1.2.3"))
    assert error.type is ErrorType.URL_REFUSED


class Hanging(SystemResolver):
    """Looks up most names for as long as the test lasts."""

    ended = threading.Event()

    @classmethod
    def _look_up(cls, host: str, port: int) -> list[Any]:
        if host != "site.example":
            cls.ended.wait()
        return [(None, None, None, "", ("127.0.0.1", port))]


async def test_look_ups_that_hang_hold_up_no_others(server: WebServer) -> None:
    """A worker's whole of slots, twice over: those that were given up are looked up all the same."""
    server.pages["/"] = page("Here")
    same = fetcher(Hanging())
    slots = Settings.model_fields["worker_web_slots"].default
    hanging = [asyncio.create_task(same.get(f"http://s{number}.example/")) for number in range(2 * slots)]
    await asyncio.sleep(0)  # each of them goes as far as it comes
    try:
        assert (await same.get(server.url(host="site.example"))).body == b"Here"
    finally:
        Hanging.ended.set()
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


class Stuck(Resolver):
    """Never answers."""

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        raise AssertionError


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("rules", [{"connect_seconds": 0.05}, {"total_seconds": 0.05}])
async def test_a_look_up_that_hangs_is_given_up(rules: dict[str, float]) -> None:
    assert (await failure("http://site.example/", fetcher(Stuck(), **rules))).type is ErrorType.URL_TIMEOUT


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\n", HEAD + b"content-length: 9\r\n\r\nabc", CHUNKED + b"5\r\nab"]
)
async def test_silence_is_given_up(server: WebServer, first: bytes) -> None:
    assert await failing(server, then_silent(first), silence_seconds=0.05) is ErrorType.URL_TIMEOUT


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\na: ", HEAD + b"content-length: 10000\r\n\r\n", CHUNKED])
async def test_a_drip_is_given_up(server: WebServer, first: bytes) -> None:
    drip = endless(first, b"1\r\nx\r\n" if first is CHUNKED else b"x", 0.005)
    assert await failing(server, drip, total_seconds=0.1) is ErrorType.URL_TIMEOUT


@pytest.mark.parametrize(
    ("first", "again"),
    [
        pytest.param(HEAD + b"\r\n", b"x" * 10_000, id="body"),
        pytest.param(CHUNKED, b"1000\r\n" + b"x" * 0x1000 + b"\r\n", id="chunks"),
        pytest.param(CHUNKED, b"1;" + b"e" * 5_000 + b"\r\nx\r\n", id="more wrapping than body"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"a: " + b"b" * 5_000 + b"\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\na:", b"b" * 5_000, id="header"),
        pytest.param(b"", b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n" * 50, id="notes before the head"),
        pytest.param(HEAD + b"content-encoding: gzip\r\n\r\n", gzip.compress(b"\0" * 9_999) * 9, id="members of gzip"),
    ],
)
async def test_an_answer_that_never_ends_is_too_large(server: WebServer, first: bytes, again: bytes) -> None:
    assert await failing(server, endless(first, again)) is ErrorType.URL_TOO_LARGE


async def test_a_large_answer_is_refused_before_it_is_read(server: WebServer) -> None:
    assert await failing(server, then_silent(HEAD + b"content-length: 200001\r\n\r\n")) is ErrorType.URL_TOO_LARGE
    server.pages["/"] = page("x" * 200_000)
    assert len((await fetcher().get(server.url())).body) == 200_000


async def test_a_body_is_not_mostly_wrapping(server: WebServer) -> None:
    for each, taken in ((16, True), (1, False)):
        piece = f"{each:x}\r\n".encode() + b"x" * each + b"\r\n"
        server.pages["/"] = CHUNKED + piece * (190_000 // each) + b"0\r\n\r\n"
        if taken:
            assert len((await fetcher().get(server.url())).body) == 190_000
        else:
            assert (await failure(server.url(), fetcher(max_body_bytes=5_000_000))).type is ErrorType.URL_TOO_LARGE


async def test_a_bomb_is_not_inflated(server: WebServer) -> None:
    for encoding, bomb in (("gzip", gzip.compress(bytes(20_000_000))), ("deflate", zlib.compress(bytes(20_000_000)))):
        assert len(bomb) < 200_000
        tracemalloc.start()
        assert await failing(server, page(bomb, content_encoding=encoding)) is ErrorType.URL_TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


async def test_what_is_compressed_all_the_same_is_read(server: WebServer) -> None:
    text = b"Clay and ash. " * 1_000
    raw = zlib.compressobj(wbits=-15)
    for encoding, body in {
        "gzip": gzip.compress(text[:5_000]) + gzip.compress(text[5_000:]) + b"\0\0",
        "X-GZIP": gzip.compress(text),
        "deflate": zlib.compress(text),
        "Deflate": raw.compress(text) + raw.flush(),
        "identity": text,
    }.items():
        server.pages["/"] = page(body, content_encoding=encoding)
        assert (await fetcher().get(server.url())).body == text, encoding


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(page("abc", content_length="4"), ErrorType.URL_CUT, id="shorter than its length"),
        pytest.param(CHUNKED + b"5\r\nab", ErrorType.URL_CUT, id="inside a chunk"),
        pytest.param(CHUNKED + b"2\r\nab\r\n", ErrorType.URL_CUT, id="without the last chunk"),
        pytest.param(CHUNKED + b"zz\r\nab\r\n", ErrorType.URL_CUT, id="no chunk"),
        pytest.param(page(gzip.compress(b"Clay")[:-9], content_encoding="gzip"), ErrorType.URL_CUT, id="gzip cut off"),
        pytest.param(page(b"Clay", content_encoding="gzip"), ErrorType.URL_UNSUPPORTED, id="no gzip"),
        pytest.param(page(b"\x78\x9cClay", content_encoding="deflate"), ErrorType.URL_UNSUPPORTED, id="no deflate"),
        pytest.param(page(b"Clay", content_encoding="br"), ErrorType.URL_UNSUPPORTED, id="brotli"),
        pytest.param(page(b"Clay", content_encoding="gzip, gzip"), ErrorType.URL_UNSUPPORTED, id="twice"),
        pytest.param(b"", ErrorType.URL_UNREACHABLE, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", ErrorType.URL_UNREACHABLE, id="no HTTP"),
        pytest.param(b"HTTP/1.1 200", ErrorType.URL_UNREACHABLE, id="half a head"),
        pytest.param(HEAD + b"content-length: x\r\n\r\n", ErrorType.URL_UNREACHABLE, id="no length"),
        pytest.param(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", ErrorType.URL_UNREACHABLE, id="lengths"),
        pytest.param(HEAD + b"content-length: -1\r\n\r\n", ErrorType.URL_UNREACHABLE, id="negative"),
        pytest.param(b"HTTP/1.1 101 Up\r\nupgrade: x\r\n\r\n", ErrorType.URL_UNREACHABLE, id="another protocol"),
    ],
)
async def test_an_answer_that_is_broken_has_its_code(server: WebServer, answer: bytes, code: ErrorType) -> None:
    assert await failing(server, answer) is code


async def test_what_comes_after_the_end_is_not_read(server: WebServer) -> None:
    server.pages["/"] = page("Clay", content_length="2")
    assert (await fetcher().get(server.url())).body == b"Cl"


async def test_a_status_says_whether_to_try_again(server: WebServer) -> None:
    for status, final in ((404, True), (403, True), (410, True), (301, True), (408, False), (429, False), (503, False)):
        server.pages["/"] = page("No", status=status, retry_after="7")
        error = await failure(server.url())
        assert (error.type, error.final) == (ErrorType.URL_STATUS, final), status
        assert (error.details, error.retry_after) == ({"status": status}, timedelta(seconds=7))
    for untold in ("Wed, 21 Oct 2099 07:28:00 GMT", "3601", "9" * 5_000):
        server.pages["/"] = page("No", status=503, retry_after=untold)
        assert (await failure(server.url())).retry_after is None
        assert (await fetcher().post(server.url(), b"{}", {})).retry_after is None


async def test_only_what_can_be_read_is_fetched(server: WebServer) -> None:
    for media_type in ("image/png", "video/mp4", "application/zip", "text/css"):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: " + media_type.encode() + b"\r\n\r\n"
        assert await failing(server, then_silent(head)) is ErrorType.URL_UNSUPPORTED
    told = {"text/markdown": "# Clay", "application/json": "{}", "application/xhtml+xml": "<html/>", DOCX: "PK"}
    for media_type, body in told.items():
        server.pages["/"] = page(body, media_type)
        assert (await fetcher().get(server.url())).media_type == media_type
    seen = {"%PDF-1.7": "application/pdf", "PK\x03\x04": DOCX, "\n<!-- a -->\n<!DOCTYPE html>": "text/html"}
    for untold in (None, "application/octet-stream", "binary/octet-stream"):
        for body, media_type in seen.items():
            server.pages["/"] = page(body, untold)
            assert (await fetcher().get(server.url())).media_type == media_type
        assert await failing(server, page("GIF89a", untold)) is ErrorType.URL_UNSUPPORTED


async def test_tls_asks_for_the_name_at_the_address_that_was_checked(tmp_path: Path) -> None:
    server_side, client_side, asked = certificate(tmp_path, "site.example")
    names = Names(site="127.0.0.1", other="127.0.0.1")
    careful = Fetcher(FetchRules(**NEVER_MIND), "Atelier/1.2.3", resolver=names, tls=client_side)
    async with WebServer(tls=server_side) as server:
        server.pages |= {"/": page("Clay"), "/down": redirect("http://site.example/")}
        assert (await careful.get(server.url(host="site.example"))).body == b"Clay"
        for host in ("other.example", "127.0.0.1"):
            error = await failure(server.url(host=host), careful)
            assert (error.type, error.final) == (ErrorType.URL_UNREACHABLE, True)
            assert "certificate" in error.message
        assert asked[:2] == ["site.example", "other.example"]
        assert (await failure(server.url("/down", "site.example"), careful)).type is ErrorType.URL_REFUSED
        assert (await failure(f"http://site.example:{server.port}/", careful)).type is ErrorType.URL_UNREACHABLE
    async with WebServer(impatient=True) as plain:
        error = await failure(f"https://site.example:{plain.port}/", careful)
        assert (error.type, error.final) == (ErrorType.URL_UNREACHABLE, False)


async def test_an_error_tells_no_more_of_a_url_than_its_host(server: WebServer) -> None:
    url = server.url("/s3cret?token=s3cret", "site.example")
    assert "s3cret" not in (await failure(url)).message
    assert "s3cret" not in (await failure(place_of(url)._replace(port=9).url)).message


async def test_a_post_brings_its_bytes_and_a_little_of_the_answer(server: WebServer) -> None:
    server.pages["/hook?a=b"] = page("x" * 5_000, "image/png", 202)
    posted = await fetcher().post(server.url("/hook?a=b"), b'{"a":1}', {"Content-Type": "application/json", "Id": "m1"})
    assert (posted.status, posted.head) == (202, b"x" * 2_048)
    assert posted.ms > 0
    (asked,) = server.requests
    assert (asked.method, asked.body, asked.headers["id"]) == ("POST", b'{"a":1}', "m1")
    assert (asked.headers["content-type"], asked.headers["user-agent"]) == ("application/json", "Atelier/1.2.3")
    await fetcher().post(server.url("/hook?a=b"), b"", {})
    assert server.requests[1].headers["content-length"] == "0"


async def test_a_post_follows_no_redirect_and_takes_any_status(server: WebServer) -> None:
    for status in (302, 307, 404, 500):
        server.pages["/"] = redirect("/in", status)
        assert (await fetcher().post(server.url(), b"{}", {})).status == status
    assert set(server.targets) == {"/"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(then_silent(HEAD + b"content-length: 9\r\n\r\nClay"), id="silent"),
        pytest.param(endless(CHUNKED + b"4\r\nClay\r\n", b"0", 0.005), id="drip"),
        pytest.param(page("Clay", content_length="9"), id="cut"),
        pytest.param(CHUNKED + b"4\r\nClay\r\nzz\r\n", id="broken"),
    ],
)
async def test_a_post_counts_when_the_head_is_there(server: WebServer, answer: bytes | Script) -> None:
    server.pages["/"] = answer
    posted = await fetcher(silence_seconds=0.6, total_seconds=0.4).post(server.url(), b"{}", {})
    assert (posted.status, posted.head) == (200, b"Clay")


async def test_a_post_goes_nowhere_that_a_fetch_may_not(server: WebServer) -> None:
    names = Names(inside="127.0.0.1")
    for url in (server.url(), server.url(host="inside.example"), "http://localhost/", "ftp://site.example/"):
        with pytest.raises(AtelierError) as error:
            await fetcher(names, allowed=()).post(url, b"{}", {})
        assert error.value.type is ErrorType.URL_REFUSED
    assert server.requests == []
    server.pages["/"] = then_silent()
    with pytest.raises(AtelierError) as error:
        await fetcher(silence_seconds=0.05).post(server.url(), b"{}", {})
    assert error.value.type is ErrorType.URL_TIMEOUT


async def test_a_cancelled_fetch_lets_go_of_its_connection(server: WebServer) -> None:
    """Whoever waits is told of the cancel, not of a timeout."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        try:
            await endless(HEAD + b"\r\n", b"x", 0.005)(writer)
        finally:
            gone.set()

    server.pages["/"] = script
    task = asyncio.create_task(fetcher().get(server.url()))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        await gone.wait()
