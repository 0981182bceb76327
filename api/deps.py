"""What the routes work with: the process's dependencies, and a session of one owner in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from api.door import Door, Known, identify, not_valid
from api.erasure import Erasure
from api.events import EventHub
from api.limits import Limiter
from api.passwords import Passwords
from api.requests import admit
from api.tokens import TokenSigner
from api.turns import Turns
from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.people import Role, Scope, Via
from core.db.engine import Database
from core.db.repositories.accounts import AccountRepository
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.audit import Act, AuditLog, AuditRepository
from core.db.repositories.budgets import BudgetRepository
from core.db.repositories.charters import CharterRepository
from core.db.repositories.deliveries import DeliveryRepository
from core.db.repositories.documents import DocumentRepository
from core.db.repositories.erasures import ErasureRepository
from core.db.repositories.events import JobEventsRepository
from core.db.repositories.identities import Caller, IdentityRepository
from core.db.repositories.jobs import JobRepository
from core.db.repositories.keys import KeyRepository
from core.db.repositories.logins import LoginRepository
from core.db.repositories.owned_sessions import ScopingRepository
from core.db.repositories.steps import AnswersRepository
from core.db.repositories.uploads import UploadRepository
from core.db.repositories.usage import UsageRepository
from core.db.repositories.webhooks import WebhookRepository
from core.settings import Settings

if TYPE_CHECKING:
    from api.uploads import Uploads  # which takes these dependencies

log = structlog.get_logger()


class Errands:
    """Small things done after an answer, that nobody waits for and that may fail."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do it beside the requests."""
        task = asyncio.create_task(errand)
        # The loop keeps only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, seconds: float) -> None:
        """Let what is under way end, for so long."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()


@dataclass(frozen=True)
class Deps:
    """The dependencies of one API process."""

    settings: Settings
    database: Database
    temporal: Client
    store: ArtifactStore
    events: EventHub
    wake: Callable[[], None]
    """To be called after a job was accepted or something was asked of it: the starter looks at once."""
    providers: frozenset[str]
    chain: tuple[str, ...]
    """The models of a job that names none."""
    tokens: TokenSigner
    door: Door
    limiter: Limiter
    turns: Turns
    passwords: Passwords
    erasure: Erasure
    uploads: "Uploads"
    errands: Errands = field(default_factory=Errands)


@dataclass(frozen=True)
class Access:
    """What a route asks of whoever calls it, beside valid credentials."""

    scope: Scope | None = None
    """What a key must allow; None: `write`, unless the method only reads."""
    login: bool = False
    """It changes the account itself: a key does not do, unless its owner has no password and so cannot log in."""
    admin: bool = False
    counted: bool = False
    """Where there are limits, it is counted before it does anything: a transaction begins only after that."""


class Session:
    """One owner's transaction. It commits when the route has returned, before the answer is sent.

    Every repository is bound to the owner: a route cannot ask for another's rows.
    """

    def __init__(self, deps: Deps, request: Request, known: Known, access: Access, *, reading: bool) -> None:
        """Use `OwnerSession` and its like."""
        self.deps = deps
        self.request = request
        self.owner: Caller
        self.connection: AsyncConnection
        self.then: list[Callable[[], None]] = []
        """Called when the transaction is committed."""
        self.resource = ""
        """What the route changed, for the audit log; empty: what its path names."""
        self.is_noted = False
        """The route added its line itself, in the transaction of what it did, and needs no other."""
        self._known = known
        self._access = access
        self._reading = reading
        self._held = AsyncExitStack()
        self._holds = False

    async def __aenter__(self) -> "Session":
        await self._take()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self._holds = False
        await self._held.__aexit__(*failure)

    async def leave(self) -> None:
        """Give the connection back, because something slow comes and nothing is read after it. What was done is
        committed."""
        self._holds = False
        await self._held.aclose()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Something slow is asked within: what was done so far is committed, and after it a new transaction begins.

        Where an account or everybody's figures are changed, it is seen once more that the caller may: raises what
        `session_for` does.
        """
        await self.leave()
        yield
        await self._take()
        if self._access.login or self._access.admin:
            caller = await identify(self.connection, self._known.credentials)
            if caller is None:
                raise not_valid()
            _check(self._access, caller, self._reading)
            self.owner = caller

    async def alone(self) -> None:
        """Go on without a transaction: each statement is one by itself. What was done so far is committed."""
        await self._go_on(reading=True)

    async def begin(self) -> None:
        """Go on in a transaction, for a session that is `alone`."""
        await self._go_on(reading=False)

    async def count_delivery(self) -> None:
        """Count that something is to be posted because its user asks for it. What follows is in a transaction that
        begins after it. Raises `TOO_MANY_REQUESTS`."""
        if self.deps.limiter.on:
            await self.alone()
            await self.deps.limiter.delivery(self.request, self.owner, self.connection)
            await self.begin()

    async def _go_on(self, *, reading: bool) -> None:
        if self._holds and self._reading is reading:
            return
        await self.leave()
        self._reading = reading
        await self._take()

    async def _take(self) -> None:
        database = self.deps.database
        async with AsyncExitStack() as taken:
            await taken.enter_async_context(self.deps.turns.of(self._known.owner_id))
            # What only reads needs no transaction, and without one half the trips to the database.
            self.connection = await taken.enter_async_context(
                database.statement() if self._reading else database.transaction()
            )
            self._held = taken.pop_all()
        self._holds = True

    async def still_allowed(self, connection: AsyncConnection) -> bool:
        """Whether the key was not revoked, and the login has not ended, since the request came."""
        return await identify(connection, self._known.credentials) is not None

    async def note(self, action: str, resource: str = "", *, owner_id: str | None = None, **details: Any) -> None:
        """Add a line to the audit log: the caller did this, to what is `owner_id`'s (their own, if not said)."""
        origin = self.deps.limiter.origin(self.request)
        act = Act(
            action=action,
            owner_id=owner_id or self.owner.id,
            actor_id=self.owner.id,
            via=self.owner.via,
            via_id=self.owner.via_id,
            resource=resource,
            ip=origin.ip,
            request_id=origin.request_id,
            details=details,
        )
        if not self._holds:
            await self._take()
        await AuditLog(self.connection).add(act)

    @property
    def jobs(self) -> JobRepository:
        """The jobs."""
        return JobRepository(self.connection, self.owner.id)

    @property
    def documents(self) -> DocumentRepository:
        """The documents."""
        return DocumentRepository(self.connection, self.owner.id)

    @property
    def scoping(self) -> ScopingRepository:
        """The scoping sessions."""
        return ScopingRepository(self.connection, self.owner.id)

    @property
    def charters(self) -> CharterRepository:
        """The charters that they end in."""
        return CharterRepository(self.connection, self.owner.id)

    @property
    def answers(self) -> AnswersRepository:
        """What people answered in the jobs."""
        return AnswersRepository(self.connection, self.owner.id)

    @property
    def artifacts(self) -> ArtifactRepository:
        """The artifacts."""
        return ArtifactRepository(self.connection, self.owner.id)

    @property
    def uploads(self) -> UploadRepository:
        """The files they brought."""
        return UploadRepository(self.connection, self.owner.id)

    @property
    def events(self) -> JobEventsRepository:
        """The events."""
        return JobEventsRepository(self.connection, self.owner.id)

    @property
    def budgets(self) -> BudgetRepository:
        """What may be spent."""
        return BudgetRepository(self.connection, self.owner.id)

    @property
    def usage(self) -> UsageRepository:
        """What was spent."""
        return UsageRepository(self.connection, self.owner.id)

    @property
    def account(self) -> AccountRepository:
        """Who the owner is."""
        return AccountRepository(self.connection, self.owner.id)

    @property
    def logins(self) -> LoginRepository:
        """Where they are logged in."""
        return LoginRepository(self.connection, self.owner.id)

    @property
    def keys(self) -> KeyRepository:
        """Their API keys."""
        return KeyRepository(self.connection, self.owner.id)

    @property
    def hooks(self) -> WebhookRepository:
        """Who is told of what happens to the jobs."""
        return WebhookRepository(self.connection, self.owner.id)

    @property
    def deliveries(self) -> DeliveryRepository:
        """What they were told."""
        return DeliveryRepository(self.connection, self.owner.id)

    @property
    def erasures(self) -> ErasureRepository:
        """The end of it all."""
        return ErasureRepository(self.connection, self.owner.id)

    @property
    def audit(self) -> AuditRepository:
        """What was done with all that."""
        return AuditRepository(self.connection, self.owner.id)


def deps_of(request: Request) -> Deps:
    """The process's dependencies."""
    deps: Deps = request.app.state.deps
    return deps


async def anonymous(request: Request) -> None:
    """The first dependency of a route that needs no credentials and does more than it costs to ask: it is counted
    before anything of the request is read. Raises `TOO_MANY_REQUESTS`."""
    await deps_of(request).limiter.anonymous(request)


def session_for(access: Access) -> Callable[..., AsyncIterator[Session]]:
    """The dependency of a route: a session of whoever the request's credentials speak for, if that is enough.

    Raises `UNAUTHENTICATED`, or `TOO_MANY_REQUESTS` when too many such came from the same address, and
    `INSUFFICIENT_SCOPE`, `LOGIN_NEEDED`, `ADMIN_NEEDED`. Whatever changes something leaves a line in the audit log.

    The credentials are looked up in the route's own transaction, also those that the door knows: one trip to the pool a
    request, and a revoked key, or the token of a login that has ended, is refused from the next request on.
    """

    async def opened(request: Request, known: Annotated[Known, Depends(admit)]) -> AsyncIterator[Session]:
        deps = deps_of(request)
        reading = request.method in {"GET", "HEAD"}
        alone = reading or (access.counted and deps.limiter.on)
        async with Session(deps, request, known, access, reading=alone) as session:
            caller = await identify(session.connection, known.credentials)
            if caller is not None:
                _check(access, caller, reading)
                session.owner = caller
                yield session
                if not (reading or access.scope is Scope.READ or session.is_noted):
                    await session.note(_action(request), session.resource or _resource(request))
        if caller is None:
            deps.door.forget(known)
            await deps.limiter.anonymous(request)
            raise not_valid()
        for action in session.then:
            action()
        if caller.untouched:
            deps.errands.run(_touch(deps.database, caller))

    return opened


OwnerSession = Annotated[Session, Depends(session_for(Access()), scope="function")]
"""For most routes."""
CountedSession = Annotated[Session, Depends(session_for(Access(counted=True)), scope="function")]
"""For those that do little but start model calls, see `api.submission.counted`, or have something delivered."""
ReadingSession = Annotated[Session, Depends(session_for(Access(scope=Scope.READ)), scope="function")]
"""For a POST that changes nothing."""
LoginSession = Annotated[Session, Depends(session_for(Access(login=True)), scope="function")]
"""For the account itself, its keys and its end."""
AdminSession = Annotated[Session, Depends(session_for(Access(admin=True)), scope="function")]
"""For everybody's figures, limits and providers."""


def _check(access: Access, caller: Caller, reading: bool) -> None:
    scope = access.scope or (Scope.READ if reading else Scope.WRITE)
    if scope not in caller.scopes:
        raise AtelierError(
            ErrorType.INSUFFICIENT_SCOPE,
            f"This key may not {scope.value}: use one with the scope `{scope.value}`, or log in.",
            details={"needed": scope.value, "scopes": sorted(caller.scopes)},
        )
    if access.login and caller.via is Via.KEY and caller.has_password:
        raise AtelierError(ErrorType.LOGIN_NEEDED, "A key cannot change the account: log in, and use the access token.")
    if access.admin and caller.role is not Role.ADMIN:
        raise AtelierError(ErrorType.ADMIN_NEEDED, "Only an admin may do this.")


def _action(request: Request) -> str:
    """What a route is called in the audit log, such as `jobs.cancel`."""
    route = request.scope["route"]
    return f"{route.tags[0]}.{route.name}"


def _resource(request: Request) -> str:
    """What a path names, such as `jobs/0198…`: up to its last parameter, without what is done to it."""
    parts = request.scope["route"].path.removeprefix("/v1/").split("/")
    named = [number for number, part in enumerate(parts) if part.startswith("{")]
    return "/".join(request.scope["path"].removeprefix("/v1/").split("/")[: named[-1] + 1] if named else parts)


async def _touch(database: Database, caller: Caller) -> None:
    try:
        async with database.statement() as connection:
            await IdentityRepository(connection).touch(caller)
    except AtelierError as error:
        log.info("identity.untouched", reason=error.message)
