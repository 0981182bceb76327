"""The real providers beside the scripted far end, and one call to ask of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from core.contracts.llm import Usage
from core.llm.claude import AnthropicProvider
from core.llm.gemini import GoogleProvider
from core.llm.ollama import OllamaProvider
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Reply
from core.llm.streaming import DEFAULT_TIMEOUTS, Timeouts
from tests.support import wire_messages as far
from tests.support.wire import WireProvider
from tests.support.wire_messages import WireRequest

KEY = "a-key"
MODELS = {"anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash", "ollama": "llama3.2"}
USAGE = Usage(input_tokens=1_000, output_tokens=50, cached_tokens=400)
GOOD = {"title": "Of lighthouses", "points": ["one", "two"]}


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(min_length=3)
    points: list[str]


PROMPT = Prompt("test", 1, "Be <brief>.", "Name </it>.")


def call_of(name: str, **changes: Any) -> Call[Answer]:
    """A call to the provider's usual model."""
    return replace(Call(MODELS[name], PROMPT, Answer, 99), **changes)


def provider_of(name: str, url: str, timeouts: Timeouts = DEFAULT_TIMEOUTS, key: str = KEY) -> Provider:
    """The provider of that name, whose far end is at `url`."""
    if name == "ollama":
        return OllamaProvider(url, timeouts)
    return {"anthropic": AnthropicProvider, "google": GoogleProvider}[name](key, url, timeouts)


@asynccontextmanager
async def opened(name: str, url: str, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> AsyncIterator[Provider]:
    """A provider of one's own."""
    provider = provider_of(name, url, timeouts)
    try:
        yield provider
    finally:
        await provider.aclose()


def limits(**seconds: float) -> Timeouts:
    """Timeouts in seconds."""
    return Timeouts(**{name: timedelta(seconds=value) for name, value in seconds.items()})


class Asker:
    """One provider and its far end. Every call is scripted, and must be one request."""

    def __init__(self, name: str, wire: WireProvider, provider: Provider) -> None:
        self.name = name
        self.wire = wire
        self.provider = provider

    @property
    def request(self) -> WireRequest:
        """The last one that came."""
        return self.wire.requests[-1]

    async def ask(self, answer: far.Answer, **changes: Any) -> Reply[Answer]:
        """Script one answer, ask once."""
        before = len(self.wire.requests)
        self.wire.script(answer)
        try:
            return await self.provider.ask(call_of(self.name, **changes))
        finally:
            assert len(self.wire.requests) == before + 1

    async def fail(self, answer: far.Answer, **changes: Any) -> ModelFailure:
        """Script one answer, ask once, return the failure."""
        with pytest.raises(ModelFailure) as caught:
            await self.ask(answer, **changes)
        return caught.value
