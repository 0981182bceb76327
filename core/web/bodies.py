"""The body of an answer: taken out of its compression within bounds, and what kind of file it is."""

import re
import zlib
from abc import ABC, abstractmethod

from core.contracts.errors import AtelierError, ErrorType
from core.web.rules import DOCX, HTML, PDF

UNKNOWN = "application/octet-stream"
_UNTOLD = frozenset(("", UNKNOWN, "binary/octet-stream", "application/x-download", "application/force-download"))
"""What a server says that does not know what it sends."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Window sizes that tell zlib which wrapper to expect."""
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL)
_HEAD_BYTES = 1_024
_CHARSET = re.compile(r"""(?:^|[;\s])charset\s*=\s*["']?([\w.:+-]{1,40})""", re.IGNORECASE | re.ASCII)


def media_type_of(header: str) -> tuple[str, str | None]:
    """Media type and charset of a Content-Type header, in lower case; "" for a type that says nothing."""
    media_type, _, parameters = header.partition(";")
    media_type = media_type.strip().lower()
    charset = _CHARSET.search(parameters)
    return ("" if media_type in _UNTOLD else media_type), charset and charset[1].lower()


def seen_in(body: bytes) -> str:
    """The media type by the first bytes, for a server that does not tell it."""
    if body.startswith(b"%PDF-"):
        return PDF
    if body.startswith(b"PK\x03\x04"):
        return DOCX  # any other zip file is found out when it is opened
    return HTML if _HTML.match(body[:_HEAD_BYTES]) else UNKNOWN


class Decoder(ABC):
    """Takes pieces as they were sent and gives no more than it may, whatever they would become."""

    @abstractmethod
    def decode(self, piece: bytes, most: int) -> bytes:
        """What a piece stands for, cut off after `most` bytes. Raises ValueError if it is damaged."""

    @abstractmethod
    def complete(self) -> bool:
        """Whether the body came to its end."""


class _Plain(Decoder):
    def decode(self, piece: bytes, most: int) -> bytes:
        return piece[:most]

    def complete(self) -> bool:
        return True


class _Inflater(Decoder):
    """gzip and deflate. Several members of gzip in a row are read as one, as `gunzip` does."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._begun = False

    def decode(self, piece: bytes, most: int) -> bytes:
        out = bytearray()
        while piece and len(out) < most:
            if self._zlib.eof:
                if self._window != _GZIP or piece[:2] != b"\x1f\x8b":
                    break  # whatever follows the end is no part of it
                self._zlib = zlib.decompressobj(_GZIP)
            try:
                out += self._zlib.decompress(piece, most - len(out))
            except zlib.error as error:
                if self._begun or self._window != _ZLIB:
                    raise ValueError("damaged") from error
                # Some servers send "deflate" without the wrapper that the standard asks for.
                self._window, self._zlib = _RAW, zlib.decompressobj(_RAW)
                continue
            finally:
                self._begun = True
            piece = self._zlib.unused_data
        return bytes(out)

    def complete(self) -> bool:
        return self._zlib.eof


def decoder_of(content_encoding: str, authority: str) -> Decoder:
    """The decoder of a Content-Encoding header. We ask for none, and some servers compress all the same."""
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip"):
        return _Inflater(_GZIP)
    if encoding == "deflate":
        return _Inflater(_ZLIB)
    raise AtelierError(ErrorType.URL_UNSUPPORTED, f"{authority} sends its answer compressed, though not asked to.")
