"""Whether this worker can ask any model: without one it leaves the `llm` queue to others, says so, and looks again."""

import asyncio
import time
from collections.abc import Iterable

import structlog

from core.llm.health import PATIENCE_SECONDS, Absence, ask_ollama, holds

LOOK_SECONDS = 1.0
SAY_SECONDS = 60.0
MISSES = 3
"""Looks in a row that find nothing, before a queue that is polled is left: it may just be starting again."""

_LOCAL = "ollama"
_WAITING = "Jobs wait for it meanwhile."

log = structlog.get_logger()


class Models:
    """The providers of a worker, of which those with a key are there for good, and an Ollama comes and goes.

    Whether a provider that is there answers well is another matter: then all workers leave it alone for a while
    (`core.ledger.cooldowns`).
    """

    def __init__(
        self,
        providers: Iterable[str],
        ollama_url: str | None,
        ollama_model: str,
        *,
        look_seconds: float = LOOK_SECONDS,
        say_seconds: float = SAY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`providers` are the names of those that are configured; `ollama_model` is what jobs ask an Ollama for."""
        names = set(providers)
        self._lasting = bool(names - {_LOCAL})
        self._ollama_url = ollama_url if _LOCAL in names else None
        self._ollama_model = ollama_model
        self._look_seconds = look_seconds
        self._say_seconds = say_seconds
        self._patience_seconds = patience_seconds
        self.ailment: str | None = None
        """Why no model can be asked, and what to do; None when one can. As of the last look."""

    async def look(self, *, polled: bool = False) -> bool:
        """Whether any provider can be asked now. `polled`: one could, so that it is enough if it is there and busy."""
        self.ailment = await self._missing(polled)
        return self.ailment is None

    async def until_usable(self) -> None:
        """Return when a model can be asked. Until then it says every minute that none can."""
        said: float | None = None
        while not await self.look():
            if said is None or time.monotonic() - said >= self._say_seconds:
                log.error("worker.no_provider", reason=self.ailment)
                said = time.monotonic()
            await asyncio.sleep(self._look_seconds)
        if said is not None:
            log.info("worker.provider_found", provider=_LOCAL)

    async def until_lost(self) -> None:
        """Return when no model can be asked any more; never where a provider is there for good."""
        misses = 0
        while misses < MISSES:
            await asyncio.sleep(self._look_seconds)
            misses = 0 if await self.look(polled=True) else misses + 1

    async def _missing(self, polled: bool) -> str | None:
        if self._lasting:
            return None
        if self._ollama_url is None:
            return (
                "No provider of models is configured, and the simulator is off: this worker can ask no model. Set "
                "ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL, or SIMULATOR=true, and start it again. " + _WAITING
            )
        found = await ask_ollama(self._ollama_url, self._patience_seconds)
        if found is Absence.BUSY and polled:
            # What it generates may be ours, and would be lost with the queue.
            return None
        if found is Absence.BUSY:
            return (
                f"The Ollama at {self._ollama_url} is too busy to say in {self._patience_seconds:g} s what it holds. "
                "No other provider is configured, so this worker asks no model until it says so. " + _WAITING
            )
        if isinstance(found, Absence):
            return (
                f"Ollama does not answer at {self._ollama_url}, and no other provider is configured: this worker can "
                "ask no model. Start it there, or set OLLAMA_URL, ANTHROPIC_API_KEY or GEMINI_API_KEY and start this "
                "worker again. " + _WAITING
            )
        if not holds(found, self._ollama_model):
            there = f"of OLLAMA_MODEL, only {', '.join(found)}" if found else "of OLLAMA_MODEL, nor any other"
            return (
                f"The Ollama at {self._ollama_url} does not have the model {self._ollama_model} {there}, and no other "
                f"provider is configured. Run `ollama pull {self._ollama_model}` where it runs, or set OLLAMA_MODEL to "
                "one that it has and start this worker again. " + _WAITING
            )
        return None
