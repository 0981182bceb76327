"""Bringing files by REST."""

import hashlib
from pathlib import Path
from typing import Any

import httpx

from api.upload_schemas import UploadView
from tests.api.conftest import Api

NOTE = b"# Tide mills\n\nTwice a day the sea turned them.\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def announce(client: httpx.AsyncClient, data: bytes = NOTE, **more: object) -> dict[str, Any]:
    """A new upload."""
    asked = {"name": "notes.md", "size": len(data), "media_type": "text/markdown", **more}
    response = await client.post("/v1/uploads", json=asked)
    assert response.status_code == 201, response.text
    UploadView.model_validate_json(response.content)
    made: dict[str, Any] = response.json()
    return made


async def put(api: Api, upload: dict[str, Any], data: Any = NOTE, url: str = "", **headers: str) -> httpx.Response:
    """Send bytes as anybody can who has the URL."""
    target = upload["upload"]
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as anybody:
        return await anybody.put(url or target["url"], content=data, headers={**target["headers"], **headers})


async def sent(api: Api, client: httpx.AsyncClient, data: bytes = NOTE, **more: object) -> dict[str, Any]:
    """An upload whose bytes are there."""
    upload = await announce(client, data, **more)
    response = await put(api, upload, data)
    assert (response.status_code, response.headers["etag"]) == (204, f'"{sha256(data)}"'), response.text
    return upload


async def complete(client: httpx.AsyncClient, upload: dict[str, Any]) -> httpx.Response:
    return await client.post(f"/v1/uploads/{upload['id']}/complete")


async def status_of(client: httpx.AsyncClient, upload: dict[str, Any]) -> str:
    return str((await client.get(f"/v1/uploads/{upload['id']}")).json()["status"])


def kept(folder: Path) -> list[Path]:
    """The files in the store."""
    return [path for path in (folder / "artifacts").rglob("*") if path.is_file()]
