"""The ZIP package of a DOCX, opened with care: nothing of it is believed, and little of it is unpacked."""

import re
import struct
import zipfile
from typing import IO

from core.contracts.files import FileReason
from core.documents.reader.found import Unreadable

MAX_ENTRIES = 5_000
MAX_DIRECTORY = 1_000_000
"""Bytes of the package's directory: an entry takes about 80."""
MAX_UNPACKED = 300_000_000
"""Bytes, all entries together."""
MAX_RATIO, RATIO_FROM = 200, 5_000_000
"""How much larger than packed an entry may be, once it is larger than this many bytes. XML comes to 20."""
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
CONTENT_TYPES = "[Content_Types].xml"
_MAIN = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_TEMPLATE = b"application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"
_OTHERS = {
    b"spreadsheetml": "an Excel workbook", b"presentationml": "a PowerPoint presentation",
}  # fmt: skip
_OVERRIDE = re.compile(rb"<(?:\w+:)?Override\s[^<>]*>")
_PART = re.compile(rb"""PartName\s*=\s*["']/?([^"'<>]{1,200})["']""")
_NOT_A_NAME = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:|\\|[\x00-\x1f]")


class Package:
    """A DOCX as a package within bounds. Raises `Unreadable` for what is none, or hides something."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            _check_end(file)
            self._zip = zipfile.ZipFile(file)
            self._check(file)
            types = self.read(CONTENT_TYPES, 1_000_000)
            self.main = self._main_part(types or b"")
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OSError, EOFError) as error:
            raise _damaged() from error

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes of a part, or None if there is none. Raises `Unreadable` if it is larger than the limit."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            return None
        if info.file_size > limit:
            raise Unreadable(
                FileReason.TOO_COMPLEX, "The document is too large when unpacked. Send the parts that matter."
            )
        try:
            # A part that unpacks to more than it says is cut off there by zipfile, and fails by its checksum.
            with self._zip.open(info) as part:
                return part.read(limit + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
            raise _damaged() from error
        except Exception as error:  # zlib's and lzma's own errors, which have no common base.
            raise _damaged() from error

    def _check(self, file: IO[bytes]) -> None:
        """Whether the directory of the package can be what a word processor writes."""
        infos = self._zip.infolist()
        size = file.seek(0, 2)
        if any(info.flag_bits & 0x1 for info in infos):
            raise Unreadable(FileReason.ENCRYPTED, "The document is encrypted. Save it without a password.")
        unpacked = sum(info.file_size for info in infos)
        swollen = any(
            info.file_size > RATIO_FROM and info.file_size > MAX_RATIO * max(1, info.compress_size) for info in infos
        )
        overlapping = sum(info.compress_size for info in infos) > size
        if len(infos) > MAX_ENTRIES or unpacked > MAX_UNPACKED or swollen or overlapping:
            raise _bomb()
        names = [info.filename for info in infos]
        twice = len(set(map(str.casefold, names))) < len(names)
        if twice or any(_NOT_A_NAME.search(info.orig_filename) for info in infos):
            raise _damaged()
        file.seek(size - 22 - len(self._zip.comment))
        if file.read(4) != _END or min((info.header_offset for info in infos), default=0) != 0:
            # Something before or after: another program would take it for another file.
            raise _damaged()

    def _main_part(self, types: bytes) -> str:
        names = self._zip.NameToInfo
        if any(name.casefold().endswith("vbaproject.bin") for name in names) or b"macroEnabled" in types:
            raise Unreadable(FileReason.MACROS, "The document has macros. Save it as .docx, without them.")
        for override in _OVERRIDE.findall(types):
            if (_MAIN in override or _TEMPLATE in override) and (part := _PART.search(override)):
                name = part[1].decode("utf-8", "replace")
                if name in names:
                    return name
        for mark, what in _OTHERS.items():
            if mark in types:
                raise Unreadable(FileReason.UNSUPPORTED, f"The file is {what}. Save what matters of it as PDF or DOCX.")
        if "mimetype" in names and b"opendocument" in (self.read("mimetype", 1_000) or b""):
            raise Unreadable(FileReason.UNSUPPORTED, "The file is an OpenDocument file. Save it as DOCX or PDF.")
        if "[Content_Types].xml" in names:
            raise _damaged()
        raise Unreadable(FileReason.UNSUPPORTED, "The file is a ZIP archive. Send the files in it.")


def _check_end(file: IO[bytes]) -> None:
    """Whether the directory is small enough to be read: zipfile makes an object of every entry before it tells of any
    (APPNOTE 4.3.16). Packages of more than 4 GB, which have another end, are none of ours."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = file.read()
    at = len(tail) - 22 if tail[-22:-18] == _END and tail[-2:] == b"\0\0" else tail.rfind(_END)
    if at < 0 or tail[max(0, at - 20) : max(0, at - 16)] == _END_64:
        raise _damaged()
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MAX_DIRECTORY:
        raise _bomb()


def _bomb() -> Unreadable:
    return Unreadable(FileReason.BOMB, "The document is far larger when unpacked than any document is.")


def _damaged() -> Unreadable:
    return Unreadable(FileReason.MALFORMED, "The document is damaged. Open it in a word processor and save it anew.")
