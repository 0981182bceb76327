"""Figures as a person reads them: ids, times, sizes, prices, small JSON."""

from datetime import UTC, datetime


def short_id(job_id: str) -> str:
    """The end of an id: its beginning is the time, which jobs of one hour share."""
    return job_id[-8:]


def duration(seconds: float) -> str:
    """`0:07`, `12:03`, `1:02:03`."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def when(value: str | None) -> datetime | None:
    """An ISO time of the API."""
    return datetime.fromisoformat(value) if value else None


def ago(value: str | None) -> str:
    """How long ago a time was: `12 s`, `5 min`, `3 h`, then the date."""
    at = when(value)
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < 60:
        return f"{max(0, seconds):.0f} s ago"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return at.astimezone().strftime("%Y-%m-%d")


def until(value: str | None) -> str:
    """` until 2026-12-21 10:00`, in local time; empty without a time."""
    at = when(value)
    return f" until {at.astimezone():%Y-%m-%d %H:%M}" if at else ""


def dollars(usd: float) -> str:
    """A price; most are fractions of a cent."""
    return f"${usd:.4f}" if usd else "$0"


def score_text(score: float) -> str:
    """A score of 0 to 1."""
    return f"score {float(score):.2f}"


def plain(value: object) -> str:
    """Small JSON as words: `words: 1200, title: …`."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {plain(inner)}" for name, inner in value.items())
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def counted(count: int, thing: str) -> str:
    """`1 question`, `2 questions`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
