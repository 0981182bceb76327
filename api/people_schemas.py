"""What requests and answers about accounts, logins, keys and the audit log look like; see `schemas.py`."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, WithJsonSchema

from api.passwords import LONGEST, SHORTEST
from api.schemas import AnswerModel, Instant, Title
from core.contracts.base import Json, Submission
from core.contracts.people import ALL_SCOPES, Role, Scope, Via

EMAIL_LIMIT = 254
"""Characters (RFC 5321, erratum 1690)."""
TOKEN_LIMIT = 200
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the text after it around, so that one name can look like another."""


def _an_email(value: str) -> str:
    """The email in its normal form. Raises ValueError for what is none; nobody is asked whether it receives mail."""
    try:
        return validate_email(value.strip(), strict=True, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


def _a_name(value: str) -> str:
    """Raises ValueError for a name that nobody can see, or that is not what it looks like."""
    if not any(unicodedata.category(character)[0] in "LNPS" for character in value):
        raise ValueError("It should have a visible character")
    if not _BIDI.isdisjoint(value):
        raise ValueError("It should have no characters that change the direction of text")
    return value


def _between(shortest: int, longest: int) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and not shortest <= len(value) <= longest:
            raise ValueError(f"It should have {shortest} to {longest} characters")
        return value

    return BeforeValidator(check)


def _secret(shortest: int, longest: int) -> WithJsonSchema:
    length = {"minLength": shortest, "maxLength": longest}
    return WithJsonSchema({"type": "string", "format": "password", "writeOnly": True, **length})


Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=EMAIL_LIMIT),
    AfterValidator(_an_email),
    WithJsonSchema({"type": "string", "format": "email", "minLength": 3, "maxLength": EMAIL_LIMIT}),
]
PersonName = Annotated[Title, StringConstraints(strip_whitespace=True), AfterValidator(_a_name)]
NewPassword = Annotated[SecretStr, _between(SHORTEST, LONGEST), _secret(SHORTEST, LONGEST)]
GivenPassword = Annotated[SecretStr, _between(1, LONGEST), _secret(1, LONGEST)]
"""One that may be wrong: no more is said of its length than that it could never be right."""
RefreshToken = Annotated[SecretStr, _between(1, TOKEN_LIMIT), _secret(1, TOKEN_LIMIT)]


class PersonSubmission(Submission):
    """A body that may hold a password: what stands around it belongs to it."""

    model_config = ConfigDict(str_strip_whitespace=False)


class Registration(PersonSubmission):
    """A new account."""

    email: Email = Field(description="What you log in with. It is not asked whether it receives mail.")
    name: PersonName
    password: NewPassword = Field(
        description="10 to 200 characters of any kind; not your email or name, and none of the most common ones."
    )
    website: Annotated[str, StringConstraints(max_length=2_000)] = Field(
        default="", description="Leave this empty: programs that fill in every field are known by it."
    )


class LoginRequest(PersonSubmission):
    """Who logs in."""

    email: Email
    password: GivenPassword


class RefreshRequest(PersonSubmission):
    """A refresh token."""

    refresh_token: RefreshToken


class PasswordChange(PersonSubmission):
    """A new password, and the one that it replaces."""

    current_password: GivenPassword
    new_password: NewPassword


class MePatch(PersonSubmission):
    """What can be changed of an account. What is left out stays."""

    name: PersonName = Field(default="")
    email: Email = Field(default="", description="Needs `password`.")
    password: GivenPassword = Field(default=SecretStr(""), description="The current one; only for a new email.")


class KeyRequest(Submission):
    """A new API key."""

    name: Title = Field(description="What it is for.")
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = Field(
        default=ALL_SCOPES, description="What it may be used for; never more than what you make it with."
    )
    expires_at: Instant | None = Field(
        default=None, description="From when on it is refused; at most 10 years ahead. Null: it does not expire."
    )


class AccountView(AnswerModel):
    """An account."""

    id: str
    name: str
    email: str | None = Field(description="Null for an owner that a command made: it has keys only.")
    role: Role
    created_at: datetime


class OwnLimits(AnswerModel):
    """What you may start."""

    submissions_per_hour: int
    jobs_at_once: int


class MeView(AccountView):
    """Your account, and what you asked with."""

    via: Literal[Via.LOGIN, Via.KEY]
    scopes: list[Scope]
    has_password: bool
    limits: OwnLimits | None = Field(description="Null where there are none.")


class TokenView(AnswerModel):
    """The tokens of a login. Both are shown only here."""

    access_token: str = Field(description="For `Authorization: Bearer …`.")
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds for which the access token is good.")
    refresh_token: str = Field(description="For `POST /v1/auth/refresh`, once: each answer holds the next one.")
    refresh_expires_in: int = Field(description="Seconds after which the login ends, unless it is refreshed.")


class LoginView(AnswerModel):
    """A login that has not ended. `used_at` is exact to a minute."""

    id: str
    current: bool = Field(description="Whether it is the one that you ask with.")
    ip: str | None
    user_agent: str | None
    created_at: datetime
    used_at: datetime
    expires_at: datetime = Field(description="When it ends, unless it is refreshed.")


class LoginList(AnswerModel):
    """A page of logins, the newest first. Without `next_cursor` it is the last."""

    items: list[LoginView]
    next_cursor: str | None


class KeyView(AnswerModel):
    """An API key, without the key itself. `last_used_at` is exact to a minute."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKeyView(KeyView):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is shown only here.")


class KeyList(AnswerModel):
    """A page of keys, the newest first. Without `next_cursor` it is the last."""

    items: list[KeyView]
    next_cursor: str | None


class AuditLineView(AnswerModel):
    """Who did what to which resource, from where."""

    id: str
    at: datetime
    action: str = Field(description="As `jobs.cancel` or `auth.login_failed`.")
    resource: str = Field(description="As `jobs/019aa0c2-…`; empty where there is none.")
    account_id: str | None = Field(description="Whose resource it was.")
    actor_id: str | None = Field(description="Who did it: the account itself, an admin, or null for nobody known.")
    via: Via
    via_id: str | None = Field(description="Which login or key it was.")
    ip: str | None
    request_id: str | None
    details: Json


class AuditList(AnswerModel):
    """A page of lines, the newest first. Without `next_cursor` it is the last."""

    items: list[AuditLineView]
    next_cursor: str | None
