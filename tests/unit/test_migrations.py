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


async def _made(database: Database) -> set[str]:
    """Tables, functions and triggers of ours."""
    statement = (
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' "
        "UNION ALL SELECT proname || '()' FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "UNION ALL SELECT 'on ' || tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    async with database.transaction() as connection:
        return {row.name for row in await connection.execute(text(statement))}


async def test_down_to_nothing_and_up_again(database: Database) -> None:
    before = await _made(database)
    assert {table.name for table in metadata.sorted_tables} <= before
    assert {"delete_empty_document()", "on delete_empty_document"} <= before
    await migrate(database, "0002")
    unpaid = await _made(database)
    assert before - unpaid == {"spending", "results", "cooldowns", "reserve()"}
    await migrate(database, "0001")
    spine = await _made(database)
    assert unpaid - spine == {"documents", "versions", "delete_empty_document()", "on delete_empty_document"}
    await migrate(database, "base")
    assert await _made(database) == {"alembic_version"}
    await migrate(database, "0001")
    assert await _made(database) == spine
    await migrate(database)
    assert await _made(database) == before
