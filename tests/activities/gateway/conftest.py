"""A gateway with all providers at the far end of the wire, on one database that these tests share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.db.engine import Database
from tests.conftest import Account
from tests.support.gateways import MODELS, Desk, desk
from tests.support.servers import Servers
from tests.support.wire import WireProvider


@pytest.fixture(scope="package")
def database_url(servers: Servers) -> Iterator[str]:
    """One for all tests: each has an owner of its own, and a database of its own takes longer than any of them."""
    url = servers.database()
    yield url
    servers.postgres.drop_database(url.rsplit("/", 1)[-1])


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    """All providers. A request that nobody scripted fails the test, and so does a script that nobody asked for."""
    with WireProvider() as started:
        yield started
    started.assert_clean()
    assert started.pending == 0


@pytest_asyncio.fixture
async def at(database: Database, account: Account, wire: WireProvider, tmp_path: Path) -> AsyncIterator[Desk]:
    """A gateway that leaves no provider alone and tells no unfinished text."""
    async with desk(database, account.owner_id, wire, tmp_path) as opened:
        yield opened


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    """Each provider in turn."""
    return str(request.param)
