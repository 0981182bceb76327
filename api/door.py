"""Who is at the door: a request's credentials are looked at before anything else of it, such as its body, is read.

Strangers must not keep those waiting who are known here. So whatever was not found good lately is looked up in a line
of its address's own, one at a time; a made-up key is no name of a line.
"""

from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from api.errors import ProblemError
from api.limits import Limiter
from api.tokens import Claims, InvalidTokenError, TokenSigner
from api.turns import Turns
from core.contracts.errors import ErrorType
from core.db.engine import Database
from core.db.repositories.identities import Caller, IdentityRepository
from core.db.tokens import KEY_PREFIX, hash_token

TOKEN_LIMIT = 1_000
KNOWN_LIMIT = 10_000
"""Keys and logins that a process remembers to have found good: some MB."""

Credentials = str | Claims
"""A key, or what an access token claims."""


@dataclass(frozen=True)
class Known:
    """Credentials that were good a moment ago, and whose they are. Whether they still are, each session sees."""

    credentials: Credentials
    owner_id: str
    """In whose turns the request is worked on."""


class Door:
    """Lets known credentials pass at no cost, and looks up others."""

    def __init__(self, tokens: TokenSigner, database: Database, turns: Turns, limiter: Limiter) -> None:
        self._tokens = tokens
        self._database = database
        self._turns = turns
        self._limiter = limiter
        self._known: OrderedDict[str, str] = OrderedDict()

    async def admit(self, request: Request) -> Known:
        """Whose a request is. Raises `UNAUTHENTICATED`, or `TOO_MANY_REQUESTS` when too many such came from the same
        address."""
        try:
            credentials = _read(request, self._tokens)
        except ProblemError:
            await self._limiter.anonymous(request)
            raise
        owner_id = self._remembered(credentials)
        if owner_id is None:
            async with self.line(request):
                # Of many at once with the same key the first has looked it up.
                owner_id = self._remembered(credentials) or await self._look_up(credentials)
        if owner_id is None:
            await self._limiter.anonymous(request)
            raise not_valid()
        return Known(credentials, owner_id)

    def line(self, request: Request) -> AbstractAsyncContextManager[None]:
        """Within, it is the turn of this address to have looked up what it shows: one at a time."""
        return self._turns.of(f"credentials {self._limiter.subject(request)}", places=1)

    def forget(self, known: Known) -> None:
        """They are not good any more."""
        self._known.pop(_name(known.credentials), None)

    def _remembered(self, credentials: Credentials) -> str | None:
        name = _name(credentials)
        owner_id = self._known.get(name)
        if owner_id is not None:
            self._known.move_to_end(name)
        return owner_id

    async def _look_up(self, credentials: Credentials) -> str | None:
        async with self._database.statement() as connection:
            caller = await identify(connection, credentials)
        if caller is None:
            return None
        self._known[_name(credentials)] = caller.id
        if len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)
        return caller.id


async def identify(connection: AsyncConnection, credentials: Credentials) -> Caller | None:
    """Who a key or an access token speaks for; None when it is revoked, expired, or its login has ended."""
    identities = IdentityRepository(connection)
    if isinstance(credentials, str):
        return await identities.by_key(credentials)
    return await identities.by_login(credentials.owner_id, credentials.session_id)


def unauthenticated(message: str, *, given: bool) -> ProblemError:
    """A 401 as RFC 6750 wants it."""
    challenge = 'Bearer realm="atelier"' + (', error="invalid_token"' if given else "")
    return ProblemError(ErrorType.UNAUTHENTICATED, message, headers={"WWW-Authenticate": challenge})


def not_valid() -> ProblemError:
    """The 401 of credentials that are good for nothing."""
    return unauthenticated("The key or token is not valid: it expired, was revoked, or its login ended.", given=True)


def _read(request: Request, tokens: TokenSigner) -> Credentials:
    """The key of the Authorization header, or what its access token claims. Raises `UNAUTHENTICATED`."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        # A proxy may have looked at the other one.
        raise unauthenticated("There are several Authorization headers: send one.", given=True)
    scheme, _, token = "".join(given).partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("Send an API key or an access token: `Authorization: Bearer <key>`.", given=False)
    if len(token) > TOKEN_LIMIT:
        raise not_valid()
    if token.startswith(KEY_PREFIX):
        return token
    try:
        return tokens.read(token)
    except InvalidTokenError:
        raise not_valid() from None


def _name(credentials: Credentials) -> str:
    """What they are remembered by: no process keeps keys."""
    return hash_token(credentials) if isinstance(credentials, str) else f"login {credentials.session_id}"
