"""Files of every kind that is taken, as small as they can be, and the means to make bad ones."""

import io
import json
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

from core.contracts.files import FileKind

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def png(width: int = 2, height: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 6)) + chunk(b"IEND", b"")


def jpeg(width: int = 2, height: int = 2) -> bytes:
    frame = b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(9) + frame + b"\xff\xda\x00\x08\x01\x01\0\0?\0data\xff\xd9"


def webp(chunk: bytes, width: int, height: int) -> bytes:
    """The head of a WebP, which is all that is looked at."""
    if chunk == b"VP8X":
        sides = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif chunk == b"VP8L":
        sides = b"\x2f" + (width - 1 | height - 1 << 14).to_bytes(4, "little")
    else:
        sides = b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    data = b"WEBP" + chunk + struct.pack("<I", len(sides)) + sides
    return b"RIFF" + struct.pack("<I", len(data)) + data


def wav() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(2_000))
    return made.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def iso(brand: bytes, *handlers: bytes) -> bytes:
    """An MP4 with tracks of these handlers, its data last."""
    tracks = (box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), handler, bytes(13)))) for handler in handlers)
    return box(b"ftyp", brand, bytes(4), b"isom") + box(b"moov", *tracks) + box(b"mdat", bytes(500))


def webm() -> bytes:
    doctype = b"\x42\x82\x84webm"
    return b"\x1aE\xdf\xa3" + bytes((0x80 | len(doctype),)) + doctype + b"\x18\x53\x80\x67\x41\x00" + bytes(256)


def zipped(entries: Iterable[tuple[str, bytes | str]], packed: bool = True) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return made.getvalue()


def docx(body: str, parts: dict[str, Any] | None = None, *, main: str = MAIN, head: str = "") -> bytes:
    """A DOCX around the XML of a body; the part `styles` is `word/styles.xml`, names with a slash stand as they are."""
    types = f'<Types><Override PartName="/word/document.xml" ContentType="{main}"/></Types>'
    document = f'<?xml version="1.0"?>{head}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    others = [(name if "/" in name else f"word/{name}.xml", data) for name, data in (parts or {}).items()]
    return zipped([("[Content_Types].xml", types), ("word/document.xml", document), *others])


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def pdf(objects: dict[int, bytes | str], trailer: str = "", header: bytes = b"%PDF-1.7\n") -> bytes:
    """A PDF of numbered objects; 1 is its catalog."""
    made, places = bytearray(header), dict[int, int]()
    for number, content in objects.items():
        places[number] = len(made)
        data = content.encode() if isinstance(content, str) else content
        made += b"%d 0 obj\n%b\nendobj\n" % (number, data)
    start, size = len(made), max(objects) + 1
    made += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        made += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
    made += f"trailer\n<</Size {size}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(made)


def stream(data: bytes | str, entries: str = "", pack: bool = False) -> bytes:
    content = data.encode() if isinstance(data, str) else data
    content = zlib.compress(content) if pack else content
    return (
        f"<</Length {len(content)}{'/Filter/FlateDecode' if pack else ''}{entries}>>\nstream\n".encode()
        + content
        + b"\nendstream"
    )


def pages(
    *contents: str | bytes, box: str = "0 0 600 800", resources: str = "", pack: bool = False
) -> dict[int, bytes | str]:
    """The objects of a PDF whose pages show these contents, in Helvetica as /F1 and bold as /F2."""
    numbers = range(10, 10 + 2 * len(contents), 2)
    made: dict[int, bytes | str] = {
        1: "<</Type/Catalog/Pages 2 0 R>>",
        2: f"<</Type/Pages/Count {len(contents)}/Kids[{' '.join(f'{n} 0 R' for n in numbers)}]>>",
        3: "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        4: "<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold/Encoding/WinAnsiEncoding>>",
    }
    for number, content in zip(numbers, contents, strict=True):
        made[number] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents {number + 1} 0 R"
            f"/Resources<</Font<</F1 3 0 R/F2 4 0 R>>{resources}>>>>"
        )
        made[number + 1] = stream(content, pack=pack)
    return made


def shown(*lines: tuple[float, float, str], size: float = 10, font: str = "F1") -> str:
    """Operators that show lines at their places."""
    return "".join(f"BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET\n" for x, y, text in lines)


def _mp3() -> bytes:
    return 4 * (b"\xff\xfb\x90\x00" + bytes(413))


def _ogg() -> bytes:
    return b"OggS\0\x02" + bytes(20) + b"\x01\x1e" + bytes(30)


TEXT_PDF = pdf(pages(shown((50, 700, "The river rose at noon."), (50, 688, "It fell by night."))))
GOOD: dict[FileKind, bytes] = {
    FileKind.TEXT: "Größe: 3\n\nالنهر".encode(),
    FileKind.MARKDOWN: b"# Title\n\ntext",
    FileKind.HTML: b"<!doctype html><p>text</p>",
    FileKind.JSON: json.dumps({"a": [1, 2.5, None, "é"]}).encode(),
    FileKind.PDF: TEXT_PDF,
    FileKind.DOCX: docx(paragraph("The river rose.")),
    FileKind.PNG: png(),
    FileKind.JPEG: jpeg(),
    FileKind.WEBP: b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0",
    FileKind.GIF: b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    FileKind.MP3: b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + _mp3(),
    FileKind.WAV: wav(),
    FileKind.M4A: iso(b"M4A ", b"soun"),
    FileKind.OGG: _ogg(),
    FileKind.FLAC: b"fLaC\x80\0\0\x22" + bytes(34) + b"\xff\xf8" + bytes(40),
    FileKind.MP4: iso(b"isom", b"vide", b"soun"),
    FileKind.WEBM: webm(),
    FileKind.MOV: iso(b"qt  ", b"vide"),
}
