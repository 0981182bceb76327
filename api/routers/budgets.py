"""What may be spent: on a job, and in a month."""

from fastapi import APIRouter, Response

from api import examples, money_examples
from api.deps import OwnerSession
from api.money_schemas import BudgetRaise, MonthlyBudget, MonthView
from api.money_views import month_view
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.requests import NO_QUERY, IdempotencyKey, JsonBody, parse, path_id
from api.schemas import JobView
from api.views import answer, job_view
from core.contracts.errors import ErrorType
from core.db.ids import new_id

router = APIRouter(prefix="/v1", tags=["budgets"], dependencies=NO_QUERY)


@router.post(
    "/jobs/{job_id}/budget",
    status_code=202,
    summary="Add to a job's budget",
    response_model=None,
    openapi_extra=request_body(BudgetRaise, money_examples.RAISE),
    responses={
        **success(202, "It is added, and a job that waits for it goes on", JobView, examples.RUNNING),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_STATE, ErrorType.IDEMPOTENCY_MISMATCH, *BODY_PROBLEMS),
    },
)
async def add(job_id: str, body: JsonBody, session: OwnerSession, idempotency_key: IdempotencyKey = None) -> Response:
    """Let a job cost more. Two requests at once both add; with the same `Idempotency-Key` they are one.

    A job that was submitted without a budget has nothing to add to, and one that has ended cannot spend.
    """
    job_id = path_id(job_id, "job")
    added = parse(BudgetRaise, body).add_usd
    # Without a key each request is a raise of its own.
    await session.budgets.raise_job(job_id, added, idempotency_key or new_id())
    session.then.append(session.deps.wake)
    return answer(job_view(await session.jobs.get(job_id)), 202)


@router.get(
    "/me/budget",
    summary="Read the month's budget",
    response_model=None,
    responses={**success(200, "This month", MonthView, money_examples.MONTH), **problems()},
)
async def month(session: OwnerSession) -> Response:
    """What this month (UTC) may cost, what it has cost, and what is held for calls that are not done."""
    return answer(month_view(await session.budgets.month()))


@router.put(
    "/me/budget",
    summary="Set the month's budget",
    response_model=None,
    openapi_extra=request_body(MonthlyBudget, money_examples.MONTHLY),
    responses={
        **success(200, "This month as it is now", MonthView, money_examples.MONTH),
        **problems(*BODY_PROBLEMS),
    },
)
async def set_month(body: JsonBody, session: OwnerSession) -> Response:
    """Set what a calendar month may cost, from this one on; null takes the limit away. Jobs that wait for it go on.

    When this month's calls have cost and hold more already, this month's budget is that much, and nothing more is
    spent; the months to come have what was asked for.
    """
    await session.budgets.set_monthly(parse(MonthlyBudget, body).monthly_usd)
    session.then.append(session.deps.wake)
    return answer(month_view(await session.budgets.month()))
