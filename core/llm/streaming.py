"""What the providers behind pydantic-ai share: one streamed HTTP request a call, a clock, and no retries anywhere."""

import asyncio
import re
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings

from core.contracts.errors import ErrorType
from core.contracts.models import Silence, context_window, entry, timeouts
from core.llm.exchange import CURRENT, Exchange, http_client
from core.llm.failures import failure_of, schema_misses
from core.llm.provider import Call, ModelFailure, Prompt, Provider, Repair, Reply, T

THINKING = False
"""Off where a model allows it: thinking counts as output, so it would eat the answer's tokens, and it is silent, so
it would look like a model that does not answer."""


_WINDOW_FULL = "model_context_window_exceeded"
"""Anthropic's reason to stop when there is no room to go on."""
_KEY = re.compile(r"[!-~]+")
"""What an HTTP header can carry. Of anything else the error message would show the key."""
_AGAIN = """Your last answer cannot be used:
{errors}

Give the whole answer again, in the form that was asked for. Put that right and keep what was good."""


@dataclass(frozen=True)
class Timeouts:
    """How long a model may be silent before its first token and between two, and how long a call takes at most.

    None is what the catalogue says of the model.
    """

    first_token: timedelta | None = None
    between_tokens: timedelta | None = None
    total: timedelta = timedelta(seconds=600)

    def silence(self, model: str) -> Silence:
        """How long `provider:model` may be silent."""
        usual = timeouts(model)
        return Silence(self.first_token or usual.first_token, self.between_tokens or usual.between_tokens)


DEFAULT_TIMEOUTS = Timeouts()


class StreamingProvider(Provider):
    """What the providers share: the exchange, the clock, and what an answer must be. Without a key it needs none."""

    def __init__(self, timeouts: Timeouts, key: str | None = None) -> None:
        self._timeouts = timeouts
        self._secrets = () if key is None else (key,)
        self._usable = key is None or _KEY.fullmatch(key) is not None
        self._http = http_client()
        self._models: dict[str, Model] = {}
        self._parameters: dict[type[BaseModel], ModelRequestParameters] = {}

    async def ask(self, call: Call[T]) -> Reply[T]:
        """Send one request and read its stream; see `Provider.ask`.

        `answered` of a failure is true from the status line on: before it nobody knows whether the provider works.
        """
        exchange = Exchange()
        if not self._usable:
            said = "the key holds a space or a character that no HTTP header can carry; look at it in the settings"
            raise self._failure(ErrorType.MODEL_AUTH, said, call, exchange)
        token = CURRENT.set(exchange)
        limit = asyncio.timeout(None)
        started = 0.0
        try:
            opened = self._opened(call)
            # Only now, as the first use of a model or a schema costs a fifth of a second.
            started = asyncio.get_running_loop().time()
            async with limit:
                response = await self._read(opened, call, exchange, limit, started)
            return self._reply(call, response, exchange)
        except ModelFailure:
            raise
        except Exception as error:
            if limit.expired():
                raise self._timed_out(call, exchange, started) from None
            failure = self._failed(error, exchange, f"{self.name}:{call.model}")
            if failure is None:
                raise
            # Without its cause, which holds the provider's words unabridged: causes go into Temporal's history.
            raise failure from None
        finally:
            CURRENT.reset(token)
            call.tally.usage, call.tally.told = exchange.usage, exchange.told
            await exchange.aclose()

    async def aclose(self) -> None:
        """Close the connection pool."""
        await self._http.aclose()

    def _opened(self, call: Call[T]) -> AbstractAsyncContextManager[StreamedResponse]:
        return model_request_stream(
            self._model(call.model),
            self._messages(call),
            model_settings=self._settings(call),
            model_request_parameters=self._cached_parameters(call.output),
        )

    def _messages(self, call: Call[T]) -> list[ModelMessage]:
        asked = ModelRequest(parts=[SystemPromptPart(call.prompt.system), UserPromptPart(self._user(call.prompt))])
        return [asked] if call.repair is None else [asked, *_repair(call.repair)]

    def _user(self, prompt: Prompt) -> str | list[UserContent]:
        """The user's turn; what calls have in common comes first, as providers cache a request by its beginning."""
        return f"{prompt.shared}\n\n{prompt.user}" if prompt.shared else prompt.user

    async def _read(
        self,
        opened: AbstractAsyncContextManager[StreamedResponse],
        call: Call[T],
        exchange: Exchange,
        limit: asyncio.Timeout,
        started: float,
    ) -> ModelResponse:
        """The whole answer; every event moves the time limit on."""
        end = started + self._timeouts.total.total_seconds()
        silence = self._timeouts.silence(f"{self.name}:{call.model}")
        between = silence.between_tokens.total_seconds()
        clock = asyncio.get_running_loop().time
        limit.reschedule(min(end, started + silence.first_token.total_seconds()))
        async with opened as stream:
            exchange.stream = stream
            async for _ in stream:
                now = clock()
                if exchange.first_token is None:
                    exchange.first_token = timedelta(seconds=now - started)
                limit.reschedule(min(end, now + between))
                if call.watch is not None:
                    call.watch(lambda: self._answer(stream.get()))
        return stream.get()

    def _reply(self, call: Call[T], response: ModelResponse, exchange: Exchange) -> Reply[T]:
        """The valid answer. Raises `ModelFailure` for a refusal, a cut stream and an answer that misses its schema."""
        finish = (response.provider_details or {}).get("finish_reason")
        if response.finish_reason == "content_filter":
            raise self._failure(ErrorType.MODEL_REFUSED, "declined to answer", call, exchange, finish_reason=finish)
        if finish is None:
            # The provider's own word, as pydantic-ai takes a stream of OpenAI's protocol for finished without one.
            raise self._failure(ErrorType.STREAM_CUT, "the stream ended without a reason to stop", call, exchange)
        if finish == _WINDOW_FULL:
            window = context_window(f"{self.name}:{call.model}")
            said = "prompt and answer do not fit the context window together"
            raise self._failure(ErrorType.PROMPT_TOO_LONG, said, call, exchange, context_window=window)
        answer = self._answer(response)
        if response.finish_reason == "length":
            said = f"the answer was cut at the limit of {self._max_tokens(call)} output tokens"
            raise self._invalid(said, [f"{said}: say it in less"], call, response, exchange)
        if answer is None:
            raise self._invalid("no structured answer", ["it has another form"], call, response, exchange)
        if "\x00" in answer or "\\u0000" in answer:
            # JSON has it, Postgres does not: it would be found out when the answer is paid for and cannot be stored.
            said = "the answer has a NUL character"
            raise self._invalid(said, [said], call, response, exchange)
        try:
            output = call.output.model_validate_json(answer)
        except ValidationError as error:
            misses = schema_misses(error)
            said = f"the answer misses its schema: {misses[0]}"
            raise self._invalid(said, misses, call, response, exchange) from None
        return Reply(output=output, usage=exchange.usage, first_token=exchange.first_token)

    def _invalid(
        self, message: str, errors: list[str], call: Call[T], response: ModelResponse, exchange: Exchange
    ) -> ModelFailure:
        """The failure of an answer that is all there and will not do; `errors` are for the model's eyes."""
        finish = (response.provider_details or {}).get("finish_reason")
        failure = self._failure(ErrorType.OUTPUT_INVALID, message, call, exchange, finish_reason=finish, errors=errors)
        said = self._answer(response)
        if said is None:
            said = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        failure.refused = _storable(said)
        return failure

    def _timed_out(self, call: Call[T], exchange: Exchange, started: float) -> ModelFailure:
        silence = self._timeouts.silence(f"{self.name}:{call.model}")
        if asyncio.get_running_loop().time() - started >= self._timeouts.total.total_seconds():
            which, allowed = "total", self._timeouts.total
        elif exchange.first_token is None:
            which, allowed = "first_token", silence.first_token
        else:
            which, allowed = "between_tokens", silence.between_tokens
        seconds = allowed.total_seconds()
        said = f"the limit of {seconds:g} s ({which}) is passed"
        return self._failure(ErrorType.MODEL_TIMEOUT, said, call, exchange, timeout=which, seconds=seconds)

    def _failed(self, error: Exception, exchange: Exchange, model: str) -> ModelFailure | None:
        """The failure that an exception of the library means; None for an error of our own."""
        return failure_of(error, exchange, model, self._secrets)

    def _failure(
        self, kind: ErrorType, message: str, call: Call[T], exchange: Exchange, **details: Any
    ) -> ModelFailure:
        model = f"{self.name}:{call.model}"
        return ModelFailure(
            kind,
            f"{model}: {message}",
            answered=exchange.response is not None,
            usage=exchange.usage,
            details={"model": model, **details},
        )

    def _model(self, name: str) -> Model:
        """pydantic-ai's model, built once a name: it looks up its profile and prices when built."""
        if name not in self._models:
            self._models[name] = self._build_model(name)
        return self._models[name]

    def _cached_parameters(self, output: type[BaseModel]) -> ModelRequestParameters:
        if output not in self._parameters:
            # A provider's tool names have no brackets, which a generic model's name has.
            name = re.sub(r"\W", "_", output.__name__)[:64]
            self._parameters[output] = self._parameters_of(name, output.model_json_schema())
        return self._parameters[output]

    def _max_tokens(self, call: Call[T]) -> int:
        """What the answer may take: a model that is asked for more than it can refuses the call."""
        return min(call.max_output_tokens, entry(f"{self.name}:{call.model}").max_output)

    def _settings(self, call: Call[T]) -> ModelSettings:
        return ModelSettings(max_tokens=self._max_tokens(call), thinking=THINKING)

    @abstractmethod
    def _build_model(self, name: str) -> Model: ...

    @abstractmethod
    def _parameters_of(self, name: str, schema: dict[str, Any]) -> ModelRequestParameters:
        """How the answer is asked for: the schema's `name` becomes the tool's, or the response's title."""

    @abstractmethod
    def _answer(self, response: ModelResponse) -> str | None:
        """The answer's JSON as the model wrote it, valid or not; None when it said something else."""


def _repair(repair: Repair) -> list[ModelMessage]:
    """The turns that show a model its answer and what is wrong with it. It is text: what misses its form is no JSON to
    be sent as a tool's input. An empty turn is refused, so nothing is shown of an answer that said nothing."""
    errors = "\n".join(f"- {error}" for error in repair.errors)
    again = ModelRequest(parts=[UserPromptPart(_AGAIN.format(errors=errors))])
    return [ModelResponse(parts=[TextPart(repair.answer)]), again] if repair.answer.strip() else [again]


def _storable(text: str) -> str:
    """Without what Postgres does not take: a NUL, and half of a character in two parts."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
