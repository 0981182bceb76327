"""What every API process does beside answering: start accepted jobs and deliveries, close jobs whose workflow ended,
erase deleted accounts, settle what was spent, end uploads, sweep bytes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client

from api.deliveries import Deliveries
from api.erasure import Erasure
from api.reconciler import Reconciler
from api.starter import Starter
from api.uploads import Uploads
from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError
from core.contracts.webhooks import Schedule
from core.db.engine import Database
from core.db.repositories.artifacts import ReferenceRepository
from core.db.repositories.limits import LimitRepository
from core.db.repositories.results import ResultRepository
from core.db.repositories.spending import SpendingRepository
from core.settings import Settings

SWEEP_SECONDS = 3600.0
"""A sweep lists the whole store."""
UPLOADS_SECONDS = 60.0
BUDGETS_SECONDS = 15.0
"""How long a job waits for a budget that allows its call again because others cost less than was held for them."""

log = structlog.get_logger()


class Background:
    """The background tasks of one API process. Any number of processes may run them side by side."""

    def __init__(self, settings: Settings, database: Database, temporal: Client, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._starter = Starter(
            database, temporal, review_seconds=settings.review_seconds, remind_seconds=settings.remind_seconds
        )
        grace = timedelta(seconds=settings.cancel_grace_seconds)
        schedule = Schedule(
            first=settings.webhook_first_retry_seconds,
            longest=settings.webhook_longest_retry_seconds,
            total=settings.webhook_retry_hours * 3600,
        )
        self._deliveries = Deliveries(database, temporal, schedule)
        self._reconciler = Reconciler(database, temporal, cancel_grace=grace)
        self.uploads = Uploads(settings, store)
        self.erasure = Erasure(database, temporal, store, cancel_grace=grace)
        self._woken: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the tasks."""
        settings = self._settings
        self._tasks = [
            asyncio.create_task(self._every("starter", settings.starter_interval_seconds, self._starter.sweep, True)),
            asyncio.create_task(
                self._every("deliveries", settings.starter_interval_seconds, self._deliveries.sweep, True)
            ),
            asyncio.create_task(
                self._every("reconciler", settings.reconciler_interval_seconds, self._reconciler.sweep, False)
            ),
            asyncio.create_task(
                self._every("erasures", settings.reconciler_interval_seconds, self.erasure.sweep, False)
            ),
            asyncio.create_task(self._every("budgets", self._budgets_seconds(), self._sweep_budgets, False)),
            asyncio.create_task(self._every("sweeper", SWEEP_SECONDS, self._sweep_bytes, False)),
            asyncio.create_task(self._every("uploads", UPLOADS_SECONDS, self._sweep_uploads, False)),
            asyncio.create_task(self._every("results", SWEEP_SECONDS, self._sweep_results, False)),
            asyncio.create_task(self._every("old deliveries", SWEEP_SECONDS, self._deliveries.tidy, False)),
            asyncio.create_task(self._every("limits", SWEEP_SECONDS, self._sweep_limits, False)),
        ]

    async def stop(self) -> None:
        """Stop them; what was begun is done again by another process, or by the next."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Something was accepted or asked for: the starters look at once, and not at their next turn."""
        for woken in self._woken:
            woken.set()

    async def _every(self, name: str, seconds: float, sweep: Callable[[], Awaitable[None]], wakeable: bool) -> None:
        woken = asyncio.Event()
        if wakeable:
            self._woken.append(woken)
        while True:
            woken.clear()
            try:
                await sweep()
            except AtelierError as error:
                log.warning("background.away", task=name, error_type=error.type.value, error=error.message)
            except Exception:
                # One bad row or answer must not end the task for all others.
                log.exception("background.failed", task=name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), seconds)

    def _budgets_seconds(self) -> float:
        return min(BUDGETS_SECONDS, self._settings.settle_after_seconds)

    async def _sweep_budgets(self) -> None:
        """Settle calls that were lost, and let jobs go on whose call fits by now."""
        async with self._database.transaction() as connection:
            settled = await SpendingRepository(connection).settle(
                timedelta(seconds=self._settings.settle_after_seconds)
            )
        async with self._database.transaction() as connection:
            woken = await SpendingRepository(connection).wake_fitting()
        if settled:
            log.info("ledger.settled", attempts=settled)
        if woken:
            self.wake()

    async def _sweep_uploads(self) -> None:
        await self.uploads.sweep(self._database)

    async def _sweep_results(self) -> None:
        async with self._database.transaction() as connection:
            dropped = await ResultRepository(connection).drop_old()
        if dropped:
            log.info("results.dropped", results=dropped)

    async def _sweep_limits(self) -> None:
        async with self._database.statement() as connection:
            dropped = await LimitRepository(connection).drop_old()
        if dropped:
            log.info("limits.dropped", limits=dropped)

    async def _sweep_bytes(self) -> None:
        async def referenced(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
            async with self._database.transaction() as connection:
                return await ReferenceRepository(connection).referenced(keys)

        grace = timedelta(seconds=self._settings.artifact_sweep_grace_seconds)
        deleted = await self._store.sweep(referenced, grace)
        deleted += await self.uploads.sweep_bytes(self._database, grace)
        if deleted:
            log.info("artifacts.swept", deleted=deleted)
