"""The API's description of itself."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api import (
    admin_examples,
    document_examples,
    examples,
    hook_examples,
    money_examples,
    people_examples,
    session_examples,
    upload_examples,
)
from api.admin_schemas import (
    AccountCreation,
    AdminAccountList,
    AdminAccountPatch,
    AdminAccountView,
    AdminProviderList,
    AdminUsageView,
    LimitList,
)
from api.app import create_app
from api.document_schemas import (
    DocumentList,
    DocumentView,
    EditSection,
    OutlineApproval,
    OutlineRevision,
    OutlineView,
    RegenerateSection,
    VersionList,
    WholeVersionView,
)
from api.erasure_schemas import DELETION, ERASED, ERASING, AccountDeletion, ErasureView
from api.hook_schemas import (
    DeliveryList,
    DeliveryView,
    HookList,
    HookPatch,
    HookRequest,
    HookView,
    NewHookView,
    SigningSecretView,
)
from api.money_schemas import (
    BudgetRaise,
    CallList,
    Estimates,
    MonthlyBudget,
    MonthView,
    ProviderList,
    UsageView,
)
from api.people_schemas import (
    AccountView,
    AuditList,
    KeyList,
    KeyRequest,
    LoginList,
    LoginRequest,
    MePatch,
    MeView,
    NewKeyView,
    PasswordChange,
    RefreshRequest,
    Registration,
    TokenView,
)
from api.schemas import (
    ArtifactList,
    JobList,
    JobPatch,
    JobSubmission,
    JobView,
    Live,
    Problem,
    Ready,
)
from api.session_schemas import (
    CharterVersionList,
    ContradictionList,
    ContradictionWord,
    FollowUpAnswers,
    QuestionSkip,
    SessionCreation,
    SessionList,
    SessionPatch,
    SessionView,
    StageAnswers,
    StageReopening,
    StageView,
    TranscriptView,
    WholeCharter,
)
from api.upload_schemas import UploadList, UploadRequest, UploadView
from core.contracts.errors import ErrorType
from core.contracts.longform import LongformInput
from core.contracts.outlines import OutlineEdit
from core.documents.charter_diff import CharterDiff
from core.documents.diff import ArticleDiff
from tests.api.conftest import NOWHERE, Api, make_settings

Operation = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document; no server is needed to make it."""
    return create_app(make_settings("postgresql://nobody@localhost/none", tmp_path_factory.mktemp("home"))).openapi()


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    bodies = 0
    for name, operation in _operations(document):
        described = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*described, *operation["responses"].values()]:
            for media_type, content in body.get("content", {}).items():
                bodies += 1
                assert "example" in content or content.get("examples"), f"{name} {media_type}"
                assert content["schema"], f"{name} {media_type}"
    assert bodies > 50


def test_examples_keep_their_nulls(document: dict[str, Any]) -> None:
    accepted = document["paths"]["/v1/jobs"]["post"]["responses"]["202"]["content"]["application/json"]
    assert accepted["example"] == examples.PENDING


def test_every_operation_is_told(document: dict[str, Any]) -> None:
    told = dict(_operations(document))
    assert set(told) == {
        "POST /v1/jobs",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "PATCH /v1/jobs/{job_id}",
        "DELETE /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/pause",
        "POST /v1/jobs/{job_id}/resume",
        "POST /v1/jobs/{job_id}/retry",
        "GET /v1/jobs/{job_id}/outline",
        "POST /v1/jobs/{job_id}/outline/approve",
        "POST /v1/jobs/{job_id}/outline/edit",
        "POST /v1/jobs/{job_id}/outline/revise",
        "GET /v1/documents",
        "GET /v1/documents/{document_id}",
        "GET /v1/documents/{document_id}/versions",
        "GET /v1/documents/{document_id}/versions/{number}",
        "GET /v1/documents/{document_id}/diff",
        "POST /v1/documents/{document_id}/sections/{section_id}/regenerate",
        "POST /v1/documents/{document_id}/sections/{section_id}/edit",
        "POST /v1/documents/{document_id}/versions/{number}/restore",
        "POST /v1/sessions",
        "GET /v1/sessions",
        "GET /v1/sessions/{session_id}",
        "PATCH /v1/sessions/{session_id}",
        "DELETE /v1/sessions/{session_id}",
        "GET /v1/sessions/{session_id}/stages/{number}",
        "POST /v1/sessions/{session_id}/stages/{number}/answers",
        "POST /v1/sessions/{session_id}/stages/{number}/follow-ups",
        "POST /v1/sessions/{session_id}/stages/{number}/skips",
        "POST /v1/sessions/{session_id}/stages/{number}/reopen",
        "GET /v1/sessions/{session_id}/contradictions",
        "POST /v1/sessions/{session_id}/contradictions/{contradiction_id}",
        "POST /v1/sessions/{session_id}/finish",
        "GET /v1/sessions/{session_id}/transcript",
        "GET /v1/sessions/{session_id}/charter",
        "GET /v1/sessions/{session_id}/charter/versions",
        "GET /v1/sessions/{session_id}/charter/versions/{number}",
        "GET /v1/sessions/{session_id}/charter/diff",
        "GET /v1/jobs/{job_id}/events",
        "GET /v1/jobs/{job_id}/artifacts",
        "GET /v1/artifacts/{artifact_id}",
        "HEAD /v1/artifacts/{artifact_id}",
        "POST /v1/jobs/{job_id}/budget",
        "DELETE /v1/me",
        "GET /v1/erasures/{erasure_id}",
        "GET /v1/me/budget",
        "PUT /v1/me/budget",
        "POST /v1/estimates",
        "GET /v1/jobs/{job_id}/calls",
        "GET /v1/usage",
        "GET /v1/providers",
        "POST /v1/auth/register",
        "POST /v1/auth/login",
        "POST /v1/auth/refresh",
        "POST /v1/auth/logout",
        "GET /v1/me",
        "PATCH /v1/me",
        "POST /v1/me/password",
        "GET /v1/me/logins",
        "DELETE /v1/me/logins/{login_id}",
        "GET /v1/me/audit",
        "GET /v1/me/keys",
        "POST /v1/me/keys",
        "DELETE /v1/me/keys/{key_id}",
        "POST /v1/uploads",
        "GET /v1/uploads",
        "GET /v1/uploads/{upload_id}",
        "DELETE /v1/uploads/{upload_id}",
        "PUT /v1/uploads/{upload_id}/content",
        "POST /v1/uploads/{upload_id}/complete",
        "GET /v1/hooks",
        "POST /v1/hooks",
        "GET /v1/hooks/{hook_id}",
        "PATCH /v1/hooks/{hook_id}",
        "DELETE /v1/hooks/{hook_id}",
        "POST /v1/hooks/{hook_id}/rotate",
        "POST /v1/hooks/{hook_id}/test",
        "GET /v1/hooks/{hook_id}/deliveries",
        "GET /v1/jobs/{job_id}/deliveries",
        "GET /v1/deliveries/{delivery_id}",
        "POST /v1/deliveries/{delivery_id}/redeliver",
        "GET /v1/me/signing-secret",
        "POST /v1/me/signing-secret/rotate",
        "GET /v1/admin/accounts",
        "POST /v1/admin/accounts",
        "GET /v1/admin/accounts/{account_id}",
        "PATCH /v1/admin/accounts/{account_id}",
        "GET /v1/admin/usage",
        "GET /v1/admin/providers",
        "POST /v1/admin/providers/{name}/resume",
        "GET /v1/admin/limits",
        "GET /v1/admin/audit",
        "GET /v1/health/live",
        "GET /v1/health/ready",
    }
    for name, operation in told.items():
        assert operation["summary"], name
        assert operation["description"], name
        if "/health/" in name:
            assert operation["security"] == []
        elif "/auth/" in name or name == "PUT /v1/uploads/{upload_id}/content":
            assert operation["security"] == []
            assert {"429", "503"} <= set(operation["responses"]), name
        else:
            assert {"401", "503"} <= set(operation["responses"]), name
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(document))
    assert "#/components/schemas/LongformInput" in found
    schemas = document["components"]["schemas"]
    # A child job is submitted by the routes of its document only.
    assert schemas["JobSubmission"]["properties"]["pipeline"]["enum"] == ["longform", "scoping"]
    assert "RevisionInput" not in schemas
    assert {name.rpartition("/")[2] for name in found} <= set(schemas)
    assert "HTTPValidationError" not in schemas


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (JobSubmission, examples.SUBMISSION),
        (LongformInput, examples.SUBMISSION["input"]),
        (JobPatch, examples.PATCH),
        (JobView, examples.PENDING),
        (JobView, examples.RUNNING),
        (JobView, examples.PAUSING),
        (JobView, examples.CANCELLING),
        (JobView, examples.RETRIED),
        (JobView, examples.COMPLETED),
        (JobList, examples.JOBS),
        (ArtifactList, examples.ARTIFACTS),
        (OutlineView, document_examples.OUTLINE),
        (OutlineApproval, document_examples.APPROVAL),
        (OutlineEdit, document_examples.OUTLINE_EDIT),
        (OutlineRevision, document_examples.OUTLINE_REVISION),
        (DocumentView, document_examples.DOCUMENT),
        (DocumentList, document_examples.DOCUMENTS),
        (VersionList, document_examples.VERSIONS),
        (WholeVersionView, document_examples.WHOLE_VERSION),
        (ArticleDiff, document_examples.DIFF),
        (RegenerateSection, document_examples.REGENERATION),
        (EditSection, document_examples.SECTION_EDIT),
        (JobView, document_examples.REVISION),
        (BudgetRaise, money_examples.RAISE),
        (MonthlyBudget, money_examples.MONTHLY),
        (MonthView, money_examples.MONTH),
        (Estimates, money_examples.ESTIMATES),
        (CallList, money_examples.CALLS),
        (UsageView, money_examples.USAGE),
        (ProviderList, money_examples.PROVIDERS),
        (AccountCreation, admin_examples.CREATION),
        (AdminAccountView, admin_examples.NEW_ACCOUNT),
        (AdminAccountPatch, admin_examples.PATCH),
        (AdminAccountList, admin_examples.ACCOUNTS),
        (AdminUsageView, admin_examples.ALL_USAGE),
        (AdminProviderList, admin_examples.PROVIDERS),
        (LimitList, admin_examples.LIMITS),
        (AccountDeletion, DELETION),
        (ErasureView, ERASED),
        (ErasureView, ERASING),
        (Registration, people_examples.REGISTRATION),
        (AccountView, people_examples.ACCOUNT),
        (LoginRequest, people_examples.LOGIN),
        (RefreshRequest, people_examples.REFRESH),
        (TokenView, people_examples.TOKENS),
        (MeView, people_examples.ME),
        (MePatch, people_examples.ME_PATCH),
        (PasswordChange, people_examples.PASSWORD_CHANGE),
        (LoginList, people_examples.LOGINS),
        (KeyRequest, people_examples.KEY_REQUEST),
        (NewKeyView, people_examples.NEW_KEY),
        (KeyList, people_examples.KEYS),
        (AuditList, people_examples.AUDIT),
        (UploadRequest, upload_examples.UPLOAD),
        (UploadView, upload_examples.PENDING),
        (UploadView, upload_examples.REFUSED),
        (UploadList, upload_examples.UPLOADS),
        (HookRequest, hook_examples.HOOK_REQUEST),
        (HookPatch, hook_examples.HOOK_PATCH),
        (HookView, hook_examples.HOOK),
        (NewHookView, hook_examples.NEW_HOOK),
        (NewHookView, hook_examples.ROTATED),
        (HookList, hook_examples.HOOKS),
        (SigningSecretView, hook_examples.SIGNING_SECRET),
        (DeliveryView, hook_examples.TESTING),
        (DeliveryView, hook_examples.AGAIN),
        (DeliveryList, hook_examples.DELIVERIES),
        (SessionCreation, session_examples.CREATION),
        (SessionPatch, session_examples.PATCH),
        (StageAnswers, session_examples.ANSWERS),
        (FollowUpAnswers, session_examples.FOLLOW_UPS),
        (QuestionSkip, session_examples.SKIP),
        (StageReopening, session_examples.REOPENING),
        (ContradictionWord, session_examples.RESOLUTION),
        (SessionView, session_examples.NEW_SESSION),
        (SessionView, session_examples.SESSION),
        (SessionList, session_examples.SESSIONS),
        (StageView, session_examples.STAGE),
        (ContradictionList, session_examples.CONTRADICTIONS),
        (TranscriptView, session_examples.TRANSCRIPT),
        (CharterVersionList, session_examples.VERSIONS),
        (WholeCharter, session_examples.WHOLE_CHARTER),
        (CharterDiff, session_examples.CHARTER_DIFF),
        (Live, examples.LIVE),
        (Ready, examples.READY),
        (Ready, examples.NOT_READY),
    ],
)
def test_examples_fit_their_models(model: type[BaseModel], example: dict[str, Any]) -> None:
    model.model_validate(example)


def test_examples_of_problems_fit(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for status, response in operation["responses"].items():
            for code, example in (
                response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
            ):
                found = Problem.model_validate(example["value"])
                assert (found.code, found.status) == (ErrorType(code), int(status)), name


async def test_the_documentation_is_served(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url) as client:
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "/openapi.json" in page.text
        # Everything the page loads comes from here, behind any proxy, and on a machine without a way out.
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert loaded
        for address in loaded:
            assert re.match(r"/[^/]", address)
            assert (await client.get(address)).status_code == 200
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Atelier"


def test_settings_that_name_no_servers(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = make_settings("postgresql://nobody@localhost/none", tmp_path_factory.mktemp("home"))
    assert whole.temporal_address == NOWHERE
    for missing in ("database_url", "temporal_address"):
        with pytest.raises(ValueError, match=missing.upper()):
            create_app(whole.model_copy(update={missing: None}))
