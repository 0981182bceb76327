"""Answers that the same request of the same owner may be given again, for a month."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.db.repositories.events import prepared

FRESH = timedelta(days=30)
"""An older answer is not given again: models and what is known change."""

# After the month's row, so that all who close take their locks in one order.
KEEP_RESULT = """
    kept AS (
        INSERT INTO results AS r (owner_id, key, job_id, output)
        SELECT CAST(:owner_id AS uuid), :result_key, CAST(:job_id AS uuid), CAST(:output AS jsonb)
        WHERE EXISTS (SELECT 1 FROM attempt) AND (SELECT count(*) FROM month) >= 0
        ON CONFLICT (owner_id, key) DO UPDATE
            SET job_id = EXCLUDED.job_id, output = EXCLUDED.output, created_at = EXCLUDED.created_at
            WHERE r.created_at < now() - CAST(:fresh AS interval)
    )
"""
"""A part of the statement that closes an attempt."""


class ResultRepository:
    """Finds answers that may be given again."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, owner_id: str, key: str) -> str | None:
        """The JSON of an answer to the same request, or None."""
        output = (
            await self._connection.execute(
                prepared(
                    "SELECT output::text FROM results WHERE owner_id = :owner_id AND key = :key "
                    "AND created_at >= now() - CAST(:fresh AS interval)"
                ),
                {"owner_id": owner_id, "key": key, "fresh": FRESH},
            )
        ).scalar()
        return None if output is None else str(output)

    async def drop_old(self) -> int:
        """Delete what is too old to be given again. How many answers that were."""
        result = await self._connection.execute(
            text("DELETE FROM results WHERE created_at < now() - CAST(:fresh AS interval)"), {"fresh": FRESH}
        )
        return int(result.rowcount)
