"""What tests of budgets begin with: a job, a price, an attempt."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from core.contracts.errors import ErrorType
from core.contracts.jobs import FinishJob, JobError, JobStatus, Outcome, StepKey
from core.contracts.llm import PromptRef, Usage
from core.db.engine import Database
from core.db.repositories.attempts import Opened, Spent
from core.db.repositories.runs import RunRepository
from core.ledger.ledger import Ledger
from tests.support.rows import begin, one, step_key

PROMPT = PromptRef(name="longform/draft_section", version=1, characters=1200)
MODEL = "anthropic:claude-haiku-4-5"
ONE = Decimal(1)
FAILED = JobError(code=ErrorType.ALL_MODELS_FAILED, message="No model could do it.")
Money = Decimal | str | int


def spent(usd: Money | None) -> Spent:
    """A call that cost so much; None where nobody told."""
    usage = Usage(input_tokens=100, output_tokens=50)
    return Spent(usage=usage, usd=None if usd is None else Decimal(usd), latency=timedelta(seconds=1))


async def budgeted(database: Database, owner_id: str, budget: Money | None, **changes: Any) -> str:
    """A running job that may cost so much. Its id."""
    return await begin(database, owner_id, budget_usd=None if budget is None else Decimal(budget), **changes)


class Purchases:
    """Opens and closes attempts of one job, a step each."""

    def __init__(self, database: Database, owner_id: str, job_id: str) -> None:
        self.database = database
        self.job_id = job_id
        self.ledger = Ledger(database)
        self._owner_id = owner_id

    def key(self, step: str = "draft", **changes: Any) -> StepKey:
        """The key of a step of the job."""
        return step_key(self.job_id, self._owner_id, step, **changes)

    async def open(self, step: str = "draft", **how: Any) -> str:
        """Open an attempt as `opened` does. Its id."""
        return (await self.opened(step, **how)).attempt_id

    async def opened(
        self,
        step: str = "draft",
        *,
        reserve: Money | None = ONE,
        repair: Money | None = None,
        model: str = MODEL,
        reused: bool = False,
    ) -> Opened:
        """Open an attempt at a step that is not stored."""
        row = await self.ledger.open(
            self.key(step),
            attempt=1,
            model=model,
            prompt=PROMPT,
            simulated=False,
            reserve=None if reserve is None else Decimal(reserve),
            reserve_repair=None if repair is None else Decimal(repair),
            reused=reused,
        )
        assert isinstance(row, Opened)
        return row

    async def store(self, attempt_id: str, usd: Money | None, step: str = "draft", **more: Any) -> str:
        """Close an attempt that stores its step."""
        return await self.ledger.close_stored(self.key(step), attempt_id, spent(usd), "{}", [], data={}, **more)

    async def fail(
        self,
        attempt_id: str,
        usd: Money | None,
        step: str = "draft",
        *,
        outcome: Outcome = Outcome.FAILED,
        **more: Any,
    ) -> None:
        """Close an attempt that stores nothing."""
        await self.ledger.close_failed(self.key(step), attempt_id, spent(usd), outcome, **{"answered": True, **more})

    async def job(self) -> tuple[Decimal, Decimal]:
        """What the job has spent, and holds."""
        row = await one(self.database, "SELECT cost_usd, reserved_usd FROM jobs WHERE id = :id", id=self.job_id)
        return row["cost_usd"], row["reserved_usd"]


async def finish(database: Database, job_id: str, status: JobStatus = JobStatus.CANCELLED) -> None:
    """End a job, as its workflow does."""
    async with database.transaction() as connection:
        error = FAILED if status is JobStatus.FAILED else None
        await RunRepository(connection).finish(FinishJob(job_id=job_id, run=1, status=status, error=error))


async def month(database: Database) -> tuple[Decimal, Decimal]:
    """What the only month has spent, and holds."""
    row = await one(database, "SELECT spent_usd, reserved_usd FROM spending")
    return row["spent_usd"], row["reserved_usd"]
