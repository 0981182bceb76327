"""`python -m worker.prepare`: wait for Temporal, make the namespace and its search attributes, then exit.

What `python -m migrations` is to the database. Safe to run again and from several machines at once.
"""

import argparse
import asyncio
import sys
from datetime import timedelta

from temporalio.service import RPCError, RPCStatusCode

from core.production import Use, read_settings
from core.temporal import connect, is_away, leave, prepare_namespace

PAUSE_SECONDS = 1.0


class Preparation:
    """Tries until Temporal serves the namespace, and remembers why it did not yet."""

    def __init__(self, address: str, namespace: str, retention: timedelta) -> None:
        self.reason = "it does not answer"
        self._address = address
        self._namespace = namespace
        self._retention = retention

    async def run(self) -> None:
        """Return when the namespace can be used. Raises RPCError when Temporal refuses; else tries for ever."""
        while True:
            try:
                await prepare_namespace(self._address, self._namespace, self._retention)
                # The server's parts learn of a new namespace within seconds; a worker that polls before that ends.
                client = await connect(self._address, self._namespace)
                await client.count_workflows()
                return
            except Exception as error:
                unknown = isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
                if not unknown and not is_away(error):
                    raise
                self.reason = str(error).partition("\n")[0]
            await asyncio.sleep(PAUSE_SECONDS)


async def main(wait: float) -> int:
    """0 when it is prepared, 1 when it could not be within `wait` seconds, 2 when Temporal is not named."""
    settings = read_settings("atelier prepare", Use.NOTHING)
    if settings.temporal_address is None:
        print("TEMPORAL_ADDRESS is not set: name the server to prepare, or use `atelier up`.", file=sys.stderr)
        return 2
    address, namespace = settings.temporal_address, settings.temporal_namespace
    preparation = Preparation(address, namespace, timedelta(days=settings.temporal_retention_days))
    try:
        async with asyncio.timeout(wait):
            await preparation.run()
    except TimeoutError:
        print(f"Temporal at {address} was not ready within {wait:g} s: {preparation.reason}", file=sys.stderr)
        return 1
    except RPCError as error:
        print(f"Temporal at {address} refused to prepare the namespace {namespace!r}: {error}", file=sys.stderr)
        return 1
    print(f"Temporal's namespace {namespace!r} is ready.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m worker.prepare", description="Prepare Temporal's namespace.")
    parser.add_argument("--wait", type=float, default=120.0, help="how many seconds to wait for it (default: 120)")
    leave(asyncio.run(main(parser.parse_args().wait)))
