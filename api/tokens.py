"""Access tokens: JWTs that name an owner and a login, signed with a key that can be changed while they live."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from core.settings import Settings

ALGORITHM = "HS256"
ISSUER = "atelier"
AUDIENCE = "atelier-api"
_CLAIMS = ("exp", "iat", "iss", "aud", "sub", "sid")


class InvalidTokenError(Exception):
    """It is not a token of ours, or not any more."""


@dataclass(frozen=True)
class Claims:
    """Whom an access token speaks for. Whether the login has ended is for the database to say."""

    owner_id: str
    session_id: str


@dataclass(frozen=True)
class AccessToken:
    """A new token, and for how many seconds it is good."""

    token: str
    expires_in: int


class TokenSigner:
    """Signs with the newest secret and accepts those of before; a token names its own by `kid`."""

    def __init__(self, settings: Settings) -> None:
        secrets = server_secrets(settings)
        self._keys = {_kid(secret): secret for secret in secrets}
        self._newest = _kid(secrets[0])
        self._seconds = round(settings.access_token_minutes * 60)

    def sign(self, owner_id: str, session_id: str) -> AccessToken:
        """A token for a login."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": owner_id,
            "sid": session_id,
            "iat": now,
            "exp": now + self._seconds,
        }
        token = jwt.encode(claims, self._keys[self._newest], ALGORITHM, headers={"kid": self._newest})
        return AccessToken(token, self._seconds)

    def read(self, token: str) -> Claims:
        """Whom a token speaks for. Raises InvalidTokenError, which does not say why: only a forger would ask."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise InvalidTokenError
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                # One algorithm, whatever the token says of itself.
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Not `iat`: a clock that was set back would make good tokens look as if they came too early.
                options={"require": list(_CLAIMS), "verify_iat": False},
            )
            return Claims(str(UUID(claims["sub"])), str(UUID(claims["sid"])))
        except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
            # The last three: signed with our secret, but not by us.
            raise InvalidTokenError from None


def server_secrets(settings: Settings) -> list[str]:
    """What only the deployment knows, the newest first."""
    given = (settings.jwt_secret, settings.jwt_secret_previous)
    secrets = [secret.get_secret_value() for secret in given if secret]
    return secrets if settings.jwt_secret else [_derived(settings), *secrets]


def _derived(settings: Settings) -> str:
    """In development: the same in all processes of a deployment, and known to nobody who does not know its database."""
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    return hmac.new(url.encode(), b"atelier access tokens", hashlib.sha256).hexdigest()


def _kid(secret: str) -> str:
    return hashlib.sha256(b"kid:" + secret.encode()).hexdigest()[:16]
