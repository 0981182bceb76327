"""A scripted far end: a real HTTP server that speaks Anthropic's Messages, Gemini's generateContent and Ollama's chat.

It runs in a thread with an event loop of its own, so it serves the test's loop, other threads and, by `url`,
other processes. What nobody scripted fails the test: `assert_clean()`.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

from core.contracts.llm import Usage
from tests.support.wire_cache import PromptCache
from tests.support.wire_connection import Connection, FarEnd
from tests.support.wire_faults import FAULTS, FaultMix
from tests.support.wire_messages import Answer, Event, WireRequest
from tests.support.wire_ollama import TAGS, model_missing, pulled, tags
from tests.support.wire_protocols import objection, parse, part_of, used

Composer = Callable[[WireRequest], Mapping[str, Any]]
Match = Callable[[WireRequest], bool]

_OLLAMA_MODEL = "llama3.2"


@dataclass(eq=False)
class _Scripted:
    """An answer that waits for its request."""

    answer: Answer
    matches: Match


class WireProvider(FarEnd):
    """The fake of all providers. `with WireProvider() as wire: wire.script(ok({...}))`.

    A request takes the first scripted answer that matches it; without one, the composer's, or one of the faults of
    `faulty`; without that, a 500 that `assert_clean` reports. `latency_s` delays each composed answer, for benchmarks.
    With `caching` prompts are cached as the providers do it, which shows in the usage that nobody scripted.
    """

    def __init__(self, *, composer: Composer | None = None, latency_s: float = 0.0, caching: bool = True) -> None:
        self.composer = composer
        self.latency_s = latency_s
        self.caching = caching
        self.models = [f"{_OLLAMA_MODEL}:latest"]
        """What Ollama lists. With a composer, a chat with another model gets a 404."""
        self.tags_status = 200
        """What Ollama's list is answered with."""
        self.listings = 0
        """How often it was asked for."""
        self.requests: list[WireRequest] = []
        self.unscripted: list[WireRequest] = []
        self.broken: list[Exception] = []
        """Errors of composers and scripts."""
        self._script: list[_Scripted] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._port = 0
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.connections: set[Connection] = set()
        self._cache = PromptCache()
        self._mix: FaultMix | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake provider did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """The base URL of all protocols."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def cache_minimum(self) -> int:
        """Tokens of the shortest prefix that is cached."""
        return self._cache.minimum

    @cache_minimum.setter
    def cache_minimum(self, tokens: int) -> None:
        self._cache.minimum = tokens

    def environment(self, *providers: Literal["anthropic", "gemini", "ollama"]) -> dict[str, str]:
        """What makes another process use this server for the providers; for Anthropic and Gemini when none is named."""
        chosen: dict[str, str] = {}
        for provider in providers or ("anthropic", "gemini"):
            if provider == "ollama":
                chosen |= {"OLLAMA_URL": self.url, "OLLAMA_MODEL": _OLLAMA_MODEL}
            else:
                name = provider.upper()
                chosen |= {f"{name}_API_KEY": f"wire-{provider}-key", f"{name}_BASE_URL": self.url}
        return chosen

    def script(
        self,
        *answers: Answer,
        provider: str | None = None,
        model: str | None = None,
        prompt: str | None = None,
        output: str | None = None,
        where: Match | None = None,
    ) -> None:
        """Queue answers, each for one request: of that provider or model, with that text in its prompt, or whose
        output tool (Gemini, Ollama: response schema) has that name."""

        def matches(request: WireRequest) -> bool:
            return (
                provider in (None, request.provider)
                and model in (None, request.model)
                and (prompt is None or prompt in request.prompt)
                and output in (None, request.output)
                and (where is None or where(request))
            )

        with self._changed:
            self._script.extend(_Scripted(answer, matches) for answer in answers)

    def faulty(self, share: float, seed: int, *, kinds: Sequence[str] = tuple(FAULTS), silence_s: float = 1.0) -> None:
        """From now on that share of the requests that nobody scripted gets a fault of one of the kinds of `FAULTS`
        instead of the composer's answer: which, the seed and their number decide. A slow or stalled one is silent for
        `silence_s`. A share of 0 ends it."""
        with self._changed:
            self._mix = FaultMix(share, seed, kinds, silence_s) if share else None

    def bill(self, where: Match = lambda _: True) -> Usage:
        """The sum of what the requests are charged so far."""
        with self._changed:
            bills = [request.billed for request in self.requests if where(request)]
        return Usage(**{name: sum(getattr(bill, name) for bill in bills) for name in Usage.model_fields})

    @property
    def answered(self) -> int:
        """Requests that got their whole answer, an error status included."""
        with self._changed:
            return sum(request.answered for request in self.requests)

    @property
    def hung_up(self) -> int:
        """Requests whose client closed the connection before the answer was finished."""
        with self._changed:
            return sum(request.disconnected is not None for request in self.requests)

    @property
    def pending(self) -> int:
        """Scripted answers that no request has taken."""
        with self._changed:
            return len(self._script)

    def assert_clean(self) -> None:
        """Raise AssertionError when a request came that nobody scripted, or that a composer failed at."""
        if self.broken:
            raise AssertionError(f"the fake provider failed: {self.broken}") from self.broken[0]
        if self.unscripted:
            asked = [f"{r.provider}:{r.model} {r.output}: {r.prompt[:200]!r}" for r in self.unscripted]
            raise AssertionError(f"{len(asked)} unscripted requests:\n" + "\n".join(asked))

    def wait_until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Block until something holds that requests bring about. Seconds. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(holds, timeout):
                raise TimeoutError(f"not within {timeout} s; {len(self.requests)} requests came")

    def wait_for_request(self, wanted: int | Match = 1, timeout: float = 10.0) -> WireRequest:
        """Block until the n-th request, or one that matches, has come; return it. Seconds. Raises TimeoutError."""

        def found() -> WireRequest | None:
            if isinstance(wanted, int):
                return self.requests[wanted - 1] if len(self.requests) >= wanted else None
            return next((request for request in self.requests if wanted(request)), None)

        self.wait_until(lambda: found() is not None, timeout)
        request = found()
        assert request is not None
        return request

    def wait_for_disconnect(self, request: WireRequest, timeout: float = 10.0) -> None:
        """Block until the client has closed the connection before the answer was finished. Raises TimeoutError."""
        self.wait_until(lambda: request.disconnected is not None, timeout)

    async def received(self, wanted: int | Match = 1, timeout: float = 10.0) -> WireRequest:
        """`wait_for_request` for a test that runs in an event loop."""
        return await asyncio.to_thread(self.wait_for_request, wanted, timeout)

    async def disconnected(self, request: WireRequest, timeout: float = 10.0) -> None:
        """`wait_for_disconnect` for a test that runs in an event loop."""
        await asyncio.to_thread(self.wait_for_disconnect, request, timeout)

    # What follows runs in the server's own thread.

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:  # noqa: ASYNC110 - a few turns of the loop, at the end
            await asyncio.sleep(0)

    def admit(self, path: str, headers: dict[str, str], body: bytes) -> tuple[WireRequest, Answer] | None:
        """See `FarEnd`."""
        with self._changed:
            request = parse(len(self.requests), path, headers, body, time.monotonic())
            if request is None:
                return None
            answer = self._choose(request)
            if answer.status == 200 and not answer.reset:
                if self.caching:
                    self._cache.look_up(request)
                # The model reads the input whatever becomes of the answer.
                request.billed = part_of(used(request, answer, ""), 0, 1)
            self.requests.append(request)
            self._changed.notify_all()
            return request, answer

    def _choose(self, request: WireRequest) -> Answer:
        """The answer to a request, taken from the script if it is there."""
        chosen = next((scripted for scripted in self._script if scripted.matches(request)), None)
        refused = objection(request)
        if refused is not None:
            return Answer(status=400, message=refused)
        if chosen is not None:
            self._script.remove(chosen)
            return chosen.answer
        if self.composer is None:
            self.unscripted.append(request)
            return Answer(status=500, message="nobody scripted this request")
        if request.provider == "ollama" and not pulled(request.model, self.models):
            return model_missing(request.model)
        answer = Answer()
        if self._mix is not None and (drawn := self._mix.draw()) is not None:
            request.fault, answer = drawn
        return replace(answer, delay_s=answer.delay_s + self.latency_s)

    def other(self, path: str) -> tuple[int, bytes]:
        """See `FarEnd`: Ollama's list of models; a 404 for everything else."""
        if path.partition("?")[0] != TAGS:
            return 404, b"{}"
        with self._changed:
            self.listings += 1
            self._changed.notify_all()
        return self.tags_status, json.dumps(tags(self.models) if self.tags_status == 200 else {}).encode()

    def begins(self, request: WireRequest) -> None:
        """See `FarEnd`."""
        self._cache.begin(request)

    def wrote(self, request: WireRequest, event: Event, usage: Usage, of: int) -> None:
        """See `FarEnd`."""
        with self._changed:
            request.events += 1
            request.said += event.said
            if event.said and request.first_token is None:
                request.first_token = time.monotonic()
            request.reported = event.tells or request.reported
            request.billed = part_of(usage, request.said, of)
            self._changed.notify_all()

    def close(self, request: WireRequest, *, by_client: bool = False, whole: bool = False) -> None:
        """See `FarEnd`."""
        with self._changed:
            if request.finished is None:
                request.finished = time.monotonic()
                request.answered = whole
                request.disconnected = request.finished if by_client else None
                self._changed.notify_all()

    def failed(self, error: Exception) -> None:
        """See `FarEnd`."""
        self.broken.append(error)

    def words(self, request: WireRequest, answer: Answer) -> str:
        """See `FarEnd`: JSON of the arguments, unless something else is scripted."""
        if answer.text is not None:
            return answer.text
        if answer.raw is not None:
            return answer.raw
        if answer.arguments is not None:
            return json.dumps(answer.arguments)
        if self.composer is None:
            raise RuntimeError("an answer without arguments needs a composer")
        return json.dumps(self.composer(request))
