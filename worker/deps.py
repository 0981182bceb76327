"""What the activities need, built once per worker process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from core.artifacts.store import ArtifactStore
from core.db.engine import Database
from core.documents.extraction import STANDARD, Limits
from core.ledger.cooldowns import Cooldowns
from core.ledger.free import FreeSteps
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.providers import build_providers
from core.settings import Settings
from core.web.fetcher import Fetcher
from core.web.rules import USER_AGENT, FetchRules


@dataclass(frozen=True)
class Deps:
    """The dependencies of all pipelines' activities."""

    database: Database
    store: ArtifactStore
    gateway: Gateway
    steps: FreeSteps
    web: Fetcher
    """Reads the URLs that users give."""
    receivers: Fetcher
    """Posts to the receivers of webhooks."""
    disable_after: timedelta = timedelta(days=3)
    """Webhooks that nothing gets through to."""
    reading: Limits = STANDARD
    """What reading one file may take."""
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
            web=fetcher(settings),
            receivers=poster(settings),
            disable_after=timedelta(days=settings.webhook_disable_days),
            providers=frozenset(providers),
        )
    finally:
        for provider in providers.values():
            await provider.aclose()
        await database.close()


def fetcher(settings: Settings) -> Fetcher:
    """The fetcher of what sources' URLs lead to. Raises ValueError for a wrong allowed host."""
    rules = FetchRules(
        allowed=settings.allowed_hosts,
        robots=settings.fetch_robots,
        max_body_bytes=settings.fetch_max_bytes,
        total_seconds=settings.fetch_seconds,
    )
    return Fetcher(rules, USER_AGENT)


def poster(settings: Settings) -> Fetcher:
    """The fetcher that posts to receivers of webhooks. Raises ValueError for a wrong allowed host."""
    seconds = settings.webhook_timeout_seconds
    rules = FetchRules(allowed=settings.allowed_hosts, robots=False, silence_seconds=seconds, total_seconds=seconds)
    return Fetcher(rules, USER_AGENT)
