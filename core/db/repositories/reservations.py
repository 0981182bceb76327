"""Reservations: parts of the statements that open and close attempts, and what it means when one is refused.

Whoever changes these figures locks rows in one order: attempts, then jobs by id, then months.
"""

import json
from decimal import Decimal

from sqlalchemy.exc import DBAPIError

from core.contracts.errors import AtelierError, ErrorType

TELL_AT = (80, 100)
"""Per cent of a job's budget; when so much is spent, it is told of."""
TELL_MONTH_AT = 80
"""Per cent of the month's budget; when so much is spent, each job that spends of it tells so."""

HELD = "outcome <> 'ok' AND usd IS NULL AND settled_at IS NULL AND reserved_usd IS NOT NULL"
"""SQL, true of an attempt's row: what its call may cost is held, as nobody has told what it did cost. It is under
way, or was lost, broken off or cut, and is to be settled."""

RESERVE = """
    wanted AS (
        SELECT CASE WHEN EXISTS (SELECT 1 FROM refused WHERE refused_answer IS NOT NULL)
               THEN CAST(:reserve_repair AS numeric) ELSE CAST(:reserve AS numeric) END AS usd
    )
"""
"""A part of the statement that opens an attempt: what is held for it."""

RESERVE_IN_JOB = {"reserved_usd": "reserve(budget_usd, cost_usd, reserved_usd, (SELECT usd FROM wanted), 'job')"}
"""What changes in the job's row when an attempt is opened."""

# The job's row is locked first, as the month's waits for the part that changes it. Checked in RETURNING, where the
# figures are those under the lock whether the row is new or was there.
RESERVE_IN_MONTH = """
    month AS (
        INSERT INTO spending AS m (owner_id, month, budget_usd, reserved_usd)
        SELECT o.id, CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date), o.monthly_budget_usd,
               COALESCE(wanted.usd, 0)
        FROM owners o CROSS JOIN wanted
        WHERE o.id = :owner_id AND (SELECT count(*) FROM job) = 1 AND wanted.usd IS DISTINCT FROM 0
        ON CONFLICT (owner_id, month) DO UPDATE SET reserved_usd = m.reserved_usd + EXCLUDED.reserved_usd
        RETURNING reserve(m.budget_usd, m.spent_usd, m.reserved_usd - COALESCE((SELECT usd FROM wanted), 0),
                          (SELECT usd FROM wanted), 'month')
    )
"""
"""A part of the statement that opens an attempt."""

# Of the month in which the attempt was opened, whenever it is closed. What is free touches no month's row.
SPEND_IN_MONTH = """
    month AS (
        INSERT INTO spending AS m (owner_id, month, budget_usd, spent_usd, reserved_usd)
        SELECT o.id, CAST(date_trunc('month', attempt.started_at AT TIME ZONE 'UTC') AS date), o.monthly_budget_usd,
               COALESCE(CAST(:usd AS numeric), 0), -attempt.released
        FROM attempt CROSS JOIN (SELECT count(*) FROM job) AS after_the_job JOIN owners o ON o.id = :owner_id
        WHERE attempt.released <> 0 OR COALESCE(CAST(:usd AS numeric), 0) <> 0
        ON CONFLICT (owner_id, month) DO UPDATE SET
            spent_usd = m.spent_usd + EXCLUDED.spent_usd, reserved_usd = m.reserved_usd + EXCLUDED.reserved_usd
        RETURNING m.month, m.budget_usd, m.spent_usd
    )
"""
"""A part of the statement that closes an attempt."""

UNTOLD = f"""
    EXISTS (
        SELECT 1 FROM job j, (VALUES {", ".join(f"({percent})" for percent in TELL_AT)}) AS tell (percent)
        WHERE j.budget_usd > 0 AND j.cost_usd * 100 >= j.budget_usd * tell.percent AND NOT EXISTS (
            SELECT 1 FROM events e
            WHERE e.job_id = j.id AND e.key = 'budget:' || trim_scale(j.budget_usd) || ':' || tell.percent))
    OR EXISTS (
        SELECT 1 FROM job j CROSS JOIN month m
        WHERE m.budget_usd > 0 AND m.spent_usd * 100 >= m.budget_usd * {TELL_MONTH_AT}
          AND m.month = CAST(date_trunc('month', now() AT TIME ZONE 'UTC') AS date) AND NOT EXISTS (
            SELECT 1 FROM events e
            WHERE e.job_id = j.id AND e.key = 'budget:' || to_char(m.month, 'YYYY-MM') || ':'
                || trim_scale(m.budget_usd) || ':' || {TELL_MONTH_AT}))
"""
"""Whether there is something for `SpendingRepository.tell` to say of the changed `job` and `month`."""

BUDGET_STATE, PRICE_STATE = "ATB01", "ATP01"
"""What the function `reserve` of the migration raises."""

_RAISE = {
    "job": "The next call may cost {needed_usd}, and of the job's budget of {budget_usd} {spent_usd} is spent and "
    "{reserved_usd} is held for other calls. Raise it by POST /v1/jobs/{job_id}/budget, and the job goes on.",
    "month": "The next call may cost {needed_usd}, and of the month's budget of {budget_usd} {spent_usd} is spent and "
    "{reserved_usd} is held for other calls. Raise it by PUT /v1/me/budget, or wait for the next month; then the job "
    "goes on.",
}
_KNOW = {
    "job": "Nobody knows the price of {model}, so it cannot be asked by a job with a budget. Take a model whose price "
    "is known, or a job without a budget.",
    "month": "Nobody knows the price of {model}, so it cannot be asked while the month has a budget. Take a model "
    "whose price is known, or lift the month's budget by PUT /v1/me/budget.",
}


def refusal(error: DBAPIError, *, job_id: str, model: str) -> AtelierError | None:
    """What to tell of a call that was not reserved for: `BUDGET_EXCEEDED` or `PRICE_UNKNOWN`. None: another error."""
    state = getattr(error.orig, "sqlstate", None)
    if state not in (BUDGET_STATE, PRICE_STATE):
        return None
    detail = str(getattr(getattr(error.orig, "__cause__", None), "detail", ""))
    if state == PRICE_STATE:
        return AtelierError(
            ErrorType.PRICE_UNKNOWN, _KNOW[detail].format(model=model), details={"which": detail, "model": model}
        )
    said = json.loads(detail)
    which = said.pop("which")
    message = _RAISE[which].format(job_id=job_id, **{name: usd(value) for name, value in said.items()})
    details = {"which": which, **{name: float(value) for name, value in said.items()}}
    return AtelierError(ErrorType.BUDGET_EXCEEDED, message, details=details, final=True)


def usd(amount: Decimal | float) -> str:
    """An amount for a sentence: cents, or the first figures of what is less."""
    return f"${amount:.2f}" if amount >= 1 or not amount else f"${amount:.4g}"
