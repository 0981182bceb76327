"""People who register and log in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from api.people_schemas import AccountView, AuditLineView, AuditList, TokenView
from tests.api.conftest import Api

EMAIL, NAME, PASSWORD = "ada@example.com", "Ada Example", "herring gulls over the mill"
OTHER_PASSWORD = "otters in the mill pond"
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}


@dataclass(frozen=True)
class LoggedIn:
    """The tokens of a login."""

    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request sends."""
        return {"Authorization": f"Bearer {self.access}"}

    @property
    def body(self) -> dict[str, str]:
        """What a refresh or a logout sends."""
        return {"refresh_token": self.refresh}


@asynccontextmanager
async def anybody(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:
        yield client


async def register(client: httpx.AsyncClient, email: str = EMAIL, name: str = NAME) -> AccountView:
    """A new account."""
    response = await client.post("/v1/auth/register", json={"email": email, "name": name, "password": PASSWORD})
    assert response.status_code == 201, response.text
    return AccountView.model_validate_json(response.content)


async def log_in(client: httpx.AsyncClient, email: str = EMAIL, password: str = PASSWORD) -> LoggedIn:
    """A new login."""
    return logged_in(await client.post("/v1/auth/login", json={"email": email, "password": password}))


def logged_in(response: httpx.Response) -> LoggedIn:
    """The tokens of an answer, which must not be kept by what is between."""
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    tokens = TokenView.model_validate_json(response.content)
    return LoggedIn(tokens.access_token, tokens.refresh_token)


async def ada(client: httpx.AsyncClient) -> LoggedIn:
    """A login of a new account."""
    await register(client)
    return await log_in(client)


async def audit(client: httpx.AsyncClient, headers: dict[str, str]) -> list[AuditLineView]:
    """What was done, the newest first."""
    response = await client.get("/v1/me/audit", headers=headers)
    assert response.status_code == 200, response.text
    return AuditList.model_validate_json(response.content).items


async def told(client: httpx.AsyncClient, who: LoggedIn, action: str) -> list[AuditLineView]:
    """What was done, once the newest line is `action`: some are written after the answer."""
    async with asyncio.timeout(10):
        while (lines := await audit(client, who.headers))[0].action != action:  # noqa: ASYNC110 - it happens elsewhere
            await asyncio.sleep(0.01)
    return lines


async def status_of(client: httpx.AsyncClient, tokens: LoggedIn) -> int:
    """How the API answers to an access token."""
    return (await client.get("/v1/me", headers=tokens.headers)).status_code


async def refreshed(client: httpx.AsyncClient, tokens: LoggedIn) -> httpx.Response:
    """The answer to a refresh."""
    return await client.post("/v1/auth/refresh", json=tokens.body)
