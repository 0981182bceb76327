"""Some hundred requests made from the OpenAPI document, the same in every run; `make faults` sends thousands."""

import asyncio

import httpx
from pydantic import SecretStr

from core.db.engine import Database
from tests.api.conftest import StartApi
from tests.support.access import SECRET, Registry
from tests.support.conformance import Conformance


async def test_every_answer_is_as_the_document_says(start_api: StartApi, database: Database) -> None:
    api = start_api(background=False, jwt_secret=SecretStr(SECRET))
    registry = Registry(database, api.deps.store)
    ada, eve = await registry.person("Ada"), await registry.person("Eve", role="admin")
    adas, eves = (one.access(api.deps.tokens) for one in (ada, eve))
    conformance = await asyncio.to_thread(Conformance, api.url, ada.named)
    for_admins = [label for label in conformance.operations if "/v1/admin/" in label]
    others = [label for label in conformance.operations if label not in for_admins]
    await asyncio.to_thread(conformance.ask, others, adas, examples=4)
    await asyncio.to_thread(conformance.ask, for_admins, eves, examples=4)
    assert conformance.wrong == []
    assert conformance.cases > 400
    # Nothing that was sent has ended the credentials, or what came after it would prove little.
    async with httpx.AsyncClient(base_url=api.url) as client:
        for token in (adas, eves):
            assert (await client.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})).status_code == 200
