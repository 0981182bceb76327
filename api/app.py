"""The application: routes, errors, and its process's dependencies, built when it starts and closed when it ends."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from api.background import Background
from api.deps import Deps
from api.docs import add_docs
from api.door import Door
from api.errors import add_handlers
from api.events import EventHub
from api.limits import Limiter
from api.middleware import surround
from api.openapi import DESCRIPTION, describe
from api.origin import Network, networks
from api.passwords import Passwords
from api.routers import (
    account,
    admin,
    artifacts,
    auth,
    budgets,
    charters,
    documents,
    erasures,
    estimates,
    events,
    health,
    hooks,
    jobs,
    keys,
    outlines,
    sessions,
    uploads,
    usage,
)
from api.tokens import TokenSigner
from api.turns import Turns
from core import VERSION
from core.artifacts.store import ArtifactStore
from core.db.engine import Database, plain_url
from core.llm.choice import configured_providers, default_chain
from core.settings import Settings
from core.temporal import connect
from core.web.addresses import Allowed

ERRANDS_SECONDS = 2.0


def create_app(settings: Settings, *, background: bool = True, passwords: Passwords | None = None) -> FastAPI:
    """The application of one API process. It starts and serves while Temporal, or even the database, is away.

    Without `background` it only answers: other processes start jobs, close them, and sweep bytes. `passwords` are
    closed with it.
    Raises ValueError or OSError when the settings name no database, no Temporal, or a store that cannot be opened, or
    proxies, origins or allowed hosts that are none.
    """
    if settings.database_url is None:
        raise ValueError("DATABASE_URL is not set")
    if settings.temporal_address is None:
        raise ValueError("TEMPORAL_ADDRESS is not set")
    # Here, where a mistake is one line, and not in a start that fails with a traceback.
    url, store = plain_url(settings.database_url.get_secret_value()), ArtifactStore.open(settings.artifacts)
    address, trusted = settings.temporal_address, networks(settings.trusted_proxies)
    Allowed(settings.allowed_hosts)
    hashing = passwords or Passwords(settings.password_hashes_at_once)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, url, address, store, trusted, hashing, background) as deps:
            app.state.deps = deps
            yield

    app = FastAPI(
        title="Atelier",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # A redirect would lose the body of a POST; a wrong path is told.
        redirect_slashes=False,
    )
    surround(app, settings)
    add_handlers(app)
    for module in (
        jobs,
        outlines,
        events,
        artifacts,
        uploads,
        documents,
        sessions,
        charters,
        budgets,
        estimates,
        usage,
        admin,
        auth,
        account,
        keys,
        hooks,
        erasures,
        health,
    ):
        # Not `include_router`: FastAPI matches an included router twice a request, and its routes know their paths
        # without the prefix, where the log and the Allow header need them whole.
        app.router.routes.extend(module.router.routes)

    add_docs(app)

    def openapi() -> dict[str, Any]:
        return describe(app)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _running(
    settings: Settings,
    url: str,
    address: str,
    store: ArtifactStore,
    trusted: Sequence[Network],
    passwords: Passwords,
    with_background: bool,
) -> AsyncIterator[Deps]:
    """The dependencies, with everything that runs beside the requests."""
    async with AsyncExitStack() as stack:
        database = Database(url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        stack.callback(passwords.close)
        temporal = await connect(address, settings.temporal_namespace, lazy=True)
        background = Background(settings, database, temporal, store)
        hub = EventHub(url, background.wake)
        tokens, turns = TokenSigner(settings), Turns(settings.database_pool_size)  # half of what its pool may open
        limiter = Limiter(settings, database, trusted, turns)
        deps = Deps(
            settings=settings,
            database=database,
            temporal=temporal,
            store=store,
            events=hub,
            wake=background.wake,
            providers=configured_providers(settings),
            chain=default_chain(settings),
            tokens=tokens,
            door=Door(tokens, database, turns, limiter),
            limiter=limiter,
            turns=turns,
            passwords=passwords,
            erasure=background.erasure,
            uploads=background.uploads,
        )
        stack.push_async_callback(background.stop)
        if with_background:
            await background.start()
        stack.push_async_callback(hub.stop)
        hub.start()
        stack.push_async_callback(deps.errands.stop, ERRANDS_SECONDS)
        yield deps
