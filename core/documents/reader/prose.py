"""Lines of text put together again: hyphens at their ends, scripts without spaces, marks of lists."""

import re
from collections.abc import Iterable, Sequence

_UNSPACED = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af\u0e00-\u0eff"
_JOINS = re.compile(rf"[{_UNSPACED}]\Z")
_JOINED = re.compile(rf"[{_UNSPACED}]")
_HYPHENATED = re.compile(r"([^\W\d_]+)[-\u2010]\Z")
_DASHED = re.compile(r"[^\s][-\u2010/]\Z")
_CONTINUED = re.compile(r"[^\W\d_]+")
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")
BULLET = re.compile(r"(?P<bullet>[•◦▪‣●○■·\u2043\uf0b7\uf0a7–*-])\s+(?=\S)")
NUMBERED = re.compile(r"\(?(?P<number>\d{1,3})[.)]\s+(?=\S)|\(?(?P<letter>[A-Za-z])\)\s+(?=\S)")


def vocabulary(lines: Iterable[str]) -> set[str]:
    """The words of a document, in small letters, as they stand inside of lines: they tell which hyphens are its own."""
    words: set[str] = set()
    for line in lines:
        found = _WORD.findall(line.casefold())
        # The last word of a line may be cut, and so may the first.
        words.update(found[1:-1] if line.endswith(("-", "\u2010")) else found[1:])
    return words


def join(lines: Sequence[str], known: set[str]) -> str:
    """One text of several lines. A hyphen at the end goes unless the document writes the word with it elsewhere."""
    text = lines[0] if lines else ""
    for line in lines[1:]:
        if text.endswith("\u00ad"):
            text = text[:-1] + line
        elif (cut := _HYPHENATED.search(text)) and (rest := _CONTINUED.match(line)) and rest[0][:1].islower():
            kept = f"{cut[1]}-{rest[0]}".casefold()
            whole = f"{cut[1]}{rest[0]}".casefold()
            text = (text if kept in known and whole not in known else text[:-1]) + line
        elif _DASHED.search(text) or (_JOINS.search(text) and _JOINED.match(line)):
            text += line
        else:
            text = f"{text} {line}"
    return text.replace("\u00ad", "")
