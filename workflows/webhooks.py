"""The delivery of one event to one receiver: tried until it got through, or for a day."""

from datetime import timedelta

from temporalio import workflow

from core.contracts.options import DELIVER
from core.contracts.webhooks import DELIVERY_TYPE, DeliveryRequest, TryDelivery, WebhookActivities

_MOST_DOUBLINGS = 60
"""No schedule has more, and the figure stays one that a float holds."""


@workflow.defn(name=DELIVERY_TYPE)
class DeliveryWorkflow:
    """Tries, waits, and tries again. It carries no job: its row in `deliveries` says where it stands."""

    @workflow.run
    async def run(self, request: DeliveryRequest) -> None:
        """Try until the activity says that the delivery has ended."""
        schedule, number = request.schedule, request.tried
        began = workflow.now() - timedelta(seconds=request.spent)
        while True:
            number += 1
            pause = min(schedule.first * 2 ** min(number - 1, _MOST_DOUBLINGS), schedule.longest)
            spent = (workflow.now() - began).total_seconds()
            tried = await workflow.execute_activity_method(
                WebhookActivities.deliver,
                TryDelivery(
                    delivery_id=request.delivery_id,
                    round=request.round,
                    number=number,
                    pause=pause if spent + pause <= schedule.total else None,
                ),
                **DELIVER,
            )
            if tried.again is None:
                return
            await workflow.sleep(tried.again)
            if workflow.info().is_continue_as_new_suggested():
                spent = (workflow.now() - began).total_seconds()
                workflow.continue_as_new(request.model_copy(update={"tried": number, "spent": spent}))
