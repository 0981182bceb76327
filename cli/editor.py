"""Letting a person change a text in the editor of their choice. What was written is never lost to an error."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError

_USUAL = ("nano", "vi")
"""Tried in this order where the environment names no editor."""


@dataclass(frozen=True)
class Draft:
    """A text as a person left it, and the file it lies in."""

    text: str
    file: Path

    def discard(self) -> None:
        """Remove the file; nobody needs it any more."""
        self.file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def kept_on_error(self, send_it: str) -> Iterator[None]:
        """Remove the file if all goes well; on an error keep it and name it, with the command that sends it."""
        try:
            yield
        except CliError as error:
            kept = f"What you wrote is kept in {self.file}; correct it there and send it:"
            hint = "\n".join(filter(None, (error.hint, kept, f"{send_it} --file {self.file}")))
            raise CliError(error.message, hint, kind=error.kind) from None
        self.discard()


def edit(text: str, name: str, suffix: str) -> Draft:
    """Open the editor on a text and wait until it is closed. Raises CliError when there is none, or when it fails.

    `name` and `suffix` make the file's name: editors choose their colours by it.
    """
    command = _editor()
    descriptor, path = tempfile.mkstemp(prefix=f"atelier-{name}-", suffix=suffix)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft = Path(path)
    # Ctrl-C belongs to the editor: it reaches us too, and must not end us under it. A handler, unlike SIG_IGN, is not
    # handed down to the editor.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run([*command, path], check=False).returncode
        written = draft.read_text(encoding="utf-8")
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CliError(f"The editor {command[0]} cannot be started: {error.strerror}.", "Set EDITOR.") from None
    except UnicodeDecodeError:
        raise CliError(f"{draft} is not UTF-8 text.", "Nothing was sent.") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        kept = "" if written == text else f" What you wrote is in {draft}."
        if not kept:
            draft.unlink()
        raise CliError(f"The editor {command[0]} ended with code {code}.", f"Nothing was sent.{kept}")
    return Draft(written, draft)


def _editor() -> list[str]:
    """VISUAL, EDITOR, or one that is usually there."""
    hint = "Set EDITOR, or give a file: --file."
    for variable in ("VISUAL", "EDITOR"):
        if named := os.environ.get(variable, "").strip():
            with contextlib.suppress(ValueError):  # a quotation mark that is never closed
                return shlex.split(named)
            raise CliError(f"{variable} is no command: {named}.", hint)
    # An editor that was not asked for, without a terminal, would wait for ever.
    found = next((path for name in _USUAL if (path := shutil.which(name))), None) if sys.stdin.isatty() else None
    if not found:
        raise CliError("No editor is set.", hint)
    return [found]
