"""What database and Temporal need before the API and the workers start: tables, a local owner, a namespace.

Apart from the supervisor, so that its errors become sentences in one place.
"""

from datetime import timedelta

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from cli.errors import CliError
from core.db.engine import Database
from core.db.repositories.identities import IdentityRepository
from core.db.repositories.owners import OwnerRepository
from core.temporal import is_away, prepare_namespace
from migrations.run import migrate

OWNER = "local"


async def prepare_database(url: str, key: str | None) -> str:
    """Bring the tables up to date and return an API key that works: `key` if it does, else one of a new owner.

    Raises CliError when the database cannot be reached.
    """
    try:
        database = Database(url, pool_size=1)
    except (ValueError, SQLAlchemyError):
        raise CliError("DATABASE_URL is not a URL of a PostgreSQL database.", "postgresql://user:…@host/name") from None
    try:
        try:
            async with database.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (OSError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError) as error:
            reason = str(getattr(error, "orig", None) or error or type(error).__name__).splitlines()[0]
            raise CliError(
                f"The database of DATABASE_URL cannot be used: {reason}.",
                "Correct it, or leave it out: `atelier up` then starts a Postgres of its own.",
            ) from None
        await migrate(database)
        async with database.transaction() as connection:
            if key and await IdentityRepository(connection).by_key(key):
                return key
            owners = OwnerRepository(connection)
            owner = await owners.by_name(OWNER) or await owners.create(OWNER)
            return await owners.create_key(owner.id, "atelier up")
    finally:
        await database.close()


async def prepare_temporal(address: str, namespace: str, retention: timedelta) -> None:
    """Make the namespace and register the search attributes. Raises CliError when Temporal cannot be reached."""
    try:
        await prepare_namespace(address, namespace, retention)
    except (RPCError, RuntimeError, OSError) as error:
        # What the client says of a server that is away is a page of its own types.
        reason = "it does not answer" if is_away(error) else str(error)
        raise CliError(
            f"Temporal at {address} cannot be used: {reason}.",
            "Correct TEMPORAL_ADDRESS, or leave it out: `atelier up` then starts a server of its own.",
        ) from None
