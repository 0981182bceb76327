"""`python -m migrations [revision]`: migrate the database of DATABASE_URL, then exit."""

import asyncio
import sys

from core.db.engine import Database
from core.production import Use, read_settings
from migrations.run import migrate


async def main() -> int:
    """Migrate; 2 when no database is named."""
    settings = read_settings("atelier migrations", Use.DATABASE)
    if settings.database_url is None:
        print("DATABASE_URL is not set: name the database to migrate, or use `atelier up`.", file=sys.stderr)
        return 2
    database = Database(settings.database_url.get_secret_value(), pool_size=1)
    try:
        await migrate(database, *sys.argv[1:2])
    finally:
        await database.close()
    print("The database is migrated.")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
