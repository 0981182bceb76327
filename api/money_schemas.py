"""What requests and answers about calls, costs, budgets and providers look like; see `schemas.py`."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from api.schemas import MOST_USD, AnswerModel, EstimateView, PageQuery, Usd, a_number
from core.contracts.base import Submission
from core.contracts.errors import ErrorType
from core.contracts.jobs import Outcome
from core.db.repositories.usage import UsageBy

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _a_day(value: Any) -> Any:
    """Raises ValueError for what pydantic would take for a number of seconds since 1970."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("Input should be a day as YYYY-MM-DD")
    return value


Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(9999, 12, 30)), BeforeValidator(_a_day)]
UsdOrNone = Annotated[
    Annotated[Decimal, Field(ge=0, le=MOST_USD, decimal_places=8)] | None,
    BeforeValidator(a_number),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": MOST_USD}, {"type": "null"}]}),
]


class BudgetRaise(Submission):
    """More money for a job."""

    add_usd: Usd = Field(description="US dollars that are added to the job's budget; at most eight decimals.")


class MonthlyBudget(Submission):
    """What a month may cost."""

    monthly_usd: UsdOrNone = Field(description="US dollars a calendar month (UTC), from this one on; null: no limit.")


class MonthView(AnswerModel):
    """This month's money (UTC). `reserved_usd` is held for calls that are not done; `left_usd` is null without a
    budget."""

    monthly_usd: float | None
    month: str = Field(description="As `2026-11`.")
    ends_at: datetime = Field(description="When the next month begins: what waits for the budget then goes on.")
    spent_usd: float
    reserved_usd: float
    left_usd: float | None


class PromptView(AnswerModel):
    """Which prompt a call was made of, and how long it was when filled in."""

    name: str
    version: int
    characters: int


class CallError(AnswerModel):
    """Why a call failed."""

    code: ErrorType
    message: str | None


class CallView(AnswerModel):
    """One attempt at a step: a request to a model, and what came of it.

    `input_tokens` includes the cached and cache-written ones, `output_tokens` the reasoning ones.
    """

    id: str
    step: str
    revision: int
    run: int
    attempt: int
    model: str
    prompt: PromptView
    outcome: Outcome
    reused: bool = Field(description="Answered from an earlier call of yours: no provider was asked.")
    simulated: bool
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usd: float | None = Field(description="Null as long as nobody knows, and for good where the price is unknown.")
    price_known: bool
    reserved_usd: float | None = Field(description="What was set aside for it before it was asked.")
    settled: bool = Field(description="Nobody knows what it cost: what was reserved for it counts as spent.")
    latency_ms: int | None
    first_token_ms: int | None
    error: CallError | None
    started_at: datetime
    finished_at: datetime | None


class CallList(AnswerModel):
    """A page of calls, the oldest first. Without `next_cursor` it is the last."""

    items: list[CallView]
    next_cursor: str | None


class EstimatedPrompt(AnswerModel):
    """The calls that are expected of one prompt, together."""

    prompt: str
    calls: int
    input_tokens: int
    output_tokens: int


class BasisView(AnswerModel):
    """What an estimate rests on."""

    calls: list[EstimatedPrompt]
    notes: list[str]


class Estimates(AnswerModel):
    """What a job would take, for each model of its chain as if that one did all of it."""

    pipeline: str
    models: list[EstimateView]
    based_on: BasisView


class UsageQuery(PageQuery):
    """Which calls are added up, and by what."""

    by: UsageBy = UsageBy.DAY
    first: Day | None = Field(
        default=None, alias="from", description="The first day (UTC); without it 29 days before the last."
    )
    last: Day | None = Field(default=None, alias="to", description="The last day (UTC); without it today.")


class FiguresView(AnswerModel):
    """What calls come to. `usd` leaves out the calls of `unpriced_calls`: nobody can say what they cost.
    `reserved_usd` is held for calls of which nobody knows yet."""

    calls: int
    failed_calls: int
    reused_calls: int
    simulated_calls: int
    unpriced_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usd: float
    reserved_usd: float


class UsageItem(FiguresView):
    """The figures of one day, model, pipeline or job: `key`. `title` is a job's, null when it was deleted."""

    key: str
    title: str | None


class UsageView(AnswerModel):
    """What was used in some days, deleted jobs included. Days and jobs come newest first. `total` is of all pages."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    by: UsageBy
    total: FiguresView
    items: list[UsageItem]
    next_cursor: str | None


class PriceView(AnswerModel):
    """US dollars a million tokens."""

    input: float
    output: float


class ModelView(AnswerModel):
    """A model that can be named in a chain. `default`: jobs that name no models ask it."""

    model: str
    default: bool
    context_window: int | None = Field(description="Tokens; null where nobody has told.")
    usd_per_million: PriceView | None = Field(description="Null where the price is unknown.")


class ProviderError(AnswerModel):
    """How a provider failed last."""

    code: ErrorType
    message: str | None
    at: datetime


class ProviderView(AnswerModel):
    """A provider of models. `reachable`: null as long as nobody has asked it lately."""

    name: str
    configured: bool
    reachable: bool | None
    checked_at: datetime | None = Field(description="When `reachable` was found out.")
    cooling_down_until: datetime | None = Field(
        description="It failed over and over: until then jobs ask the next model of their chain, or wait."
    )
    last_error: ProviderError | None = Field(description="Of your calls of the last day.")
    models: list[ModelView]


class ProviderList(AnswerModel):
    """The providers that there are, in the order in which they are asked."""

    items: list[ProviderView]
