"""No key of a provider shows in what is printed, logged or stored of it."""

import traceback
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter

from core.contracts.errors import ErrorType, as_failure
from core.llm.provider import ModelFailure
from core.llm.providers import build_providers
from core.settings import Settings
from tests.support import wire_messages as far
from tests.support.asking import call_of, provider_of
from tests.support.wire import WireProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "sk-planted-0123456789abcdef"
KEYED = ["anthropic", "google"]
ECHO = f"The key {KEY} and 'Bearer {KEY}' are not known to us."


def shown(error: BaseException) -> str:
    """All that a log or a history would have of an error."""
    said = [str(error), repr(error), "".join(traceback.format_exception(error))]
    if isinstance(error, ModelFailure):
        said.append(repr(error.details))
        failure = Failure()
        try:
            raise as_failure(error) from error
        except Exception as raised:
            DataConverter.default.failure_converter.to_failure(raised, DataConverter.default.payload_converter, failure)
        said.append(str(failure))
    return "\n".join(said)


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(far.Answer(status=401, message=ECHO), id="401"),
        pytest.param(far.Answer(status=500, message=ECHO), id="500"),
        pytest.param(far.Answer(raw="{}", stream_error=500, message=ECHO), id="in the stream"),
        pytest.param(far.reset(), id="reset"),
        pytest.param(far.garbage(), id="garbage"),
        pytest.param(far.malformed(), id="malformed"),
    ],
)
async def test_failures_do_not_quote_the_key(wire: WireProvider, name: str, answer: far.Answer) -> None:
    provider = provider_of(name, wire.url, key=KEY)
    wire.script(answer)
    with pytest.raises(ModelFailure) as caught:
        await provider.ask(call_of(name))
    await provider.aclose()
    assert KEY in str(wire.requests[-1].headers)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}é", f"{KEY}\x00"])
async def test_a_key_that_no_header_carries_is_refused_without_showing_it(
    wire: WireProvider, name: str, key: str
) -> None:
    before = len(wire.requests)
    provider = provider_of(name, wire.url, key=key)
    with pytest.raises(ModelFailure) as caught:
        await provider.ask(call_of(name))
    await provider.aclose()
    assert caught.value.type is ErrorType.MODEL_AUTH
    assert not caught.value.answered
    assert KEY not in shown(caught.value)
    assert len(wire.requests) == before


async def test_a_line_break_behind_a_key_does_no_harm(wire: WireProvider) -> None:
    """A key that was read from a file often has one."""
    settings = Settings(_env_file=None, anthropic_api_key=SecretStr(f"{KEY}\n"), anthropic_base_url=wire.url)
    provider = build_providers(settings)["anthropic"]
    wire.script(far.status(401))
    with pytest.raises(ModelFailure):
        await provider.ask(call_of("anthropic"))
    await provider.aclose()
    assert wire.requests[-1].headers["authorization"].endswith(KEY)


@pytest.mark.parametrize("show", [str, repr, lambda value: str(vars(value)), lambda value: f"{value!r:.9999}"])
async def test_settings_and_providers_do_not_show_their_keys(show: Callable[[object], str]) -> None:
    settings = Settings(_env_file=None, anthropic_api_key=SecretStr(KEY), gemini_api_key=SecretStr(KEY))
    assert KEY not in show(settings)
    assert KEY not in settings.model_dump_json()
    for provider in build_providers(settings).values():
        assert KEY not in str(provider)
        assert KEY not in repr(provider)
        await provider.aclose()
