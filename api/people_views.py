"""Accounts, logins, keys and lines of the audit log as the answers show them."""

from api.logins import Tokens
from api.views import View
from core.contracts.people import Via
from core.db.repositories.accounts import AccountRecord
from core.db.repositories.audit import AuditRecord
from core.db.repositories.identities import Caller
from core.db.repositories.keys import KeyRecord
from core.db.repositories.logins import LoginRecord
from core.settings import Settings


def account_view(account: AccountRecord) -> View:
    """An account, as `people_schemas.AccountView`."""
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "role": account.role.value,
        "created_at": account.created_at,
    }


def me_view(account: AccountRecord, caller: Caller, settings: Settings) -> View:
    """The account of whoever asks, as `people_schemas.MeView`."""
    limits = {
        "submissions_per_hour": _own(caller.submissions_per_hour, settings.limit_submissions_per_hour),
        "jobs_at_once": _own(caller.jobs_at_once, settings.limit_jobs_at_once),
    }
    return {
        **account_view(account),
        "via": caller.via.value,
        "scopes": sorted(caller.scopes),
        "has_password": caller.has_password,
        "limits": limits if settings.limits else None,
    }


def _own(limit: int | None, setting: int) -> int:
    return setting if limit is None else limit


def token_view(tokens: Tokens) -> View:
    """The tokens of a login, as `people_schemas.TokenView`."""
    return {
        "access_token": tokens.access.token,
        "token_type": "Bearer",
        "expires_in": tokens.access.expires_in,
        "refresh_token": tokens.refresh,
        "refresh_expires_in": tokens.refresh_expires_in,
    }


def login_view(login: LoginRecord, caller: Caller) -> View:
    """A login, as `people_schemas.LoginView`."""
    return {
        "id": login.id,
        "current": caller.via is Via.LOGIN and caller.via_id == login.id,
        "ip": login.ip,
        "user_agent": login.user_agent,
        "created_at": login.created_at,
        "used_at": login.used_at,
        "expires_at": login.expires_at,
    }


def key_view(key: KeyRecord) -> View:
    """A key, as `people_schemas.KeyView`."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def audit_view(record: AuditRecord) -> View:
    """A line of the audit log, as `people_schemas.AuditLineView`."""
    act = record.act
    return {
        "id": record.id,
        "at": record.at,
        "action": act.action,
        "resource": act.resource,
        "account_id": act.owner_id,
        "actor_id": act.actor_id,
        "via": act.via.value,
        "via_id": act.via_id,
        "ip": act.ip,
        "request_id": act.request_id,
        "details": act.details,
    }
