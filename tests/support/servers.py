"""Databases and namespaces for tests, on one Postgres and one Temporal server a session."""

import asyncio
import itertools
from datetime import timedelta
from pathlib import Path

from core.db.engine import Database
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.temporal import EmbeddedTemporal
from core.temporal import prepare_namespace
from migrations.run import migrate

# Nothing in a test survives a power cut, so Postgres need not wait for the disk. It does hand every commit to the
# system before it acknowledges it (synchronous_commit stays on): tests kill it, and no commit may be lost.
FAST_POSTGRES = {"fsync": "off", "full_page_writes": "off"}
TEMPLATE = "atelier_template"
NAMESPACES = 24
"""Of one Temporal server."""


class Servers:
    """
    The session's servers. Each test takes databases and namespaces of its own from them.

    Namespaces are made when their server starts, as its caches know one that is made later only after seconds. Each
    keeps the server busy for as long as it runs, so when they are used up another server follows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=FAST_POSTGRES)
        self.temporal = self._temporal(0)
        self._databases = itertools.count()
        self._namespaces = itertools.count()
        self._migrated = False

    def _temporal(self, first: int) -> EmbeddedTemporal:
        names = [f"test-{number}" for number in range(first, first + NAMESPACES)]
        return EmbeddedTemporal(self._folder / f"temporal-{first}", namespaces=names, ui=False)

    def database(self) -> str:
        """The URL of a new, migrated database."""
        if not self._migrated:
            self.postgres.start()
            asyncio.run(_migrate(self.postgres.create_database(TEMPLATE)))
            self._migrated = True
        return self.postgres.create_database(f"test_{next(self._databases)}", template=TEMPLATE)

    def namespace(self) -> tuple[str, str]:
        """Temporal's address, and a namespace that no other test uses."""
        number = next(self._namespaces)
        if number and number % NAMESPACES == 0:
            self.temporal.stop()
            self.temporal = self._temporal(number)
        address, namespace = self.temporal.start(), f"test-{number}"
        asyncio.run(prepare_namespace(address, namespace, timedelta(days=1)))
        return address, namespace

    def stop(self) -> None:
        """Stop both."""
        self.temporal.stop()
        self.postgres.stop()


async def _migrate(url: str) -> None:
    database = Database(url, pool_size=1)
    try:
        await migrate(database)
    finally:
        await database.close()
