"""`atelier up`: everything on this machine, until Ctrl-C."""

import time
from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.errors import CliError
from cli.home import HomeLock, Serving, load_settings
from cli.logs import Echo
from cli.supervisor import Stopped, Supervisor
from cli.terminal import INTERRUPTED, SteadyConsole, StopSignals, is_live, say, take_turn
from core.contracts.llm import SIMULATOR
from core.embedded.process import EmbeddedError
from core.llm.choice import default_chain
from core.settings import Settings

_UP = "Atelier is up"
_TICK = 0.1  # seconds
_COLOURS = ("green", "magenta", "blue", "yellow")


def run_up(workers: int, port: int | None) -> None:
    """Start, show the logs, and stop in order at Ctrl-C. Raises CliError."""
    settings = load_settings()
    console = SteadyConsole()
    with StopSignals() as signals:
        lock = HomeLock(settings.atelier_home)
        serving = take_turn(lock, signals.asked, lambda text: say(console, text, "dim"))
        if serving:
            console.print(_banner(settings, lock.home, serving, "Atelier runs already"))
            return
        try:
            _serve(console, settings, lock.home, workers, port, signals)
        finally:
            lock.release()


def _serve(
    console: Console, settings: Settings, home: Path, workers: int, port: int | None, signals: StopSignals
) -> None:
    status = console.status("Starting") if is_live(console) else None
    supervisor = Supervisor(
        settings,
        workers=workers,
        port=port,
        say=lambda text: say(console, f"atelier  {text}", "yellow"),
        phase=lambda text: status.update(text) if status else say(console, text, "dim"),
        echo=_echo(console),
        stopping=signals.asked,
    )
    try:
        signals.starting = True
        if status:
            status.start()
        serving = supervisor.start()
        signals.starting = False
        if status:
            status.stop()
        console.print(_banner(settings, home, serving, _UP))
        supervisor.logs.show()
        while not signals.asked():
            supervisor.tick()
            time.sleep(_TICK)
    except (EmbeddedError, OSError) as error:
        raise CliError(f"Atelier cannot run here: {error}") from None
    except (Stopped, KeyboardInterrupt):
        raise CliError("Stopped before it was up.", code=INTERRUPTED) from None
    finally:
        signals.starting = False
        if status:
            status.stop()
        supervisor.stop(signals.hurried)
    say(console, "Stopped. What was under way goes on at the next start.", "dim")


def _echo(console: Console) -> Echo:
    """Lines behind the name of their process, each in a colour of its own."""
    names: dict[str, str] = {}

    def echo(name: str, line: str) -> None:
        colour = names.setdefault(name, "cyan" if name == "api" else _COLOURS[(len(names) - 1) % len(_COLOURS)])
        text = Text(f"{name:<9}", colour)
        console.print(text.append(line, "default"), soft_wrap=True, highlight=False)

    return echo


def _banner(settings: Settings, home: Path, serving: Serving, title: str) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("API", Text(serving.docs_url, "cyan"))
    if serving.temporal_ui:
        table.add_row("Temporal", Text(serving.temporal_ui, "cyan"))
    table.add_row("", Text(f"temporal --address {serving.temporal_address}", "bold"))
    table.add_row("Data", Text(str(home)))
    if title == _UP:  # of another process we do not know its settings
        table.add_row("Models", _models(settings))
    table.add_row("Submit", Text('atelier submit longform --topic "Tides" --words 1200 --watch', "bold"))
    table.add_row("Stop", Text("Ctrl-C" if title == _UP else "Ctrl-C in its own terminal"))
    return Panel(table, title=f" {title} ", title_align="left", expand=False, box=box.ROUNDED, padding=(0, 2))


def _models(settings: Settings) -> Text:
    chain = default_chain(settings)
    if chain == (SIMULATOR,):
        text = Text("the simulator: no model is asked, and every result says so.", "yellow")
        return text.append(
            "\nFor real ones set ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL, here or in .env.", "default"
        )
    if not chain:
        return Text("none: set ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL, here or in .env.", "red")
    return Text(", then ".join(chain))
