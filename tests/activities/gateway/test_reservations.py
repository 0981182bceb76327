"""What a call may cost at most is held while it runs, and a call that no budget allows is not made."""

import asyncio
import threading
from decimal import Decimal

from core.contracts.errors import ErrorType
from tests.support import wire_messages as far
from tests.support.gateways import GOOD, USAGE, Desk, comes_again, usage_of
from tests.support.wire import WireProvider

E = ErrorType
FINAL = False


async def test_what_a_call_can_cost_is_reserved_while_it_runs(at: Desk, wire: WireProvider) -> None:
    gate = threading.Event()
    wire.script(far.hang(gate, arguments=GOOD))
    asking = asyncio.create_task(at.ask(at.request(await at.job(budget_usd=Decimal(1)), "anthropic")))
    await wire.received()
    reserved = (await at.attempt())["reserved_usd"]
    assert await at.spent() == (Decimal(0), reserved)
    gate.set()
    await asking
    row = await at.attempt()
    assert Decimal(0) < row["usd"] <= reserved
    assert await at.spent() == (row["usd"], Decimal(0))


async def test_a_call_that_the_budget_does_not_allow_is_not_made(at: Desk, wire: WireProvider, name: str) -> None:
    job = await at.job(budget_usd=Decimal("0.0001"))
    if name == "ollama":
        # It costs nothing, so no budget is too small for it.
        wire.script(far.ok(GOOD))
        await at.ask(at.request(job, name))
        return
    failed = await at.fails(at.request(job, name))
    assert (failed.type, comes_again(failed)) == (E.BUDGET_EXCEEDED, FINAL)
    assert failed.details["which"] == "job"
    assert failed.details["needed_usd"] > failed.details["budget_usd"] == 0.0001
    assert wire.requests == []
    assert await at.attempts() == []
    assert await at.spent() == (Decimal(0), Decimal(0))


async def test_a_model_of_unknown_price_is_not_asked_for_a_job_with_a_budget(at: Desk, wire: WireProvider) -> None:
    model = "anthropic:nobody-sells-this-1"
    failed = await at.fails(at.request(await at.job(budget_usd=Decimal(1)), model))
    assert (failed.type, comes_again(failed)) == (E.PRICE_UNKNOWN, FINAL)
    assert wire.requests == []
    assert await at.attempts() == []
    wire.script(far.ok(GOOD, USAGE))
    await at.ask(at.request(await at.job(), model))
    row = await at.attempt()
    assert (row["outcome"], row["usd"], usage_of(row)) == ("ok", None, USAGE)


async def test_the_repair_is_reserved_for_with_what_it_shows(at: Desk, wire: WireProvider) -> None:
    job = await at.job(budget_usd=Decimal(1))
    wire.script(far.overloaded(), far.misses_schema(), far.ok(GOOD))
    request = at.request(job, "anthropic")
    await at.fails(request)
    # The number of the attempt says nothing of what is shown: a raised budget begins at the first again.
    await at.fails(request, attempt=2)
    await at.ask(request, attempt=1)
    assert [asked.repairs for asked in wire.requests] == [False, False, True]
    first, plain, repair = [row["reserved_usd"] for row in await at.attempts()]
    assert first == plain < repair
    _, held = await at.spent()
    assert held == 0
