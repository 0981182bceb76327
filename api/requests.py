"""Reading what a request sends: strict JSON into a model, and ids out of paths. What does not fit is told in place."""

import re
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json

from core.contracts.errors import AtelierError, ErrorType

ERRORS_SHOWN = 20
"""Validation errors that a problem document names; the rest is counted."""
NAME_LIMIT, MESSAGE_LIMIT = 100, 500
"""Characters of a field's name and of a message that are shown: both can repeat what the client sent."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.+-]+\+json)\s*(?:;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)

_PATH_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""All of these fit a Postgres integer."""

ModelT = TypeVar("ModelT", bound=BaseModel)
Problem = dict[str, str]
"""One thing that is wrong: `loc`, `message`, `type`."""


class InvalidRequestError(AtelierError):
    """The request is not valid; `errors` say where and why."""

    def __init__(self, errors: list[Problem], *, more: int = 0) -> None:
        named = ", ".join(error["loc"] for error in errors[:3] if error["loc"])
        message = f"Not valid: {named}." if named else errors[0]["message"]
        super().__init__(ErrorType.INVALID_REQUEST, message, details={"more_errors": more} if more else {})
        self.errors = errors


def invalid(loc: str, message: str, type: str = "value_error") -> InvalidRequestError:
    """One thing is wrong, at `loc`."""
    return InvalidRequestError([{"loc": loc, "message": message[:MESSAGE_LIMIT], "type": type}])


def invalid_fields(found: list[ErrorDetails] | list[Any], *, prefix: tuple[str, ...] = ()) -> InvalidRequestError:
    """What pydantic found, without the input it quotes: that can be large, secret or not even JSON."""
    found = [error for error in found if error["type"] != "too_short" or not _explained(error, found)]
    errors = [
        {
            "loc": ".".join(str(part)[:NAME_LIMIT] for part in (*prefix, *error["loc"])[:12]),
            "message": error["msg"].removeprefix("Value error, ")[:MESSAGE_LIMIT],
            "type": error["type"],
        }
        for error in found[:ERRORS_SHOWN]
    ]
    return InvalidRequestError(errors, more=max(0, len(found) - ERRORS_SHOWN))


def _explained(error: ErrorDetails | Any, found: list[ErrorDetails] | list[Any]) -> bool:
    """Whether there are errors within it: pydantic then counts the wrong items as missing, and says so too."""
    place = error["loc"]
    return any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in found)


def check(model: type[ModelT], value: object, *, prefix: tuple[str, ...] = ()) -> ModelT:
    """The value as a model. Raises `INVALID_REQUEST` with the places below `prefix`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid_fields(found, prefix=prefix) from None


async def json_body(request: Request) -> bytes:
    """The body's bytes, not parsed yet. `UNSUPPORTED_MEDIA_TYPE` unless it is said to be JSON in UTF-8."""
    body = await request.body()
    content_type = request.headers.get("content-type", "")
    if body and not _JSON_TYPE.fullmatch(content_type):
        raise AtelierError(
            ErrorType.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON in UTF-8, with `Content-Type: application/json`.",
            details={"content_type": content_type[:NAME_LIMIT]},
        )
    return body


class _Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


async def no_body(request: Request) -> None:
    """For acts without parameters: a body that says something is refused, as nobody would listen to it."""
    body = await json_body(request)
    if body:
        parse(_Nothing, body)


async def no_query(request: Request) -> None:
    """For routes without query parameters: one that is sent is refused, as nobody would listen to it."""
    if request.scope["query_string"]:
        names = list(dict.fromkeys(request.query_params))[:ERRORS_SHOWN] or [""]
        raise InvalidRequestError(
            [
                {
                    "loc": f"query.{name[:NAME_LIMIT]}",
                    "message": "This route takes no such parameter",
                    "type": "extra_forbidden",
                }
                for name in names
            ]
        )


async def admit(request: Request) -> Any:
    """Whose the request is, as `api.door.Known`. Raises `UNAUTHENTICATED`, `TOO_MANY_REQUESTS`."""
    return await request.app.state.deps.door.admit(request)


JsonBody = Annotated[bytes, Depends(json_body)]
OPEN_NO_QUERY = [Depends(no_query)]
OPEN_ACT = [*OPEN_NO_QUERY, Depends(no_body)]
# First of all the credentials: nothing else is read or told of a request that has none.
NO_QUERY = [Depends(admit), *OPEN_NO_QUERY]
ACT = [Depends(admit), *OPEN_ACT]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Any word of your own. The same key with the same body is done once, however often it is sent.",
        examples=["tide-mills-2026-11-21"],
    ),
]


def parse(model: type[ModelT], body: bytes) -> ModelT:
    """A JSON body as a model. Raises `INVALID_REQUEST`.

    pydantic's own parser is as strict as RFC 8259: it refuses NaN, bad UTF-8, lone surrogates and nesting beyond
    200 levels, all of which Python's takes (the last ends in a RecursionError).
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid("", f"The body is not valid JSON: {error}.", "json_invalid") from None
    # Postgres cannot hold NUL in text or jsonb. Escaped is the only way it can come; the search costs nothing.
    if b"\\u0000" in body and (place := _find_nul(value)) is not None:
        raise invalid(place, "The character NUL (\\u0000) cannot be stored", "nul_character")
    return check(model, value)


def _find_nul(value: object, place: str = "") -> str | None:
    if isinstance(value, str):
        return place if "\x00" in value else None
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        if any("\x00" in key for key in value):
            return place
        inner = list(value.items())
    elif isinstance(value, list):
        inner = [(str(index), item) for index, item in enumerate(value)]
    for name, item in inner:
        found = _find_nul(item, f"{place}.{name[:NAME_LIMIT]}" if place else name[:NAME_LIMIT])
        if found is not None:
            return found
    return None


def path_id(value: str, thing: str) -> str:
    """An id out of a path. What is no id is not found, like another owner's."""
    if not _UUID.fullmatch(value):
        raise AtelierError(ErrorType.NOT_FOUND, f"There is no {thing} {value[:NAME_LIMIT]!r}.")
    return value.lower()


def path_name(value: str, thing: str) -> str:
    """A name of ours out of a path: what cannot be one is not found."""
    if not _PATH_NAME.fullmatch(value):
        raise AtelierError(ErrorType.NOT_FOUND, f"There is no {thing} {value[:NAME_LIMIT]!r}.")
    return value


def path_number(value: str, thing: str) -> int:
    """A number, from 1, out of a path. What is none is not found."""
    if not _NUMBER.fullmatch(value):
        raise AtelierError(ErrorType.NOT_FOUND, f"There is no {thing} {value[:NAME_LIMIT]!r}.")
    return int(value)
