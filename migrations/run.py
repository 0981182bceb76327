"""Migrate the database of DATABASE_URL: `python -m migrations` (or `python -m migrations <revision>`)."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from core.db.engine import Database

# Any number that nothing else of ours locks: two processes that migrate at once go one after the other.
_LOCK = 7_361_920_441


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, in code: there is no ini file to keep in step."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


async def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down. Safe to call from several processes at once."""

    def run(connection: Connection) -> None:
        settings = config(connection)
        current = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
        down = revision == "base" or (revision != "head" and current is not None and _is_below(revision, connection))
        (command.downgrade if down else command.upgrade)(settings, revision)
        connection.commit()

    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        await connection.commit()
        try:
            await connection.run_sync(run)
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            await connection.commit()


def _is_below(revision: str, connection: Connection) -> bool:
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return current is not None and revision < current
