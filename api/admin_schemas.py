"""What requests and answers of the admin routes look like; see `schemas.py`. Figures and accounts, nobody's content."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from api.money_schemas import Day, FiguresView, UsdOrNone
from api.people_schemas import Email, NewPassword, PersonName, PersonSubmission
from api.schemas import AnswerModel, PageQuery
from core.contracts.base import Submission
from core.contracts.errors import ErrorType
from core.contracts.people import Role
from core.db.repositories.admin import AllUsageBy

MOST_SUBMISSIONS, MOST_JOBS = 1_000_000, 100_000
OwnSubmissions = Annotated[int, Field(ge=1, le=MOST_SUBMISSIONS, strict=True)]
OwnJobs = Annotated[int, Field(ge=1, le=MOST_JOBS, strict=True)]


class AccountCreation(PersonSubmission):
    """A new account that an admin makes."""

    email: Email
    name: PersonName
    password: NewPassword = Field(description="The first one, to be told to whom it is for and changed by them.")
    role: Role = Field(default=Role.USER)


class AdminAccountPatch(Submission):
    """What an admin can change of an account. What is left out stays."""

    role: Role = Field(default=Role.USER, description="The last admin stays one.")
    submissions_per_hour: OwnSubmissions | None = Field(
        default=None, description="Jobs and other model work that may be started in an hour; null: as the setting says."
    )
    jobs_at_once: OwnJobs | None = Field(
        default=None, description="Jobs that may run or be to start; null: as the setting says."
    )
    monthly_usd: UsdOrNone = Field(
        default=None, description="US dollars a calendar month (UTC), from this one on; null: no limit."
    )


class AccountLimits(AnswerModel):
    """What an account may do. Null: as the setting says; of money, no limit."""

    submissions_per_hour: int | None
    jobs_at_once: int | None
    monthly_usd: float | None


class AdminAccountView(AnswerModel):
    """An account. `email` is null where a command made it, which has keys only; `jobs` counts those that are there."""

    id: str
    name: str
    email: str | None
    role: Role
    created_at: datetime
    last_used_at: datetime | None = Field(description="When a key or a login of it was used last, to the minute.")
    jobs: int
    spent_this_month_usd: float
    limits: AccountLimits


class AdminAccountList(AnswerModel):
    """A page of accounts, the newest first. Without `next_cursor` it is the last."""

    items: list[AdminAccountView]
    next_cursor: str | None


class AdminUsageQuery(PageQuery):
    """Which calls are added up, and by what."""

    by: AllUsageBy = AllUsageBy.DAY
    first: Day | None = Field(
        default=None, alias="from", description="The first day (UTC); without it 29 days before the last."
    )
    last: Day | None = Field(default=None, alias="to", description="The last day (UTC); without it today.")


class AdminUsageItem(FiguresView):
    """The figures of one day, model, pipeline or account: `key`. `name` is an account's, null when it was deleted."""

    key: str
    name: str | None


class AdminUsageView(AnswerModel):
    """What everybody used in some days, deleted accounts included. Days and accounts come newest first. `total` is of
    all pages."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    by: AllUsageBy
    total: FiguresView
    items: list[AdminUsageItem]
    next_cursor: str | None


class AdminProviderError(AnswerModel):
    """How a provider failed last. What it said is not told: it may quote what was asked."""

    code: ErrorType
    at: datetime


class AdminProviderView(AnswerModel):
    """A provider, by everybody's calls of the last day. `reachable`: null as long as nobody has asked it lately."""

    name: str
    configured: bool
    reachable: bool | None
    checked_at: datetime | None = Field(description="When `reachable` was found out.")
    calls: int
    failed_calls: int
    failures_in_a_row: int
    cooling_down_until: datetime | None = Field(description="No worker asks it before; a resume ends that.")
    last_error: AdminProviderError | None


class AdminProviderList(AnswerModel):
    """The providers that there are, in the order in which they are asked."""

    items: list[AdminProviderView]


class AccountUseView(AnswerModel):
    """How far an account has used a limit."""

    account_id: str
    name: str
    used: float
    quota: int


class LimitView(AnswerModel):
    """A limit, and how it stands. `accounts`: those that have used most of theirs, of the limits that accounts have.
    Addresses and emails are counted and not told."""

    name: str
    quota: int = Field(description="As the setting says; an account may have one of its own.")
    seconds: int | None = Field(description="In how many seconds; null: at once.")
    subjects: int = Field(description="Of how many anything counts now.")
    near: int = Field(description="How many have used four fifths of theirs or more.")
    reached: int = Field(description="How many are refused now.")
    highest: float = Field(description="The most that one has used.")
    accounts: list[AccountUseView]


class LimitList(AnswerModel):
    """The limits. `enabled`: whether any of them holds."""

    enabled: bool
    items: list[LimitView]


class AdminAuditQuery(PageQuery):
    """Which lines of the audit log."""

    account: str | None = Field(default=None, description="Only what was done to this account's things, by its id.")
