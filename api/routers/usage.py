"""What was asked of models: the calls of a job, what they come to, and the providers that are asked."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import money_examples as examples
from api.deps import OwnerSession
from api.money_schemas import CallList, ProviderList, UsageQuery, UsageView
from api.money_views import call_view, figures_view, usage_item
from api.openapi import problems, success
from api.paging import id_cursor, id_of, page_view, text_cursor, text_of
from api.periods import period
from api.providers import PROVIDERS, TROUBLES, held, provider_view
from api.requests import NO_QUERY, path_id
from api.schemas import PageQuery
from api.views import answer
from core.contracts.errors import ErrorType

router = APIRouter(prefix="/v1", tags=["usage"])


@router.get(
    "/jobs/{job_id}/calls",
    summary="List a job's calls",
    response_model=None,
    responses={
        **success(200, "A page of calls", CallList, examples.CALLS),
        **problems(ErrorType.NOT_FOUND, ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def calls(job_id: str, session: OwnerSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Every attempt at a paid step of the job, in all its runs, the oldest first: the ledger, row by row."""
    found = await session.usage.calls(path_id(job_id, "job"), after=id_of(query.cursor), limit=query.limit + 1)
    return answer(page_view(found, query.limit, call_view, lambda call: id_cursor(call.id)))


@router.get(
    "/usage",
    summary="Add up what was used",
    response_model=None,
    responses={
        **success(200, "The figures", UsageView, examples.USAGE),
        **problems(ErrorType.INVALID_CURSOR, ErrorType.INVALID_REQUEST),
    },
)
async def usage(session: OwnerSession, query: Annotated[UsageQuery, Query()]) -> Response:
    """Calls, tokens and dollars by day, model, pipeline or job. What deleted jobs cost is in it, without a title.

    Days are those of UTC, and a call counts on the day on which it began. At most 366 days at once.
    """
    days = period(query.first, query.last)
    total, found = await session.usage.usage(
        days.begin,
        days.end,
        query.by,
        after=text_of(query.cursor),
        limit=query.limit + 1,
    )
    page = page_view(found, query.limit, usage_item, lambda record: text_cursor(record.key))
    return answer({"from": days.first, "to": days.last, "by": query.by.value, "total": figures_view(total), **page})


@router.get(
    "/providers",
    summary="List the providers",
    response_model=None,
    dependencies=NO_QUERY,
    responses={**success(200, "The providers", ProviderList, examples.PROVIDERS), **problems()},
)
async def providers(session: OwnerSession) -> Response:
    """Who can be asked, for which models at what price, and whether they answer.

    An Ollama is asked now. Of the others your calls of the last day tell, and whether all workers leave one alone.
    """
    found = await session.usage.health(PROVIDERS, TROUBLES)
    await session.leave()
    local = await held(session.deps)
    return answer({"items": [provider_view(session.deps, name, found[name], local) for name in PROVIDERS]})
