"""Migrations: up, down, up again, and the same tables as the code believes in."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from core.db.engine import Database
from core.db.tables import metadata
from migrations.run import migrate


async def test_models_and_migrations_agree(database: Database) -> None:
    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(compare) == []


async def test_down_to_nothing_and_up_again(database: Database) -> None:
    async def tables() -> set[str]:
        async with database.transaction() as connection:
            rows = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            return {row.tablename for row in rows}

    before = await tables()
    assert {table.name for table in metadata.sorted_tables} <= before
    await migrate(database, "base")
    assert await tables() == {"alembic_version"}
    await migrate(database)
    assert await tables() == before
