"""The operators of a PDF's content stream with their operands (PDF 32000-1, 7.2, 7.3 and 7.8.2).

pypdf has a parser of its own that also writes and keeps indirect objects, none of which a content stream may hold: it
takes most of the time of reading a PDF, about ten times what this does.
"""

import re
from collections.abc import Iterator
from typing import Any

from core.contracts.files import FileReason
from core.documents.reader.found import Unreadable

MAX_TOKENS = 2_000_000
"""Of one stream. A page of dense text has 20,000; drawings come to some hundred thousand."""
MAX_OPERANDS = 100_000
"""Before an operator, and in one array: more are left out."""
MAX_DEPTH = 32
"""Of arrays and dictionaries in each other; what lies deeper is left out."""

_SPACE = rb"\x00\t\n\x0c\r "
_REGULAR = rb"[^\x00\t\n\x0c\r ()<>\[\]{}/%]"
_TOKEN = re.compile(
    rb"(?:[" + _SPACE + rb"]++|%[^\r\n]*+)*+(?:"
    rb"(?P<number>[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))(?!" + _REGULAR + rb")"
    rb"|\((?P<string>(?:[^()\\\r]++|\\[^\r])*+)\)"
    rb"|(?P<word>" + _REGULAR + rb"++)"
    rb"|/(?P<name>" + _REGULAR + rb"*+)"
    rb"|(?P<mark><<|>>|[\[\]({}>)])"
    rb"|<(?P<hex>[^>]*+)>?"
    rb")"
)
_IN_STRING = re.compile(rb"[()\\\r]")
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3}|\r\n|[\x00-\xff])|\Z)")
_ESCAPED: dict[bytes | None, bytes] = {
    **{b"%0*o" % (digits, code): bytes((code & 0xFF,)) for digits in (1, 2, 3) for code in range(8**digits)},
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"b": b"\b",
    b"f": b"\f",
    b"\n": b"",
    b"\r": b"",
    b"\r\n": b"",
    None: b"",
}
_END_OF_IMAGE = re.compile(rb"[" + _SPACE + rb"]EI(?=[" + _SPACE + rb"]|\Z)")
_NOT_HEX = re.compile(rb"[^0-9A-Fa-f]")
_NUMBERED = re.compile(rb"#([0-9A-Fa-f]{2})")


def operators(data: bytes) -> Iterator[tuple[bytes, list[Any]]]:
    """Each operator with its operands: numbers, names as text with their slash, strings as bytes, lists, dictionaries.

    What is no content stream gives nonsense, but never fails and never takes more than linear time. Raises
    `Unreadable` when there are too many tokens.
    """
    operands: list[Any] = []
    open_: list[list[Any]] = []
    at, tokens = 0, 0
    while (token := _TOKEN.match(data, at)) is not None:
        at, kind = token.end(), token.lastgroup
        tokens += 1
        if tokens > MAX_TOKENS:
            raise Unreadable(FileReason.TOO_COMPLEX, "A page of the PDF holds too much. Print it to a simpler PDF.")
        value: Any
        if kind == "word":
            word = token["word"]
            if word == b"ID":
                at = _after_image(data, at)
            if not open_:
                yield (b"INLINE IMAGE" if word == b"ID" else word), operands
                operands = []
            continue
        if kind == "number":
            value = float(token["number"])
        elif kind == "string":
            value = token["string"]
            if b"\\" in value:
                value = _ESCAPE.sub(_unescaped, value)
        elif kind == "name":
            value = _name(token["name"])
        elif kind == "hex":
            value = _hexadecimal(token["hex"])
        else:
            mark = token["mark"]
            if mark == b"(":
                value, at = _string(data, at)
            elif (made := _nested(mark, operands, open_)) is None:
                continue
            else:
                operands, value = made
        if len(operands) < MAX_OPERANDS:
            operands.append(value)


def _nested(mark: bytes, operands: list[Any], open_: list[list[Any]]) -> tuple[list[Any], Any] | None:
    """Open or close an array or a dictionary: where it belongs, and itself once it is closed."""
    if mark in (b"[", b"<<") and len(open_) < MAX_DEPTH:
        open_.append(operands.copy())
        operands.clear()
    elif mark in (b"]", b">>") and open_:
        outer = open_.pop()
        return outer, operands if mark == b"]" else dict(_pairs(operands))
    return None


def _pairs(flat: list[Any]) -> Iterator[tuple[str, Any]]:
    for key, value in zip(flat[::2], flat[1::2], strict=False):
        if isinstance(key, str):
            yield key, value


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string with parentheses or escapes, from behind its first parenthesis; and where it ends."""
    parts, depth = list[bytes](), 1
    while (found := _IN_STRING.search(data, at)) is not None:
        parts.append(data[at : found.start()])
        at, mark = found.end(), found[0]
        if mark == b"(":
            depth += 1
            parts.append(mark)
        elif mark == b")":
            depth -= 1
            if not depth:
                return b"".join(parts), at
            parts.append(mark)
        elif mark == b"\r":
            parts.append(b"\n")
            at += data[at : at + 1] == b"\n"
        elif escape := _ESCAPE.match(data, at - 1):
            parts.append(_unescaped(escape))
            at = escape.end()
    return b"".join(parts), len(data)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return _ESCAPED.get(escape[1], escape[1])


def _name(raw: bytes) -> str:
    """As pypdf has names: with the slash, decoded."""
    if b"#" in raw:
        raw = _NUMBERED.sub(lambda found: bytes((int(found[1], 16),)), raw)
    try:
        return "/" + raw.decode()
    except UnicodeDecodeError:
        return "/" + raw.decode("latin-1")


def _hexadecimal(raw: bytes) -> bytes:
    digits = _NOT_HEX.sub(b"", raw)
    return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode())


def _after_image(data: bytes, at: int) -> int:
    found = _END_OF_IMAGE.search(data, at)
    return found.end() if found else len(data)
