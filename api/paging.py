"""Pages of a list: a cursor names the last thing that was shown, so that what comes and goes moves no page."""

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from api.views import View
from core.contracts.errors import AtelierError, ErrorType

Item = TypeVar("Item")
NUMBER_BYTES = 4
"""Of a Postgres integer."""
TEXT_BYTES = 200
"""The longest name that a list is ordered by."""


def page_view(found: Sequence[Item], limit: int, view: Callable[[Item], View], cursor: Callable[[Item], str]) -> View:
    """A page. `found` has one more than asked for when there is a next page."""
    shown = found[:limit]
    return {"items": [view(item) for item in shown], "next_cursor": cursor(shown[-1]) if len(found) > limit else None}


def id_cursor(id: str) -> str:
    """The cursor of a thing that is listed by its id."""
    return _encode(uuid.UUID(id).bytes)


def id_of(cursor: str | None) -> str | None:
    """The id in a cursor. Raises `INVALID_CURSOR`."""
    return None if cursor is None else str(uuid.UUID(bytes=_decode(cursor, 16)))


def number_cursor(number: int) -> str:
    """The cursor of a thing that is listed by its number."""
    return _encode(number.to_bytes(NUMBER_BYTES))


def number_of(cursor: str | None) -> int | None:
    """The number in a cursor. Raises `INVALID_CURSOR`."""
    if cursor is None:
        return None
    number = int.from_bytes(_decode(cursor, NUMBER_BYTES))
    if number >= 2**31:
        raise _invalid()
    return number


def text_cursor(name: str) -> str:
    """The cursor of a thing that is listed by its name."""
    return _encode(name.encode())


def text_of(cursor: str | None) -> str | None:
    """The name in a cursor. Raises `INVALID_CURSOR`."""
    if cursor is None:
        return None
    try:
        name = _decode(cursor).decode()
    except UnicodeDecodeError:
        raise _invalid() from None
    if not name or len(name) > TEXT_BYTES or "\x00" in name:
        raise _invalid()
    return name


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(cursor: str, length: int | None = None) -> bytes:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _invalid() from None
    # One thing has one cursor.
    if (length is not None and len(data) != length) or _encode(data) != cursor:
        raise _invalid()
    return data


def _invalid() -> AtelierError:
    return AtelierError(ErrorType.INVALID_CURSOR, "Take the cursor from `next_cursor` of the page before.")
