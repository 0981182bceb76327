"""What requests and answers about uploads look like."""

import unicodedata
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas import AnswerModel
from core.contracts.base import Sha256, Submission
from core.contracts.files import FileKind, FileReason
from core.db.repositories.uploads import UploadStatus

LONGEST_NAME = 255
_JOINERS = "\u200c\u200d"
"""Persian, Indic scripts and emoji need them."""
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_PART = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,62}"
_NAME = r"^[^\x00-\x1f\x7f-\x9f/\\\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]+$"


def _plain_name(name: str) -> str:
    """The name in one spelling (NFC). Raises ValueError for what is no name, or shows as another than it is."""
    name = unicodedata.normalize("NFC", name)
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ValueError("This names a folder; give the file's own name, without slashes")
    if any(unicodedata.category(one) in _HIDDEN and one not in _JOINERS for one in name):
        raise ValueError("A name has no control characters, and none that hide or turn around what it shows")
    if not name.strip(_JOINERS) or len(name) > LONGEST_NAME:
        raise ValueError(f"A name has 1 to {LONGEST_NAME} visible characters")
    return name


def _plain_type(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


FileName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_NAME),
    # For the documentation; whose name is refused is told why in words.
    Field(json_schema_extra={"pattern": _NAME}),
    AfterValidator(_plain_name),
]
MediaType = Annotated[
    str,
    StringConstraints(max_length=200, pattern=rf"^{_PART}/{_PART}( *;[\x20-\x7e]*)?$"),
    AfterValidator(_plain_type),
]


class UploadRequest(Submission):
    """A file that is to come."""

    name: FileName = Field(description="The file's own name, without folders. It is kept as a text, and no path.")
    size: int = Field(strict=True, ge=0, le=2**53, description="Its bytes, exactly.")
    media_type: MediaType = Field(
        description="What it is, such as `application/pdf`; `application/octet-stream` if you do not know."
    )
    sha256: Sha256 | None = Field(default=None, description="Of its bytes; if it is given, it is compared.")


class UploadTarget(AnswerModel):
    """Where the bytes go."""

    url: str = Field(description="For one PUT, and a secret: whoever has it may send the bytes. Relative to the API's.")
    method: str
    headers: dict[str, str] = Field(description="To be sent with it, exactly.")
    expires_at: datetime = Field(description="When the URL ends.")


class RefusalView(AnswerModel):
    """Why a file is not taken."""

    reason: FileReason
    message: str


class UploadView(AnswerModel):
    """A file that you bring."""

    id: str
    name: str
    size: int = Field(description="Bytes.")
    media_type: str = Field(description="As you declared it; of one that is ready, that of its kind.")
    sha256: str | None = Field(description="As you declared it; of one that is ready, that of its bytes.")
    status: UploadStatus
    kind: FileKind | None = Field(description="What it is by its content, when it is ready.")
    refused: RefusalView | None
    upload: UploadTarget | None = Field(description="Where its bytes go: told only when it is made.")
    created_at: datetime
    expires_at: datetime | None = Field(description="When it is forgotten unless it is ready by then.")
    finished_at: datetime | None


class UploadList(AnswerModel):
    """A page of uploads, the newest first. Without `next_cursor` it is the last."""

    items: list[UploadView]
    next_cursor: str | None
