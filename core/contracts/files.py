"""Files that users bring: their kinds, why one is refused, and what their text is made of.

Standard library only: the process that reads hostile files starts with it."""

from enum import StrEnum


class FileKind(StrEnum):
    """What a file really is, by its content."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"
    PDF = "pdf"
    DOCX = "docx"
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    GIF = "gif"
    MP3 = "mp3"
    WAV = "wav"
    M4A = "m4a"
    OGG = "ogg"
    FLAC = "flac"
    MP4 = "mp4"
    WEBM = "webm"
    MOV = "mov"


class FileReason(StrEnum):
    """Why a file is refused."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    """Something else than we take."""
    MISLABELLED = "mislabelled"
    """Declared as another kind than it is."""
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    """Damaged, or made so that programs disagree about what it is."""
    NOT_TEXT = "not_text"
    """Said to be text, but not in a character set that is certain, or binary."""
    ENCRYPTED = "encrypted"
    MACROS = "macros"
    BOMB = "bomb"
    """Small as a file and huge when unpacked."""
    TOO_COMPLEX = "too_complex"
    """Reading it takes more time, memory or output than it may."""
    NO_TEXT = "no_text"
    """Pictures of pages, or nothing."""


class BlockKind(StrEnum):
    """What a piece of a document is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"
    TABLE = "table"
    CODE = "code"
    NOTE = "note"
    """A footnote or an endnote: after the text."""
