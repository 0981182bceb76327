"""Calls, usage and budgets as the answers show them."""

from decimal import Decimal

from api.views import View
from core.db.repositories.budgets import Month
from core.db.repositories.usage import CallRecord, Figures, UsageRecord


def call_view(call: CallRecord) -> View:
    """An attempt, as `money_schemas.CallView`."""
    usage, prompt = call.usage, call.prompt
    return {
        "id": call.id,
        "step": call.step,
        "revision": call.revision,
        "run": call.run,
        "attempt": call.attempt,
        "model": call.model,
        "prompt": {"name": prompt.name, "version": prompt.version, "characters": prompt.characters},
        "outcome": call.outcome.value,
        "reused": call.reused,
        "simulated": call.simulated,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usd": usd(call.usd),
        "price_known": call.usd is not None or call.reserved_usd is not None,
        "reserved_usd": usd(call.reserved_usd),
        "settled": call.settled,
        "latency_ms": call.latency_ms,
        "first_token_ms": call.first_token_ms,
        "error": None if call.error_type is None else {"code": call.error_type, "message": call.error_message},
        "started_at": call.started_at,
        "finished_at": call.finished_at,
    }


def figures_view(figures: Figures) -> View:
    """What calls come to, as `money_schemas.FiguresView`."""
    view = figures._asdict()
    return {**view, "usd": float(figures.usd), "reserved_usd": float(figures.reserved_usd)}


def usage_item(record: UsageRecord) -> View:
    """The figures of one day, model, pipeline or job, as `money_schemas.UsageItem`."""
    return {"key": record.key, "title": record.title, **figures_view(record.figures)}


def month_view(month: Month) -> View:
    """A month's money, as `money_schemas.MonthView`."""
    return {
        "monthly_usd": usd(month.budget),
        "month": month.month.strftime("%Y-%m"),
        "ends_at": month.ends,
        "spent_usd": float(month.spent),
        "reserved_usd": float(month.reserved),
        "left_usd": None if month.budget is None else float(month.budget - month.spent - month.reserved),
    }


def usd(amount: Decimal | None) -> float | None:
    """An amount as JSON has it."""
    return None if amount is None else float(amount)
