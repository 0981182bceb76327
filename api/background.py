"""What every API process does beside answering: start accepted jobs, close jobs whose workflow ended, sweep bytes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client

from api.reconciler import Reconciler
from api.starter import Starter
from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError
from core.db.engine import Database
from core.db.repositories.artifacts import ArtifactRepository
from core.settings import Settings

SWEEP_SECONDS = 3600.0
"""A sweep lists the whole store."""

log = structlog.get_logger()


class Background:
    """The background tasks of one API process. Any number of processes may run them side by side."""

    def __init__(self, settings: Settings, database: Database, temporal: Client, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        review_seconds = max(1, round(settings.review_expiry_days * 86_400))
        self._starter = Starter(database, temporal, review_seconds=review_seconds)
        self._reconciler = Reconciler(database, temporal, cancel_grace=timedelta(seconds=settings.cancel_grace_seconds))
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the tasks."""
        settings = self._settings
        self._tasks = [
            asyncio.create_task(self._every("starter", settings.starter_interval_seconds, self._starter.sweep, True)),
            asyncio.create_task(
                self._every("reconciler", settings.reconciler_interval_seconds, self._reconciler.sweep, False)
            ),
            asyncio.create_task(self._every("sweeper", SWEEP_SECONDS, self._sweep_bytes, False)),
        ]

    async def stop(self) -> None:
        """Stop them; what was begun is done again by another process, or by the next."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Something was accepted or asked for: the starter looks at once, and not at its next turn."""
        self._woken.set()

    async def _every(self, name: str, seconds: float, sweep: Callable[[], Awaitable[None]], wakeable: bool) -> None:
        while True:
            if wakeable:
                self._woken.clear()
            try:
                await sweep()
            except AtelierError as error:
                log.warning("background.away", task=name, error_type=error.type.value, error=error.message)
            except Exception:
                # One bad row or answer must not end the task for all others.
                log.exception("background.failed", task=name)
            if wakeable:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), seconds)
            else:
                await asyncio.sleep(seconds)

    async def _sweep_bytes(self) -> None:
        async def referenced(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
            async with self._database.transaction() as connection:
                return await ArtifactRepository(connection).referenced(keys)

        grace = timedelta(seconds=self._settings.artifact_sweep_grace_seconds)
        deleted = await self._store.sweep(referenced, grace)
        if deleted:
            log.info("artifacts.swept", deleted=deleted)
