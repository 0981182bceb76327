"""Accounts: whom an email belongs to, and what an owner may change of theirs."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import Role
from core.db.ids import new_id
from core.db.repositories.events import prepared

_UNIQUE_VIOLATION = "23505"


@dataclass(frozen=True)
class AccountRecord:
    """An owner, without any secret."""

    id: str
    name: str
    email: str | None
    """None, like the password, for one that a command made: such an owner has keys only."""
    role: Role
    created_at: datetime


@dataclass(frozen=True)
class Credentials:
    """What a password of an account is compared with, and what it must not be."""

    owner_id: str
    name: str
    email: str | None
    password_hash: str | None


_RECORD = "id, name, email, role, created_at"
_CREDENTIALS = "SELECT id, name, email, password_hash FROM owners"
_CREATE = f"""
    INSERT INTO owners (id, name, email, email_key, password_hash, role)
    VALUES (:id, :name, :email, :email_key, :password_hash, :role)
    ON CONFLICT (email_key) DO NOTHING RETURNING {_RECORD}
"""
_CHANGE_HASH = """
    UPDATE owners SET password_hash = :new WHERE id = :owner_id AND password_hash = :old AND erasing_at IS NULL
"""


def email_key(email: str) -> str:
    """How emails are compared: nobody can have that of another in capitals, or in letters of another width."""
    return unicodedata.normalize("NFKC", email).lower()


def email_taken(email: str) -> AtelierError:
    """There is an account with this email."""
    return AtelierError(ErrorType.EMAIL_TAKEN, f"There is an account with {email}. Log in, or use another email.")


async def leave_an_admin(connection: AsyncConnection, account_id: str) -> None:
    """Raises `INVALID_STATE` if nobody but this account can make admins. Needs a transaction, and comes before all else
    in it: until it ends nobody else can stop being an admin, and two could do so at once."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('roles', 7))"))
    others = await connection.execute(
        text("SELECT 1 FROM owners WHERE role = 'admin' AND erasing_at IS NULL AND id <> :id LIMIT 1"),
        {"id": account_id},
    )
    role = await connection.execute(text("SELECT role FROM owners WHERE id = :id"), {"id": account_id})
    if role.scalar() == Role.ADMIN and others.first() is None:
        raise AtelierError(ErrorType.INVALID_STATE, "This is the last admin: make another account an admin first.")


class Accounts:
    """All accounts: makes them, and finds them by email."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, *, email: str, name: str, password_hash: str, role: Role = Role.USER) -> AccountRecord:
        """A new account that can log in. Raises `EMAIL_TAKEN`, also for one of two at once."""
        values = {"name": name, "email": email, "password_hash": password_hash, "role": role.value}
        row = (
            await self._connection.execute(prepared(_CREATE), {**values, "id": new_id(), "email_key": email_key(email)})
        ).first()
        if row is None:
            raise email_taken(email)
        return _record(row)

    async def credentials(self, email: str) -> Credentials | None:
        """Whose email it is; None when it is nobody's, or the account is being erased."""
        row = (
            await self._connection.execute(
                prepared(f"{_CREDENTIALS} WHERE email_key = :email_key AND erasing_at IS NULL"),
                {"email_key": email_key(email)},
            )
        ).first()
        return None if row is None else _credentials(row)

    async def is_taken(self, email: str) -> bool:
        """Whether an account has this email."""
        found = await self._connection.execute(
            prepared("SELECT 1 FROM owners WHERE email_key = :email_key"), {"email_key": email_key(email)}
        )
        return found.first() is not None

    async def rehash(self, owner_id: str, *, old: str, new: str) -> None:
        """Keep another hash of the same password, unless it was changed meanwhile."""
        await self._connection.execute(prepared(_CHANGE_HASH), {"owner_id": owner_id, "old": old, "new": new})


class AccountRepository:
    """The account of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def get(self) -> AccountRecord:
        """The account. Raises `UNAUTHENTICATED` when it was erased meanwhile."""
        return _record(await self._row(f"SELECT {_RECORD} FROM owners WHERE id = :owner_id"))

    async def credentials(self) -> Credentials:
        """What the account's password is compared with. Raises `UNAUTHENTICATED` when it was erased meanwhile."""
        return _credentials(await self._row(f"{_CREDENTIALS} WHERE id = :owner_id"))

    async def rename(self, name: str) -> None:
        """Change the name."""
        await self._connection.execute(
            prepared("UPDATE owners SET name = :name WHERE id = :owner_id AND erasing_at IS NULL"),
            {"owner_id": self._owner_id, "name": name},
        )

    async def change_email(self, email: str) -> None:
        """Change the email. Raises `EMAIL_TAKEN`, after which the transaction takes no more."""
        try:
            await self._connection.execute(
                prepared(
                    "UPDATE owners SET email = :email, email_key = :email_key "
                    "WHERE id = :owner_id AND erasing_at IS NULL"
                ),
                {"owner_id": self._owner_id, "email": email, "email_key": email_key(email)},
            )
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
                raise
            raise email_taken(email) from None

    async def change_password(self, *, old: str, new: str) -> bool:
        """Replace the hash. False when it is not `old` any more: somebody else changed the password just now."""
        changed = await self._connection.execute(
            prepared(_CHANGE_HASH), {"owner_id": self._owner_id, "old": old, "new": new}
        )
        return bool(changed.rowcount == 1)

    async def _row(self, statement: str) -> Row[Any]:
        row = (await self._connection.execute(prepared(statement), {"owner_id": self._owner_id})).first()
        if row is None:
            raise AtelierError(ErrorType.UNAUTHENTICATED, "This account was erased.")
        return row


def _record(row: Row[Any]) -> AccountRecord:
    return AccountRecord(str(row.id), row.name, row.email, Role(row.role), row.created_at)


def _credentials(row: Row[Any]) -> Credentials:
    return Credentials(str(row.id), row.name, row.email, row.password_hash)
