"""`python -m bench.open_api`: the API without people: whoever asks is the owner in BENCH_OWNER.

No key is looked up, nothing is counted, and no line goes to the audit log; all else is as in `python -m api`.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, get_args

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.__main__ import CollectedServer
from api.app import create_app
from api.deps import Access, AdminSession, CountedSession, LoginSession, OwnerSession, ReadingSession, Session, deps_of
from api.door import Known
from api.requests import admit
from core.contracts.people import ALL_SCOPES, Role, Via
from core.db.repositories.identities import Caller
from core.logging import configure_logging
from core.settings import Settings

SESSIONS: set[Callable[..., Any]] = {
    get_args(one)[1].dependency for one in (OwnerSession, CountedSession, ReadingSession, LoginSession, AdminSession)
}


def open_session(owner_id: str) -> Callable[..., AsyncIterator[Session]]:
    """The dependency of all routes."""
    owner = Caller(
        id=owner_id,
        name="Bench",
        role=Role.USER,
        scopes=ALL_SCOPES,
        via=Via.KEY,
        via_id=owner_id,
        has_password=False,
    )

    async def opened(request: Request, known: Known) -> AsyncIterator[Session]:
        reading = request.method in {"GET", "HEAD"}
        async with Session(deps_of(request), request, known, Access(), reading=reading) as session:
            session.owner = owner
            yield session
        for action in session.then:
            action()

    return opened


def known_as(owner_id: str) -> Callable[[Request], Awaitable[Known]]:
    """What comes before it: nobody is asked who they are."""

    async def known(request: Request) -> Known:
        return Known("", owner_id)

    return known


def _replace(dependant: Dependant, replaced: dict[Callable[..., Any], Callable[..., Any]]) -> None:
    # Not `dependency_overrides`: with any of them every dependency's signature is read anew at each request.
    for inner in dependant.dependencies:
        if inner.call in replaced:
            inner.call = replaced[inner.call]
        _replace(inner, replaced)


def main() -> None:
    """Serve until told to stop."""
    settings = Settings().model_copy(update={"limits": False})
    configure_logging(settings, "api")
    app = create_app(settings)
    owner_id = os.environ["BENCH_OWNER"]
    replaced: dict[Callable[..., Any], Callable[..., Any]] = {
        **dict.fromkeys(SESSIONS, open_session(owner_id)),
        admit: known_as(owner_id),
    }
    for route in app.routes:
        if isinstance(route, APIRoute):
            _replace(route.dependant, replaced)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    CollectedServer(app, settings).run()


if __name__ == "__main__":
    main()
