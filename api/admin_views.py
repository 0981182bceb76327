"""Accounts, limits, providers and lines of the audit log as admins see them."""

from collections.abc import Sequence

from api.deps import Deps
from api.limits import ALL_NETWORKS, EVERYBODY, HOUR, MINUTE
from api.money_views import figures_view, usd
from api.providers import provider_view
from api.views import View
from core.db.repositories.admin import AccountRecord, AccountUse, AllUsageRecord, LimitUse, ProviderRecord
from core.db.repositories.limits import Allowance
from core.db.repositories.usage import ProviderHealth
from core.settings import Settings

_UNUSED = LimitUse(0, 0, 0, 0.0)


def account_view(account: AccountRecord) -> View:
    """An account, as `admin_schemas.AdminAccountView`."""
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "role": account.role.value,
        "created_at": account.created_at,
        "last_used_at": account.last_used_at,
        "jobs": account.jobs,
        "spent_this_month_usd": float(account.spent_usd),
        "limits": {
            "submissions_per_hour": account.submissions_per_hour,
            "jobs_at_once": account.jobs_at_once,
            "monthly_usd": usd(account.monthly_usd),
        },
    }


def all_usage_item(record: AllUsageRecord) -> View:
    """The figures of one day, model, pipeline or account, as `admin_schemas.AdminUsageItem`."""
    return {"key": record.key, "name": record.name, **figures_view(record.figures)}


def admin_provider_view(deps: Deps, name: str, found: ProviderRecord, local: tuple[str, ...] | None) -> View:
    """A provider, as `admin_schemas.AdminProviderView`."""
    health = ProviderHealth(
        found.answered_at, found.failed_at, found.error_type, None, found.cooling_until, found.cooling_for
    )
    shown = provider_view(deps, name, health, local)
    return {
        **{key: shown[key] for key in ("name", "configured", "reachable", "checked_at", "cooling_down_until")},
        "calls": found.calls,
        "failed_calls": found.failed_calls,
        "failures_in_a_row": found.failures_in_a_row,
        "last_error": None if found.error_type is None else {"code": found.error_type, "at": found.failed_at},
    }


def allowances(settings: Settings) -> list[Allowance]:
    """The limits that are counted, as the settings have them."""
    return [
        Allowance("submissions", "", settings.limit_submissions_per_hour, HOUR),
        Allowance("all_submissions", EVERYBODY, settings.limit_all_submissions_per_hour, HOUR),
        Allowance("anonymous", "", settings.limit_anonymous_per_minute, MINUTE),
        Allowance("logins", "", settings.limit_logins_per_minute, MINUTE),
        Allowance("account_logins", "", settings.limit_account_logins_per_hour, HOUR),
        Allowance("all_account_logins", "", ALL_NETWORKS * settings.limit_account_logins_per_hour, HOUR),
        Allowance("confirmations", "", settings.limit_logins_per_minute, MINUTE),
        Allowance("wrong_confirmations", "", settings.limit_account_logins_per_hour, HOUR),
        Allowance("deliveries", "", settings.limit_deliveries_per_hour, HOUR),
    ]


def limit_view(
    name: str, quota: int, seconds: int | None, use: LimitUse | None, accounts: Sequence[AccountUse] = ()
) -> View:
    """A limit and how it stands, as `admin_schemas.LimitView`."""
    use = use or _UNUSED
    return {
        "name": name,
        "quota": quota,
        "seconds": seconds,
        "subjects": use.subjects,
        "near": use.near,
        "reached": use.reached,
        "highest": round(use.highest, 1),
        "accounts": [{**one.__dict__, "used": round(one.used, 1)} for one in accounts],
    }
