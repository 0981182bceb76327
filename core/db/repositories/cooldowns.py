"""Providers that are left alone for a while: one row each, which all workers read before they ask."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.db.repositories.events import prepared

PROBE = timedelta(seconds=60)
"""How long a probe may take; after that another is made."""
ASK_AGAIN = timedelta(seconds=5)
"""How long the others wait while one probes."""
LONGEST = timedelta(minutes=10)
"""A provider is asked again after this at the latest."""


@dataclass(frozen=True)
class Admission:
    """Whether a provider may be asked now, by the database's clock."""

    until: datetime | None
    """It is left alone until then; None: go ahead."""
    wait: timedelta
    """From now to `until`."""
    troubled: bool
    """It failed lately: a success has something to clear."""
    probe: datetime | None = None
    """This one is to find out whether it is back, and has until then; the time is its token."""
    error_type: str = ""
    """What it failed with last."""


@dataclass(frozen=True)
class Cooling:
    """A provider that failed lately. `until` is None while it is asked as usual."""

    provider: str
    failures: int
    until: datetime | None
    error_type: str


# Of all that come after `until`, the first to lock the row probes: the others wait for it and find it probing.
_ADMIT = """
WITH probe AS (
    UPDATE cooldowns SET probing_until = now() + CAST(:probe AS interval)
    WHERE provider = :provider AND until <= now() AND COALESCE(probing_until <= now(), true)
    RETURNING probing_until
)
SELECT (SELECT probing_until FROM probe) AS probe, c.error_type,
       CASE WHEN c.until IS NULL OR EXISTS (SELECT 1 FROM probe) THEN NULL
            WHEN c.until > now() THEN c.until
            ELSE LEAST(CASE WHEN c.probing_until > now() THEN c.probing_until END, now() + CAST(:ask_again AS interval))
       END AS until, now() AS asked_at
FROM cooldowns c WHERE c.provider = :provider
"""
# Who was asked before the others stopped asking, and fails after, says nothing new.
_FAILED = """
INSERT INTO cooldowns AS c (provider, failures, until, error_type)
VALUES (:provider, 1, CASE WHEN :threshold <= 1 THEN now() + CAST(:first AS interval) END, :error_type)
ON CONFLICT (provider) DO UPDATE SET
    failures = c.failures + 1,
    until = CASE WHEN c.failures + 1 >= :threshold THEN now() + LEAST(
        CAST(:longest AS interval), CAST(:first AS interval) * power(2, LEAST(c.failures + 1 - :threshold, 20))) END,
    probing_until = NULL,
    error_type = EXCLUDED.error_type,
    updated_at = now()
WHERE c.until IS NULL OR c.probing_until = :probe
"""


class CooldownRepository:
    """Counts failures in a row, and says who may be asked. Each of these is one statement."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def admit(self, provider: str) -> Admission:
        """Whether the provider may be asked now. After a cooldown one call is let through, to find out."""
        row = (
            await self._connection.execute(
                prepared(_ADMIT), {"provider": provider, "probe": PROBE, "ask_again": ASK_AGAIN}
            )
        ).first()
        if row is None:
            return Admission(None, timedelta(0), troubled=False)
        if row.until is None:
            return Admission(None, timedelta(0), troubled=True, probe=row.probe)
        return Admission(row.until, row.until - row.asked_at, troubled=True, error_type=row.error_type)

    async def failed(
        self, provider: str, error_type: str, *, threshold: int, first: timedelta, probe: datetime | None
    ) -> None:
        """Count a failure. The one that makes it `threshold` begins a cooldown of `first`; that of the `probe` doubles
        it."""
        await self._connection.execute(
            prepared(_FAILED),
            {
                "provider": provider,
                "error_type": error_type,
                "threshold": threshold,
                "first": first,
                "longest": LONGEST,
                "probe": probe,
            },
        )

    async def succeeded(self, provider: str) -> None:
        """It answers again."""
        await self._connection.execute(text("DELETE FROM cooldowns WHERE provider = :name"), {"name": provider})

    async def not_asked(self, provider: str, probe: datetime) -> None:
        """Who was to probe did not: somebody else may."""
        await self._connection.execute(
            text("UPDATE cooldowns SET probing_until = NULL WHERE provider = :name AND probing_until = :probe"),
            {"name": provider, "probe": probe},
        )

    async def all(self) -> list[Cooling]:
        """The providers that failed lately and have not answered since."""
        rows = await self._connection.execute(
            text("SELECT provider, failures, until, error_type FROM cooldowns ORDER BY provider")
        )
        return [Cooling(row.provider, row.failures, row.until, row.error_type) for row in rows]
