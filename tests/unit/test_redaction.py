"""Secrets are blotted out of texts and values: by how they look, by their names, and by what they are."""

import base64
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pydantic import BaseModel, SecretStr

from core.contracts.errors import AtelierError, ErrorType
from core.redaction import REDACTED, Redactor, is_secret, redact_error

KEY = "Zq7hT2/mVx9+LpW4"
"""Of a shape that no pattern knows."""
LONG = "of-no-known-shape-4b1f0c77d2e94a5f8c6d"
PASSWORD = "p@ss/w0rd é"
DATABASE = f"postgresql://atelier:{quote(PASSWORD, safe='')}@127.0.0.1:5432/atelier"

LOOKS = Redactor()
KNOWS = Redactor([KEY, LONG, DATABASE])


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("401: invalid x-api-key: hunter2x", f"401: invalid x-api-key: {REDACTED}"),
        ("Authorization: Bearer hunter2 was refused", f"Authorization: {REDACTED} was refused"),
        ("Authorization: Digest username=me, nonce=12", f"Authorization: {REDACTED}"),
        ('{"Authorization": "Token abc", "error": "no"}', f'{{"Authorization": "{REDACTED}", "error": "no"}}'),
        ("[(b'x-api-key', b'hunter2'), (b'a', b'b')]", f"[(b'x-api-key', b'{REDACTED}'), (b'a', b'b')]"),
        ("it said Bearer abc-def.ghi-jkl today", f"it said Bearer {REDACTED} today"),
        ("postgresql+asyncpg://me:hunter2@host/db", f"postgresql+asyncpg://me:{REDACTED}@host/db"),
        ("redis://:hunter2@host", f"redis://:{REDACTED}@host"),
        ("https://host/v1beta/models?key=hunter2&alt=sse", f"https://host/v1beta/models?key={REDACTED}&alt=sse"),
        ("Settings(api_key='hunter2', topic='Mills')", f"Settings(api_key='{REDACTED}', topic='Mills')"),
        (r"{\"client_secret\": \"hunter2\", \"a\": 1}", rf"{{\"client_secret\": \"{REDACTED}\", \"a\": 1}}"),
        ("db_password=hunter2 host=here", f"db_password={REDACTED} host=here"),
        ("Incorrect API key provided: sk-proj-0123456789abcdef.", f"Incorrect API key provided: {REDACTED}."),
        ("sk-ant-api03-abcdefghijklm and more", f"{REDACTED} and more"),
        ("AIzaSyD-0123456789abcdefgh", REDACTED),
        ("atl_0123456789abcdef", REDACTED),
        ("it sent atr_0123456789-abcdef_", f"it sent {REDACTED}"),
        ('{"current_password": "mill pond", "a": 1}', f'{{"current_password": "{REDACTED}", "a": 1}}'),
        ("row (1, $argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA+/, x)", f"row (1, $argon2id${REDACTED} x)"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", REDACTED),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", None),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(said: str, written: str | None) -> None:
    assert LOOKS.text(said) == (written or f"-----BEGIN PRIVATE KEY-----{REDACTED}-----END PRIVATE KEY-----")
    assert LOOKS.text(LOOKS.text(said)) == LOOKS.text(said)


@pytest.mark.parametrize(
    "said",
    [
        "Bearer authentication failed. Basic understanding of the password is missing.",
        "Invalid token: unexpected end of input; the api_key: Field required",
        "first_token_ms=12 input_tokens=512 token=None secret=null max_token=8192",
        "a risk-assessment-of-everything, in task-oriented-programming",
        "http://127.0.0.1:8000/v1/jobs?email=ada@example.org, on port:80 for me@example.org",
        "the Idempotency-Key was used with another body; step_key='draft s1'",
        "missing fields: 'api_key', 'topic'",
    ],
)
def test_what_people_need_to_read_stays(said: str) -> None:
    assert LOOKS.text(said) is said


@pytest.mark.parametrize("name", ["key", "x-api-key", "apiKey", "DATABASE_URL", "dbPassword", "Set-Cookie", "token"])
def test_names_that_tell(name: str) -> None:
    assert is_secret(name)
    assert LOOKS.value({name: "hunter2"}) == {name: REDACTED}


@pytest.mark.parametrize(
    "name",
    [
        *("input_tokens", "cached_tokens", "max_tokens", "tokens", "token_count", "first_token_ms", "idempotency_key"),
        *("step_key", "priority_key", "author", "keyboard", "monkey", "event", "url"),
    ],
)
def test_names_that_do_not(name: str) -> None:
    assert not is_secret(name)
    assert LOOKS.value({name: "hunter2"}) == {name: "hunter2"}


@dataclass
class Account:
    """Shown by its `repr`."""

    owner: str
    note: str


class Model(BaseModel):
    """Shown by its `repr`, too."""

    api_key: str
    held: SecretStr


NESTINGS: list[Any] = [
    {"a": {"b": [{"c": (KEY, 1)}]}},
    {KEY: "as a name"},
    {KEY},
    frozenset({"x", KEY}),
    (KEY, Decimal(1)),
    [["authorization", KEY], ("authorization", KEY), (b"authorization", KEY.encode())],
    KEY.encode(),
    bytearray(KEY.encode()),
    ValueError(f"the key {KEY} is wrong"),
    ExceptionGroup("both", [ValueError(KEY), KeyError(KEY)]),
    Account("Ada", KEY),
    Model(api_key="short", held=SecretStr(KEY)),
    SecretStr(KEY),
    [[[[[[[[[[[[KEY]]]]]]]]]]]],
]


@pytest.mark.parametrize("value", NESTINGS, ids=lambda value: type(value).__name__)
def test_however_deep_and_in_whatever(value: Any) -> None:
    shown = json.dumps(KNOWS.event({"event": "it.happened", "value": value}), default=repr)
    for spelling in (KEY, json.dumps(KEY)[1:-1], repr(KEY)[1:-1], "short"):
        assert spelling not in shown


def test_what_is_no_secret_is_itself() -> None:
    plain = {"n": 1, "f": 0.5, "none": None, "yes": True, "usd": Decimal("0.1"), "list": [1, "a"], "pair": ("a", "b")}
    assert KNOWS.value(plain) == plain
    event = {"event": "llm.call", "input_tokens": 12, "step_key": "draft", "usd": None}
    assert KNOWS.event(event) is event
    assert KNOWS.event({**event, "token": None, "has_key": True}) == {**event, "token": None, "has_key": True}


def test_a_known_secret_in_any_spelling() -> None:
    basic = base64.b64encode(f"atelier:{PASSWORD}".encode()).decode()
    for text in (
        f"it was {KEY}.",
        quote_plus(KEY),
        quote_plus(KEY).replace("%2F", "%2f").replace("%2B", "%2b"),
        json.dumps({"said": json.dumps(PASSWORD)}),
        repr(PASSWORD),
        quote_plus(PASSWORD),
        DATABASE,
        f"{{{basic}}}",
        base64.urlsafe_b64encode(f"x{KEY}".encode()).decode(),
        f"a long message that ends within it: {LONG[:20]}",
    ):
        blotted = KNOWS.text(text)
        assert REDACTED in blotted, text
        for secret in (KEY, PASSWORD, quote_plus(KEY), quote_plus(PASSWORD), json.dumps(PASSWORD)[1:-1], LONG[:20]):
            assert secret not in blotted
        assert base64.b64encode(PASSWORD.encode()).decode()[:8] not in blotted


def test_a_secret_that_is_also_an_ordinary_word_is_found_by_its_place_alone() -> None:
    dull = Redactor(["short", "postgresql://postgres:postgres@here/postgres", "postgresql://me:tiny@here/db"])
    said = "short of postgres, in postgresql, tiny"
    assert dull.text(said) is said
    assert (
        dull.text("postgresql://postgres:postgres@here/postgres") == f"postgresql://postgres:{REDACTED}@here/postgres"
    )


def test_an_error_is_blotted_out_whole() -> None:
    error = AtelierError(
        ErrorType.MODEL_AUTH,
        "401: x-api-key: hunter2x",
        details={"models": [{"last": "Bearer abc-123-def"}], "step": "s"},
    )
    redact_error(error)
    assert "hunter2x" not in f"{error} {error!r} {error.message}"
    assert error.details == {"models": [{"last": f"Bearer {REDACTED}"}], "step": "s"}
