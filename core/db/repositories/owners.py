"""Owners and their API keys."""

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.db.ids import new_id


@dataclass(frozen=True)
class Owner:
    """Who a request speaks for."""

    id: str
    name: str


def hash_token(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class OwnerRepository:
    """Makes owners and keys, and finds the owner of a key."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, name: str) -> Owner:
        """A new owner."""
        owner = Owner(new_id(), name)
        await self._connection.execute(
            text("INSERT INTO owners (id, name) VALUES (:id, :name)"), {"id": owner.id, "name": name}
        )
        return owner

    async def by_name(self, name: str) -> Owner | None:
        """The first owner of that name. Names need not be unique."""
        row = (
            await self._connection.execute(
                text("SELECT id, name FROM owners WHERE name = :name ORDER BY id LIMIT 1"), {"name": name}
            )
        ).first()
        return None if row is None else Owner(str(row.id), row.name)

    async def create_key(self, owner_id: str, name: str) -> str:
        """A new key of an owner. The token is returned here and never again."""
        token = f"atl_{secrets.token_urlsafe(32)}"
        await self._connection.execute(
            text("INSERT INTO api_keys (id, owner_id, name, token_sha256) VALUES (:id, :owner_id, :name, :token)"),
            {"id": new_id(), "owner_id": owner_id, "name": name, "token": hash_token(token)},
        )
        return token

    async def revoke_key(self, token: str) -> bool:
        """End a key. False when there is no such key."""
        result = await self._connection.execute(
            text("UPDATE api_keys SET revoked_at = now() WHERE token_sha256 = :token AND revoked_at IS NULL"),
            {"token": hash_token(token)},
        )
        return result.rowcount == 1

    async def by_token(self, token: str) -> Owner | None:
        """The owner of a key that is not revoked."""
        row = (
            await self._connection.execute(
                text(
                    "SELECT o.id, o.name FROM api_keys k JOIN owners o ON o.id = k.owner_id "
                    "WHERE k.token_sha256 = :token AND k.revoked_at IS NULL"
                ),
                {"token": hash_token(token)},
            )
        ).first()
        return None if row is None else Owner(str(row.id), row.name)
