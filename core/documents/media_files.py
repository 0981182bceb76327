"""Images, audio and video: what their first bytes say, and whether they are whole. Nothing is decoded.

What cannot be told without decoding is not: an MP3 or a FLAC that was cut off is shorter, and still one.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import IO

from core.contracts.files import FileKind, FileReason
from core.documents.reader.found import Unreadable

MAX_PIXELS = 100_000_000
"""Of a picture: it takes four bytes each once it is unpacked."""
MAX_BOXES = 10_000
"""Boxes, chunks or segments that are walked through."""
MAX_MOOV = 64 << 20
LOOKED_AT_ONCE = 1 << 20
"""Bytes: a search holds up all other threads."""
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_BITRATES = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
_HANDLER = re.compile(rb"hdlr.{8}(vide|soun)", re.DOTALL)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def sniff(head: bytes, source: IO[bytes], size: int) -> FileKind | None:
    """The kind that the first bytes say. Raises `Unreadable` for relatives that are not taken."""
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", FileKind.PNG), (b"\xff\xd8\xff", FileKind.JPEG), (b"GIF87a", FileKind.GIF),
        (b"GIF89a", FileKind.GIF), (b"fLaC", FileKind.FLAC), (b"OggS", FileKind.OGG),
    ):  # fmt: skip
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": FileKind.WEBP, b"WAVE": FileKind.WAV}.get(head[8:12])
    if head[:4] == b"\x1aE\xdf\xa3":
        if b"webm" in head[:64]:
            return FileKind.WEBM
        raise Unreadable(FileReason.UNSUPPORTED, "Matroska files are not taken. Convert it to WebM or MP4.")
    if head[4:8] in _BOXES:
        return _iso(head, source, size)
    if head[:3] == b"ID3" or _frame(head, 0):
        return FileKind.MP3
    return None


def _iso(head: bytes, source: IO[bytes], size: int) -> FileKind:
    """MP4, MOV or M4A: by brand, and by whether there is a track of video (ISO/IEC 14496-12, 4.3 and 8.4.3)."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
    if brand in _IMAGE_BRANDS:
        raise Unreadable(FileReason.UNSUPPORTED, "HEIC and AVIF images are not taken. Convert it to JPEG or PNG.")
    if brand == b"qt  ":
        return FileKind.MOV
    handlers = _handlers(source, size)
    return FileKind.MP4 if b"vide" in handlers or not handlers else FileKind.M4A


def _moov(source: IO[bytes], size: int) -> bytes:
    """The box that describes the tracks. Raises `Unreadable` if it or the data is missing, or a box is not whole."""
    found, data = b"", False
    at = 0
    for _ in range(MAX_BOXES):
        if at >= size:
            break
        source.seek(at)
        header = source.read(16)
        if len(header) < 8:
            raise _cut()
        length, kind, start = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), at + 16
        end = size if length == 0 else at + length
        if end > size or end < start:
            raise _cut()
        if kind == b"moov":
            source.seek(start)
            found = source.read(min(end - start, MAX_MOOV))
        data = data or kind == b"mdat"
        at = end
    if not found or not data:
        raise _cut()
    return found


def _handlers(source: IO[bytes], size: int) -> set[bytes]:
    """What the tracks are of: `vide`, `soun`. Raises as `_moov` does."""
    moov, found = _moov(source, size), set[bytes]()
    for at in range(0, len(moov), LOOKED_AT_ONCE):
        found.update(_HANDLER.findall(moov, at, at + LOOKED_AT_ONCE + 15))
    return found


def _check_iso(source: IO[bytes], size: int) -> None:
    if not _handlers(source, size):
        raise _damaged()


def _check_png(source: IO[bytes], size: int) -> None:
    """Chunk after chunk up to the last, which is the file's end (RFC 2083, 3.2)."""
    at = 8
    for _ in range(MAX_BOXES):
        source.seek(at)
        header = source.read(16)
        if len(header) < 8:
            raise _cut()
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if at == 8:
            source.seek(16)
            width, height = struct.unpack(">II", source.read(8).ljust(8, b"\0"))
            if kind != b"IHDR":
                raise _damaged()
            _pixels(width, height)
        at += 12 + length
        if at > size:
            raise _cut()
        if kind == b"IEND":
            if at != size:
                raise _damaged()
            return
    raise _damaged()


def _check_jpeg(source: IO[bytes], size: int) -> None:
    """Segments up to the picture's size, and an end somewhere: cameras put films and previews behind it."""
    at = 2
    for _ in range(MAX_BOXES):
        source.seek(at)
        header = source.read(9)
        if len(header) < 9:
            raise _cut()
        if header[0] != 0xFF:
            raise _damaged()
        if header[1] in _SOF:
            _pixels(int.from_bytes(header[7:9], "big"), int.from_bytes(header[5:7], "big"))
            break
        at += 1 if header[1] == 0xFF else 2 + int.from_bytes(header[2:4], "big")
    else:
        raise _damaged()
    if not _holds(source, at, size, b"\xff\xd9"):
        raise _cut()


def _holds(source: IO[bytes], at: int, size: int, wanted: bytes) -> bool:
    """Whether a file holds something, looked for from its end."""
    end = size
    while end > at:
        start = max(at, end - (1 << 20))
        source.seek(start)
        if wanted in source.read(end - start):
            return True
        if start == at:
            return False
        end = start + len(wanted) - 1
    return False


def _check_gif(source: IO[bytes], size: int) -> None:
    source.seek(6)
    _pixels(*struct.unpack("<HH", source.read(4).ljust(4, b"\0")))
    source.seek(max(0, size - 64))
    if not source.read().rstrip(b"\0").endswith(b";"):
        raise _cut()


def _check_riff(source: IO[bytes], size: int) -> None:
    """The length that the file says; recorders that were stopped leave it at 0 or at its greatest."""
    source.seek(0)
    head = source.read(30).ljust(30, b"\0")
    length = int.from_bytes(head[4:8], "little")
    if length not in (0, 0xFFFFFFFF) and length + 8 > size + 1:
        raise _cut()
    if head[12:16] == b"VP8X":
        _pixels(1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little"))
    elif head[12:16] == b"VP8L":  # RFC 9649, 3.4: twice 14 bits behind a signature
        sides = int.from_bytes(head[21:25], "little")
        _pixels(1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF))
    elif head[12:16] == b"VP8 ":  # RFC 6386, 9.1
        _pixels(int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF)
    elif head[8:12] == b"WAVE" and size < 44:
        raise _cut()


def _check_webm(source: IO[bytes], size: int) -> None:
    """Its two elements and their lengths (RFC 8794, 4 and 6); a live recording's is not known."""
    source.seek(4)
    length, at = _vint(source, 4)
    at += length or 0
    source.seek(at)
    if source.read(4) != b"\x18\x53\x80\x67":
        raise _cut() if at + 4 > size else _damaged()
    body, start = _vint(source, at + 4)
    if start >= size or (body is not None and start + body > size):
        raise _cut()


def _vint(source: IO[bytes], at: int) -> tuple[int | None, int]:
    """A length of EBML, None if it is unknown; and where it ends."""
    source.seek(at)
    first = source.read(1)
    width = 9 - first[0].bit_length() if first else 9
    rest = source.read(width - 1)
    if width > 8 or len(rest) < width - 1:
        raise _cut()
    value = int.from_bytes(bytes((first[0] & ((1 << (8 - width)) - 1),)) + rest, "big")
    return (None if value == (1 << (7 * width)) - 1 else value), at + width


def _check_ogg(source: IO[bytes], size: int) -> None:
    """The last page is whole (RFC 3533, 6)."""
    start = max(0, size - 70_000)
    source.seek(start)
    tail = source.read()
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    segments = page[26] if len(page) > 26 else 256
    if len(page) < 27 + segments or len(page) < 27 + segments + sum(page[27 : 27 + segments]):
        raise _cut()


def _check_flac(source: IO[bytes], size: int) -> None:
    """Blocks of metadata, and something behind them (RFC 9639, 8)."""
    at = 4
    for _ in range(MAX_BOXES):
        source.seek(at)
        header = source.read(4)
        if len(header) < 4:
            raise _cut()
        at += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            break
    if at >= size:
        raise _cut()


def _check_mp3(source: IO[bytes], size: int) -> None:
    """Two frames, one behind the other, after the tag that may stand before them (ISO/IEC 11172-3, 2.4.1)."""
    source.seek(0)
    tag, at = source.read(10), 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    if at >= size:
        raise _cut()
    source.seek(at)
    data = source.read(1 << 16)
    if not any(_frame(data, start) for start in _starts(data)):
        raise _damaged()


def _starts(data: bytes) -> Iterator[int]:
    at = data.find(b"\xff")
    while at >= 0:
        yield at
        at = data.find(b"\xff", at + 1)


def _frame(data: bytes, at: int) -> bool:
    """Whether a frame of layer III begins here, and the next where it ends."""
    if not (length := _frame_length(data[at : at + 4])):
        return False
    return len(data) <= at + length or bool(_frame_length(data[at + length : at + length + 4]))


def _frame_length(header: bytes) -> int:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer, bitrate, rate = header[1] >> 3 & 3, header[1] >> 1 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    kilobits = _MP3_BITRATES[version == 3][bitrate - 1]
    return (144 if version == 3 else 72) * kilobits * 1_000 // _MP3_RATES[version][rate] + (header[2] >> 1 & 1)


def _pixels(width: int, height: int) -> None:
    if not width or not height:
        raise _damaged()
    if width * height > MAX_PIXELS:
        message = (
            f"The picture has {width} × {height} pixels; {MAX_PIXELS // 1_000_000} million are taken. Make it smaller."
        )
        raise Unreadable(FileReason.TOO_COMPLEX, message)


def _cut() -> Unreadable:
    return Unreadable(FileReason.TRUNCATED, "The file has no end: it was cut off on its way. Send it again.")


def _damaged() -> Unreadable:
    return Unreadable(FileReason.MALFORMED, "The file is damaged, or has something behind its end. Save it anew.")


CHECKS: dict[FileKind, Callable[[IO[bytes], int], None]] = {
    FileKind.PNG: _check_png,
    FileKind.JPEG: _check_jpeg,
    FileKind.GIF: _check_gif,
    FileKind.WEBP: _check_riff,
    FileKind.WAV: _check_riff,
    FileKind.MP3: _check_mp3,
    FileKind.M4A: _check_iso,
    FileKind.OGG: _check_ogg,
    FileKind.FLAC: _check_flac,
    FileKind.MP4: _check_iso,
    FileKind.WEBM: _check_webm,
    FileKind.MOV: _check_iso,
}
