"""Holding a job while something is stored that is only of use to the run that asked for it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import ENDED, JobStatus, StepKey


async def hold_job(connection: AsyncConnection, key: StepKey, what: str) -> None:
    """Lock the job of a key until the transaction ends: it neither ends nor goes meanwhile.

    `what` comes too late otherwise: raises `INVALID_STATE` when the job ended, is gone, or is in another run.
    """
    row = (
        await connection.execute(
            text("SELECT status, run FROM jobs WHERE id = :job_id AND owner_id = :owner_id FOR NO KEY UPDATE"),
            {"job_id": key.job_id, "owner_id": key.owner_id},
        )
    ).first()
    if row is None or row.run != key.run or JobStatus(row.status) in ENDED:
        now = "is gone" if row is None else "was retried" if row.run != key.run else f"is {row.status}"
        raise AtelierError(ErrorType.INVALID_STATE, f"The job {now}, so {what} came too late.")
