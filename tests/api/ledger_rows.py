"""Rows of the ledger, as attempts leave them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from core.db.engine import Database
from core.db.ids import new_id

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def attempt(database: Database, job_id: str, **changes: Any) -> str:
    """A row of an attempt that went well, with these changes; its id. Ids grow in the order of the calls."""
    fields: dict[str, Any] = {
        "id": new_id(),
        "job_id": job_id,
        "pipeline": "longform",
        "step": "section s1",
        "revision": 1,
        "run": 1,
        "attempt": 1,
        "model": "anthropic:claude-haiku-4-5",
        "prompt_name": "longform/draft_section",
        "prompt_version": 3,
        "prompt_characters": 7_000,
        "outcome": "ok",
        "answered": True,
        "input_tokens": 1_000,
        "output_tokens": 200,
        "cached_tokens": 100,
        "cache_write_tokens": 50,
        "reasoning_tokens": 20,
        "usd": 0.002,
        "reserved_usd": 0.02,
        "latency_ms": 900,
        "first_token_ms": 300,
        "started_at": AT,
        "finished_at": AT,
        **changes,
    }
    names = ", ".join(fields)
    values = ", ".join(f":{name}" for name in fields)
    async with database.transaction() as connection:
        owner = "(SELECT owner_id FROM jobs WHERE id = :job_id)"
        await connection.execute(
            text(f"INSERT INTO attempts (owner_id, {names}) VALUES ({owner}, {values})"),
            fields,
        )
    return str(fields["id"])
