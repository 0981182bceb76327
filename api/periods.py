"""The days that usage is added up over."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from api.requests import invalid

USUAL_DAYS, MOST_DAYS = 30, 366


class Period(NamedTuple):
    """Whole days of UTC, and the instants from which and before which they are."""

    first: date
    last: date
    begin: datetime
    end: datetime


def period(first: date | None, last: date | None) -> Period:
    """The days asked for: until today and 30 of them, if not said. Raises `INVALID_REQUEST` for none or over 366."""
    last = last or datetime.now(UTC).date()
    first = first or last - timedelta(days=USUAL_DAYS - 1)
    if first > last:
        raise invalid("query.from", "The first day lies behind the last")
    if (last - first).days >= MOST_DAYS:
        raise invalid("query.from", f"At most {MOST_DAYS} days are added up at once")
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    return Period(first, last, datetime.combine(first, time(), UTC), end)
