"""`python -m bench.open_api`: the API without people: whoever asks is the owner in BENCH_OWNER.

No key is looked up, nothing is counted, and no line goes to the audit log; all else is as in `python -m api`.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any, get_args

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.__main__ import CollectedServer
from api.app import create_app
from api.deps import AdminSession, LoginSession, OwnerSession, ReadingSession, Session, deps_of
from core.contracts.people import ALL_SCOPES, Role, Via
from core.db.repositories.identities import Caller
from core.logging import configure_logging
from core.settings import Settings

SESSIONS: set[Callable[..., Any]] = {
    get_args(one)[1].dependency for one in (OwnerSession, ReadingSession, LoginSession, AdminSession)
}


def open_session(owner_id: str) -> Callable[[Request], AsyncIterator[Session]]:
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

    async def opened(request: Request) -> AsyncIterator[Session]:
        async with Session(deps_of(request), request, "", reading=request.method in {"GET", "HEAD"}) as session:
            session.owner = owner
            yield session
        for action in session.then:
            action()

    return opened


def _replace(dependant: Dependant, session: Callable[..., Any]) -> None:
    # Not `dependency_overrides`: with any of them every dependency's signature is read anew at each request.
    for inner in dependant.dependencies:
        if inner.call in SESSIONS:
            inner.call = session
        _replace(inner, session)


def main() -> None:
    """Serve until told to stop."""
    settings = Settings().model_copy(update={"limits": False})
    configure_logging(settings, "api")
    app = create_app(settings)
    session = open_session(os.environ["BENCH_OWNER"])
    for route in app.routes:
        if isinstance(route, APIRoute):
            _replace(route.dependant, session)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    CollectedServer(app, settings).run()


if __name__ == "__main__":
    main()
