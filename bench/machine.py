"""A machine for one benchmark: servers of its own on a fresh folder, one owner with a key, and processes beside."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
from temporalio.client import Client

from bench.load import Measured, Plan
from core.db.engine import Database, plain_url
from core.db.repositories.owners import OwnerRepository
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.temporal import EmbeddedTemporal
from core.temporal import connect, prepare_namespace
from migrations.run import migrate
from tests.support.stack import READY_SECONDS, Api, Process, Stack, free_port, until

# As in production, where the tests' stack hurries.
DEFAULTS = {
    "STARTER_INTERVAL_SECONDS": "2",
    "RECONCILER_INTERVAL_SECONDS": "2",
    "WORKER_DRAIN_SECONDS": "2",
    # The processes run in the stack's folder, and this package is not installed.
    "PYTHONPATH": str(Path(__file__).parents[1]),
}
NAMESPACE = "default"


@dataclass(frozen=True)
class Machine:
    """The servers, the owner, and the processes that the benchmark starts."""

    stack: Stack
    postgres: EmbeddedPostgres
    temporal: EmbeddedTemporal
    database: Database
    client: Client
    owner_id: str
    token: str

    def worker(self, module: str = "worker", **env: str) -> Process:
        """A worker process, polling when this returns: `worker`, `bench.worker`, `bench.floor_worker`."""
        process = self.stack.start(module.rpartition(".")[2], "-m", module, **env)
        until(lambda: process.said("worker.ready"), READY_SECONDS, process)
        return process

    def api(self, module: str = "api", **env: str) -> Api:
        """An API process, answering when this returns: `api`, `bench.api`, `bench.floor_api`."""
        port = free_port()
        process = self.stack.start(module.rpartition(".")[2], "-m", module, API_PORT=str(port), **env)
        api = Api(process, f"http://127.0.0.1:{port}")
        until(api.is_live, READY_SECONDS, process)
        return api

    async def load(self, api: Api, plan: Plan) -> Measured:
        """Put a load on an API process, from a process of its own."""
        url = api.url.rpartition(":")
        plan_file = self.stack.folder / f"plan-{len(self.stack.processes)}.json"
        plan_file.write_text(json.dumps(plan.for_server(int(url[2]), self.token)))
        process = self.stack.start("load", "-m", "bench.load", str(plan_file))
        await ended(process, plan.seconds + plan.warm_up + 60)
        return Measured.read(json.loads(process.log.read_text().splitlines()[-1]))

    async def connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of one's own, for what the pool is not for: LISTEN, VACUUM, bulk."""
        return await asyncpg.connect(plain_url(self.database.url))


@asynccontextmanager
async def machine(env: Mapping[str, str] | None = None) -> AsyncIterator[Machine]:
    """Fresh servers with their defaults (Postgres waits for the disk at every commit); all of it gone at the end."""
    folder = _folder()
    postgres = EmbeddedPostgres(folder / "postgres")
    temporal = EmbeddedTemporal(folder / "temporal", ui=False)
    try:
        url = postgres.start()
        address = temporal.start()
        await prepare_namespace(address, NAMESPACE, timedelta(days=30))
        database = Database(url, pool_size=5)
        try:
            await migrate(database)
            async with database.transaction() as connection:
                owners = OwnerRepository(connection)
                owner = await owners.create("Bench")
                token = await owners.create_key(owner.id, "bench")
            client = await connect(address, NAMESPACE)
            home, env = folder / "home", {**DEFAULTS, **(env or {})}
            with Stack(home, url, address, NAMESPACE, env=env, forks=False) as stack:
                yield Machine(stack, postgres, temporal, database, client, owner.id, token)
        finally:
            await database.close()
    finally:
        temporal.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="atelier-bench-"))
    folder.chmod(0o755)  # root's Postgres runs as nobody
    return folder


async def ended(process: Process, seconds: float) -> None:
    """Wait until a process has ended well. Seconds."""
    async with asyncio.timeout(seconds):
        while process.popen.poll() is None:  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)
    assert process.popen.returncode == 0, f"{process.name} failed:\n{process.tail()}"
