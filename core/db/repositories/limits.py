"""How much of each limit is used, counted in the database so that all processes count together."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from core.db.repositories.events import prepared


@dataclass(frozen=True)
class Allowance:
    """So many in so many seconds, for one subject: an owner, an address, or everybody."""

    name: str
    subject: str
    quota: int
    seconds: int
    counted: bool = True
    """Else it is only asked whether one more would be let through."""


@dataclass(frozen=True)
class Taken:
    """How an allowance stands. `retry_seconds` is 0 unless it refused."""

    allowance: Allowance
    remaining: int
    reset_seconds: float
    """Until its window ends."""
    retry_seconds: float


class LimitRepository:
    """Takes of allowances. To be called on a connection without a transaction: what is counted locks its row, and
    everybody else's."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def take(self, allowances: Sequence[Allowance]) -> list[Taken]:
        """Count one of each, or of none when one of them is used up; that one is then the last of the answer.

        Everybody gives them in the same order, or they would wait for one another.
        """
        rows = await self._connection.execute(
            prepared("SELECT * FROM take_allowance(:names, :subjects, :quotas, :windows, :counted)"),
            {
                "names": [one.name for one in allowances],
                "subjects": [one.subject for one in allowances],
                "quotas": [one.quota for one in allowances],
                "windows": [one.seconds for one in allowances],
                "counted": [one.counted for one in allowances],
            },
        )
        found = {one.name: one for one in allowances}
        return [Taken(found[row.limit_name], row.remaining, row.reset_seconds, row.retry_seconds) for row in rows]

    async def give_back(self, allowances: Sequence[Allowance], seconds: float) -> None:
        """Take back what was counted so many seconds ago, unless its window is over: there it counts less each moment.

        One statement each, so that no two rows are locked in another order than `take` has.
        """
        for one in allowances:
            await self._connection.execute(
                prepared(
                    "UPDATE limits SET used = used - 1 WHERE name = :name AND subject = :subject AND used > 0 "
                    "AND window_at <= clock_timestamp() - make_interval(secs => :seconds)"
                ),
                {"name": one.name, "subject": one.subject, "seconds": seconds},
            )

    async def drop_old(self) -> int:
        """Forget what no window reaches any more. What is in use at the moment is left to the next time."""
        result = await self._connection.execute(
            prepared(
                "DELETE FROM limits WHERE (name, subject) IN (SELECT name, subject FROM limits "
                "WHERE window_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED)"
            ),
            {},
        )
        return int(result.rowcount)
