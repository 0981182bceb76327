"""The ledger and the stored steps: once each, whoever comes first, and every attempt on record."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from core.contracts.base import Contract
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import FinishJob, JobError, JobStatus, Outcome, StepKey
from core.contracts.llm import CUT_OFF_ATTEMPTS, PromptRef, Usage
from core.db.engine import Database
from core.db.repositories.attempts import Opened, Spent, Stored
from core.db.repositories.jobs import JobRepository
from core.db.repositories.runs import RunRepository
from core.db.repositories.steps import Kept
from core.ledger.free import FreeSteps
from core.ledger.ledger import Ledger
from tests.conftest import Account
from tests.support.rows import begin, one, rows, step_key

PROMPT = PromptRef(name="longform/draft_section", version=1, characters=1200)
SPENT = Spent(
    usage=Usage(input_tokens=100, output_tokens=50, cached_tokens=20), usd=Decimal("0.25"), latency=timedelta(seconds=1)
)
FAILED = JobError(code=ErrorType.ALL_MODELS_FAILED, message="No model could do it.")
MODEL = "anthropic:claude-haiku-4-5"


async def opened(ledger: Ledger, key: StepKey, model: str = MODEL) -> Opened:
    row = await ledger.open(key, attempt=1, model=model, prompt=PROMPT, simulated=False, reserve=None)
    assert isinstance(row, Opened)
    return row


async def test_a_step_is_stored_with_its_cost_and_its_event_and_never_opened_again(
    database: Database, account: Account
) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id, total_steps=4)
    first = await opened(ledger, key)
    assert await ledger.close_stored(key, first.attempt_id, SPENT, '{"n": 1}', [], data={}) == '{"n": 1}'
    again = await ledger.open(key, attempt=2, model=MODEL, prompt=PROMPT, simulated=False, reserve=None)
    assert again == Stored('{"n": 1}')
    row = await one(database, "SELECT * FROM jobs")
    assert (row["cost_usd"], row["input_tokens"], row["steps_done"], row["total_steps"]) == (Decimal("0.25"), 100, 1, 4)
    assert [event["type"] for event in await rows(database, "SELECT type FROM events ORDER BY seq")] == [
        "job.accepted",
        "job.started",
        "step.started",
        "step.completed",
    ]


async def test_a_step_counts_once_whichever_revision_is_stored_first(database: Database, account: Account) -> None:
    """The first revision of one of them failed for good."""
    job = await begin(database, account.owner_id)
    ledger = Ledger(database)
    for step, revision, done in (("draft", 2, 1), ("draft", 3, 1), ("judge", 1, 2), ("judge", 2, 2)):
        key = step_key(job, account.owner_id, step, revision=revision)
        first = await opened(ledger, key)
        await ledger.close_stored(key, first.attempt_id, SPENT, "{}", [], data={})
        assert (await one(database, "SELECT steps_done FROM jobs"))["steps_done"] == done


async def test_an_attempt_that_was_cut_off_is_unknown_and_counted(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    await opened(ledger, key)
    second = await opened(ledger, key)
    assert (second.failures, second.cut_off) == (0, 1)
    assert [row["outcome"] for row in await rows(database, "SELECT outcome FROM attempts ORDER BY id")] == [
        "unknown",
        "open",
    ]


async def test_failures_are_counted_by_model_and_run(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    for expected in (0, 1):
        row = await opened(ledger, key)
        assert row.failures == expected
        error = AtelierError(ErrorType.OVERLOADED, "The provider is overloaded.")
        await ledger.close_failed(key, row.attempt_id, SPENT, Outcome.FAILED, answered=True, error=error)
    assert (await opened(ledger, key, "google:gemini-2.5-flash")).failures == 0
    assert (await one(database, "SELECT cost_usd FROM jobs"))["cost_usd"] == Decimal("0.5")
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=job, run=1, status=JobStatus.FAILED, error=FAILED))
        await JobRepository(connection, account.owner_id).retry(job)
    assert (await opened(ledger, key.model_copy(update={"run": 2}))).failures == 0


async def test_what_our_own_parts_break_is_no_failure_of_the_models(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    for ours in (ErrorType.INTERNAL, ErrorType.STORE_UNAVAILABLE, ErrorType.OUTPUT_INVALID):
        row = await opened(ledger, key)
        assert row.failures == 0
        error = AtelierError(ours, "It broke.")
        await ledger.close_failed(key, row.attempt_id, SPENT, Outcome.FAILED, answered=True, error=error)
    assert (await opened(ledger, key)).failures == 1


async def test_nothing_is_paid_for_a_job_that_ended_or_is_in_another_run(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    for late in (key.model_copy(update={"run": 2}), key):
        if late is key:
            async with database.transaction() as connection:
                await RunRepository(connection).finish(FinishJob(job_id=job, run=1, status=JobStatus.CANCELLED))
        with pytest.raises(AtelierError, match="nothing is paid for it"):
            await ledger.open(late, attempt=1, model=MODEL, prompt=PROMPT, simulated=False, reserve=None)
    assert await rows(database, "SELECT 1 FROM attempts") == []


async def test_a_zombie_that_comes_second_is_superseded_and_paid_all_the_same(
    database: Database, account: Account
) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    zombie = await opened(ledger, key)
    second = await opened(ledger, key)
    assert await ledger.close_stored(key, second.attempt_id, SPENT, '{"n": 2}', [], data={}) == '{"n": 2}'
    assert await ledger.close_stored(key, zombie.attempt_id, SPENT, '{"n": 1}', [], data={}) == '{"n": 2}'
    outcomes = await rows(database, "SELECT outcome FROM attempts ORDER BY id")
    assert [row["outcome"] for row in outcomes] == ["superseded", "ok"]
    assert (await one(database, "SELECT cost_usd, steps_done FROM jobs")) == {
        "cost_usd": Decimal("0.5"),
        "steps_done": 1,
    }


async def test_a_zombie_that_comes_first_is_the_one_that_stored(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    zombie = await opened(ledger, key)
    second = await opened(ledger, key)
    await ledger.close_stored(key, zombie.attempt_id, SPENT, '{"n": 1}', [], data={})
    assert await ledger.close_stored(key, second.attempt_id, SPENT, '{"n": 2}', [], data={}) == '{"n": 1}'
    outcomes = await rows(database, "SELECT outcome FROM attempts ORDER BY id")
    assert [row["outcome"] for row in outcomes] == ["ok", "superseded"]


async def test_closing_again_after_a_lost_acknowledgement_changes_nothing(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    row = await opened(ledger, key)
    for _ in range(2):
        assert await ledger.close_stored(key, row.attempt_id, SPENT, '{"n": 1}', [], data={}) == '{"n": 1}'
    await ledger.close_failed(key, row.attempt_id, SPENT, Outcome.CANCELLED, answered=False)
    assert (await one(database, "SELECT outcome FROM attempts"))["outcome"] == "ok"
    assert (await one(database, "SELECT cost_usd FROM jobs"))["cost_usd"] == Decimal("0.25")


async def test_ten_zombies_at_once_store_one_step_and_gapless_events(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    attempts = [await opened(ledger, key) for _ in range(10)]
    results = await asyncio.gather(
        *(
            ledger.close_stored(key, attempt.attempt_id, SPENT, f'{{"n": {number}}}', [], data={})
            for number, attempt in enumerate(attempts)
        )
    )
    assert len(set(results)) == 1
    counts = await rows(database, "SELECT outcome, count(*) FROM attempts GROUP BY outcome ORDER BY outcome")
    assert [(row["outcome"], row["count"]) for row in counts] == [("ok", 1), ("superseded", 9)]
    numbers = [row["seq"] for row in await rows(database, "SELECT seq FROM events ORDER BY seq")]
    assert numbers == list(range(1, (await one(database, "SELECT event_seq FROM jobs"))["event_seq"] + 1))


async def test_a_job_that_was_deleted_takes_no_step_and_keeps_the_amount(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    ledger, key = Ledger(database), step_key(job, account.owner_id)
    row = await opened(ledger, key)
    async with database.transaction() as connection:
        await RunRepository(connection).finish(FinishJob(job_id=job, run=1, status=JobStatus.CANCELLED))
        await JobRepository(connection, account.owner_id).delete(job)
    with pytest.raises(AtelierError, match="deleted while it ran") as late:
        await ledger.close_stored(key, row.attempt_id, SPENT, "{}", [], data={})
    assert late.value.type is ErrorType.NOT_FOUND
    with pytest.raises(AtelierError, match="nothing is paid for it"):
        await ledger.open(key, attempt=2, model=MODEL, prompt=PROMPT, simulated=False, reserve=None)
    left = await one(database, "SELECT outcome, usd, detached, error_message FROM attempts")
    assert left == {"outcome": "superseded", "usd": Decimal("0.25"), "detached": True, "error_message": None}


class Answer(Contract):
    """A step's result."""

    n: int


async def test_a_free_step_runs_once(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    key, steps, runs = step_key(job, account.owner_id), FreeSteps(database), 0

    async def work() -> Kept[Answer]:
        nonlocal runs
        runs += 1
        return Kept(Answer(n=runs))

    assert await steps.once(key, Answer, work, attempt=1) == Answer(n=1)
    assert await steps.once(key, Answer, work, attempt=2) == Answer(n=1)
    assert runs == 1


async def test_two_free_steps_at_once_keep_the_first(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    key, steps, both = step_key(job, account.owner_id), FreeSteps(database), asyncio.Barrier(2)

    async def run(n: int) -> Answer:
        async def work() -> Kept[Answer]:
            await both.wait()
            return Kept(Answer(n=n))

        return await steps.once(key, Answer, work, attempt=n)

    first, second = await asyncio.gather(run(1), run(2))
    assert first == second
    assert (await one(database, "SELECT steps_done FROM jobs"))["steps_done"] == 1


async def test_a_free_step_that_ends_every_worker_is_given_up(database: Database, account: Account) -> None:
    job = await begin(database, account.owner_id)
    key, steps = step_key(job, account.owner_id), FreeSteps(database)

    async def dies() -> Kept[Answer]:
        raise SystemExit  # what is left of an attempt whose worker died: its start, and no end

    for attempt in range(CUT_OFF_ATTEMPTS):
        with pytest.raises(SystemExit):
            await steps.once(key, Answer, dies, attempt=attempt)
    with pytest.raises(AtelierError, match="ended with their worker") as given_up:
        await steps.once(key, Answer, dies, attempt=99)
    assert given_up.value.type is ErrorType.ATTEMPTS_EXHAUSTED


async def test_a_free_step_that_fails_says_so_and_is_not_counted_as_cut_off(
    database: Database, account: Account
) -> None:
    job = await begin(database, account.owner_id)
    key, steps = step_key(job, account.owner_id), FreeSteps(database)

    async def away() -> Kept[Answer]:
        raise AtelierError(ErrorType.STORE_UNAVAILABLE, "The store is away.")

    for attempt in range(CUT_OFF_ATTEMPTS + 2):
        with pytest.raises(AtelierError, match="The store is away"):
            await steps.once(key, Answer, away, attempt=attempt)
    told = await rows(database, "SELECT data FROM events WHERE type = 'step.failed'")
    assert len(told) == CUT_OFF_ATTEMPTS + 2
