"""What a job would take, before it is submitted."""

from fastapi import APIRouter, Response

from api import examples, money_examples
from api.deps import ReadingSession
from api.estimates import basis_view, estimate_view
from api.money_schemas import Estimates
from api.openapi import BODY_PROBLEMS, problems, request_body, success
from api.requests import NO_QUERY, JsonBody, parse
from api.schemas import JobSubmission
from api.submission import checked_submission
from api.views import answer
from core.contracts.errors import ErrorType

router = APIRouter(prefix="/v1/estimates", tags=["usage"])


@router.post(
    "",
    summary="Estimate a job",
    response_model=None,
    dependencies=NO_QUERY,
    openapi_extra=request_body(JobSubmission, examples.SUBMISSION),
    responses={
        **success(200, "What it would take", Estimates, money_examples.ESTIMATES),
        **problems(*BODY_PROBLEMS, ErrorType.UNKNOWN_PIPELINE, ErrorType.UNKNOWN_MODEL, ErrorType.PRICE_UNKNOWN),
    },
)
async def estimate(body: JsonBody, session: ReadingSession) -> Response:
    """Calls, tokens, dollars and minutes of a job, for each model of its chain. Send what you would submit: it is
    checked in the same way, and nothing is stored."""
    asked = checked_submission(session.deps, parse(JobSubmission, body))
    models = asked.models if asked.calls else ()
    return answer(
        {
            "pipeline": asked.pipeline.name,
            "models": [estimate_view(asked.calls, model, session.deps.settings) for model in models],
            "based_on": basis_view(asked.calls, asked.pipeline.estimate_notes),
        }
    )
