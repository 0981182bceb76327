"""Whether a local Ollama is there, and what it holds. Without an SDK, so that the API can ask too."""

import asyncio
from enum import Enum

import httpx
from pydantic import BaseModel, ValidationError

PATIENCE_SECONDS = 3.0


class Absence(Enum):
    """Why nobody says what an Ollama holds."""

    GONE = "gone"
    """Nobody takes the connection, or something else does."""
    BUSY = "busy"
    """Somebody takes it, and says nothing in time: a machine that generates may be that late."""


class _Tag(BaseModel):
    name: str


class _Tags(BaseModel):
    """The answer of `/api/tags`: https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models."""

    models: list[_Tag]


async def ollama_models(url: str, patience: float = PATIENCE_SECONDS) -> tuple[str, ...] | None:
    """As `ask_ollama`; None if none answers there, for whatever reason."""
    found = await ask_ollama(url, patience)
    return None if isinstance(found, Absence) else found


async def ask_ollama(url: str, patience: float = PATIENCE_SECONDS) -> tuple[str, ...] | Absence:
    """Names of the models that the Ollama at `url` holds, for example `llama3.2:latest`, or why they are not known.

    `patience` is in seconds, for the whole exchange; half of it for the connection.
    """
    try:
        # Certificates take 20 ms to read, and most have none.
        secure = url.startswith("https:")
        async with (
            asyncio.timeout(patience),
            httpx.AsyncClient(
                trust_env=False, verify=secure, timeout=httpx.Timeout(patience, connect=patience / 2)
            ) as client,
        ):
            response = await client.get(f"{url.rstrip('/')}/api/tags")
            response.raise_for_status()
            tags = _Tags.model_validate_json(response.content)
    except (TimeoutError, httpx.ReadTimeout):
        return Absence.BUSY
    except (httpx.HTTPError, httpx.InvalidURL, ValidationError):
        return Absence.GONE
    return tuple(tag.name for tag in tags.models)


def holds(models: tuple[str, ...], name: str) -> bool:
    """Whether a model of that name is among them; without a tag it is the one with `latest`."""
    return (name if ":" in name else f"{name}:latest") in models
