"""Webhooks: what receivers are told, and how a delivery is tried until it got through."""

from abc import ABC, abstractmethod
from enum import StrEnum

from pydantic import Field
from temporalio import activity

from core.contracts.base import Contract
from core.contracts.jobs import EventType, JobStatus
from core.contracts.names import workflow_id

DELIVERY = "webhook"
"""What the workflow ids of deliveries begin with. It names no pipeline."""
DELIVERY_TYPE = "Delivery"
"""The type of their workflows."""


def delivery_workflow(delivery_id: str, round: int) -> str:
    """The id of a delivery's workflow: another for each round, as that of the one before may not have closed yet."""
    first = workflow_id(DELIVERY, delivery_id)
    return first if round == 1 else f"{first}/{round}"


class HookEvent(StrEnum):
    """What a receiver can be told of."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    WAITING = "job.waiting"
    REMINDER = "job.reminder"
    DISABLED = "webhook.disabled"
    TEST = "webhook.test"


TOLD_TO_JOBS = frozenset(
    {HookEvent.COMPLETED, HookEvent.FAILED, HookEvent.CANCELLED, HookEvent.WAITING, HookEvent.REMINDER}
)
"""What the `webhook_url` of a job is told."""
CHOSEN = TOLD_TO_JOBS | {HookEvent.DISABLED}
"""What standing hooks can choose; a test goes to whoever is tested."""

_TOLD = {
    EventType.COMPLETED: HookEvent.COMPLETED,
    EventType.FAILED: HookEvent.FAILED,
    EventType.CANCELLED: HookEvent.CANCELLED,
    EventType.REMINDER: HookEvent.REMINDER,
}
_WAITING = frozenset({JobStatus.WAITING_FOR_INPUT.value, JobStatus.WAITING_FOR_BUDGET.value})


def told_by(type: EventType, status: object) -> HookEvent | None:
    """What receivers are told when a job's event says this; None: nothing."""
    if type is EventType.STATUS:
        return HookEvent.WAITING if status in _WAITING else None
    return _TOLD.get(type)


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Schedule(Contract):
    """How often a delivery is tried. In seconds; the pause doubles from the first to the longest."""

    first: float = Field(gt=0)
    longest: float = Field(gt=0)
    total: float = Field(gt=0)
    """No pause begins that would end later than this after the first try."""


class DeliveryRequest(Contract):
    """The input of a delivery's workflow: ids and figures. What is sent, where to and with which secret stays in
    Postgres."""

    delivery_id: str
    round: int = 1
    tried: int = 0
    """Tries of this round that were made before this workflow began."""
    schedule: Schedule
    spent: float = 0.0
    """Seconds since the first try, when the workflow goes on from an earlier one."""


class TryDelivery(Contract):
    """One try. `number` counts from 1 within the round."""

    delivery_id: str
    round: int
    number: int
    pause: float | None = None
    """Seconds until the next try if this one fails; None: it is the last."""


class Tried(Contract):
    """What came of it. `again`: seconds until the next try; None: the delivery has ended."""

    again: float | None = None


class WebhookActivities(ABC):
    """What delivers."""

    @activity.defn(name="webhooks.deliver")
    @abstractmethod
    async def deliver(self, request: TryDelivery) -> Tried:
        """Post a delivery once and note what came of it: a receiver that fails is no failure of the activity.

        Idempotent by (delivery, round, number) once it was noted; a worker that dies before sends the same again.
        """
