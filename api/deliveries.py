"""Starts the workflow of every delivery that an event left in the outbox, and drops what is old."""

import asyncio

import structlog
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from api.starter import BATCH, CALL_TIMEOUT, CLAIM_STALE, NORMAL_PRIORITY, TRACE_MEMO
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.names import OWNER_ATTRIBUTE, Queue
from core.contracts.webhooks import DeliveryRequest, Schedule, delivery_workflow
from core.db.engine import Database
from core.db.repositories.deliveries import DeliveryWorkRepository, StartingDelivery
from core.temporal import is_away
from workflows.webhooks import DeliveryWorkflow

log = structlog.get_logger()


class Deliveries:
    """One path from a row to a running workflow. Several may run side by side: rows are claimed."""

    def __init__(self, database: Database, temporal: Client, schedule: Schedule) -> None:
        self._database = database
        self._temporal = temporal
        self._schedule = schedule

    async def sweep(self) -> None:
        """Start what is to be started, until nothing is left. Raises `TEMPORAL_UNAVAILABLE`."""
        while True:
            async with self._database.transaction() as connection:
                found = await DeliveryWorkRepository(connection).claim(BATCH, CLAIM_STALE)
            if not all(await asyncio.gather(*(self._start(delivery) for delivery in found))):
                raise AtelierError(ErrorType.TEMPORAL_UNAVAILABLE, "Temporal is away; deliveries wait for it.")
            if len(found) < BATCH:
                return

    async def tidy(self) -> None:
        """Find what Temporal lost, and forget deliveries of more than 30 days ago."""
        async with self._database.transaction() as connection:
            lost = await DeliveryWorkRepository(connection).find_lost()
        async with self._database.transaction() as connection:
            dropped = await DeliveryWorkRepository(connection).drop_old()
        if lost:
            log.warning("deliveries.lost", deliveries=lost)
        if dropped:
            log.info("deliveries.dropped", deliveries=dropped)

    async def _start(self, delivery: StartingDelivery) -> bool:
        """Start one workflow. False when Temporal is away."""
        try:
            await self._temporal.start_workflow(
                DeliveryWorkflow.run,
                DeliveryRequest(
                    delivery_id=delivery.id, round=delivery.round, tried=delivery.tried, schedule=self._schedule
                ),
                id=delivery_workflow(delivery.id, delivery.round),
                task_queue=Queue.ORCHESTRATION,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                # Not refused: its workflow may have been terminated by somebody. One that is started too often finds
                # in the row that there is nothing to do.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                memo={TRACE_MEMO: delivery.trace_id},
                priority=Priority(priority_key=NORMAL_PRIORITY, fairness_key=delivery.owner_id),
                search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER_ATTRIBUTE, delivery.owner_id)]),
                rpc_timeout=CALL_TIMEOUT,
            )
        except Exception as error:
            if not is_away(error):
                log.exception("deliveries.failed", delivery_id=delivery.id)
                return True
            async with self._database.transaction() as connection:
                await DeliveryWorkRepository(connection).release(delivery)
            return False
        async with self._database.transaction() as connection:
            await DeliveryWorkRepository(connection).dispatched(delivery)
        return True
