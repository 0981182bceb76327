"""Tokens of 256 random bits, of which only a hash is stored: API keys and refresh tokens."""

import hashlib
import secrets

KEY_PREFIX = "atl_"
REFRESH_PREFIX = "atr_"


def new_token(prefix: str) -> str:
    """A fresh token."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """What is stored of a token. No slow hash is needed for what cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()
