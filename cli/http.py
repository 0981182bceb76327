"""Speaking HTTP with the API: what every client of it has, and answers that went wrong as sentences."""

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.errors import CliError

_TIMEOUT = httpx.Timeout(30, connect=5)
_HINTS = {
    "unauthenticated": "Set ATELIER_API_KEY, or `atelier login`, or run `atelier up` on this data folder to get a key.",
    "insufficient_scope": "`atelier keys create NAME` makes a key that may do more.",
    "login_needed": "`atelier login`, and try again without ATELIER_API_KEY.",
    "admin_needed": "`atelier admin grant EMAIL` makes one, where the database is at hand.",
    "registration_closed": "Whoever runs it makes accounts: atelier admin create EMAIL --name NAME",
    "email_taken": "If it is yours: atelier login",
    "not_found": "`atelier jobs` lists what there is.",
    "invalid_state": "`atelier show ID` says where the job stands.",
    "quota_exceeded": "`atelier uploads delete ID` makes room.",
    "stage_running": "Another session of yours is at work; `atelier sessions` lists them.",
    "price_unknown": "`atelier providers` lists the models whose price is known.",
    "idempotency_mismatch": "Use another --idempotency-key, or send what was sent the first time.",
    "database_unavailable": "Try again in a moment.",
    "store_unavailable": "Try again in a moment.",
    "temporal_unavailable": "Try again in a moment.",
}
_SESSION = "`atelier sessions show ID` says where the session stands."
_BY_PATH = {
    "not_found": (
        ("/outline", "`atelier show ID` says where the job stands."),
        ("/v1/documents", "`atelier documents` and `atelier versions DOC` list what there is."),
        ("/v1/me/keys", "`atelier keys` lists what there is."),
        ("/v1/uploads", "`atelier uploads` lists what there is."),
        ("/v1/hooks", "`atelier hooks` lists what there is."),
        ("/v1/deliveries", "`atelier hooks deliveries ID` lists what went to a webhook."),
        ("/charter", _SESSION),
        ("/v1/sessions", "`atelier sessions` lists what there is."),
        ("/v1/admin", "`atelier admin accounts` and `atelier admin providers` list what there is."),
    ),
    "invalid_state": (
        ("/v1/admin", ""),
        ("/v1/me", ""),
        ("/v1/uploads", ""),
        ("/v1/deliveries", ""),
        ("/v1/sessions", _SESSION),
    ),
}
"""Hints by a part of the path, before those of above."""


class ServerTroubleError(httpx.TransportError):
    """The API answered, and is not well: as when it is away, what was asked can be asked again."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"status {response.status_code}", request=response.request)
        self.response = response


def http_options(url: str) -> dict[str, Any]:
    """The keyword arguments of an httpx client, blocking or not, without credentials."""
    # A proxy of the environment is for other hosts.
    return {"base_url": url, "timeout": _TIMEOUT, "trust_env": not is_local(url)}


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def unreachable(url: str, error: httpx.HTTPError | httpx.InvalidURL) -> CliError:
    """What to say when no answer comes, or none that helps."""
    if isinstance(error, ServerTroubleError):
        return problem(error.response)
    if isinstance(error, httpx.ReadTimeout):
        return CliError(f"Atelier at {url} did not answer in time.", "Try again; `atelier up` shows its logs.")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return CliError(f"{url!r} is not a URL.", "ATELIER_URL begins with http:// or https://.")
    return CliError(f"No Atelier answers at {url}.", "Start it with `atelier up`, or set ATELIER_URL to where it runs.")


def problem(response: httpx.Response) -> CliError:
    """The sentence of an error response, whether it is a problem document (RFC 9457) or not."""
    body: Any = None
    with contextlib.suppress(ValueError):
        body = response.json()
    if not isinstance(body, dict) or not (body.get("detail") or body.get("title")):
        return CliError(
            f"{response.request.url} answered {response.status_code} {response.reason_phrase}.",
            "Is that really Atelier's address? Look at ATELIER_URL.",
        )
    code, path = str(body.get("code", "")), response.request.url.path
    hint = next((said for part, said in _BY_PATH.get(code, ()) if part in path), _HINTS.get(code, ""))
    said = str(body.get("detail") or body["title"]).rstrip()
    wrong = [_field(error) for error in body.get("errors") or () if isinstance(error, dict)]
    if wrong:  # they name what the detail names, and say more
        said = f"{str(body.get('title') or 'Not valid').rstrip('.')}: {'; '.join(wrong)}"
    return CliError(said if said.endswith((".", "!", "?")) else f"{said}.", hint, kind=code)


def _field(error: Mapping[str, Any]) -> str:
    """One of a problem's `errors`: where, and what is wrong there."""
    place, said = str(error.get("loc") or ""), str(error.get("message") or "not valid")
    return f"{place}: {said}" if place else said
