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


class Servers:
    """
    The session's servers. Each test takes databases and namespaces of its own from them.

    All the namespaces that the session can want are made at the start, as the server's caches know one that is
    made later only after seconds.
    """

    def __init__(self, folder: Path, namespaces: int) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=FAST_POSTGRES)
        self.temporal = EmbeddedTemporal(
            folder / "temporal", namespaces=[f"test-{number}" for number in range(namespaces)], ui=False
        )
        self._databases = itertools.count()
        self._namespaces = itertools.count()
        self._migrated = False

    def database(self) -> str:
        """The URL of a new, migrated database."""
        if not self._migrated:
            self.postgres.start()
            asyncio.run(_migrate(self.postgres.create_database(TEMPLATE)))
            self._migrated = True
        return self.postgres.create_database(f"test_{next(self._databases)}", template=TEMPLATE)

    def namespace(self) -> tuple[str, str]:
        """Temporal's address, and a namespace that no other test uses."""
        address = self.temporal.start()
        namespace = f"test-{next(self._namespaces)}"
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
