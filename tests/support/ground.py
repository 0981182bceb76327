"""Servers that a test may kill, and the product's processes on them."""

import asyncio
from datetime import timedelta
from pathlib import Path

from core.artifacts.store import ArtifactStore
from core.db.engine import Database
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.temporal import EmbeddedTemporal
from core.temporal import connect, prepare_namespace
from migrations.run import migrate
from tests.conftest import make_account
from tests.support.audit import Audit
from tests.support.servers import FAST_POSTGRES
from tests.support.stack import Stack
from tests.support.wire import WireProvider


class Ground:
    """Servers of this test's own, that it may kill, and a stack on them."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=FAST_POSTGRES)
        self.temporal = EmbeddedTemporal(folder / "temporal", ui=False)
        self.stack = Stack(folder / "stack", self.postgres.start(), self.temporal.start(), "default", env=env)
        self.stack.folder.mkdir()
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        await prepare_namespace(self.stack.temporal_address, "default", timedelta(days=1))
        database = self.database()
        await migrate(database)
        self.account = await make_account(database, "Ada Example")
        await database.close()

    def database(self) -> Database:
        """A pool of its own."""
        return Database(self.stack.database_url, pool_size=3)

    async def audit(self, database: Database, *wires: WireProvider) -> None:
        """Run the auditor."""
        client = await connect(self.stack.temporal_address, "default")
        await Audit(database, ArtifactStore.open(self.stack.settings().artifacts), client, wires=wires).check()
