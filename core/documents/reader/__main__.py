"""`python -m core.documents.reader ORDER`: read the file that is standard input, and write what was found as JSON.

The order is JSON: the kind, what to do, and the bounds (`core.documents.extraction`). The answer is `{"found": ...}` or
`{"refused": ...}`. Whatever the file does, this process has a limited address space and processor time, and no right to
write files, open connections or start programs; what is left is for its parent to end.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from core.contracts.files import FileKind, FileReason
from core.documents.reader.found import Bounds, Found, Unreadable

MAX_TITLE = 300
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the thread that started it ends."""
_TOLD = ("title", "byline", "site", "pages_without_text")
_COMPLEX = "Reading the file takes too much {}. Send a simpler one, or the parts that matter."
# Of Python's audit events. Parsers in C raise none, but lxml is told to stay off the network by each of its parsers.
_FORBIDDEN = (
    *("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "ctypes.", "urllib."),
    *("os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"),
)


def main() -> int:
    """Read one file; 0 also when it is refused."""
    order = json.loads(sys.argv[1])
    answer = _answer(order)
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    sys.stdout.flush()
    return 0


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    try:
        _end_with(int(order["parent"]))
        _confine(int(order["memory"]), int(order["cpu_seconds"]))
        found = _reader(order)(_input(), Bounds(**order["bounds"]))
    except Unreadable as refused:
        return _refused(refused.reason, refused.message)
    except (MemoryError, ImportError):
        # Code takes room too: where there is none left, a parser cannot be imported.
        return _refused(FileReason.TOO_COMPLEX, _COMPLEX.format("memory"))
    except RecursionError:
        return _refused(FileReason.TOO_COMPLEX, _COMPLEX.format("depth"))
    except Exception as error:
        # A parser met what its authors did not expect. That is the file's fault, and its user hears so.
        print(f"{type(error).__module__}.{type(error).__name__}", file=sys.stderr)
        return _refused(FileReason.MALFORMED, "The file is damaged. Save it anew.")
    found.title = found.title[:MAX_TITLE] if found.title else None
    told = {name: value for name in _TOLD if (value := getattr(found, name, None))}
    blocks = [block.as_json() for block in found.blocks]
    return {"found": {"kind": order["kind"], **told, "pages": found.pages, "blocks": blocks}}


def _refused(reason: FileReason, message: str) -> dict[str, Any]:
    return {"refused": {"reason": reason, "message": message}}


def _input() -> bytes:
    with os.fdopen(0, "rb", closefd=False) as file:
        return file.read()


def _reader(order: dict[str, Any]) -> Callable[[bytes, Bounds], Found]:
    """The reader of a kind. Each imports its parser only, within the limits that hold already."""
    kind = FileKind(order["kind"])
    if kind is FileKind.PDF:
        from core.documents.reader import pdf

        return pdf.check_pdf if order["check"] else pdf.read_pdf
    if kind is FileKind.DOCX:
        from core.documents.reader import docx

        return docx.read_docx
    if kind is FileKind.HTML:
        from core.documents.reader import html_page

        return partial(html_page.read_page, charset=order["charset"], main=order["main_text"])
    if kind in (FileKind.MARKDOWN, FileKind.TEXT):
        from core.documents.reader import markup

        return markup.read_markdown if kind is FileKind.MARKDOWN else markup.read_text
    raise Unreadable(FileReason.UNSUPPORTED, "There is no text to read in such a file.")


def _end_with(parent: int) -> None:
    """See that the kernel ends this process with its parent, which may be killed before it can do so itself.

    Linux only: elsewhere the limit of processor time ends it.
    """
    if platform.system() != "Linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _confine(memory: int, cpu_seconds: int) -> None:
    """Give up what reading a file does not need."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if platform.system() == "Darwin":
        # It does not know this limit; time and output are bounded there all the same.
        del limits[resource.RLIMIT_AS]
    for what, limit in limits.items():
        most = resource.getrlimit(what)[1]
        own = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (own, own))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not for reading files")


if __name__ == "__main__":
    sys.exit(main())
