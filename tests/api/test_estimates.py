"""What a job would take: by REST, and held against the real prompts."""

from typing import Any

import httpx
import pytest

from api.money_schemas import Estimates
from core.contracts.llm import Usage
from core.contracts.longform import LongformInput, SourceInput
from core.contracts.longform_estimate import estimate
from core.db.engine import Database
from core.ledger.prices import price
from core.llm.provider import Call, Reply, T
from core.llm.simulator import SimulatorProvider
from tests.api.conftest import LONGFORM, StartApi, counts
from tests.api.test_rubbish import BODIES, JSON, problem
from tests.conftest import Account
from tests.support import simulated

MODELS = ["anthropic:claude-haiku-4-5", "google:gemini-2.5-flash", "anthropic:claude-of-tomorrow"]


async def test_each_model_has_its_own_estimate(start_api: StartApi, database: Database, account: Account) -> None:
    api = start_api(background=False, anthropic_api_key="k", gemini_api_key="k", anthropic_model="claude-of-tomorrow")
    before = await counts(database)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers) as client:
        response = await client.post("/v1/estimates", json={**LONGFORM, "models": MODELS})
    assert response.status_code == 200, response.text
    found = Estimates.model_validate_json(response.content)
    assert [one.model for one in found.models] == MODELS
    haiku, flash, tomorrow = found.models
    assert haiku.usd is not None
    assert flash.usd is not None
    assert haiku.usd > flash.usd > 0
    assert tomorrow.usd is None
    assert haiku.usd == pytest.approx((haiku.input_tokens * 1 + haiku.output_tokens * 5) / 1_000_000)
    assert 0 < haiku.minutes < tomorrow.minutes < 10
    assert sum(one.calls for one in found.based_on.calls) == haiku.calls
    assert [one.prompt for one in found.based_on.calls][:2] == ["longform/decompose_topic", "longform/draft_section"]
    assert await counts(database) == before


async def test_an_estimate_says_what_it_is_guessed_from(client: httpx.AsyncClient) -> None:
    session = {"pipeline": "scoping", "input": {"name": "Mill", "description": "A mill."}}
    article, scoping = [
        (await client.post("/v1/estimates", json=body)).json()["based_on"] for body in (LONGFORM, session)
    ]
    assert any("length that is asked for" in note for note in article["notes"])
    assert any("number of questions" in note for note in scoping["notes"])
    assert not {*article["notes"][:-1]} & {*scoping["notes"]}


async def test_a_job_keeps_the_estimate_of_its_first_model(client: httpx.AsyncClient) -> None:
    body = {**LONGFORM, "input": {**LONGFORM["input"], "target_words": 3_000}}  # type: ignore[dict-item]
    (asked,) = (await client.post("/v1/estimates", json=body)).json()["models"]
    job = (await client.post("/v1/jobs", json=body)).json()
    assert job["cost"]["estimate"] == asked


async def test_what_cannot_be_submitted_cannot_be_estimated(client: httpx.AsyncClient) -> None:
    for name, body, code, _ in BODIES[:12]:
        response = await client.post("/v1/estimates", json=body, headers=JSON)
        assert problem(response, 422, code), name
    for method in ("GET", "PUT"):
        problem(await client.request(method, "/v1/estimates"), 405, "method_not_allowed")


# ---------------------------------------------------------------------------------------------- how good it is


class Counting(SimulatorProvider):
    """A simulator that adds up what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = Usage()
        self.prompts: list[str] = []

    async def ask(self, call: Call[T]) -> Reply[T]:
        reply = await super().ask(call)
        self.prompts.append(call.prompt.name)
        self.usage = Usage(
            input_tokens=self.usage.input_tokens + reply.usage.input_tokens,
            output_tokens=self.usage.output_tokens + reply.usage.output_tokens,
        )
        return reply


@pytest.mark.parametrize(
    ("words", "language", "sources"),
    [
        (300, "en", ()),
        (1_200, "en", ()),
        (1_200, "de", simulated.SOURCES),
        (3_000, "en", simulated.SOURCES),
        (6_000, "fr", ()),
    ],
)
async def test_the_estimate_is_right_within_a_factor_of_two(
    monkeypatch: pytest.MonkeyPatch, words: int, language: str, sources: Any
) -> None:
    counting = Counting()
    monkeypatch.setattr(simulated, "simulator", counting)
    made = await simulated.article(simulated.TOPICS[language], language, words, sources)
    await simulated.judged(made, made.texts)
    given = LongformInput(
        topic=simulated.TOPICS[language],
        language=language,
        target_words=words,
        sources=tuple(SourceInput(title=source["title"], text=source["text"]) for source in sources),
    )
    calls = estimate(given)
    asked, answered = sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)
    assert 0.5 < asked / counting.usage.input_tokens < 2
    assert 0.5 < answered / counting.usage.output_tokens < 2
    expected, actual = (
        price("anthropic:claude-haiku-4-5", usage)
        for usage in (Usage(input_tokens=asked, output_tokens=answered), counting.usage)
    )
    assert expected is not None
    assert actual is not None
    assert 0.5 < expected / actual < 2
    assert {call.prompt for call in calls} <= {*counting.prompts, "longform/adjust_section"}


def test_what_makes_a_document_dearer() -> None:
    def tokens(**fields: Any) -> tuple[int, int]:
        calls = estimate(LongformInput(topic="Tide mills", **fields))
        return sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)

    def longest(**fields: Any) -> int:
        return max(call.path for call in estimate(LongformInput(topic="Tide mills", **fields)))

    usual = tokens()
    assert tokens(target_words=2_400)[1] > usual[1]
    assert tokens(language="de")[1] > usual[1]
    sourced = tokens(sources=(SourceInput(text="Wheels turn. " * 2_000),))
    assert sourced[0] > usual[0]
    assert sourced[1] == usual[1]
    assert tokens(quality_threshold=0.9) > usual
    assert tokens(quality_threshold=0.9, max_revisions=0) == usual
    # Twelve sections are written at once, and more of them after one another.
    assert longest(target_words=12_000) > longest(target_words=3_000)
