"""How much of a limit is used: two windows, whatever the clock and the settings do."""

from typing import Any

from sqlalchemy import text

from api.limits import EVERYBODY, HOUR, MINUTE
from core.db.engine import Database
from core.db.repositories.limits import Allowance, LimitRepository, Taken
from tests.api.conftest import StartApi
from tests.support.rows import rows
from tests.support.stack import eventually


class Window:
    """One row of the limits, and the database's clock: what moves is the row."""

    def __init__(self, database: Database, name: str = "submissions", subject: str = "ada") -> None:
        self._database = database
        self.allowance = Allowance(name, subject, 10, HOUR)

    async def take(self, quota: int = 10, **changes: Any) -> Taken:
        """Take one of so many."""
        asked = Allowance(**{**self.allowance.__dict__, "quota": quota, **changes})
        async with self._database.statement() as connection:
            (taken,) = await LimitRepository(connection).take([asked])
        return taken

    async def let_through(self, quota: int = 10, **changes: Any) -> int:
        """Take until it is refused. How many were let through."""
        for count in range(1_000):
            if (await self.take(quota, **changes)).retry_seconds:
                return count
        raise AssertionError("never refused")

    async def clock(self, ahead: str) -> None:
        """Let the clock go on, or back when it begins with a minus."""
        async with self._database.transaction() as connection:
            move = f"UPDATE limits SET window_at = window_at - interval '{ahead}' WHERE name = :name"
            await connection.execute(text(move), {"name": self.allowance.name})


async def test_two_windows_are_weighted(database: Database) -> None:
    window = Window(database)
    assert (await window.take()).remaining == 9
    assert await window.let_through() == 9
    await window.clock("30 minutes")
    refused = await window.take()
    assert (refused.remaining, round(refused.reset_seconds)) == (0, HOUR / 2)
    assert round(refused.retry_seconds) == HOUR / 2 + HOUR / 10  # the rest of this window, and a tenth of the next
    await window.clock("60 minutes")  # half of the ten lie within the last hour
    assert await window.let_through() == 5
    assert round((await window.take()).retry_seconds) == HOUR / 10
    await window.clock("361 seconds")
    assert await window.let_through() == 1
    await window.clock("2 hours")
    assert await window.let_through() == 10
    # What is told is when the next is let through.
    retry = (await window.take()).retry_seconds
    await window.clock(f"{retry - 2} seconds")
    assert 0 < (await window.take()).retry_seconds <= 2
    await window.clock("2 seconds")
    assert (await window.take()).retry_seconds == 0


async def test_the_clock_is_set(database: Database) -> None:
    for back in ("-20 minutes", "-3 hours", "-30 years"):
        window = Window(database, subject=back, name=back)
        assert await window.let_through() == 10
        await window.clock(back)
        # Nothing twice, and nobody waits for more than two windows from now on.
        first = await window.take()
        assert 0 < first.retry_seconds <= 2 * HOUR
        await window.clock(f"{first.retry_seconds} seconds")
        assert (await window.take()).retry_seconds == 0
    # It is asked about only: that too begins a window that ends.
    window = Window(database, name="looked at")
    assert await window.let_through() == 10
    await window.clock("-30 years")
    assert (await window.take(counted=False)).retry_seconds <= 2 * HOUR
    await window.clock("3 hours")
    assert (await window.take(counted=False)).retry_seconds == 0
    # Ahead by mistake, and put right: what was used meanwhile is what counts.
    window = Window(database, name="ahead")
    await window.let_through()
    await window.clock("30 years")
    assert await window.let_through() == 10
    await window.clock("-30 years")
    assert 0 < (await window.take()).retry_seconds <= 2 * HOUR


async def test_the_quota_is_changed(database: Database) -> None:
    window = Window(database)
    assert await window.let_through(10) == 10
    lowered = await window.take(4)
    assert (lowered.remaining, 3_600 < lowered.retry_seconds <= 2 * HOUR) == (0, True)
    await window.clock(f"{lowered.retry_seconds} seconds")
    assert (await window.take(4)).retry_seconds == 0
    assert (await window.take(4)).retry_seconds > 0
    assert await window.let_through(20) > 10
    nothing = Window(database, subject="grace")
    assert 0 < (await nothing.take(0)).retry_seconds <= 3 * HOUR
    assert (await nothing.take(10**12)).remaining == 10**12 - 1
    # The same name with another window: what was counted is used up by the shorter one, and too old for it soon.
    short = Window(database, subject="edsger")
    await short.let_through(10)
    assert 0 < (await short.take(10, seconds=MINUTE)).retry_seconds <= 2 * MINUTE
    await short.clock("10 minutes")
    assert await short.let_through(10, seconds=MINUTE) == 10
    assert 0 < (await short.take(10)).retry_seconds <= 2 * HOUR


async def test_what_is_only_asked_about(start_api: StartApi, database: Database) -> None:
    window = Window(database)
    assert (await window.take(counted=False)).remaining == 10
    assert await rows(database, "SELECT 1 FROM limits") == []
    for left in range(9, -1, -1):
        assert (await window.take()).remaining == left
    refused = await window.take(counted=False)
    assert (refused.remaining, refused.retry_seconds > 0) == (0, True)
    await window.clock("2 days")
    await Window(database, subject="grace").take()
    await window.clock("23 hours")
    start_api(limits=True)  # which forgets what no window reaches any more
    await eventually(
        lambda: rows(database, "SELECT subject FROM limits"), lambda found: found == [{"subject": "grace"}]
    )


async def test_what_is_given_back(database: Database) -> None:
    both = [Allowance("submissions", "ada", 10, HOUR), Allowance("all_submissions", EVERYBODY, 10, HOUR)]

    async def give_back(seconds: float) -> list[int]:
        async with database.statement() as connection:
            await LimitRepository(connection).give_back(both, seconds)
        return [row["used"] for row in await rows(database, "SELECT used FROM limits ORDER BY used")]

    async with database.statement() as connection:
        for _ in range(2):
            await LimitRepository(connection).take(both)
    assert await give_back(0) == [1, 1]
    # It was counted in a window that is over: in the one that has begun it was not.
    assert await give_back(HOUR) == [1, 1]
    assert await give_back(0) == [0, 0]
    assert await give_back(0) == [0, 0]
