"""Searches for what should be gone: in every table, every file of a folder, and everything Temporal lists."""

from pathlib import Path

from sqlalchemy import text
from temporalio.client import Client

from core.contracts.names import OWNER_ATTRIBUTE
from core.db.engine import Database


async def mentions(database: Database, *words: str) -> dict[str, list[str]]:
    """The rows of all tables in which one of the words stands, however it is written, by table."""
    found: dict[str, list[str]] = {}
    async with database.transaction() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for table in sorted(row.tablename for row in tables):
            for row in await connection.execute(text(f'SELECT t::text AS line FROM "{table}" t')):
                if any(word.casefold() in row.line.casefold() for word in words):
                    found.setdefault(table, []).append(row.line)
    return found


def files_with(folder: Path, *words: str) -> list[str]:
    """The files and folders in whose path or bytes one of the words stands."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes().lower() if path.is_file() else b""
        place = str(path.relative_to(folder))
        if any(word.casefold() in place.casefold() or word.casefold().encode() in content for word in words):
            found.append(place)
    return found


async def histories_of(client: Client, owner_id: str) -> list[str]:
    """What Temporal lists of an owner."""
    return [run.id async for run in client.list_workflows(f"{OWNER_ATTRIBUTE.name} = '{owner_id}'")]
