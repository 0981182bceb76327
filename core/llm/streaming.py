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
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings

from core.contracts.errors import ErrorType
from core.llm.exchange import CURRENT, Exchange, http_client
from core.llm.failures import failure_of, schema_misses
from core.llm.provider import Call, ModelFailure, Provider, Reply, T

THINKING = False
"""Off where a model allows it: thinking counts as output, so it would eat the answer's tokens, and it is silent, so
it would look like a model that does not answer."""


@dataclass(frozen=True)
class Timeouts:
    """How long a model may be silent before its first token and between two, and how long a call takes at most."""

    first_token: timedelta = timedelta(seconds=30)
    between_tokens: timedelta = timedelta(seconds=30)
    total: timedelta = timedelta(seconds=600)


DEFAULT_TIMEOUTS = Timeouts()


class StreamingProvider(Provider):
    """What both providers share: the exchange, the clock, and what an answer must be."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._http = http_client()
        self._models: dict[str, Model] = {}
        self._parameters: dict[type[BaseModel], ModelRequestParameters] = {}

    async def ask(self, call: Call[T]) -> Reply[T]:
        """Send one request and read its stream; see `Provider.ask`.

        `answered` of a failure is true from the status line on: before it nobody knows whether the provider works.
        """
        exchange = Exchange()
        token = CURRENT.set(exchange)
        limit = asyncio.timeout(None)
        started = 0.0
        try:
            opened = self._opened(call)
            # Only now, as the first use of a model or a schema costs a fifth of a second.
            started = asyncio.get_running_loop().time()
            async with limit:
                response = await self._read(opened, exchange, limit, started)
            return self._reply(call, response, exchange)
        except ModelFailure:
            raise
        except Exception as error:
            if limit.expired():
                raise self._timed_out(call, exchange, started) from error
            failure = failure_of(error, exchange, f"{self.name}:{call.model}")
            if failure is None:
                raise
            raise failure from error
        finally:
            CURRENT.reset(token)
            await exchange.aclose()

    async def aclose(self) -> None:
        """Close the connection pool."""
        await self._http.aclose()

    def _opened(self, call: Call[T]) -> AbstractAsyncContextManager[StreamedResponse]:
        prompt = ModelRequest(parts=[SystemPromptPart(call.prompt.system), UserPromptPart(call.prompt.user)])
        return model_request_stream(
            self._model(call.model),
            [prompt],
            model_settings=self._settings(call),
            model_request_parameters=self._cached_parameters(call.output),
        )

    async def _read(
        self,
        opened: AbstractAsyncContextManager[StreamedResponse],
        exchange: Exchange,
        limit: asyncio.Timeout,
        started: float,
    ) -> ModelResponse:
        """The whole answer; every event moves the time limit on."""
        end = started + self._timeouts.total.total_seconds()
        between = self._timeouts.between_tokens.total_seconds()
        clock = asyncio.get_running_loop().time
        limit.reschedule(min(end, started + self._timeouts.first_token.total_seconds()))
        async with opened as stream:
            exchange.stream = stream
            async for _ in stream:
                now = clock()
                if exchange.first_token is None:
                    exchange.first_token = timedelta(seconds=now - started)
                limit.reschedule(min(end, now + between))
        return stream.get()

    def _reply(self, call: Call[T], response: ModelResponse, exchange: Exchange) -> Reply[T]:
        """The valid answer. Raises `ModelFailure` for a refusal, a cut stream and an answer that misses its schema."""
        finish = (response.provider_details or {}).get("finish_reason")
        if response.finish_reason == "content_filter":
            raise self._failure(ErrorType.MODEL_REFUSED, "declined to answer", call, exchange, finish_reason=finish)
        if response.finish_reason is None and finish is None:
            raise self._failure(ErrorType.STREAM_CUT, "the stream ended without a reason to stop", call, exchange)
        if response.finish_reason == "length":
            said = f"the answer was cut at the limit of {call.max_output_tokens} output tokens"
            raise self._failure(ErrorType.OUTPUT_INVALID, said, call, exchange, finish_reason=finish)
        answer = self._answer(response)
        if answer is None:
            raise self._failure(ErrorType.OUTPUT_INVALID, "no structured answer", call, exchange, finish_reason=finish)
        if "\x00" in answer or "\\u0000" in answer:
            # JSON has it, Postgres does not: it would be found out when the answer is paid for and cannot be stored.
            said = "the answer has a NUL character"
            raise self._failure(ErrorType.OUTPUT_INVALID, said, call, exchange, finish_reason=finish)
        try:
            output = call.output.model_validate_json(answer)
        except ValidationError as error:
            misses = schema_misses(error)
            raise self._failure(
                ErrorType.OUTPUT_INVALID, f"the answer misses its schema: {misses[0]}", call, exchange, errors=misses
            ) from error
        return Reply(output=output, usage=exchange.usage, first_token=exchange.first_token)

    def _timed_out(self, call: Call[T], exchange: Exchange, started: float) -> ModelFailure:
        if asyncio.get_running_loop().time() - started >= self._timeouts.total.total_seconds():
            which, allowed = "total", self._timeouts.total
        elif exchange.first_token is None:
            which, allowed = "first_token", self._timeouts.first_token
        else:
            which, allowed = "between_tokens", self._timeouts.between_tokens
        seconds = allowed.total_seconds()
        said = f"the limit of {seconds:g} s ({which}) is passed"
        return self._failure(ErrorType.MODEL_TIMEOUT, said, call, exchange, timeout=which, seconds=seconds)

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

    def _settings(self, call: Call[T]) -> ModelSettings:
        return ModelSettings(max_tokens=call.max_output_tokens, thinking=THINKING)

    @abstractmethod
    def _build_model(self, name: str) -> Model: ...

    @abstractmethod
    def _parameters_of(self, name: str, schema: dict[str, Any]) -> ModelRequestParameters:
        """How the answer is asked for: the schema's `name` becomes the tool's, or the response's title."""

    @abstractmethod
    def _answer(self, response: ModelResponse) -> str | None:
        """The answer's JSON as the model wrote it, valid or not; None when it said something else."""
