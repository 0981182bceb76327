"""Which files are taken, and what a file really is: by its content, never by its name."""

import codecs
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import puremagic

from core.contracts.files import FileKind, FileReason
from core.documents import media_files as media
from core.documents.reader.found import Unreadable
from core.documents.reader.package import Package
from core.documents.refused import FileRefusedError

_MB = 1_000_000
HEAD = 1 << 16
MAX_JSON_NODES = 500_000
MAX_CONTROLS = 0.01
"""Of a text's characters may be control characters: a binary file can be valid UTF-8."""


@dataclass(frozen=True)
class Accepted:
    """A kind of files: what it is called, how it is declared, and how large it may be."""

    name: str
    media_types: tuple[str, ...]
    """The first is the one that we use; the others are taken for it."""
    extensions: tuple[str, ...]
    max_bytes: int
    uploads: bool = True
    """Whether users may upload it. HTML comes from URLs only: a browser would run it at our own address."""


KINDS: dict[FileKind, Accepted] = {
    FileKind.TEXT: Accepted("plain text", ("text/plain",), (".txt", ".text"), 20 * _MB),
    FileKind.MARKDOWN: Accepted("Markdown", ("text/markdown", "text/x-markdown"), (".md", ".markdown"), 20 * _MB),
    FileKind.HTML: Accepted("HTML", ("text/html", "application/xhtml+xml"), (".html", ".htm"), 20 * _MB, uploads=False),
    FileKind.JSON: Accepted("JSON", ("application/json", "text/json"), (".json",), 10 * _MB),
    FileKind.PDF: Accepted("a PDF", ("application/pdf", "application/x-pdf"), (".pdf",), 100 * _MB),
    FileKind.DOCX: Accepted(
        "a DOCX document",
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
        (".docx",),
        50 * _MB,
    ),
    FileKind.PNG: Accepted("a PNG image", ("image/png",), (".png",), 50 * _MB),
    FileKind.JPEG: Accepted("a JPEG image", ("image/jpeg", "image/jpg", "image/pjpeg"), (".jpg", ".jpeg"), 50 * _MB),
    FileKind.WEBP: Accepted("a WebP image", ("image/webp",), (".webp",), 50 * _MB),
    FileKind.GIF: Accepted("a GIF image", ("image/gif",), (".gif",), 50 * _MB),
    FileKind.MP3: Accepted("MP3 audio", ("audio/mpeg", "audio/mp3", "audio/x-mp3"), (".mp3",), 500 * _MB),
    FileKind.WAV: Accepted(
        "WAV audio", ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), (".wav",), 500 * _MB
    ),
    FileKind.M4A: Accepted("M4A audio", ("audio/mp4", "audio/x-m4a", "audio/m4a", "audio/aac"), (".m4a",), 500 * _MB),
    FileKind.OGG: Accepted(
        "Ogg audio", ("audio/ogg", "application/ogg", "audio/opus"), (".ogg", ".oga", ".opus"), 500 * _MB
    ),
    FileKind.FLAC: Accepted("FLAC audio", ("audio/flac", "audio/x-flac"), (".flac",), 500 * _MB),
    FileKind.MP4: Accepted("MP4 video", ("video/mp4", "video/x-m4v"), (".mp4", ".m4v"), 1_000 * _MB),
    FileKind.WEBM: Accepted("WebM video", ("video/webm", "audio/webm"), (".webm",), 1_000 * _MB),
    FileKind.MOV: Accepted("QuickTime video", ("video/quicktime",), (".mov", ".qt"), 1_000 * _MB),
}
_TEXTS = (FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML, FileKind.JSON)
_BY_TYPE = {media_type: kind for kind, known in KINDS.items() for media_type in known.media_types}
_BY_EXTENSION = {extension: kind for kind, known in KINDS.items() for extension in known.extensions}
_UNDECLARED = ("", "application/octet-stream", "binary/octet-stream")
# Hundreds of guesses are of no interest to a log.
logging.getLogger("puremagic").setLevel(logging.CRITICAL)


def declared_kind(media_type: str | None, name: str = "") -> FileKind | None:
    """The kind that a media type says, without its parameters; else that of the name's extension; None if neither is
    told. Raises `FileRefusedError` for a media type that is not taken."""
    told = (media_type or "").partition(";")[0].strip().casefold()
    if told not in _UNDECLARED:
        if (kind := _BY_TYPE.get(told)) is None:
            raise FileRefusedError(
                FileReason.UNSUPPORTED, f"Files of the type {told[:100]!r} are not taken. {_taken()}"
            )
        return kind
    return _BY_EXTENSION.get(PurePosixPath(name[-100:]).suffix.casefold())


def detect(file: Path | bytes, media_type: str | None = None, name: str = "") -> FileKind:
    """What a file is, which is what it is declared as. Raises `FileRefusedError`.

    Texts are what they are declared as if they are text at all: Markdown is text, and so is a page of HTML. It reads
    the ends of a file and the directories in it; texts wholly, in pieces; JSON of at most 10 MB at once. It blocks.
    What shows only when a document is opened, as a password, is for `extraction.check`.
    """
    declared = declared_kind(media_type, name)
    with _refusing(), _open(file) as source:
        size = source.seek(0, io.SEEK_END)
        if not size:
            raise Unreadable(FileReason.EMPTY, "The file is empty. Send it again.")
        if size > max(known.max_bytes for known in KINDS.values()):
            raise _too_large(declared, max(known.max_bytes for known in KINDS.values()))
        kind = _sniff(source, size)
        if kind is None or kind in _TEXTS:
            kind = _text(source, size, declared)
        if declared is not None and kind is not declared:
            raise Unreadable(
                FileReason.MISLABELLED,
                f"The file is declared as {KINDS[declared].name}, but is {KINDS[kind].name}. Declare it as what it is.",
            )
        if size > KINDS[kind].max_bytes:
            raise _too_large(kind, KINDS[kind].max_bytes)
        if check := _CHECKS.get(kind):
            check(source, size)
        return kind


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Unreadable as refused:
        raise FileRefusedError(refused.reason, refused.message) from refused


def _open(file: Path | bytes) -> IO[bytes]:
    return file.open("rb") if isinstance(file, Path) else io.BytesIO(file)


def _too_large(kind: FileKind | None, limit: int) -> Unreadable:
    what = KINDS[kind].name if kind else "The file"
    return Unreadable(
        FileReason.TOO_LARGE, f"{what[:1].upper()}{what[1:]} may have {limit // _MB} MB at most. Send a smaller one."
    )


def _taken() -> str:
    return f"Taken are {', '.join(known.name for known in KINDS.values() if known.uploads)}."


def _sniff(source: IO[bytes], size: int) -> FileKind | None:
    """The kind that the first bytes say, or None if they say nothing."""
    source.seek(0)
    head = source.read(HEAD)
    if head.startswith(b"%PDF-"):
        kind: FileKind | None = FileKind.PDF
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return FileKind.DOCX
    elif head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise _compound(source, head)
    else:
        kind = media.sniff(head, source, size)
    if kind is not None:
        _one_file_only(source, size, head, kind)
    return kind


def _one_file_only(source: IO[bytes], size: int, head: bytes, kind: FileKind) -> None:
    """A file that is another to another program too is nothing that we keep: a ZIP is read from its end, a PDF from
    anywhere in the first kilobyte."""
    source.seek(max(0, size - HEAD))
    tail = source.read(HEAD)
    at = tail.rfind(b"PK\x05\x06")
    zipped = at >= 0 and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)
    if zipped or (kind is not FileKind.PDF and b"%PDF-" in head[:1024]):
        raise Unreadable(FileReason.MALFORMED, "The file is two files in one. Save it anew.")


def _compound(source: IO[bytes], head: bytes) -> Unreadable:
    """An OLE container: a document of old, or one of today with a password ([MS-OFFCRYPTO] 2.3.4)."""
    sector = 1 << min(int.from_bytes(head[30:32], "little"), 16)
    source.seek((int.from_bytes(head[48:52], "little") + 1) * sector)
    if "EncryptedPackage".encode("utf-16-le") in source.read(HEAD):
        return Unreadable(FileReason.ENCRYPTED, "The document needs a password. Save it without one.")
    return Unreadable(FileReason.UNSUPPORTED, "The file is an Office document of before 2007. Save it as DOCX or PDF.")


def _text(source: IO[bytes], size: int, declared: FileKind | None) -> FileKind:
    """Which text it is. Raises `Unreadable` if it is none."""
    source.seek(0)
    head = source.read(HEAD)
    if declared is not None and declared not in _TEXTS:
        what = _named(head)
        raise Unreadable(
            FileReason.MISLABELLED,
            f"The file is declared as {KINDS[declared].name}, but is {what}. Declare it as what it is.",
        )
    if size > (limit := KINDS[declared or FileKind.TEXT].max_bytes):
        raise _too_large(declared, limit)
    source.seek(0)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")()
    controls, blank = 0, True
    while True:
        data = source.read(_MB)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError:
            raise _no_text(head, declared) from None
        if "\x00" in text:
            raise _no_text(head, declared)
        controls += sum(text.count(chr(code)) for code in (*range(1, 9), 11, *range(14, 27), *range(28, 32), 127))
        blank = blank and not text.strip("\ufeff \t\r\n\f\v\xa0\u3000")
        if not data:
            break
    if controls > MAX_CONTROLS * size:
        raise _no_text(head, declared)
    if blank:
        raise Unreadable(FileReason.EMPTY, "The file holds nothing but white space. Send one with text.")
    return declared or FileKind.TEXT


def _no_text(head: bytes, declared: FileKind | None) -> Unreadable:
    if declared is None:
        return Unreadable(FileReason.UNSUPPORTED, f"The file is {_named(head)}, which is not taken. {_taken()}")
    return Unreadable(
        FileReason.NOT_TEXT,
        f"The file is declared as {KINDS[declared].name}, but is no text in UTF-8. Save it as UTF-8.",
    )


def _named(head: bytes) -> str:
    """What a file that we do not know may be, for a person to read."""
    try:
        guess = puremagic.magic_string(head[:4096])[0]
    except (puremagic.PureError, ValueError, IndexError):
        return "no such file"
    return f"something else ({guess.name or guess.extension})"[:100]


def _json(source: IO[bytes], size: int) -> None:
    """JSON within bounds: parsing takes memory by the number of values."""
    source.seek(0)
    data = source.read()
    if sum(map(data.count, (b",", b":", b"[", b"{"))) > MAX_JSON_NODES:
        raise Unreadable(FileReason.TOO_COMPLEX, "The JSON has too many values. Send the parts that matter.")
    try:
        json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise Unreadable(FileReason.TOO_COMPLEX, "The JSON is nested too deeply. Send a flatter one.") from None
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        at_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(error.doc.rstrip())
        reason = FileReason.TRUNCATED if at_end else FileReason.MALFORMED
        raise Unreadable(reason, f"The file is no JSON{where}. Correct it.") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _pdf(source: IO[bytes], size: int) -> None:
    """Whether a PDF has its end (PDF 32000-1, 7.5.5): what is behind it may only be little."""
    source.seek(max(0, size - 2048))
    tail = source.read().rstrip(b"\x00\r\n\t ")
    if b"%%EOF" not in tail[-1024:] or b"startxref" not in tail:
        raise Unreadable(FileReason.TRUNCATED, "The PDF has no end: it was cut off on its way. Send it again.")


def _docx(source: IO[bytes], size: int) -> None:
    source.seek(max(0, size - (1 << 16) - 22))
    if b"PK\x05\x06" not in source.read():
        raise Unreadable(FileReason.TRUNCATED, "The document has no end: it was cut off on its way. Send it again.")
    Package(source)


_CHECKS: dict[FileKind, Callable[[IO[bytes], int], None]] = {
    FileKind.JSON: _json,
    FileKind.PDF: _pdf,
    FileKind.DOCX: _docx,
    **media.CHECKS,
}
