"""How people come in and go: registration, login, refresh, logout, and what needs their password again.

No connection is held while a password is hashed. Whether there is an account with an email is told by nothing but a
registration: a login does the same work and says the same, whatever is wrong with it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from fastapi import Request
from pydantic import SecretStr

from api.deps import Deps, Session
from api.door import unauthenticated
from api.errors import ProblemError
from api.passwords import refusal
from api.people_schemas import Registration
from api.requests import invalid
from api.tokens import AccessToken
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import Role, Via
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.accounts import AccountRecord, Accounts, Credentials, email_key, email_taken
from core.db.repositories.audit import Act, AuditLog
from core.db.repositories.logins import Login, LoginEnd, LoginRepository, Logins, Refreshed, Refusal

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="atelier"'}
_ENDED = {
    LoginEnd.LOGOUT: "it was logged out",
    LoginEnd.REUSE: "one of its refresh tokens was used twice, so somebody else may have it",
    LoginEnd.PASSWORD_CHANGED: "the password was changed",
    LoginEnd.ENDED: "it was ended from another login",
}

log = structlog.get_logger()


@dataclass(frozen=True)
class Tokens:
    """What a login gives."""

    access: AccessToken
    refresh: str
    refresh_expires_in: int
    """Seconds."""


async def register(deps: Deps, request: Request, given: Registration) -> AccountRecord:
    """A new account. Raises `REGISTRATION_CLOSED`, `INVALID_REQUEST` for a weak password, and `EMAIL_TAKEN`.

    Who fills in the field that people do not see is answered as if there were an account now.
    """
    if not deps.settings.registration_open:
        raise AtelierError(
            ErrorType.REGISTRATION_CLOSED, "Accounts are made by the admins of this deployment: ask one of them."
        )
    check_new_password(given.password, "password", email=given.email, name=given.name)
    await deps.limiter.registration(request)
    is_program = bool(given.website.strip())
    if not is_program:
        async with deps.limiter.line(request), deps.database.statement() as connection:
            if await Accounts(connection).is_taken(given.email):
                raise email_taken(given.email)
    hashed = await deps.passwords.hash(given.password)
    if is_program:
        log.info("auth.honeypot")
        return AccountRecord(new_id(), given.name, given.email, Role.USER, datetime.now(UTC))
    async with deps.database.transaction() as connection:
        account = await Accounts(connection).create(email=given.email, name=given.name, password_hash=hashed)
        await AuditLog(connection).add(_act(deps, request, "auth.register", account.id))
    return account


async def log_in(deps: Deps, request: Request, email: str, password: SecretStr) -> Tokens:
    """A new login. Raises `WRONG_CREDENTIALS`, and `TOO_MANY_REQUESTS`."""
    async with deps.limiter.login(request, email_key(email), deps.errands.run):
        async with deps.limiter.line(request), deps.database.statement() as connection:
            found = await Accounts(connection).credentials(email)
        stored = found.password_hash if found else None
        right = await deps.passwords.verify(stored, password)
        tokens = None
        if right and found is not None and stored is not None:
            tokens = await _begin(deps, request, found.owner_id, stored, password)
        if tokens is None:
            _tell_of_failure(deps, request, found)
            raise wrong_credentials("The email or the password is wrong.")
    return tokens


async def refresh(deps: Deps, request: Request, token: SecretStr) -> Tokens:
    """The next tokens of a login. Raises `UNAUTHENTICATED`; a token that was used before ends the login."""
    async with deps.limiter.turn(request), deps.database.transaction() as connection:
        found = await Logins(connection).refresh(token.get_secret_value(), _life(deps))
        if found.refusal is Refusal.REUSED and found.login is not None:
            act = _act(deps, request, "auth.refresh_reused", found.login.owner_id, found.login)
            await AuditLog(connection).add(act)
    # After the commit: that the login has ended must stay.
    if found.login is None or found.refusal is not None:
        raise unauthenticated(_refused(found), given=True)
    return _tokens(deps, found.login, found.token)


async def log_out(deps: Deps, request: Request, token: SecretStr) -> None:
    """End the login that a refresh token belongs to, if there is one."""
    async with deps.limiter.turn(request), deps.database.transaction() as connection:
        login = await Logins(connection).end(token.get_secret_value())
        if login is not None:
            await AuditLog(connection).add(_act(deps, request, "auth.logout", login.owner_id, login))


async def confirm(session: Session, password: SecretStr) -> Credentials:
    """See that whoever asks knows the account's password. What the session did before is committed.

    Raises `WRONG_CREDENTIALS`, `TOO_MANY_REQUESTS`, and what `Session.away` does.
    """
    deps = session.deps
    kept = await session.account.credentials()
    if kept.password_hash is None or kept.email is None:
        raise wrong_credentials("This account has no password: a command made it, and it is used with its keys alone.")
    async with session.away(), deps.limiter.confirmation(session.request, session.owner, deps.errands.run):
        if not await deps.passwords.verify(kept.password_hash, password):
            _tell_of_failure(deps, session.request, kept)
            raise wrong_credentials("The current password is wrong.")
    return kept


async def change_password(session: Session, current: SecretStr, new: SecretStr) -> Tokens:
    """Change the password, end all logins, and begin a new one. Raises what `confirm` does, and `INVALID_REQUEST`."""
    deps = session.deps
    kept = await confirm(session, current)
    check_new_password(new, "new_password", email=kept.email, name=kept.name)
    async with session.away():
        hashed = await deps.passwords.hash(new)
    if not await session.account.change_password(old=kept.password_hash or "", new=hashed):
        raise wrong_credentials("The current password is wrong: it was changed just now.")
    await session.logins.end_all(LoginEnd.PASSWORD_CHANGED)
    origin = deps.limiter.origin(session.request)
    begun = await Logins(session.connection).begin(
        session.owner.id, password_hash=hashed, ip=origin.ip, user_agent=origin.user_agent, life=_life(deps)
    )
    if begun is None:
        raise unauthenticated("This account is being erased.", given=True)
    return _tokens(deps, *begun)


def check_new_password(password: SecretStr, place: str, *, email: str | None, name: str) -> None:
    """Raises `INVALID_REQUEST` at `place` for one that would be guessed first."""
    why = refusal(password, email=email, name=name)
    if why is not None:
        raise invalid(place, why)


def wrong_credentials(message: str) -> ProblemError:
    """A 401 that says what to do next, and not what was wrong."""
    return ProblemError(ErrorType.WRONG_CREDENTIALS, message, headers=_CHALLENGE)


async def _begin(deps: Deps, request: Request, owner_id: str, stored: str, password: SecretStr) -> Tokens | None:
    """A login of an owner whose password was found right; None when it was changed meanwhile."""
    newer = await deps.passwords.hash(password) if deps.passwords.is_outdated(stored) else None
    origin = deps.limiter.origin(request)
    async with deps.database.transaction() as connection:
        if newer is not None:
            await Accounts(connection).rehash(owner_id, old=stored, new=newer)
        begun = await Logins(connection).begin(
            owner_id, password_hash=newer or stored, ip=origin.ip, user_agent=origin.user_agent, life=_life(deps)
        )
        if begun is None:
            return None
        login, token = begun
        # Nobody has a token of these any more.
        await LoginRepository(connection, owner_id).drop_old(2 * _life(deps))
        await AuditLog(connection).add(_act(deps, request, "auth.login", owner_id, login))
    return _tokens(deps, login, token)


def _tell_of_failure(deps: Deps, request: Request, found: Credentials | None) -> None:
    """Tell the owner of a failed login. The line is written after the answer, whose time would tell that there is an
    owner."""
    if found is not None:
        deps.errands.run(_tell(deps.database, _act(deps, request, "auth.login_failed", found.owner_id)))


async def _tell(database: Database, act: Act) -> None:
    try:
        async with database.transaction() as connection:
            await AuditLog(connection).add(act)
    except AtelierError as error:
        log.warning("audit.lost", action=act.action, reason=error.message)


def _act(deps: Deps, request: Request, action: str, owner_id: str, login: Login | None = None) -> Act:
    origin = deps.limiter.origin(request)
    return Act(
        action=action,
        owner_id=owner_id,
        actor_id=None if login is None else owner_id,
        via=Via.NOBODY if login is None else Via.LOGIN,
        via_id=None if login is None else login.id,
        ip=origin.ip,
        request_id=origin.request_id,
    )


def _life(deps: Deps) -> timedelta:
    """Of a refresh token."""
    return timedelta(days=deps.settings.refresh_token_days)


def _tokens(deps: Deps, login: Login, refresh_token: str) -> Tokens:
    access = deps.tokens.sign(login.owner_id, login.id)
    return Tokens(access, refresh_token, round(_life(deps).total_seconds()))


def _refused(found: Refreshed) -> str:
    if found.refusal in (Refusal.REUSED, Refusal.ENDED):
        because = _ENDED[LoginEnd(found.ended_because)] if found.ended_because else "the account is being erased"
        return f"This login was ended: {because}. Log in again."
    if found.refusal is Refusal.EXPIRED:
        return "This refresh token has expired: the login was not used for too long. Log in again."
    return "This is no refresh token of ours. Log in again."
