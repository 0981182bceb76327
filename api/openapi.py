"""The API's own description: examples for every body, problems for every operation, the security scheme."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import examples
from api.admin_schemas import AccountCreation, AdminAccountPatch
from api.document_schemas import EditSection, OutlineApproval, OutlineRevision, RegenerateSection
from api.erasure_schemas import AccountDeletion
from api.errors import MEDIA_TYPE
from api.hook_schemas import HookPatch, HookRequest
from api.money_schemas import BudgetRaise, MonthlyBudget
from api.people_schemas import KeyRequest, LoginRequest, MePatch, PasswordChange, RefreshRequest, Registration
from api.schemas import EventView, JobPatch, JobSubmission, Problem
from api.session_schemas import (
    ContradictionWord,
    FollowUpAnswers,
    QuestionSkip,
    SessionCreation,
    SessionPatch,
    StageAnswers,
    StageReopening,
)
from api.upload_schemas import UploadRequest
from core.contracts.errors import ERRORS, ErrorType
from core.contracts.outlines import OutlineEdit
from workflows.registry import PIPELINES

Schema = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """
Atelier runs long AI work durably: a job that was accepted is never lost, and no step is paid for twice.

Send an API key or an access token with every request: `Authorization: Bearer <key>`. A key is for programs, and may be
allowed to read only; an access token comes from `POST /v1/auth/login` and lives for half an hour. You see what is
yours; what is another's is not found. Errors are problem documents (RFC 9457) with a stable `code`. Every answer
carries `X-Request-Id`, yours if you sent one. A 429 says in `Retry-After` when to come again.
"""
TAGS = [
    {"name": "auth", "description": "Come in with an email and a password, and leave. Needs no key."},
    {"name": "account", "description": "Your account: who you are, where you are logged in, what was done."},
    {"name": "keys", "description": "API keys, for programs."},
    {"name": "jobs", "description": "Submit work, see how far it is, steer it."},
    {"name": "outline", "description": "The plan of a long document, reviewed by you before a section is written."},
    {"name": "documents", "description": "What was written: its versions, what changed between them, and new ones."},
    {"name": "sessions", "description": "Scope a project: answer five stages of questions, and get its charter."},
    {"name": "events", "description": "What happens in a job, as server-sent events."},
    {"name": "budgets", "description": "What may be spent: no call is made that could pass it."},
    {"name": "usage", "description": "What is asked of models and what it costs, before and after."},
    {"name": "artifacts", "description": "The files that jobs make."},
    {"name": "uploads", "description": "Files that you bring: announce one, send its bytes, complete it."},
    {"name": "hooks", "description": "Webhooks: be called when a job ends or waits, and see what was delivered."},
    {"name": "admin", "description": "For admins: accounts, everybody's figures, limits. Never another's content."},
    {"name": "health", "description": "For load balancers and operators; needs no key."},
]
_BODIES: tuple[type[BaseModel], ...] = (
    JobSubmission,
    JobPatch,
    OutlineApproval,
    OutlineEdit,
    OutlineRevision,
    RegenerateSection,
    EditSection,
    BudgetRaise,
    MonthlyBudget,
    AccountCreation,
    AdminAccountPatch,
    Registration,
    LoginRequest,
    RefreshRequest,
    MePatch,
    PasswordChange,
    KeyRequest,
    AccountDeletion,
    HookRequest,
    HookPatch,
    UploadRequest,
    SessionCreation,
    SessionPatch,
    StageAnswers,
    FollowUpAnswers,
    QuestionSkip,
    StageReopening,
    ContradictionWord,
)
OPEN_TAGS = frozenset({"auth", "health"})
"""Of the routes that need no credentials."""
_REF = "#/components/schemas/{model}"
BODY_PROBLEMS = (
    ErrorType.REQUEST_TIMEOUT,
    ErrorType.BODY_TOO_LARGE,
    ErrorType.UNSUPPORTED_MEDIA_TYPE,
    ErrorType.INVALID_REQUEST,
)
OPEN_PROBLEMS = (ErrorType.TOO_MANY_REQUESTS, ErrorType.DATABASE_UNAVAILABLE, ErrorType.TOOK_TOO_LONG)
"""What every route can answer with that looks at no credentials."""
_ALWAYS = (ErrorType.UNAUTHENTICATED, ErrorType.INSUFFICIENT_SCOPE, *OPEN_PROBLEMS)


def request_body(model: type[BaseModel], example: examples.Example, *, required: bool = True) -> Schema:
    """`openapi_extra` of a route that parses its body itself."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def success(status: int, description: str, model: type[BaseModel], example: examples.Example) -> Responses:
    """`responses` of a route that answers with JSON."""
    content = {"application/json": {"example": example}}
    return {status: {"description": description, "model": model, "content": content}}


def problems(*codes: ErrorType, always: tuple[ErrorType, ...] = _ALWAYS) -> Responses:
    """`responses` for the problems a route can answer with, and those that every route can."""
    by_status: dict[int, list[ErrorType]] = {}
    for code in dict.fromkeys((*codes, *always)):
        by_status.setdefault(ERRORS[code].status, []).append(code)
    return {
        status: {
            "description": "; ".join(ERRORS[code].title for code in found),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": _REF.format(model="Problem")},
                    "examples": {code.value: {"value": examples.problem(code)} for code in found},
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def describe(app: FastAPI) -> Schema:
    """The OpenAPI document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document: Schema = get_openapi(
        title=app.title, version=app.version, description=app.description, tags=TAGS, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas: Schema = components.setdefault("schemas", {})
    schemas.update(_own_schemas())
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`atl_…`), made at `POST /v1/me/keys`, or an access token of a login. "
            "`atelier up` keeps a key in `credentials.json`; `python -m api.keys` makes keys without a login.",
        }
    }
    document["security"] = [{"key": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            _without_default_422(operation)
            if not OPEN_TAGS.isdisjoint(operation["tags"]):
                operation["security"] = []
    _restore_examples(app, document)
    app.openapi_schema = document
    return document


def _restore_examples(app: FastAPI, document: Schema) -> None:
    """FastAPI drops every null of the document, also from examples, where they say that a field is always there."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            told = document["paths"][route.path][method.lower()]["responses"]
            for status, response in route.responses.items():
                for media_type, content in response.get("content", {}).items():
                    if "example" in content:
                        told[str(status)]["content"][media_type]["example"] = content["example"]


def _own_schemas() -> Schema:
    """Schemas that FastAPI does not see, as routes parse their bodies themselves."""
    pipelines = {name: pipeline for name, pipeline in PIPELINES.items() if pipeline.submittable}
    inputs = [pipeline.input for pipeline in pipelines.values()]
    models: list[type[BaseModel]] = [*_BODIES, Problem, EventView, *inputs]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas: Schema = definitions["$defs"]
    schemas["JobSubmission"]["properties"]["pipeline"]["enum"] = sorted(pipelines)
    schemas["JobSubmission"]["properties"]["input"] = {
        "description": "What the pipeline is to do; each pipeline has a schema of its own.",
        "anyOf": [{"$ref": _REF.format(model=model.__name__)} for model in inputs],
    }
    return schemas


def _without_default_422(operation: Schema) -> None:
    """FastAPI names its own validation error where a route has parameters; ours are problem documents."""
    responses = operation.get("responses", {})
    default = responses.get("422", {}).get("content", {}).get("application/json", {})
    if default.get("schema", {}).get("$ref", "").endswith("HTTPValidationError"):
        del responses["422"]
