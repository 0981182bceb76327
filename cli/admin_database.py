"""What whoever runs a deployment does on its database: the first admin, roles, forgotten passwords.

It needs no API and no login: who may do this is who can reach the database. Each act leaves a line in the audit log.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from pydantic import SecretStr, TypeAdapter, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.passwords import Passwords, refusal
from api.people_schemas import Email, NewPassword, PersonName
from cli.errors import CliError
from cli.home import load_settings, read_serving
from core.contracts.errors import AtelierError
from core.contracts.people import Role, Via
from core.db.engine import Database
from core.db.repositories.accounts import AccountRepository, Accounts, Credentials
from core.db.repositories.admin import AccountRecord, AdminRepository
from core.db.repositories.audit import Act, AuditLog
from core.db.repositories.logins import LoginEnd, LoginRepository
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.process import EmbeddedError
from core.settings import Settings

Result = TypeVar("Result")
_NAMED = "Set DATABASE_URL to the database of the deployment, or ATELIER_HOME to the data of an `atelier up` that runs."


def create_account(email: str, name: str, password: str, role: Role) -> str:
    """Make an account that can log in; its id. Raises CliError, also for what a registration would refuse."""
    email, name = _checked(Email, email, "The email"), _checked(PersonName, name, "The name")

    async def act(connection: AsyncConnection) -> str:
        hashed = await _hashed(password, email, name)
        made = await Accounts(connection).create(email=email, name=name, password_hash=hashed, role=role)
        await _note(connection, "account.created", made.id, role=role.value)
        return made.id

    return _on_database(act)


def grant_role(account: str, role: Role) -> AccountRecord:
    """Give the account of an email or id a role. Raises CliError, also for the last admin's."""

    async def act(connection: AsyncConnection) -> AccountRecord:
        account_id = str(_id(account) or (await _credentials(connection, account)).owner_id)
        everybody = AdminRepository(connection)
        await everybody.change(account_id, {"role": role})
        await _note(connection, "account.role_changed", account_id, role=role.value)
        return await everybody.account(account_id)

    return _on_database(act)


def set_password(email: str, password: str) -> None:
    """Give the account of an email a new password, and end its logins. Raises CliError."""

    async def act(connection: AsyncConnection) -> None:
        found = await _credentials(connection, email)
        hashed = await _hashed(password, found.email, found.name)
        changed = await AccountRepository(connection, found.owner_id).change_password(
            old=found.password_hash or "", new=hashed
        )
        if not changed:
            raise CliError("The password was changed by somebody else just now.", "Try again.")
        await LoginRepository(connection, found.owner_id).end_all(LoginEnd.PASSWORD_CHANGED)
        await _note(connection, "account.password_reset", found.owner_id)

    _on_database(act)


async def _hashed(password: str, email: str | None, name: str) -> str:
    given: SecretStr = _checked(NewPassword, password, "The password")
    if why := refusal(given, email=email, name=name):
        raise CliError(f"The password does not do. {why}.")
    passwords = Passwords(1)
    try:
        return await passwords.hash(given)
    finally:
        passwords.close()


async def _credentials(connection: AsyncConnection, email: str) -> Credentials:
    found = await Accounts(connection).credentials(_checked(Email, email, "The email"))
    if found is None:
        raise CliError(
            f"There is no account with {email.strip()}.", "atelier admin create EMAIL --name NAME makes one."
        )
    return found


async def _note(connection: AsyncConnection, action: str, account_id: str, **details: Any) -> None:
    act = Act(action, account_id, None, Via.COMMAND, resource=f"accounts/{account_id}", details=details)
    await AuditLog(connection).add(act)


def _checked(kind: Any, value: str, what: str) -> Any:
    """The value as a registration takes it. Raises CliError."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        said = error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ").rstrip(".")
        raise CliError(f"{what} does not do. {said}.") from None


def _id(account: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(account.strip())
    except ValueError:
        return None


# ---------------------------------------------------------------------------------------------- the database


def _on_database(act: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    """Act in one transaction. Raises CliError."""
    url = _url(load_settings())

    async def run() -> Result:
        database = Database(url, pool_size=1)
        try:
            async with database.transaction() as connection:
                return await act(connection)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except AtelierError as error:
        raise CliError(error.message, kind=error.type.value) from None
    except ValueError:
        raise CliError("DATABASE_URL is not a URL of a PostgreSQL database.", "postgresql://user:…@host/name") from None
    except (SQLAlchemyError, asyncpg.PostgresError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CliError(f"The database refused: {reason}.", "Are its tables up to date? python -m migrations") from None


def _url(settings: Settings) -> str:
    """The database of DATABASE_URL, else that of the `atelier up` that runs on ATELIER_HOME. Raises CliError."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    home = settings.atelier_home.absolute()
    if read_serving(home) is None:
        raise CliError(f"DATABASE_URL is not set, and no `atelier up` runs on {home}.", _NAMED)
    server = EmbeddedPostgres(home)
    try:
        url = server.start()
        if not server.adopted:
            # That `atelier up` has a database of its user's.
            server.stop()
            raise CliError(f"DATABASE_URL is not set, and the `atelier up` on {home} uses another database.", _NAMED)
    except (EmbeddedError, OSError) as error:
        raise CliError(f"The database of {home} cannot be used: {error}", _NAMED) from None
    return url
