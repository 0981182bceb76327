"""One's own account: who one is, the password, where one is logged in, and what was done."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import people_examples as examples
from api.deps import LoginSession, OwnerSession
from api.logins import change_password as change
from api.logins import confirm
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.people_schemas import AuditList, LoginList, MePatch, MeView, PasswordChange, TokenView
from api.people_views import audit_view, login_view, me_view, token_view
from api.requests import ACT, NO_QUERY, JsonBody, invalid, parse, path_id
from api.routers.auth import NOT_KEPT
from api.schemas import PageQuery
from api.views import View, answer
from core.contracts.errors import ErrorType

router = APIRouter(prefix="/v1/me", tags=["account"])

PAGE_PROBLEMS = (ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST)


@router.get(
    "",
    summary="Read your account",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "Your account", MeView, examples.ME), **problems()},
)
async def read(session: OwnerSession) -> Response:
    """Who you are, what you asked with, and how much you may start."""
    return answer(await _me(session))


@router.patch(
    "",
    summary="Change your account",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(MePatch, examples.ME_PATCH),
    responses={
        **success(200, "Your account as it is now", MeView, examples.ME),
        **problems(ErrorType.WRONG_CREDENTIALS, ErrorType.LOGIN_NEEDED, ErrorType.EMAIL_TAKEN, *BODY_PROBLEMS),
    },
)
async def update(body: JsonBody, session: LoginSession) -> Response:
    """Change the name, or the email. A new email needs the current password, as whoever has it can log in."""
    given = parse(MePatch, body)
    if "email" in given.model_fields_set:
        if "password" not in given.model_fields_set:
            raise invalid("password", "A new email needs the current password", "missing")
        await confirm(session, given.password)
        await session.account.change_email(given.email)
    elif "password" in given.model_fields_set:
        raise invalid("password", "Only a new email asks for it; POST /v1/me/password changes the password")
    if "name" in given.model_fields_set:
        await session.account.rename(given.name)
    return answer(await _me(session))


@router.post(
    "/password",
    summary="Change your password",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(PasswordChange, examples.PASSWORD_CHANGE),
    responses={
        **success(200, "The tokens of a new login", TokenView, examples.TOKENS),
        **problems(ErrorType.WRONG_CREDENTIALS, ErrorType.LOGIN_NEEDED, *BODY_PROBLEMS),
    },
)
async def change_password(body: JsonBody, session: LoginSession) -> Response:
    """Change the password. All logins end at once, everywhere, also the one that you ask with: go on with the tokens
    of the answer.

    API keys stay as they are: programs do not know the password. Revoke those that somebody else may have.
    """
    given = parse(PasswordChange, body)
    tokens = await change(session, given.current_password, given.new_password)
    return answer(token_view(tokens), headers=NOT_KEPT)


@router.get(
    "/logins",
    summary="List your logins",
    response_model=None,
    responses={
        **success(200, "A page of logins", LoginList, examples.LOGINS),
        **problems(ErrorType.LOGIN_NEEDED, *PAGE_PROBLEMS),
    },
)
async def list_logins(session: LoginSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Where you are logged in: the logins that have not ended, the newest first."""
    found = await session.logins.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(
        page_view(found, query.limit, lambda login: login_view(login, session.owner), lambda login: id_cursor(login.id))
    )


@router.delete(
    "/logins/{login_id}",
    status_code=204,
    summary="End a login",
    response_model=None,
    dependencies=ACT,
    responses={
        204: {"description": "It has ended"},
        **problems(ErrorType.NOT_FOUND, ErrorType.LOGIN_NEEDED, *BODY_PROBLEMS),
    },
)
async def end_login(login_id: str, session: LoginSession) -> Response:
    """End one of your logins with all its tokens, such as one on a machine that you lost. Done again, it does no
    harm."""
    await session.logins.end(path_id(login_id, "login"))
    return Response(status_code=204)


@router.get(
    "/audit",
    summary="Read what was done",
    response_model=None,
    responses={**success(200, "A page of lines", AuditList, examples.AUDIT), **problems(*PAGE_PROBLEMS)},
)
async def read_audit(session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Who did what with your account and what is in it, and from where, the newest first: you, your keys, an admin, or
    somebody who tried to log in as you."""
    found = await session.audit.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, audit_view, lambda record: id_cursor(record.id)))


async def _me(session: OwnerSession) -> View:
    return me_view(await session.account.get(), session.owner, session.deps.settings)
