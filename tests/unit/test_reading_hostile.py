"""Files that mean harm: each is refused or read within bounds, and who asked lives on."""

import asyncio
import io
import os
import socket
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pypdf import PdfReader, PdfWriter

from core.contracts.files import FileKind, FileReason
from core.contracts.reading import ReadDocument
from core.documents.extraction import STANDARD, Limits, as_markdown, check, extract
from core.documents.reader import pdf_operators
from core.documents.reader.docx import read_docx
from core.documents.reader.found import Bounds, Found, Unreadable
from core.documents.reader.markup import read_markdown, read_text
from core.documents.reader.pdf import check_pdf, read_pdf
from core.documents.reader.pdf_operators import operators
from core.documents.refused import FileRefusedError
from tests.support import files
from tests.support.files import docx, pages, paragraph, pdf, shown, stream
from tests.support.stack import eventually

BOUNDS = Bounds()
SMALL = replace(STANDARD, memory=400 << 20, cpu_seconds=4, seconds=30.0)


async def outcome(data: bytes | Path, kind: FileKind, limits: Limits = SMALL) -> ReadDocument | FileReason:
    """What was read, or why it was not."""
    try:
        return await extract(data, kind, limits)
    except FileRefusedError as refused:
        return refused.reason


def read(data: bytes) -> Found | FileReason:
    """A PDF read in this process: for what is known to be harmless."""
    try:
        return read_pdf(data, BOUNDS)
    except Unreadable as refused:
        return refused.reason


@contextmanager
def nobody_asked() -> Iterator[str]:
    """The address of a server that must not be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x"
        with pytest.raises(BlockingIOError):
            server.accept()


def readers() -> list[psutil.Process]:
    """The processes that read for this one."""
    return [child for child in psutil.Process().children(recursive=True) if "core.documents.reader" in child.cmdline()]


# --- PDF -----------------------------------------------------------------------------------------------------------


def objects(**changed: bytes | str) -> bytes:
    """A PDF of one page, with other objects in their places: `o2="..."`."""
    made = pages(shown((50, 700, "Some text.")))
    made.update({int(name[1:]): content for name, content in changed.items()})
    return pdf(made)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (objects(o2="<</Type/Pages/Count 1/Kids[2 0 R]>>"), {"malformed", "too_complex"}),
        (objects(o2="<</Type/Pages/Kids[5 0 R]>>", o5="<</Type/Pages/Kids[2 0 R]>>"), {"malformed", "too_complex"}),
        (objects(o1="<</Type/Catalog/Pages 1 0 R>>"), {"malformed"}),
        (objects(o2="<</Type/Pages/Count 99999999/Kids[]>>"), {"malformed", "too_complex"}),
        (objects(o3="3 0 R"), {"no_text", "malformed"}),
        (objects(o11="11 0 R"), {"no_text", "malformed", "too_complex"}),
        (objects(o11="[11 0 R 11 0 R]"), {"no_text", "malformed", "too_complex"}),
        (objects(o10="<</Type/Page/Parent 10 0 R/Contents 11 0 R>>"), {"no_text", "malformed"}),
        (objects(o3="<</Type/Font/Subtype/Type0/DescendantFonts[3 0 R]/ToUnicode 3 0 R>>"), {"no_text", "malformed"}),
        (objects(o1="[" * 5_000 + "]" * 5_000), {"too_complex", "malformed"}),
        (objects(o1="<</A" * 5_000 + ">>" * 5_000), {"too_complex", "malformed"}),
        (objects(o11=stream("q " * 100_000 + "[" * 100_000 + "BT /F1 1e999 Tf (x) Tj")), {"no_text"}),
        (objects(o11=stream("BT /F1 10 Tf (a) Tj " + "(" * 100_000)), {"read"}),
        (pdf(pages(shown((50, 99_000, "On a huge page.")), box="0 0 100000 100000")), {"read"}),
        (pdf(pages(shown((50, 9, "On a page that is none.")), box="9 9 9 9")), {"read"}),
        (pdf(pages(shown((1e30, -1e30, "Far away.")), box="nan 0 0 0")), {"no_text", "malformed"}),
        (b"%PDF-1.7\n" + os.urandom(50_000) + b"\nstartxref\n9\n%%EOF", {"malformed", "too_complex"}),
        (b"%PDF-1.7\nstartxref\n0\n%%EOF", {"malformed"}),
        (b"", {"malformed"}),
    ],
)  # fmt: skip
def test_pdfs_that_go_in_circles_or_lead_nowhere(data: bytes, expected: set[str]) -> None:
    try:
        found = read(data)
    except RecursionError:
        # The process that reads files says so for all kinds.
        found = FileReason.TOO_COMPLEX
    assert (str(found) if isinstance(found, FileReason) else "read") in expected


def test_a_pdf_cut_at_every_tenth() -> None:
    whole = files.TEXT_PDF
    for tenth in range(1, 10):
        found = read(whole[: len(whole) * tenth // 10])
        assert found in (FileReason.MALFORMED, FileReason.NO_TEXT, FileReason.TOO_COMPLEX) or isinstance(found, Found)


def encrypted(password: str, algorithm: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(files.TEXT_PDF)))
    writer.encrypt(password, "owner", algorithm=algorithm)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_with_a_password_is_refused_and_one_that_only_forbids_printing_is_read(algorithm: str) -> None:
    assert read(encrypted("secret", algorithm)) is FileReason.ENCRYPTED
    with pytest.raises(Unreadable, match="password"):
        check_pdf(encrypted("secret", algorithm), BOUNDS)
    found = read(encrypted("", algorithm))
    assert isinstance(found, Found)
    assert found.blocks[0].text.startswith("The river rose")


def test_scripts_and_files_in_a_pdf_are_left_alone() -> None:
    action = (
        "<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>/Names<</EmbeddedFiles 5 0 R>>>>"
    )
    found = read(objects(o1=action, o5="<</Names[(a.exe) 6 0 R]>>", o6=stream("MZ", "/Type/EmbeddedFile")))
    assert isinstance(found, Found)
    assert [block.text for block in found.blocks] == ["Some text."]


def test_operators_take_linear_time_whatever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (b"(", b"[", b"<<", b"(\\", b"%", b"9", b"/", b" ", b"<", b"ID ", b"(a", b"\\", b"BI ID EI"):
        assert sum(1 for _ in operators(bad * 20_000)) <= 80_000
    monkeypatch.setattr(pdf_operators, "MAX_TOKENS", 10_000)
    with pytest.raises(Unreadable):
        list(operators(b"1 " * 10_001))


async def test_pdfs_that_unpack_to_much_are_refused_within_bounds() -> None:
    bomb = zlib.compress(zlib.compress(bytes(100_000_000), 9), 9)
    packed = f"<</Length {len(bomb)}/Filter[/FlateDecode/FlateDecode]>>\nstream\n".encode() + bomb + b"\nendstream"
    much = pages(shown(*((50, 700 - n % 60 * 10, "words " * 30) for n in range(20_000))), pack=True)
    much[2] = f"<</Type/Pages/Count 200/Kids[{'10 0 R ' * 200}]>>"
    forms = pages("/X1 Do " * 1_000, resources="/XObject<</X1 5 0 R>>")
    forms[5] = stream(
        "/X1 Do " * 50 + shown((9, 9, "x")), "/Type/XObject/Subtype/Form/Resources<</XObject<</X1 6 0 R>>>>"
    )
    forms[6] = stream("/X1 Do " * 50, "/Type/XObject/Subtype/Form/Resources<</XObject<</X1 5 0 R>>>>")
    before = psutil.Process().memory_info().rss
    less = replace(SMALL, bounds=Bounds(characters=100_000))
    found = await asyncio.gather(
        *(outcome(one, FileKind.PDF, less) for one in (objects(o11=packed), pdf(much), pdf(forms)))
    )
    assert found == [FileReason.TOO_COMPLEX] * 3
    assert psutil.Process().memory_info().rss - before < 60_000_000
    assert readers() == []


# --- DOCX ----------------------------------------------------------------------------------------------------------

LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(12)
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (docx(paragraph("&m;"), head=LAUGHS + "]>"), "malformed"),
        (docx(paragraph("a"), {"styles": "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>"}), "malformed"),
        (docx(paragraph("a"), {"numbering": "<!DOCTYPE x><x/>".encode("utf-16")}), "malformed"),
        (docx("<w:sdt>" * 5_000 + "</w:sdt>" * 5_000), "too_complex"),
        (docx("<w:p>"), "malformed"),
        (docx(""), "no_text"),
        (docx("<w:tbl>" * 50 + "</w:tbl>" * 50), "no_text"),
        (files.zipped([("[Content_Types].xml", "")]), "malformed"),
        (b"PK\x05\x06" + bytes(18), "unsupported"),
        (docx(paragraph("a"))[:-30], "malformed"),
    ],
)
def test_documents_that_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_docx(data, BOUNDS)
    assert caught.value.reason == reason


def test_no_entity_reaches_a_file_or_the_network(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with nobody_asked() as url:
        for address in (url, f"file://{tmp_path}/secret"):
            for head in (f"<!DOCTYPE x [<!ENTITY e SYSTEM '{address}'>]>", f"<!DOCTYPE x SYSTEM '{address}'>"):
                with pytest.raises(Unreadable):
                    read_docx(docx(paragraph("&e;"), head=head), BOUNDS)
        outside = f'Type="attachedTemplate" Target="{url}" TargetMode="External"'
        template = f'<Relationships><Relationship Id="r" {outside}/></Relationships>'
        found = read_docx(docx(paragraph("a"), {"word/_rels/document.xml.rels": template}), BOUNDS)
        assert [block.text for block in found.blocks] == ["a"]


def test_embedded_files_are_not_unpacked() -> None:
    body = "<w:p><w:r><w:object><w:t>gone</w:t></w:object><w:t>kept</w:t></w:r></w:p>"
    damaged = bytearray(docx(body, {"word/embeddings/a.bin": os.urandom(500)}))
    at = damaged.find(b"word/embeddings/a.bin") + 50
    damaged[at : at + 100] = bytes(100)
    assert [block.text for block in read_docx(bytes(damaged), BOUNDS).blocks] == ["kept"]


def test_a_part_that_is_larger_than_it_says_is_refused() -> None:
    made = bytearray(docx(paragraph("a" * 100_000)))
    at = made.find(b"PK\x01\x02", made.find(b"PK\x01\x02") + 4)
    made[at + 24 : at + 28] = (500).to_bytes(4, "little")
    with pytest.raises(Unreadable) as caught:
        read_docx(bytes(made), BOUNDS)
    assert caught.value.reason is FileReason.MALFORMED


# --- text ----------------------------------------------------------------------------------------------------------


def test_long_lines_and_deep_nesting_are_read() -> None:
    line = b"word " * 200_000
    assert len(read_text(line, BOUNDS).blocks) == 1
    assert len(read_text(b"a" * 1_000_000 + b"\x00", BOUNDS).blocks[0].text) == 1_000_000
    assert read_markdown(b"> " * 50 + b"a", BOUNDS).blocks[0].text == "a"
    with pytest.raises(Unreadable):
        read_markdown(b"> " * 2_000 + b"a", BOUNDS)
    assert read_markdown(b"*a " * 3_000 + b"[" * 3_000, BOUNDS).blocks


# --- the process ---------------------------------------------------------------------------------------------------


def endless() -> bytes:
    """A PDF that takes minutes: the pages of its tree are one page of two million operators."""
    made = pages("1 0 0 1 0 0 cm " * 130_000 + shown((9, 9, "x")), pack=True)
    made[2] = f"<</Type/Pages/Count 2000/Kids[{'10 0 R ' * 2_000}]>>"
    return pdf(made)


async def test_time_memory_and_output_are_bounded() -> None:
    line = paragraph("word " * 20)
    large = docx("".join(paragraph(f"{n * 7919:x} " * 3) for n in range(200_000)))
    refusals: list[ReadDocument | FileReason] = []
    refusals += await asyncio.gather(
        outcome(endless(), FileKind.PDF, replace(SMALL, cpu_seconds=1)),
        outcome(endless(), FileKind.PDF, replace(SMALL, seconds=0.7)),
        outcome(large, FileKind.DOCX, replace(SMALL, memory=150 << 20)),
        outcome(docx(line * 5_000), FileKind.DOCX, replace(SMALL, output=10_000)),
        outcome(docx(line), FileKind.DOCX, replace(SMALL, memory=1 << 20)),
        outcome(b"a", FileKind.PNG),
    )
    assert refusals == [FileReason.TOO_COMPLEX] * 5 + [FileReason.UNSUPPORTED]
    assert readers() == []


async def test_a_cancelled_reading_leaves_no_process_and_knew_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    task = asyncio.create_task(extract(endless(), FileKind.PDF, STANDARD))
    while not (started := await asyncio.to_thread(readers)):
        assert not task.done()
    assert "SOME_API_KEY" not in started[0].environ()
    assert "secret" not in " ".join(started[0].cmdline())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(process.is_running() for process in started)


READING = """
import asyncio, sys
from pathlib import Path
from core.contracts.files import FileKind
from core.documents.extraction import extract
asyncio.run(extract(Path(sys.argv[1]), FileKind.TEXT))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no kernel does it")
async def test_a_reading_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    never = tmp_path / "never ends"
    os.mkfifo(never)
    # Open for writing too, so that neither who asks nor the reader waits to open it, and its end never comes.
    held = os.open(never, os.O_RDWR)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    who = await asyncio.create_subprocess_exec(sys.executable, "-c", READING, never, env=environment)
    try:
        asked = psutil.Process(who.pid)
        (reader,) = await eventually(lambda: asyncio.to_thread(asked.children), lambda found: len(found) == 1)
        # Then it waits for its input, and has done all that comes before.
        await eventually(lambda: asyncio.to_thread(is_confined, reader), bool)
    finally:
        who.kill()
        await who.wait()
    await eventually(lambda: asyncio.to_thread(is_gone, reader), bool)
    os.close(held)


def is_confined(reader: psutil.Process) -> bool:
    return Path(f"/proc/{reader.pid}/limits").read_text().count(str(STANDARD.memory)) == 2


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_what_lies_in_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pypdf", "lxml", "json", "core"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(await outcome(docx(paragraph("Well.")), FileKind.DOCX), ReadDocument)
    assert not (tmp_path / "ran").exists()


async def test_many_at_once_are_read_and_the_parent_stays_small() -> None:
    good = docx(paragraph("All is well."))
    bad = docx("<w:sdt>" * 5_000)
    before = psutil.Process().memory_info().rss
    found = await asyncio.gather(*(outcome(data, FileKind.DOCX) for data in (good, bad) * 3))
    assert [as_markdown(one) if isinstance(one, ReadDocument) else one for one in found] == [
        "All is well.\n",
        FileReason.TOO_COMPLEX,
    ] * 3
    assert psutil.Process().memory_info().rss - before < 60_000_000
    assert readers() == []


async def test_checking_finds_what_only_opening_shows() -> None:
    await check(files.TEXT_PDF, FileKind.PDF)
    await check(pdf(pages("10 10 50 50 re f")), FileKind.PDF)
    await check(files.png(), FileKind.PNG)
    for data, reason in (
        (encrypted("secret", "AES-256"), "encrypted"),
        (objects(o1="<</Type/Catalog/Pages 1 0 R>>"), "malformed"),
    ):
        with pytest.raises(FileRefusedError) as caught:
            await check(data, FileKind.PDF)
        assert caught.value.reason == reason
