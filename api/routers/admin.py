"""For admins: accounts, everybody's figures, providers, limits, the audit log. Nobody's content is in reach."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import admin_examples as examples
from api import people_examples
from api.admin_schemas import (
    AccountCreation,
    AdminAccountList,
    AdminAccountPatch,
    AdminAccountView,
    AdminAuditQuery,
    AdminProviderList,
    AdminUsageQuery,
    AdminUsageView,
    LimitList,
)
from api.admin_views import (
    account_view,
    admin_provider_view,
    all_usage_item,
    allowances,
    limit_view,
)
from api.deps import AdminSession
from api.everybody import Everybody
from api.logins import check_new_password
from api.money_views import figures_view
from api.openapi import BODY_PROBLEMS, Responses, problems, request_body, success
from api.paging import id_cursor, id_of, page_view, text_cursor, text_of
from api.people_schemas import AuditList
from api.people_views import audit_view
from api.periods import period
from api.providers import PROVIDERS, TROUBLES, held
from api.requests import ACT, NO_QUERY, JsonBody, parse, path_id
from api.schemas import PageQuery
from api.views import answer
from core.contracts.errors import AtelierError, ErrorType
from core.db.repositories.accounts import email_taken

router = APIRouter(prefix="/v1/admin", tags=["admin"])

SHOWN = 10
"""Accounts that are named with a limit."""


def _problems(*codes: ErrorType) -> Responses:
    return problems(ErrorType.ADMIN_NEEDED, *codes)


@router.get(
    "/accounts",
    summary="List the accounts",
    response_model=None,
    responses={
        **success(200, "A page of accounts", AdminAccountList, examples.ACCOUNTS),
        **_problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def accounts(everybody: Everybody, query: Annotated[PageQuery, Query()]) -> Response:
    """All accounts, the newest first: who they are, what they may do, and how much they did. Not what."""
    found = await everybody.figures.accounts(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, account_view, lambda account: id_cursor(account.id)))


@router.post(
    "/accounts",
    status_code=201,
    summary="Make an account",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(AccountCreation, examples.CREATION),
    responses={
        **success(201, "The new account", AdminAccountView, examples.NEW_ACCOUNT),
        **_problems(ErrorType.EMAIL_TAKEN, *BODY_PROBLEMS),
    },
)
async def create(body: JsonBody, session: AdminSession, everybody: Everybody) -> Response:
    """Make an account for somebody, also where nobody can register. Whoever it is for logs in and changes the password.

    What is asked of email, name and password is what a registration asks.
    """
    given = parse(AccountCreation, body)
    check_new_password(given.password, "password", email=given.email, name=given.name)
    if await everybody.logins.is_taken(given.email):
        raise email_taken(given.email)
    async with session.away():
        hashed = await session.deps.passwords.hash(given.password)
    made = await everybody.logins.create(email=given.email, name=given.name, password_hash=hashed, role=given.role)
    session.resource = f"admin/accounts/{made.id}"
    await session.note("account.created_by_admin", f"accounts/{made.id}", owner_id=made.id, role=made.role.value)
    return answer(account_view(await everybody.figures.account(made.id)), 201)


@router.get(
    "/accounts/{account_id}",
    summary="Read an account",
    response_model=None,
    dependencies=NO_QUERY,
    responses={
        **success(200, "The account", AdminAccountView, examples.ACCOUNT),
        **_problems(ErrorType.NOT_FOUND),
    },
)
async def account(account_id: str, everybody: Everybody) -> Response:
    """Who it is, what it may do, and how much it did."""
    return answer(account_view(await everybody.figures.account(path_id(account_id, "account"))))


@router.patch(
    "/accounts/{account_id}",
    summary="Change an account's role or limits",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(AdminAccountPatch, examples.PATCH),
    responses={
        **success(200, "The account as it is now", AdminAccountView, examples.ACCOUNT),
        **_problems(ErrorType.NOT_FOUND, ErrorType.INVALID_STATE, *BODY_PROBLEMS),
    },
)
async def change(account_id: str, body: JsonBody, session: AdminSession, everybody: Everybody) -> Response:
    """Make it an admin's, or a user's again, and say what it may do. Its owner reads of it in the audit log.

    The last admin cannot become a user. A month's budget is as the owner would set it: jobs that wait for it go on.
    """
    account_id = path_id(account_id, "account")
    patch = parse(AdminAccountPatch, body)
    await everybody.figures.change(account_id, patch.model_dump(include=patch.model_fields_set))
    given = patch.model_dump(mode="json", include=patch.model_fields_set)
    if "monthly_usd" in given:
        session.then.append(session.deps.wake)
        given["monthly_usd"] = None if patch.monthly_usd is None else float(patch.monthly_usd)
    await session.note("account.changed_by_admin", f"accounts/{account_id}", owner_id=account_id, **given)
    return answer(account_view(await everybody.figures.account(account_id)))


@router.get(
    "/usage",
    summary="Add up what everybody used",
    response_model=None,
    responses={
        **success(200, "The figures", AdminUsageView, examples.ALL_USAGE),
        **_problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def all_usage(everybody: Everybody, query: Annotated[AdminUsageQuery, Query()]) -> Response:
    """Calls, tokens and dollars of all accounts by day, model, pipeline or account. What deleted accounts cost is in
    it, under their ids and without a name.

    Days are those of UTC, and a call counts on the day on which it began. At most 366 days at once.
    """
    days = period(query.first, query.last)
    total, found = await everybody.figures.usage(
        days.begin, days.end, query.by, after=text_of(query.cursor), limit=query.limit + 1
    )
    page = page_view(found, query.limit, all_usage_item, lambda record: text_cursor(record.key))
    return answer({"from": days.first, "to": days.last, "by": query.by.value, "total": figures_view(total), **page})


@router.get(
    "/providers",
    summary="See how the providers do",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The providers", AdminProviderList, examples.PROVIDERS), **_problems()},
)
async def all_providers(session: AdminSession, everybody: Everybody) -> Response:
    """Whether they answer, by everybody's calls of the last day, and whether all workers leave one alone."""
    found = await everybody.figures.providers(PROVIDERS, TROUBLES)
    await session.leave()
    local = await held(session.deps)
    return answer({"items": [admin_provider_view(session.deps, name, found[name], local) for name in PROVIDERS]})


@router.post(
    "/providers/{name}/resume",
    status_code=204,
    summary="Ask a provider again",
    response_model=None,
    dependencies=ACT,
    responses={
        204: {"description": "Workers ask it from now on"},
        **_problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS),
    },
)
async def resume(name: str, everybody: Everybody) -> Response:
    """End the time for which a provider is left alone. If it fails over and over again, another begins."""
    if name not in PROVIDERS:
        raise AtelierError(ErrorType.NOT_FOUND, f"There is no provider {name[:100]!r}: {', '.join(PROVIDERS)}.")
    await everybody.figures.resume(name)
    return Response(status_code=204)


@router.get(
    "/limits",
    summary="See how the limits stand",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The limits", LimitList, examples.LIMITS), **_problems()},
)
async def limits(session: AdminSession, everybody: Everybody) -> Response:
    """What the settings allow, how many have used theirs up or nearly so, and which accounts used most of theirs."""
    settings = session.deps.settings
    counted = allowances(settings)
    used = await everybody.figures.limits(counted)
    submitting = await everybody.figures.submitting(counted[0], limit=SHOWN)
    at_once, running = await everybody.figures.running(settings.limit_jobs_at_once, limit=SHOWN)
    views = [
        limit_view(one.name, one.quota, one.seconds, used.get(one.name), submitting if one is counted[0] else ())
        for one in counted
    ]
    views.insert(2, limit_view("jobs_at_once", settings.limit_jobs_at_once, None, at_once, running))
    return answer({"enabled": settings.limits, "items": views})


@router.get(
    "/audit",
    summary="Read the audit log",
    response_model=None,
    responses={
        **success(200, "A page of lines", AuditList, people_examples.AUDIT),
        **_problems(ErrorType.NOT_FOUND, ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def audit(everybody: Everybody, query: Annotated[AdminAuditQuery, Query()]) -> Response:
    """Who did what to which resource, from where, the newest first; of all accounts or of one, also a deleted one."""
    account_id = None if query.account is None else path_id(query.account, "account")
    found = await everybody.audit.everybody(owner_id=account_id, before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, audit_view, lambda line: id_cursor(line.id)))
