"""What the routes work with: the process's dependencies, and a session of one owner in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from api.errors import ProblemError
from api.events import EventHub
from core.artifacts.store import ArtifactStore
from core.contracts.errors import ErrorType
from core.db.engine import Database
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.documents import DocumentRepository
from core.db.repositories.events import EventRepository
from core.db.repositories.jobs import JobRepository
from core.db.repositories.owners import Owner, OwnerRepository
from core.db.repositories.spending import SpendingRepository
from core.db.repositories.steps import StepRepository
from core.db.repositories.usage import UsageRepository
from core.settings import Settings

TOKEN_LIMIT = 200

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
    errands: Errands = field(default_factory=Errands)


class Session:
    """One owner's transaction. It commits when the route has returned, before the answer is sent."""

    def __init__(self, deps: Deps, token: str, *, reading: bool) -> None:
        """Use `open_session`."""
        self.deps = deps
        self.token = token
        self.owner: Owner
        self.connection: AsyncConnection
        self.then: list[Callable[[], None]] = []
        """Called when the transaction is committed."""
        self._reading = reading
        self._held = AsyncExitStack()

    async def __aenter__(self) -> "Session":
        await self._take()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._held.__aexit__(*failure)

    async def leave(self) -> None:
        """Give the connection back, because something slow comes and nothing is read after it. What was done is
        committed."""
        await self._held.aclose()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Something slow is asked within: what was done so far is committed, and after it a new transaction begins."""
        await self.leave()
        yield
        await self._take()

    async def _take(self) -> None:
        # What only reads needs no transaction, and without one half the trips to the database.
        database = self.deps.database
        self.connection = await self._held.enter_async_context(
            database.statement() if self._reading else database.transaction()
        )

    @property
    def jobs(self) -> JobRepository:
        """The jobs."""
        return JobRepository(self.connection)

    @property
    def documents(self) -> DocumentRepository:
        """The documents."""
        return DocumentRepository(self.connection)

    @property
    def steps(self) -> StepRepository:
        """What the jobs' steps stored."""
        return StepRepository(self.connection)

    @property
    def artifacts(self) -> ArtifactRepository:
        """The artifacts."""
        return ArtifactRepository(self.connection)

    @property
    def events(self) -> EventRepository:
        """The events."""
        return EventRepository(self.connection)

    @property
    def spending(self) -> SpendingRepository:
        """What may be spent."""
        return SpendingRepository(self.connection)

    @property
    def usage(self) -> UsageRepository:
        """What was spent."""
        return UsageRepository(self.connection)


def deps_of(request: Request) -> Deps:
    """The process's dependencies."""
    deps: Deps = request.app.state.deps
    return deps


async def open_session(request: Request) -> AsyncIterator[Session]:
    """The session of the owner whose key the request carries. `UNAUTHENTICATED` without a valid one.

    The key is looked up in the route's own transaction: one trip to the pool a request, and a revoked key is refused
    from the next request on.
    """
    token = bearer_token(request)
    async with Session(deps_of(request), token, reading=request.method == "GET") as session:
        owner = await OwnerRepository(session.connection).by_token(token)
        if owner is None:
            raise unauthenticated("The API key is not valid, or was revoked.", given=True)
        session.owner = owner
        yield session
    for action in session.then:
        action()


OwnerSession = Annotated[Session, Depends(open_session, scope="function")]


def bearer_token(request: Request) -> str:
    """The token of the Authorization header. Raises `UNAUTHENTICATED`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("Send an API key: `Authorization: Bearer <key>`.", given=False)
    if len(token) > TOKEN_LIMIT:
        raise unauthenticated("The API key is not valid, or was revoked.", given=True)
    return token


def unauthenticated(message: str, *, given: bool) -> ProblemError:
    """A 401 as RFC 6750 wants it."""
    challenge = 'Bearer realm="atelier"' + (', error="invalid_token"' if given else "")
    return ProblemError(ErrorType.UNAUTHENTICATED, message, headers={"WWW-Authenticate": challenge})
