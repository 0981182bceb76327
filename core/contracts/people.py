"""Who may ask for what: roles, the scopes of keys, and what a request speaks for."""

from enum import StrEnum


class Role(StrEnum):
    """What an owner is to the deployment. An admin sees everybody's figures, and nobody's content."""

    USER = "user"
    ADMIN = "admin"


class Scope(StrEnum):
    """What an API key may be used for. A login may do both."""

    READ = "read"
    WRITE = "write"


ALL_SCOPES = frozenset(Scope)


class Via(StrEnum):
    """How somebody came to act, as the audit log tells it."""

    LOGIN = "login"
    KEY = "key"
    COMMAND = "command"
    """Whoever runs the deployment, with the database at hand."""
    NOBODY = "nobody"
    """Without credentials, such as a registration."""
