"""Who a request speaks for: the owner of a key, or of a login."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.people import ALL_SCOPES, Role, Scope, Via
from core.db.repositories.events import prepared
from core.db.tokens import hash_token

TOUCHED_SECONDS = 60
"""How exact `last_used_at` of a key and `used_at` of a login are: writing it with every request would cost each one."""


@dataclass(frozen=True)
class Caller:
    """An owner, and what this request may do in their name."""

    id: str
    name: str
    role: Role
    scopes: frozenset[Scope]
    via: Via
    via_id: str
    """Of the key or the login."""
    has_password: bool
    """Whether the owner can log in at all. One that a command made has keys only."""
    submissions_per_hour: int | None = None
    """What an admin allowed this owner; None is the setting."""
    jobs_at_once: int | None = None
    untouched: bool = False
    """When it was used last is to be written."""


_OWNER = """
    o.id, o.name, o.role, o.password_hash IS NOT NULL AS has_password, o.submissions_per_hour, o.jobs_at_once
"""
_BY_KEY = f"""
    SELECT {_OWNER}, k.id AS via_id, k.scopes,
           k.last_used_at IS NULL OR k.last_used_at < now() - make_interval(secs => {TOUCHED_SECONDS}) AS untouched
    FROM api_keys k JOIN owners o ON o.id = k.owner_id
    WHERE k.token_sha256 = :token AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
      AND o.erasing_at IS NULL
"""
_BY_LOGIN = f"""
    SELECT {_OWNER}, s.id AS via_id, s.used_at < now() - make_interval(secs => {TOUCHED_SECONDS}) AS untouched
    FROM sessions s JOIN owners o ON o.id = s.owner_id
    WHERE s.id = :session_id AND s.owner_id = :owner_id AND s.ended_at IS NULL AND o.erasing_at IS NULL
"""


class IdentityRepository:
    """Finds who a token belongs to, in one statement."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def by_key(self, token: str) -> Caller | None:
        """The owner of a key that is neither revoked nor expired."""
        row = (await self._connection.execute(prepared(_BY_KEY), {"token": hash_token(token)})).first()
        return None if row is None else _caller(row, Via.KEY, frozenset(Scope(scope) for scope in row.scopes))

    async def by_login(self, owner_id: str, session_id: str) -> Caller | None:
        """The owner of a login that has not ended."""
        values = {"owner_id": owner_id, "session_id": session_id}
        row = (await self._connection.execute(prepared(_BY_LOGIN), values)).first()
        return None if row is None else _caller(row, Via.LOGIN, ALL_SCOPES)

    async def touch(self, caller: Caller) -> None:
        """Note that a key or a login was used now."""
        table, column = ("api_keys", "last_used_at") if caller.via is Via.KEY else ("sessions", "used_at")
        await self._connection.execute(
            prepared(f"UPDATE {table} SET {column} = now() WHERE id = :id"), {"id": caller.via_id}
        )


def _caller(row: Row[Any], via: Via, scopes: frozenset[Scope]) -> Caller:
    return Caller(
        id=str(row.id),
        name=row.name,
        role=Role(row.role),
        scopes=scopes,
        via=via,
        via_id=str(row.via_id),
        has_password=row.has_password,
        submissions_per_hour=row.submissions_per_hour,
        jobs_at_once=row.jobs_at_once,
        untouched=row.untouched,
    )
