"""What a file really is, and why it is refused."""

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest

from core.contracts.errors import ErrorType
from core.contracts.files import FileKind, FileReason
from core.documents.kinds import KINDS, MAX_JSON_NODES, declared_kind, detect
from core.documents.media_files import LOOKED_AT_ONCE
from core.documents.refused import FileRefusedError
from tests.support import files
from tests.support.files import GOOD

CUT = sorted(set(FileKind) - {FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML, FileKind.MP3, FileKind.FLAC})
DOCX = KINDS[FileKind.DOCX].media_types[0]


def refused(data: bytes | Path, media_type: str | None = None, name: str = "") -> FileReason:
    """Why it is, said to the user in a sentence or two that end with what to do."""
    with pytest.raises(FileRefusedError) as caught:
        detect(data, media_type, name)
    assert caught.value.type is ErrorType.FILE_REFUSED
    assert caught.value.details == {"reason": caught.value.reason}
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 500
    return caught.value.reason


@pytest.mark.parametrize("kind", FileKind)
def test_every_kind_is_told_by_its_content(kind: FileKind, tmp_path: Path) -> None:
    known = KINDS[kind]
    for media_type in known.media_types:
        assert detect(GOOD[kind], f"{media_type.upper()}; charset=utf-8") is kind
    (tmp_path / "file").write_bytes(GOOD[kind])
    assert detect(tmp_path / "file", None, f"../a\x00b\u202e{known.extensions[0].upper()}") is kind
    text = kind in (FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML, FileKind.JSON)
    assert detect(GOOD[kind], "application/octet-stream", "no name") is (FileKind.TEXT if text else kind)


@pytest.mark.parametrize("kind", CUT)
def test_a_file_that_was_cut_off_is_refused(kind: FileKind) -> None:
    whole = GOOD[kind]
    for tenth in range(1, 10):
        part = whole[: len(whole) * tenth // 10]
        reason = refused(part, KINDS[kind].media_types[0])
        if len(part) > 12:
            assert reason in (FileReason.TRUNCATED, FileReason.MALFORMED)
    assert refused(whole[:-5], KINDS[kind].media_types[0]) in (FileReason.TRUNCATED, FileReason.MALFORMED)


@pytest.mark.parametrize("actual", FileKind)
def test_a_file_declared_as_another_kind_is_refused(actual: FileKind) -> None:
    texts = (FileKind.TEXT, FileKind.MARKDOWN, FileKind.HTML)
    for declared in FileKind:
        if declared is actual or (actual in (*texts, FileKind.JSON) and declared in texts):
            continue
        reason = refused(GOOD[actual], KINDS[declared].media_types[0])
        assert reason == (FileReason.MALFORMED if actual in texts and declared is FileKind.JSON else "mislabelled")


def test_it_says_both_kinds() -> None:
    with pytest.raises(FileRefusedError, match=r"declared as a PNG image, but is a JPEG image\."):
        detect(files.jpeg(), "image/png")
    with pytest.raises(FileRefusedError, match=r"declared as a PDF, but is something else \(.*RAR"):
        detect(b"Rar!\x1a\x07\x01\x00" + bytes(200), "application/pdf")


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (b"", "text/plain", "empty"),
        (b"\xef\xbb\xbf \r\n\t\n", "text/plain", "empty"),
        (b"a\x00b", "text/plain", "not_text"),
        ("naïve".encode("latin-1"), "text/markdown", "not_text"),
        (bytes(range(1, 32)) * 100, "text/plain", "not_text"),
        (b"\xff\xfea", "text/plain", "not_text"),
        (bytes(range(256)), None, "unsupported"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(200), None, "unsupported"),
        (b"text", "application/x-sh", "unsupported"),
        (b'{"a": NaN}', "application/json", "malformed"),
        (b'{"a": 1} x', "application/json", "malformed"),
        (b'{"a": [1, 2', "application/json", "truncated"),
        (b"[" * 100_000 + b"]" * 100_000, "application/json", "too_complex"),
        (b"[" + b"[]," * MAX_JSON_NODES + b"[]]", "application/json", "too_complex"),
        (b"1" * 100_000, "application/json", "malformed"),
        (files.png(100_000, 100_000), "image/png", "too_complex"),
        (files.jpeg(60_000, 60_000), "image/jpeg", "too_complex"),
        (files.webp(b"VP8L", 16_384, 16_384), "image/webp", "too_complex"),
        (files.webp(b"VP8 ", 16_383, 16_383), "image/webp", "too_complex"),
        (files.webp(b"VP8X", 100_000, 100_000), "image/webp", "too_complex"),
        (files.webp(b"VP8 ", 0, 1), "image/webp", "malformed"),
        (files.png(0, 1), "image/png", "malformed"),
        (files.png() + b"<script>", "image/png", "malformed"),
        (files.iso(b"heic", b"pict"), "image/png", "unsupported"),
        (b"\x1aE\xdf\xa3\x8b\x42\x82\x88matroska", "video/webm", "unsupported"),
        (files.jpeg() + files.zipped([("a", b"a")]), "image/jpeg", "malformed"),
        (files.TEXT_PDF + files.zipped([("a", b"a")]), "application/pdf", "malformed"),
        (files.jpeg()[:-2] + b"%PDF-1.7" + b"\xff\xd9", "image/jpeg", "malformed"),
        (b"GIF89a\x01\0\x01\0\0\0\0" + files.TEXT_PDF + b";", "image/gif", "malformed"),
    ],
)
def test_what_is_refused(data: bytes, media_type: str | None, reason: str) -> None:
    assert refused(data, media_type) == reason


@pytest.mark.parametrize("text", ["\ufeffé", "one\x0ctwo\ttabs\r\n", "a" * 1_000_000, "\u202eright to left"])
def test_text_is_utf_8_or_utf_16_with_its_mark(text: str) -> None:
    assert detect(text.encode(), "text/plain") is FileKind.TEXT
    assert detect(text.encode("utf-16"), None, "a.md") is FileKind.MARKDOWN


def test_a_character_may_lie_across_pieces() -> None:
    assert detect(b"a" * 999_999 + "é€".encode(), "text/plain") is FileKind.TEXT


def test_pictures_may_be_large() -> None:
    for chunk in (b"VP8L", b"VP8 ", b"VP8X"):
        assert detect(files.webp(chunk, 9_000, 11_000), "image/webp") is FileKind.WEBP


def test_a_track_may_lie_across_pieces() -> None:
    for before in range(LOOKED_AT_ONCE - 20, LOOKED_AT_ONCE + 5):
        tracks = bytes(before) + b"hdlr" + bytes(8) + b"vide"
        made = files.box(b"ftyp", b"isom") + files.box(b"moov", tracks) + files.box(b"mdat", b"x")
        assert detect(made, "video/mp4") is FileKind.MP4, before
        assert refused(made.replace(b"vide", b"text"), "video/mp4") == "malformed"


@pytest.mark.parametrize("kind", [FileKind.TEXT, FileKind.PDF, FileKind.PNG, FileKind.MP4])
def test_sizes_are_bounded(kind: FileKind, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(GOOD[kind][:100] if kind is not FileKind.TEXT else b"a")
        file.truncate(KINDS[kind].max_bytes + 1)
    limited = {FileKind.MP4: "too_large", FileKind.TEXT: "too_large"}
    assert refused(path, KINDS[kind].media_types[0]) == limited.get(kind, "too_large")


def test_a_declared_type_counts_before_the_name() -> None:
    assert declared_kind("image/png", "a.pdf") is FileKind.PNG
    assert declared_kind(None, "a.tar.PDF") is FileKind.PDF
    assert declared_kind("", "a" * 1_000_000 + "/../x.md") is FileKind.MARKDOWN
    assert declared_kind(None, "\x00") is None


def compound(name: str) -> bytes:
    """An OLE container whose directory, in its second sector, has an entry of this name."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + struct.pack("<H", 9) + bytes(16) + struct.pack("<I", 1)
    return head.ljust(1_024, b"\0") + name.encode("utf-16-le").ljust(512, b"\0")


def test_office_files_that_are_not_taken() -> None:
    assert refused(compound("EncryptedPackage"), DOCX) is FileReason.ENCRYPTED
    assert refused(compound("WordDocument"), DOCX) is FileReason.UNSUPPORTED
    sheet = '<Override PartName="/xl/workbook.xml" ContentType="application/x.spreadsheetml.sheet.main+xml"/>'
    assert refused(files.zipped([("[Content_Types].xml", sheet), ("xl/workbook.xml", "")])) is FileReason.UNSUPPORTED
    assert refused(files.zipped([("mimetype", "application/vnd.oasis.opendocument.text")])) is FileReason.UNSUPPORTED
    assert refused(files.zipped([("a.txt", "a")]), DOCX) is FileReason.UNSUPPORTED
    macros = "application/vnd.ms-word.document.macroEnabled.main+xml"
    assert refused(files.docx("", main=macros), DOCX) is FileReason.MACROS
    assert refused(files.docx("", {"word/vbaProject.bin": b"x"}), DOCX) is FileReason.MACROS


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "word/..\\..\\a", "C:/a", "WORD/document.xml"])
def test_names_in_a_package_lead_nowhere_else(name: str) -> None:
    assert refused(files.docx("", {name: b"x"} if "/" in name else {}), DOCX) is FileReason.MALFORMED


def docx_end(data: bytes, directory: int) -> bytes:
    """With another size of the directory in its end."""
    return data[:-10] + struct.pack("<I", directory) + data[-6:]


def test_bombs_in_packages_are_seen_before_they_are_unpacked() -> None:
    assert refused(files.docx("", {"word/media/a": bytes(30_000_000)}), DOCX) is FileReason.BOMB
    many = files.docx("", {f"word/media/{n}": b"" for n in range(6_000)})
    assert refused(many, DOCX) is FileReason.BOMB
    crowded = docx_end(files.docx(""), directory=2_000_000)
    assert refused(crowded, DOCX) is FileReason.BOMB
    # Two entries of the directory are the same bytes: a small file becomes as large as one likes.
    made = bytearray(files.docx("", {"word/media/a": b"a" * 5_000, "word/media/b": bytes(10)}))
    at = made.rfind(b"PK\x01\x02")
    with zipfile.ZipFile(io.BytesIO(made)) as package:
        info = package.getinfo("word/media/a")
    made[at + 20 : at + 24] = struct.pack("<I", len(made))
    assert info.compress_size < 5_000
    assert refused(bytes(made), DOCX) in (FileReason.BOMB, FileReason.MALFORMED)


def test_packages_with_a_lock_or_with_something_around_them() -> None:
    good = files.docx(files.paragraph("a"))
    locked = bytearray(good)
    at = locked.find(b"PK\x01\x02")
    locked[at + 8] |= 1
    assert refused(bytes(locked), DOCX) is FileReason.ENCRYPTED
    assert refused(good + b"<script>alert(1)</script>", DOCX) is FileReason.MALFORMED
    assert refused(b"MZ" + good, DOCX) is FileReason.MISLABELLED


def test_json_within_bounds() -> None:
    assert detect(json.dumps(list(range(100_000))).encode(), "application/json") is FileKind.JSON
