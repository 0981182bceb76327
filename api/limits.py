"""How often users and addresses may ask for what costs us something. Postgres counts, so all processes count as one."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from api.origin import Network, Origin, origin_of, subject_of
from core.contracts.errors import AtelierError, ErrorType
from core.db.engine import Database
from core.db.repositories.identities import Caller
from core.db.repositories.limits import Allowance, LimitRepository, Taken
from core.settings import Settings

MINUTE, HOUR = 60, 3600
EVERYBODY = "everybody"
Errand = Callable[[Coroutine[Any, Any, None]], None]
"""Does something beside the requests."""
GiveBack = Callable[[], None]
_SAID = {
    "submissions": "You have started as many jobs as one user may in an hour.",
    "all_submissions": "As many jobs were started as this deployment takes in an hour.",
    "anonymous": "Too many requests without valid credentials came from your address.",
    "logins": "Too many logins were tried from your address.",
    "account_logins": "Too many logins with this email failed.",
}

log = structlog.get_logger()


class Limiter:
    """Takes of the allowances that the settings and the admins give."""

    def __init__(self, settings: Settings, database: Database, trusted: Sequence[Network]) -> None:
        self._settings = settings
        self._database = database
        self._trusted = trusted
        self._giving_back = asyncio.Lock()

    @property
    def on(self) -> bool:
        """Whether anything is limited."""
        return self._settings.limits

    def jobs_at_once(self, caller: Caller) -> int | None:
        """How many jobs of an owner may run at once: what an admin said, or the setting. None is any number."""
        if not self.on:
            return None
        return self._settings.limit_jobs_at_once if caller.jobs_at_once is None else caller.jobs_at_once

    def origin(self, request: Request) -> Origin:
        """Where a request comes from."""
        return origin_of(request, self._trusted)

    async def anonymous(self, request: Request) -> None:
        """Count a request that carries no valid credentials. Raises `TOO_MANY_REQUESTS`."""
        subject = subject_of(self.origin(request).ip)
        await self._take(request, [Allowance("anonymous", subject, self._settings.limit_anonymous_per_minute, MINUTE)])

    async def login(self, request: Request, email_key: str) -> None:
        """Count a login or a registration before anything is looked up or hashed. Raises `TOO_MANY_REQUESTS`.

        Of an email only failed logins count (`login_failed`): this looks whether one more is allowed.
        """
        subject = subject_of(self.origin(request).ip)
        of_address = Allowance("logins", subject, self._settings.limit_logins_per_minute, MINUTE)
        await self._take(request, [of_address, replace(self._of_email(email_key), counted=False)])

    async def login_failed(self, request: Request, email_key: str) -> None:
        """Count a login that failed, whether there is such an account or not."""
        if self.on:
            async with self._database.statement() as connection:
                await LimitRepository(connection).take([self._of_email(email_key)])

    @asynccontextmanager
    async def submission(
        self, request: Request, caller: Caller, connection: AsyncConnection, later: Errand
    ) -> AsyncIterator[GiveBack]:
        """Within, something is submitted that starts model calls, and that was counted: what fails did not start any,
        and is given back, `later`. So can be what turns out to have been submitted before.

        The connection has no transaction, as what is counted stays locked until it ends; and it is the request's own,
        as of many at once each would wait for another that the next one holds. Raises `TOO_MANY_REQUESTS`.
        """
        if not self.on:
            yield _nothing
            return
        settings = self._settings
        own = caller.submissions_per_hour
        allowances = [
            Allowance("submissions", caller.id, settings.limit_submissions_per_hour if own is None else own, HOUR),
            Allowance("all_submissions", EVERYBODY, settings.limit_all_submissions_per_hour, HOUR),
        ]
        _judge(request, await LimitRepository(connection).take(allowances))
        taken_at = time.monotonic()

        def give_back() -> None:
            later(self._give_back(allowances, taken_at))

        try:
            yield give_back
        except BaseException as error:
            # What was said to a workflow that did not answer may still take effect.
            if not isinstance(error, AtelierError) or error.type is not ErrorType.TEMPORAL_UNAVAILABLE:
                give_back()
            raise

    async def _give_back(self, allowances: Sequence[Allowance], taken_at: float) -> None:
        try:
            # Nobody waits for it: one after the other, so that a crowd's take no connections from the requests.
            async with self._giving_back, self._database.statement() as connection:
                await LimitRepository(connection).give_back(allowances, time.monotonic() - taken_at)
        except AtelierError as error:
            log.info("limits.not_given_back", reason=error.message)

    def _of_email(self, email_key: str) -> Allowance:
        # Hashed: the table of limits is no list of who tried to log in.
        subject = hashlib.sha256(email_key.encode()).hexdigest()
        return Allowance("account_logins", subject, self._settings.limit_account_logins_per_hour, HOUR)

    async def _take(self, request: Request, allowances: Sequence[Allowance]) -> None:
        if not self.on:
            return
        async with self._database.statement() as connection:
            taken = await LimitRepository(connection).take(allowances)
        _judge(request, taken)


def _judge(request: Request, taken: Sequence[Taken]) -> None:
    """Tell how the allowances stand, in the headers of the answer. Raises `TOO_MANY_REQUESTS` when one refused."""
    last = taken[-1]
    # What everybody has together is nobody's business until it is used up. Beside a Retry-After no window may be told
    # that ends later.
    shown = [last] if last.retry_seconds else [one for one in taken if one.allowance.subject != EVERYBODY]
    request.scope.setdefault("state", {}).setdefault("headers", {}).update(rate_headers(shown))
    if last.retry_seconds:
        wait = math.ceil(last.retry_seconds)
        limit = last.allowance
        raise AtelierError(
            ErrorType.TOO_MANY_REQUESTS,
            f"{_SAID[limit.name]} Try again in {_spoken(wait)}.",
            details={"limit": limit.name, "quota": limit.quota, "seconds": limit.seconds},
            retry_after=timedelta(seconds=wait),
        )


def rate_headers(taken: Sequence[Taken]) -> dict[str, str]:
    """RateLimit and RateLimit-Policy of an answer (draft-ietf-httpapi-ratelimit-headers-11).

    `t`: so long no more than the `r` that is left can be used: until the window ends, or one more is let through.
    """
    policies = [f'"{one.allowance.name}";q={one.allowance.quota};w={one.allowance.seconds}' for one in taken]
    states = [
        f'"{one.allowance.name}";r={one.remaining};t={math.ceil(one.retry_seconds or one.reset_seconds)}'
        for one in taken
    ]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _nothing() -> None:
    """There is nothing to give back."""


def _spoken(seconds: int) -> str:
    if seconds == 1:
        return "a second"
    return f"{seconds} seconds" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
