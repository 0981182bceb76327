"""Activity option presets. Workflows pass one of these and no timeout of their own."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import Priority, RetryPolicy
from temporalio.workflow import ActivityCancellationType

from core.contracts.names import Queue


class ActivityOptions(TypedDict, total=False):
    """The options that a preset sets; the names are those of `workflow.execute_activity_method`."""

    task_queue: str
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType
    priority: Priority


INTERACTIVE = Priority(priority_key=1)
"""For a step that a person waits for; the default of Temporal is 3, and lower goes first."""

DB = ActivityOptions(
    task_queue=Queue.ORCHESTRATION,
    start_to_close_timeout=timedelta(seconds=15),
    # No limit on attempts: a database that is away for an hour must not lose a job.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=5)
    ),
    priority=INTERACTIVE,
)

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""A dead worker's step runs again after this long. Worker heartbeats are sent every second, by a timer."""

LLM = ActivityOptions(
    task_queue=Queue.LLM,
    # The longest model call (15 minutes), and as long as an answer is held while database and store are away.
    start_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # Temporal owns the retries but does not count them: a worker's death or a database outage is no failure of the
    # model. The ledger counts what the model failed, and the last such failure is made non-retryable.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

FETCH = ActivityOptions(
    # Servers of others that hang hold up one another, and nothing else.
    task_queue=Queue.WEB,
    start_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # The tries are counted by the activity: a worker's death or a database outage is no failure of the server.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=2), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

DELIVER = ActivityOptions(
    # A queue of its own: receivers that hang hold up one another, and nothing else.
    task_queue=Queue.WEB,
    # The longest wait for a receiver, and as long as what came of it is held while the database is away.
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # What a receiver fails is the workflow's to try again; this is for dead workers and a database that is away.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
    ),
)

RENDER = ActivityOptions(
    task_queue=Queue.RENDER,
    start_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)
