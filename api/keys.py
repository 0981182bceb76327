"""`python -m api.keys`: owners and their API keys, for whoever runs the deployment.

Owners made here have keys only. People register themselves, or `atelier admin create` makes their accounts.
"""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import DBAPIError

from core.contracts.errors import AtelierError
from core.contracts.people import ALL_SCOPES, Scope
from core.db.engine import Database
from core.db.repositories.owners import OwnerRepository
from core.settings import Settings

STDIN = "-"
MOST_DAYS = 3653
"""Ten years."""


def arguments(values: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m api.keys", description="Make and revoke API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it, this once")
    who = create.add_mutually_exclusive_group(required=True)
    who.add_argument("--owner", metavar="NAME", type=_name, help="for a new owner of this name")
    who.add_argument("--owner-id", metavar="ID", type=uuid.UUID, help="for an owner that exists")
    create.add_argument("--name", default="default", type=_name, help="what the key is for (default: default)")
    create.add_argument(
        "--scope",
        action="append",
        choices=sorted(scope.value for scope in ALL_SCOPES),
        help="what it may be used for; may be given twice (default: read and write)",
    )
    create.add_argument("--expires-in-days", metavar="DAYS", type=_days, help="it is refused from then on")
    revoke = commands.add_parser("revoke", help="end a key: requests with it are refused from then on")
    revoke.add_argument("token", help="the key; - reads it from standard input, where no process list shows it")
    return parser.parse_args(values)


def _name(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("a name cannot be empty")
    return value.strip()


def _days(value: str) -> timedelta:
    try:
        days = float(value)
    except ValueError:
        days = 0
    if not 0 < days <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"it should be a number of days, up to {MOST_DAYS}")
    return timedelta(days=days)


async def main(given: argparse.Namespace) -> int:
    """0 when it is done, 1 when it could not be, 2 when the database is not named."""
    settings = Settings()
    if settings.database_url is None:
        print("DATABASE_URL is not set: name the database of the deployment.", file=sys.stderr)
        return 2
    try:
        database = Database(settings.database_url.get_secret_value(), pool_size=1)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return await (_create(database, given) if given.command == "create" else _revoke(database, given))
    except AtelierError as error:
        print(error, file=sys.stderr)
    except DBAPIError as error:
        print(f"The database refused: {str(error.orig).splitlines()[0]}", file=sys.stderr)
    finally:
        await database.close()
    return 1


async def _create(database: Database, given: argparse.Namespace) -> int:
    async with database.transaction() as connection:
        owners = OwnerRepository(connection)
        owner_id = str(given.owner_id) if given.owner_id else (await owners.create(given.owner)).id
        expires_at = datetime.now(UTC) + given.expires_in_days if given.expires_in_days else None
        scopes = {Scope(scope) for scope in given.scope or ALL_SCOPES}
        token = await owners.create_key(owner_id, given.name, scopes, expires_at)
    # The key alone goes to standard output, so that a script can keep it without it being shown.
    print(f"A key of owner {owner_id}, shown only now:", file=sys.stderr)
    print(token)
    return 0


async def _revoke(database: Database, given: argparse.Namespace) -> int:
    given_in = sys.stdin.readline().strip() if given.token == STDIN else given.token
    async with database.transaction() as connection:
        known = await OwnerRepository(connection).revoke_key(given_in)
    print("Revoked." if known else "There is no such key, or it was revoked before.", file=sys.stderr)
    return 0 if known else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
