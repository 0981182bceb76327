"""What every workflow tells Postgres about its job."""

from core.contracts.base import implements
from core.contracts.jobs import (
    BeginJob,
    Begun,
    FinishJob,
    JobActivities,
    Remind,
    SetStatus,
    StepRequest,
    StoreAnswer,
    StoredAnswer,
)
from core.db.engine import Database
from core.db.repositories.runs import RunRepository


class Jobs(JobActivities):
    """Each is one transaction, idempotent by the keys of the events it appends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @implements(JobActivities.begin)
    async def begin(self, request: BeginJob) -> Begun:
        """Idempotent by (job, run): a second time changes nothing and answers the same."""
        async with self._database.transaction() as connection:
            return await RunRepository(connection).begin(request)

    @implements(JobActivities.set_status)
    async def set_status(self, request: SetStatus) -> None:
        """Idempotent by (job, run, change)."""
        async with self._database.transaction() as connection:
            await RunRepository(connection).set_status(request)

    @implements(JobActivities.remind)
    async def remind(self, request: Remind) -> None:
        """Idempotent by (job, run, change)."""
        async with self._database.transaction() as connection:
            await RunRepository(connection).remind(request)

    @implements(JobActivities.read_answer)
    async def read_answer(self, request: StepRequest) -> StoredAnswer:
        """Changes nothing."""
        async with self._database.transaction() as connection:
            return StoredAnswer(answer=await RunRepository(connection).read_answer(request.key))

    @implements(JobActivities.store_answer)
    async def store_answer(self, request: StoreAnswer) -> StoredAnswer:
        """Idempotent by the step's key: the first answer stays."""
        async with self._database.transaction() as connection:
            return StoredAnswer(answer=await RunRepository(connection).store_answer(request.key, request.answer))

    @implements(JobActivities.finish)
    async def finish(self, request: FinishJob) -> None:
        """Idempotent by (job, run): who comes second changes nothing."""
        async with self._database.transaction() as connection:
            await RunRepository(connection).finish(request)
