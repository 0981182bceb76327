"""API keys, for programs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import people_examples as examples
from api.deps import LoginSession
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.people_schemas import KeyList, KeyRequest, NewKeyView
from api.people_views import key_view
from api.requests import ACT, NO_QUERY, JsonBody, invalid, parse, path_id
from api.routers.auth import NOT_KEPT
from api.schemas import PageQuery
from api.views import answer
from core.contracts.errors import AtelierError, ErrorType

router = APIRouter(prefix="/v1/me/keys", tags=["keys"])

MOST_KEYS = 50
"""Live ones of an owner."""
LONGEST_LIFE = timedelta(days=3653)
"""Ten years."""


@router.get(
    "",
    summary="List your keys",
    response_model=None,
    responses={
        **success(200, "A page of keys", KeyList, examples.KEYS),
        **problems(ErrorType.LOGIN_NEEDED, ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def list_keys(session: LoginSession, query: Annotated[PageQuery, Query()]) -> Response:
    """All your keys, the newest first, with those that expired or were revoked. The keys themselves are not stored."""
    found = await session.keys.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, key_view, lambda key: id_cursor(key.id)))


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(KeyRequest, examples.KEY_REQUEST),
    responses={
        **success(201, "The key, shown only here", NewKeyView, examples.NEW_KEY),
        **problems(ErrorType.LOGIN_NEEDED, ErrorType.TOO_MANY_KEYS, *BODY_PROBLEMS),
    },
)
async def create(body: JsonBody, session: LoginSession) -> Response:
    """Make a key for a program. It may do what its scopes allow, in your name and with your role: within them the key
    of an admin is an admin's.

    An account has at most 50 keys that are live. Only an owner that a command made, and who cannot log in, makes keys
    with a key, and none that may do more than it.
    """
    given = parse(KeyRequest, body)
    now = datetime.now(UTC)
    if given.expires_at is not None and not now < given.expires_at <= now + LONGEST_LIFE:
        raise invalid("expires_at", "It should lie in the future, and within 10 years")
    if not given.scopes <= session.owner.scopes:
        raise AtelierError(
            ErrorType.INSUFFICIENT_SCOPE,
            "A key cannot make one that may do more than itself.",
            details={"needed": sorted(given.scopes), "scopes": sorted(session.owner.scopes)},
        )
    key, token = await session.keys.create(
        given.name, scopes=given.scopes, expires_at=given.expires_at, at_most=MOST_KEYS
    )
    session.resource = f"me/keys/{key.id}"
    return answer({**key_view(key), "key": token}, 201, NOT_KEPT)


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke a key",
    response_model=None,
    dependencies=ACT,
    responses={
        204: {"description": "It is revoked"},
        **problems(ErrorType.NOT_FOUND, ErrorType.LOGIN_NEEDED, *BODY_PROBLEMS),
    },
)
async def revoke(key_id: str, session: LoginSession) -> Response:
    """End a key: the next request with it is refused, everywhere. Done again, it does no harm."""
    await session.keys.revoke(path_id(key_id, "key"))
    return Response(status_code=204)
