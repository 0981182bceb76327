"""The chain of models: each is an activity of its own, so that the history shows who was asked and why it went on; and
how steps are awaited side by side, or done without."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from core.contracts.base import Json
from core.contracts.errors import ERRORS, ErrorType, error_type
from core.contracts.jobs import PaidRequest
from core.contracts.llm import ModelChain
from core.contracts.options import ActivityOptions

Result = TypeVar("Result")


class Purse(Protocol):
    """What a chain knows of its job's budget."""

    @property
    def raises(self) -> int:
        """How often what the job may spend was raised so far."""
        ...

    async def wait(self, refused: Json, raises: int) -> None:
        """Return when there may be more to spend than when `raises` was read; `refused` says what was missing."""
        ...


def stop_if_cancelled() -> None:
    """Raise CancelledError when the workflow was cancelled, also when what it awaited ended all the same."""
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


async def ask(
    activity: Callable[[Any, Any], Awaitable[Result]],
    request: PaidRequest,
    models: ModelChain,
    options: ActivityOptions,
    purse: Purse,
) -> Result:
    """Ask the models in turn until one answers; one that the budget does not allow is asked again when it does.

    Raises `all_models_failed` with each model's last reason, or at once what no other model would do better.
    """
    failed: list[Json] = []
    left = list(models)
    while left:
        model = left[0]
        # A model that fails while the job is cancelled is no reason to ask another.
        stop_if_cancelled()
        raises = purse.raises
        try:
            result: Result = await workflow.execute_activity_method(
                activity,
                request.model_copy(update={"model": model, "last": len(left) == 1}),
                summary=f"{request.key.step} · {model}",
                **options,
            )
            return result
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            cause = error.cause
            if not isinstance(cause, ApplicationError):
                raise
            code = error_type(cause.type or "")
            details = next((detail for detail in cause.details if isinstance(detail, dict)), {})
            if code is ErrorType.BUDGET_EXCEEDED:
                # The cancel is used up by the activity, which failed all the same: nothing would end the wait.
                stop_if_cancelled()
                await purse.wait(details, raises)
                continue
            if not ERRORS[code].falls_through:
                raise
            if code is ErrorType.PROMPT_TOO_LONG:
                window = max(request.larger_than, details.get("context_window", 0))
                request = request.model_copy(update={"larger_than": window})
            failed.append({"model": model, "code": code.value, "message": cause.message, **details})
            left.pop(0)
    reasons = "; ".join(f"{entry['model']}: {entry['message']}" for entry in failed)
    raise ApplicationError(
        f"No model could do the step {request.key.step!r}. {reasons}",
        {"step": request.key.step, "models": failed, "attempts": sum(entry.get("attempts", 1) for entry in failed)},
        type=ErrorType.ALL_MODELS_FAILED.value,
        non_retryable=True,
    )


async def together(steps: Iterable[Awaitable[Result]]) -> list[Result]:
    """Await steps side by side. If one fails the others still end, as they are paid for; then the first failure is
    raised."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def attempted(step: Awaitable[Result]) -> Result | ApplicationError:
    """The result of a step, or why every model failed at it."""
    try:
        return await step
    except ApplicationError as failure:
        if failure.type != ErrorType.ALL_MODELS_FAILED:
            raise
        stop_if_cancelled()
        return failure


async def optional(step: Awaitable[Result]) -> Result | None:
    """The result of a step that the job can do without, or None when every model failed at it."""
    found = await attempted(step)
    return None if isinstance(found, ApplicationError) else found
