"""What requests and answers about webhooks and their deliveries look like, and rows as they show them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.requests import invalid
from api.schemas import AnswerModel, ReceiverUrl
from api.views import View
from core.contracts.base import Submission
from core.contracts.errors import AtelierError
from core.contracts.webhooks import DeliveryState, HookEvent
from core.db.repositories.deliveries import DeliveryRecord
from core.db.repositories.webhooks import HookRecord, SecretRecord
from core.settings import Settings
from core.web.addresses import Allowed, place_of

ChosenEvent = Literal[
    HookEvent.COMPLETED,
    HookEvent.FAILED,
    HookEvent.CANCELLED,
    HookEvent.WAITING,
    HookEvent.REMINDER,
    HookEvent.DISABLED,
]


def _distinct(events: tuple[ChosenEvent, ...]) -> tuple[ChosenEvent, ...]:
    return tuple(dict.fromkeys(events))


Events = Annotated[tuple[ChosenEvent, ...], Field(min_length=1, max_length=20), AfterValidator(_distinct)]
Description = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_TELLS = (
    "Which events it is told of; the same one twice counts once. `job.waiting`: a job waits for a person or a budget. "
    "`job.reminder`: it has waited for a person for long, and gives up when `waiting_for.expires_at` says. "
    "`webhook.disabled`: another of your webhooks was disabled."
)


class HookRequest(Submission):
    """A new webhook."""

    url: ReceiverUrl = Field(description="Where events are posted to. https, at a public address.")
    events: Events = Field(description=_TELLS)
    description: Description = ""
    active: bool = True


class HookPatch(Submission):
    """What can be changed of a webhook. What is left out stays."""

    url: ReceiverUrl = Field(default="", description="Deliveries that are being tried go on to the old one.")
    events: Events = Field(default=(HookEvent.COMPLETED,), description=_TELLS)
    description: Description = ""
    active: bool = Field(default=True, description="True also switches one on again that was disabled.")


class HookView(AnswerModel):
    """A webhook. Its secret is shown when it is made and rotated, and never again."""

    id: str
    url: str
    events: list[HookEvent]
    description: str
    active: bool
    failing_since: datetime | None = Field(description="Nothing has got through since then; null: the last try did.")
    disabled_at: datetime | None = Field(description="When we disabled it; null while it works.")
    disabled_because: str | None
    previous_secret_until: datetime | None = Field(
        description="After a rotation: until when the secret before signs too."
    )
    created_at: datetime


class NewHookView(HookView):
    """A webhook with its secret, shown only here."""

    secret: str = Field(description="Checks signatures, as Standard Webhooks says. It is not shown again.")


class HookList(AnswerModel):
    """A page of webhooks, newest first. Without `next_cursor` it is the last."""

    items: list[HookView]
    next_cursor: str | None


class SigningSecretView(AnswerModel):
    """What checks deliveries to the `webhook_url` of your jobs."""

    secret: str
    previous_secret_until: datetime | None = Field(
        description="After a rotation: until when the secret before signs too."
    )


class TryView(AnswerModel):
    """One try of a delivery. `status` is what the receiver answered with; `ms` until it began to."""

    at: datetime
    status: int | None
    ms: float | None
    error: str | None


class DeliveryView(AnswerModel):
    """A delivery. Its `id` is what the receiver gets as `webhook-id`, with every try and when it is made again."""

    id: str
    hook_id: str | None = Field(description="Null: to the `webhook_url` of the job.")
    job_id: str | None
    type: HookEvent
    url: str
    state: DeliveryState
    tries: list[TryView] = Field(description="The last 50 of them, oldest first.")
    next_try_at: datetime | None
    created_at: datetime
    ended_at: datetime | None = Field(description="When it got through, or was given up.")


class DeliveryList(AnswerModel):
    """A page of deliveries of the last 30 days, newest first. Without `next_cursor` it is the last."""

    items: list[DeliveryView]
    next_cursor: str | None


def check_receiver(settings: Settings, url: str, loc: str) -> None:
    """See whether a URL may be a receiver's, as far as it tells: its addresses are checked with every delivery.

    Raises `INVALID_REQUEST`, at `loc`.
    """
    allowed = Allowed(settings.allowed_hosts)
    try:
        place = place_of(url)
        allowed.check_name(place)
        if place.address is not None:
            allowed.check_addresses(place, (place.address,))
    except AtelierError as error:
        raise invalid(loc, error.message) from None
    if place.scheme != "https" and not settings.webhook_plain_http:
        raise invalid(loc, "It should be an https URL: what is sent to an http one can be read on the way")


def hook_view(hook: HookRecord) -> View:
    """A webhook, as `HookView`."""
    return {
        "id": hook.id,
        "url": hook.url,
        "events": [event.value for event in hook.events],
        "description": hook.description,
        "active": hook.active,
        "failing_since": hook.failing_since,
        "disabled_at": hook.disabled_at,
        "disabled_because": hook.disabled_because,
        "previous_secret_until": hook.previous_secret_until,
        "created_at": hook.created_at,
    }


def secret_view(secret: SecretRecord) -> View:
    """The signing secret, as `SigningSecretView`."""
    return {"secret": secret.secret, "previous_secret_until": secret.previous_until}


def delivery_view(delivery: DeliveryRecord) -> View:
    """A delivery, as `DeliveryView`."""
    return {
        "id": delivery.id,
        "hook_id": delivery.hook_id,
        "job_id": delivery.job_id,
        "type": delivery.type.value,
        "url": delivery.url,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "next_try_at": delivery.next_try_at,
        "created_at": delivery.created_at,
        "ended_at": delivery.ended_at,
    }
