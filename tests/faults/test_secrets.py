"""Keys are planted everywhere, providers say them back, jobs succeed and fail: nothing that is kept holds one."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import asyncpg
import pytest
from temporalio.client import Client

from core.db.engine import Database, plain_url
from core.temporal import connect
from tests.conftest import Account, Namespace
from tests.support.audit import Audit
from tests.support.rows import one, rows
from tests.support.stack import Stack, User
from tests.support.wire import WireProvider
from tests.support.wire_messages import Answer, WireRequest

# Of shapes that no pattern knows, and with characters that URLs and JSON write in other ways.
ANTHROPIC_KEY = "Vq7hT2/mVx9+LpW4~kZ"
GEMINI_KEY = "hedgehog/larkspur+quince"
PASSWORD = 'tide"mill/46 é'
ECHOES = (
    # In words that say nothing of a key, so that only what it is tells.
    "it is {key} that is wrong, or {quoted}, and {basic} as well",
    "Authorization: Bearer {key} was refused",
    "GET https://somewhere/v1?key={quoted} failed, {{'headers': {{'x-api-key': '{key}'}}}}",
    'the proxy saw "Basic {basic}"',
)


def echo(code: int, said: str, key: str) -> Answer:
    """An error that says the key back."""
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    return Answer(status=code, message=said.format(key=key, quoted=quote_plus(key), basic=basic))


@pytest.fixture
def database_url(database_url: str) -> Iterator[str]:
    """The same database, for a role whose password is ours."""

    async def run(*statements: str) -> None:
        connection = await asyncpg.connect(plain_url(database_url))
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    role = "planted"
    asyncio.run(run(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{PASSWORD}'"))
    scheme, _, rest = database_url.partition("://")
    yield f"{scheme}://{role}:{quote(PASSWORD, safe='')}@{rest.partition('@')[2]}"
    asyncio.run(run(f"DROP ROLE {role}"))


async def test_nothing_that_is_kept_holds_a_secret(
    stack: Stack, account: Account, namespace: Namespace, database: Database, wire: WireProvider, audit: Audit
) -> None:
    stack.env = {
        **wire.environment("anthropic", "gemini"),
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "GEMINI_API_KEY": GEMINI_KEY,
        "LOG_LEVEL": "debug",
        "COOLDOWN_FAILURES": "99",
    }
    keys = {"anthropic": ANTHROPIC_KEY, "google": GEMINI_KEY}
    for said in ECHOES:
        # One model says it back, the other answers; what is tried again says it once more before that.
        wire.script(echo(401, said, ANTHROPIC_KEY), provider="anthropic", where=_of("The tides of success"))
    wire.script(echo(500, ECHOES[0], GEMINI_KEY), provider="google", where=_of("The tides of success"))
    for provider, key in keys.items():
        wire.script(echo(400, ECHOES[1], key), provider=provider, where=_of("The tides of failure"))
    api, worker = stack.api(), stack.worker()
    async with User(api, account.token) as user:
        assert (
            await user.http.get("/v1/jobs", headers={"Authorization": f"Bearer {account.token}x"})
        ).status_code == 401
        good = await user.submit(input={"topic": "The tides of success", "target_words": 600})
        bad = await user.submit(input={"topic": "The tides of failure", "target_words": 600})
        await user.until(good["id"], "completed")
        failed = await user.until(bad["id"], "failed")
    assert wire.pending == 0
    # What people need stays: who failed, and with what.
    assert "was refused" in json.dumps(failed["error"])
    assert (await one(database, "SELECT count(*) FROM attempts WHERE error_message LIKE '%[redacted]%'"))["count"] >= 4
    await audit.check()
    # The database goes away under them, which their drivers complain about.
    await rows(
        database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'planted' "
        "AND application_name = 'atelier' AND pid <> pg_backend_pid()",
    )
    assert worker.stop() == 0
    assert api.process.stop() == 0

    planted = (ANTHROPIC_KEY, GEMINI_KEY, PASSWORD, account.token)
    client = await connect(namespace.address, namespace.name)
    places = {process.name: process.log.read_text() for process in stack.processes}
    places |= {name: text async for name, text in _tables(database)}
    places |= {name: text async for name, text in _histories(client)}
    assert {"api", "worker", "jobs", "attempts", "events", f"longform/{good['id']}"} <= set(places)
    assert [found for secret in planted for found in _found(secret, places)] == []


def _of(topic: str) -> Any:
    def matches(request: WireRequest) -> bool:
        return topic in request.prompt

    return matches


def _spellings(secret: str) -> set[str]:
    """In how many ways it may be written: quoted, escaped, encoded, and cut off."""
    plain = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    encoded = base64.b64encode(secret.encode()).decode()[: len(secret) // 3 * 4]
    return {*plain, json.dumps(json.dumps(secret)[1:-1])[1:-1], encoded, secret[:12]}


def _found(secret: str, places: dict[str, str]) -> Iterator[str]:
    for place, text in places.items():
        for spelling in _spellings(secret):
            at = text.find(spelling)
            if at >= 0:
                yield f"{place}: …{text[max(0, at - 80) : at + 80]}…"


async def _tables(database: Database) -> Any:
    """Every row of every table, whatever its columns, as text."""
    tables = await rows(database, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    for name in [table["name"] for table in tables]:
        yield name, "\n".join([row["text"] for row in await rows(database, f'SELECT t::text AS text FROM "{name}" t')])


async def _histories(client: Client) -> Any:
    """Every history with its payloads as they are stored, which is JSON."""
    async for execution in client.list_workflows():
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        payloads: list[str] = []
        _decode(history.to_json_dict(), payloads)
        yield execution.id, "\n".join(payloads)


def _decode(node: Any, into: list[str]) -> None:
    """All strings of a history; the data of payloads as text."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == "data" and isinstance(inner, str):
                into.append(base64.b64decode(inner).decode(errors="replace"))
            else:
                _decode(inner, into)
    elif isinstance(node, list):
        for inner in node:
            _decode(inner, into)
    elif isinstance(node, str):
        into.append(node)
