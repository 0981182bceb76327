"""The API keys of an owner."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import ALL_SCOPES, Scope
from core.db.ids import new_id
from core.db.repositories.events import prepared
from core.db.tokens import KEY_PREFIX, hash_token, new_token


@dataclass(frozen=True)
class KeyRecord:
    """A key, without the key itself: only its hash is stored. `last_used_at` is exact to a minute."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_COLUMNS = "id, name, scopes, created_at, expires_at, last_used_at, revoked_at"
_CREATE = f"""
    INSERT INTO api_keys (id, owner_id, name, token_sha256, scopes, expires_at)
    SELECT :id, :owner_id, :name, :token, CAST(:scopes AS text[]), CAST(:expires_at AS timestamptz)
    WHERE CAST(:at_most AS int) IS NULL OR :at_most > (
        SELECT count(*) FROM api_keys
        WHERE owner_id = :owner_id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    )
    RETURNING {_COLUMNS}
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE owner_id = :owner_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
"""


class KeyRepository:
    """Makes, lists and revokes the keys of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
        at_most: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key and its token, which is returned here and never again.

        Raises `TOO_MANY_KEYS` when the owner has `at_most` live ones, and `NOT_FOUND` for an owner who is not there.
        """
        # Under the owner's lock, or two at once would both find room for one.
        owner = await self._connection.execute(
            prepared("SELECT 1 FROM owners WHERE id = :owner_id FOR NO KEY UPDATE"), {"owner_id": self._owner_id}
        )
        if owner.first() is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no owner {self._owner_id}.")
        token = new_token(KEY_PREFIX)
        row = (
            await self._connection.execute(
                prepared(_CREATE),
                {
                    "id": new_id(),
                    "owner_id": self._owner_id,
                    "name": name,
                    "token": hash_token(token),
                    "scopes": sorted(scope.value for scope in scopes),
                    "expires_at": expires_at,
                    "at_most": at_most,
                },
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.TOO_MANY_KEYS,
                f"There are {at_most} keys, as many as an account may have. Revoke one first.",
                details={"limit": at_most},
            )
        return _record(row), token

    async def page(self, *, before: str | None, limit: int) -> list[KeyRecord]:
        """A page, the newest first, before the key `before`. Those that were revoked are among them."""
        rows = await self._connection.execute(
            prepared(_PAGE), {"owner_id": self._owner_id, "before": before, "limit": limit}
        )
        return [_record(row) for row in rows]

    async def revoke(self, key_id: str) -> None:
        """End a key; one that was revoked stays as it is. Raises `NOT_FOUND` for one that is not the owner's."""
        revoked = await self._connection.execute(
            prepared(
                "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id AND owner_id = :owner_id"
            ),
            {"id": key_id, "owner_id": self._owner_id},
        )
        if revoked.rowcount == 0:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no key {key_id}.", details={"key_id": key_id})


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=str(row.id),
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
