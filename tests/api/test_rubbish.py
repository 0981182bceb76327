"""Whatever is sent, the answer is a problem document that names what is wrong, and nothing has changed."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
from sqlalchemy import text

from api.schemas import Problem
from core.db.engine import Database
from core.db.repositories.owners import OwnerRepository
from tests.api.conftest import LONGFORM, TOPIC, Api, StartApi, counts, submitted
from tests.conftest import Account, make_account

JSON = {"Content-Type": "application/json"}
UNKNOWN = "019aa0c2-7f3e-7c41-9d0a-5b8e6f1f2a10"


def problem(response: httpx.Response, status: int, code: str) -> Problem:
    """The problem document, after looking at its form."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate_json(response.content)
    assert (found.status, found.code) == (status, code)
    assert found.request_id == response.headers["x-request-id"]
    assert len(response.content) < 10_000
    return found


def locs(found: Problem) -> list[str]:
    """Where it is wrong."""
    return [error.loc for error in found.errors or []]


def longform(**fields: object) -> dict[str, object]:
    """A submission with these fields in its input."""
    return {"pipeline": "longform", "input": {**TOPIC, **fields}}


DEEP = b'{"pipeline": "longform", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
INFINITE = b'{"pipeline": "longform", "input": {"topic": "tides", "target_pages": 1e999}}'

BODIES: list[tuple[str, object, str, list[str]]] = [
    ("no pipeline", {"input": TOPIC}, "invalid_request", ["pipeline"]),
    ("unknown pipeline", {"pipeline": "poetry", "input": {}}, "unknown_pipeline", []),
    ("pipeline of another type", {"pipeline": ["longform"], "input": {}}, "invalid_request", ["pipeline"]),
    ("no input", {"pipeline": "longform"}, "invalid_request", ["input"]),
    ("input without topic", {"pipeline": "longform", "input": {}}, "invalid_request", ["input.topic"]),
    ("empty topic", longform(topic="   "), "invalid_request", ["input.topic"]),
    ("huge topic", longform(topic="x" * 9_000), "invalid_request", ["input.topic"]),
    ("negative words", longform(target_words=-5), "invalid_request", ["input.target_words"]),
    ("absurd words", longform(target_words=10**12), "invalid_request", ["input.target_words"]),
    ("endless words", longform(target_words=10**4000), "invalid_request", ["input.target_words"]),
    ("zero pages", longform(target_pages=0), "invalid_request", ["input.target_pages"]),
    ("negative minutes", longform(target_duration=-1), "invalid_request", ["input.target_duration"]),
    ("two lengths", longform(target_words=900, target_pages=3), "invalid_request", ["input"]),
    ("unknown format", longform(formats=["tiff"]), "invalid_request", ["input.formats.0"]),
    ("unknown input field", longform(colour="red"), "invalid_request", ["input.colour"]),
    ("no budget", {**LONGFORM, "budget_usd": 0}, "invalid_request", ["budget_usd"]),
    ("a debt", {**LONGFORM, "budget_usd": -3}, "invalid_request", ["budget_usd"]),
    ("a fortune", {**LONGFORM, "budget_usd": 1_000_001}, "invalid_request", ["budget_usd"]),
    ("endless money", {**LONGFORM, "budget_usd": 10**4000}, "invalid_request", ["budget_usd"]),
    ("money in words", {**LONGFORM, "budget_usd": "3"}, "invalid_request", ["budget_usd"]),
    ("money that is true", {**LONGFORM, "budget_usd": True}, "invalid_request", ["budget_usd"]),
    ("less than counts", {**LONGFORM, "budget_usd": 1e-9}, "invalid_request", ["budget_usd"]),
    ("webhook", {**LONGFORM, "webhook_url": "http://x"}, "invalid_request", ["webhook_url"]),
    ("empty title", {**LONGFORM, "title": " "}, "invalid_request", ["title"]),
    ("long title", {**LONGFORM, "title": "t" * 201}, "invalid_request", ["title"]),
    ("title with a newline", {**LONGFORM, "title": "a\nb"}, "invalid_request", ["title"]),
    ("many tags", {**LONGFORM, "tags": [str(n) for n in range(21)]}, "invalid_request", ["tags"]),
    ("long tag", {**LONGFORM, "tags": ["t" * 51]}, "invalid_request", ["tags.0"]),
    ("tag with a bell", {**LONGFORM, "tags": ["a\x07"]}, "invalid_request", ["tags.0"]),
    ("tags as text", {**LONGFORM, "tags": "a"}, "invalid_request", ["tags"]),
    ("no models", {**LONGFORM, "models": []}, "invalid_request", ["models"]),
    ("a model without provider", {**LONGFORM, "models": ["haiku"]}, "invalid_request", ["models.0"]),
    ("unknown provider", {**LONGFORM, "models": ["openai:gpt-5"]}, "unknown_model", []),
    ("unconfigured provider", {**LONGFORM, "models": ["anthropic:claude-haiku-4-5"]}, "unknown_model", []),
    ("another simulator", {**LONGFORM, "models": ["simulator:poet"]}, "unknown_model", []),
    ("NUL in the input", longform(topic="a\x00bcd"), "invalid_request", ["input.topic"]),
    ("NUL in a tag", {**LONGFORM, "tags": ["a\x00"]}, "invalid_request", ["tags.0"]),
    ("NUL in a name", {**LONGFORM, "a\x00": 1}, "invalid_request", [""]),
    ("a list", [], "invalid_request", [""]),
    ("null", None, "invalid_request", [""]),
    ("bytes that are not JSON", b"{", "invalid_request", [""]),
    ("nothing", b"", "invalid_request", [""]),
    ("bad UTF-8", b'{"pipeline": "longform", "input": {"topic": "\xff\xfe"}}', "invalid_request", [""]),
    ("lone surrogate", b'{"pipeline": "longform", "input": {"topic": "\\ud800 tides"}}', "invalid_request", [""]),
    ("NaN", b'{"pipeline": "longform", "input": {"topic": "tides", "target_pages": NaN}}', "invalid_request", [""]),
    ("infinity", INFINITE, "invalid_request", ["input.target_pages"]),
    ("deep nesting", DEEP, "invalid_request", [""]),
    ("a huge number", b'{"pipeline": "longform", "input": {"topic": ' + b"9" * 9000 + b"}}", "invalid_request", [""]),
    ("a huge name", {**LONGFORM, "n" * 500_000: 1}, "invalid_request", ["n" * 100]),
    ("many unknown names", {**LONGFORM, **{f"n{n:04}": n for n in range(5000)}}, "invalid_request", []),
]


async def test_bodies_that_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    before = await counts(database)
    for name, body, code, where in BODIES:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post("/v1/jobs", content=content, headers=JSON)
        found = problem(response, 422, code)
        if where:
            assert locs(found) == where, (name, found)
        if code == "unknown_pipeline":
            assert found.details == {"pipelines": ["longform", "scoping"]}
    assert await counts(database) == before


QUERIES: list[tuple[str, str, int, str]] = [
    ("limit=0", "query.limit", 422, "invalid_request"),
    ("limit=201", "query.limit", 422, "invalid_request"),
    ("limit=many", "query.limit", 422, "invalid_request"),
    ("status=lost", "query.status", 422, "invalid_request"),
    ("pipeline=poetry", "", 422, "unknown_pipeline"),
    ("tag=%00", "query.tag", 422, "invalid_request"),
    ("created_from=yesterday", "query.created_from", 422, "invalid_request"),
    ("created_from=2026-11-21T10:00:00", "query.created_from", 422, "invalid_request"),
    ("created_from=0001-01-01T00:00:00%2B14:00", "query.created_from", 422, "invalid_request"),
    ("owner=me", "query.owner", 422, "invalid_request"),
    ("%FF=%FE", "", 422, "invalid_request"),
    ("cursor=nonsense", "", 400, "invalid_cursor"),
    ("cursor=", "", 400, "invalid_cursor"),
    ("cursor=" + "A" * 9_000, "", 400, "invalid_cursor"),
    ("cursor=%00%C3%A9", "", 400, "invalid_cursor"),
]


async def test_lists_that_are_refused(client: httpx.AsyncClient) -> None:
    for query, where, status, code in QUERIES:
        found = problem(await client.get(f"/v1/jobs?{query}"), status, code)
        if where:
            assert locs(found) == [where], query


async def test_idempotency_keys_that_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    before = await counts(database)
    for key in ("", "a b", "x" * 201, "é"):
        headers = {"Idempotency-Key": key.encode("latin-1")}
        response = await client.post("/v1/jobs", json=LONGFORM, headers=headers)  # type: ignore[arg-type]
        assert locs(problem(response, 422, "invalid_request")) == ["header.Idempotency-Key"], key
    assert await counts(database) == before


async def test_a_body_that_is_too_large(client: httpx.AsyncClient, database: Database) -> None:
    before = await counts(database)
    large = json.dumps(longform(topic="x" * 10_000_000)).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    # With and without a Content-Length; a route that reads no body must not stumble over one either.
    for body in (large, in_pieces()):
        response = await client.post("/v1/jobs", content=body, headers=JSON)
        assert problem(response, 413, "body_too_large").details == {"limit": 1_048_576}
    response = await client.post(f"/v1/jobs/{UNKNOWN}/cancel", content=large, headers=JSON)
    problem(response, 413, "body_too_large")
    assert (await client.get("/v1/jobs")).status_code == 200
    assert await counts(database) == before


async def test_other_content_types(client: httpx.AsyncClient, database: Database) -> None:
    before = await counts(database)
    body = json.dumps(LONGFORM)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""):
        response = await client.post("/v1/jobs", content=body, headers={"Content-Type": content_type})
        problem(response, 415, "unsupported_media_type")
    assert await counts(database) == before
    for content_type in ("application/json; charset=UTF-8", "application/vnd.atelier+json"):
        response = await client.post("/v1/jobs", content=body, headers={"Content-Type": content_type})
        assert response.status_code == 202


ROUTES = [
    ("GET", "/v1/jobs/{id}"),
    ("PATCH", "/v1/jobs/{id}"),
    ("DELETE", "/v1/jobs/{id}"),
    ("GET", "/v1/jobs/{id}/events"),
    ("GET", "/v1/jobs/{id}/artifacts"),
    ("GET", "/v1/jobs/{id}/calls"),
    ("POST", "/v1/jobs/{id}/cancel"),
    ("POST", "/v1/jobs/{id}/pause"),
    ("POST", "/v1/jobs/{id}/resume"),
    ("POST", "/v1/jobs/{id}/retry"),
    ("GET", "/v1/artifacts/{id}"),
]


async def test_ids_of_others_and_of_nothing(client: httpx.AsyncClient, database: Database) -> None:
    stranger = await make_account(database, "Bob Example")
    theirs = await submitted(client)
    before = await counts(database)
    body = {"title": "mine now"}
    for method, path in ROUTES:
        for wrong in (theirs, UNKNOWN, "nonsense", "%00", "%FF", "..%2f..", UNKNOWN + "0", "1" * 3_000):
            who = stranger.headers if wrong == theirs else {}
            json_body = body if method == "PATCH" else None
            response = await client.request(method, path.format(id=wrong), json=json_body, headers=who)
            problem(response, 404, "not_found")
    assert (await client.get("/v1/jobs", headers=stranger.headers)).json()["items"] == []
    assert await counts(database) == before


async def test_requests_without_a_valid_key(
    api: Api, client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    job = await submitted(client)
    revoked = await make_account(database, "Eve Example")
    async with database.transaction() as connection:
        assert await OwnerRepository(connection).revoke_key(revoked.token)
    before = await counts(database)
    keys = [
        {},
        revoked.headers,
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {account.token}"},
        {"Authorization": "Bearer " + "x" * 5_000},
        {"Authorization": b"Bearer \xff\xfe"},
    ]
    async with httpx.AsyncClient(base_url=api.url) as anonymous:
        for method, path in [*ROUTES, ("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs?limit=x")]:
            for key in keys:
                response = await anonymous.request(method, path.format(id=job), headers=key)  # type: ignore[arg-type]
                problem(response, 401, "unauthenticated")
                assert response.headers["www-authenticate"].startswith("Bearer")
        for open_to_all in ("/v1/health/live", "/v1/health/ready", "/docs", "/openapi.json"):
            assert (await anonymous.get(open_to_all)).status_code == 200
    assert await counts(database) == before


async def test_a_key_is_refused_from_its_revocation_on(client: httpx.AsyncClient, database: Database) -> None:
    assert (await client.get("/v1/jobs")).status_code == 200
    async with database.transaction() as connection:
        await OwnerRepository(connection).revoke_key(client.headers["Authorization"].removeprefix("Bearer "))
    problem(await client.get("/v1/jobs"), 401, "unauthenticated")


async def test_wrong_methods_and_routes(client: httpx.AsyncClient) -> None:
    for method, path, allowed in [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("DELETE", "/v1/jobs", "GET, POST"),
        ("POST", f"/v1/jobs/{UNKNOWN}", "DELETE, GET, PATCH"),
        ("GET", f"/v1/jobs/{UNKNOWN}/cancel", "POST"),
        ("GET", f"/v1/jobs/{UNKNOWN}/budget", "POST"),
        ("DELETE", "/v1/me/budget", "GET, PUT"),
        ("POST", f"/v1/artifacts/{UNKNOWN}", "GET, HEAD"),
    ]:
        response = await client.request(method, path)
        problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allowed
    for path in ("/", "/v1", "/v1/jobs/", "/v2/jobs", f"/v1/jobs/{UNKNOWN}/costs", "/%00", "/" + "a" * 5_000):
        problem(await client.get(path), 404, "not_found")


async def test_acts_and_routes_refuse_what_they_do_not_know(client: httpx.AsyncClient, database: Database) -> None:
    job = await submitted(client)
    before = await counts(database)
    response = await client.post(f"/v1/jobs/{job}/cancel", json={"reason": "no longer needed"})
    assert locs(problem(response, 422, "invalid_request")) == ["reason"]
    assert locs(problem(await client.get(f"/v1/jobs/{job}?verbose=1"), 422, "invalid_request")) == ["query.verbose"]
    for body in ({"title": None}, {"tags": None}, {"status": "completed"}, {"title": "a\x00"}, {"tags": ["a"] * 30}):
        problem(await client.patch(f"/v1/jobs/{job}", json=body), 422, "invalid_request")
    assert await counts(database) == before
    assert (await client.post(f"/v1/jobs/{job}/cancel", json={})).status_code == 202


async def test_request_ids(client: httpx.AsyncClient) -> None:
    given = await client.get("/v1/jobs/x", headers={"X-Request-Id": "mine-42"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "mine-42"
    for insane in ("a b", "x" * 101, "{}", ""):
        response = await client.get("/v1/jobs", headers={"X-Request-Id": insane})
        assert response.headers["x-request-id"] not in {insane, ""}


async def test_bytes_that_are_not_http(api: Api, client: httpx.AsyncClient) -> None:
    async def send(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(100), 5)
        finally:
            writer.close()
            await writer.wait_closed()

    for rubbish in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ):
        assert b" 400 " in await send(rubbish)
    assert (await client.get("/v1/jobs")).status_code == 200


async def test_an_error_that_nobody_foresaw(client: httpx.AsyncClient, database: Database) -> None:
    job = await submitted(client)
    async with database.transaction() as connection:
        # What no code of ours writes, so none reads it.
        await connection.execute(text("UPDATE jobs SET error = '\"secret: sesame\"'"))
    response = await client.get(f"/v1/jobs/{job}")
    problem(response, 500, "internal")
    assert "sesame" not in response.text


async def test_without_any_model_a_submission_says_what_to_set(
    start_api: StartApi, database: Database, account: Account
) -> None:
    api = start_api(simulator=False)
    before = await counts(database)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        found = problem(await client.post("/v1/jobs", json=LONGFORM), 503, "unknown_model")
    assert "ANTHROPIC_API_KEY" in found.detail
    assert await counts(database) == before
