"""What every worker is given, which models it can ask, and what becomes of an error inside it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from core import redaction
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.names import Queue
from core.redaction import REDACTED
from core.settings import Settings
from core.temporal import connect
from tests.conftest import Namespace
from tests.support.wire import WireProvider
from worker.interceptors import AtelierInterceptor
from worker.models import MISSES, Models
from worker.run import build_worker

KEY = "Zq7hT2/mVx9+LpW4"


@activity.defn(name="test.nothing")
async def nothing() -> None:
    """Does nothing."""


async def test_the_servers_rate_limit_is_that_of_the_models_alone(namespace: Namespace) -> None:
    client = await connect(namespace.address, namespace.name)
    settings = Settings(_env_file=None, worker_llm_per_second=2.5, worker_llm_slots=7)
    workers = {queue: build_worker(client, queue, [], [nothing], settings) for queue in (Queue.LLM, Queue.RENDER)}
    limits = {queue: worker.config().get("max_task_queue_activities_per_second") for queue, worker in workers.items()}
    assert limits == {Queue.LLM: 2.5, Queue.RENDER: None}
    assert workers[Queue.LLM].config().get("max_concurrent_activities") == 7


async def test_an_ollama_that_is_busy_is_not_lost() -> None:
    """It takes connections and says nothing: what it generates for this worker must not be given up."""
    asked = asyncio.Semaphore(0)

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.release()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        models = Models(["ollama"], url, "llama3.2", look_seconds=0.001, patience_seconds=0.05)
        # Not yet known to have the model, it is not asked for anything.
        assert not await models.look()
        assert "busy" in (models.ailment or "")
        lost = asyncio.create_task(models.until_lost())
        for _ in range(MISSES + 3):
            await asyncio.wait_for(asked.acquire(), 10)
        assert not lost.done()
        assert models.ailment is None
    await asyncio.wait_for(lost, 10)
    assert f"does not answer at {url}" in (models.ailment or "")


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ([], "does not have the model qwen3:8b of OLLAMA_MODEL, nor any other"),
        (["qwen3:latest", "llama3.2:latest"], "only qwen3:latest, llama3.2:latest"),
        (["llama3.2:latest", "qwen3:8b"], None),
    ],
)
async def test_an_ollama_needs_the_configured_model(there: list[str], says: str | None) -> None:
    with WireProvider() as wire:
        wire.models = there
        models = Models(["ollama"], wire.url, "qwen3:8b")
        assert await models.look() == (says is None)
    if says is None:
        assert models.ailment is None
    else:
        assert says in (models.ailment or "")
        assert "`ollama pull qwen3:8b`" in (models.ailment or "")


class Failing(ActivityInboundInterceptor):
    """An activity that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Raise."""
        raise self._error


@pytest.fixture
def held() -> Iterator[None]:
    """This process holds the key."""
    redaction.conceal([KEY])
    yield
    redaction.conceal(())


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "raised",
    [
        lambda: AtelierError(ErrorType.MODEL_AUTH, f"401: {KEY} is wrong", details={"said": [f"{KEY} is wrong"]}),
        lambda: RuntimeError(f"{'.' * 1_975}{KEY} is wrong"),
    ],
    ids=["typed", "unforeseen"],
)
async def test_no_failure_carries_a_secret_into_a_history(raised: Callable[[], Exception]) -> None:
    wrapped = AtelierInterceptor().intercept_activity(Failing(raised()))
    given = ExecuteActivityInput(fn=nothing, args=(), executor=None, headers={})
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(wrapped.execute_activity, given)
    told = f"{caught.value.message} {caught.value.details}"
    assert REDACTED in told
    assert KEY[:8] not in told
