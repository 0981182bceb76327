"""robots.txt: who may read what, and what follows when a server cannot say."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.contracts.errors import AtelierError, ErrorType
from core.web.addresses import Place, place_of
from core.web.fetcher import Fetcher
from core.web.robots import KEPT_BYTES, KEPT_ORIGINS, KEPT_SECONDS, MAX_BYTES, Robots, RobotsFile
from core.web.rules import FetchRules
from tests.support.web_server import Names, Script, WebServer, page, redirect, then_silent

RULES = FetchRules(allowed=("127.0.0.1/32",), silence_seconds=0.1)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WebServer]:
    """A server with one page."""
    async with WebServer(pages={"/clay/page": page("Clay")}) as server:
        yield server


def fetcher(rules: FetchRules = RULES) -> Fetcher:
    return Fetcher(rules, "Atelier/1.2.3", resolver=Names(site="127.0.0.1", inside="10.0.0.5"))


def robots(text: str) -> bytes:
    return page(text, "text/plain")


async def outcome(server: WebServer, rules: FetchRules = RULES) -> ErrorType | None:
    """How the page is fetched."""
    try:
        await fetcher(rules).get(server.url("/clay/page"))
    except AtelierError as error:
        return error.type
    return None


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: *\nDisallow:", True),
        ("User-agent: *\nDisallow: /clay", False),
        ("User-agent: *\nDisallow: /glaze", True),
        ("User-agent: *\nDisallow: /clay\nAllow: /clay/page", True),
        ("User-agent: *\nDisallow: /*/page$", False),
        ("user-agent: ATELIER\r\ndisallow: /\r\n\r\nuser-agent: *\r\nallow: /", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: other\nUser-agent: Atelier\nDisallow: /glaze", True),
        ("User-agent: AtelierBot\nDisallow: /", True),
        ("User-agent: other # Atelier\nDisallow: /", True),
        ("\ufeffUser-agent: *\nDisallow: /", False),
        ("<html>Not found, but 200</html>", True),
        ("Disallow: /", True),
    ],
)
async def test_the_site_says_what_may_be_read(server: WebServer, text: str, allowed: bool) -> None:
    server.pages["/robots.txt"] = robots(text)
    assert await outcome(server) is (None if allowed else ErrorType.ROBOTS_DISALLOWED)
    assert server.targets == ["/robots.txt", "/clay/page"][: 1 + allowed]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(page("Gone", status=404), None, id="404"),
        pytest.param(page("No", status=403), None, id="403"),
        pytest.param(page("Oh", status=500), ErrorType.ROBOTS_UNREACHABLE, id="500"),
        pytest.param(b"", ErrorType.ROBOTS_UNREACHABLE, id="nothing"),
        pytest.param(page("User", "text/plain", content_length="99"), ErrorType.ROBOTS_UNREACHABLE, id="cut"),
        pytest.param(then_silent(), ErrorType.ROBOTS_UNREACHABLE, id="silent"),
        pytest.param(redirect("http://inside.example/robots.txt"), ErrorType.URL_REFUSED, id="leads inside"),
        pytest.param(redirect("/robots.txt"), ErrorType.URL_REFUSED, id="leads on for ever"),
        pytest.param(redirect("/r2"), ErrorType.ROBOTS_DISALLOWED, id="elsewhere"),
        pytest.param(page("x", content_encoding="gzip"), None, id="damaged"),
    ],
)
async def test_what_follows_when_it_is_not_there(
    server: WebServer, answer: bytes | Script, code: ErrorType | None
) -> None:
    server.pages |= {"/robots.txt": answer, "/r2": robots("User-agent: *\nDisallow: /")}
    assert await outcome(server) is code


async def test_an_unreachable_one_is_tried_again(server: WebServer) -> None:
    same = fetcher()
    server.pages["/robots.txt"] = page(status=503)
    with pytest.raises(AtelierError) as error:
        await same.get(server.url("/clay/page"))
    assert error.value.kind.transient
    assert "It answered with status 503." in error.value.message
    server.pages["/robots.txt"] = robots("")
    assert (await same.get(server.url("/clay/page"))).body == b"Clay"


async def test_each_origin_is_asked_once_also_behind_a_redirect(server: WebServer) -> None:
    same = fetcher()
    server.pages |= {
        "/robots.txt": robots("User-agent: *\nDisallow: /closed"),
        "/on": redirect("/clay/page"),
        "/in": redirect("/closed"),
    }
    for _ in range(2):
        await same.get(server.url("/on"))
    assert server.targets.count("/robots.txt") == 1
    with pytest.raises(AtelierError, match=r"The robots\.txt of 127\.0\.0\.1:\d+ does not let Atelier read this page"):
        await same.get(server.url("/in"))
    await same.get(server.url("/on", "site.example"))
    assert server.targets.count("/robots.txt") == 2
    assert "/closed" not in server.targets


async def test_by_setting_it_is_not_asked_and_a_post_never_asks(server: WebServer) -> None:
    server.pages["/robots.txt"] = robots("User-agent: *\nDisallow: /")
    await fetcher().post(server.url("/clay/page"), b"{}", {})
    assert await outcome(server, FetchRules(allowed=RULES.allowed, robots=False)) is None
    assert "/robots.txt" not in server.targets


class Site:
    """Answers for robots.txt without a server, and counts how often."""

    def __init__(self, body: bytes) -> None:
        self.body, self.asked, self.now = body, list[str](), 0.0

    async def fetch(self, place: Place) -> RobotsFile:
        self.asked.append(place.url)
        return RobotsFile(200, self.body)

    def clock(self) -> float:
        return self.now


async def test_it_is_kept_for_some_minutes_and_for_so_many_sites() -> None:
    site = Site(b"")
    rules = Robots("Atelier/1", site.fetch, site.clock)
    first = place_of("https://site.example:8443/a?b")
    for site.now in (0.0, KEPT_SECONDS - 1, KEPT_SECONDS, KEPT_SECONDS + 1):
        await rules.check(first)
    assert site.asked == ["https://site.example:8443/robots.txt"] * 2
    for number in range(KEPT_ORIGINS):
        await rules.check(place_of(f"http://s{number}.example/"))
    await rules.check(first)
    assert len(site.asked) == KEPT_ORIGINS + 3


async def test_long_ones_of_many_sites_are_not_all_kept() -> None:
    site = Site(b"#" * (KEPT_BYTES // 2))
    rules = Robots("Atelier/1", site.fetch, site.clock)
    for number in (1, 2, 1, 3, 2, 3, 1):
        await rules.check(place_of(f"http://s{number}.example/"))
    assert [url[8] for url in site.asked] == ["1", "2", "3", "1"]


async def test_a_hostile_one_is_read_in_linear_time() -> None:
    """Agents times rules would be 200 million here; stars and longest matches are no trouble."""
    agents = "".join(f"user agent a{number}*\n" for number in range(10_000))
    disallowed = "".join(f"Disallow: /{number}{'*a' * 5}\n" for number in range(15_000))
    text = (agents + "User-agent: *\n" + disallowed).encode()
    rules = Robots("Atelier/1", Site(text).fetch)
    await rules.check(place_of(f"http://site.example/{'a' * 3_000}"))
    with pytest.raises(AtelierError):
        await rules.check(place_of(f"http://site.example/7{'a' * 3_000}"))


async def test_only_the_first_half_megabyte_counts() -> None:
    text = b"User-agent: *\n".ljust(MAX_BYTES, b"\n") + b"Disallow: /\n"
    await Robots("Atelier/1", Site(text).fetch).check(place_of("http://site.example/"))


async def test_an_endless_one_is_read_as_far_as_it_counts(server: WebServer) -> None:
    server.pages["/robots.txt"] = robots("User-agent: *\nDisallow: /glaze\n" + "#" * 2 * MAX_BYTES)
    assert await outcome(server) is None


async def test_an_origin_is_asked_once_by_all_who_come_at_once(server: WebServer) -> None:
    server.pages["/robots.txt"] = robots("User-agent: *\nDisallow: /glaze")
    one = fetcher()
    await asyncio.gather(*(one.get(server.url("/clay/page")) for _ in range(5)))
    assert sorted(server.targets) == [*5 * ["/clay/page"], "/robots.txt"]
