"""The terminal: consoles, orderly reactions to Ctrl-C, and taking turns on a data folder."""

import contextlib
import re
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from rich.console import Console
from rich.text import Text

from cli.errors import CliError
from cli.home import HomeLock, Serving, read_serving

TURN_TIMEOUT = 120.0  # seconds for another one on the same data to be ready, or gone
INTERRUPTED = 130  # the exit code of a program ended by Ctrl-C: 128 + SIGINT


class SteadyConsole(Console):
    """A console whose disappearance (`atelier up | head`, a closed window) does not end what runs."""

    def on_broken_pipe(self) -> None:
        """Go on without showing anything."""
        self.quiet = True


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(value: object) -> str:
    """A text without control characters but tab and line feed: what models say must not steer a terminal."""
    return _CONTROL.sub("", str(value))


def say(console: Console, text: str, style: str = "") -> None:
    """A line of ours; whatever stands in it is shown as it is."""
    with contextlib.suppress(OSError):
        console.print(Text(visible(text), style=style), soft_wrap=True, highlight=False)


def show_error(error: CliError) -> None:
    """An error and what to do about it, on standard error."""
    console = Console(stderr=True)
    say(console, error.message, "red")
    if error.hint:
        say(console, error.hint)


class StopSignals:
    """Counts Ctrl-C, SIGTERM and SIGHUP instead of raising: the first asks for an orderly stop, the second hurries.

    Plain numbers: the lock of a `threading.Event` could be held by the very code that a handler interrupts. While
    `starting` is set the second one raises KeyboardInterrupt, out of whatever the start waits for.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0
        self.starting = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        for number in self._NUMBERS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave us

    def asked(self) -> bool:
        """Whether to stop."""
        return self.count > 0

    def hurried(self) -> bool:
        """Whether to stop at once."""
        return self.count > 1

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.starting and self.count > 1:
            raise KeyboardInterrupt


def take_turn(lock: HomeLock, asked: Callable[[], bool], tell: Callable[[str], None]) -> Serving | None:
    """Take the data folder (None), or say which `atelier up` serves it already.

    One that is just starting is waited for, and so is one that stops, and a demo, which stops when it is done.
    Raises CliError when the user stops the wait, and after TURN_TIMEOUT.
    """
    told = ""
    deadline = time.monotonic() + TURN_TIMEOUT
    while not lock.take():
        serving = read_serving(lock.home)
        if serving and serving.by == "up":
            return serving
        if serving:
            deadline = time.monotonic() + TURN_TIMEOUT
        message = "A demo runs on this data; waiting until it is done." if serving else ""
        if message and message != told:
            tell(message)
            told = message
        if asked():
            raise CliError("Stopped.", code=INTERRUPTED)
        if time.monotonic() > deadline:
            raise CliError(f"Another Atelier on {lock.home} is neither ready nor gone.", "Look at its terminal.")
        time.sleep(0.1)
    return None


def is_live(console: Console) -> bool:
    """Whether the console can redraw."""
    return console.is_terminal and not console.is_dumb_terminal
