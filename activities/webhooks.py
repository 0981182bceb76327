"""Deliveries of webhooks: signed as Standard Webhooks says, and posted by the one fetcher."""

import base64
import hashlib
import hmac
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from core.contracts.base import implements
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.webhooks import Tried, TryDelivery, WebhookActivities
from core.db.engine import Database, patiently
from core.db.repositories.deliveries import DeliveryWorkRepository, DueDelivery, TryNote
from core.db.repositories.webhooks import SECRET_PREFIX, WebhookRepository
from core.web.fetcher import Fetcher

PATIENCE = timedelta(minutes=2)
"""How long what came of a try is held while the database is away: forgotten, it would be sent once more."""
GONE = 410
LONGEST_ASKED = timedelta(hours=1)
"""Of the time that a receiver asks to be left alone for."""
SPREAD = 0.2
"""Of a pause, at random: what waited together for a receiver does not come together when it is back."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Came:
    """What came of a post."""

    status: int | None = None
    ms: float | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    final: bool = False

    @property
    def told(self) -> dict[str, int | float | str | None]:
        """For the log that its owner reads."""
        return {"status": self.status, "ms": self.ms, "error": self.error}


class Webhooks(WebhookActivities):
    """Posts, and notes what came of it."""

    def __init__(self, database: Database, fetcher: Fetcher, *, disable_after: timedelta) -> None:
        """`disable_after`: a webhook is disabled when a delivery was given up and nothing got through for so long."""
        self._database = database
        self._fetcher = fetcher
        self._disable_after = disable_after

    @implements(WebhookActivities.deliver)
    async def deliver(self, request: TryDelivery) -> Tried:
        """Nothing is sent for a try that was noted, or a delivery that has ended."""
        async with self._database.transaction() as connection:
            due = await DeliveryWorkRepository(connection).due(request.delivery_id, request.round)
            if due is None:
                return Tried()
            if due.tried >= request.number:
                return Tried(again=due.until_next)
            secrets = due.secrets
            if not secrets:
                secrets = ((await WebhookRepository(connection, due.owner_id).signing_secret()).secret,)
        if due.stopped:
            came = _Came(error="The webhook is switched off, or was disabled, so this was not sent.", final=True)
        else:
            came = await self._post(request.delivery_id, due, secrets)
        note = TryNote(
            number=request.number,
            told=came.told,
            delivered=came.error is None,
            gone=came.status == GONE,
            counts=not due.stopped,
            pause=None if came.final or request.pause is None else _pause(request.pause, came),
        )
        disabled = await patiently(lambda: self._note(request, note), PATIENCE)
        log.info(
            "webhook.tried",
            delivery_id=request.delivery_id,
            number=request.number,
            status=came.status,
            delivered=note.delivered,
            error=came.error,
        )
        if disabled:
            log.warning("webhook.disabled", hook_id=due.hook_id, owner_id=due.owner_id, gone=note.gone)
        return Tried(again=None if note.delivered else note.pause)

    async def _note(self, request: TryDelivery, note: TryNote) -> bool:
        async with self._database.transaction() as connection:
            return await DeliveryWorkRepository(connection).note(
                request.delivery_id, request.round, note, self._disable_after
            )

    async def _post(self, delivery_id: str, due: DueDelivery, secrets: Iterable[str]) -> _Came:
        body = due.body.encode()
        headers = signed_headers(delivery_id, int(time.time()), body, secrets)
        try:
            posted = await self._fetcher.post(due.url, body, headers)
        except AtelierError as error:
            return _Came(error=error.message, final=error.type is ErrorType.URL_REFUSED)
        ms = round(posted.ms, 1)
        if 200 <= posted.status < 300:
            return _Came(posted.status, ms)
        why = f"The receiver answered with status {posted.status}."
        if 300 <= posted.status < 400:
            why = f"The receiver answered with a redirect ({posted.status}), which is not followed: give its own URL."
        return _Came(posted.status, ms, why, posted.retry_after, final=posted.status == GONE)


def _pause(pause: float, came: _Came) -> float:
    """Seconds until the next try: about as planned, or later if the receiver asks for it."""
    asked = min(came.retry_after or timedelta(0), LONGEST_ASKED)
    return max(pause * random.uniform(1 - SPREAD, 1), asked.total_seconds())


def signed_headers(delivery_id: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is valid."""
    content = b".".join((delivery_id.encode(), str(timestamp).encode(), body))
    signatures = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
        signatures.append("v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode())
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
