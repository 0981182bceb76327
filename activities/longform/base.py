"""What all steps of `longform` work with."""

import asyncio

from activities.stored import Stored
from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef
from core.contracts.documents import Article
from core.contracts.longform import Brief, Outline, Source
from core.contracts.longform_steps import LongformActivities
from core.db.engine import Database
from core.documents.extraction import STANDARD, Limits
from core.documents.passages import SourceText
from core.ledger.free import FreeSteps
from core.llm.gateway import Gateway
from core.web.fetcher import Fetcher

READERS = 2
"""Files that one worker process reads at once, however many renders it may do: each may take 768 MB."""
FETCHES = 8
"""URLs that one worker process fetches at once: each may hold FETCH_MAX_BYTES."""


class LongformBase(Stored, LongformActivities):
    """The dependencies, and models in the artifact store."""

    def __init__(
        self,
        gateway: Gateway,
        steps: FreeSteps,
        store: ArtifactStore,
        database: Database,
        web: Fetcher,
        reading: Limits = STANDARD,
    ) -> None:
        self._gateway = gateway
        self._steps = steps
        self._store = store
        self._database = database
        self._web = web
        self._reading = reading
        self._readers = asyncio.Semaphore(READERS)
        self._fetches = asyncio.Semaphore(FETCHES)

    async def _outline(self, ref: ArtifactRef) -> Outline:
        return await self._read(Outline, ref)

    async def _article(self, ref: ArtifactRef) -> Article:
        return await self._read(Article, ref)

    async def _sources(self, brief: Brief, ids: tuple[str, ...] | None = None) -> list[SourceText]:
        """The texts of the sources; of those named only."""
        wanted = [source for source in brief.sources if ids is None or source.id in ids]
        return list(await asyncio.gather(*(self._source(source) for source in wanted)))

    async def _source(self, source: Source) -> SourceText:
        text = (await self._store.get(source.text)).decode()
        return SourceText(id=source.id, title=source.title, priority=source.priority, text=text, placed=source.placed)
