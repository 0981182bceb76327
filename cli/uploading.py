"""Sending a file: announced with its hash, sent to the URL that the API gives, completed."""

import contextlib
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from cli.client import Api, Json
from cli.errors import CliError
from cli.http import http_options, problem, unreachable

PIECE = 1 << 20
TRIES = 3
LOOKED_THROUGH = 1_000
"""Uploads, the newest, for one that was brought before."""
_PATIENCE = httpx.Timeout(120, connect=5)  # for the answer, which comes when all is on the disk, or was looked at
_AGAIN = frozenset({408, 502, 503, 504})
Advance = Callable[[int], None]
"""Told of bytes that are done: each is hashed once and sent once."""


def upload_file(api: Api, file: Path, advance: Advance | None = None) -> Json:
    """Bring a file to the API; the view of an upload that is ready. Raises CliError, with the reason of a refusal.

    What breaks off is sent again. An upload that comes to nothing is not left behind.
    """
    told = advance or (lambda _: None)
    try:
        size, sha256 = _measured(file, told)
        asked = {"name": _name(file), "size": size, "media_type": _media_type(file), "sha256": sha256}
        upload = api.json("POST", "/v1/uploads", json=asked)
        place = f"/v1/uploads/{upload['id']}"
        try:
            _send(api, upload, file, told)
            return api.json("POST", f"{place}/complete", timeout=_PATIENCE)
        except BaseException as error:
            # Why a file was refused can still be read.
            if not isinstance(error, CliError) or error.kind != "file_refused":
                with contextlib.suppress(CliError):
                    api.request("DELETE", place)
            raise
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}.") from None
    except CliError as error:
        raise CliError(f"{_name(file)}: {error.message}", error.hint, code=error.code, kind=error.kind) from None


def upload_once(api: Api, file: Path) -> Json:
    """An upload of the same bytes under the same name that is ready, else a new one: what is submitted again with the
    same key has to name the same. Raises CliError, as `upload_file` does."""
    try:
        _, sha256 = _measured(file, lambda _: None)
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}.") from None
    name = _name(file)
    found = [
        one
        for one in api.uploads(LOOKED_THROUGH)
        if (one["status"], one["sha256"], one["name"]) == ("ready", sha256, name)
    ]
    # The oldest: what is brought meanwhile does not take its place.
    return found[-1] if found else upload_file(api, file)


def _measured(file: Path, advance: Advance) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as source:
        while piece := source.read(PIECE):
            digest.update(piece)
            size += len(piece)
            advance(len(piece))
    return size, digest.hexdigest()


def _name(file: Path) -> str:
    """A file's name as the API has it. On a disk it is bytes, and they need not be text."""
    return unicodedata.normalize("NFC", os.fsencode(file.name).decode("utf-8", "replace"))


def _media_type(file: Path) -> str:
    # What it brings along is not needed by other commands.
    from core.documents.kinds import KINDS, declared_kind

    kind = declared_kind(None, file.name)
    return "application/octet-stream" if kind is None else KINDS[kind].media_types[0]


def _send(api: Api, upload: Json, file: Path, advance: Advance) -> None:
    """Without credentials: the URL may lead to another host, and is all that is needed."""
    target, size = upload["upload"], int(upload["size"])
    sent = 0

    def pieces() -> Iterator[bytes]:
        at = 0
        nonlocal sent
        with file.open("rb") as source:
            while piece := source.read(PIECE):
                yield piece
                at += len(piece)
                # What is sent once more is no progress.
                if at > sent:
                    advance(at - sent)
                    sent = at

    headers = {**target["headers"], "Content-Length": str(size)}
    with httpx.Client(**{**http_options(api.access.url), "timeout": _PATIENCE}) as http:
        for again in range(TRIES):
            failed: CliError
            try:
                response = http.request(target["method"], target["url"], content=pieces(), headers=headers)
            except httpx.TransportError as error:
                failed = unreachable(api.access.url, error)
                continue
            # The answer to an earlier try may have been lost.
            if response.is_success or (again and response.status_code == httpx.codes.CONFLICT):
                return
            failed = problem(response)
            if response.status_code not in _AGAIN:
                break
        raise failed
