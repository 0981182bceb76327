"""Coming in and going: these routes need no credentials, and count by address."""

from fastapi import APIRouter, Depends, Request, Response

from api import logins
from api import people_examples as examples
from api.deps import anonymous, deps_of
from api.openapi import BODY_PROBLEMS, OPEN_PROBLEMS, problems, request_body, success
from api.people_schemas import AccountView, LoginRequest, RefreshRequest, Registration, TokenView
from api.people_views import account_view, token_view
from api.requests import OPEN_NO_QUERY, JsonBody, parse
from api.views import answer
from core.contracts.errors import ErrorType

router = APIRouter(prefix="/v1/auth", tags=["auth"], dependencies=[Depends(anonymous), *OPEN_NO_QUERY])

NOT_KEPT = {"Cache-Control": "no-store"}
"""On answers that hold a secret."""


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    response_model=None,
    openapi_extra=request_body(Registration, examples.REGISTRATION),
    responses={
        **success(201, "The account; log in next", AccountView, examples.ACCOUNT),
        **problems(ErrorType.REGISTRATION_CLOSED, ErrorType.EMAIL_TAKEN, *BODY_PROBLEMS, always=OPEN_PROBLEMS),
    },
)
async def register(request: Request, body: JsonBody) -> Response:
    """Register with an email and a password. Emails that differ in capitals only are the same.

    Where registration is closed, admins make the accounts.
    """
    account = await logins.register(deps_of(request), request, parse(Registration, body))
    return answer(account_view(account), 201)


@router.post(
    "/login",
    summary="Log in",
    response_model=None,
    openapi_extra=request_body(LoginRequest, examples.LOGIN),
    responses={
        **success(200, "An access token and a refresh token", TokenView, examples.TOKENS),
        **problems(ErrorType.WRONG_CREDENTIALS, *BODY_PROBLEMS, always=OPEN_PROBLEMS),
    },
)
async def login(request: Request, body: JsonBody) -> Response:
    """Get an access token, which is sent as `Authorization: Bearer …`, and a refresh token for the next one.

    A wrong password and an unknown email are answered alike.
    """
    given = parse(LoginRequest, body)
    tokens = await logins.log_in(deps_of(request), request, given.email, given.password)
    return answer(token_view(tokens), headers=NOT_KEPT)


@router.post(
    "/refresh",
    summary="Get the next tokens",
    response_model=None,
    openapi_extra=request_body(RefreshRequest, examples.REFRESH),
    responses={
        **success(200, "The next tokens", TokenView, examples.TOKENS),
        **problems(ErrorType.UNAUTHENTICATED, *BODY_PROBLEMS, always=OPEN_PROBLEMS),
    },
)
async def refresh(request: Request, body: JsonBody) -> Response:
    """Exchange a refresh token for a new access token and the next refresh token. Each refresh token is good once.

    One that comes a second time ends its login, with all tokens of it: either you or a thief has an old one, and
    nobody can know who. So send one refresh at a time, and keep the new token before you use it.
    """
    given = parse(RefreshRequest, body)
    return answer(token_view(await logins.refresh(deps_of(request), request, given.refresh_token)), headers=NOT_KEPT)


@router.post(
    "/logout",
    status_code=204,
    summary="Log out",
    response_model=None,
    openapi_extra=request_body(RefreshRequest, examples.REFRESH),
    responses={204: {"description": "The login has ended"}, **problems(*BODY_PROBLEMS, always=OPEN_PROBLEMS)},
)
async def logout(request: Request, body: JsonBody) -> Response:
    """End the login that a refresh token belongs to: its access tokens end too. Done again, it does no harm."""
    await logins.log_out(deps_of(request), request, parse(RefreshRequest, body).refresh_token)
    return Response(status_code=204)
