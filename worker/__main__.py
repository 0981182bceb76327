"""`python -m worker --queues orchestration,llm,render`: poll until SIGTERM or SIGINT, then drain and exit."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import structlog
import uvloop

from core.contracts.names import Queue
from core.logging import configure_logging
from core.production import Use, read_settings
from core.temporal import connect, is_away, leave
from worker import deps, health, registry
from worker.models import Models
from worker.run import polling

CONNECT_PAUSE_SECONDS = 1.0

log = structlog.get_logger()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Work on Atelier's task queues.")
    parser.add_argument(
        "--queues",
        default=",".join(Queue),
        type=lambda value: [Queue(name.strip()) for name in value.split(",")],
        help=f"comma-separated, of {', '.join(Queue)} (default: all)",
    )
    parser.add_argument("--health-file", type=Path, help="a file of this worker alone, for `python -m worker.health`")
    return parser.parse_args()


async def main(queues: list[Queue], health_file: Path | None) -> int:
    """Work until told to stop. 2 when a server is not named; exits so when the settings will not do."""
    settings = read_settings("atelier worker", Use.DATABASE | Use.MODELS)
    configure_logging(settings, "worker")
    if settings.database_url is None or settings.temporal_address is None:
        print("DATABASE_URL and TEMPORAL_ADDRESS must be set; `atelier up` sets them for you.", file=sys.stderr)
        return 2
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with deps.build(settings, settings.database_url.get_secret_value()) as built:
        while not stop.is_set():
            try:
                client = await connect(settings.temporal_address, settings.temporal_namespace)
                break
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("worker.temporal_away", address=settings.temporal_address)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), CONNECT_PAUSE_SECONDS)
        else:
            return 0
        models = Models(built.providers, settings.ollama_url, settings.ollama_model)
        usable = Queue.LLM not in queues or await models.look()
        async with polling(client, queues, registry.WORKFLOWS, registry.activities(built), settings, models):
            log.info("worker.ready", queues=[queue.value for queue in queues if usable or queue is not Queue.LLM])
            async with health.beating(health_file, lambda: models.ailment):
                await stop.wait()
            log.info("worker.draining", seconds=settings.worker_drain_seconds)
    log.info("worker.stopped")
    return 0


if __name__ == "__main__":
    given = arguments()
    leave(uvloop.run(main(given.queues, given.health_file)))
