"""Access tokens: ours are read while they live, whatever the clock did, and no others."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from api.tokens import ALGORITHM, AUDIENCE, ISSUER, Claims, InvalidTokenError, TokenSigner
from core.db.ids import new_id
from core.settings import Settings
from tests.api.conftest import make_settings

SECRET, OTHER, NEXT = (letter * 40 for letter in "abc")
OWNER, LOGIN = new_id(), new_id()


def settings(**more: object) -> Settings:
    return make_settings("postgresql://nobody@localhost/none", Path(), **more)


def signer(secret: str | None = SECRET, previous: str | None = None, **more: object) -> TokenSigner:
    return TokenSigner(settings(jwt_secret=secret, jwt_secret_previous=previous, **more))


def forged(secret: str = SECRET, *, kid: str | None = None, algorithm: str = ALGORITHM, **changes: Any) -> str:
    """A token as ours, with these changes; a claim that is None is left out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": OWNER, "sid": LOGIN, "iat": now, "exp": now + 60, **changes}
    header = {"kid": kid or jwt.get_unverified_header(signer().sign(OWNER, LOGIN).token)["kid"]}
    claims = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(claims, secret, algorithm, headers=header)


def unsigned(algorithm: str) -> str:
    """A token of ours that says it is signed with nothing."""
    header, claims, _ = forged().split(".")
    said = {**json.loads(base64.urlsafe_b64decode(header + "==")), "alg": algorithm}
    written = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"{written}.{claims}."


OTHERS = {
    "another secret": forged(OTHER),
    "unknown key": forged(kid="0123456789abcdef"),
    "key that is a file": forged(kid="../../dev/null"),
    "another algorithm": forged(algorithm="HS512", secret=SECRET * 2),
    "another issuer": forged(iss="somebody"),
    "another audience": forged(aud="another-api"),
    "no audience": forged(aud=[]),
    "expired": forged(exp=int(time.time()) - 1),
    "never expires": forged(exp="soon"),
    "without iss": forged(iss=None),
    "without aud": forged(aud=None),
    "without sub": forged(sub=None),
    "without sid": forged(sid=None),
    "without iat": forged(iat=None),
    "without exp": forged(exp=None),
    "owner that is no id": forged(sub="1 OR 1=1"),
    "login that is no id": forged(sid=7),
    "cut off": forged()[:-2],
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "unsigned": unsigned(ALGORITHM),
    "without kid": jwt.encode({"sub": OWNER}, SECRET, ALGORITHM),
    "no JSON": "a.b.c",
    "header alone": "eyJhbGciOiJub25lIn0",
    "nothing": "",
    "other letters": "é.é.é",
}


def test_a_token_speaks_for_a_login() -> None:
    made = signer(access_token_minutes=30.0).sign(OWNER, LOGIN)
    assert made.expires_in == 1800
    assert signer().read(made.token) == Claims(OWNER, LOGIN)
    claims = jwt.decode(made.token, SECRET, [ALGORITHM], audience=AUDIENCE)
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 1800


def test_a_clock_that_was_set_back_does_no_harm() -> None:
    now = int(time.time())
    assert signer().read(forged(iat=now + 86_400, exp=now + 90_000)) == Claims(OWNER, LOGIN)


@pytest.mark.parametrize("token", OTHERS.values(), ids=OTHERS)
def test_others_are_refused(token: str) -> None:
    with pytest.raises(InvalidTokenError):
        signer().read(token)


def test_a_secret_is_changed_while_its_tokens_live() -> None:
    before = signer().sign(OWNER, LOGIN).token
    changed = signer(NEXT, previous=SECRET)
    after = changed.sign(OWNER, LOGIN).token
    assert changed.read(before) == changed.read(after) == Claims(OWNER, LOGIN)
    # A process that was not told yet does not know the new one, and one that was told forgot the old one.
    for reader, token in ((signer(), after), (signer(NEXT), before)):
        with pytest.raises(InvalidTokenError):
            reader.read(token)


def test_without_a_secret_it_is_that_of_the_database() -> None:
    token = signer(None).sign(OWNER, LOGIN).token
    assert signer(None).read(token) == Claims(OWNER, LOGIN)
    # The first secret that is set takes over from it.
    elsewhere = TokenSigner(make_settings("postgresql://nobody@localhost/another", Path()))
    for reader in (signer(), elsewhere):
        with pytest.raises(InvalidTokenError):
            reader.read(token)
