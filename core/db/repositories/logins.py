"""Logins: each is a family of refresh tokens, of which one is good at a time. All times are the database's."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.db.ids import new_id
from core.db.repositories.events import prepared
from core.db.tokens import REFRESH_PREFIX, hash_token, new_token


class LoginEnd(StrEnum):
    """Why a login ended."""

    LOGOUT = "logout"
    REUSE = "reuse"
    """One of its refresh tokens was used twice: somebody else has it."""
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - no password
    ENDED = "ended"
    """By its owner, from another login."""


class Refusal(StrEnum):
    """Why a refresh token is not taken."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REUSED = "reused"
    """Just now: it ended the login."""
    ENDED = "ended"
    """The login had ended before."""


@dataclass(frozen=True)
class Login:
    """Whose login it is."""

    id: str
    owner_id: str


@dataclass(frozen=True)
class Refreshed:
    """What came of a refresh token: the next one, or why there is none."""

    login: Login | None = None
    token: str = ""
    refusal: Refusal | None = None
    ended_because: str | None = None


@dataclass(frozen=True)
class LoginRecord:
    """A login as its owner sees it. `used_at` is exact to a minute."""

    id: str
    ip: str | None
    user_agent: str | None
    created_at: datetime
    used_at: datetime
    expires_at: datetime


_LATER = "now() + make_interval(secs => :seconds)"
# The share lock makes a change of the password wait, or waits for it and then finds another hash: no login with the
# old password outlives the change.
_BEGIN = f"""
    WITH owner AS (
        SELECT id FROM owners WHERE id = :owner_id AND password_hash = :password_hash AND erasing_at IS NULL FOR SHARE
    ), login AS (
        INSERT INTO sessions (id, owner_id, ip, user_agent) SELECT :id, id, :ip, :user_agent FROM owner RETURNING id
    )
    INSERT INTO refresh_tokens (token_sha256, session_id, expires_at) SELECT :token, id, {_LATER} FROM login
"""
# Both rows are locked, and read as they are once the lock is held: of two at once the second finds the token used.
_FIND = """
    SELECT t.used_at IS NOT NULL AS used, t.expires_at <= now() AS expired, s.id, s.owner_id, s.ended_because,
           s.ended_at IS NOT NULL OR o.erasing_at IS NOT NULL AS ended
    FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN owners o ON o.id = s.owner_id
    WHERE t.token_sha256 = :token FOR NO KEY UPDATE OF s, t
"""
_ROTATE = f"""
    WITH used AS (UPDATE refresh_tokens SET used_at = now() WHERE token_sha256 = :token),
         login AS (UPDATE sessions SET used_at = now() WHERE id = :id),
         expired AS (
             DELETE FROM refresh_tokens WHERE session_id = :id AND expires_at < now() AND token_sha256 <> :token
         )
    INSERT INTO refresh_tokens (token_sha256, session_id, expires_at) VALUES (:next, :id, {_LATER})
"""
_LOG_OUT = """
    UPDATE sessions SET ended_at = now(), ended_because = :because
    WHERE id = (SELECT session_id FROM refresh_tokens WHERE token_sha256 = :token) AND ended_at IS NULL
    RETURNING id, owner_id
"""
_LIVE = """
    SELECT s.id, s.ip, s.user_agent, s.created_at, s.used_at, max(t.expires_at) AS expires_at
    FROM sessions s JOIN refresh_tokens t ON t.session_id = s.id
    WHERE s.owner_id = :owner_id AND s.ended_at IS NULL AND (CAST(:before AS uuid) IS NULL OR s.id < :before)
    GROUP BY s.id HAVING max(t.expires_at) > now() ORDER BY s.id DESC LIMIT :limit
"""


class Logins:
    """All logins: begins them, and finds them by a refresh token."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def begin(
        self, owner_id: str, *, password_hash: str, ip: str, user_agent: str, life: timedelta
    ) -> tuple[Login, str] | None:
        """A new login and its first refresh token, which is returned here and never again.

        None when `password_hash` is not the owner's any more: the password was changed while it was verified.
        """
        login, token = Login(new_id(), owner_id), new_token(REFRESH_PREFIX)
        begun = await self._connection.execute(
            prepared(_BEGIN),
            {
                "id": login.id,
                "owner_id": owner_id,
                "password_hash": password_hash,
                "ip": ip,
                "user_agent": user_agent.replace("\x00", ""),
                "token": hash_token(token),
                "seconds": life.total_seconds(),
            },
        )
        return (login, token) if begun.rowcount == 1 else None

    async def refresh(self, token: str, life: timedelta) -> Refreshed:
        """Use a refresh token and make the next one. One that was used before ends its login, which is to be
        committed like a success."""
        row = (await self._connection.execute(prepared(_FIND), {"token": hash_token(token)})).first()
        if row is None:
            return Refreshed(refusal=Refusal.UNKNOWN)
        login = Login(str(row.id), str(row.owner_id))
        if row.ended:
            return Refreshed(login, refusal=Refusal.ENDED, ended_because=row.ended_because)
        if row.used:
            await self._connection.execute(
                prepared("UPDATE sessions SET ended_at = now(), ended_because = :because WHERE id = :id"),
                {"id": login.id, "because": LoginEnd.REUSE.value},
            )
            return Refreshed(login, refusal=Refusal.REUSED, ended_because=LoginEnd.REUSE.value)
        if row.expired:
            return Refreshed(login, refusal=Refusal.EXPIRED)
        following = new_token(REFRESH_PREFIX)
        await self._connection.execute(
            prepared(_ROTATE),
            {
                "id": login.id,
                "token": hash_token(token),
                "next": hash_token(following),
                "seconds": life.total_seconds(),
            },
        )
        return Refreshed(login, following)

    async def end(self, token: str) -> Login | None:
        """End the login that a refresh token belongs to. None when there is none, or it has ended."""
        row = (
            await self._connection.execute(
                prepared(_LOG_OUT), {"token": hash_token(token), "because": LoginEnd.LOGOUT.value}
            )
        ).first()
        return None if row is None else Login(str(row.id), str(row.owner_id))


class LoginRepository:
    """The logins of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def page(self, *, before: str | None, limit: int) -> list[LoginRecord]:
        """A page of those that have not ended, the newest first, before the login `before`."""
        rows = await self._connection.execute(
            prepared(_LIVE), {"owner_id": self._owner_id, "before": before, "limit": limit}
        )
        return [
            LoginRecord(str(row.id), row.ip, row.user_agent, row.created_at, row.used_at, row.expires_at)
            for row in rows
        ]

    async def end(self, login_id: str) -> None:
        """End a login; one that has ended stays as it is. Raises `NOT_FOUND` for one that is not the owner's."""
        ended = await self._connection.execute(
            prepared(
                "UPDATE sessions SET ended_at = coalesce(ended_at, now()), "
                "ended_because = coalesce(ended_because, :because) WHERE id = :id AND owner_id = :owner_id"
            ),
            {"id": login_id, "owner_id": self._owner_id, "because": LoginEnd.ENDED.value},
        )
        if ended.rowcount == 0:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no login {login_id}.", details={"login_id": login_id})

    async def end_all(self, because: LoginEnd) -> None:
        """End all that are live."""
        await self._connection.execute(
            prepared(
                "UPDATE sessions SET ended_at = now(), ended_because = :because "
                "WHERE owner_id = :owner_id AND ended_at IS NULL"
            ),
            {"owner_id": self._owner_id, "because": because.value},
        )

    async def drop_old(self, age: timedelta) -> None:
        """Forget the logins that nobody used for so long."""
        await self._connection.execute(
            prepared(
                "DELETE FROM sessions WHERE owner_id = :owner_id AND used_at < now() - make_interval(secs => :seconds)"
            ),
            {"owner_id": self._owner_id, "seconds": age.total_seconds()},
        )
