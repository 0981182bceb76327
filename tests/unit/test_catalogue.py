"""What a deployment can ask, by its settings: the default chain, and the providers that are built."""

import subprocess
import sys
import threading
from typing import Any

import pytest
from pydantic import SecretStr

from core.contracts.errors import ErrorType
from core.contracts.llm import SIMULATOR
from core.contracts.longform import SectionAnswer
from core.llm.catalogue import configured_providers, default_chain
from core.llm.provider import Call, ModelFailure, Prompt
from core.llm.providers import build_providers
from core.settings import Settings
from tests.support import wire_messages as far
from tests.support.wire import WireProvider


def settings(**chosen: Any) -> Settings:
    return Settings(_env_file=None, **({"anthropic_api_key": None, "gemini_api_key": None} | chosen))


@pytest.mark.parametrize(
    ("chosen", "chain"),
    [
        ({}, (SIMULATOR,)),
        ({"simulator": False}, ()),
        ({"anthropic_api_key": SecretStr("k"), "anthropic_model": "claude-x"}, ("anthropic:claude-x",)),
        ({"gemini_api_key": SecretStr("k"), "gemini_model": "gem-x", "simulator": False}, ("google:gem-x",)),
        (
            {"gemini_api_key": SecretStr("k"), "anthropic_api_key": SecretStr("k")},
            ("anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"),
        ),
    ],
)
async def test_catalogue(chosen: dict[str, Any], chain: tuple[str, ...]) -> None:
    of = settings(**chosen)
    assert default_chain(of) == chain
    names = {model.split(":")[0] for model in chain}
    assert configured_providers(of) == names
    providers = build_providers(of)
    assert set(providers) == names
    for name, provider in providers.items():
        assert (provider.name, provider.simulated) == (name, name == "simulator")
        await provider.aclose()


@pytest.mark.parametrize(("name", "prefix"), [("anthropic", "anthropic"), ("google", "gemini")])
async def test_built_providers_take_url_and_timeouts(name: str, prefix: str) -> None:
    call = Call("some-model", Prompt("test", 1, "Be brief.", "Hello."), SectionAnswer)
    with WireProvider() as wire:
        wire.script(far.hang(threading.Event(), arguments={"markdown": "x"}))
        chosen = {f"{prefix}_api_key": SecretStr("k"), f"{prefix}_base_url": wire.url, "model_first_token_seconds": 1.5}
        provider = build_providers(settings(**chosen))[name]
        with pytest.raises(ModelFailure) as caught:
            await provider.ask(call)
        assert caught.value.type is ErrorType.MODEL_TIMEOUT
        assert caught.value.details["seconds"] == 1.5
        assert [request.provider for request in wire.requests] == [name]
        await provider.aclose()


def test_catalogue_imports_no_sdk() -> None:
    heavy = "{'anthropic', 'google.genai', 'pydantic_ai', 'openai'} & set(sys.modules)"
    code = f"import sys, core.llm.catalogue; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
