"""The standing webhooks of an owner, and the secrets that sign what is delivered."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.webhooks import HookEvent
from core.db.ids import new_id
from core.db.repositories.events import prepared
from core.db.repositories.outbox import NEW_ID, WAKE, instant

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
BOTH_VALID = timedelta(days=1)
"""How long the secret before a rotation signs too."""


@dataclass(frozen=True)
class HookRecord:
    """A standing webhook, without its secret."""

    id: str
    url: str
    events: tuple[HookEvent, ...]
    description: str
    active: bool
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_because: str | None
    previous_secret_until: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class SecretRecord:
    """A secret, and until when the one before it signs too."""

    secret: str
    previous_until: datetime | None


_COLUMNS = """id, url, events, description, active, failing_since, disabled_at, disabled_because, created_at,
    CASE WHEN previous_until > now() THEN previous_until END AS previous_secret_until"""
_CREATE = f"""
    INSERT INTO webhooks (id, owner_id, url, events, description, active, secret)
    SELECT :id, :owner_id, :url, :events, :description, :active, :secret
    WHERE CAST(:at_most AS int) > (SELECT count(*) FROM webhooks WHERE owner_id = :owner_id)
    RETURNING {_COLUMNS}
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM webhooks
    WHERE owner_id = :owner_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
"""
# Switching it on takes back what we did to it: its owner says that it works.
_CHANGE = f"""
    UPDATE webhooks SET url = COALESCE(:url, url), events = COALESCE(:events, events),
        description = COALESCE(:description, description), active = COALESCE(:active, active),
        failing_since = CASE WHEN :active THEN NULL ELSE failing_since END,
        disabled_at = CASE WHEN :active THEN NULL ELSE disabled_at END,
        disabled_because = CASE WHEN :active THEN NULL ELSE disabled_because END
    WHERE id = :id AND owner_id = :owner_id RETURNING {_COLUMNS}
"""
_SIGNS = "secret, CASE WHEN previous_until > now() THEN previous_until END AS previous_until"
_ROTATED = """secret = :secret, previous_secret = secret, previous_until = now() + CAST(:both AS interval)"""
_TEST = f"""
    WITH told AS (
        INSERT INTO deliveries (id, owner_id, hook_id, type, url, payload)
        SELECT {NEW_ID}, owner_id, id, '{HookEvent.TEST}', url,
               jsonb_build_object('type', '{HookEvent.TEST}', 'timestamp', {instant("clock_timestamp()")},
                                  'data', jsonb_build_object('hook', jsonb_build_object('id', id)))
        FROM webhooks WHERE id = :id AND owner_id = :owner_id FOR KEY SHARE
        RETURNING id
    )
    SELECT id, {WAKE} FROM told
"""


def new_secret() -> str:
    """A fresh secret, as Standard Webhooks spells it: 24 to 64 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class WebhookRepository:
    """Makes, lists, changes and tests the webhooks of one owner."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def create(
        self, url: str, events: Sequence[HookEvent], *, description: str, active: bool, at_most: int
    ) -> tuple[HookRecord, str]:
        """A new one and its secret, which is returned here and never again. Raises `TOO_MANY_HOOKS`."""
        # Under the owner's lock, or two at once would both find room for one.
        await self._run("SELECT 1 FROM owners WHERE id = :owner_id FOR NO KEY UPDATE")
        secret = new_secret()
        row = (
            await self._run(
                _CREATE,
                id=new_id(),
                url=url,
                events=_names(events),
                description=description,
                active=active,
                secret=secret,
                at_most=at_most,
            )
        ).first()
        if row is None:
            raise AtelierError(
                ErrorType.TOO_MANY_HOOKS,
                f"There are {at_most} webhooks, as many as an account may have. Delete one first.",
                details={"limit": at_most},
            )
        return _record(row), secret

    async def page(self, *, before: str | None, limit: int) -> list[HookRecord]:
        """A page, the newest first, before the webhook `before`."""
        return [_record(row) for row in await self._run(_PAGE, before=before, limit=limit)]

    async def get(self, hook_id: str) -> HookRecord:
        """One of them. Raises `NOT_FOUND`."""
        row = (
            await self._run(f"SELECT {_COLUMNS} FROM webhooks WHERE id = :id AND owner_id = :owner_id", id=hook_id)
        ).first()
        return _record(_found(row, hook_id))

    async def change(
        self,
        hook_id: str,
        *,
        url: str | None,
        events: Sequence[HookEvent] | None,
        description: str | None,
        active: bool | None,
    ) -> HookRecord:
        """Change what is not None; `active` also switches one on again that was disabled. Raises `NOT_FOUND`."""
        row = (
            await self._run(
                _CHANGE,
                id=hook_id,
                url=url,
                events=None if events is None else _names(events),
                description=description,
                active=active,
            )
        ).first()
        return _record(_found(row, hook_id))

    async def remove(self, hook_id: str) -> None:
        """Delete one with its deliveries. Raises `NOT_FOUND`."""
        # First these, as whoever notes a try locks the delivery before its webhook.
        await self._run("DELETE FROM deliveries WHERE hook_id = :id AND owner_id = :owner_id", id=hook_id)
        row = await self._run("DELETE FROM webhooks WHERE id = :id AND owner_id = :owner_id RETURNING id", id=hook_id)
        _found(row.first(), hook_id)

    async def rotate(self, hook_id: str) -> tuple[HookRecord, str]:
        """A new secret, returned here and never again; the one before signs too for a day. Raises `NOT_FOUND`."""
        secret = new_secret()
        row = (
            await self._run(
                f"UPDATE webhooks SET {_ROTATED} WHERE id = :id AND owner_id = :owner_id RETURNING {_COLUMNS}",
                id=hook_id,
                secret=secret,
                both=BOTH_VALID,
            )
        ).first()
        return _record(_found(row, hook_id)), secret

    async def test(self, hook_id: str) -> str:
        """Have a test delivered, also to one that is not active. The delivery's id. Raises `NOT_FOUND`."""
        return str(_found((await self._run(_TEST, id=hook_id)).first(), hook_id).id)

    async def signing_secret(self) -> SecretRecord:
        """What signs deliveries to the `webhook_url` of jobs; made when it is first asked for."""
        row = (
            await self._run(
                "INSERT INTO signing_secrets AS s (owner_id, secret) VALUES (:owner_id, :secret) "
                f"ON CONFLICT (owner_id) DO UPDATE SET secret = s.secret RETURNING {_SIGNS}",
                secret=new_secret(),
            )
        ).one()
        return SecretRecord(row.secret, row.previous_until)

    async def rotate_signing_secret(self) -> SecretRecord:
        """Another one; the one before signs too for a day."""
        await self.signing_secret()
        row = (
            await self._run(
                f"UPDATE signing_secrets SET {_ROTATED} WHERE owner_id = :owner_id RETURNING {_SIGNS}",
                secret=new_secret(),
                both=BOTH_VALID,
            )
        ).one()
        return SecretRecord(row.secret, row.previous_until)

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), {"owner_id": self._owner_id, **values})


def _names(events: Sequence[HookEvent]) -> list[str]:
    return sorted({event.value for event in events})


def _found(row: Row[Any] | None, hook_id: str) -> Row[Any]:
    if row is None:
        raise no_hook(hook_id)
    return row


def no_hook(hook_id: str) -> AtelierError:
    """What is answered for a webhook that is not there, or another's."""
    return AtelierError(ErrorType.NOT_FOUND, f"There is no webhook {hook_id}.", details={"hook_id": hook_id})


def _record(row: Row[Any]) -> HookRecord:
    return HookRecord(
        id=str(row.id),
        url=row.url,
        events=tuple(HookEvent(event) for event in row.events),
        description=row.description,
        active=row.active,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        disabled_because=row.disabled_because,
        previous_secret_until=row.previous_secret_until,
        created_at=row.created_at,
    )
