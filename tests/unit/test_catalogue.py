"""What a deployment can ask, by its settings: the default chain, and the providers that are built."""

import re
import subprocess
import sys
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from pydantic import SecretStr

from core.contracts.errors import ErrorType
from core.contracts.llm import SIMULATOR, Usage
from core.contracts.longform import SectionAnswer
from core.contracts.models import FREE, MODELS, context_window, entry, price_source, timeouts
from core.ledger.prices import price
from core.llm.choice import configured_providers, default_chain, known, refusal
from core.llm.provider import Call, ModelFailure, Prompt
from core.llm.providers import build_providers
from core.settings import Settings
from tests.support import wire_messages as far
from tests.support.wire import WireProvider

NOTHING: dict[str, Any] = {"anthropic_api_key": None, "gemini_api_key": None, "ollama_url": None}
KEY = SecretStr("k")
LOCAL = "http://127.0.0.1:11434"


def settings(**chosen: Any) -> Settings:
    return Settings(_env_file=None, **(NOTHING | chosen))


@pytest.mark.parametrize(
    ("chosen", "chain"),
    [
        ({}, (SIMULATOR,)),
        ({"simulator": False}, ()),
        ({"anthropic_api_key": KEY, "anthropic_model": "claude-x"}, ("anthropic:claude-x",)),
        ({"gemini_api_key": KEY, "gemini_model": "gem-x", "simulator": False}, ("google:gem-x",)),
        ({"ollama_url": LOCAL}, ("ollama:llama3.2",)),
        (
            {"ollama_url": LOCAL, "ollama_model": "qwen3:8b", "gemini_api_key": KEY, "anthropic_api_key": KEY},
            ("anthropic:claude-haiku-4-5", "google:gemini-2.5-flash", "ollama:qwen3:8b"),
        ),
    ],
)
async def test_default_chain_and_providers(chosen: dict[str, Any], chain: tuple[str, ...]) -> None:
    of = settings(**chosen)
    assert default_chain(of) == chain
    names = {model.split(":")[0] for model in chain}
    assert configured_providers(of) == names
    providers = build_providers(of)
    assert set(providers) == names
    for name, provider in providers.items():
        assert (provider.name, provider.simulated) == (name, name == "simulator")
        await provider.aclose()


ALL = {"anthropic_api_key": KEY, "gemini_api_key": KEY, "ollama_url": LOCAL}


@pytest.mark.parametrize("model", [model for model in MODELS if model != SIMULATOR])
def test_what_is_listed_may_be_named(model: str) -> None:
    assert refusal(model, settings(**ALL)) is None


@pytest.mark.parametrize(
    ("model", "chosen", "says"),
    [
        (SIMULATOR, {}, None),
        (SIMULATOR, {"simulator": False}, "simulator is off"),
        (SIMULATOR, ALL, "a real provider answers in its place"),
        ("simulator:poet", {}, "no such model"),
        ("mistral:large", ALL, "there is no provider 'mistral'"),
        ("anthropic:claude-haiku-4-5", {}, "Set ANTHROPIC_API_KEY|or set ANTHROPIC_API_KEY"),
        ("anthropic:claude-haiku-4-5", {"gemini_api_key": KEY}, "a model of google, or set ANTHROPIC_API_KEY"),
        ("google:gemini-2.5-pro", {"simulator": False}, "Set GEMINI_API_KEY"),
        ("ollama:llama3.2", {"anthropic_api_key": KEY}, "OLLAMA_URL"),
        ("anthropic:claude-9", ALL, r"no such model.*anthropic:claude-haiku-4-5.*ANTHROPIC_MODEL"),
        ("anthropic:claude-9", {**ALL, "anthropic_model": "claude-9"}, None),
        ("anthropic:claude-haiku-4-5-20251001", ALL, None),
        ("anthropic:claude-haiku-4-5-2025", ALL, "no such model"),
        ("google:claude-haiku-4-5", ALL, "no such model"),
        ("ollama:anything/at-all:7b", ALL, None),
    ],
)
def test_why_a_chain_is_refused(model: str, chosen: dict[str, Any], says: str | None) -> None:
    of = settings(**chosen)
    why = refusal(model, of)
    assert (why is None) == (says is None)
    assert says is None or re.search(says, f"{model}: {why}")
    assert known(model, of) or why is not None


def test_the_default_chain_is_never_refused() -> None:
    for chosen in ({}, ALL, {**ALL, "anthropic_model": "claude-x", "gemini_model": "gem-x", "ollama_model": "x:y"}):
        of = settings(**chosen)
        assert [refusal(model, of) for model in default_chain(of)] == [None] * len(default_chain(of))


def test_models_are_found_by_their_snapshots_and_tags() -> None:
    assert entry("anthropic:claude-haiku-4-5-20251001") is entry("anthropic:claude-haiku-4-5")
    assert entry("ollama:llama3.2:3b") is entry("ollama:llama3.2")
    # What nobody lists gets the least that its provider's models take.
    for provider in ("anthropic", "google", "ollama"):
        listed = [MODELS[model].context_window for model in MODELS if model.startswith(f"{provider}:")]
        assert context_window(f"{provider}:something-new") <= min(listed)


def test_a_fast_model_may_think_for_25_seconds() -> None:
    seconds = [timeouts(model).first_token.total_seconds() for model in default_chain(settings(**ALL))]
    assert seconds == [30, 30, 120]
    assert timeouts("anthropic:claude-sonnet-4-5").between_tokens.total_seconds() == 60


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_price(model: str) -> None:
    listed = price_source(model)
    charged = price(model, Usage(input_tokens=1_000))
    if listed == FREE:
        assert model.startswith(("ollama:", "simulator:"))
        assert charged == 0
        return
    provider, _, name = listed.partition("/")
    found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1_000), name, provider_id=provider)
    assert charged == found.total_price > 0


@pytest.mark.parametrize(("source", "usd"), [("anthropic/claude-haiku-4-5", "0.001"), (FREE, "0")])
def test_what_is_charged_is_what_the_catalogue_says(monkeypatch: pytest.MonkeyPatch, source: str, usd: str) -> None:
    model = "google:somebody-elses"
    assert price(model, Usage(input_tokens=1_000)) is None
    monkeypatch.setitem(MODELS, model, replace(entry(model), price=source))
    assert price(model, Usage(input_tokens=1_000)) == Decimal(usd)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("anthropic", {"anthropic_api_key": KEY, "anthropic_base_url": "here"}),
        ("google", {"gemini_api_key": KEY, "gemini_base_url": "here"}),
        ("ollama", {"ollama_url": "here"}),
    ],
)
async def test_built_providers_take_url_and_timeouts(name: str, chosen: dict[str, Any]) -> None:
    call = Call("some-model", Prompt("test", 1, "Be brief.", "Hello."), SectionAnswer)
    with WireProvider() as wire:
        wire.script(far.hang(threading.Event(), arguments={"markdown": "x"}))
        there = {key: wire.url if value == "here" else value for key, value in chosen.items()}
        provider = build_providers(settings(**there, model_first_token_seconds=0.4))[name]
        with pytest.raises(ModelFailure) as caught:
            await provider.ask(call)
        assert caught.value.type is ErrorType.MODEL_TIMEOUT
        assert caught.value.details["seconds"] == 0.4
        assert [request.provider for request in wire.requests] == [name]
        await provider.aclose()


def test_choice_imports_no_sdk() -> None:
    heavy = "{'anthropic', 'google.genai', 'pydantic_ai', 'openai'} & set(sys.modules)"
    code = f"import sys, core.llm.choice, core.llm.health; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
