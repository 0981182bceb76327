"""`atelier demo`: one job from nothing to files, in one command."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from cli.client import Api, Json
from cli.demo_scoping import play, read_script
from cli.errors import CliError
from cli.figures import score_text, size
from cli.home import HomeLock, Serving, load_settings, read_credentials
from cli.outputs import download_outputs
from cli.submission import job_failure
from cli.supervisor import Stopped, Supervisor
from cli.terminal import INTERRUPTED, SteadyConsole, StopSignals, is_live, say, take_turn
from cli.watching import watch_job
from core.contracts.documents import Format
from core.contracts.llm import SIMULATOR
from core.contracts.longform import LongformInput, Priority, SourceInput
from core.embedded.process import EmbeddedError
from core.llm.choice import default_chain
from core.settings import Settings

TOPIC = "Lighthouses and the people who kept them"
WORDS = 1200
SOURCE = SourceInput(
    title="Log of the Skarrow Light (invented for this demo)",
    priority=Priority.HIGH,
    text="""\
Skarrow Light stands on a reef nine miles off the coast. It was lit in 1846 and burned rape oil, 412 gallons in its
first winter. Three keepers lived in the tower and shared the night in watches of four hours; the lamp was never left.

The relief boat came every six weeks if the sea allowed. In the winter of 1861 it did not for 71 days, and the keepers
ate the stores that were meant for spring. They wrote in the log that they were well and short of candles.

A clockwork of 140 pounds turned the lens once in 90 seconds and had to be wound every two hours. Fog was answered by
hand, with a bell, until the horn came in 1903. Electric light came in 1957, and the last keeper left in 1984.
""",
)
"""Written for this demo: nothing in it is true."""
_TICK = 0.1  # seconds
_GOES_ON = "The job is kept: `atelier up` goes on with it where it stopped."


Aborted = Callable[[], CliError | None]
"""Whether to give up, and with which error."""
Show = Callable[[Console, Api, Aborted], None]
"""What a demo does with an Atelier that runs."""


def longform_demo(topic: str | None, words: int, out: Path | None) -> None:
    """One article. Without a topic it is about lighthouses, from a source that is made for it. Raises CliError."""
    body = _body(topic, words)

    def show(console: Console, api: Api, aborted: Aborted) -> None:
        _show_files(console, api, watch_job(console, api.access, api.submit(body), aborted), out)

    run_demo(show, "The job goes on: `atelier watch last`.", _GOES_ON)


def scoping_demo(answers: Path | None, out: Path | None) -> None:
    """One session, from a file of answers or from the demo's own. Raises CliError."""
    script = read_script(answers)
    later = "The session is kept: `atelier scope --continue` goes on with it"
    run_demo(
        lambda console, api, aborted: play(console, api, script, out, aborted),
        f"{later}.",
        f"{later} with `atelier up`.",
    )


def run_demo(show: Show, goes_on: str, kept: str) -> None:
    """Start everything quietly (or use the `atelier up` that runs), show something, stop. Raises CliError.

    What to say when it is broken off: `goes_on` where Atelier runs on, `kept` where it stops too.
    """
    settings = load_settings()
    console = SteadyConsole()
    with StopSignals() as signals:
        lock = HomeLock(settings.atelier_home)
        serving = take_turn(lock, signals.asked, lambda text: say(console, text, "dim"))
        if serving:
            _use_running(console, lock.home, serving, show, goes_on, signals)
            return
        try:
            if not default_chain(settings):
                raise CliError(
                    "No model is configured.", "Set ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL, or SIMULATOR=true."
                )
            _Demo(console, settings, signals, kept).run(show)
        finally:
            lock.release()


def _body(topic: str | None, words: int) -> Json:
    """What is submitted, looked at before anything is started for it."""
    try:
        given = LongformInput(
            topic=topic or TOPIC,
            target_words=words,
            sources=() if topic else (SOURCE,),
            formats=tuple(Format),
            cache="bypass",  # a second demo shows the work too
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise CliError(f"{'.'.join(map(str, first['loc'])) or 'The input'}: {first['msg']}.") from None
    return {"pipeline": "longform", "input": given.model_dump(mode="json", exclude_unset=True), "tags": ["demo"]}


def _use_running(
    console: Console, home: Path, serving: Serving, show: Show, goes_on: str, signals: StopSignals
) -> None:
    access = read_credentials(home)
    if access is None:
        raise CliError(f"There are no credentials in {home}.", "Stop the `atelier up` that runs, and try again.")
    say(console, f"Using the Atelier that runs at {serving.url}.", "dim")

    def aborted() -> CliError | None:
        return CliError("No longer watched.", goes_on, code=INTERRUPTED) if signals.asked() else None

    with Api(access) as api:
        show(console, api, aborted)


class _Demo:
    """A supervisor of this command's own, looked after by a thread while the main one shows the job."""

    def __init__(self, console: Console, settings: Settings, signals: StopSignals, kept: str) -> None:
        self._console, self._settings, self._signals, self._kept = console, settings, signals, kept
        self._status = console.status("Starting") if is_live(console) else None
        self._failure: CliError | None = None
        self._over = threading.Event()
        self._supervisor = Supervisor(
            settings,
            by="demo",
            say=lambda text: say(console, text, "yellow"),
            phase=lambda text: self._status.update(text) if self._status else say(console, text, "dim"),
            stopping=signals.asked,
        )

    def run(self, show: Show) -> None:
        """The whole demo."""
        began = time.monotonic()
        keeper = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        try:
            self._start()
            keeper.start()
            say(self._console, f"Started in {time.monotonic() - began:.1f} s.", "dim")
            _say_models(self._console, self._settings)
            with Api(self._supervisor.access) as api:
                show(self._console, api, self._aborted)
        except (EmbeddedError, OSError) as error:
            raise CliError(f"Atelier cannot run here: {error}") from None
        except (Stopped, KeyboardInterrupt):
            raise CliError("Stopped before it was up.", code=INTERRUPTED) from None
        finally:
            self._signals.starting = False
            self._over.set()
            if keeper.ident:
                keeper.join()
            self._stop()

    def _start(self) -> None:
        self._signals.starting = True
        if self._status:
            self._status.start()
        self._supervisor.start()
        self._signals.starting = False
        if self._status:
            self._status.stop()

    def _stop(self) -> None:
        if self._status:
            self._status.start()
        self._supervisor.stop(self._signals.hurried)
        if self._status:
            self._status.stop()

    def _keep(self) -> None:
        while not self._over.wait(_TICK):
            try:
                self._supervisor.tick()
            except (CliError, EmbeddedError, OSError) as error:
                self._failure = error if isinstance(error, CliError) else CliError(str(error))
                return

    def _aborted(self) -> CliError | None:
        if self._signals.asked():
            return CliError("Stopped.", self._kept, code=INTERRUPTED)
        return self._failure


def _say_models(console: Console, settings: Settings) -> None:
    """Who will write, when that is no model."""
    if default_chain(settings) == (SIMULATOR,):
        keys = "ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_URL"
        say(console, f"The simulator writes: no model is asked. Set {keys} for a real one.", "yellow")


def _show_files(console: Console, api: Api, job: Json, out: Path | None) -> None:
    """Download, and say where what is; or fail with the job's error."""
    if job["status"] != "completed":
        raise job_failure(job)
    summary = job["result"].get("summary") or {}
    if summary.get("words") and summary.get("score") is not None:
        say(console, f"{int(summary['words']):,} words, {score_text(summary['score'])}", "dim")
    for file in download_outputs(api, job, out):
        line = Text(str(file), "bold").append(f"  {size(file.stat().st_size)}", "dim")
        console.print(line, soft_wrap=True, highlight=False)
