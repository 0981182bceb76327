"""What keeps a process from starting: settings that are wrong, and in production secrets that are none."""

import sys
from enum import Flag, auto
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr, ValidationError

from core.settings import Settings, complaints

JWT_CHARACTERS = 32
"""HS256 wants a key as long as its hash (RFC 7518, 3.2)."""
JWT_DISTINCT = 8
"""Different characters: 32 random hexadecimal digits have fewer once in some thirty million times."""
PASSWORD_CHARACTERS = 12
PASSWORD_DISTINCT = 6
_KNOWN = (
    "admin",
    "atelier",
    "changeit",
    "changeme",
    "default",
    "example",
    "insecure",
    "letmein",
    "password",
    "passwort",
    "placeholder",
    "postgres",
    "qwerty",
    "replaceme",
    "secret",
    "yourkey",
    "yourapikey",
)
"""Words of defaults and of documents' examples. Chance puts one of five letters into one of a million secrets."""
_MAKE = "make one with `openssl rand -hex 32`"


class Use(Flag):
    """What a process needs of the settings."""

    NOTHING = 0
    DATABASE = auto()
    MODELS = auto()
    """It asks them, or takes requests to ask them."""
    HTTP = auto()
    """It answers browsers and whoever has a token."""


def read_settings(program: str, use: Use) -> Settings:
    """The settings of a process. Exits with status 2, a line for each thing that is wrong, when they will not do."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = complaints(error)
    else:
        wrong = refusals(settings, use)
        if not wrong:
            return settings
    for line in wrong:
        print(f"{program}: {line}", file=sys.stderr)
    raise SystemExit(2)


def refusals(settings: Settings, use: Use) -> list[str]:
    """Why a process does not start in production, a line for each variable with what to do; nothing in development."""
    if settings.atelier_mode != "production":
        return []
    wrong = []
    if Use.DATABASE in use:
        wrong.append(_of_database(settings.database_url))
    if Use.HTTP in use:
        wrong.append(_of_signing("JWT_SECRET", settings.jwt_secret))
        if settings.jwt_secret_previous is not None:
            wrong.append(_of_signing("JWT_SECRET_PREVIOUS", settings.jwt_secret_previous))
        if "*" in [origin.strip() for origin in settings.cors_origins.split(",")]:
            wrong.append("CORS_ORIGINS lets every page call the API; name the origins of yours")
    if Use.MODELS in use:
        wrong.append(_of_simulator(settings))
        keys = (("ANTHROPIC_API_KEY", settings.anthropic_api_key), ("GEMINI_API_KEY", settings.gemini_api_key))
        wrong += [
            f"{name} holds an example and no key; set the key that the provider gave you, or leave it out"
            for name, key in keys
            if key is not None and _is_known(key.get_secret_value())
        ]
    return [line for line in wrong if line]


def _of_signing(name: str, secret: SecretStr | None) -> str:
    if secret is None:
        return f"{name} is not set; {_MAKE}"
    why = _weakness(secret.get_secret_value(), JWT_CHARACTERS, JWT_DISTINCT)
    return f"{name} {why}; {_MAKE}" if why else ""


def _of_database(url: SecretStr | None) -> str:
    if url is None:
        return "DATABASE_URL is not set; name the PostgreSQL server to use"
    change = "change it in the database and here"
    try:
        parts = urlsplit(url.get_secret_value())
        asked = parse_qs(parts.query)
        user = unquote(parts.username or "") or asked.get("user", [""])[-1]
        password = unquote(parts.password or "") or asked.get("password", [""])[-1]
    except ValueError:
        return "DATABASE_URL is no URL; write postgresql://user:password@host:5432/database"
    if not password:
        return f"DATABASE_URL has no password; give its user one, {change}"
    if password.lower() == user.lower():
        return f"DATABASE_URL has a password that is its user's name; {change}"
    why = _weakness(password, PASSWORD_CHARACTERS, PASSWORD_DISTINCT)
    return f"DATABASE_URL has a password that {why}; {change}" if why else ""


def _of_simulator(settings: Settings) -> str:
    asked = settings.anthropic_api_key or settings.gemini_api_key or settings.ollama_url
    if asked or not settings.simulator or "simulator" in settings.model_fields_set:
        return ""
    return (
        "SIMULATOR answers with made-up text where no model is configured; set ANTHROPIC_API_KEY, GEMINI_API_KEY or "
        "OLLAMA_URL, or say SIMULATOR=true if that is what you want"
    )


def _weakness(secret: str, least: int, distinct: int) -> str:
    """What is wrong with a secret, without a letter of it; nothing when it will do."""
    if _is_known(secret):
        return "is a default or an example, or has one in it"
    if len(secret) < least:
        return f"has {len(secret)} characters, fewer than {least}"
    if len(set(secret)) < distinct:
        return f"has only {len(set(secret))} different characters"
    # Whatever repeats itself is found in the middle of its double.
    return "repeats itself" if secret in (secret + secret)[1:-1] else ""


def _is_known(secret: str) -> bool:
    letters = "".join(character for character in secret.lower() if character.isalnum())
    return any(word in letters for word in _KNOWN)
