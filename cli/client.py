"""The REST API as the commands use it: requests, problem documents turned into sentences, ids, downloads."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.errors import CliError
from cli.home import Access

Json = dict[str, Any]

ENDED = frozenset({"completed", "failed", "cancelled"})
_TIMEOUT = httpx.Timeout(30, connect=5)
_FULL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT_ID = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)
_LOOKED_THROUGH = 1000  # jobs or documents, for a short id

_HINTS = {
    "unauthenticated": "Set ATELIER_API_KEY, or run `atelier up` on this data folder to get a key.",
    "not_found": "`atelier jobs` lists what there is.",
    "invalid_state": "`atelier show ID` says where the job stands.",
    "price_unknown": "`atelier providers` lists the models whose price is known.",
    "idempotency_mismatch": "Use another --idempotency-key, or send what was sent the first time.",
    "database_unavailable": "Try again in a moment.",
    "store_unavailable": "Try again in a moment.",
    "temporal_unavailable": "Try again in a moment.",
}
_NOT_FOUND = (
    ("/outline", "`atelier show ID` says where the job stands."),
    ("/v1/documents", "`atelier documents` and `atelier versions DOC` list what there is."),
)
"""By a part of the path."""


def client_options(access: Access) -> Json:
    """The keyword arguments of an httpx client, blocking or not."""
    local = urlsplit(access.url).hostname in {"127.0.0.1", "localhost", "::1"}
    return {
        "base_url": access.url,
        "headers": {"Authorization": f"Bearer {access.api_key}"},
        "timeout": _TIMEOUT,
        "trust_env": not local,  # a proxy of the environment is for other hosts
    }


def unreachable(url: str, error: httpx.HTTPError | httpx.InvalidURL) -> CliError:
    """What to say when no answer comes."""
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
    code = str(body.get("code", ""))
    hint = _HINTS.get(code, "")
    if code == "not_found":
        hint = next((said for part, said in _NOT_FOUND if part in response.request.url.path), hint)
    said = str(body.get("detail") or body["title"]).rstrip()
    wrong = [_field(error) for error in body.get("errors") or () if isinstance(error, dict)]
    if wrong:  # they name what the detail names, and say more
        said = f"{str(body.get('title') or 'Not valid').rstrip('.')}: {'; '.join(wrong)}"
    return CliError(said if said.endswith((".", "!", "?")) else f"{said}.", hint, kind=code)


def _field(error: Mapping[str, Any]) -> str:
    """One of a problem's `errors`: where, and what is wrong there."""
    place, said = str(error.get("loc") or ""), str(error.get("message") or "not valid")
    return f"{place}: {said}" if place else said


class Api:
    """A connection to the API. Every method raises CliError with a sentence for the user."""

    def __init__(self, access: Access) -> None:
        self.access = access
        try:
            self._http = httpx.Client(**client_options(access))
        except httpx.InvalidURL as error:
            raise unreachable(access.url, error) from None

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; an error status is a CliError."""
        try:
            response = self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.access.url, error) from None
        if response.is_error:
            raise problem(response)
        return response

    def json(self, method: str, path: str, **options: Any) -> Json:
        """One request whose answer is a JSON object."""
        response = self.request(method, path, **options)
        with contextlib.suppress(ValueError):
            body = response.json()
            if isinstance(body, dict):
                return body
        raise CliError(f"{response.request.url} did not answer with JSON.", "Is that Atelier's address?")

    def submit(self, body: Json, idempotency_key: str | None = None) -> Json:
        """Submit a job and return its view."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self.json("POST", "/v1/jobs", json=body, headers=headers)

    def job(self, job_id: str) -> Json:
        """A job's view."""
        return self.json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, limit: int, **filters: str | None) -> Iterator[Json]:
        """Jobs, newest first, over as many pages as it takes."""
        return self._pages("/v1/jobs", limit, {name: value for name, value in filters.items() if value})

    def documents(self, limit: int) -> Iterator[Json]:
        """Documents, newest first, over as many pages as it takes."""
        return self._pages("/v1/documents", limit, {})

    def versions(self, document_id: str, limit: int) -> Iterator[Json]:
        """A document's versions without their texts, newest first."""
        return self._pages(f"/v1/documents/{document_id}/versions", limit, {})

    def calls(self, job_id: str, limit: int) -> Iterator[Json]:
        """What was asked of models for a job, oldest first, over as many pages as it takes."""
        return self._pages(f"/v1/jobs/{job_id}/calls", limit, {})

    def add_budget(self, job_id: str, usd: float, idempotency_key: str) -> Json:
        """Let a job cost more; returns its view."""
        headers = {"Idempotency-Key": idempotency_key}
        return self.json("POST", f"/v1/jobs/{job_id}/budget", json={"add_usd": usd}, headers=headers)

    def month(self) -> Json:
        """The month's budget."""
        return self.json("GET", "/v1/me/budget")

    def set_month(self, usd: float | None) -> Json:
        """Set it; None takes the limit away."""
        return self.json("PUT", "/v1/me/budget", json={"monthly_usd": usd})

    def usage(self, limit: int, asked: dict[str, str]) -> Json:
        """What was used: the first page, with as many items as are wanted in it."""
        found = self.json("GET", "/v1/usage", params={**asked, "limit": min(limit, 200)})
        while found["next_cursor"] and len(found["items"]) < limit:
            page = self.json(
                "GET",
                "/v1/usage",
                params={**asked, "limit": min(limit - len(found["items"]), 200), "cursor": found["next_cursor"]},
            )
            found["items"] += page["items"]
            found["next_cursor"] = page["next_cursor"]
        return found

    def _pages(self, path: str, limit: int, filters: dict[str, str]) -> Iterator[Json]:
        asked: dict[str, str | int] = {**filters}
        while limit > 0:
            page = self.json("GET", path, params={**asked, "limit": min(limit, 200)})
            yield from page["items"]
            limit -= len(page["items"])
            if not page.get("next_cursor") or not page["items"]:
                return
            asked["cursor"] = page["next_cursor"]

    def act(self, job_id: str, act: str) -> Json:
        """cancel, pause, resume or retry; returns the job's view."""
        self.request("POST", f"/v1/jobs/{job_id}/{act}")
        return self.job(job_id)

    def resolve(self, given: str) -> str:
        """The full id behind what was typed: a full id, `last`, or the beginning or end of one job's id."""
        return _resolve(given, "job", self.jobs, 'Submit one: atelier submit longform --topic "..."')

    def resolve_document(self, given: str) -> str:
        """The same for a document."""
        return _resolve(given, "document", self.documents, "A longform job that completed makes one.")

    def download(self, output: Json, target: Path) -> None:
        """Write an output's bytes to a file, whole or not at all, after comparing their hash."""
        partial = target.with_name(f".{target.name}.part")
        digest = hashlib.sha256()
        try:
            with self._http.stream("GET", f"/v1/artifacts/{output['artifact_id']}") as response:
                if response.is_error:
                    response.read()
                    raise problem(response)
                with partial.open("wb") as file:
                    for chunk in response.iter_bytes():
                        digest.update(chunk)
                        file.write(chunk)
            if output.get("sha256") not in (None, digest.hexdigest()):
                raise CliError(f"{output['name']} arrived damaged.", "Try again: `atelier download` asks for it anew.")
            partial.replace(target)
        except httpx.HTTPError as error:
            raise unreachable(self.access.url, error) from None
        except OSError as error:
            raise CliError(f"{target} cannot be written: {error.strerror}.", "Choose another folder: --out.") from None
        finally:
            partial.unlink(missing_ok=True)


def _resolve(given: str, thing: str, newest_first: Callable[[int], Iterator[Json]], how: str) -> str:
    """The id of a job or document. Raises CliError, with `how` to come by the first one."""
    given = given.strip().lower()
    if _FULL_ID.fullmatch(given):
        return given
    if given == "last":
        newest = next(newest_first(1), None)
        if newest is None:
            raise CliError(f"There are no {thing}s yet.", how)
        return str(newest["id"])
    if not _SHORT_ID.fullmatch(given):
        raise CliError(f"{given!r} is not a {thing}'s id.", "Give four characters of its end or more, or `last`.")
    ids = (str(one["id"]) for one in newest_first(_LOOKED_THROUGH))
    found = [one for one in ids if one.startswith(given) or one.endswith(given)]
    if not found:
        raise CliError(f"No {thing}'s id begins or ends with {given}.", f"`atelier {thing}s` lists what there is.")
    if len(found) > 1:
        raise CliError(f"{len(found)} {thing}s' ids begin or end with {given}.", "Give more of the id.")
    return found[0]
