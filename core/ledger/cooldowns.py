"""Providers that fail over and over are left alone for a while, by all workers at once."""

from datetime import datetime, timedelta

from core.contracts.errors import ErrorType
from core.db.engine import Database
from core.db.repositories.cooldowns import Admission, CooldownRepository

__all__ = ["TROUBLE", "Admission", "Cooldowns"]

TROUBLE = frozenset(
    {
        ErrorType.RATE_LIMITED,
        ErrorType.OVERLOADED,
        ErrorType.PROVIDER_ERROR,
        ErrorType.PROVIDER_UNREACHABLE,
        ErrorType.MODEL_TIMEOUT,
        ErrorType.STREAM_CUT,
    }
)
"""Failures of the provider. Any other answer, a refusal or "wrong key" too, shows that it is there."""


class Cooldowns:
    """Says whether a provider may be asked, and hears how it went. Holds no connection in between."""

    def __init__(self, database: Database, failures: int, seconds: float) -> None:
        """A provider that fails `failures` times in a row is left alone for `seconds`; each probe that fails doubles
        them, up to ten minutes."""
        self._database = database
        self._failures = failures
        self._first = timedelta(seconds=seconds)

    async def admit(self, provider: str) -> Admission:
        """Whether the provider may be asked now. Who is let through after a cooldown is its probe, and must tell how
        it went: `succeeded`, `failed` or `not_asked`. One that never tells is given up after a minute."""
        async with self._database.statement() as connection:
            return await CooldownRepository(connection).admit(provider)

    async def succeeded(self, provider: str) -> None:
        """It answered. Needed only after an admission that was `troubled`."""
        async with self._database.statement() as connection:
            await CooldownRepository(connection).succeeded(provider)

    async def failed(self, provider: str, error_type: ErrorType, probe: datetime | None = None) -> None:
        """It failed. What is not `TROUBLE` of the provider's own means that it answered. `probe` is the admission's."""
        async with self._database.statement() as connection:
            cooldowns = CooldownRepository(connection)
            if error_type in TROUBLE:
                await cooldowns.failed(
                    provider, error_type.value, threshold=self._failures, first=self._first, probe=probe
                )
            else:
                await cooldowns.succeeded(provider)

    async def not_asked(self, provider: str, probe: datetime) -> None:
        """Who was admitted to probe did not ask after all, or was broken off: somebody else may."""
        async with self._database.statement() as connection:
            await CooldownRepository(connection).not_asked(provider, probe)
