"""What is asked and answered when an account is deleted: models, their examples, and the view; see `schemas.py`."""

from datetime import datetime

from pydantic import Field, SecretStr

from api.examples import Example
from api.schemas import AnswerModel
from api.views import View
from core.contracts.base import Submission
from core.db.repositories.erasures import ErasureRecord


class AccountDeletion(Submission):
    """The wish to be forgotten."""

    password: SecretStr | None = Field(
        default=None,
        min_length=1,
        max_length=1_000,
        description="The account's password. An account that never had one, and uses keys only, leaves it out.",
    )


class ErasedView(AnswerModel):
    """What was erased so far. The calls that were made for the account stay on record, with what each cost and nothing
    of what it said: `calls_kept`, `usd_kept`."""

    jobs: int
    documents: int
    artifacts: int
    objects: int = Field(description="Files in the artifact store: artifacts of the same content share one.")
    bytes: int
    histories: int = Field(description="Runs of workflows in Temporal.")
    uploads: int
    hooks: int = Field(description="Webhooks, with what was delivered to them.")
    keys: int
    logins: int
    calls_kept: int
    usd_kept: float


class ErasureView(AnswerModel):
    """How far the deletion of an account is. Whoever has the id may read it: it names nobody."""

    id: str
    requested_at: datetime
    finished_at: datetime | None = Field(description="Null while there is something left to erase.")
    erased: ErasedView


_FIGURES = tuple(name for name in ErasedView.model_fields if name != "usd_kept")

DELETION: Example = {"password": "an invented password"}
ERASURE_ID = "7d8f3c52-0b1e-4e0f-9a37-5b1c2d3e4f60"
ERASED: Example = {
    "id": ERASURE_ID,
    "requested_at": "2026-11-21T09:30:00.100000Z",
    "finished_at": "2026-11-21T09:30:04.700000Z",
    "erased": {
        "jobs": 12,
        "documents": 9,
        "artifacts": 214,
        "objects": 171,
        "bytes": 3_401_882,
        "histories": 13,
        "uploads": 4,
        "hooks": 1,
        "keys": 2,
        "logins": 3,
        "calls_kept": 148,
        "usd_kept": 0.4187,
    },
}
ERASING: Example = {
    **ERASED,
    "finished_at": None,
    "erased": {**dict.fromkeys(ERASED["erased"], 0), "usd_kept": 0.0},
}


def erasure_view(erasure: ErasureRecord) -> View:
    """An erasure, as `ErasureView`."""
    figures: dict[str, int | float] = {name: int(erasure.erased.get(name, 0)) for name in _FIGURES}
    return {
        "id": erasure.id,
        "requested_at": erasure.requested_at,
        "finished_at": erasure.finished_at,
        "erased": {**figures, "usd_kept": float(erasure.erased.get("usd_kept", 0))},
    }
