"""The floor of a job: a bare workflow of N activities in a row that do nothing. It knows nothing of Atelier."""

from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "floor"
ACTIVITY_QUEUE = "floor-activities"
TIMEOUT = timedelta(minutes=1)


@activity.defn(name="floor.do_nothing")
async def do_nothing(number: int) -> int:
    """Nothing."""
    return number


@workflow.defn(name="FloorSteps")
class FloorSteps:
    """Activities in a row."""

    @workflow.run
    async def run(self, steps: int, task_queue: str) -> int:
        """One after the other, on a queue."""
        for number in range(steps):
            await workflow.execute_activity(do_nothing, number, task_queue=task_queue, start_to_close_timeout=TIMEOUT)
        return steps
