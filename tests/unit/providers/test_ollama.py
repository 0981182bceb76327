"""A local Ollama: what it holds, and what it lacks."""

import pytest

from core.contracts.errors import ErrorType
from core.llm.health import holds, ollama_models
from core.llm.provider import ModelFailure
from tests.support import wire_messages as far
from tests.support.asking import GOOD, Answer, call_of, opened
from tests.support.wire import WireProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_health_lists_what_it_holds(wire: WireProvider) -> None:
    wire.models = ["llama3.2:latest", "qwen3:8b"]
    models = await ollama_models(f"{wire.url}/")
    assert models == ("llama3.2:latest", "qwen3:8b")
    assert holds(models, "llama3.2")
    assert holds(models, "qwen3:8b")
    assert not holds(models, "qwen3")


async def test_an_ollama_without_models_is_there(wire: WireProvider) -> None:
    wire.models = []
    assert await ollama_models(wire.url) == ()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://[", "no url at all", "http://no.such.host.invalid"])
async def test_nobody_answers(url: str) -> None:
    assert await ollama_models(url) is None


async def test_something_else_answers(wire: WireProvider) -> None:
    wire.tags_status = 500
    try:
        assert await ollama_models(wire.url) is None
    finally:
        wire.tags_status = 200
    assert await ollama_models(f"{wire.url}/v2") is None


async def test_a_model_that_is_not_there_says_how_to_get_it(wire: WireProvider) -> None:
    wire.script(far.status(404))
    async with opened("ollama", wire.url) as provider:
        with pytest.raises(ModelFailure) as caught:
            await provider.ask(call_of("ollama", model="qwen3:8b"))
    failed = caught.value
    assert failed.type is ErrorType.MODEL_BAD_REQUEST
    assert not failed.kind.transient
    assert "`ollama pull qwen3:8b`" in failed.message
    assert failed.details["status"] == 404


@pytest.mark.parametrize("model", ["deepseek-r1:8b", "qwen3", "gpt-oss:20b-cloud", "somebody/their-model"])
async def test_any_model_may_be_asked_for_a_schema(wire: WireProvider, model: str) -> None:
    wire.script(far.ok(GOOD))
    async with opened("ollama", wire.url) as provider:
        reply = await provider.ask(call_of("ollama", model=model))
    assert reply.output == Answer.model_validate(GOOD)
    assert (wire.requests[-1].model, wire.requests[-1].output) == (model, "Answer")
