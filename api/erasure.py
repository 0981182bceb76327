"""Deleting accounts: a process of several steps, worked off by any API process, and killed at any point by anybody.

Nothing is forgotten that is needed to go on: the jobs' rows go when Temporal was told to delete their histories, and
the erasure's own row names the owner until the last byte is gone.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.histories import CALL_TIMEOUT, delete_history
from api.starter import CLAIM_STALE as START_STALE
from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.names import OWNER_ATTRIBUTE, parse_workflow_id, workflow_id
from core.contracts.webhooks import DELIVERY
from core.db.engine import Database
from core.db.repositories.erasures import Claim, ErasureRecord, ErasureWorkRepository, StillAliveError
from core.temporal import is_away

BATCH = 50
"""Jobs that one transaction deletes: with all their rows well within the time that a statement may take."""
CLAIM_STALE = timedelta(seconds=10)
"""A process that was not heard of for so long was killed, and another goes on."""
LATELY = timedelta(minutes=1)
"""Of a job that ended so shortly before its account, the workflow may not have closed, or not be listed."""
CALLS_AT_ONCE = 20
PAUSE_SECONDS = 0.25
"""Between two looks while somebody waits for the answer. Temporal takes a moment to delete a history."""

log = structlog.get_logger()

Run = tuple[str, str]
"""A workflow id and a run id; without the latter its latest run."""


class Erasure:
    """Works off what deleted accounts left. Any number of processes may do it side by side."""

    def __init__(self, database: Database, temporal: Client, store: ArtifactStore, *, cancel_grace: timedelta) -> None:
        """`cancel_grace`: a workflow that is told to end and has not by then is terminated."""
        self._database = database
        self._temporal = temporal
        self._store = store
        self._cancel_grace = cancel_grace

    async def report(self, erasure_id: str) -> ErasureRecord:
        """How far an erasure is. Raises `NOT_FOUND`."""
        async with self._database.statement() as connection:
            record = await ErasureWorkRepository(connection).read(erasure_id)
        if record is None:
            raise AtelierError(ErrorType.NOT_FOUND, f"There is no erasure {erasure_id}.")
        return record

    async def attend(
        self, erasure_id: str, seconds: float, run: Callable[[Coroutine[Any, Any, None]], None]
    ) -> ErasureRecord:
        """Work one off at once, and wait so long for its end: how far it is then.

        `run` does it beside the request, which may be over before a step is: none is broken off. When a part of ours is
        away nobody waits; the sweeps go on with it.
        """
        ended = asyncio.Event()
        run(self._work(erasure_id, seconds, ended))
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
        return await self.report(erasure_id)

    async def sweep(self) -> None:
        """Go on with all that nobody is at. One that fails does not hold up the others; the last error is raised."""
        async with self._database.statement() as connection:
            waiting = await ErasureWorkRepository(connection).unclaimed(CLAIM_STALE)
        failed: AtelierError | None = None
        for erasure_id in waiting:
            try:
                await self._go_on(erasure_id)
            except AtelierError as error:
                failed = error
            except Exception:
                log.exception("erasure.failed", erasure_id=erasure_id)
        if failed is not None:
            raise failed

    async def _work(self, erasure_id: str, seconds: float, ended: asyncio.Event) -> None:
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                if await self._go_on(erasure_id):
                    break
                await asyncio.sleep(PAUSE_SECONDS)
        except AtelierError as error:
            log.info("erasure.waits", erasure_id=erasure_id, error_type=error.type.value, error=error.message)
        finally:
            ended.set()

    async def _go_on(self, erasure_id: str) -> bool:
        """Do what can be done now, unless another process is at it. Whether it is finished.

        Raises `TEMPORAL_UNAVAILABLE`, `STORE_UNAVAILABLE`, `DATABASE_UNAVAILABLE`.
        """
        async with self._database.statement() as connection:
            claim = await ErasureWorkRepository(connection).claim(erasure_id, CLAIM_STALE, self._cancel_grace)
        if claim is None:
            return (await self.report(erasure_id)).finished_at is not None
        finished = False
        try:
            finished = await self._pass(claim)
        except StillAliveError:
            log.info("erasure.again", erasure_id=claim.id)
        except Exception as error:
            if not is_away(error):
                raise
            raise AtelierError(
                ErrorType.TEMPORAL_UNAVAILABLE, "Temporal is away; what it keeps of a deleted account goes later."
            ) from error
        finally:
            # A claim that stays, as the database is away, is stale soon.
            with suppress(AtelierError):
                async with self._database.statement() as connection:
                    await ErasureWorkRepository(connection).release(claim)
        return finished

    async def _pass(self, claim: Claim) -> bool:
        """All steps in order, as far as they can be done; each of them finds done what was done before."""
        async with self._database.transaction() as connection:
            alive = await ErasureWorkRepository(connection).cancel(claim)
        if alive:
            return False
        deleting = await self._forget_histories(claim)
        if deleting is None:
            return False
        await self._delete_rows(claim)
        # Nobody can store a step any more. What somebody puts all the same, the sweeper finds without a row.
        await self._delete_bytes(claim)
        if deleting:
            return False
        async with self._database.statement() as connection:
            await ErasureWorkRepository(connection).finish(claim)
        log.info("erasure.finished", erasure_id=claim.id)
        return True

    async def _forget_histories(self, claim: Claim) -> int | None:
        """Have Temporal delete all that ran for the owner. How many it has not deleted yet; None: some still run."""
        listed: dict[Run, bool] = {}
        owned = f"{OWNER_ATTRIBUTE.name} = '{claim.owner_id}'"
        async for execution in self._temporal.list_workflows(owned, rpc_timeout=CALL_TIMEOUT):
            listed[execution.id, execution.run_id] = execution.status is WorkflowExecutionStatus.RUNNING
        async with self._database.statement() as connection:
            jobs = await ErasureWorkRepository(connection).jobs(claim, LATELY)
            deliveries = await ErasureWorkRepository(connection).deliveries(claim, LATELY, START_STALE)
        if any(delivery.starting for delivery in deliveries):
            return None
        lately = {workflow_id(*job.address) for job in jobs if job.lately}
        lately |= {delivery.workflow for delivery in deliveries}
        # The list lags behind: those that may run are asked for.
        asked = sorted(lately | {workflow for (workflow, _), running in listed.items() if running})
        if any(await self._each(claim, [self._runs(claim, workflow) for workflow in asked])):
            return None
        named = {workflow for workflow, _ in listed}
        known = {workflow_id(*job.address) for job in jobs} | lately
        unlisted = [(workflow, "") for workflow in sorted(known - named)]
        found = sum(await self._each(claim, [delete_history(self._temporal, *run) for run in [*listed, *unlisted]]))
        if found:
            async with self._database.statement() as connection:
                await ErasureWorkRepository(connection).at_least(claim, {"histories": found})
        return found

    async def _runs(self, claim: Claim, workflow: str) -> bool:
        """Whether a workflow has not closed. It was told to; one that takes too long is terminated."""
        handle = self._temporal.get_workflow_handle(workflow)
        try:
            seen = await handle.describe(rpc_timeout=CALL_TIMEOUT)
            if seen.status is not WorkflowExecutionStatus.RUNNING:
                return False
            # Who is to be told of the account's jobs is not, and nobody waits for a receiver.
            delivers = parse_workflow_id(workflow).pipeline == DELIVERY
            if not (claim.overdue or delivers):
                return True
            if not delivers:
                log.warning("erasure.terminates", workflow_id=workflow)
            await handle.terminate("its account was deleted", rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return False

    async def _each(self, claim: Claim, calls: Iterable[Coroutine[Any, Any, bool]]) -> list[bool]:
        """The answers to calls of Temporal, some at once; the claim is kept meanwhile."""
        waiting, answers = list(calls), list[bool]()
        try:
            while waiting:
                now, waiting = waiting[:CALLS_AT_ONCE], waiting[CALLS_AT_ONCE:]
                answers += await asyncio.gather(*now)
                if waiting:
                    await self._keep(claim)
        finally:
            for call in waiting:
                call.close()
        return answers

    async def _delete_rows(self, claim: Claim) -> None:
        """Delete the jobs, some at a time, and then the owner."""
        more = BATCH
        while more == BATCH:
            async with self._database.transaction() as connection:
                more = await ErasureWorkRepository(connection).delete_jobs(claim, BATCH)
            await self._keep(claim)
        async with self._database.transaction() as connection:
            await ErasureWorkRepository(connection).delete_owner(claim)

    async def _delete_bytes(self, claim: Claim) -> None:
        deleted = await self._store.delete_owner(claim.owner_id)
        if deleted.objects:
            async with self._database.statement() as connection:
                await ErasureWorkRepository(connection).add(claim, {"objects": deleted.objects, "bytes": deleted.size})

    async def _keep(self, claim: Claim) -> None:
        async with self._database.statement() as connection:
            await ErasureWorkRepository(connection).keep(claim)
