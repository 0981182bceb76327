"""Text out of a PDF. What is a picture is not read: pages without text are said to have none."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pypdf import PasswordType, PdfReader, overwrite_configuration
from pypdf.errors import LimitReachedError, PyPdfError

from core.contracts.files import BlockKind, FileReason
from core.documents.reader.found import Bounds, Collected, Found, Unreadable
from core.documents.reader.pdf_layout import blocks_of
from core.documents.reader.pdf_lines import lines_of
from core.documents.reader.pdf_runs import PageReader, PageText
from core.documents.text import clean, one_line

MOST_UNREADABLE = 0.3
"""Of a page's characters may be none that can be read (fonts without a table of them); else it has no text."""
MOST_ARTIFACTS = 0.5
"""Of the text may be marked as heads and feet: files where more is are marked wrongly, and all of it is read."""
_PROGRAMS = ("Microsoft Word - ", "Microsoft PowerPoint - ", "untitled", "Untitled")


def read_pdf(data: bytes, bounds: Bounds) -> Found:
    """The text of a PDF in reading order. Raises `Unreadable`."""
    with _refusing():
        return _read(_open(data), bounds)


def check_pdf(data: bytes, bounds: Bounds) -> Found:
    """Whether a PDF opens: its title and its number of pages, without its text. Raises `Unreadable`."""
    with _refusing():
        reader = _open(data)
        _within(len(reader.pages), bounds)
        return Found(title=_title(reader), pages=len(reader.pages))


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except LimitReachedError as error:
        message = "The PDF is too complex to be read. Print it to a simpler PDF."
        raise Unreadable(FileReason.TOO_COMPLEX, message) from error
    except (PyPdfError, AttributeError, KeyError, IndexError, TypeError, ValueError, NotImplementedError) as error:
        # pypdf takes for granted that an object is what it should be; where it is not, Python's own errors say so.
        raise Unreadable(FileReason.MALFORMED, "The PDF is damaged. Save or print it anew.") from error


def _open(data: bytes) -> PdfReader:
    # It warns of every flaw, which nobody reads; and it would start a program for pictures, which nobody needs.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    overwrite_configuration(jbig2dec_binary=None, page_tree_maximum_page_entries=200_000)
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise Unreadable(FileReason.ENCRYPTED, "The PDF needs a password. Save it without one.")
    return reader


def _within(pages: int, bounds: Bounds) -> None:
    if pages > bounds.pages:
        message = f"The PDF has {pages} pages; {bounds.pages} can be read. Send the parts that matter."
        raise Unreadable(FileReason.TOO_COMPLEX, message)
    if not pages:
        raise Unreadable(FileReason.MALFORMED, "The PDF has no pages. Save or print it anew.")


def _read(reader: PdfReader, bounds: Bounds) -> Found:
    _within(len(reader.pages), bounds)
    runs = PageReader(bounds.characters)
    pages = [runs.read(page, number) for number, page in enumerate(reader.pages, 1)]
    without = [page.number for page in pages if not _has_text(page) and page.drawn]
    _leave_out(pages)
    collected = Collected(bounds)
    for block in blocks_of(lines_of(pages)):
        block.text = clean(block.text)
        block.rows = [[clean(cell) for cell in row] for row in block.rows]
        collected.add(block)
    if not collected.blocks:
        message = "The PDF has no text, only pictures of it or nothing. Send one with text, for example after OCR."
        raise Unreadable(FileReason.NO_TEXT, message)
    title = _title(reader)
    if title is None:
        first = (block.text for block in collected.blocks if block.kind is BlockKind.HEADING and block.level == 1)
        title = next(first, None)
    return Found(collected.blocks, title, len(pages), without)


def _has_text(page: PageText) -> bool:
    """Whether a page's text can be read at all."""
    text = "".join(run.text for run in page.runs)
    unreadable = sum(map(_is_unreadable, text))
    total = len(text) + page.unread
    return any(map(str.isalnum, text)) and unreadable + page.unread <= MOST_UNREADABLE * total


def _is_unreadable(character: str) -> bool:
    return character == "\ufffd" or "\ue000" <= character <= "\uefff" or "\x7f" <= character <= "\x9f"


def _leave_out(pages: list[PageText]) -> None:
    """Drop what is no text of the document."""
    for page in pages:
        if not _has_text(page):
            page.runs = []
    total = sum(len(run.text) for page in pages for run in page.runs)
    marked = sum(len(run.text) for page in pages for run in page.runs if run.artifact)
    if marked <= MOST_ARTIFACTS * total:
        for page in pages:
            page.runs = [run for run in page.runs if not run.artifact]


def _title(reader: PdfReader) -> str | None:
    """The title that the file gives itself, unless a program made it up."""
    title = None
    # A file whose description is damaged has a text all the same.
    with suppress(PyPdfError, AttributeError, KeyError, IndexError, TypeError, ValueError):
        title = reader.metadata.title if reader.metadata else None
    if not isinstance(title, str) or title.startswith(_PROGRAMS) or title.endswith((".doc", ".docx", ".tex", ".indd")):
        return None
    return one_line(title) or None
