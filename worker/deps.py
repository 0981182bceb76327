"""What the activities need, built once per worker process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from core.artifacts.store import ArtifactStore
from core.db.engine import Database
from core.ledger.cooldowns import Cooldowns
from core.ledger.free import FreeSteps
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.providers import build_providers
from core.settings import Settings


@dataclass(frozen=True)
class Deps:
    """The dependencies of all pipelines' activities."""

    database: Database
    store: ArtifactStore
    gateway: Gateway
    steps: FreeSteps
    providers: frozenset[str] = frozenset()
    """Names of the configured providers of models."""


@asynccontextmanager
async def build(settings: Settings, database_url: str) -> AsyncIterator[Deps]:
    """Build the dependencies, and close them at the end."""
    database = Database(database_url, pool_size=settings.database_pool_size)
    providers = build_providers(settings)
    try:
        yield Deps(
            database=database,
            store=ArtifactStore.open(settings.artifacts),
            gateway=Gateway(
                providers,
                Ledger(database),
                PromptLibrary.load(),
                Cooldowns(database, failures=settings.cooldown_failures, seconds=settings.cooldown_seconds),
                partial_text=timedelta(seconds=settings.partial_text_seconds),
            ),
            steps=FreeSteps(database),
            providers=frozenset(providers),
        )
    finally:
        for provider in providers.values():
            await provider.aclose()
        await database.close()
