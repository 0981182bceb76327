"""What every test may use: servers of the session, a database, a namespace."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from core.db.engine import Database
from core.db.repositories.owners import OwnerRepository
from tests.support.servers import Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Postgres and Temporal, started when the first test asks, stopped with the run."""
    folder = tmp_path_factory.mktemp("servers")
    folder.chmod(0o755)
    servers = Servers(folder)
    try:
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """A migrated database of this test's own."""
    url = servers.database()
    yield url
    servers.postgres.drop_database(url.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Namespace:
    """Where this test's workflows live."""

    address: str
    name: str


@pytest.fixture
def namespace(servers: Servers) -> Namespace:
    """A Temporal namespace of this test's own."""
    return Namespace(*servers.namespace())


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on this test's database."""
    database = Database(database_url)
    yield database
    await database.close()


@dataclass(frozen=True)
class Account:
    """An owner and a key."""

    owner_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request sends."""
        return {"Authorization": f"Bearer {self.token}"}


@pytest_asyncio.fixture
async def account(database: Database) -> Account:
    """An owner with a key in this test's database."""
    return await make_account(database, "Ada Example")


async def make_account(database: Database, name: str) -> Account:
    """Another owner with a key."""
    async with database.transaction() as connection:
        owners = OwnerRepository(connection)
        owner = await owners.create(name)
        return Account(owner.id, await owners.create_key(owner.id, "test"))
