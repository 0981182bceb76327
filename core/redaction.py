"""Blots secrets out of whatever is written down: texts, nested values, and what stands under a telling name.

Two kinds are found. What looks like a secret: a key by its prefix, a password in a URL, what follows `api_key=` or
`Authorization:`. And the secrets that this process itself holds, wherever and in whatever spelling they appear: those
are told once, by `conceal`, when the process sets up its log. Without that only the looks count.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from core.contracts.errors import AtelierError

REDACTED = "[redacted]"
LEAST = 8
"""Characters. A known secret that is shorter is also part of ordinary words: it is found by its place alone."""
_BEGINNING = 16
"""Characters by which a long secret is known though its end was cut off, as the end of a long message is."""
_DEEPEST = 8

# ------------------------------------------------------------------------------------------ by the look of a text

# A text that has none of these, in small letters, has nothing that the patterns below would find.
_HINTS = (
    *("@", "key", "token", "secret", "passw", "passphrase", "pwd", "authorization", "cookie", "credential"),
    *("bearer", "basic ", "atl_", "atr_", "sk-", "sk_", "aiza", "akia", "asia", "ya29.", "github_pat_", "xox", "eyj"),
    *("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "$argon2"),
)
_HEADER = r"(?:(?:proxy-)?authorization|(?:set-)?cookie|(?:x-)?(?:goog-)?api-key)"
_NAME = (
    r"(?:(?:api|access|secret|private|account)[_-]?key|secret|passw(?:or)?d|passphrase|pwd|credentials?"
    r"|(?<!first_)(?<!per_)(?<!max_)token)"
)
_QUOTE = r"\\*[\"']"
# What says that there is nothing, and figures: `token=None`, `token: 12`.
_SOME = r"(?!\[redacted|\*{3}|(?:none|null|true|false|\d{1,9})\b)"
_PATTERNS = tuple(
    (re.compile(pattern), rf"\g<kept>{REDACTED}")
    for pattern in (
        r"(?s)(?P<kept>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)",
        # The password of a URL.
        r"(?P<kept>://[^\s:/@\"']*:)[^\s@\"'<>/]+(?=@)",
        # A header with its whole value, also in the lists of pairs that HTTP clients show.
        rf"(?i)(?P<kept>\b{_HEADER}(?:{_QUOTE})?\s*[:=,]\s*b?{_QUOTE}){_SOME}[^\"'\\]+",
        # Bare, up to the end of what its scheme takes, or of the line.
        r"(?i)(?P<kept>\b(?:x-)?(?:goog-)?api-key\s*[:=]\s*)" + _SOME + r"[^\s\"',;]+",
        r"(?i)(?P<kept>\b(?:authorization|cookie)\s*[:=]\s*)"
        + _SOME
        + r"(?:(?:bearer|basic|token)\s+[^\s\"',;]+|[^\s\"'][^\r\n\"']*)",
        # More than a word: "Bearer authentication failed" is none.
        r"(?i)(?P<kept>\b(?:bearer|basic)\s+)(?=[a-z]*[\d_\-=+/]|\S{20})[\w\-.~+/]{8,}=*",
        rf"(?i)(?P<kept>{_NAME}(?:{_QUOTE})?\s*[:=]\s*\(?b?{_QUOTE}){_SOME}[^\"'\\]+",
        rf"(?i)(?P<kept>(?:{_NAME}|[?&]key)=){_SOME}[^\s\"'\\,;&()\[\]{{}}<>]{{3,}}",
        # After a colon a sentence may go on: only what is no word.
        rf"(?i)(?P<kept>{_NAME}(?: provided)?:\s+){_SOME}(?=[^\s\d]*\d|\S{{20}})[^\s\"'\\,;]{{8,}}",
        # A password's hash, as errors of the database quote it with its row.
        r"(?P<kept>\$argon2id?\$)[\w$=,+/.-]+",
        r"(?P<kept>(?<![A-Za-z0-9]))eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
        r"(?P<kept>(?<![A-Za-z0-9]))(?:at[lr]_[\w-]{8,}|sk-[\w-]{16,}|sk_(?:live|test)_\w{8,}|AIza[\w-]{16,}"
        r"|(?:AKIA|ASIA)[A-Z\d]{12,}|ya29\.[\w.-]{8,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|xox[a-z]-[\w-]{8,})",
    )
)

# ------------------------------------------------------------------------------------------ by the name of a value

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TELLING = re.compile(
    r"^(?:auth|cookies?|dsn|credentials?|bearer|jwt|pwd|keys?|token)$|authorization|passw(?:or)?d|passphrase|secret"
    r"|(?:api|access|private|account)(?:keys?|tokens?)$"
)
# Whose key, or which token: such are names of things and counts.
_HARMLESS_BEFORE = {"idempotency", "step", "cache", "sort", "primary", "foreign", "priority", "fairness", "partition"}
_HARMLESS_BEFORE |= {"first", "last", "per", "max", "min"}
_HARMLESS_AFTER = {"count", "counts", "limit", "ms", "seconds", "usage", "price", "total"}


@lru_cache(maxsize=4_096)
def is_secret(name: str) -> bool:
    """Whether what stands under a name is a secret: `x-api-key`, `dbPassword`; not `input_tokens`, `step_key`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if words[-2:] in (["database", "url"], ["connection", "string"]):
        return True
    for index, word in enumerate(words):
        if _TELLING.search(word):
            before, after = words[index - 1] if index else "", words[index + 1] if index + 1 < len(words) else ""
            if before not in _HARMLESS_BEFORE and after not in _HARMLESS_AFTER:
                return True
    return False


# ------------------------------------------------------------------------------------------ both


class Redactor:
    """Blots out what looks like a secret, and the secrets it was given."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        whole = {secret for given in secrets for secret in _parts(given) if len(secret) >= LEAST}
        found = {}
        for secret in whole:
            found.update({spelling: _matching(spelling) for spelling in _spellings(secret)})
            found.update({encoded: rf"{re.escape(encoded)}[\w\-+/]?={{,2}}" for encoded in _encoded(secret)})
        self._signs = tuple({spelling[:_BEGINNING] if _is_long(spelling) else spelling for spelling in found})
        # The longest first: one may be the beginning of another.
        patterns = [found[spelling] for spelling in sorted(found, key=len, reverse=True)]
        self._known = re.compile("|".join(patterns)) if patterns else None

    def text(self, text: str) -> str:
        """The text without secrets; the very same text when there are none."""
        if self._known is not None and any(sign in text for sign in self._signs):
            text = self._known.sub(REDACTED, text)
        small = text.lower()
        if any(hint in small for hint in _HINTS):
            for pattern, blotted in _PATTERNS:
                text = pattern.sub(blotted, text)
        return text

    def suspects(self, text: str) -> bool:
        """Whether a text must be looked at closely: false for nearly all that is ever logged, in a few microseconds."""
        small = text.lower()
        return any(sign in text for sign in self._signs) or any(hint in small for hint in _HINTS)

    def event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a line of the log without secrets; the very same when they are all plain."""
        texts = []
        for name, value in event.items():
            if isinstance(value, str):
                texts.append(value)
            elif value is not None and not isinstance(value, (bool, int, float)):
                break
            if is_secret(name):
                break
        else:
            # One look at all of them costs less than one at each.
            if not self.suspects("\n".join(texts)):
                return event
        return {name: self._under(name, value, True, 1) for name, value in event.items()}

    def value(self, value: Any, *, names: bool = True, depth: int = 0) -> Any:
        """The value without secrets, however deep. What is no text and no container is itself, or its `repr` without
        secrets. `names` also blots out what stands under a telling name."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {self._key(key): self._under(key, inner, names, depth + 1) for key, inner in value.items()}
            if isinstance(value, (list, tuple, Set)):
                return self._sequence(value, names, depth + 1)
        shown = value.decode(errors="backslashreplace") if isinstance(value, (bytes, bytearray)) else repr(value)
        blotted = self.text(shown)
        return value if blotted == shown else blotted

    def _key(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key

    def _under(self, name: Any, value: Any, names: bool, depth: int) -> Any:
        if names and _is_telling(name) and value is not None and not isinstance(value, bool):
            return REDACTED
        return self.value(value, names=names, depth=depth)

    def _sequence(self, items: "list[Any] | tuple[Any, ...] | Set[Any]", names: bool, depth: int) -> Any:
        if isinstance(items, tuple) and len(items) == 2:
            # A pair of a name and a value, as headers come.
            return (self.value(items[0], names=names, depth=depth), self._under(items[0], items[1], names, depth))
        blotted = [self.value(item, names=names, depth=depth) for item in items]
        return tuple(blotted) if isinstance(items, tuple) else blotted


def _is_telling(name: Any) -> bool:
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return isinstance(name, str) and is_secret(name)


def _parts(secret: str) -> Iterator[str]:
    """What of a setting is secret: all of a key, of a URL its passwords. A password that is also the user's name is
    none: it stands in too many places."""
    secret = secret.strip()
    if re.match(r"[A-Za-z][\w+.-]*://", secret) is None:
        yield secret
        return
    for user, password in re.findall(r"://([^:/@]*):([^@]*)@", secret):
        if user != password:
            yield from {password, unquote(password)}
    yield from (unquote(value) for value in re.findall(r"(?i)[?&]\w*(?:password|secret|token|key)=([^&#\s]+)", secret))


def _spellings(secret: str) -> Iterator[str]:
    """The ways in which a secret may be written: as it is, in a URL, in JSON, as Python shows it."""
    yield secret
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    yield from quoted | {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in quoted}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    yield from escaped | {json.dumps(form)[1:-1] for form in escaped}


def _encoded(secret: str) -> Iterator[str]:
    """The secret in Base64, with anything before it (`Basic` puts a user there): what stands for nothing else."""
    data = secret.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        inner = encoded[-(-before * 8 // 6) : len(encoded) - bool((before + len(data)) % 3)]
        if len(inner) >= LEAST:
            yield from {inner, inner.replace("+", "-").replace("/", "_")}


def _is_long(spelling: str) -> bool:
    return len(spelling) >= _BEGINNING + LEAST


def _matching(spelling: str) -> str:
    """The pattern of a spelling; of a long one also without its end."""
    whole = re.escape(spelling)
    return rf"{whole}|{re.escape(spelling[:_BEGINNING])}[\w\-+/=.~%]*" if _is_long(spelling) else whole


# ------------------------------------------------------------------------------------------ this process' own

_own = Redactor()


def conceal(secrets: Iterable[str]) -> None:
    """Tell this process' secrets: keys as they are, URLs with their passwords. They replace those told before.

    One list a process, like its log: whoever writes an error message down knows nothing of keys.
    """
    global _own
    _own = Redactor(secrets)


def redactor() -> Redactor:
    """That of this process."""
    return _own


def redact_text(text: str) -> str:
    """A message without secrets, for a row, an event or a history. Before it is cut to length, or half a key stays."""
    return _own.text(text)


def redact_error(error: AtelierError) -> None:
    """Blot secrets out of an error that will stand in a row, an event or a history. Safe to do again.

    By their texts alone: the names in its details are ours.
    """
    error.message = _own.text(error.message)
    error.details = _own.value(error.details, names=False)
    error.args = (error.message,)
