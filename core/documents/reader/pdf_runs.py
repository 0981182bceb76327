"""What the pages of a PDF show as text: runs of characters with their places, in the order in which they are drawn.

pypdf reads the file and its fonts; the operators are carried out here (PDF 32000-1, 8.4 and 9.4), as pypdf's own
extraction tells neither where a text ends nor whether it is marked as no text of the document.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pypdf import PageObject
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject, IndirectObject, StreamObject
from pypdf.generic._font import Font

from core.contracts.files import FileReason
from core.documents.reader.found import Unreadable, too_long
from core.documents.reader.pdf_operators import operators

MAX_FORMS = 2_000
"""Forms drawn on a page, each counted as often as it is drawn."""
MAX_FORM_DEPTH = 12
MAX_STATES = 1_000
"""Graphics states that are saved at once; a viewer need not keep more than 28."""
NEW_RUN = 1.0
"""Ems: after a wider gap inside one operator a new run begins: it may be the next cell of a table."""
_ARTIFACT, _MONO = "/Artifact", 1
Matrix = tuple[float, float, float, float, float, float]
_MONOSPACED = ("mono", "courier", "cmtt", "consol", "menlo", "typewriter")
_NUMBERS = (None, "/Identity-H", "/Identity-V")
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_DROPPED = dict.fromkeys((*range(32), 0x7F, *range(0xD800, 0xE000), 0xFFFE, 0xFFFF))
_AS_READ = _DROPPED | _LIGATURES | {9: " ", 10: " ", 13: " ", 0xA0: " "}


@dataclass(slots=True)
class Run:
    """Characters side by side. Points, as the run is read: x to the right, y up; `turn` is how it was turned."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    mono: bool
    turn: int
    artifact: bool
    """Said not to be the document's text: heads and feet of pages, decorations."""


@dataclass(slots=True)
class PageText:
    """One page: its runs, and whether it shows anything."""

    number: int
    runs: list[Run]
    drawn: bool
    unread: int
    """Characters, or bytes of them, in fonts that do not say what they read."""


class _Face:
    """A font: what its codes read and how wide they are (in ems)."""

    def __init__(self, resource: DictionaryObject) -> None:
        font = Font.from_font_resource(resource)
        # Of a composite font that names its glyphs by number only, pypdf takes the numbers for characters.
        told = isinstance(resource.get("/ToUnicode", DictionaryObject()).get_object(), StreamObject)
        numbers = font.sub_type == "Type0" and resource.get("/Encoding") in _NUMBERS
        self.readable = font.interpretable and (told or not numbers)
        named = font.name.casefold()
        self.bold = any(word in named for word in ("bold", "black", "heavy", "demi"))
        flags = font.font_descriptor.flags
        self.mono = bool(isinstance(flags, int) and flags & _MONO) or any(word in named for word in _MONOSPACED)
        self.space = min(max(_number(font.space_width, 250.0) / 2_000, 0.1), 0.3)
        self._encoding = font.encoding
        self._map = font.character_map
        self._widths = font.character_widths
        self._default = _number(font.character_widths.get("default"), 500.0)
        self._known: dict[str | int, tuple[str, float]] = {}

    def shown(self, raw: bytes) -> Iterable[tuple[str, float, bool]]:
        """Text, width and whether it is a space of one byte, a code at a time."""
        codes: Iterable[str | int] = raw
        if isinstance(self._encoding, str):
            codes = raw.decode(self._encoding, "replace")
        for code in codes:
            if (known := self._known.get(code)) is None:
                known = self._known[code] = self._look_up(code)
            yield known[0], known[1], code == 32

    def _look_up(self, code: str | int) -> tuple[str, float]:
        if isinstance(code, int):
            assert isinstance(self._encoding, dict)
            read, key = self._encoding.get(code, chr(code)), chr(code)
        else:
            read = key = code
        text = self._map.get(read, read)
        width = _number(self._widths.get(key), self._default) / 1_000
        return (text if isinstance(text, str) else "").translate(_AS_READ), width


class Fonts:
    """The fonts of a file, each read once."""

    def __init__(self) -> None:
        self._faces: dict[int, _Face | None] = {}

    def get(self, resource: Any) -> _Face | None:
        """A font, or None if nothing can be read with it."""
        if not isinstance(resource, IndirectObject):
            return self._read(resource)
        if resource.idnum not in self._faces:
            self._faces[resource.idnum] = self._read(resource.get_object())
        return self._faces[resource.idnum]

    @staticmethod
    def _read(resource: Any) -> _Face | None:
        if not isinstance(resource, DictionaryObject):
            return None
        try:
            face = _Face(resource)
        except (MemoryError, RecursionError):
            raise
        except Exception:
            # Its text is not read, as with one that has no table of characters; the rest of the page is.
            return None
        return face if face.readable else None


@dataclass(slots=True)
class _State:
    """What `q` saves."""

    ctm: Matrix = IDENTITY
    face: _Face | None = None
    size: float = 0.0
    spacing: float = 0.0
    word_spacing: float = 0.0
    scale: float = 1.0
    leading: float = 0.0
    rise: float = 0.0


class PageReader:
    """Carries out the operators of pages. `characters` is how many the whole file may show."""

    def __init__(self, characters: int) -> None:
        self._left = characters
        self._fonts = Fonts()

    def read(self, page: PageObject, number: int) -> PageText:
        """The runs of a page. Raises `Unreadable` if they are too many; pypdf's errors if it is damaged."""
        self._runs: list[Run] = []
        self._drawn = False
        self._unread = 0
        self._forms = 0
        self._marks: list[bool] = []
        turned = page.rotation % 360 if isinstance(page.get("/Rotate", 0), int) else 0
        state = _State(ctm=_TURNS.get(turned, IDENTITY))
        if (content := page.get("/Contents")) is not None:
            self._carry_out(_data(content.get_object(), page.pdf), _resources(page), state, page.pdf, [])
        return PageText(number, self._runs, self._drawn, self._unread)

    def _carry_out(self, data: bytes, resources: Any, state: _State, pdf: Any, inside: list[int]) -> None:
        fonts, forms = _dictionary(resources, "/Font"), _dictionary(resources, "/XObject")
        saved: list[_State] = []
        marks = len(self._marks)
        text, line = IDENTITY, IDENTITY
        for operator, operands in operators(data):
            match operator:
                case b"Tj" | b"TJ" | b"'" | b'"' | b"Td" | b"TD" | b"T*" | b"Tm" | b"BT":
                    text, line = self._text(operator, operands, state, text, line)
                case b"q" if len(saved) < MAX_STATES:
                    saved.append(replace(state))
                case b"Q" if saved:
                    state = saved.pop()
                case b"cm":
                    state.ctm = _times(_matrix(operands), state.ctm)
                case b"Tf" if len(operands) > 1:
                    state.face = self._fonts.get(fonts.raw_get(operands[0])) if operands[0] in fonts else None
                    state.size = _number(operands[1], state.size)
                case b"BDC" | b"BMC":
                    artifact = operands[0] == _ARTIFACT if operands else False
                    self._marks.append(artifact or bool(self._marks and self._marks[-1]))
                case b"EMC" if len(self._marks) > marks:
                    self._marks.pop()
                case b"Do" if operands and operands[0] in forms:
                    self._draw(forms[operands[0]], resources, state, pdf, inside)
                case b"INLINE IMAGE" | b"sh" | b"f" | b"F" | b"f*" | b"B" | b"B*" | b"b" | b"b*" | b"S" | b"s":
                    self._drawn = True
                case _:
                    _set(state, operator, operands)
        del self._marks[marks:]

    def _draw(self, drawn: Any, resources: Any, state: _State, pdf: Any, inside: list[int]) -> None:
        """A form or an image. A form draws in a state of its own."""
        drawn = drawn.get_object()
        if not isinstance(drawn, DictionaryObject) or drawn.get("/Subtype") != "/Form":
            self._drawn = True
            return
        self._forms += 1
        if self._forms > MAX_FORMS:
            raise Unreadable(FileReason.TOO_COMPLEX, "A page of the PDF is built of too many parts. Print it to a PDF.")
        if len(inside) >= MAX_FORM_DEPTH or id(drawn) in inside:
            return
        ctm = _times(_matrix(list(drawn.get("/Matrix", ()))), state.ctm) if "/Matrix" in drawn else state.ctm
        own = drawn.get("/Resources")
        resources = resources if own is None else own.get_object()
        self._carry_out(_data(drawn, pdf), resources, replace(state, ctm=ctm), pdf, [*inside, id(drawn)])

    def _text(
        self, operator: bytes, operands: list[Any], state: _State, text: Matrix, line: Matrix
    ) -> tuple[Matrix, Matrix]:
        """Move or show text: the new matrices of text and line."""
        match operator:
            case b"BT":
                return IDENTITY, IDENTITY
            case b"Tm":
                return (made := _matrix(operands)), made
            case b"Td" | b"TD":
                x, y = (_number(operand, 0.0) for operand in [*operands, 0, 0][:2])
                if operator == b"TD":
                    state.leading = -y
                return (made := _times((1, 0, 0, 1, x, y), line)), made
            case b"T*" | b"'" | b'"':
                text = line = _times((1, 0, 0, 1, 0, -state.leading), line)
                if operator == b'"' and len(operands) > 2:
                    state.word_spacing, state.spacing = _number(operands[0], 0.0), _number(operands[1], 0.0)
        shown = operands[-1] if operands else None
        if operator == b"T*" or shown is None:
            return text, line
        pieces = shown if operator == b"TJ" and isinstance(shown, list) else [shown]
        if state.face is not None:
            return self._show(pieces, state, text), line
        self._unread += sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        self._drawn = True
        return text, line

    def _show(self, pieces: list[Any], state: _State, text: Matrix) -> Matrix:
        """Show strings with gaps between them; the matrix of what comes next."""
        assert state.face is not None
        face, size, scale = state.face, state.size, state.scale
        characters, start, x = list[str](), 0.0, 0.0
        for piece in pieces:
            if isinstance(piece, (int, float)):
                gap = -_number(piece, 0.0) / 1_000
                if characters and gap > NEW_RUN:
                    self._add(characters, start, x, state, text)
                    characters = []
                elif characters and gap > face.space and characters[-1][-1:] != " ":
                    characters.append(" ")
                x += gap * size * scale
            elif isinstance(piece, bytes):
                for character, width, is_space in face.shown(piece):
                    if characters or character not in ("", " "):
                        start = start if characters else x
                        characters.append(character)
                    x += (width * size + state.spacing + (state.word_spacing if is_space else 0.0)) * scale
        self._add(characters, start, x, state, text)
        return _times((1, 0, 0, 1, x, 0), text)

    def _add(self, characters: list[str], start: float, end: float, state: _State, text: Matrix) -> None:
        read = "".join(characters)
        if not read.strip():
            return
        self._drawn = True
        self._left -= len(read)
        if self._left < 0:
            raise too_long()
        m = _times(text, state.ctm)
        x0, y0 = start * m[0] + state.rise * m[2] + m[4], start * m[1] + state.rise * m[3] + m[5]
        x1, y1 = end * m[0] + state.rise * m[2] + m[4], end * m[1] + state.rise * m[3] + m[5]
        size = abs(state.size) * math.hypot(m[2], m[3])
        if not all(map(math.isfinite, (x0, x1, y0, y1, size))) or size <= 0:
            return
        turn = 0
        if abs(m[1]) > abs(m[0]):
            turn = 90 if m[1] > 0 else 270
            x0, y0, x1, y1 = (y0, -x0, y1, -x1) if turn == 90 else (-y0, x0, -y1, x1)
        elif m[0] < 0 and m[3] < 0:
            turn, x0, y0, x1, y1 = 180, -x0, -y0, -x1, -y1
        if x1 < x0:
            x0, x1 = x1, x0
        face = state.face
        assert face is not None
        run = Run(read, x0, x1, y0, size, face.bold, face.mono, turn, bool(self._marks and self._marks[-1]))
        if not any(_same(run, before) for before in self._runs[-3:]):
            self._runs.append(run)


_TURNS: dict[int, Matrix] = {90: (0, -1, 1, 0, 0, 0), 180: (-1, 0, 0, -1, 0, 0), 270: (0, 1, -1, 0, 0, 0)}


def _same(run: Run, before: Run) -> bool:
    """Drawn twice at a hair's breadth: that is how some programs make bold."""
    near = 0.15 * run.size
    return run.text == before.text and abs(run.x0 - before.x0) < near and abs(run.y - before.y) < near


def _set(state: _State, operator: bytes, operands: list[Any]) -> None:
    """The parameters of text that are one number."""
    if not operands:
        return
    match operator:
        case b"Tc":
            state.spacing = _number(operands[0], 0.0)
        case b"Tw":
            state.word_spacing = _number(operands[0], 0.0)
        case b"Tz":
            state.scale = _number(operands[0], 100.0) / 100
        case b"TL":
            state.leading = _number(operands[0], 0.0)
        case b"Ts":
            state.rise = _number(operands[0], 0.0)


def _times(m: Matrix, n: Matrix) -> Matrix:
    return (
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4],
        m[4] * n[1] + m[5] * n[3] + n[5],
    )


def _matrix(operands: list[Any]) -> Matrix:
    if len(operands) < 6:
        return IDENTITY
    a, b, c, d, e, f = (_number(operand, 0.0) for operand in operands[:6])
    return a, b, c, d, e, f


def _number(value: Any, otherwise: float) -> float:
    """A number of the file; what is none, or no finite one, is another."""
    if isinstance(value, IndirectObject):
        value = value.get_object()
    if not isinstance(value, (int, float)):
        return otherwise
    try:
        made = float(value)
    except OverflowError:
        return otherwise
    return made if math.isfinite(made) else otherwise


def _data(content: Any, pdf: Any) -> bytes:
    """The unpacked bytes of one stream, or of several that are one."""
    if not isinstance(content, (StreamObject, ArrayObject)):
        return b""
    return ContentStream(content, pdf).get_data()


def _resources(page: PageObject) -> Any:
    """The resources of a page or of what it stands in; its parents may be a circle."""
    node: Any = page
    for _ in range(100):
        if not isinstance(node, DictionaryObject):
            break
        if "/Resources" in node:
            return node["/Resources"].get_object()
        node = node.get("/Parent")
        node = node.get_object() if node is not None else None
    return DictionaryObject()


def _dictionary(resources: Any, name: str) -> DictionaryObject:
    found = resources.get(name) if isinstance(resources, DictionaryObject) else None
    found = found.get_object() if found is not None else None
    return found if isinstance(found, DictionaryObject) else DictionaryObject()
