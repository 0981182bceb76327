"""The base of every contract, references to stored bytes, and the tie from an activity's implementation to its name."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from temporalio import activity

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A name a person gave or reads: a step, a model, a file."""
ShortText = Annotated[str, StringConstraints(max_length=2_000)]
"""Text that may travel through a workflow. Anything that can pass 16 KiB travels as an `ArtifactRef`."""

# JSON of unknown shape: `JsonValue` of pydantic is recursive and slow to validate on the hot path.
Json = dict[str, Any]


class Contract(BaseModel):
    """A frozen model that crosses a process boundary. Fields are only ever added, each with a default.

    Unknown fields are ignored, so that an old worker reads what a newer one wrote.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class Submission(Contract):
    """A frozen model that a user fills in: an unknown field is refused, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class ArtifactRef(Contract):
    """A reference to bytes in the artifact store, addressed by content within one owner."""

    owner_id: str
    sha256: Sha256
    size: int = Field(ge=0, description="bytes")
    media_type: str


class Attachment(NamedTuple):
    """Bytes that come with a submission and are too long to travel: stored before the job that refers to them."""

    name: str
    ref: ArtifactRef
    data: bytes | None
    """None: they are in the store already."""


def attachment(owner_id: str, name: str, text: str, media_type: str) -> Attachment:
    """A text as an attachment."""
    data = text.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    return Attachment(name, ArtifactRef(owner_id=owner_id, sha256=sha256, size=len(data), media_type=media_type), data)


class Prepared(NamedTuple):
    """A pipeline's input as its workflow gets it, and the bytes that it refers to."""

    input: Contract
    attachments: tuple[Attachment, ...] = ()


def as_given(given: Contract, owner_id: str, uploads: object = None) -> Prepared:
    """The input of a pipeline that takes it as it is."""
    return Prepared(given)


class Referred(NamedTuple):
    """Something outside a submission that it names, a URL or an upload, and where in its input it does."""

    place: tuple[str, ...]
    url: str | None = None
    upload_id: str | None = None


DeclaredActivity = TypeVar("DeclaredActivity", bound=Callable[..., Any])


def implements(declared: Callable[..., Any]) -> Callable[[DeclaredActivity], DeclaredActivity]:
    """Mark a method as the implementation of an activity that a contract declares.

    The name comes from the declaration, so the two cannot drift; an override without this mark has no activity
    definition at all, and the worker refuses to start with it.
    """
    name = activity._Definition.must_from_callable(declared).name

    def mark(method: DeclaredActivity) -> DeclaredActivity:
        return activity.defn(name=name)(method)

    return mark
