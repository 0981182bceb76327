"""Webhooks: who is told of what happens to jobs, and what was delivered."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import hook_examples as examples
from api.deps import Access, CountedSession, OwnerSession, Session, session_for
from api.hook_schemas import (
    DeliveryList,
    DeliveryView,
    HookList,
    HookPatch,
    HookRequest,
    HookView,
    NewHookView,
    SigningSecretView,
    check_receiver,
    delivery_view,
    hook_view,
    secret_view,
)
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.paging import id_cursor, id_of, page_view
from api.requests import ACT, NO_QUERY, JsonBody, parse, path_id
from api.routers.auth import NOT_KEPT
from api.schemas import PageQuery
from api.views import answer
from core.contracts.errors import ErrorType
from core.contracts.people import Scope
from core.db.repositories.deliveries import DeliveryRecord

router = APIRouter(prefix="/v1", tags=["hooks"])

MOST_HOOKS = 20
"""Of an owner."""

SecretSession = Annotated[Session, Depends(session_for(Access(scope=Scope.WRITE)), scope="function")]
"""For a GET that shows a secret: who may only read could sign with it."""
_ACT_PROBLEMS = problems(ErrorType.NOT_FOUND, *BODY_PROBLEMS)
_PAGE_PROBLEMS = problems(ErrorType.NOT_FOUND, ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST)


@router.get(
    "/hooks",
    summary="List your webhooks",
    response_model=None,
    responses={
        **success(200, "A page of webhooks", HookList, examples.HOOKS),
        **problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def list_hooks(session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """All your webhooks, the newest first, and why one of them was disabled."""
    found = await session.hooks.page(before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, hook_view, lambda hook: id_cursor(hook.id)))


@router.post(
    "/hooks",
    status_code=201,
    summary="Make a webhook",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(HookRequest, examples.HOOK_REQUEST),
    responses={
        **success(201, "The webhook, with its secret, shown only here", NewHookView, examples.NEW_HOOK),
        **problems(ErrorType.TOO_MANY_HOOKS, *BODY_PROBLEMS),
    },
)
async def create(body: JsonBody, session: OwnerSession) -> Response:
    """Have events of all your jobs posted to a URL, signed as Standard Webhooks (standardwebhooks.com) says.

    The body is JSON: `type`, `timestamp`, and in `data` the `job` with its status, cost, files by their ids, what it
    waits for or why it failed; of `webhook.disabled` and `webhook.test` the `hook`.

    Any status from 200 to 299 is a success. Everything else is tried again for a day, with longer and longer pauses, or
    when `Retry-After` says; 410 disables the webhook. A redirect is not followed. The same event can come twice, with
    the same `webhook-id`. There may be 20 webhooks.
    """
    given = parse(HookRequest, body)
    check_receiver(session.deps.settings, given.url, "url")
    hook, secret = await session.hooks.create(
        given.url, given.events, description=given.description, active=given.active, at_most=MOST_HOOKS
    )
    session.resource = f"hooks/{hook.id}"
    return answer({**hook_view(hook), "secret": secret}, 201, NOT_KEPT)


@router.get(
    "/hooks/{hook_id}",
    summary="Read a webhook",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The webhook", HookView, examples.HOOK), **problems(ErrorType.NOT_FOUND)},
)
async def read(hook_id: str, session: OwnerSession) -> Response:
    """A webhook, without its secret."""
    return answer(hook_view(await session.hooks.get(path_id(hook_id, "webhook"))))


@router.patch(
    "/hooks/{hook_id}",
    summary="Change a webhook",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(HookPatch, examples.HOOK_PATCH),
    responses={
        **success(200, "The webhook as it is now", HookView, {**examples.HOOK, **examples.HOOK_PATCH}),
        **_ACT_PROBLEMS,
    },
)
async def change(hook_id: str, body: JsonBody, session: OwnerSession) -> Response:
    """Change its URL, its events or its description, switch it off, or on again when it was disabled."""
    hook_id = path_id(hook_id, "webhook")
    patch = parse(HookPatch, body)
    given = patch.model_fields_set
    if "url" in given:
        check_receiver(session.deps.settings, patch.url, "url")
    hook = await session.hooks.change(
        hook_id,
        url=patch.url if "url" in given else None,
        events=patch.events if "events" in given else None,
        description=patch.description if "description" in given else None,
        active=patch.active if "active" in given else None,
    )
    return answer(hook_view(hook))


@router.delete(
    "/hooks/{hook_id}",
    status_code=204,
    summary="Delete a webhook",
    response_model=None,
    dependencies=ACT,
    responses={204: {"description": "It is gone"}, **_ACT_PROBLEMS},
)
async def delete(hook_id: str, session: OwnerSession) -> Response:
    """Delete a webhook with its deliveries: what has not got through by now does not any more."""
    await session.hooks.remove(path_id(hook_id, "webhook"))
    return Response(status_code=204)


@router.post(
    "/hooks/{hook_id}/rotate",
    summary="Change a webhook's secret",
    response_model=None,
    dependencies=ACT,
    responses={
        **success(200, "The webhook, with its new secret, shown only here", NewHookView, examples.ROTATED),
        **_ACT_PROBLEMS,
    },
)
async def rotate(hook_id: str, session: OwnerSession) -> Response:
    """Give it another secret. For a day both sign, so that the receiver can change in between."""
    hook, secret = await session.hooks.rotate(path_id(hook_id, "webhook"))
    return answer({**hook_view(hook), "secret": secret}, 200, NOT_KEPT)


@router.post(
    "/hooks/{hook_id}/test",
    status_code=202,
    summary="Test a webhook",
    response_model=None,
    dependencies=ACT,
    responses={**success(202, "A test will be delivered", DeliveryView, examples.TESTING), **_ACT_PROBLEMS},
)
async def test(hook_id: str, session: CountedSession) -> Response:
    """Have `webhook.test` delivered, also to one that is switched off. Its deliveries tell what came of it."""
    hook_id = path_id(hook_id, "webhook")
    await session.count_delivery()
    delivery_id = await session.hooks.test(hook_id)
    return _to_be_made(session, await session.deliveries.get(delivery_id))


@router.get(
    "/hooks/{hook_id}/deliveries",
    summary="List what was delivered to a webhook",
    response_model=None,
    responses={**success(200, "A page of deliveries", DeliveryList, examples.DELIVERIES), **_PAGE_PROBLEMS},
)
async def hook_deliveries(hook_id: str, session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Its deliveries of the last 30 days, the newest first, with every try."""
    found = await session.deliveries.of_hook(
        path_id(hook_id, "webhook"), before=id_of(query.cursor), limit=query.limit + 1
    )
    return answer(page_view(found, query.limit, delivery_view, lambda delivery: id_cursor(delivery.id)))


@router.get(
    "/jobs/{job_id}/deliveries",
    summary="List who was told of a job",
    response_model=None,
    responses={**success(200, "A page of deliveries", DeliveryList, examples.DELIVERIES), **_PAGE_PROBLEMS},
)
async def job_deliveries(job_id: str, session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """A job's deliveries to its `webhook_url` and to your webhooks, the newest first, with every try."""
    found = await session.deliveries.of_job(path_id(job_id, "job"), before=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, delivery_view, lambda delivery: id_cursor(delivery.id)))


@router.get(
    "/deliveries/{delivery_id}",
    summary="Read a delivery",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The delivery", DeliveryView, examples.DELIVERY), **problems(ErrorType.NOT_FOUND)},
)
async def delivery(delivery_id: str, session: OwnerSession) -> Response:
    """Where a delivery stands, with every try."""
    return answer(delivery_view(await session.deliveries.get(path_id(delivery_id, "delivery"))))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Make a delivery again",
    response_model=None,
    dependencies=ACT,
    responses={
        **success(202, "It will be made again", DeliveryView, examples.AGAIN),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_STATE, *BODY_PROBLEMS),
    },
)
async def redeliver(delivery_id: str, session: CountedSession) -> Response:
    """Send the same once more, with the same `webhook-id`, to the URL that the webhook has now."""
    delivery_id = path_id(delivery_id, "delivery")
    await session.count_delivery()
    return _to_be_made(session, await session.deliveries.redeliver(delivery_id))


@router.get(
    "/me/signing-secret",
    summary="Read the secret of your jobs' webhook_url",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The secret", SigningSecretView, examples.SIGNING_SECRET), **problems()},
)
async def signing_secret(session: SecretSession) -> Response:
    """What signs deliveries to the `webhook_url` of your jobs. Standing webhooks have secrets of their own."""
    return answer(secret_view(await session.hooks.signing_secret()), 200, NOT_KEPT)


@router.post(
    "/me/signing-secret/rotate",
    summary="Change the secret of your jobs' webhook_url",
    response_model=None,
    dependencies=ACT,
    responses={
        **success(200, "The new secret", SigningSecretView, examples.SIGNING_SECRET),
        **problems(*BODY_PROBLEMS),
    },
)
async def rotate_signing_secret(session: OwnerSession) -> Response:
    """Make another one. For a day both sign, so that receivers can change in between."""
    return answer(secret_view(await session.hooks.rotate_signing_secret()), 200, NOT_KEPT)


def _to_be_made(session: Session, made: DeliveryRecord) -> Response:
    session.then.append(session.deps.wake)
    return answer(delivery_view(made), 202)
