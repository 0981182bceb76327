"""Model calls of the whole product: what providers ask for is obeyed, and the chain, the ledger and the cost agree."""

import json
from collections import Counter
from decimal import Decimal

import genai_prices
import pytest

from core.db.engine import Database
from core.temporal import connect
from tests.conftest import Namespace
from tests.faults.conftest import CALLS
from tests.support.audit import Audit
from tests.support.rows import one, rows
from tests.support.stack import Stack, User
from tests.support.wire import WireProvider
from tests.support.wire_messages import WireRequest, overloaded, rate_limited, refusal, slow

CLAUDE, GEMINI, OLLAMA = "anthropic:claude-haiku-4-5", "google:gemini-2.5-flash", "ollama:llama3.2"


def asked(wire: WireProvider, text: str) -> list[WireRequest]:
    """The requests with that text, in order."""
    return [request for request in wire.requests if text in request.prompt]


@pytest.mark.faults
async def test_a_first_byte_after_25_seconds_is_not_asked_twice(
    stack: Stack, user: User, wire: WireProvider, audit: Audit
) -> None:
    # A shorter one is in `test_budgets`, beside a worker that dies.
    wire.script(slow(25), prompt="Write section 2 of 3")
    stack.worker()
    job = await user.submit()
    await user.until(job["id"], "completed")
    (late,) = asked(wire, "Write section 2 of 3")
    assert late.answered
    assert len(wire.requests) == CALLS
    await audit.check()


@pytest.mark.parametrize("providers", [("anthropic", "gemini", "ollama")])
async def test_claude_is_down_gemini_refuses_ollama_answers(
    stack: Stack, user: User, wire: WireProvider, database: Database, namespace: Namespace, audit: Audit
) -> None:
    wire.script(*[overloaded()] * 20, provider="anthropic")
    wire.script(*[refusal()] * CALLS, provider="google")
    wire.script(rate_limited("2"), provider="ollama", prompt="Write section 2 of 3")
    stack.worker(COOLDOWN_FAILURES="4")
    job = await user.submit()
    done = await user.until(job["id"], "completed")
    # Claude was left alone after four failures, of which three were the first step's.
    by_model = Counter(request.provider for request in wire.requests)
    assert by_model == {"anthropic": by_model["anthropic"], "google": CALLS, "ollama": CALLS + 1}
    assert 4 <= by_model["anthropic"] < CALLS * 3

    ledger = await rows(database, "SELECT model, outcome, error_type, usd FROM attempts ORDER BY started_at, id")
    assert Counter((row["model"], row["outcome"], row["error_type"]) for row in ledger) == {
        (CLAUDE, "failed", "overloaded"): by_model["anthropic"],
        (GEMINI, "failed", "model_refused"): CALLS,
        (OLLAMA, "failed", "rate_limited"): 1,
        (OLLAMA, "ok", None): CALLS,
    }
    listed = (await user.get(f"jobs/{job['id']}/calls"))["items"]
    assert [(call["model"], call["outcome"]) for call in listed] == [(row["model"], row["outcome"]) for row in ledger]

    # As late as it was asked for, by the far end's own clock.
    refused, again = (request for request in asked(wire, "Write section 2 of 3") if request.provider == "ollama")
    assert refused.finished is not None
    assert again.started - refused.finished >= 2

    # To the token: what the far end charges, at the list's prices.
    cost = sum((priced(request) for request in wire.requests), Decimal(0))
    assert cost > 0
    job_row = await one(database, "SELECT cost_usd, reserved_usd, input_tokens, output_tokens FROM jobs")
    bill = wire.bill()
    assert job_row == {
        "cost_usd": cost,
        "reserved_usd": Decimal(0),
        "input_tokens": bill.input_tokens,
        "output_tokens": bill.output_tokens,
    }
    assert done["cost"]["usd"] == float(cost)

    # Each model is an activity of its own.
    tried = await summaries(namespace, job["id"])
    first = [f"decompose · {model}" for model in (CLAUDE, GEMINI, OLLAMA)]
    assert [summary for summary in tried if summary.startswith("decompose")] == first
    assert {summary.partition(" · ")[2] for summary in tried if " · " in summary} == {CLAUDE, GEMINI, OLLAMA}
    await audit.check()


def priced(request: WireRequest) -> Decimal:
    """What a provider charges for a request."""
    used = request.billed
    if request.provider == "ollama" or not used.input_tokens:
        return Decimal(0)
    counted = genai_prices.Usage(
        input_tokens=used.input_tokens,
        cache_read_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
        output_tokens=used.output_tokens,
    )
    price = genai_prices.calc_price(counted, request.model, provider_id=request.provider).total_price
    return price.quantize(Decimal("0.00000001"))


async def summaries(namespace: Namespace, job_id: str) -> list[str]:
    """What the Web UI shows of the job's activities."""
    client = await connect(namespace.address, namespace.name)
    history = await client.get_workflow_handle(f"longform/{job_id}").fetch_history()
    return [
        json.loads(event.user_metadata.summary.data)
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes") and event.user_metadata.summary.data
    ]
