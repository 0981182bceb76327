"""How often users and addresses may ask for what costs us something. Postgres counts, so all processes count as one."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from api.origin import Network, Origin, origin_of, subject_of
from api.turns import Turns
from core.contracts.errors import AtelierError, ErrorType
from core.db.engine import Database
from core.db.repositories.identities import Caller
from core.db.repositories.limits import Allowance, LimitRepository, Taken
from core.settings import Settings

MINUTE, HOUR = 60, 3600
EVERYBODY = "everybody"
ALL_NETWORKS = 10
"""How many times as many logins of an email may fail from everywhere as from one network: nobody is shut out by a few
strangers, and many of them have as few guesses as makes no difference."""
REFUSED_LIMIT = 10_000
"""Addresses that a process remembers to be refused."""
REFUSED_PAUSE_SECONDS = 0.02
"""An address that is refused gets its refusals one by one, so far apart: else they would be all that a process does."""
Errand = Callable[[Coroutine[Any, Any, None]], None]
"""Does something beside the requests."""
GiveBack = Callable[[], None]
_SAID = {
    "submissions": "You have started as many jobs as one user may in an hour.",
    "all_submissions": "As many jobs were started as this deployment takes in an hour.",
    "anonymous": "Too many requests without valid credentials came from your address.",
    "logins": "Too many logins were tried from your address.",
    "account_logins": "Too many logins with this email failed from your network.",
    "all_account_logins": "Too many logins with this email failed.",
    "confirmations": "The password of this account was asked for too often.",
    "wrong_confirmations": "Too many wrong passwords were given for this account.",
    "deliveries": "You have had as many webhooks tested and deliveries repeated as one user may in an hour.",
}

log = structlog.get_logger()


class Refusals:
    """Addresses that were refused, and until when: to refuse them again needs no look into the database."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def add(self, taken: Taken) -> None:
        """Remember one."""
        now = time.monotonic()
        if len(self._until) >= REFUSED_LIMIT:
            self._until = {subject: until for subject, until in self._until.items() if until > now}
        if len(self._until) < REFUSED_LIMIT:
            self._until[taken.allowance.name, taken.allowance.subject] = now + taken.retry_seconds

    def of(self, allowance: Allowance) -> Taken | None:
        """How it is refused; None when it is not known to be."""
        left = self._until.get((allowance.name, allowance.subject), 0) - time.monotonic()
        return Taken(allowance, 0, left, left) if left > 0 else None


class Limiter:
    """Takes of the allowances that the settings and the admins give."""

    def __init__(self, settings: Settings, database: Database, trusted: Sequence[Network], turns: Turns) -> None:
        self._settings = settings
        self._database = database
        self._trusted = trusted
        self._turns = turns
        self._refusals = Refusals()
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

    def subject(self, request: Request) -> str:
        """What the address of a request is counted as."""
        return subject_of(self.origin(request).ip)

    def line(self, request: Request) -> AbstractAsyncContextManager[None]:
        """Within, it is the turn of a stranger of this address: one at a time."""
        return self._turns.of(f"address {self.subject(request)}", places=1)

    def turn(self, request: Request) -> AbstractAsyncContextManager[None]:
        """Within, one of the turns of this address is taken, of which it has as many as an owner: for those who were
        counted, and bring something."""
        return self._turns.of(self.subject(request))

    async def anonymous(self, request: Request) -> None:
        """Count a request that carries no valid credentials. Raises `TOO_MANY_REQUESTS`."""
        await self._take_of_address(request, "anonymous", self._settings.limit_anonymous_per_minute)

    async def registration(self, request: Request) -> None:
        """Count a registration before anything is looked up or hashed. Raises `TOO_MANY_REQUESTS`."""
        await self._take_of_address(request, "logins", self._settings.limit_logins_per_minute)

    @asynccontextmanager
    async def login(self, request: Request, email_key: str, later: Errand) -> AsyncIterator[None]:
        """Within, a login is tried, whether there is such an account or not: it was counted as one that fails, and is
        given back, `later`, unless it does (`WRONG_CREDENTIALS`). Raises `TOO_MANY_REQUESTS`."""
        hourly = self._settings.limit_account_logins_per_hour
        # Hashed: the table of limits is no list of who tried to log in.
        here, anywhere = _hashed(email_key, self.subject(request)), _hashed(email_key)
        of_email = [
            Allowance("account_logins", here, hourly, HOUR),
            Allowance("all_account_logins", anywhere, ALL_NETWORKS * hourly, HOUR),
        ]
        await self._take_of_address(request, "logins", self._settings.limit_logins_per_minute, of_email)
        async with self._unless_wrong(of_email, later):
            yield

    @asynccontextmanager
    async def confirmation(self, request: Request, caller: Caller, later: Errand) -> AsyncIterator[None]:
        """Within, the password of somebody who is logged in is looked at; as `login`, but strangers cannot use it up.

        To be called by who holds no connection. Raises `TOO_MANY_REQUESTS`.
        """
        wrong = Allowance("wrong_confirmations", caller.id, self._settings.limit_account_logins_per_hour, HOUR)
        if self.on:
            asked = Allowance("confirmations", caller.id, self._settings.limit_logins_per_minute, MINUTE)
            async with self._turns.of(caller.id), self._database.statement() as connection:
                taken = await LimitRepository(connection).take([asked, wrong])
            _judge(request, taken)
        async with self._unless_wrong([wrong], later):
            yield

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
        except Exception as error:
            # What was said to a workflow that did not answer may still take effect; and of what was broken off, because
            # it took too long, nobody can say how far it came.
            if not isinstance(error, AtelierError) or error.type is not ErrorType.TEMPORAL_UNAVAILABLE:
                give_back()
            raise

    async def delivery(self, request: Request, caller: Caller, connection: AsyncConnection) -> None:
        """Count that a user has something posted to a receiver: what they say it is may be anybody's server.

        On a connection as `submission` has it. Raises `TOO_MANY_REQUESTS`.
        """
        if self.on:
            allowance = Allowance("deliveries", caller.id, self._settings.limit_deliveries_per_hour, HOUR)
            _judge(request, await LimitRepository(connection).take([allowance]))

    @asynccontextmanager
    async def _unless_wrong(self, allowances: Sequence[Allowance], later: Errand) -> AsyncIterator[None]:
        """Within, a password is looked at. What was counted stays so only when it is wrong, or nobody can say."""
        taken_at = time.monotonic()
        try:
            yield
        except AtelierError as error:
            if self.on and error.type is not ErrorType.WRONG_CREDENTIALS:
                later(self._give_back(allowances, taken_at))
            raise
        if self.on:
            later(self._give_back(allowances, taken_at))

    async def _give_back(self, allowances: Sequence[Allowance], taken_at: float) -> None:
        try:
            # Nobody waits for it: one after the other, so that a crowd's take no connections from the requests.
            async with self._giving_back, self._database.statement() as connection:
                await LimitRepository(connection).give_back(allowances, time.monotonic() - taken_at)
        except AtelierError as error:
            log.info("limits.not_given_back", reason=error.message)

    async def _take_of_address(self, request: Request, name: str, quota: int, more: Sequence[Allowance] = ()) -> None:
        """Take of what an address has a minute, and of `more`. Raises `TOO_MANY_REQUESTS`."""
        if not self.on:
            return
        of_address = Allowance(name, self.subject(request), quota, MINUTE)
        async with self.line(request):
            # Here, not before: those who wait in the line learn of the refusal of the one before them.
            refused = self._refusals.of(of_address)
            if refused is not None:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
                taken = [refused]
            else:
                async with self._database.statement() as connection:
                    taken = await LimitRepository(connection).take([of_address, *more])
                if taken[-1].retry_seconds and taken[-1].allowance is of_address:
                    self._refusals.add(taken[-1])
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


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _nothing() -> None:
    """There is nothing to give back."""


def _spoken(seconds: int) -> str:
    if seconds == 1:
        return "a second"
    return f"{seconds} seconds" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
