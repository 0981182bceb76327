"""One attempt of a paid step, each failure of each provider over real HTTP: what is raised, and what the ledger has."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from core.contracts.errors import ErrorType
from core.contracts.llm import CUT_OFF_ATTEMPTS, MODEL_ATTEMPTS, PromptRef
from core.contracts.models import context_window
from core.db.engine import Database
from core.db.repositories.attempts import Opened
from core.ledger.ledger import Ledger
from core.ledger.prices import price
from tests.conftest import Account
from tests.support import wire_messages as far
from tests.support.gateways import GOOD, MODELS, USAGE, Desk, Title, comes_again, desk, usage_of
from tests.support.wire import WireProvider

E = ErrorType
FINAL = False


class _Soon:
    """A delay of our own making: a second that doubles, a quarter more or less."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, timedelta) and 0.75 <= other.total_seconds() <= 2.5

    __hash__ = None  # type: ignore[assignment]


SOON: Any = _Soon()


@dataclass(frozen=True)
class Case:
    """A failure: what is answered, and what follows."""

    answer: far.Answer
    error: ErrorType
    again: timedelta | bool | _Soon
    """Whether the same model is asked again, and after what delay."""
    troubled: bool = False
    """Whether it counts against the provider."""
    answered: bool = True
    told: bool = True
    """Whether what it cost is known. Otherwise what was held for it stays held."""


CASES = {
    "429": Case(far.rate_limited("7"), E.RATE_LIMITED, timedelta(seconds=7), troubled=True),
    "429 that says nothing": Case(far.status(429), E.RATE_LIMITED, SOON, troubled=True),
    "429 for a day": Case(far.rate_limited("86400"), E.RATE_LIMITED, FINAL, troubled=True),
    "529": Case(far.overloaded(), E.OVERLOADED, SOON, troubled=True),
    "503": Case(far.status(503, retry_after="3"), E.OVERLOADED, timedelta(seconds=3), troubled=True),
    "500": Case(far.status(500), E.PROVIDER_ERROR, SOON, troubled=True),
    "reset": Case(far.reset(), E.PROVIDER_UNREACHABLE, SOON, troubled=True, answered=False, told=False),
    "cut": Case(far.cut(3, GOOD), E.STREAM_CUT, SOON, troubled=True, told=False),
    "ended": Case(far.cut(3, GOOD, by="end"), E.STREAM_CUT, SOON, troubled=True, told=False),
    "529 in the stream": Case(far.stream_error(529), E.OVERLOADED, SOON, troubled=True, told=False),
    "500 in the stream": Case(far.stream_error(500), E.PROVIDER_ERROR, SOON, troubled=True, told=False),
    "401": Case(far.status(401), E.MODEL_AUTH, FINAL),
    "403": Case(far.status(403), E.MODEL_AUTH, FINAL),
    "400": Case(far.status(400), E.MODEL_BAD_REQUEST, FINAL),
    "404": Case(far.status(404), E.MODEL_BAD_REQUEST, FINAL),
    "413": Case(far.status(413), E.PROMPT_TOO_LONG, FINAL),
    "refusal": Case(far.Answer(raw="", finish="refused", usage=USAGE), E.MODEL_REFUSED, FINAL),
    "blocked": Case(far.refusal(blocked=True), E.MODEL_REFUSED, FINAL),
    "too long a prompt": Case(far.prompt_too_long(), E.PROMPT_TOO_LONG, FINAL),
    "malformed": Case(far.malformed(), E.OUTPUT_INVALID, SOON),
    "misses its schema": Case(far.Answer(arguments={"x": 1}, usage=USAGE), E.OUTPUT_INVALID, SOON),
    "text": Case(far.text(), E.OUTPUT_INVALID, SOON),
    "cut at its limit": Case(far.too_long(), E.OUTPUT_INVALID, SOON),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_a_failure_is_typed_paid_and_on_record(at: Desk, wire: WireProvider, case: Case) -> None:
    spent = held = Decimal(0)
    for name, model in MODELS.items():
        wire.script(case.answer)
        failed = await at.fails(at.request(await at.job(), name))
        assert (name, failed.type, comes_again(failed)) == (name, case.error, case.again)
        assert (failed.details["step"], failed.details["attempts"]) == ("draft", 1)
        asked, row = wire.requests[-1], (await at.attempts())[-1]
        assert (row["outcome"], row["error_type"], row["answered"]) == ("failed", case.error.value, case.answered)
        assert (row["model"], row["attempt"], row["run"]) == (model, 1, 1)
        assert (row["prompt_name"], row["prompt_version"], row["prompt_characters"]) == ("test/name", 3, 22)
        # To the token what the provider told, and nothing else.
        assert (name, usage_of(row)) == (asked.provider, asked.reported)
        # What runs here is free however it ends.
        told = case.told or name == "ollama"
        assert row["usd"] == (price(model, asked.billed) if told else None)
        assert row["latency_ms"] >= 0
        assert row["finished_at"] is not None
        spent += row["usd"] or 0
        held += 0 if told else row["reserved_usd"]
        assert await at.spent() == (spent, held)
    assert len(wire.requests) == len(await at.attempts()) == len(MODELS)
    assert await at.troubles() == (dict.fromkeys(MODELS, 1) if case.troubled else {})


async def test_a_date_to_come_again_is_a_delay(at: Desk, wire: WireProvider, name: str) -> None:
    wire.script(far.rate_limited_by_date(40))
    delay = comes_again(await at.fails(at.request(await at.job(), name)))
    assert isinstance(delay, timedelta)
    assert timedelta(seconds=20) < delay <= timedelta(seconds=41)


async def test_nobody_listens(database: Database, account: Account, wire: WireProvider, tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("anthropic_base_url", "gemini_base_url", "ollama_url"), "http://127.0.0.1:9")
    async with desk(database, account.owner_id, wire, tmp_path, settings=nowhere) as at:
        job = await at.job()
        for name in MODELS:
            failed = await at.fails(at.request(job, name, f"ask {name}"))
            assert (failed.type, comes_again(failed)) == (E.PROVIDER_UNREACHABLE, SOON)
        assert {(row["outcome"], row["answered"], row["usd"]) for row in await at.attempts()} == {
            ("failed", False, Decimal(0))
        }
        # Nothing was sent, so nothing is held.
        assert await at.spent() == (Decimal(0), Decimal(0))
        assert await at.troubles() == dict.fromkeys(MODELS, 1)


@pytest.mark.parametrize("after", [0, 4], ids=["first token", "between tokens"])
async def test_a_model_that_falls_silent_is_hung_up_on(
    database: Database, account: Account, wire: WireProvider, tmp_path: Path, name: str, after: int
) -> None:
    limit = {"model_first_token_seconds": 0.5} if after == 0 else {"model_between_tokens_seconds": 0.5}
    wire.script(far.hang(threading.Event(), after=after, arguments=GOOD))
    async with desk(database, account.owner_id, wire, tmp_path, settings=limit) as at:
        failed = await at.fails(at.request(await at.job(), name))
        await wire.disconnected(wire.requests[0])
        assert (failed.type, comes_again(failed)) == (E.MODEL_TIMEOUT, SOON)
        row = await at.attempt()
        assert (row["outcome"], row["error_type"], row["answered"]) == ("failed", "model_timeout", after > 0)
        assert usage_of(row) == wire.requests[0].reported
        assert row["usd"] == (0 if name == "ollama" else None)
        assert await at.spent() == (Decimal(0), row["reserved_usd"])
        assert await at.troubles() == {name: 1}


async def test_a_good_answer_is_stored_with_all_that_it_used(at: Desk, wire: WireProvider, name: str) -> None:
    job = await at.job()
    usage = USAGE if name == "ollama" else USAGE.model_copy(update={"reasoning_tokens": 20})
    wire.script(far.ok(GOOD, usage))
    request = at.request(job, name)
    with structlog.testing.capture_logs() as logged:
        assert await at.ask(request) == Title(title="Of lighthouses")
    row = await at.attempt()
    assert (row["outcome"], row["answered"], row["error_type"], row["reused"]) == ("ok", True, None, False)
    assert usage_of(row) == usage
    assert row["usd"] == price(MODELS[name], usage)
    assert (row["usd"] > 0) == (name != "ollama")
    assert row["latency_ms"] >= row["first_token_ms"] >= 0
    assert await at.spent() == (row["usd"], Decimal(0))
    assert await at.troubles() == {}
    (line,) = [line for line in logged if line["event"] == "llm.call"]
    same: dict[str, Any] = {
        **usage.model_dump(),
        "job_id": job,
        "step": "draft",
        "revision": 1,
        "attempt_id": str(row["id"]),
        "model": MODELS[name],
        "prompt": "test/name",
        "prompt_version": 3,
        "prompt_characters": 22,
        "outcome": "ok",
        "error_type": None,
        "latency_ms": row["latency_ms"],
        "first_token_ms": row["first_token_ms"],
    }
    assert {key: line[key] for key in same} == same
    assert Decimal(line["usd"]) == row["usd"]
    # What is stored is never asked again, whoever is named.
    assert await at.ask(at.request(job, "anthropic"), attempt=2) == Title(title="Of lighthouses")
    assert len(wire.requests) == len(await at.attempts()) == 1


async def test_a_model_is_given_up_after_three_failures_and_the_next_begins_anew(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    kinds = (far.overloaded(), far.cut(3, GOOD), far.status(500))
    wire.script(*kinds, provider="anthropic")
    wire.script(far.overloaded(), provider="google")
    ends = [comes_again(await at.fails(at.request(job, "anthropic"), attempt=n)) for n in range(1, MODEL_ATTEMPTS + 1)]
    assert ends == [SOON, SOON, FINAL]
    assert comes_again(await at.fails(at.request(job, "google"))) == SOON
    assert [told["again"] for told in await at.events("step.failed")] == [True, True, False, True]


# An answer that will not do is shown to the model that gave it, once.


@pytest.mark.parametrize("wrong", ["schema", "check"])
async def test_a_model_sees_what_was_wrong_and_mends_it(at: Desk, wire: WireProvider, name: str, wrong: str) -> None:
    job = await at.job()
    bad = {"title": "ab", "text": "mutabilis"} if wrong == "schema" else {**GOOD, "text": "mutabilis"}
    wire.script(far.ok(bad), far.ok(GOOD))
    said = "String should have at least 3 characters" if wrong == "schema" else "It is not about towers."

    def check(output: Any) -> str | None:
        return said if output.text == "mutabilis" else None

    request = at.request(job, name)
    first = await at.fails(request, check=check)
    assert (first.type, comes_again(first)) == (E.OUTPUT_INVALID, SOON)
    refused = await at.attempt()
    assert "mutabilis" in refused["refused_answer"]
    assert said in " ".join(refused["refused_because"])
    assert await at.ask(request, attempt=2, check=check) == Title(title="Of lighthouses")
    one_turn, repair = wire.requests
    assert [who for who, _ in one_turn.turns] == ["system", "user"]
    assert [who for who, _ in repair.turns] == ["system", "user", "assistant", "user"]
    # What was asked stands as it was, so that the provider finds it in its cache.
    assert repair.turns[:2] == one_turn.turns
    assert "mutabilis" in repair.turns[2][1]
    assert said in repair.turns[3][1]
    assert [row["outcome"] for row in await at.attempts()] == ["failed", "ok"]
    # What a model said wrong is content, and is not kept longer than it is needed.
    assert [row["refused_answer"] for row in await at.attempts()] == [None, None]


async def test_a_second_wrong_answer_is_the_models_last(at: Desk, wire: WireProvider, name: str) -> None:
    job = await at.job()
    wire.script(far.misses_schema(), far.malformed())
    ends = [await at.fails(at.request(job, name), attempt=attempt) for attempt in (1, 2)]
    assert [(end.type, comes_again(end)) for end in ends] == [(E.OUTPUT_INVALID, SOON), (E.OUTPUT_INVALID, FINAL)]
    assert [request.repairs for request in wire.requests] == [False, True]
    assert [row["outcome"] for row in await at.attempts()] == ["failed", "failed"]


async def test_another_failure_between_does_not_use_up_the_repair(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.misses_schema(), far.overloaded(), far.ok(GOOD))
    for attempt in (1, 2):
        assert comes_again(await at.fails(at.request(job, "anthropic"), attempt=attempt)) == SOON
    await at.ask(at.request(job, "anthropic"), attempt=3)
    assert [request.repairs for request in wire.requests] == [False, True, True]


async def test_the_next_model_is_not_shown_what_another_said(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.misses_schema(), far.ok(GOOD))
    await at.fails(at.request(job, "anthropic"))
    await at.ask(at.request(job, "google"))
    assert [request.repairs for request in wire.requests] == [False, False]


# A prompt that is too long.


async def test_too_long_a_prompt_names_the_window_and_no_smaller_one_is_tried(
    at: Desk, wire: WireProvider, name: str
) -> None:
    job, window = await at.job(), context_window(MODELS[name])
    wire.script(far.prompt_too_long())
    failed = await at.fails(at.request(job, name))
    assert (failed.type, failed.details["context_window"]) == (E.PROMPT_TOO_LONG, window)
    for other, model in MODELS.items():
        request = at.request(job, other, larger_than=window)
        if context_window(model) > window:
            wire.script(far.ok(GOOD))
            await at.ask(at.request(job, other, f"larger {other}", larger_than=window))
        else:
            refused = await at.fails(request)
            assert (refused.type, comes_again(refused)) == (E.PROMPT_TOO_LONG, FINAL)
            assert refused.details["context_window"] == context_window(model)
    larger = sum(context_window(model) > window for model in MODELS.values())
    assert len(wire.requests) == len(await at.attempts()) == 1 + larger


# What our own parts do.


async def test_an_answer_that_cannot_be_kept_is_paid_once(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    wire.script(far.ok(GOOD, USAGE))
    failed = await at.fails(at.request(job, "anthropic"), keep_error=RuntimeError("the disk is full"))
    assert (failed.type, comes_again(failed)) == (E.INTERNAL, FINAL)
    row = await at.attempt()
    assert (row["outcome"], row["error_type"], row["answered"]) == ("failed", "internal", True)
    assert usage_of(row) == USAGE
    assert await at.spent() == (price(MODELS["anthropic"], USAGE), Decimal(0))
    assert await at.troubles() == {}


async def test_a_cancelled_call_hangs_up_and_says_so(at: Desk, wire: WireProvider, name: str) -> None:
    wire.script(far.hang(threading.Event(), after=2, arguments=GOOD))
    asking = asyncio.create_task(at.ask(at.request(await at.job(), name)))
    request = await wire.received()
    await asyncio.to_thread(wire.wait_until, lambda: request.events == 2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await wire.disconnected(request)
    row = await at.attempt()
    # What it is billed nobody told us: that is unknown, and not nothing, so it stays held.
    usd = Decimal(0) if name == "ollama" else None
    assert (row["outcome"], row["error_type"], row["usd"], row["answered"]) == ("cancelled", None, usd, False)
    assert await at.spent() == (Decimal(0), row["reserved_usd"])
    assert (row["reserved_usd"] > 0) == (name != "ollama")
    assert await at.troubles() == {}


async def test_a_cancel_behind_the_answer_pays_what_it_cost(at: Desk, wire: WireProvider) -> None:
    wire.script(far.ok(GOOD, USAGE))
    keeping = asyncio.Event()
    asking = asyncio.create_task(at.ask(at.request(await at.job(), "anthropic"), keeping=keeping))
    await keeping.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    row = await at.attempt()
    assert (row["outcome"], row["answered"], usage_of(row)) == ("cancelled", True, USAGE)
    assert await at.spent() == (price(MODELS["anthropic"], USAGE), Decimal(0))


async def test_a_step_that_ends_every_worker_is_given_up_unasked(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    request = at.request(job, "anthropic")
    for _ in range(CUT_OFF_ATTEMPTS):
        opened = await Ledger(at.database).open(
            request.key,
            attempt=1,
            model=request.model,
            prompt=PromptRef(name="test/name", version=3, characters=22),
            simulated=False,
            reserve=Decimal("0.01"),
        )
        assert isinstance(opened, Opened)
    failed = await at.fails(request)
    assert (failed.type, comes_again(failed)) == (E.ATTEMPTS_EXHAUSTED, FINAL)
    assert wire.requests == []
    # Each of them may have been billed; the one that asked nobody was not.
    assert await at.spent() == (Decimal(0), Decimal("0.01") * CUT_OFF_ATTEMPTS)


async def test_nothing_is_paid_for_a_job_that_is_gone(at: Desk, wire: WireProvider) -> None:
    job = await at.job()
    await at.read("UPDATE jobs SET status = 'cancelled' WHERE owner_id = :owner RETURNING 1")
    assert (await at.fails(at.request(job, "anthropic"))).type is E.NOT_FOUND
    assert wire.requests == []


async def test_a_provider_that_the_worker_lacks_falls_through(at: Desk) -> None:
    failed = await at.fails(at.request(await at.job(), "openai:gpt"))
    assert (failed.type, comes_again(failed)) == (E.UNKNOWN_MODEL, FINAL)
    assert await at.attempts() == []
