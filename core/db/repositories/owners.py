"""Owners without a login, whom a command makes, and their API keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.people import ALL_SCOPES, Scope
from core.db.ids import new_id
from core.db.repositories.events import prepared
from core.db.repositories.keys import KeyRepository
from core.db.tokens import hash_token


@dataclass(frozen=True)
class Owner:
    """Who a request speaks for."""

    id: str
    name: str


class OwnerRepository:
    """Makes owners and keys for whoever runs the deployment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, name: str) -> Owner:
        """A new owner, with neither email nor password."""
        owner = Owner(new_id(), name)
        await self._connection.execute(
            prepared("INSERT INTO owners (id, name) VALUES (:id, :name)"), {"id": owner.id, "name": name}
        )
        return owner

    async def by_name(self, name: str) -> Owner | None:
        """The first owner of that name who has no login: anybody may register under any name."""
        row = (
            await self._connection.execute(
                prepared(
                    "SELECT id, name FROM owners WHERE name = :name AND email_key IS NULL AND erasing_at IS NULL "
                    "ORDER BY id LIMIT 1"
                ),
                {"name": name},
            )
        ).first()
        return None if row is None else Owner(str(row.id), row.name)

    async def create_key(
        self,
        owner_id: str,
        name: str,
        scopes: Iterable[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
    ) -> str:
        """A new key of an owner. The token is returned here and never again. `NOT_FOUND` for an unknown owner."""
        _, token = await KeyRepository(self._connection, owner_id).create(name, scopes=scopes, expires_at=expires_at)
        return token

    async def revoke_key(self, token: str) -> bool:
        """End a key. False when there is no such key."""
        result = await self._connection.execute(
            prepared("UPDATE api_keys SET revoked_at = now() WHERE token_sha256 = :token AND revoked_at IS NULL"),
            {"token": hash_token(token)},
        )
        return bool(result.rowcount == 1)
