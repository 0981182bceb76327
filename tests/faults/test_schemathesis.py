"""Thousands of requests made from the OpenAPI document, beside a Temporal that starts the jobs they submit."""

import asyncio

import pytest
from pydantic import SecretStr

from core.db.engine import Database
from tests.api.conftest import StartApi, start_api
from tests.conftest import Namespace
from tests.support.access import SECRET, Registry
from tests.support.conformance import Conformance

pytestmark = pytest.mark.faults
__all__ = ["start_api"]

EXAMPLES = 30
UNDONE = {
    # No job of these waits for a word on its outline: tests/faults/test_outline_review.py has those that do.
    "POST /v1/jobs/{job_id}/outline/approve",
    "POST /v1/jobs/{job_id}/outline/edit",
    "POST /v1/jobs/{job_id}/outline/revise",
    # Other changes of all documents are under way by then, and each has one at a time.
    "POST /v1/documents/{document_id}/versions/{number}/restore",
    # What is generated seldom names a type of files that is taken, and guesses no signature: tests/api/test_uploads.py.
    "POST /v1/uploads",
    "PUT /v1/uploads/{upload_id}/content",
    # What is generated guesses no password and no token.
    "POST /v1/auth/login",
    "POST /v1/auth/refresh",
    "POST /v1/me/password",
    "DELETE /v1/me",
}


async def test_every_answer_is_as_the_document_says(
    start_api: StartApi, database: Database, namespace: Namespace
) -> None:
    api = start_api(temporal_address=namespace.address, temporal_namespace=namespace.name, jwt_secret=SecretStr(SECRET))
    registry = Registry(database, api.deps.store)
    cases = 0
    for name, role in (("Ada", "user"), ("Eve", "admin")):
        person = await registry.person(name, role=role)
        conformance = await asyncio.to_thread(Conformance, api.url, person.named)
        token = person.access(api.deps.tokens)
        await asyncio.to_thread(conformance.ask, conformance.operations, token, examples=EXAMPLES)
        assert conformance.wrong == []
        cases += conformance.cases
    assert cases > 3_000
    assert conformance.never_done <= UNDONE
