"""Text that is told while it is written, and what becomes of it when telling fails."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import DataError
from structlog.testing import capture_logs

from core.contracts.errors import AtelierError, ErrorType
from core.llm.partial import PartialText, Tell


@pytest.mark.parametrize(
    "error",
    [AtelierError(ErrorType.DATABASE_UNAVAILABLE, "away"), DataError("INSERT", {}, ValueError("x"))],
    ids=["ours", "the database's"],
)
async def test_a_piece_that_could_not_be_told_comes_again(error: Exception) -> None:
    told: list[tuple[int, str]] = []
    tries: asyncio.Queue[Exception | None] = asyncio.Queue()
    tried = asyncio.Semaphore(0)
    for outcome in (error, error, None):
        tries.put_nowait(outcome)

    async def tell(offset: int, words: str) -> None:
        tried.release()
        if (failed := tries.get_nowait()) is not None:
            raise failed
        told.append((offset, words))

    with capture_logs() as said:
        await _hear(tell, tried, ['{"markdown": "The', '{"markdown": "The tide', '{"markdown": "The tide turns'])
    assert told == [(0, "The tide turns")]
    assert [line["event"] for line in said] == ["partial_text.not_told"]


async def _hear(tell: Tell, tried: asyncio.Semaphore, answers: list[str]) -> None:
    async with PartialText("markdown", tell, timedelta(0)) as partial:
        for answer in answers:
            partial.heard(lambda answer=answer: answer)  # type: ignore[misc]
            # The task that tells ends in the turn of the loop in which it lets this one go on.
            await tried.acquire()
