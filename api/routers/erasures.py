"""The end of an account, and what is left to read of it."""

from fastapi import APIRouter, Depends, Request, Response

from api.deps import LoginSession, anonymous, deps_of
from api.erasure_schemas import DELETION, ERASED, ERASING, AccountDeletion, ErasureView, erasure_view
from api.logins import confirm
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.requests import NO_QUERY, OPEN_ACT, JsonBody, invalid, parse, path_id
from api.views import answer
from core.contracts.errors import ErrorType
from core.db.repositories.erasures import DELETED

router = APIRouter(prefix="/v1", tags=["account"])

WAIT_SECONDS = 10.0
"""How long the answer waits for the end; what takes longer is looked up."""


@router.delete(
    "/me",
    summary="Delete your account",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(AccountDeletion, DELETION, required=False),
    responses={
        **success(200, "Everything is erased", ErasureView, ERASED),
        **success(202, "It is being erased; `Location` tells how far it is", ErasureView, ERASING),
        **problems(ErrorType.WRONG_CREDENTIALS, ErrorType.LOGIN_NEEDED, ErrorType.INVALID_STATE, *BODY_PROBLEMS),
    },
)
async def delete(body: JsonBody, session: LoginSession) -> Response:
    """Delete your account and everything in it: jobs, documents, files, histories, keys, logins. Nobody can bring it
    back.

    All keys and tokens end at once, and the email is free for another account. Jobs are cancelled and waited for; what
    a call that was under way may have cost counts as spent. What stays is what each call cost, without a word of what
    it said, and one line of the audit log. `Location` is where the figures can be read, without credentials.
    """
    deps = session.deps
    given = parse(AccountDeletion, body) if body else AccountDeletion()
    if session.owner.has_password:
        if given.password is None:
            raise invalid("password", "Deleting the account needs its password", "missing")
        await confirm(session, given.password)
    erasure_id, new = await session.erasures.begin()
    place = f"erasures/{erasure_id}"
    if new:
        await session.note(DELETED, place)
    session.is_noted = True
    await session.leave()
    deps.wake()
    erasure = await deps.erasure.attend(
        erasure_id, min(WAIT_SECONDS, deps.settings.api_answer_seconds / 2), deps.errands.run
    )
    status = 202 if erasure.finished_at is None else 200
    return answer(erasure_view(erasure), status, {"Location": f"/v1/{place}"})


@router.get(
    "/erasures/{erasure_id}",
    summary="Read how far a deletion is",
    response_model=None,
    dependencies=[Depends(anonymous), *OPEN_ACT],
    openapi_extra={"security": []},
    responses={**success(200, "The figures", ErasureView, ERASED), **problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS)},
)
async def read(erasure_id: str, request: Request) -> Response:
    """What was erased of an account that was deleted. It needs no credentials, which ended with the account."""
    return answer(erasure_view(await deps_of(request).erasure.report(path_id(erasure_id, "erasure"))))
