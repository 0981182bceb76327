"""A gateway as a worker has it, on a test's database, with all providers at the far end of the wire."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType, as_failure
from core.contracts.jobs import PaidRequest
from core.contracts.llm import Usage
from core.db.engine import Database
from core.db.repositories.steps import Kept
from core.ledger.cooldowns import Cooldowns
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Reply
from core.llm.providers import build_providers
from core.settings import Settings
from tests.support.rows import begin, rows, step_key
from tests.support.wire import WireProvider

MODELS = {"anthropic": "anthropic:claude-haiku-4-5", "google": "google:gemini-2.5-flash", "ollama": "ollama:llama3.2"}
TEXT = "Of all towers it is the one that nobody lives in, and the one that everybody looks for at night."
GOOD = {"title": "Of lighthouses", "text": TEXT}
USAGE = Usage(input_tokens=1_000, output_tokens=50, cached_tokens=400)
COOLDOWN_SECONDS = 120.0

_PROMPT = """---
name: test/name
version: 3
description: Names a thing.
inputs: [what]
---
# System
Be brief.
# User
Name {{ what }}.
"""


class Named(BaseModel):
    """What a model answers."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(min_length=3)
    text: str


class Title(Contract):
    """What is kept of it."""

    title: str


@dataclass
class Desk:
    """Asks through one gateway, and reads what the database has of it."""

    database: Database
    owner_id: str
    gateway: Gateway
    wire: WireProvider

    async def job(self, **changes: Any) -> str:
        """A job that runs. Its id."""
        return await begin(self.database, self.owner_id, **changes)

    def request(self, job_id: str, model: str, step: str = "draft", **changes: Any) -> PaidRequest:
        """A request of the job's owner."""
        key = step_key(job_id, changes.pop("owner_id", self.owner_id), step)
        return PaidRequest(key=key, model=MODELS.get(model, model), **changes)

    async def ask(
        self,
        request: PaidRequest,
        *,
        attempt: int = 1,
        what: str = "a tower",
        check: Callable[[Named], str | None] = lambda output: None,
        keep_error: Exception | None = None,
        keeping: asyncio.Event | None = None,
        max_output_tokens: int = 99,
    ) -> Title:
        """One attempt at the step. With `keeping` the answer is never kept: it says that it is about to be."""

        async def keep(reply: Reply[Named]) -> Kept[Title]:
            if keep_error is not None:
                raise keep_error
            if keeping is not None:
                keeping.set()
                await asyncio.Event().wait()
            return Kept(Title(title=reply.output.title), (), reply.simulated)

        return await self.gateway.step(
            request,
            attempt=attempt,
            prompt="test/name",
            inputs={"what": what},
            output=Named,
            result=Title,
            keep=keep,
            check=check,
            max_output_tokens=max_output_tokens,
            text_field="text",
        )

    async def fails(self, request: PaidRequest, **how: Any) -> AtelierError:
        """One attempt at the step, which must fail."""
        with pytest.raises(AtelierError) as caught:
            await self.ask(request, **how)
        return caught.value

    async def read(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """What a statement reads, with the owner's id as `:owner`: others use the database too."""
        return await rows(self.database, statement, owner=self.owner_id, **values)

    async def attempts(self) -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        return await self.read("SELECT * FROM attempts WHERE owner_id = :owner ORDER BY started_at, id")

    async def attempt(self) -> dict[str, Any]:
        """The one row of the ledger."""
        (row,) = await self.attempts()
        return row

    async def events(self, kind: str = "%") -> list[dict[str, Any]]:
        """What was told of a kind, in order, with its type."""
        told = await self.read(
            "SELECT e.type, e.data FROM events e JOIN jobs j ON j.id = e.job_id "
            "WHERE j.owner_id = :owner AND e.type LIKE :kind ORDER BY e.job_id, e.seq",
            kind=kind,
        )
        return [{"type": row["type"], **row["data"]} for row in told]

    async def spent(self) -> tuple[Decimal, Decimal]:
        """What the jobs' rows say: spent and reserved. The month's must say the same."""
        sums = (
            "COALESCE(sum({}), 0) AS spent, COALESCE(sum(reserved_usd), 0) AS reserved FROM {} WHERE owner_id = :owner"
        )
        (of_jobs,) = await self.read(f"SELECT {sums.format('cost_usd', 'jobs')}")
        (of_months,) = await self.read(f"SELECT {sums.format('spent_usd', 'spending')}")
        assert of_jobs == of_months
        return of_jobs["spent"], of_jobs["reserved"]

    async def troubles(self) -> dict[str, int]:
        """Failures in a row, by provider."""
        found = await rows(self.database, "SELECT provider, failures FROM cooldowns")
        return {row["provider"]: row["failures"] for row in found}


@asynccontextmanager
async def desk(
    database: Database,
    owner_id: str,
    wire: WireProvider,
    folder: Path,
    *,
    cooldown_failures: int = 100,
    partial_text: timedelta = timedelta(0),
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Desk]:
    """A desk whose providers are closed at the end; `settings` are fields of `Settings`."""
    prompt = folder / "test" / "name.md"
    prompt.parent.mkdir(exist_ok=True)
    prompt.write_text(_PROMPT)
    values: dict[str, Any] = {
        name.lower(): value for name, value in wire.environment("anthropic", "gemini", "ollama").items()
    }
    providers = build_providers(Settings(_env_file=None, **{**values, **(settings or {})}))
    gateway = Gateway(
        providers,
        Ledger(database),
        PromptLibrary.load(folder),
        Cooldowns(database, failures=cooldown_failures, seconds=COOLDOWN_SECONDS),
        partial_text=partial_text,
    )
    await rows(database, "DELETE FROM cooldowns RETURNING 1")  # of other tests
    try:
        yield Desk(database, owner_id, gateway, wire)
    finally:
        for provider in providers.values():
            await provider.aclose()


def usage_of(row: Mapping[str, Any]) -> Usage:
    """The usage that a row of the ledger has."""
    return Usage(**{name: row[name] for name in Usage.model_fields})


def comes_again(error: AtelierError) -> timedelta | bool | None:
    """What Temporal does after the error: False for nothing, else the delay; None leaves it to the preset."""
    failure = as_failure(error)
    return False if failure.non_retryable else failure.next_retry_delay


def kinds(errors: list[BaseException | Title]) -> list[ErrorType]:
    """The codes of those that failed."""
    return [error.type for error in errors if isinstance(error, AtelierError)]
