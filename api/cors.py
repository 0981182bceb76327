"""Pages on other origins that may call the API from a browser."""

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

EVERYBODY = "*"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ACCEPTED = (
    "Authorization",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "Traceparent",
    "X-Request-Id",
)
"""Headers that a page may send, beside those that it always may."""
EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "X-Trace-Id",
)
"""Headers that a page may read, beside those that it always may."""
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def origins(setting: str) -> tuple[str, ...]:
    """The origins of the setting CORS_ORIGINS. Raises ValueError for what is none."""
    found = tuple(part.strip() for part in setting.split(",") if part.strip())
    for origin in found:
        if origin != EVERYBODY and _ORIGIN.fullmatch(origin) is None:
            raise ValueError(
                f"CORS_ORIGINS: {origin[:200]!r} is no origin. Write scheme, host in small letters and port, and no "
                "path or slash behind them: https://app.example.com"
            )
    return found


class Cors(CORSMiddleware):
    """Answers browsers that ask before they call, and lets pages of these origins read the answers.

    Callers show themselves by a header of their own making: no cookie is read here, so none needs to be let through.
    """

    def __init__(self, app: ASGIApp, *, allowed: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=allowed,
            allow_methods=METHODS,
            allow_headers=ACCEPTED,
            expose_headers=EXPOSED,
            allow_credentials=False,
        )
