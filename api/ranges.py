"""Conditional and partial reading (RFC 9110, sections 13 and 14), as far as one immutable file needs it."""

import re
from typing import NamedTuple
from urllib.parse import quote

_RANGE = re.compile(r"bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*")


class Span(NamedTuple):
    """Bytes `start` to before `end`."""

    start: int
    end: int


class UnsatisfiableRangeError(ValueError):
    """The range lies outside the file."""


def wanted_span(header: str | None, size: int) -> Span | None:
    """The span that a Range header asks for; None for the whole file.

    A header that is not understood is ignored, as section 14.2 wants it; several ranges are too: the answer is the
    whole file, which section 14.2 allows. Raises `UnsatisfiableRangeError`.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise UnsatisfiableRangeError
    return Span(start, end)


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names the tag (weak comparison)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def disposition(name: str) -> str:
    """A Content-Disposition with the file's name, also for clients that know no RFC 5987."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
