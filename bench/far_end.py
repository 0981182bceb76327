"""`python -m bench.far_end`: the fake provider in a process of its own, answering at once, always the same."""

import signal
from collections.abc import Mapping
from typing import Any

from tests.support.wire import WireProvider
from tests.support.wire_messages import WireRequest

READY = "far_end.ready "
MARKDOWN = " ".join(["The mill turned twice a day, as the tide let it."] * 30)
"""The text of a section of 300 words."""


def section(_request: WireRequest) -> Mapping[str, Any]:
    """What is answered."""
    return {"markdown": MARKDOWN}


def main() -> None:
    """Serve until told to stop; fail if a request came that was not foreseen."""
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # before the server's thread begins, which inherits it
    with WireProvider(composer=section) as wire:
        print(f"{READY}{wire.url}", flush=True)
        signal.sigwait(stop)
        wire.assert_clean()


if __name__ == "__main__":
    main()
