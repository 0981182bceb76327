"""The providers by REST: who is configured, what they offer, and whether they answer."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from api.money_schemas import ProviderList, ProviderView
from core.contracts.base import Json
from core.db.engine import Database
from tests.api.conftest import StartApi, submitted
from tests.api.ledger_rows import attempt
from tests.api.test_rubbish import problem
from tests.conftest import Account, make_account

KEYS = {"anthropic_api_key": "sk-ant-planted-secret", "gemini_api_key": "AIza-planted-secret"}
CLAUDE = "anthropic:claude-haiku-4-5"


async def providers(client: httpx.AsyncClient) -> dict[str, ProviderView]:
    response = await client.get("/v1/providers")
    assert response.status_code == 200, response.text
    assert "planted" not in response.text
    return {one.name: one for one in ProviderList.model_validate_json(response.content).items}


async def test_without_keys_the_simulator_is_all_there_is(client: httpx.AsyncClient) -> None:
    found = await providers(client)
    assert list(found) == ["anthropic", "google", "ollama", "simulator"]
    assert [name for name, one in found.items() if one.configured] == ["simulator"]
    assert [one.reachable for one in found.values()] == [None, None, None, True]
    (model,) = found["simulator"].models
    assert model.default
    assert model.usd_per_million is not None
    assert (model.usd_per_million.input, model.usd_per_million.output) == (0.0, 0.0)
    problem(await client.get("/v1/providers?verbose=1"), 422, "invalid_request")


async def test_models_have_windows_and_prices(start_api: StartApi, account: Account) -> None:
    api = start_api(background=False, **KEYS, anthropic_model="claude-of-tomorrow")
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        claude = (await providers(client))["anthropic"]
    assert claude.configured
    models = {model.model: model for model in claude.models}
    assert next(iter(models)) == "anthropic:claude-of-tomorrow"
    assert models["anthropic:claude-of-tomorrow"].usd_per_million is None
    assert [name for name, model in models.items() if model.default] == ["anthropic:claude-of-tomorrow"]
    haiku = models["anthropic:claude-haiku-4-5"]
    assert haiku.usd_per_million is not None
    assert (haiku.usd_per_million.input, haiku.usd_per_million.output) == (1.0, 5.0)
    assert haiku.context_window == 200_000


@pytest_asyncio.fixture
async def keyed(start_api: StartApi, account: Account) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with keys of two providers."""
    api = start_api(background=False, **KEYS)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        yield client


async def test_the_last_calls_tell_whether_a_provider_answers(keyed: httpx.AsyncClient, database: Database) -> None:
    job_id = await submitted(keyed)
    now = datetime.now(UTC) - timedelta(minutes=30)

    async def called(minute: int, changes: Json | None = None, model: str = CLAUDE) -> ProviderView:
        at = now + timedelta(minutes=minute)
        await attempt(database, job_id, model=model, started_at=at, finished_at=at, **(changes or {}))
        return (await providers(keyed))[model.partition(":")[0]]

    def failure(code: str, *, answered: bool = False) -> Json:
        return {"outcome": "failed", "answered": answered, "error_type": code, "error_message": "Said so."}

    answered = await called(0)
    assert (answered.reachable, answered.checked_at, answered.last_error) == (True, now, None)
    silent = await called(1, failure("provider_unreachable"))
    assert silent.reachable is False
    assert silent.last_error is not None
    assert (silent.last_error.code, silent.last_error.message) == ("provider_unreachable", "Said so.")
    assert silent.last_error.at == silent.checked_at == now + timedelta(minutes=1)
    # A refusal is an answer; what failed with us says nothing of them; what was taken again asked nobody.
    assert (await called(2, failure("model_auth", answered=True))).reachable is True
    assert (await called(3, failure("overloaded"))).reachable is False
    assert (await called(4, failure("store_unavailable"))).reachable is False
    assert (await called(5, {"reused": True})).reachable is False
    back = await called(6)
    assert back.reachable is True
    assert back.last_error is not None
    assert back.last_error.code == "overloaded"
    assert (await providers(keyed))["google"].reachable is None
    assert (await called(7, model="google:gemini-2.5-flash")).reachable is True


async def test_what_others_were_answered_is_theirs(keyed: httpx.AsyncClient, database: Database) -> None:
    stranger = await make_account(database, "Bob Example")
    response = await keyed.post(
        "/v1/jobs", json={"pipeline": "longform", "input": {"topic": "Tides"}}, headers=stranger.headers
    )
    at = datetime.now(UTC)
    await attempt(
        database, response.json()["id"], started_at=at, outcome="failed", error_type="overloaded", error_message="x"
    )
    claude = (await providers(keyed))["anthropic"]
    assert (claude.reachable, claude.last_error) == (None, None)


async def test_a_provider_that_is_left_alone(keyed: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO cooldowns (provider, failures, until, error_type) VALUES "
                "('anthropic', 5, now() + interval '1 minute', 'overloaded'), "
                "('google', 5, now() - interval '1 minute', 'overloaded')"
            )
        )
    found = await providers(keyed)
    cooling = found["anthropic"].cooling_down_until
    assert cooling is not None
    assert cooling > datetime.now(UTC)
    assert found["anthropic"].reachable is False
    assert found["google"].cooling_down_until is None


# ---------------------------------------------------------------------------------------------- Ollama


@contextmanager
def ollama(content: bytes, status: int = 200) -> Iterator[str]:
    """A server that answers `/api/tags` so; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing on standard error."""

        def do_GET(self) -> None:
            found = self.path == "/api/tags"
            self.send_response(status if found else 404)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            self.wfile.write(content if found else b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TAGS = json.dumps({"models": [{"name": "llama3.2:latest", "size": 1}, {"name": "gemma3:12b"}]}).encode()


async def test_an_ollama_is_asked_now(start_api: StartApi, account: Account) -> None:
    with ollama(TAGS) as url:
        api = start_api(background=False, ollama_url=url + "/")
        async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
            found = (await providers(client))["ollama"]
    assert (found.configured, found.reachable) == (True, True)
    assert found.checked_at is not None
    assert [(model.model, model.default) for model in found.models] == [
        ("ollama:llama3.2", True),
        ("ollama:gemma3:12b", False),
    ]
    assert found.models[0].usd_per_million is not None
    assert found.models[0].usd_per_million.output == 0.0


@pytest.mark.parametrize(("content", "status"), [(b"oops", 500), (b"<html>", 200), (b'{"models": "none"}', 200)])
async def test_an_ollama_that_answers_rubbish_does_not_answer(
    start_api: StartApi, account: Account, content: bytes, status: int
) -> None:
    with ollama(content, status) as url:
        api = start_api(background=False, ollama_url=url)
        async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
            assert (await providers(client))["ollama"].reachable is False


async def test_an_ollama_that_is_away(start_api: StartApi, account: Account) -> None:
    api = start_api(background=False, ollama_url="http://127.0.0.1:9")
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        found = (await providers(client))["ollama"]
    assert (found.configured, found.reachable) == (True, False)
    assert found.models[0].default
