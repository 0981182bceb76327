"""Answers that the ledger keeps: to be given again to the same request, or to be shown to the model that gave them."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import EventType, FinishJob, JobError, JobStatus, Outcome
from core.contracts.llm import Usage
from core.db.engine import Database
from core.db.repositories.attempts import REFUSED_ANSWER_LIMIT
from core.db.repositories.jobs import JobRepository
from core.db.repositories.results import ResultRepository
from core.db.repositories.runs import RunRepository
from tests.conftest import Account, make_account
from tests.support.rows import begin, one, rows, step_key
from tests.support.spending import Purchases, spent

INVALID = AtelierError(ErrorType.OUTPUT_INVALID, "The answer misses its schema.")
KEPT = "SELECT 1 FROM attempts WHERE refused_answer IS NOT NULL OR refused_because IS NOT NULL"


async def end(database: Database, job_id: str, status: JobStatus = JobStatus.CANCELLED) -> None:
    error = JobError(code=ErrorType.ALL_MODELS_FAILED, message="No.") if status is JobStatus.FAILED else None
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=job_id, run=1, status=status, error=error))


async def test_an_answer_is_given_again_to_its_owner_only(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    assert await buy.ledger.reusable(account.owner_id, "k") is None
    await buy.store(await buy.open(), "0.5", reusable=("k", '{"n": 1}'))
    assert await buy.ledger.reusable(account.owner_id, "k") == '{"n": 1}'
    other = await make_account(database, "Bob Example")
    assert await buy.ledger.reusable(other.owner_id, "k") is None
    assert await buy.ledger.reusable(account.owner_id, "j") is None


async def test_an_answer_goes_with_the_job_that_paid_for_it(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await buy.store(await buy.open(), "0.5", reusable=("k", "{}"))
    await end(database, buy.job_id)
    assert await buy.ledger.reusable(account.owner_id, "k") == "{}"
    async with database.transaction() as connection:
        await JobRepository(connection, account.owner_id).delete(buy.job_id)
    assert await buy.ledger.reusable(account.owner_id, "k") is None


async def test_a_fresh_answer_stays_and_an_old_one_is_replaced(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    for number in (1, 2):
        step = f"draft {number}"
        await buy.store(await buy.open(step), "0.5", step, reusable=("k", f'{{"n": {number}}}'))
        assert await buy.ledger.reusable(account.owner_id, "k") == '{"n": 1}'
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE results SET created_at = now() - INTERVAL '31 days'"))
    assert await buy.ledger.reusable(account.owner_id, "k") is None
    later = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await later.store(await later.open(), "0.5", reusable=("k", '{"n": 3}'))
    assert await buy.ledger.reusable(account.owner_id, "k") == '{"n": 3}'
    assert await one(database, "SELECT job_id::text FROM results") == {"job_id": later.job_id}


async def test_old_answers_are_dropped(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    for key in ("old", "fresh"):
        await buy.store(await buy.open(key), "0.5", key, reusable=(key, "{}"))
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE results SET created_at = now() - INTERVAL '31 days' WHERE key = 'old'"))
        assert await ResultRepository(connection).drop_old() == 1
    assert await one(database, "SELECT key FROM results") == {"key": "fresh"}


async def test_who_comes_second_keeps_no_answer(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    zombie, second = await buy.open(), await buy.open()
    await buy.store(second, "0.5")
    await buy.store(zombie, "0.5", reusable=("k", "{}"))
    assert await rows(database, "SELECT 1 FROM results") == []


async def test_an_answer_that_would_not_do_is_opened_with_by_its_model(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    first = await buy.opened()
    assert (first.refusals, first.refused_answer, first.refused_because) == (0, None, ())
    overloaded = AtelierError(ErrorType.OVERLOADED, "The provider is overloaded.")
    await buy.fail(first.attempt_id, "0", error=overloaded)
    await buy.fail(await buy.open(), "0.1", error=INVALID, refused=('{"a": ', ("a: missing", "b: too\x00 long")))
    second = await buy.opened()
    assert (second.failures, second.refusals) == (2, 1)
    assert (second.refused_answer, second.refused_because) == ('{"a": ', ("a: missing", "b: too long"))
    await buy.fail(second.attempt_id, "0.1", error=overloaded)
    # It is the latest that is repaired; an overload in between takes nothing away, and another model has its own.
    third = await buy.opened()
    assert (third.refusals, third.refused_answer) == (1, '{"a": ')
    await buy.fail(third.attempt_id, "0.1", error=INVALID, refused=("x" * (REFUSED_ANSWER_LIMIT + 1), ()))
    fourth = await buy.opened()
    assert (fourth.refusals, fourth.refused_answer, fourth.refused_because) == (2, "x" * REFUSED_ANSWER_LIMIT, ())
    for other in (await buy.opened(model="google:gemini-2.5-flash"), await buy.opened("another step")):
        assert (other.refusals, other.refused_answer) == (0, None)


@pytest.mark.parametrize("how", ["stored", "failed", "deleted"])
async def test_an_answer_that_would_not_do_is_forgotten_in_the_end(
    database: Database, account: Account, how: str
) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    await buy.fail(await buy.open(), "0.1", error=INVALID, refused=("secret", ("a: missing",)))
    assert len(await rows(database, KEPT)) == 1
    if how == "stored":
        await buy.store(await buy.open(), "0.1")
    else:
        await end(database, buy.job_id, JobStatus.FAILED)
    assert await rows(database, KEPT) == []
    if how == "deleted":
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE attempts SET refused_answer = 'x', refused_because = '{x}'"))
            await JobRepository(connection, account.owner_id).delete(buy.job_id)
        assert await rows(database, KEPT) == []


async def test_nobody_keeps_an_answer_for_a_job_that_ended(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    attempt = await buy.open()
    await end(database, buy.job_id)
    await buy.fail(attempt, "0.1", error=INVALID, refused=("secret", ("a: missing",)))
    assert await rows(database, KEPT) == []
    assert await one(database, "SELECT outcome, usd FROM attempts") == {"outcome": "failed", "usd": Decimal("0.1")}


async def test_every_kind_of_token_is_on_record(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    usage = Usage(input_tokens=100, output_tokens=50, cached_tokens=20, cache_write_tokens=30, reasoning_tokens=40)
    for number, outcome in enumerate((Outcome.OK, Outcome.CANCELLED)):
        key = step_key(buy.job_id, account.owner_id, str(number))
        attempt, used = await buy.open(str(number)), replace(spent("0.1"), usage=usage)
        if outcome is Outcome.OK:
            await buy.ledger.close_stored(key, attempt, used, "{}", [], data={})
        else:
            await buy.ledger.close_failed(key, attempt, used, outcome, answered=False)
    tokens = "input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens"
    for row in await rows(database, f"SELECT {tokens} FROM attempts"):
        assert row == usage.model_dump()


async def test_text_is_told_while_its_attempt_is_open(database: Database, account: Account) -> None:
    buy = Purchases(database, account.owner_id, await begin(database, account.owner_id))
    attempt = await buy.open()
    # The same piece again, as nobody knows whether it was told; and one that Postgres would not take.
    for piece in ("The mill", "The mill", "The mill\x00 \ud83d"):
        await buy.ledger.tell_text(buy.key(), attempt, {"model": "m", "offset": 0, "text": piece})
    await buy.store(attempt, "0.1")
    await buy.ledger.tell_text(buy.key(), attempt, {"model": "m", "offset": 8, "text": " turns"})
    told = await rows(
        database, "SELECT data FROM events WHERE type = :type ORDER BY seq", type=EventType.STEP_TEXT.value
    )
    common = {"step": "draft", "stage": "sections", "revision": 1, "attempt_id": attempt, "model": "m", "offset": 0}
    assert [event["data"] for event in told] == [
        {**common, "text": "The mill"},
        {**common, "text": "The mill\ufffd ?"},
    ]
