"""What the small API in memory answers about calls, budgets, usage and providers."""

import copy
from typing import Any

from api import money_examples

Json = dict[str, Any]


def a_call(number: int, **changes: Any) -> Json:
    """A call that went well."""
    call: Json = copy.deepcopy(money_examples.CALLS["items"][1])
    return call | {"id": f"019ab000-0000-7000-9000-{number:012x}"} | changes


CALLS = [
    a_call(
        1,
        step="decompose",
        outcome="failed",
        error={"code": "overloaded", "message": "Busy\x1b[31m\nnow."},
        usd=0.0,
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
    ),
    a_call(2, step="decompose", attempt=2, simulated=True, usd=0.0),
    a_call(3, revision=2, run=2, reused=True, usd=0.0),
    a_call(4, outcome="open", usd=None, reserved_usd=0.02, latency_ms=None),
    a_call(5, outcome="unknown", settled=True, usd=0.02),
    a_call(6, model="google:gemini-9-nano", usd=None, price_known=False, reserved_usd=None),
]


class Purse:
    """The month of the fake API's owner, and what it tells of usage."""

    def __init__(self) -> None:
        self.monthly: float | None = None
        self.spent, self.reserved = 3.4187, 0.0488
        self.usage = [copy.deepcopy(money_examples.USAGE["items"][0]) | {"key": f"2026-11-{n}"} for n in (21, 20, 19)]
        self.estimates = copy.deepcopy(money_examples.ESTIMATES)
        self.providers = copy.deepcopy(money_examples.PROVIDERS)

    def month(self) -> Json:
        """As `GET /v1/me/budget`."""
        left = None if self.monthly is None else self.monthly - self.spent - self.reserved
        return money_examples.MONTH | {"monthly_usd": self.monthly, "left_usd": left}

    def used(self, query: dict[str, str]) -> Json:
        """As `GET /v1/usage`: pages of two at most."""
        start = int(query.get("cursor", 0))
        end = start + min(2, int(query["limit"]))
        total = (
            {name: value for name, value in self.usage[0].items() if name not in ("key", "title")} if self.usage else {}
        )
        return money_examples.USAGE | {
            "by": query.get("by", "day"),
            "total": total or money_examples.USAGE["total"] | {"calls": 0},
            "items": self.usage[start:end],
            "next_cursor": str(end) if end < len(self.usage) else None,
        }
