"""The API on a real socket, and a look at its database."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from api.deps import Deps
from api.passwords import Passwords
from api.server import Server
from core.db.engine import Database
from core.settings import Settings
from tests.api.written import Shelf
from tests.conftest import Account

NOWHERE = "127.0.0.1:1"
"""A Temporal that is down."""

TOPIC = {"topic": "How tide mills worked"}
LONGFORM = {"pipeline": "longform", "input": TOPIC}

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As cheap as Argon2 can be."""


def make_settings(database_url: str, folder: Path, **more: object) -> Settings:
    """Settings that take nothing from the environment."""
    given = {
        "database_url": SecretStr(database_url),
        "temporal_address": NOWHERE,
        "atelier_home": folder,
        "api_port": 0,
        "anthropic_api_key": None,
        "gemini_api_key": None,
        "limits": False,
        **more,
    }
    return Settings.model_validate({**Settings(_env_file=None).model_dump(), **given})


class Api:
    """A running API process, in a thread."""

    def __init__(self, server: Server, deps: Deps) -> None:
        self.server = server
        self.deps = deps
        self.url = f"http://127.0.0.1:{server.port}"
        self.port = server.port

    def stop(self) -> None:
        """Tell it to stop, as SIGTERM would."""
        self.server.should_exit = True


@contextmanager
def running(settings: Settings, *, background: bool = True, hasher: PasswordHasher = CHEAP) -> Iterator[Api]:
    """An API with these settings, until the block ends."""
    app = create_app(settings, background=background, passwords=Passwords(settings.password_hashes_at_once, hasher))
    server = Server(app, settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        waited = threading.Event()
        while not server.started:
            assert thread.is_alive(), "the API did not start"
            waited.wait(0.01)
        yield Api(server, app.state.deps)
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the API did not stop"


StartApi = Callable[..., Api]


@pytest.fixture
def start_api(database_url: str, tmp_path: Path) -> Iterator[StartApi]:
    """Starts APIs on this test's database, with settings of the test's choice; Temporal is down if not given."""
    with ExitStack() as stack:

        def start(*, background: bool = True, hasher: PasswordHasher = CHEAP, **more: object) -> Api:
            settings = make_settings(database_url, tmp_path, **more)
            return stack.enter_context(running(settings, background=background, hasher=hasher))

        yield start


@pytest.fixture
def api(start_api: StartApi) -> Api:
    """An API without Temporal and without background tasks: nothing changes a job but the test."""
    return start_api(background=False)


@pytest_asyncio.fixture
async def client(api: Api, account: Account) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=20) as client:
        yield client


async def counts(database: Database) -> dict[str, int]:
    """How many rows each table has, and how far the jobs' events go: what a refused request must not change."""
    tables = ("owners", "api_keys", "jobs", "steps", "attempts", "events", "artifacts", "documents", "versions")
    async with database.transaction() as connection:
        found = {
            name: int((await connection.execute(text(f"SELECT count(*) FROM {name}"))).scalar_one()) for name in tables
        }
        state = "SELECT coalesce(sum(hashtext(j::text)::bigint), 0) FROM jobs j"
        return {**found, "state": int((await connection.execute(text(state))).scalar_one())}


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)


async def submitted(client: httpx.AsyncClient, **more: object) -> str:
    """The id of a new job."""
    response = await client.post("/v1/jobs", json={**LONGFORM, **more})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


@pytest.fixture
def shelf(api: Api, database: Database, account: Account) -> Shelf:
    """Where documents of the client's owner are written to."""
    return Shelf(database, api.deps.store, account.owner_id)


async def set_status(database: Database, job_id: str, status: str) -> None:
    """Put a job into a state, as if its workflow had."""
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE jobs SET status = :status, claimed_at = now() WHERE id = :id"),
            {"id": job_id, "status": status},
        )
