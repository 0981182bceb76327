"""`python -m bench.floor_api`: the floor of the routes: one INSERT, one page, one row, straight to the driver.

On copies of the jobs table with all its indexes, on the same FastAPI, uvicorn, event loop and collector settings.
No key is looked up, nothing is told to anyone, nothing is logged.
"""

import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from core.db.engine import plain_url
from core.db.ids import new_id
from core.settings import Settings

PAGE = 50
POOL = 10
TABLE = "floor_jobs"

_INSERT = f"""
    INSERT INTO {TABLE} (id, owner_id, pipeline, title, input, models, body_sha256)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_PAGE = f"SELECT * FROM {TABLE} WHERE owner_id = $1 ORDER BY id DESC LIMIT {PAGE}"
_PAGE_BEFORE = f"SELECT * FROM {TABLE} WHERE owner_id = $1 AND id < $2 ORDER BY id DESC LIMIT {PAGE}"
_ROW = f"SELECT * FROM {TABLE} WHERE id = $1"


class Body(BaseModel):
    """What is sent."""

    model_config = ConfigDict(extra="forbid")

    pipeline: str
    input: dict[str, Any]


def create_app(settings: Settings, owner_id: str) -> FastAPI:
    """The application."""
    assert settings.database_url is not None
    url = plain_url(settings.database_url.get_secret_value())
    pools: list[asyncpg.Pool[asyncpg.Record]] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=POOL, max_size=POOL) as pool:
            pools.append(pool)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/jobs")
    async def insert(body: Body) -> Response:
        job_id = new_id()
        values = (job_id, owner_id, body.pipeline, "Title", to_json(body.input).decode(), ["a:b"], "0" * 64)
        await pools[0].execute(_INSERT, *values)
        return _answer({"id": job_id}, 202)

    @app.get("/v1/jobs")
    async def page(before: str | None = None) -> Response:
        rows = await (pools[0].fetch(_PAGE_BEFORE, owner_id, before) if before else pools[0].fetch(_PAGE, owner_id))
        return _answer({"items": [dict(row) for row in rows]})

    @app.get("/v1/jobs/{job_id}")
    async def row(job_id: str) -> Response:
        return _answer(dict(await pools[0].fetchrow(_ROW, job_id) or {}))

    @app.get("/v1/health/live")
    async def live() -> Response:
        return _answer({})

    return app


def _answer(content: dict[str, Any], status: int = 200) -> Response:
    return Response(to_json(content, serialize_unknown=True), status_code=status, media_type="application/json")


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)


if __name__ == "__main__":
    settings = Settings()
    _Server(
        uvicorn.Config(
            create_app(settings, os.environ["FLOOR_OWNER"]),
            host=settings.api_host,
            port=settings.api_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
        )
    ).run()
