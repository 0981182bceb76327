"""Text out of files, read in a process of its own with bounds, so that no file can hurt who asks.

A process is started for each file (about 0.3 s) and is gone when the call returns, is cancelled or fails.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import pydantic

import core
from core.contracts.files import BlockKind, FileKind, FileReason
from core.contracts.reading import ReadBlock, ReadDocument
from core.documents.reader.found import Bounds
from core.documents.refused import FileRefusedError

READABLE = frozenset((FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML, FileKind.PDF, FileKind.DOCX))
"""The kinds that have text to read."""
_COMPLEX = "Reading the file takes too much {}. Send a simpler one, or the parts that matter."
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What reading one file may take."""

    memory: int = 768 << 20
    """Bytes of address space, of which an idle reader takes about 100 MB."""
    cpu_seconds: int = 60
    seconds: float = 90.0
    output: int = 32 << 20
    """Bytes of what was found, as JSON."""
    bounds: Bounds = field(default_factory=Bounds)


STANDARD = Limits()


async def extract(
    file: Path | bytes,
    kind: FileKind,
    limits: Limits = STANDARD,
    *,
    charset: str | None = None,
    main_text: bool = False,
) -> ReadDocument:
    """The text of a file whose kind is known. Raises `FileRefusedError`; cancelled, it leaves no process behind.

    Of a web page, `charset` is what its server said, and `main_text` leaves out menus, heads and feet.
    """
    return await _run(file, limits, {"kind": kind, "check": False, "charset": charset, "main_text": main_text})


async def check(file: Path | bytes, kind: FileKind, limits: Limits = STANDARD) -> None:
    """Whether a file opens: a password or damage inside shows only then. Raises `FileRefusedError`.

    A PDF's pages are counted and not read; the other kinds are read, which takes no longer. Kinds without text pass.
    """
    if kind in READABLE:
        try:
            await _run(file, limits, {"kind": kind, "check": True, "charset": None, "main_text": False})
        except FileRefusedError as refused:
            # A picture of a page is a good file for who does not want its text.
            if refused.reason is not FileReason.NO_TEXT:
                raise


async def _run(file: Path | bytes, limits: Limits, what: dict[str, Any]) -> ReadDocument:
    with await asyncio.to_thread(_opened, file) as source:
        bounds = asdict(limits.bounds)
        of_us = {"parent": os.getpid(), "memory": limits.memory, "cpu_seconds": limits.cpu_seconds, "bounds": bounds}
        order = {**what, **of_us}
        process = await asyncio.create_subprocess_exec(
            # -P: whatever lies in the folder that we were started in is no module of ours.
            sys.executable, "-P", "-m", "core.documents.reader", json.dumps(order),
            stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
    try:
        async with asyncio.timeout(limits.seconds):
            output = await _output(process, limits.output)
            code = await process.wait()
    except TimeoutError:
        raise FileRefusedError(FileReason.TOO_COMPLEX, _COMPLEX.format("time")) from None
    finally:
        await _end(process)
    return await asyncio.to_thread(_document, output, code)


def _opened(file: Path | bytes) -> IO[bytes]:
    """The file as the reader's standard input: it needs no name, and no right to open it."""
    if isinstance(file, Path):
        return file.open("rb")
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    made.write(file)
    made.seek(0)
    return made


def _environment() -> dict[str, str]:
    """Nothing of ours but where the code is: what reads strangers' files needs no keys."""
    found_in = [str(Path(core.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, found_in)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "LC_ALL": "C.UTF-8",
    }


async def _output(process: asyncio.subprocess.Process, limit: int) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while part := await process.stdout.read(_CHUNK):
        size += len(part)
        if size > limit:
            raise FileRefusedError(FileReason.TOO_COMPLEX, "The file holds too much text. Send the parts that matter.")
        parts.append(part)
    return b"".join(parts)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs, and see it gone. A second cancel does not keep it alive."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def _document(output: bytes, code: int) -> ReadDocument:
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        raise FileRefusedError(FileReason.TOO_COMPLEX, _COMPLEX.format("time"))
    try:
        answer = json.loads(output)
        if refused := answer.get("refused"):
            raise FileRefusedError(FileReason(refused["reason"]), str(refused["message"]))
        return ReadDocument.model_validate(answer["found"])
    except (ValueError, KeyError, AttributeError, TypeError, pydantic.ValidationError):
        # The reader died before it could answer: out of memory where Python cannot tell, or a crash in a parser.
        raise FileRefusedError(FileReason.TOO_COMPLEX, _COMPLEX.format("memory")) from None


class Place(NamedTuple):
    """Where a block stands."""

    page: int | None
    last_page: int | None
    path: tuple[str, ...]
    """The headings above it, the highest first."""

    def __str__(self) -> str:
        """As a citation says it: "p. 12", "pp. 12–13", else the headings; empty at the beginning."""
        if self.page is None:
            return " › ".join(self.path)
        return f"p. {self.page}" if self.last_page is None else f"pp. {self.page}–{self.last_page}"


def placed(document: ReadDocument) -> Iterator[tuple[ReadBlock, Place]]:
    """The blocks of a document with their places."""
    above: list[tuple[int, str]] = []
    for block in document.blocks:
        if block.kind is BlockKind.HEADING:
            above = [entry for entry in above if entry[0] < block.level]
        yield block, Place(block.page, block.last_page, tuple(text for _, text in above))
        if block.kind is BlockKind.HEADING:
            above.append((block.level, block.text))


def as_markdown(document: ReadDocument) -> str:
    """A document for a prompt: Markdown, with `[p. 12]` on a line of its own where another page begins.

    Text that would look like such a mark, or like a heading, is escaped, so that only we say where a text stands.
    """
    parts: list[str] = []
    shown: str | None = None
    in_list = False
    for block, place in placed(document):
        if place.page is not None and str(place) != shown:
            shown = str(place)
            parts.append(f"[{shown}]")
            in_list = False
        text = _markdown(block)
        if block.kind is BlockKind.ITEM and in_list:
            parts[-1] += f"\n{text}"
        else:
            parts.append(text)
        in_list = block.kind is BlockKind.ITEM
    return "\n\n".join(parts) + "\n"


def _markdown(block: ReadBlock) -> str:
    match block.kind:
        case BlockKind.HEADING:
            return f"{'#' * max(1, block.level)} {' '.join(block.text.split())}"
        case BlockKind.ITEM:
            mark = f"{block.number or 1}." if block.ordered else "-"
            indent = "   " * block.level
            return f"{indent}{mark} " + _escaped(block.text).replace("\n", f"\n{indent}  ")
        case BlockKind.TABLE:
            return _table(block.rows)
        case BlockKind.CODE:
            fence = "```"
            while fence in block.text:
                fence += "`"
            return f"{fence}\n{block.text}\n{fence}"
        case _:
            return _escaped(block.text)


def _escaped(text: str) -> str:
    """Lines that begin as a heading, a mark of a page or a fence do, with a backslash."""
    lines = text.split("\n")
    return "\n".join(f"\\{line}" if line.lstrip().startswith(("#", "[p", "```", "~~~")) else line for line in lines)


def _table(rows: tuple[tuple[str, ...], ...]) -> str:
    width = max(map(len, rows), default=0)
    full = [(*row, *[""] * (width - len(row))) for row in rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in full]
    return "\n".join([lines[0], "|" + "---|" * width, *lines[1:]]) if lines else ""
