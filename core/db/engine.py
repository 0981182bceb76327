"""The connection pool, transactions, and what counts as the database being away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from core.contracts.errors import AtelierError, ErrorType

Result = TypeVar("Result")

CONNECT_TIMEOUT_SECONDS = 5
COMMAND_TIMEOUT_SECONDS = 15
POOL_TIMEOUT_SECONDS = 10
AWAY = "The database cannot be reached; what was asked was not done."
BUSY = "Another change came at the same moment; what was asked was not done. Try again."


def async_url(url: str) -> str:
    """The URL with SQLAlchemy's asyncpg driver, whatever common spelling it came in."""
    scheme, separator, rest = url.partition("://")
    if scheme.split("+")[0] not in {"postgres", "postgresql"} or not separator:
        raise ValueError("DATABASE_URL must begin with postgresql://")
    return f"postgresql+asyncpg://{rest}"


def plain_url(url: str) -> str:
    """The URL without a driver, as asyncpg itself takes it."""
    return "postgresql://" + async_url(url).partition("://")[2]


class Database:
    """A pool of connections. Every use is one short transaction; none is held during a model call."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """A connection that the server closed while it was idle is replaced before use, so that users do not see the
        first error after the database was away."""
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            # An error that is logged tells the statement, and not what people wrote.
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "command_timeout": COMMAND_TIMEOUT_SECONDS,
                # Compiling our short statements takes longer than running them.
                "server_settings": {"jit": "off", "application_name": "atelier"},
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back on an error. `DATABASE_UNAVAILABLE` when it is away."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except Exception as error:
            if is_unavailable(error):
                raise unavailable(error) from error
            raise

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """For one statement, which is a transaction by itself: no BEGIN and COMMIT travel with it, three trips less.

        Each statement made inside commits on its own. `DATABASE_UNAVAILABLE` when the database is away.
        """
        try:
            async with self._alone.connect() as connection:
                yield connection
        except Exception as error:
            if is_unavailable(error):
                raise unavailable(error) from error
            raise

    async def ping(self) -> None:
        """See whether the database answers. `DATABASE_UNAVAILABLE` when it is away."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool open another connection for one that is known to be closed.

    The driver learns of it from the socket, at no cost. SQLAlchemy's pre-ping takes three round trips a checkout.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


async def patiently(operation: Callable[[], Awaitable[Result]], patience: timedelta) -> Result:
    """Do what must not be lost, such as storing an answer that is paid for, again while our own parts are away.

    Raises the last `DATABASE_UNAVAILABLE` or `STORE_UNAVAILABLE` when the patience ends. The operation is idempotent.
    """
    deadline = time.monotonic() + patience.total_seconds()
    pause = 0.1
    while True:
        try:
            return await operation()
        except AtelierError as error:
            away = error.type in (ErrorType.DATABASE_UNAVAILABLE, ErrorType.STORE_UNAVAILABLE)
            if not away or time.monotonic() + pause > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)


_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock: nothing was done, and again it will be
# Shutting down, crashed, starting, too many connections: SQLAlchemy has no error class of its own for these.
_AWAY = {"57P01", "57P02", "57P03", "53300"}


def is_of_nobody(error: BaseException) -> bool:
    """Whether a row was refused because its owner is gone: the account was deleted while a request was under way."""
    refused = getattr(getattr(error, "orig", None), "__cause__", None)
    return isinstance(refused, asyncpg.ForeignKeyViolationError) and str(refused.constraint_name).endswith("_owner_id")


def unavailable(error: BaseException) -> AtelierError:
    """What an error for which `is_unavailable` holds is to a user."""
    again = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _AGAIN
    return AtelierError(ErrorType.DATABASE_UNAVAILABLE, BUSY if again else AWAY)


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, starting or stopping, and not that a statement is wrong."""
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "sqlstate", None) in _AGAIN | _AWAY:
            return True
        return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return isinstance(
        error,
        (
            OSError,
            TimeoutError,
            PoolTimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.TooManyConnectionsError,
            # What the driver makes of a connection that dies in the middle of its protocol.
            asyncpg.InternalClientError,
        ),
    )
