"""The REST API as the commands use it: requests, pages, ids, downloads."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from cli.errors import CliError
from cli.home import Access, Source
from cli.http import http_options, problem, unreachable
from cli.logins import LoginAuth

Json = dict[str, Any]

ENDED = frozenset({"completed", "failed", "cancelled"})
_FULL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT_ID = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)
_LOOKED_THROUGH = 1000  # jobs, documents, keys or accounts, for a short id
_LISTED = {"account": "atelier admin accounts", "delivery": "atelier hooks deliveries ID"}
_PLURALS = {"delivery": "deliveries"}


def client_options(access: Access) -> Json:
    """The keyword arguments of an httpx client, blocking or not."""
    if access.source is Source.LOGIN:
        return {**http_options(access.url), "auth": LoginAuth(access.url)}
    return {**http_options(access.url), "headers": {"Authorization": f"Bearer {access.api_key}"}}


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
        return self.json_of(self.request(method, path, **options))

    @staticmethod
    def json_of(response: httpx.Response) -> Json:
        """A response's JSON object."""
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
        return self.pages("/v1/jobs", limit, {name: value for name, value in filters.items() if value})

    def documents(self, limit: int) -> Iterator[Json]:
        """Documents, newest first, over as many pages as it takes."""
        return self.pages("/v1/documents", limit)

    def versions(self, document_id: str, limit: int) -> Iterator[Json]:
        """A document's versions without their texts, newest first."""
        return self.pages(f"/v1/documents/{document_id}/versions", limit, {})

    def calls(self, job_id: str, limit: int) -> Iterator[Json]:
        """What was asked of models for a job, oldest first, over as many pages as it takes."""
        return self.pages(f"/v1/jobs/{job_id}/calls", limit, {})

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

    def usage(self, limit: int, asked: dict[str, str], path: str = "/v1/usage") -> Json:
        """What was used: the first page, with as many items as are wanted in it."""
        found = self.json("GET", path, params={**asked, "limit": min(limit, 200)})
        while found["next_cursor"] and len(found["items"]) < limit:
            page = self.json(
                "GET",
                path,
                params={**asked, "limit": min(limit - len(found["items"]), 200), "cursor": found["next_cursor"]},
            )
            found["items"] += page["items"]
            found["next_cursor"] = page["next_cursor"]
        return found

    def keys(self, limit: int) -> Iterator[Json]:
        """API keys, newest first, over as many pages as it takes."""
        return self.pages("/v1/me/keys", limit)

    def hooks(self, limit: int) -> Iterator[Json]:
        """Webhooks, newest first, over as many pages as it takes."""
        return self.pages("/v1/hooks", limit)

    def accounts(self, limit: int) -> Iterator[Json]:
        """All accounts, newest first, over as many pages as it takes. For admins."""
        return self.pages("/v1/admin/accounts", limit)

    def uploads(self, limit: int) -> Iterator[Json]:
        """Files that were brought, newest first, over as many pages as it takes."""
        return self.pages("/v1/uploads", limit)

    def sessions(self, limit: int, status: str | None = None) -> Iterator[Json]:
        """Scoping sessions, newest first, over as many pages as it takes."""
        return self.pages("/v1/sessions", limit, {"status": status} if status else {})

    def pages(self, path: str, limit: int, filters: dict[str, str] | None = None) -> Iterator[Json]:
        """The items of a list, over as many pages as it takes."""
        asked: dict[str, str | int] = {**(filters or {})}
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

    def resolve_session(self, given: str) -> str:
        """The same for a scoping session."""
        return _resolve(given, "session", self.sessions, "atelier scope")

    def resolve_upload(self, given: str) -> str:
        """The same for an upload."""
        return _resolve(given, "upload", self.uploads, "atelier upload FILE")

    def resolve_key(self, given: str) -> str:
        """The same for a key."""
        return _resolve(given, "key", self.keys, "atelier keys create NAME")

    def resolve_hook(self, given: str) -> str:
        """The same for a webhook."""
        return _resolve(given, "hook", self.hooks, "atelier hooks add URL")

    def resolve_delivery(self, given: str) -> str:
        """The same for a delivery to one of the webhooks; one to a job's own is named by its full id only."""
        return _resolve(given, "delivery", self._deliveries, "atelier hooks test ID")

    def _deliveries(self, limit: int) -> Iterator[Json]:
        """What went to all webhooks, newest first: at most `limit` of each, as there is no list of them all."""
        paths = [f"/v1/hooks/{hook['id']}/deliveries" for hook in self.hooks(_LOOKED_THROUGH)]
        found = [one for path in paths for one in self.pages(path, limit, {})]
        yield from sorted(found, key=lambda one: str(one["id"]), reverse=True)

    def resolve_account(self, given: str) -> str:
        """The same for an account, which can be named by its email too. For admins."""
        if "@" not in given:
            return _resolve(given, "account", self.accounts, "atelier admin create EMAIL --name NAME")
        meant = given.strip().casefold()
        found = next((one for one in self.accounts(_LOOKED_THROUGH) if str(one["email"]).casefold() == meant), None)
        if found is None:
            raise CliError(
                f"There is no account with {given.strip()}.", "`atelier admin accounts` lists what there is."
            )
        return str(found["id"])

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
            raise CliError(f"There are no {_PLURALS.get(thing, f'{thing}s')} yet.", how)
        return str(newest["id"])
    if not _SHORT_ID.fullmatch(given):
        raise CliError(f"{given!r} is not a {thing}'s id.", "Give four characters of its end or more, or `last`.")
    ids = (str(one["id"]) for one in newest_first(_LOOKED_THROUGH))
    found = [one for one in ids if one.startswith(given) or one.endswith(given)]
    if not found:
        raise CliError(
            f"No {thing}'s id begins or ends with {given}.",
            f"`{_LISTED.get(thing, f'atelier {thing}s')}` lists what there is.",
        )
    if len(found) > 1:
        raise CliError(
            f"{len(found)} {_PLURALS.get(thing, f'{thing}s')}' ids begin or end with {given}.", "Give more of the id."
        )
    return found[0]
